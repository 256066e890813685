//! Disks that cannot be read in one place, or no longer written to: all that is readable is read.

use std::path::{Path, PathBuf};

use anabranch::inspect::{DumpItem, DumpOptions, DumpWhat, DumpedFrame, Inspection};
use anabranch::sim::SimDisk;
use anabranch::{
    Error, HashKey, PutRecord, ReadLimit, Record, ShardId, ShardIterator, StartingPosition, Store,
    StoreOptions, Stream,
};

const DIRECTORY: &str = "store";

/// The number of records in each shard. Three fill a segment.
const RECORDS: u8 = 8;

const MANY: ReadLimit = ReadLimit {
    records: 1_000,
    bytes: 10 << 20,
};
const FEW: ReadLimit = ReadLimit {
    records: 10,
    bytes: 10 << 20,
};

fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 * 1024)
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(usize::MAX)
        .disk(disk.clone())
}

/// A stream of two shards, whose records contain their place.
fn filled(store: &Store) -> Stream {
    let stream = store.create_stream("clicks", 2).unwrap();
    for number in 0..RECORDS {
        for key in [HashKey::MIN, HashKey::MAX] {
            let data = [number; 19_000];
            let record = PutRecord::new("key", &data).explicit_hash_key(key);
            stream.put_record(&record).unwrap();
        }
    }
    stream
}

fn first_shard(stream: &Stream) -> ShardId {
    stream.describe().unwrap().shards[0].id
}

/// The frames of a shard, oldest first.
fn frames(disk: &SimDisk, shard: ShardId) -> Vec<DumpedFrame> {
    let mut frames = Vec::new();
    Inspection::of(DIRECTORY)
        .disk(disk.clone())
        .dump(&DumpOptions::of(DumpWhat::Frames), &mut |item| {
            match item {
                DumpItem::Frame(frame) if is_of(&frame.path, shard) => frames.push(frame),
                _ => {}
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    frames
}

fn is_of(path: &Path, shard: ShardId) -> bool {
    path.to_string_lossy().contains(&shard.to_string())
}

fn remove_indexes(disk: &SimDisk) {
    let files = disk.rot().files();
    let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "index");
    for (path, _) in files.iter().filter(|(path, _)| is_index(path)) {
        disk.rot().remove(path).unwrap();
    }
}

fn numbers<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    records.into_iter().map(|record| record.data[0]).collect()
}

/// Reads a shard from a position to its first error, or its end.
fn read(stream: &Stream, mut from: ShardIterator, limit: &ReadLimit) -> (Vec<u8>, Option<Error>) {
    let mut found = Vec::new();
    loop {
        match stream.get_records(&from, limit) {
            Ok(read) if read.records.is_empty() => return (found, None),
            Ok(read) => {
                found.extend(numbers(&read.records));
                from = read.next.unwrap();
            }
            Err(error) => return (found, Some(error)),
        }
    }
}

#[test]
fn a_bad_sector_is_an_error_of_its_place_and_of_nothing_else() {
    for (map, limit) in [(false, MANY), (false, FEW), (true, MANY), (true, FEW)] {
        let disk = SimDisk::new(1);
        let store = options(&disk).map_sealed_segments(map).open(DIRECTORY).unwrap();
        let stream = filled(&store);
        let shard = first_shard(&stream);
        let bad = &frames(&disk, shard)[4];
        store.close().unwrap();
        remove_indexes(&disk);
        disk.rot().spoil_sector(&bad.path, bad.offset + 5_000).unwrap();

        let store = options(&disk).map_sealed_segments(map).open(DIRECTORY).unwrap();
        let stream = store.stream("clicks").unwrap();
        let at = |position| stream.shard_iterator(shard, position).unwrap();
        let start = at(StartingPosition::TrimHorizon);
        for _ in 0..2 {
            let (found, error) = read(&stream, start, &limit);
            assert_eq!(found, [0, 1, 2, 3]);
            match error {
                Some(Error::Unreadable { path, offset, .. }) => {
                    assert_eq!((path, offset), (bad.path.clone(), bad.offset));
                }
                other => panic!("{other:?}"),
            }
        }
        // The records behind it can be read, too.
        let behind = stream.get_records(&start, &FEW).unwrap().records[3].sequence_number;
        let behind = behind.record_number().next().next();
        let (found, error) = read(
            &stream,
            ShardIterator {
                next: behind,
                ..start
            },
            &limit,
        );
        assert_eq!(
            (found, error.map(|error| error.to_string())),
            (vec![5, 6, 7], None)
        );

        // A reader of both shards gets the error, and goes on with the other shard.
        let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
        let (mut here, mut there, mut errors) = (Vec::new(), Vec::new(), 0);
        for record in reader.by_ref() {
            match record {
                Ok(record) if record.sequence_number.shard_id() == shard => here.push(record.data[0]),
                Ok(record) => there.push(record.data[0]),
                Err(Error::Unreadable { .. }) => errors += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(here, [0, 1, 2, 3]);
        assert_eq!(there, (0..RECORDS).collect::<Vec<_>>());
        assert!(errors > 0);

        // The shard takes records, and all of them can be read once the place is readable.
        stream
            .put_record(&PutRecord::new("key", &[RECORDS]).explicit_hash_key(HashKey::MIN))
            .unwrap();
        disk.rot().mend_sectors(&bad.path).unwrap();
        let rest: Vec<_> = reader.map(Result::unwrap).collect();
        assert_eq!(numbers(&rest), [4, 5, 6, 7, 8]);
        store.close().unwrap();
    }
}

#[test]
fn a_bad_header_page_is_an_error_of_its_segment() {
    let disk = SimDisk::new(1);
    let store = options(&disk).map_sealed_segments(false).open(DIRECTORY).unwrap();
    let stream = filled(&store);
    let shard = first_shard(&stream);
    let path = frames(&disk, shard)[0].path.clone();
    store.close().unwrap();
    disk.rot().spoil_sector(&path, 0).unwrap();

    let store = options(&disk).map_sealed_segments(false).open(DIRECTORY).unwrap();
    let stream = store.stream("clicks").unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    let found: Vec<_> = reader.by_ref().filter_map(Result::ok).collect();
    assert_eq!(numbers(&found), (0..RECORDS).collect::<Vec<_>>());
    let is_of_shard = |record: &PutRecord<'_>| stream.put_record(record).unwrap().shard_id == shard;
    assert!(is_of_shard(
        &PutRecord::new("key", b"more").explicit_hash_key(HashKey::MIN)
    ));
    disk.rot().mend_sectors(&path).unwrap();
    assert_eq!(reader.map(Result::unwrap).count(), usize::from(RECORDS) + 1);
}

#[test]
fn a_file_system_that_became_read_only_is_read() {
    for map in [false, true] {
        let disk = SimDisk::new(1);
        // With one open file, each read opens others.
        let opened = |disk: &SimDisk| {
            let options = options(disk).map_sealed_segments(map).max_open_segments(1);
            options.open(DIRECTORY).unwrap()
        };
        filled(&opened(&disk));
        remove_indexes(&disk);
        let store = opened(&disk);
        let stream = store.stream("clicks").unwrap();
        disk.make_read_only();
        for round in 0..2 {
            let found: Vec<_> = stream.reader(StartingPosition::TrimHorizon).unwrap().collect();
            let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
            assert_eq!(found.len(), 2 * usize::from(RECORDS), "round {round}");
            let last = found.last().unwrap().approximate_arrival;
            let shard = first_shard(&stream);
            stream
                .shard_iterator(shard, StartingPosition::AtTimestamp(last))
                .unwrap();
            // Puts fail, and reads go on.
            stream.put("key", b"no").unwrap_err();
        }
        // Nothing was written, so the close may succeed.
        let _ = store.close();
    }
}
