//! Opening a store that cannot be opened leaves nothing behind.

use std::time::{Duration, Instant};

use anabranch::StoreOptions;
use anabranch::sim::{LossMode, Operation, SimDisk};
use anabranch_harness::child::is_child;

/// How long a thread that has ended may stay in the system's list.
const PATIENCE: Duration = Duration::from_secs(60);

/// Threads of this process. The test is alone in it.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn opens_that_fail_leave_no_threads_no_locks_and_no_files() {
    if !is_child("failed_opens::opens_that_fail_leave_no_threads_no_locks_and_no_files") {
        return;
    }
    let disk = SimDisk::new(1);
    let options = StoreOptions::new().disk(disk.clone());
    let store = options.open("store").unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"data")
        .unwrap();
    let disk = disk.crash(LossMode::KeepAll);
    drop(store);
    let options = StoreOptions::new().disk(disk.clone());
    let before = threads();
    // The failure comes once the store has its threads, in the directory of the log that was being written to.
    disk.faults()
        .on("shardId")
        .fail_from_nth(Operation::List, 1, std::io::ErrorKind::Other);
    for _ in 0..50 {
        options.open("store").unwrap_err();
    }
    // The system lists a thread for a moment after it has ended.
    let begun = Instant::now();
    while threads() > before && begun.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
    assert_eq!(threads(), before);
    assert_eq!(disk.open_files(), 0);
    disk.faults().clear();
    options.open("store").unwrap();
}
