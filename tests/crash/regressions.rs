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

/// A number that was told from memory was told again after a crash, as long as the manifest did not say that the log
/// was being written to.
#[test]
fn a_number_told_from_memory_is_not_told_again_after_a_crash() {
    let mut disk = SimDisk::new(1);
    let mut numbers = BTreeSet::new();
    open(&disk).create_stream("clicks", 1).unwrap();
    // The log has never been written to; then it was interrupted, twice; then it rests.
    for is_closed in [false, false, true, false, false] {
        disk = disk.crash(LossMode::LoseAll);
        let store = options(&disk)
            .durability(Durability::Buffered)
            .open(DIRECTORY)
            .unwrap();
        let put = store.stream("clicks").unwrap().put("key", b"in memory").unwrap();
        assert!(
            numbers.insert(put.sequence_number),
            "{} is told again",
            put.sequence_number
        );
        if is_closed {
            store.close().unwrap();
        }
    }
}

/// A segment that is begun for a record of unknown size stays empty if the first group does not fit in it.
#[test]
fn a_group_larger_than_the_segment_that_awaits_it_gets_another() {
    let disk = SimDisk::new(1);
    let store = options(&disk)
        .durability(Durability::Buffered)
        .open(DIRECTORY)
        .unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    let large = vec![7; 200_000];
    stream.put("key", &large).unwrap();
    stream.put("key", b"small").unwrap();
    assert_eq!(data_of(&stream), [large.clone(), b"small".to_vec()]);
    store.close().unwrap();
    let disk = disk.crash(LossMode::LoseAll);
    assert_eq!(
        data_of(&open(&disk).stream("clicks").unwrap()),
        [large, b"small".to_vec()]
    );
}
