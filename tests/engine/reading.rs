//! Reading a shard: in large and small steps, by several readers, and up to damage.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::backends::{Place, on_each_backend};
use anabranch::{
    Error, PutRecord, ReadLimit, Record, RecordBatch, ShardId, ShardIterator, StartingPosition, Store,
    StoreOptions, Stream,
};

const MUCH: ReadLimit = ReadLimit {
    records: 10_000,
    bytes: 10 << 20,
};

fn shard() -> ShardId {
    ShardId::new(0).unwrap()
}

fn oldest(stream: &Stream) -> ShardIterator {
    stream
        .shard_iterator(shard(), StartingPosition::TrimHorizon)
        .unwrap()
}

/// All records from a position on, read in steps of the limit.
fn read_in_steps(stream: &Stream, from: ShardIterator, limit: &ReadLimit) -> Vec<Record> {
    let mut next = Some(from);
    let mut records = Vec::new();
    while let Some(from) = next {
        let read: RecordBatch = stream.get_records(&from, limit).unwrap();
        assert!(read.records.len() <= limit.records);
        next = read.next.filter(|_| !read.records.is_empty());
        records.extend(read.records);
    }
    records
}

/// Puts groups of one and of many records, with records and keys of many sizes, into several segments. The last segment
/// is being written to.
fn put_all_sizes(stream: &Stream) -> usize {
    let keys: Vec<_> = (1..=256).map(|length| "k".repeat(length)).collect();
    let mut put = 0;
    for round in 0..40 {
        let data = vec![round as u8; 1 + round * 700];
        stream.put(&keys[round], &data).unwrap();
        let group: Vec<_> = (0..round)
            .map(|n| PutRecord::new(&keys[n * 6], &data[..n * 5 % data.len()]))
            .collect();
        put += 1 + group.len();
        if !group.is_empty() {
            stream.put_records(&group).unwrap();
        }
    }
    put
}

fn options() -> StoreOptions {
    StoreOptions::new().segment_bytes(256 << 10).keeper(false)
}

on_each_backend!(
    the_same_records_are_read_in_steps_of_any_size_mapped_or_not,
    more_readers_than_places_are_remembered_each_see_everything,
    a_checkpoint_lies_behind_the_last_record_handed_out,
);

fn the_same_records_are_read_in_steps_of_any_size_mapped_or_not(place: &Place) {
    let few = |records| ReadLimit { records, ..MUCH };
    let small = |bytes| ReadLimit { bytes, ..MUCH };
    for map in [true, false] {
        let place = place.another();
        let store = place.open_with(&options().map_sealed_segments(map).max_mapped_bytes(300 << 10));
        let stream = store.create_stream("clicks", 1).unwrap();
        let put = put_all_sizes(&stream);
        let all = read_in_steps(&stream, oldest(&stream), &MUCH);
        assert_eq!(all.len(), put);
        for limit in [
            few(1),
            few(7),
            few(100),
            small(0),
            small(30_000),
            small(100_000),
            MUCH,
        ] {
            let read = read_in_steps(&stream, oldest(&stream), &limit);
            assert!(read == all, "{limit:?}, map {map}");
        }
        for (at, record) in all.iter().enumerate().rev().step_by(13) {
            let position = StartingPosition::AtSequenceNumber(record.sequence_number);
            let from = stream.shard_iterator(shard(), position).unwrap();
            let read = stream.get_records(&from, &few(1)).unwrap();
            assert!(read.records[..] == all[at..=at], "record {at}, map {map}");
        }
    }
}

fn more_readers_than_places_are_remembered_each_see_everything(place: &Place) {
    let store = place.open_with(&options());
    let stream = store.create_stream("clicks", 1).unwrap();
    let put = put_all_sizes(&stream);
    let mut readers: Vec<_> = (1..=20).map(|step| (step, oldest(&stream), Vec::new())).collect();
    let mut idle = 0;
    while idle < readers.len() {
        idle = 0;
        for (step, from, records) in &mut readers {
            let limit = ReadLimit {
                records: *step,
                ..MUCH
            };
            let read = stream.get_records(from, &limit).unwrap();
            idle += usize::from(read.records.is_empty());
            records.extend(read.records);
            *from = read.next.unwrap();
        }
    }
    let (_, _, first) = &readers[0];
    assert_eq!(first.len(), put);
    assert!(readers.iter().all(|(_, _, records)| records == first));
}

#[test]
fn damage_behind_the_place_where_a_reader_left_off_is_reported_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = options().open(directory.path()).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    for _ in 0..3 {
        stream.put("key", &[7; 1_000]).unwrap();
    }
    let one = ReadLimit { records: 1, ..MUCH };
    let first = stream.get_records(&oldest(&stream), &one).unwrap();
    let file = only_segment(directory.path());
    // Each record is a frame: a header of 64 bytes, the record with 16 in front of it, whole words.
    let frame = (64 + 16 + 3 + 1_000_u64).next_multiple_of(8);
    let second = 4096 + frame;
    for at in [second + 500, second + 20] {
        flip(&file, at);
        let from = first.next.unwrap();
        match stream.get_records(&from, &one).unwrap_err() {
            Error::Corrupt { path, offset, .. } => assert_eq!((path, offset), (file.clone(), second)),
            other => panic!("{other}"),
        }
        // The records before it are still served.
        let read = stream.get_records(&oldest(&stream), &MUCH).unwrap();
        assert_eq!(read.records, first.records);
    }
}

fn a_checkpoint_lies_behind_the_last_record_handed_out(place: &Place) {
    let store: Store = place.open_with(&options());
    let stream = store.create_stream("clicks", 2).unwrap();
    for n in 0..50 {
        stream.put(&format!("key-{n}"), n.to_string().as_bytes()).unwrap();
    }
    let all: Vec<_> = stream
        .reader(StartingPosition::TrimHorizon)
        .unwrap()
        .map(|record| record.unwrap().data)
        .collect();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    for at in 0..=all.len() {
        let mut resumed: Vec<_> = stream
            .reader_from(reader.checkpoint())
            .unwrap()
            .map(|record| record.unwrap().data)
            .collect();
        let mut left = all[at..].to_vec();
        resumed.sort();
        left.sort();
        assert_eq!(resumed, left, "behind {at}");
        reader.next();
    }
}

fn only_segment(store: &Path) -> PathBuf {
    let shard = store.join("streams/1/shardId-000000000000");
    let mut files = std::fs::read_dir(shard)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.extension().is_some_and(|it| it == "log"));
    file.unwrap()
}

fn flip(file: &Path, at: u64) {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}
