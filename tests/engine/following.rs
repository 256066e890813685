//! A store that is followed: a second handle, or a second process, reads it while a program writes to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anabranch::{
    Durability, Error, HashKey, InvalidArgument, ManualClock, PutRecord, ReadLimit, Retention, ShardFilter,
    ShardId, SizeLimits, StartingPosition, Store, StoreOptions, Stream, StreamOptions, Timestamp,
};
use anabranch_harness::child::is_child_with_open_files;
use anabranch_harness::files::{set_modes, tree};
use anabranch_harness::wait::wait_until;
use tempfile::TempDir;

/// Much longer than every expected event takes.
const LONG: Duration = Duration::from_secs(300);

const MUCH: ReadLimit = ReadLimit {
    records: 10_000,
    bytes: 10 << 20,
};

/// A directory, and the store in it that a program writes to.
struct World {
    _place: TempDir,
    directory: PathBuf,
    store: Store,
}

impl World {
    fn new(options: &StoreOptions) -> Self {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("data");
        let store = options.open(&directory).unwrap();
        Self {
            _place: place,
            directory,
            store,
        }
    }

    /// A follower that looks only when a test asks it to.
    fn follow(&self) -> Store {
        quiet().follow(&self.directory).unwrap()
    }
}

fn quiet() -> StoreOptions {
    StoreOptions::new().keeper(false)
}

fn small() -> StoreOptions {
    quiet().segment_bytes(64 << 10)
}

fn data(stream: &Stream) -> Vec<Vec<u8>> {
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.map(|record| record.unwrap().data.to_vec()).collect()
}

fn put_all(stream: &Stream, records: &[&str]) {
    for record in records {
        stream.put("key", record.as_bytes()).unwrap();
    }
}

#[test]
fn a_call_sees_what_was_acknowledged_before_it_began() {
    for durability in [Durability::Synced, Durability::Written] {
        for journaled in [1, usize::MAX] {
            let options = small().durability(durability).min_journaled_shards(journaled);
            let world = World::new(&options);
            let followed = world.follow();
            assert!(followed.streams(None, 10).unwrap().is_empty());
            let stream = world.store.create_stream("clicks", 4).unwrap();
            let seen = followed.stream("clicks").unwrap();
            assert_eq!(seen.describe().unwrap(), stream.describe().unwrap());
            let mut reader = seen.reader(StartingPosition::TrimHorizon).unwrap();
            for number in 0..500 {
                let records: Vec<_> = (0..4).map(|part| format!("{number} {part}")).collect();
                let puts: Vec<_> = records
                    .iter()
                    .map(|record| PutRecord::new(record, record.as_bytes()))
                    .collect();
                let mut put = stream.put_records(&puts).unwrap();
                let mut read: Vec<_> = (&mut reader)
                    .take(4)
                    .map(|record| record.unwrap().sequence_number)
                    .collect();
                put.sort_by_key(|put| put.sequence_number);
                read.sort();
                assert!(put.iter().map(|put| put.sequence_number).eq(read), "{number}");
                if number == 250 {
                    stream.split_in_half(ShardId::new(1).unwrap()).unwrap();
                }
            }
            assert!(reader.next().is_none());
        }
    }
}

#[test]
fn what_the_program_changes_is_seen() {
    let world = World::new(&small());
    let followed = world.follow();
    let stream = world.store.create_stream("clicks", 2).unwrap();
    put_all(&stream, &["1", "2", "3"]);
    let seen = followed.stream("clicks").unwrap();
    assert_eq!(seen.summary().unwrap(), stream.summary().unwrap());

    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.next().unwrap().unwrap();
    reader.save_checkpoint("worker").unwrap();
    let checkpoint = seen.checkpoint("worker").unwrap().unwrap();
    let (lag, expected) = (seen.lag(&checkpoint).unwrap(), stream.lag(&checkpoint).unwrap());
    assert_eq!(
        lag.iter().map(|lag| (lag.shard, lag.records)).collect::<Vec<_>>(),
        expected
            .iter()
            .map(|lag| (lag.shard, lag.records))
            .collect::<Vec<_>>()
    );
    let resumed = seen.resume_reader("worker", StartingPosition::Latest).unwrap();
    assert_eq!(resumed.map(Result::unwrap).count(), 2);

    stream.register_consumer("archive").unwrap();
    assert_eq!(seen.consumers().unwrap(), stream.consumers().unwrap());
    let tags = BTreeMap::from([("owner".to_owned(), "billing".to_owned())]);
    stream.change_tags(&tags, &[], 50).unwrap();
    assert_eq!(seen.tags().unwrap(), tags);
    stream.increase_retention(Retention::hours(48)).unwrap();
    stream.split_in_half(ShardId::new(0).unwrap()).unwrap();
    stream
        .merge_shards(ShardId::new(2).unwrap(), ShardId::new(3).unwrap())
        .unwrap();
    assert_eq!(seen.describe().unwrap(), stream.describe().unwrap());
    let stats = followed.stats().unwrap();
    assert_eq!((stats.streams, stats.open_shards), (1, 2));
    assert!(stats.health.is_read_only && stats.storage.segments > 0);

    let position = StartingPosition::AtTimestamp(Timestamp::from_millis(0));
    let shard = seen.shards(&ShardFilter::AtLatest).unwrap()[0].id;
    seen.shard_iterator(shard, position).unwrap();
    stream.delete().unwrap();
    assert!(matches!(seen.summary(), Err(Error::StreamNotFound { .. })));
    assert!(matches!(
        followed.stream("clicks"),
        Err(Error::StreamNotFound { .. })
    ));
    // A new stream of that name is independent.
    let again = world.store.create_stream("clicks", 1).unwrap();
    put_all(&again, &["new"]);
    assert!(seen.summary().is_err());
    assert_eq!(data(&followed.stream("clicks").unwrap()), [b"new"]);
}

#[test]
fn every_change_is_refused() {
    let world = World::new(&quiet());
    let stream = world.store.create_stream("clicks", 2).unwrap();
    put_all(&stream, &["1"]);
    let checkpoint = stream.reader(StartingPosition::Latest).unwrap().checkpoint();
    stream.save_checkpoint("worker", &checkpoint).unwrap();
    let queue = anabranch::QueueOptions::default();
    stream.create_queue("work", &queue).unwrap();
    let followed = world.follow();
    let seen = followed.stream("clicks").unwrap();
    let record = PutRecord::new("key", b"data");
    let shards = [0, 1].map(|index| ShardId::new(index).unwrap());
    let refusals = [
        followed.create_stream("another", 1).map(drop),
        followed
            .open_or_create_stream("another", StreamOptions::default())
            .map(drop),
        seen.put("key", b"data").map(drop),
        seen.put_records(&[record]).map(drop),
        seen.append(&[record]).map(drop),
        seen.try_append(&[record]).map(drop),
        seen.split_shard(shards[0], HashKey::MAX / 8),
        seen.merge_shards(shards[0], shards[1]),
        seen.set_retention(Retention::hours(30)),
        seen.save_checkpoint("worker", &checkpoint),
        seen.reset_checkpoint("worker", &checkpoint),
        seen.remove_checkpoint("worker"),
        seen.trim_to(&checkpoint),
        seen.register_consumer("reader").map(drop),
        seen.set_attribute("policy", Some(b"none")),
        seen.create_queue("another", &queue).map(drop),
        seen.queue("work")
            .and_then(|queue| queue.receive(&Default::default()))
            .map(drop),
        seen.queue("work").and_then(|queue| queue.counts()).map(drop),
        seen.group("worker", StartingPosition::Latest)
            .and_then(|group| group.join("member", &Default::default()))
            .map(drop),
        seen.delete(),
    ];
    for (verb, refused) in refusals.into_iter().enumerate() {
        assert!(matches!(refused, Err(Error::ReadOnly)), "{verb}: {refused:?}");
    }
    let copy = followed.snapshot(world.directory.with_file_name("copy"));
    assert!(matches!(
        copy,
        Err(Error::InvalidArgument(InvalidArgument::SnapshotOfFollowed))
    ));
    followed.close().unwrap();
    assert!(matches!(seen.put("key", b"data"), Err(Error::Closed)));
    assert!(matches!(seen.summary(), Err(Error::Closed)));
    put_all(&stream, &["2"]);
}

#[test]
fn nothing_in_the_directory_is_changed() {
    let world = World::new(&small());
    let stream = world.store.create_stream("clicks", 4).unwrap();
    for number in 0..200 {
        let key = format!("key {number}");
        stream.put(&key, &[number; 3_000]).unwrap();
    }
    stream.split_in_half(ShardId::new(2).unwrap()).unwrap();
    let before = tree(&world.directory);
    let open = || quiet().keeper(true).follow(&world.directory).unwrap();
    let followers = [open(), open()];
    for followed in &followers {
        let seen = followed.stream("clicks").unwrap();
        assert_eq!(data(&seen).len(), 200);
        followed.maintain().unwrap();
    }
    drop(followers);
    assert!(tree(&world.directory) == before, "the directory has changed");
    // The program and the follower have not hindered each other.
    put_all(&stream, &["more"]);
    world.store.close().unwrap();
    set_modes(&world.directory, 0o500, 0o400);
    let closed = tree(&world.directory);
    let followed = open();
    assert_eq!(data(&followed.stream("clicks").unwrap()).len(), 201);
    followed.close().unwrap();
    assert!(tree(&world.directory) == closed, "the directory has changed");
    set_modes(&world.directory, 0o700, 0o600);
}

#[test]
fn those_who_wait_are_told() {
    let world = World::new(&quiet());
    let stream = world.store.create_stream("clicks", 2).unwrap();
    let options = StoreOptions::new().follow_interval(Duration::from_millis(1));
    let followed = options.follow(&world.directory).unwrap();
    let seen = followed.stream("clicks").unwrap();
    let shards: Vec<_> = (seen.shards(&ShardFilter::AtLatest).unwrap().iter())
        .map(|shard| shard.id)
        .collect();
    let mut watch = seen.watch(&shards).unwrap();
    assert!(!watch.wait(Duration::from_millis(30)));
    let events: [&dyn Fn(); 4] = [
        &|| {
            stream.put("key", b"data").unwrap();
        },
        &|| stream.split_in_half(shards[0]).unwrap(),
        &|| {
            stream.put("key", b"more").unwrap();
        },
        &|| stream.delete().unwrap(),
    ];
    for (number, event) in events.iter().enumerate() {
        thread::scope(|scope| {
            let woken = scope.spawn(|| watch.wait(LONG));
            event();
            assert!(woken.join().unwrap(), "event {number}");
        });
        // Signals that came twice.
        while watch.wait(Duration::from_millis(30)) {}
        if number == 1 {
            for shard in seen.shards(&ShardFilter::AtLatest).unwrap() {
                watch.add(shard.id).unwrap();
            }
        }
    }
    let other = world.store.create_stream("other", 1).unwrap();
    let seen = followed.stream("other").unwrap();
    let mut watch = seen.watch(&[first_shard()]).unwrap();
    thread::scope(|scope| {
        let woken = scope.spawn(|| watch.wait(LONG));
        followed.close().unwrap();
        assert!(woken.join().unwrap());
    });
    drop(other);
}

#[test]
fn one_that_has_no_keeper_is_told_when_it_maintains() {
    let world = World::new(&quiet());
    let stream = world.store.create_stream("clicks", 1).unwrap();
    let followed = world.follow();
    let mut watch = followed
        .stream("clicks")
        .unwrap()
        .watch(&[first_shard()])
        .unwrap();
    put_all(&stream, &["1"]);
    assert!(!watch.wait(Duration::ZERO));
    followed.maintain().unwrap();
    assert!(watch.wait(Duration::ZERO) && !watch.wait(Duration::ZERO));
    followed.maintain().unwrap();
    assert!(!watch.wait(Duration::ZERO));
}

/// A writer that causes every change of files, and a reader in the order of lineage beside it: each record is read
/// once, and each key's in the order of its puts.
#[test]
fn a_reader_beside_a_writer_sees_each_record_once_and_in_order() {
    const KEYS: usize = 7;
    const RECORDS: usize = 6_000;
    for (durability, journaled) in [
        (Durability::Synced, 1),
        (Durability::Synced, usize::MAX),
        (Durability::Written, 1),
    ] {
        let options = StoreOptions::new()
            .segment_bytes(64 << 10)
            .compaction_bytes(30_000)
            .durability(durability)
            .min_journaled_shards(journaled);
        let world = World::new(&options);
        let stream = world.store.create_stream("clicks", 3).unwrap();
        let options = StoreOptions::new().follow_interval(Duration::from_millis(1));
        let followed = options.follow(&world.directory).unwrap();
        let seen = followed.stream("clicks").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| write_all(&world.store, &stream, KEYS, RECORDS));
            let mut last = [None; KEYS];
            let mut reader = seen.reader(StartingPosition::TrimHorizon).unwrap();
            for count in 0..RECORDS {
                let record = reader.next_within(LONG).unwrap();
                let record = record.unwrap_or_else(|| panic!("only {count} records came"));
                let (key, number) = key_and_number(&record.data);
                assert_eq!(record.partition_key.as_str(), key.to_string());
                assert_eq!(
                    last[key].map_or(0, |last: usize| last + 1),
                    number,
                    "of key {key}"
                );
                last[key] = Some(number);
            }
            assert!(reader.next().is_none());
        });
    }
}

fn record_of(key: usize, number: usize) -> Vec<u8> {
    let mut data = format!("{key} {number} ").into_bytes();
    data.resize(30 + 37 * (number % 60), b'.');
    data
}

fn key_and_number(data: &[u8]) -> (usize, usize) {
    let text = std::str::from_utf8(data).unwrap();
    let mut parts = text.split(' ').map(|part| part.parse().unwrap_or(usize::MAX));
    let (key, number) = (parts.next().unwrap(), parts.next().unwrap());
    assert!(data == record_of(key, number), "another record: {text}");
    (key, number)
}

/// Between the records, another stream is created, filled and deleted, so that files are written again.
fn write_all(store: &Store, stream: &Stream, keys: usize, records: usize) {
    let mut counts = vec![0; keys];
    let mut put = 0;
    let mut round = 0;
    while put < records {
        let batch: Vec<_> = (0..(1 + round % 5).min(records - put))
            .map(|at| {
                let key = (put + at) % keys;
                counts[key] += 1;
                (key.to_string(), record_of(key, counts[key] - 1))
            })
            .collect();
        put += batch.len();
        let batch: Vec<_> = batch
            .iter()
            .map(|(key, data)| PutRecord::new(key, data))
            .collect();
        stream.put_records(&batch).unwrap();
        if round % 150 == 0 {
            reshard(stream, round);
            let other = store
                .open_or_create_stream("other", StreamOptions::default())
                .unwrap();
            for _ in 0..8 {
                other.put("key", &[7; 20_000]).unwrap();
            }
            if round % 300 == 0 {
                other.delete().unwrap();
            }
            store.maintain().unwrap();
        }
        round += 1;
    }
}

fn reshard(stream: &Stream, round: usize) {
    let mut shards = stream.shards(&ShardFilter::AtLatest).unwrap();
    shards.sort_by_key(|shard| shard.hash_key_range.start());
    match shards.len() {
        6.. => stream.merge_shards(shards[0].id, shards[1].id).unwrap(),
        count => stream.split_in_half(shards[round % count].id).unwrap(),
    }
}

/// Segments are freed and written again under the reader.
#[test]
fn what_is_trimmed_is_told_and_all_else_is_right() {
    let options = StoreOptions::new().segment_bytes(64 << 10);
    let world = World::new(&options);
    let limits = StreamOptions {
        shard_count: 1,
        size_limits: SizeLimits {
            shard_bytes: Some(100_000),
            ..SizeLimits::NONE
        },
        ..StreamOptions::default()
    };
    let stream = world.store.create_stream_with("clicks", limits).unwrap();
    let followed = world.follow();
    let seen = followed.stream("clicks").unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..4_000 {
                stream.put("0", &record_of(0, number)).unwrap();
                if number % 25 == 0 {
                    world.store.maintain().unwrap();
                }
            }
            stream.put("0", b"end").unwrap();
        });
        let some = ReadLimit { records: 3, ..MUCH };
        let mut from = seen
            .shard_iterator(first_shard(), StartingPosition::TrimHorizon)
            .unwrap();
        let (mut next, mut trimmed) = (0, 0);
        loop {
            let batch = match seen.get_records(&from, &some) {
                Err(Error::Trimmed {
                    first_kept: Some(first),
                    ..
                }) => {
                    trimmed += 1;
                    from.next = first;
                    continue;
                }
                batch => batch.unwrap(),
            };
            from = batch.next.unwrap();
            let mut is_over = false;
            for record in batch.records {
                if record.data == "end" {
                    is_over = true;
                    continue;
                }
                let (_, number) = key_and_number(&record.data);
                assert!(number >= next && (number == next || trimmed > 0));
                next = number + 1;
            }
            if is_over {
                break;
            }
        }
        println!("{trimmed} times");
    });
    assert!(followed.stats().unwrap().damaged_shards.is_empty());
}

#[test]
fn records_are_hidden_when_they_expire_by_the_followers_clock() {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let world = World::new(&quiet().clock(clock.clone()));
    let stream = world.store.create_stream("clicks", 1).unwrap();
    put_all(&stream, &["old"]);
    let followed = quiet().clock(clock.clone()).follow(&world.directory).unwrap();
    let seen = followed.stream("clicks").unwrap();
    assert_eq!(data(&seen), [b"old"]);
    for _ in 0..50 {
        clock.advance(Duration::from_secs(30 * 60));
        followed.maintain().unwrap();
    }
    put_all(&stream, &["new"]);
    assert_eq!(data(&seen), [b"new"]);
}

#[test]
fn a_writer_may_end_and_be_started_again() {
    let world = World::new(&small());
    put_all(&world.store.create_stream("clicks", 1).unwrap(), &["1"]);
    let followed = world.follow();
    let mut reader = followed
        .stream("clicks")
        .and_then(|seen| seen.reader(StartingPosition::TrimHorizon))
        .unwrap();
    let mut next = || reader.next().map(|record| record.unwrap().data);
    assert_eq!(next().unwrap(), "1");
    world.store.close().unwrap();
    assert!(next().is_none());
    for number in 2..20 {
        // Each writer makes a new manifest now and then.
        let store = small().compaction_bytes(1).open(&world.directory).unwrap();
        put_all(&store.stream("clicks").unwrap(), &[&number.to_string()]);
        assert_eq!(next().unwrap(), number.to_string());
        drop(store);
        assert!(next().is_none());
    }
}

#[test]
fn no_store_no_follower() {
    let place = tempfile::tempdir().unwrap();
    let missing = Store::follow(place.path().join("missing")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
    let empty = Store::follow(place.path()).unwrap_err();
    assert!(empty.to_string().contains("CURRENT"), "{empty}");
    fs::write(place.path().join("letter"), "Dear").unwrap();
    let foreign = Store::follow(place.path());
    assert!(matches!(foreign, Err(Error::NotAStore { .. })));
    let file = Store::follow(place.path().join("letter")).unwrap_err();
    assert!(matches!(file, Error::Io { .. }), "{file}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);

    let unfinished = tempfile::tempdir().unwrap();
    fs::write(unfinished.path().join("UNFINISHED"), "").unwrap();
    let refused = Store::follow(unfinished.path());
    assert!(
        matches!(refused, Err(Error::UnfinishedCopy { .. })),
        "{refused:?}"
    );
    let range = quiet().segment_bytes(1).follow(place.path());
    assert!(matches!(range, Err(Error::InvalidArgument(_))));
}

#[test]
fn a_directory_that_goes_or_becomes_another_store_is_told() {
    let world = World::new(&quiet());
    let stream = world.store.create_stream("clicks", 1).unwrap();
    put_all(&stream, &["1"]);
    let options = StoreOptions::new().follow_interval(Duration::from_millis(1));
    let followed = options.follow(&world.directory).unwrap();
    let seen = followed.stream("clicks").unwrap();
    let mut watch = seen.watch(&[first_shard()]).unwrap();
    world.store.close().unwrap();
    while watch.wait(Duration::from_millis(100)) {}
    fs::rename(&world.directory, world.directory.with_file_name("elsewhere")).unwrap();
    assert!(watch.wait(LONG));
    let gone = seen.summary().unwrap_err();
    assert!(gone.to_string().contains("CURRENT"), "{gone}");
    let other = Store::open(&world.directory).unwrap();
    put_all(&other.create_stream("clicks", 1).unwrap(), &["2"]);
    let another = seen.summary().unwrap_err().to_string();
    assert!(another.contains("it has another store"), "{another}");
    other.close().unwrap();
    // When the store is back, reads work again.
    fs::remove_dir_all(&world.directory).unwrap();
    fs::rename(world.directory.with_file_name("elsewhere"), &world.directory).unwrap();
    assert_eq!(data(&seen), [b"1"]);
}

#[test]
fn damage_is_told_where_it_is_and_nowhere_else() {
    let world = World::new(&small());
    let stream = world.store.create_stream("clicks", 2).unwrap();
    let keys = [HashKey::MIN, HashKey::MAX];
    for number in 0..60 {
        for key in keys {
            let data = record_of(0, number);
            stream
                .put_record(&PutRecord::new("0", &data).explicit_hash_key(key))
                .unwrap();
        }
    }
    let followed = world.follow();
    let seen = followed.stream("clicks").unwrap();
    assert_eq!(data(&seen).len(), 120);
    world.store.close().unwrap();
    let segment = fs::read_dir(find_shard(&world.directory))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension() == Some("log".as_ref()))
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[4096 + 100] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let followed = world.follow();
    let seen = followed.stream("clicks").unwrap();
    let read = |shard| {
        let from = seen.shard_iterator(shard, StartingPosition::TrimHorizon)?;
        seen.get_records(&from, &MUCH).map(|batch| batch.records.len())
    };
    let damage = read(first_shard()).unwrap_err();
    assert!(matches!(damage, Error::Corrupt { offset: 4096, .. }), "{damage}");
    assert_eq!(read(ShardId::new(1).unwrap()).unwrap(), 60);
    let damaged = followed.stats().unwrap().damaged_shards;
    assert_eq!(damaged.len(), 1);
    assert_eq!(damaged[0].shard, first_shard());
}

/// The directory of the first shard of the only stream.
fn find_shard(directory: &Path) -> PathBuf {
    let streams = fs::read_dir(directory.join("streams")).unwrap();
    let stream = streams.map(|entry| entry.unwrap().path()).next().unwrap();
    stream.join(first_shard().to_string())
}

#[test]
fn few_files_are_open() {
    if !is_child_with_open_files(70, "following::few_files_are_open") {
        return;
    }
    const SHARDS: u32 = 200;
    let world = World::new(&small().max_open_segments(8));
    let stream = world.store.create_stream("clicks", SHARDS).unwrap();
    let width = HashKey::MAX.value() / u128::from(SHARDS);
    let followed = quiet().max_open_segments(8).follow(&world.directory).unwrap();
    let seen = followed.stream("clicks").unwrap();
    let files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = files();
    for round in 1..4 {
        let records: Vec<_> = (0..u128::from(SHARDS))
            .map(|shard| PutRecord::new("key", b"data").explicit_hash_key(HashKey::new(width * shard + 9)))
            .collect();
        for outcome in stream.append(&records).unwrap().each().wait() {
            outcome.unwrap();
        }
        assert_eq!(data(&seen).len(), round * SHARDS as usize);
        // The program has as many open.
        assert!(files() < before + 24, "{} and then {}", before, files());
    }
    let kept = files();
    followed.close().unwrap();
    drop((seen, followed));
    wait_until("its files are closed", || files() < kept);
}

/// The first walk over a segment that is written to leaves out the part that was durable when its index was last saved.
#[cfg(feature = "sim")]
#[test]
fn little_is_read_of_a_large_segment_to_find_where_it_ends() {
    use anabranch::sim::{LossMode, Operation, SimDisk};

    const RECORDS: u32 = 250;
    for durability in [Durability::Synced, Durability::Written] {
        let disk = SimDisk::new(1);
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let options = quiet().durability(durability).clock(clock).disk(disk.clone());
        let store = options.open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        let expected: Vec<_> = (0..RECORDS)
            .map(|number| {
                let mut record = vec![b'x'; 100_000];
                record[..4].copy_from_slice(&number.to_le_bytes());
                record
            })
            .collect();
        let put = |record: &Vec<u8>| stream.put("key", record).unwrap().sequence_number;
        let numbers: Vec<_> = expected.iter().map(put).collect();
        let index = |disk: &SimDisk| {
            let mut indexes = disk.rot().files();
            indexes.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "index"));
            let last = indexes.into_iter().map(|(path, _)| path).max();
            last.unwrap()
        };
        // Written records are synced, at every level.
        store.maintain().unwrap();
        // The last segment has most of them.
        let largest = disk.rot().files().into_iter().map(|(_, bytes)| bytes).max();
        assert!(largest > Some(20 << 20), "{largest:?}");
        let reads_of_end = |disk: &SimDisk| {
            let followed = options.clone().disk(disk.onlooker()).follow("store").unwrap();
            let seen = followed.stream("clicks").unwrap();
            let before = disk.calls(Operation::Read);
            let mut reader = seen.reader(StartingPosition::Latest).unwrap();
            assert!(reader.next().is_none());
            let reads = disk.calls(Operation::Read) - before;
            // All records are found, from every position.
            assert_eq!(data(&seen), expected);
            for at in [3, 100, 200, 249] {
                let from = StartingPosition::AtSequenceNumber(numbers[at]);
                let position = seen.shard_iterator(first_shard(), from).unwrap();
                let found = seen.get_records(&position, &ReadLimit::default()).unwrap();
                assert_eq!(found.records[0].data, expected[at]);
            }
            reads
        };
        let few = reads_of_end(&disk);
        // A damaged index, or one of another segment, is ignored.
        let damaged = disk.image(LossMode::KeepAll);
        damaged.rot().flip_bit(index(&damaged), 40, 1).unwrap();
        let many = reads_of_end(&damaged);
        assert!(many > 100 && few < many / 2, "{few} of {many}");
        let removed = disk.image(LossMode::KeepAll);
        removed.rot().remove(index(&removed)).unwrap();
        assert!(reads_of_end(&removed) > 100);
    }
}

/// Also where the walk begins at an index, which is of what was durable alone.
#[cfg(feature = "sim")]
#[test]
fn a_large_segment_ends_where_its_next_opener_finds_after_a_loss_of_power() {
    use anabranch::sim::{LossMode, SimDisk};

    const SYNCED: usize = 100;
    for seed in 0..3 {
        let disk = SimDisk::new(seed);
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let options = quiet().durability(Durability::Written).clock(clock);
        let store = options.clone().disk(disk.clone()).open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        let put: Vec<_> = (0..SYNCED as u32 + 30)
            .map(|number| {
                let mut record = vec![b'x'; 100_000];
                record[..4].copy_from_slice(&number.to_le_bytes());
                stream.put("key", &record).unwrap();
                if number as usize + 1 == SYNCED {
                    store.maintain().unwrap();
                }
                record
            })
            .collect();
        for mode in LossMode::ALL {
            let left = disk.image(mode);
            let followed = options.clone().disk(left.onlooker()).follow("store").unwrap();
            let seen = data(&followed.stream("clicks").unwrap());
            assert!(
                seen.len() >= SYNCED && put.starts_with(&seen),
                "{mode:?}: {}",
                seen.len()
            );
            followed.close().unwrap();
            let opened = options.clone().disk(left).open("store").unwrap();
            assert!(data(&opened.stream("clicks").unwrap()) == seen, "{mode:?}");
        }
    }
}

#[cfg(feature = "channels")]
#[test]
fn channels_are_seen_and_only_their_writer_delivers_them() {
    use std::sync::{Arc, Mutex};

    use anabranch::{
        ChannelOptions, Delivery, DeliveryError, DeliveryOptions, Destination, DirectoryBuckets,
    };
    use anabranch_harness::files::all_files;

    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let options = small().clock(clock.clone());
    let world = World::new(&options);
    let buckets = tempfile::tempdir().unwrap();
    fs::create_dir(buckets.path().join("archive")).unwrap();
    let stream = world.store.create_stream("clicks", 2).unwrap();
    for (name, start) in [
        ("new", StartingPosition::Latest),
        ("all", StartingPosition::TrimHorizon),
    ] {
        let options = ChannelOptions {
            freshness: Duration::ZERO,
            start,
            ..ChannelOptions::to(Destination::new("archive"))
        };
        stream.create_channel(name, &options).unwrap();
    }
    put_all(&stream, &["one", "two", "three"]);
    // A follower does not report records that have expired by now either: only the writer notes them.
    clock.advance(Duration::from_secs(25 * 3_600));
    put_all(&stream, &["four"]);

    let followed = options.follow(&world.directory).unwrap();
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = events.clone();
    let options = DeliveryOptions {
        on_event: Arc::new(move |event| heard.lock().unwrap().push(event.to_string())),
        ..DeliveryOptions::default()
    };
    let delivery = Delivery::new(&followed, DirectoryBuckets::new(buckets.path()), options);
    let started = delivery.start();
    assert!(matches!(started, Err(Error::ReadOnly)), "{started:?}");
    for _ in 0..3 {
        assert_eq!(delivery.deliver_due(), 0);
    }
    assert!(all_files(buckets.path()).is_empty());
    let told = events.lock().unwrap().clone();
    assert!(
        !told.is_empty() && told.iter().all(|event| event.contains("cannot deliver")),
        "{told:?}"
    );
    let seen = followed.stream("clicks").unwrap();
    for name in ["new", "all"] {
        let channel = seen.channel(name).unwrap();
        assert_eq!(channel.describe().unwrap().last_delivery, None);
        let problem = delivery.problem(&channel).unwrap();
        assert!(matches!(problem.error, DeliveryError::Store(Error::ReadOnly)));
    }
    drop(delivery);

    // None of this hinders the writer, and the follower sees its deliveries.
    let bucket = DirectoryBuckets::new(buckets.path());
    let delivery = Delivery::new(&world.store, bucket, DeliveryOptions::default());
    assert_eq!(delivery.deliver_due(), 2);
    assert_eq!(all_files(buckets.path()).len(), 2);
    let channel = seen.channel("all").unwrap().describe().unwrap();
    assert_eq!(channel.last_delivery, Some(world.store.now()));
}

#[cfg(feature = "encryption")]
#[test]
fn what_is_encrypted_is_read_with_the_key_alone() {
    use anabranch::KeyRing;

    let keys = KeyRing::new();
    keys.insert("one", [1; 32]);
    let world = World::new(&quiet().keys(keys.clone()));
    let stream = world.store.create_stream("clicks", 1).unwrap();
    put_all(&stream, &["plain"]);
    let with_keys = quiet().keys(keys).follow(&world.directory).unwrap();
    let without = world.follow();
    let seen = [&with_keys, &without].map(|followed| followed.stream("clicks").unwrap());
    for seen in &seen {
        assert_eq!(data(seen), [b"plain"]);
    }
    stream.start_encryption("one").unwrap();
    put_all(&stream, &["secret"]);
    assert_eq!(data(&seen[0]), [&b"plain"[..], b"secret"]);
    let from = seen[1]
        .shard_iterator(first_shard(), StartingPosition::TrimHorizon)
        .unwrap();
    let plain = seen[1].get_records(&from, &MUCH).unwrap();
    assert_eq!(plain.records.len(), 1);
    assert!(plain.is_encrypted);
    let missing = seen[1].get_records(&plain.next.unwrap(), &MUCH);
    assert!(matches!(missing, Err(Error::KeyNotFound { .. })), "{missing:?}");
}

fn first_shard() -> ShardId {
    ShardId::new(0).unwrap()
}
