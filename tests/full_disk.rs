//! A full disk refuses records, keeps what it acknowledged, and takes records again once there is room.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use anabranch::sim::SimDisk;
use anabranch::{Durability, Error, Put, StartingPosition, StoreOptions, Stream};

const LEVELS: [Durability; 3] = [Durability::Synced, Durability::Written, Durability::Buffered];

/// Puts until the disk is full, and a little longer.
fn fill(stream: &Stream, acknowledged: &mut Vec<Put>) {
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
        disk.set_capacity(3 << 20);
        let options = StoreOptions::new()
            .durability(level)
            .segment_bytes(256 << 10)
            .keeper(false)
            .disk(disk.clone());
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
        let stored: BTreeSet<_> = stream
            .reader(StartingPosition::TrimHorizon)
            .unwrap()
            .map(|record| record.unwrap().sequence_number)
            .collect();
        assert_eq!(stored, numbers, "{level:?}");
    }
}

#[test]
fn a_stream_can_be_deleted_on_a_full_disk_to_make_room() {
    let disk = SimDisk::new(1);
    disk.set_capacity(3 << 20);
    let options = StoreOptions::new()
        .segment_bytes(256 << 10)
        .keeper(false)
        .max_recycled_bytes(0)
        .disk(disk);
    let store = options.open("store").unwrap();
    let big = store.create_stream("big", 1).unwrap();
    let small = store.create_stream("small", 1).unwrap();
    fill(&big, &mut Vec::new());
    store.delete_stream("big").unwrap();
    store.maintain().unwrap();
    small.put("key", b"fits").unwrap();
}

const MIB: u64 = 1 << 20;

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
        let disk = SimDisk::new(1);
        disk.set_capacity(64 * MIB);
        let options = StoreOptions::new().durability(level).keeper(false).disk(disk);
        let store = options.open("store").unwrap();
        let stored = fill_with_large(&store.create_stream("clicks", 1).unwrap());
        assert!(stored > 60 * MIB, "{level:?}: {stored} bytes");
    }
}

#[test]
fn what_a_deleted_stream_frees_can_be_used_for_segments_of_every_size_and_for_the_manifest() {
    let disk = SimDisk::new(1);
    disk.set_capacity(64 * MIB);
    let store = StoreOptions::new()
        .keeper(false)
        .disk(disk.clone())
        .open("store")
        .unwrap();
    fill_with_large(&store.create_stream("deleted", 1).unwrap());
    store.delete_stream("deleted").unwrap();
    // There is no room to prepare another segment ahead, which is all that fails.
    drop(store.maintain());
    // The deleted stream's files wait to be segments again.
    disk.set_capacity(disk.used_bytes());
    let wide = store.create_stream("wide", 4_000).unwrap();
    wide.put("key", &vec![7; 900_000]).unwrap();
    let stored = fill_with_large(&store.create_stream("clicks", 1).unwrap());
    assert!(stored > 50 * MIB, "{stored} bytes");
}
