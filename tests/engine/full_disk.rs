//! A full disk refuses records, keeps acknowledged ones, and takes records again once there is room.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use anabranch::sim::{Operation, SimDisk};
use anabranch::{
    Durability, Error, HashKey, PutRecord, PutResult, SequenceNumber, StartingPosition, Store, StoreOptions,
    Stream,
};

const MIB: u64 = 1 << 20;

const LEVELS: [Durability; 3] = [Durability::Synced, Durability::Written, Durability::Buffered];

/// Twelve segments fill the disk.
fn on_3_mib(disk: &SimDisk) -> StoreOptions {
    disk.set_capacity(3 * MIB);
    StoreOptions::new()
        .segment_bytes(256 << 10)
        .keeper(false)
        .disk(disk.clone())
}

/// One segment fills the disk.
fn on_64_mib(options: StoreOptions) -> (SimDisk, Store) {
    let disk = SimDisk::new(1);
    disk.set_capacity(64 * MIB);
    let store = options.keeper(false).disk(disk.clone()).open("store").unwrap();
    (disk, store)
}

fn delete(store: &Store, stream: &str) {
    store.stream(stream).and_then(|stream| stream.delete()).unwrap();
}

fn numbers_in(stream: &Stream) -> impl Iterator<Item = SequenceNumber> {
    let records = stream.reader(StartingPosition::TrimHorizon).unwrap();
    records.map(|record| record.unwrap().sequence_number)
}

/// Puts until the disk is full, and a little longer.
fn fill(stream: &Stream, acknowledged: &mut Vec<PutResult>) {
    let data = vec![b'x'; 20_000];
    let mut refusals = 0;
    while refusals < 5 {
        match stream.put("key", &data) {
            Ok(put) => acknowledged.push(put),
            Err(Error::StorageFull { .. }) => refusals += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(acknowledged.len() < 10_000, "the disk never fills");
    }
}

#[test]
fn a_full_disk_loses_no_acknowledged_record_and_reuses_no_number() {
    for level in LEVELS {
        let disk = SimDisk::new(1);
        let options = on_3_mib(&disk).durability(level);
        let store = options.open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        let mut acknowledged = Vec::new();
        fill(&stream, &mut acknowledged);
        disk.set_capacity(30 << 20);
        for _ in 0..20 {
            acknowledged.push(stream.put("key", b"there is room again").unwrap());
        }

        let numbers: BTreeSet<_> = acknowledged.iter().map(|put| put.sequence_number).collect();
        assert_eq!(numbers.len(), acknowledged.len(), "{level:?}");
        store.close().unwrap();
        let store = options.open("store").unwrap();
        let stream = store.stream("clicks").unwrap();
        let stored: BTreeSet<_> = numbers_in(&stream).collect();
        assert_eq!(stored, numbers, "{level:?}");
    }
}

#[test]
fn a_full_disk_is_read_to_the_end_of_what_is_on_it() {
    for level in LEVELS {
        let disk = SimDisk::new(1);
        let store = on_3_mib(&disk).durability(level).open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        let mut acknowledged = Vec::new();
        fill(&stream, &mut acknowledged);
        let acknowledged: Vec<_> = acknowledged.iter().map(|put| put.sequence_number).collect();
        let seen: Vec<_> = numbers_in(&stream).collect();
        let (before, unwritten) = acknowledged.split_at(seen.len());
        assert_eq!(seen, before, "{level:?}");
        let is_all = unwritten.is_empty();
        assert_eq!(is_all, level != Durability::Buffered, "{level:?}: {unwritten:?}");
        assert!(seen.len() > unwritten.len(), "{level:?}: {unwritten:?}");
        disk.set_capacity(30 << 20);
        stream.put("key", b"there is room again").unwrap();
        let seen: Vec<_> = numbers_in(&stream).collect();
        assert_eq!(seen[..acknowledged.len()], acknowledged, "{level:?}");
    }
}

/// A record for each of six shards.
fn one_for_each() -> Vec<PutRecord<'static>> {
    let step = HashKey::MAX.value() / 6;
    let keys = (0..6).map(|shard| HashKey::new(step * shard + 7));
    keys.map(|key| PutRecord::new("key", b"data").explicit_hash_key(key))
        .collect()
}

#[test]
fn shards_that_get_no_segment_on_a_full_disk_do_not_fail_the_others_of_the_batch() {
    for level in LEVELS {
        let disk = SimDisk::new(1);
        let options = StoreOptions::new()
            .durability(level)
            .segment_bytes(64 << 10)
            .keeper(false)
            .disk(disk.clone());
        let store = options.open("store").unwrap();
        let stream = store.create_stream("clicks", 6).unwrap();
        disk.set_capacity(disk.used_bytes() + (252 << 10));
        let mut acknowledged = Vec::new();
        let mut put_into_each = || {
            let outcomes = stream.append(&one_for_each()).unwrap().each().wait();
            let refused = outcomes.iter().filter(|outcome| match outcome {
                Ok(_) => false,
                Err(Error::StorageFull { .. }) => true,
                Err(error) => panic!("{level:?}: {error}"),
            });
            let refused = refused.count();
            acknowledged.extend(outcomes.into_iter().flatten());
            refused
        };
        let refused = put_into_each();
        assert!((1..=5).contains(&refused), "{level:?}: {refused} of 6");
        disk.set_capacity(30 << 20);
        assert_eq!(put_into_each(), 0, "{level:?}");

        let numbers: BTreeSet<_> = acknowledged.iter().map(|put| put.sequence_number).collect();
        let stored: BTreeSet<_> = numbers_in(&stream).collect();
        assert_eq!(stored, numbers, "{level:?}");
        store.close().unwrap();
    }
}

/// The directories of a stream and of its shard are made and synced, a file is renamed, and it and its directory are
/// synced. Until then there is no frame that could be lost.
#[test]
fn a_disk_that_is_full_in_any_step_of_beginning_a_segment_refuses_one_put_and_takes_the_next() {
    let steps = [
        (Operation::CreateDir, 1),
        (Operation::CreateDir, 2),
        (Operation::SyncDir, 1),
        (Operation::SyncDir, 2),
        (Operation::SyncDir, 3),
        (Operation::Rename, 1),
        (Operation::SyncData, 1),
    ];
    for (level, (operation, nth)) in LEVELS
        .into_iter()
        .flat_map(|level| steps.map(|step| (level, step)))
    {
        let disk = SimDisk::new(1);
        let options = StoreOptions::new()
            .durability(level)
            .keeper(false)
            .disk(disk.clone());
        let store = options.open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        disk.faults().fail_nth(operation, nth, ErrorKind::StorageFull);
        let refused = stream.put("key", b"refused").unwrap_err();
        assert!(
            matches!(refused, Error::StorageFull { .. }),
            "{level:?}, {operation} {nth}: {refused}"
        );
        let put = stream.put("key", b"taken").unwrap();
        store.close().unwrap();
        let store = options.open("store").unwrap();
        let stream = store.stream("clicks").unwrap();
        let stored: Vec<_> = numbers_in(&stream).collect();
        assert_eq!(stored, [put.sequence_number], "{level:?}, {operation} {nth}");
        store.close().unwrap();
    }
}

#[test]
fn a_stream_can_be_deleted_on_a_full_disk_to_make_room() {
    let options = on_3_mib(&SimDisk::new(1)).max_recycled_bytes(0);
    let store = options.open("store").unwrap();
    let big = store.create_stream("big", 1).unwrap();
    let small = store.create_stream("small", 1).unwrap();
    fill(&big, &mut Vec::new());
    delete(&store, "big");
    store.maintain().unwrap();
    small.put("key", b"fits").unwrap();
}

/// Puts records of 100 KB until one is refused, and gives their bytes.
fn fill_with_large(stream: &Stream) -> u64 {
    let data = vec![b'x'; 100_000];
    let mut bytes = 0;
    loop {
        match stream.put("key", &data) {
            Ok(_) => bytes += data.len() as u64,
            Err(Error::StorageFull { .. }) => return bytes,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_disk_is_not_full_while_a_smaller_segment_fits() {
    for level in LEVELS {
        let (_, store) = on_64_mib(StoreOptions::new().durability(level));
        let stored = fill_with_large(&store.create_stream("clicks", 1).unwrap());
        assert!(stored > 60 * MIB, "{level:?}: {stored} bytes");
    }
}

#[test]
fn what_a_deleted_stream_frees_can_be_used_for_segments_of_every_size_and_for_the_manifest() {
    let (disk, store) = on_64_mib(StoreOptions::new());
    fill_with_large(&store.create_stream("deleted", 1).unwrap());
    delete(&store, "deleted");
    // The deleted stream's files wait for reuse, because as many bytes are free beside them. Then other data takes that
    // room.
    disk.set_capacity(256 * MIB);
    store.maintain().unwrap();
    assert!(disk.used_bytes() > 60 * MIB, "{} bytes", disk.used_bytes());
    disk.set_capacity(disk.used_bytes());
    let wide = store.create_stream("wide", 4_000).unwrap();
    wide.put("key", &vec![7; 900_000]).unwrap();
    let stored = fill_with_large(&store.create_stream("clicks", 1).unwrap());
    assert!(stored > 50 * MIB, "{stored} bytes");
}

#[test]
fn what_a_deleted_stream_had_goes_back_to_a_disk_that_is_short_of_space() {
    let (disk, store) = on_64_mib(StoreOptions::new());
    fill_with_large(&store.create_stream("deleted", 1).unwrap());
    assert!(disk.used_bytes() > 60 * MIB, "{} bytes", disk.used_bytes());
    delete(&store, "deleted");
    store.maintain().unwrap();
    assert!(disk.used_bytes() < 33 * MIB, "{} bytes", disk.used_bytes());
}

#[test]
fn files_that_wait_to_be_segments_again_make_room_when_others_fill_the_disk() {
    let (disk, store) = on_64_mib(StoreOptions::new());
    fill_with_large(&store.create_stream("deleted", 1).unwrap());
    delete(&store, "deleted");
    disk.set_capacity(1024 * MIB);
    store.maintain().unwrap();
    let kept = disk.used_bytes();
    assert!(kept > 60 * MIB, "{kept} bytes");
    let capacity = kept + 10 * MIB;
    disk.set_capacity(capacity);
    store.maintain().unwrap();
    let free = capacity - disk.used_bytes();
    assert!(free >= disk.used_bytes() - MIB, "{free} bytes are free");
}

/// Edits that free no room must not take the last of it: checkpoints, and the edits that note writes to a log.
#[test]
fn small_changes_on_a_full_disk_leave_room_for_those_that_free_some() {
    let options = on_3_mib(&SimDisk::new(1)).max_recycled_bytes(0);
    let store = options.open("store").unwrap();
    let big = store.create_stream("big", 1).unwrap();
    let small = store.create_stream("small", 1).unwrap();
    fill(&big, &mut Vec::new());
    let checkpoint = small.reader(StartingPosition::TrimHorizon).unwrap().checkpoint();
    let mut refused = 0;
    for number in 0..10_000 {
        match small.reset_checkpoint(&format!("reader-{}", number % 7), &checkpoint) {
            Ok(()) => {}
            Err(Error::StorageFull { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 0, "the manifest has room for everything");
    // A shorter retention, trimming and deletion can still be written.
    big.set_retention(anabranch::Retention::hours(1)).unwrap();
    let mut reader = big.reader(StartingPosition::TrimHorizon).unwrap();
    let read = (&mut reader).take(40).filter(Result::is_ok).count();
    assert_eq!(read, 40);
    big.trim_to(&reader.checkpoint()).unwrap();
    store.maintain().unwrap();
    small.reset_checkpoint("reader-0", &checkpoint).unwrap();
    small.put("key", b"fits").unwrap();
    big.delete().unwrap();
    store.close().unwrap();
    let store = options.open("store").unwrap();
    assert_eq!(numbers_in(&store.stream("small").unwrap()).count(), 1);
}
