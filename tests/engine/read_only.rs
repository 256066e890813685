//! A store that is only read: all records are there, also those that only recovery finds, and nothing on the disk
//! changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::disk::Disk;
use anabranch::inspect::Inspection;
use anabranch::sim::{LossMode, Operation, SimDisk};
use anabranch::{
    Error, HashKey, ManualClock, PutRecord, ReadLimit, Result, ShardFilter, ShardId, StartingPosition, Store,
    StoreOptions, Stream, StreamOptions, StreamStatus, Timestamp,
};
use anabranch_harness::files::{set_modes, tree};

const DIRECTORY: &str = "store";
const MUCH: ReadLimit = ReadLimit {
    records: 10_000,
    bytes: 10 << 20,
};

fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 << 10)
        .keeper(false)
        .flusher_threads(1)
        .disk(disk.clone())
}

fn read_only(disk: &SimDisk) -> StoreOptions {
    options(disk).read_only(true)
}

fn key(number: u32) -> String {
    format!("key {number}")
}

/// Data that no other record has.
fn data(number: u32) -> Vec<u8> {
    let mut data = format!("record {number}.").into_bytes();
    data.resize(3_000, number as u8);
    data
}

/// Puts records of these numbers, all at once.
fn put(stream: &Stream, numbers: std::ops::Range<u32>) {
    let records: Vec<_> = numbers.map(|number| (key(number), data(number))).collect();
    let records: Vec<_> = records
        .iter()
        .map(|(key, data)| PutRecord::new(key, data))
        .collect();
    stream.put_records(&records).unwrap();
}

/// A stream of four shards, with records in segments and only in the journal, one shard split, and a checkpoint.
fn filled(store: &Store) -> Stream {
    let stream = store.create_stream("clicks", 4).unwrap();
    for round in 0..12 {
        put(&stream, 20 * round..20 * (round + 1));
    }
    let shard = ShardId::new(0).unwrap();
    stream.split_shard(shard, HashKey::MAX / 8).unwrap();
    put(&stream, 240..260);
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.next().unwrap().unwrap();
    reader.save_checkpoint("worker").unwrap();
    stream.register_consumer("archive").unwrap();
    stream
}

/// The records of every shard of every stream, to its end or its first error.
type Contents = BTreeMap<(String, ShardId), (Vec<Vec<u8>>, Option<String>)>;

fn contents(store: &Store) -> Contents {
    let mut contents = BTreeMap::new();
    for summary in store.streams(None, 100).unwrap() {
        let stream = store.stream(&summary.name).unwrap();
        for shard in stream.shards(&ShardFilter::FromTrimHorizon).unwrap() {
            let mut records = Vec::new();
            let error = read_shard(&stream, shard.id, &mut records).err();
            let read = (records, error.map(|error| error.to_string()));
            contents.insert((summary.name.clone(), shard.id), read);
        }
    }
    contents
}

fn read_shard(stream: &Stream, shard: ShardId, records: &mut Vec<Vec<u8>>) -> Result<()> {
    let mut next = Some(stream.shard_iterator(shard, StartingPosition::TrimHorizon)?);
    while let Some(from) = next {
        let read = stream.get_records(&from, &MUCH)?;
        next = read.next.filter(|_| !read.records.is_empty());
        records.extend(read.records.iter().map(|record| record.data.to_vec()));
    }
    Ok(())
}

/// All data of a store whose shards give no error.
fn all_data(store: &Store) -> Vec<Vec<u8>> {
    let shards = contents(store).into_values();
    let mut data: Vec<_> = shards
        .flat_map(|(records, error)| {
            assert_eq!(error, None);
            records
        })
        .collect();
    data.sort();
    data
}

fn data_of(numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    let mut expected: Vec<_> = numbers.map(data).collect();
    expected.sort();
    expected
}

/// The files on a disk.
fn files(disk: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = disk.rot().files().into_iter();
    files
        .map(|(path, _)| (path.clone(), disk.rot().read(&path).unwrap()))
        .collect()
}

/// The number of calls that change the disk, refused ones included.
fn changing_calls(disk: &SimDisk) -> u64 {
    let calls = Operation::CreateDir
        | Operation::Rename
        | Operation::RemoveFile
        | Operation::RemoveDir
        | Operation::Write
        | Operation::Allocate
        | Operation::SetLength
        | Operation::Release;
    disk.calls(calls)
}

/// Opens a disk's store read-only, runs `look`, closes the store, and checks that the disk is unchanged.
fn look<T>(disk: &SimDisk, look: impl Fn(&Store) -> T) -> T {
    let (before, calls) = (files(disk), changing_calls(disk));
    let store = read_only(disk).open(DIRECTORY).unwrap();
    let seen = look(&store);
    store.maintain().unwrap();
    store.close().unwrap();
    assert!(matches!(store.streams(None, 1), Err(Error::Closed)));
    assert_eq!(changing_calls(disk), calls);
    assert!(files(disk) == before, "the disk has changed");
    seen
}

#[test]
fn a_closed_store_on_a_read_only_file_system_is_all_there() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = filled(&store);
    let (expected, described) = (contents(&store), stream.describe().unwrap());
    let (id, secret) = (store.id(), store.secret());
    store.close().unwrap();
    drop((store, stream));
    disk.make_read_only();
    // The second time gives the same.
    for _ in 0..2 {
        look(&disk, |store| {
            assert_eq!(contents(store), expected);
            assert_eq!((store.id(), store.secret()), (id, secret));
            let stream = store.stream("clicks").unwrap();
            assert_eq!(stream.describe().unwrap(), described);
            assert_eq!(stream.checkpoint_names().unwrap(), ["worker"]);
            let mut reader = stream.resume_reader("worker", StartingPosition::Latest).unwrap();
            assert_eq!(reader.by_ref().map(Result::unwrap).count(), 259);
        });
    }
    assert_eq!(disk.open_files(), 0);
}

/// Whether a record's bytes are in a file whose path has this part.
fn is_in(disk: &SimDisk, part: &str, record: &[u8]) -> bool {
    files(disk).iter().any(|(path, bytes)| {
        path.to_string_lossy().contains(part) && bytes.windows(record.len()).any(|window| window == record)
    })
}

#[test]
fn what_only_the_journal_of_a_killed_store_has_is_read() {
    let disk = SimDisk::new(1);
    let store = options(&disk)
        .min_journaled_shards(1)
        .segment_bytes(1 << 20)
        .open(DIRECTORY)
        .unwrap();
    let stream = store.create_stream("clicks", 8).unwrap();
    for round in 0..5 {
        put(&stream, 40 * round..40 * (round + 1));
    }
    let disk = disk.crash(LossMode::LoseAll);
    let last = b"record 199.";
    assert!(is_in(&disk, "journal", last) && !is_in(&disk, "streams", last));
    disk.make_read_only();
    for _ in 0..2 {
        assert_eq!(look(&disk, all_data), data_of(0..200));
    }
    // Then it recovers as usual.
    let disk = disk.crash(LossMode::KeepAll);
    let store = options(&disk).open(DIRECTORY).unwrap();
    assert_eq!(all_data(&store), data_of(0..200));
}

#[test]
fn it_shows_of_any_crash_what_a_recovery_on_the_disk_does() {
    for seed in 0..24 {
        let disk = SimDisk::new(seed);
        let journaled = [1, usize::MAX][seed as usize % 2];
        let store = options(&disk)
            .min_journaled_shards(journaled)
            .open(DIRECTORY)
            .unwrap();
        // The machine stops somewhere in between.
        disk.faults()
            .freeze_nth(anabranch::sim::Calls::ALL, 20 + 37 * seed);
        let _ = store.create_stream("clicks", 3).and_then(|stream| {
            for number in 0..200 {
                let _ = stream.put(&key(number), &data(number))?;
            }
            stream.split_shard(ShardId::new(1).unwrap(), HashKey::MAX / 2)
        });
        for mode in LossMode::ALL {
            let disk = disk.crash(mode);
            let recovered = options(&disk.image(LossMode::KeepAll)).open(DIRECTORY).unwrap();
            disk.make_read_only();
            assert_eq!(look(&disk, contents), contents(&recovered), "{seed} {mode:?}");
        }
    }
}

#[test]
fn what_is_shown_survives_a_power_loss() {
    let disk = SimDisk::new(1);
    let store = options(&disk)
        .durability(anabranch::Durability::Written)
        .open(DIRECTORY)
        .unwrap();
    put(&store.create_stream("clicks", 1).unwrap(), 0..10);
    // The process is killed, and its writes are only in the page cache.
    let disk = disk.crash(LossMode::KeepAll);
    assert_eq!(look(&disk, all_data), data_of(0..10));
    let disk = disk.crash(LossMode::LoseAll);
    let store = options(&disk).open(DIRECTORY).unwrap();
    assert_eq!(all_data(&store), data_of(0..10));
}

#[test]
fn damage_is_told_and_what_is_before_it_and_elsewhere_is_read() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    filled(&store);
    let whole = contents(&store);
    store.close().unwrap();
    let damaged = *whole.keys().last().map(|(_, shard)| shard).unwrap();
    let files = disk.rot().files();
    let (segment, _) = files
        .iter()
        .find(|(path, _)| {
            path.to_string_lossy().contains(&damaged.to_string()) && path.extension() == Some("log".as_ref())
        })
        .unwrap();
    disk.rot().flip_bit(segment, 4_096 + 200, 1).unwrap();
    // One copy of the manifest, which a writer would rewrite.
    let (manifest, _) = files
        .iter()
        .find(|(path, _)| path.to_string_lossy().contains("MANIFEST"))
        .unwrap();
    disk.rot().flip_bit(manifest, 100, 1).unwrap();
    disk.make_read_only();
    for ((name, shard), (records, error)) in look(&disk, contents) {
        let before = &whole[&(name, shard)].0;
        match error {
            Some(error) => {
                assert_eq!((shard, records.len()), (damaged, 0));
                assert!(error.contains("is damaged at byte 4096"), "{error}");
            }
            None => assert!(shard != damaged && records == *before, "{shard}"),
        }
    }
}

#[test]
fn every_change_is_refused_and_makes_none() {
    for delay in [Duration::ZERO, Duration::from_secs(3_600)] {
        let disk = SimDisk::new(1);
        let store = options(&disk).open(DIRECTORY).unwrap();
        filled(&store);
        store.close().unwrap();
        disk.make_read_only();
        let store = read_only(&disk).transition_delay(delay).open(DIRECTORY).unwrap();
        let stream = store.stream("clicks").unwrap();
        let (before, described) = (contents(&store), stream.describe().unwrap());
        let checkpoint = stream.checkpoint("worker").unwrap().unwrap();
        let consumer = &stream.consumers().unwrap()[0];
        let open: Vec<_> = stream
            .shards(&ShardFilter::AtLatest)
            .unwrap()
            .into_iter()
            .map(|shard| shard.id)
            .collect();
        let record = PutRecord::new("key", b"data");
        let batch = [
            record,
            PutRecord::new("another key", b"data"),
            PutRecord::new("b", b""),
        ];
        let refusals = [
            store.create_stream("another", 1).map(drop),
            store
                .create_stream_with("another", StreamOptions::default())
                .map(drop),
            store.stream("clicks").and_then(|stream| stream.delete()),
            stream.put("key", b"data").map(drop),
            stream.put_record(&record).map(drop),
            stream.put_records(&batch).map(drop),
            stream.append(&batch).map(drop),
            stream.try_append(&[record]).map(drop),
            stream.try_append(&batch).map(drop),
            stream.split_shard(open[0], HashKey::MAX / 100),
            stream.merge_shards(open[0], open[1]),
            stream.increase_retention(anabranch::Retention::hours(48)),
            stream.decrease_retention(anabranch::Retention::hours(24)),
            stream.save_checkpoint("worker", &checkpoint),
            stream.reset_checkpoint("worker", &checkpoint),
            stream.compare_and_set_checkpoint("worker", Some(&checkpoint), &checkpoint),
            stream
                .group("worker", StartingPosition::Latest)
                .and_then(|group| group.join("member", &Default::default()))
                .map(drop),
            stream.group("another", StartingPosition::Latest).map(drop),
            stream.remove_checkpoint("worker"),
            stream.change_tags(&[("owner".into(), "billing".into())].into(), &[], 50),
            stream.set_attribute("policy", Some(b"none")),
            stream.register_consumer("reader").map(drop),
            stream.remove_consumer(consumer.id),
            store.set_attribute("limits", None),
            store
                .namespace("tests")
                .unwrap()
                .set_attribute("limits", Some(b"none")),
            stream.delete(),
        ];
        for (verb, refused) in refusals.into_iter().enumerate() {
            assert!(matches!(refused, Err(Error::ReadOnly)), "{verb}: {refused:?}");
        }
        assert_eq!(stream.describe().unwrap(), described);
        assert_eq!(stream.checkpoint("worker").unwrap(), Some(checkpoint));
        assert_eq!(contents(&store), before);
        store.close().unwrap();
        assert!(matches!(stream.put("key", b"data"), Err(Error::Closed)));
    }
}

#[test]
fn a_change_that_was_under_way_stays_so() {
    let disk = SimDisk::new(1);
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let hour = Duration::from_secs(3_600);
    let store = options(&disk)
        .clock(clock.clone())
        .transition_delay(hour)
        .open(DIRECTORY)
        .unwrap();
    store.create_stream("clicks", 1).unwrap();
    clock.advance(2 * hour);
    put(
        &store.stream_by_id(store.stream("clicks").unwrap().id()).unwrap(),
        0..3,
    );
    store.stream("clicks").and_then(|stream| stream.delete()).unwrap();
    store.close().unwrap();
    clock.advance(2 * hour);
    let store = read_only(&disk).clock(clock.clone()).open(DIRECTORY).unwrap();
    clock.advance(2 * hour);
    store.maintain().unwrap();
    let stream = store.stream("clicks").unwrap();
    assert_eq!(stream.summary().unwrap().status, StreamStatus::Deleting);
    assert_eq!(all_data(&store), data_of(0..3));
}

#[test]
fn records_are_hidden_when_they_expire_and_stay_on_the_disk() {
    let disk = SimDisk::new(1);
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let store = options(&disk).clock(clock.clone()).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    put(&stream, 0..100);
    clock.advance(Duration::from_secs(3_600));
    put(&stream, 100..103);
    store.close().unwrap();
    let before = files(&disk);
    disk.make_read_only();
    let store = read_only(&disk).clock(clock.clone()).open(DIRECTORY).unwrap();
    assert_eq!(all_data(&store), data_of(0..103));
    // In steps, since house-keeping checks the clock.
    for _ in 0..47 {
        clock.advance(Duration::from_secs(30 * 60));
        store.maintain().unwrap();
    }
    assert_eq!(all_data(&store), data_of(100..103));
    clock.advance(Duration::from_secs(60 * 60));
    store.maintain().unwrap();
    assert_eq!(all_data(&store), Vec::<Vec<u8>>::new());
    assert!(files(&disk) == before);
}

#[test]
fn readers_share_a_store_and_keep_a_writer_out_as_it_does_them() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    put(&store.create_stream("clicks", 2).unwrap(), 0..10);
    let beside_a_writer = read_only(&disk).open(DIRECTORY);
    assert!(matches!(
        beside_a_writer,
        Err(Error::Locked { holder: Some(_), .. })
    ));
    store.close().unwrap();
    let readers = [(); 2].map(|()| read_only(&disk).open(DIRECTORY).unwrap());
    for reader in &readers {
        assert_eq!(all_data(reader), data_of(0..10));
    }
    let beside_readers = options(&disk).open(DIRECTORY);
    assert!(matches!(beside_readers, Err(Error::Locked { holder: None, .. })));
    let inspection = Inspection::of(DIRECTORY).disk(disk.clone());
    assert!(matches!(
        inspection.plan_repair(&mut |_| ()),
        Err(Error::Locked { .. })
    ));
    drop(readers);
    options(&disk).open(DIRECTORY).unwrap();
}

#[test]
fn where_there_is_no_store_none_is_shown_and_none_is_made() {
    let disk = SimDisk::new(1);
    let missing = read_only(&disk).open(DIRECTORY).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
    disk.create_dir(Path::new(DIRECTORY)).unwrap();
    let empty = read_only(&disk).open(DIRECTORY).unwrap_err();
    assert!(matches!(empty, Error::Io { .. }), "{empty}");
    assert!(empty.to_string().contains("CURRENT"), "{empty}");
    disk.rot().put("store/letter.txt", b"dear").unwrap();
    let foreign = read_only(&disk).open(DIRECTORY);
    assert!(matches!(foreign, Err(Error::NotAStore { .. })));
    assert_eq!(disk.list(Path::new(DIRECTORY)).unwrap(), ["letter.txt"]);
}

#[test]
fn a_copy_without_a_lock_file_gets_none() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    filled(&store);
    let expected = contents(&store);
    store.close().unwrap();
    assert!(look(&disk, |store| {
        let read = contents(store);
        disk.calls(Operation::Map) > 0 && read == expected
    }));
    disk.rot().remove("store/LOCK").unwrap();
    let mapped = disk.calls(Operation::Map);
    assert_eq!(look(&disk, contents), expected);
    assert!(disk.kind(Path::new("store/LOCK")).is_err());
    // A read-only store does not keep writers out, so it maps nothing.
    assert_eq!(disk.calls(Operation::Map), mapped);
}

#[test]
fn a_directory_of_the_operating_system_that_cannot_be_written_is_read_and_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = Store::open(&data).unwrap();
    filled(&store);
    let expected = contents(&store);
    store.close().unwrap();
    set_modes(&data, 0o500, 0o400);
    let before = tree(&data);
    for map in [true, false] {
        let options = StoreOptions::new().read_only(true).map_sealed_segments(map);
        let both = [(); 2].map(|()| options.open(&data).unwrap());
        for store in &both {
            assert_eq!(contents(store), expected);
            let stream = store.stream("clicks").unwrap();
            assert!(matches!(stream.put("key", b"data"), Err(Error::ReadOnly)));
        }
        drop(both);
        assert!(tree(&data) == before, "the directory has changed");
    }
    set_modes(&data, 0o700, 0o600);
}
