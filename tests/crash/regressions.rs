//! What once went wrong, each in as few steps as it took.

use std::collections::BTreeSet;

use anabranch::sim::{LossMode, Operation, SimDisk};
use anabranch::{Durability, StartingPosition, Store, StoreOptions, Stream};

const DIRECTORY: &str = "/store";

fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 * 1024)
        .keeper(false)
        .flusher_threads(1)
        .disk(disk.clone())
}

fn open(disk: &SimDisk) -> Store {
    options(disk).open(DIRECTORY).unwrap()
}

fn data_of(stream: &Stream) -> Vec<Vec<u8>> {
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.map(|record| record.unwrap().data.to_vec()).collect()
}

/// A process was killed between the write of an edit and its sync. The next one showed the stream, and a power cut
/// took it back.
#[test]
fn an_edit_that_a_killed_process_did_not_sync_is_durable_once_it_is_seen() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    disk.faults().on("MANIFEST").freeze_nth(Operation::SyncData, 1);
    store.create_stream("clicks", 1).unwrap_err();
    let disk = disk.crash(LossMode::KeepAll);
    let id = open(&disk).stream("clicks").unwrap().id();
    let disk = disk.crash(LossMode::LoseAll);
    assert_eq!(open(&disk).stream("clicks").unwrap().id(), id);
}

/// A process was killed before it had synced the new name of CURRENT. The next one removed the manifest that the
/// durable name still pointed at, and after a power cut the store did not open.
#[test]
fn a_manifest_that_a_killed_process_named_is_named_durably_before_it_is_built_on() {
    for n in 1.. {
        let disk = SimDisk::new(n);
        disk.faults().on(DIRECTORY).freeze_nth(Operation::SyncDir, n);
        let is_over = options(&disk).open(DIRECTORY).is_ok();
        let disk = disk.crash(LossMode::KeepAll);
        let stream = open(&disk).create_stream("clicks", 1).unwrap();
        stream.put("key", b"data").unwrap();
        let disk = disk.crash(LossMode::LoseAll);
        assert_eq!(data_of(&open(&disk).stream("clicks").unwrap()), [b"data"]);
        if is_over {
            break;
        }
    }
}
