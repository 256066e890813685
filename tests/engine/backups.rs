//! Snapshots and backups of stores in use, and stores restored from them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anabranch::inspect::{self, Inspection, Sharing};
use anabranch::{
    ConsumerId, Copied, Durability, Error, HashKey, InvalidArgument, ManualClock, PutRecord, QueueId,
    QueueOptions, ReceiveOptions, Result, SequenceNumber, ShardFilter, ShardId, StartingPosition, Store,
    StoreOptions, Stream,
};
use anabranch_harness::files::all_files;
use tempfile::TempDir;

struct Bench {
    _directory: TempDir,
    store_directory: PathBuf,
    backup: PathBuf,
    restored: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        Self {
            store_directory: path("data"),
            backup: path("backups/monday"),
            restored: path("restored"),
            _directory: directory,
        }
    }

    /// With an open store that has one record in a stream `clicks`.
    fn with_a_record() -> (Self, Store) {
        let bench = Self::new();
        let store = bench.open();
        let clicks = store.create_stream("clicks", 1).unwrap();
        clicks.put("key", b"record").unwrap();
        (bench, store)
    }

    fn open(&self) -> Store {
        options().open(&self.store_directory).unwrap()
    }

    fn back_up(&self, sharing: Sharing) -> Result<Copied> {
        Inspection::of(&self.store_directory).back_up(&self.backup, sharing, &mut |_| {})
    }

    fn numbers_in_backup(&self) -> BTreeSet<SequenceNumber> {
        numbers(&options().open(&self.backup).unwrap().stream("clicks").unwrap())
    }

    fn restore(&self) -> Result<Copied> {
        Inspection::of(&self.backup).restore(&self.restored, &mut |_| {})
    }
}

/// How an open store is copied.
#[derive(Clone, Copy, Debug)]
enum Way {
    Snapshot,
    Shared,
    Copied,
}

const WAYS: [Way; 3] = [Way::Snapshot, Way::Shared, Way::Copied];

impl Way {
    fn copy(self, bench: &Bench, store: &Store) -> Result<Copied> {
        match self {
            Self::Snapshot => store.snapshot(&bench.backup),
            Self::Shared => bench.back_up(Sharing::WherePossible),
            Self::Copied => bench.back_up(Sharing::Nothing),
        }
    }
}

fn options() -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 << 10)
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(2)
}

fn numbers(stream: &Stream) -> BTreeSet<SequenceNumber> {
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.map(|record| record.unwrap().sequence_number).collect()
}

fn is_sound(directory: &Path) -> bool {
    inspect::verify(directory).unwrap().is_sound()
}

fn is_copy_of_all(
    copy: &BTreeSet<SequenceNumber>,
    before: &BTreeSet<SequenceNumber>,
    all: &[SequenceNumber],
) {
    let missing: Vec<_> = before.difference(copy).collect();
    assert!(
        missing.is_empty(),
        "{} of {} are missing",
        missing.len(),
        before.len()
    );
    // It has a prefix of each shard.
    let shards: BTreeSet<_> = all.iter().map(|number| number.shard_id()).collect();
    for shard in shards {
        let of_shard = |number: &&SequenceNumber| number.shard_id() == shard;
        let last = copy.iter().filter(of_shard).max();
        let mut up_to_there = all.iter().filter(of_shard).filter(|number| Some(*number) <= last);
        assert!(
            up_to_there.all(|number| copy.contains(number)),
            "{shard} has a gap"
        );
    }
}

#[test]
fn a_copy_beside_puts_has_all_that_was_acknowledged_before() {
    for durability in [Durability::Synced, Durability::Written] {
        for way in WAYS {
            let bench = Bench::new();
            let options = options().durability(durability);
            let store = options.open(&bench.store_directory).unwrap();
            let stream = store.create_stream("clicks", 4).unwrap();
            let all = Mutex::new(Vec::new());
            let is_over = AtomicBool::new(false);
            let put = || {
                let keys = (0..4_u128).map(|part| HashKey::new(part << 126));
                let data = vec![7; 2_000];
                let records: Vec<_> = keys
                    .map(|key| PutRecord::new("key", &data).explicit_hash_key(key))
                    .collect();
                let put = stream.put_records(&records).unwrap();
                all.lock()
                    .unwrap()
                    .extend(put.iter().map(|put| put.sequence_number));
            };
            (0..60).for_each(|_| put());
            let before = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..2)
                    .map(|_| {
                        scope.spawn(|| {
                            while !is_over.load(Ordering::Relaxed) {
                                put();
                            }
                        })
                    })
                    .collect();
                let before: BTreeSet<_> = all.lock().unwrap().iter().copied().collect();
                let copied = way.copy(&bench, &store);
                is_over.store(true, Ordering::Relaxed);
                writers.into_iter().for_each(|writer| writer.join().unwrap());
                let copied = copied.unwrap_or_else(|error| panic!("{way:?}, {durability:?}: {error}"));
                assert_eq!(copied.streams, 1);
                assert!(copied.segments > 4, "{copied:?}");
                before
            });
            assert!(is_sound(&bench.backup), "{way:?}, {durability:?}");
            assert!(is_sound(&bench.store_directory));
            let backup = options.open(&bench.backup).unwrap();
            let copy = numbers(&backup.stream("clicks").unwrap());
            is_copy_of_all(&copy, &before, &all.lock().unwrap());
        }
    }
}

#[test]
fn a_snapshot_has_what_was_acknowledged_from_memory() {
    let bench = Bench::new();
    let options = options().durability(Durability::Buffered);
    let store = options.open(&bench.store_directory).unwrap();
    let stream = store.create_stream("clicks", 2).unwrap();
    for number in 0..50 {
        stream.put(&number.to_string(), b"record").unwrap();
    }
    store.snapshot(&bench.backup).unwrap();
    assert_eq!(
        numbers(&options.open(&bench.backup).unwrap().stream("clicks").unwrap()).len(),
        50
    );
}

/// A program that puts to one stream, and then to another, finds the second record only together with the first.
#[test]
fn a_snapshot_is_of_one_moment() {
    let bench = Bench::new();
    let store = bench.open();
    let [first, second] = ["first", "second"].map(|name| store.create_stream(name, 2).unwrap());
    let is_over = AtomicBool::new(false);
    let put = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let number = put.load(Ordering::Relaxed).to_string();
                first.put(&number, b"first").unwrap();
                second.put(&number, b"second").unwrap();
                put.fetch_add(1, Ordering::Relaxed);
            }
        });
        for at in 0..10 {
            let so_far = put.load(Ordering::Relaxed);
            while put.load(Ordering::Relaxed) < so_far + 5 {
                std::thread::yield_now();
            }
            let directory = bench.backup.with_extension(at.to_string());
            let before = put.load(Ordering::Relaxed);
            store.snapshot(&directory).unwrap();
            let snapshot = options().read_only(true).open(&directory).unwrap();
            let [first, second] =
                ["first", "second"].map(|name| numbers(&snapshot.stream(name).unwrap()).len() as u64);
            assert!(second >= before, "{second} of {before}");
            assert!(first == second || first == second + 1, "{first} and {second}");
        }
        is_over.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
}

/// Changes that consumers make meanwhile are in the snapshot together with their records.
#[test]
fn a_copy_beside_consumers_has_a_queue_that_goes_on() {
    for way in WAYS {
        let bench = Bench::new();
        let store = bench.open();
        let jobs = store.create_stream("jobs", 2).unwrap();
        let queue = jobs.create_queue("resize", &Default::default()).unwrap();
        let is_over = AtomicBool::new(false);
        let acknowledged = Mutex::new(BTreeSet::new());
        let acknowledged_before = std::thread::scope(|scope| {
            let producer = scope.spawn(|| {
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    jobs.put(&number.to_string(), b"job").unwrap();
                }
            });
            let consumer = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let received = queue.receive(&ReceiveOptions::default()).unwrap();
                    let receipts: Vec<_> = received.iter().map(|received| received.receipt).collect();
                    queue.acknowledge(&receipts).unwrap();
                    let numbers = received.iter().map(|received| received.record.sequence_number);
                    acknowledged.lock().unwrap().extend(numbers);
                }
            });
            while acknowledged.lock().unwrap().len() < 50 {
                std::thread::yield_now();
            }
            let before = acknowledged.lock().unwrap().clone();
            let copied = way.copy(&bench, &store);
            is_over.store(true, Ordering::Relaxed);
            producer.join().unwrap();
            consumer.join().unwrap();
            copied.unwrap_or_else(|error| panic!("{way:?}: {error}"));
            before
        });
        let clock = ManualClock::starting_at(SystemTime::now().into());
        let backup = options().clock(clock.clone()).open(&bench.backup).unwrap();
        let jobs = backup.stream("jobs").unwrap();
        let in_stream = numbers(&jobs);
        let queue = jobs.queue("resize").unwrap();
        // All records that were given out and not acknowledged are given out again.
        clock.advance(Duration::from_secs(3_600));
        let mut left = BTreeSet::new();
        loop {
            let received = queue.receive(&ReceiveOptions::default()).unwrap();
            left.extend(received.iter().map(|received| received.record.sequence_number));
            if received.is_empty() {
                break;
            }
        }
        assert!(left.is_subset(&in_stream), "{way:?}");
        let again: Vec<_> = left.intersection(&acknowledged_before).collect();
        assert!(again.is_empty(), "{way:?}: {again:?} are given out again");
        // Records put to the copy are given out, whatever numbers the queue had seen.
        let put = jobs.put("key", b"new").unwrap();
        let received = queue.receive(&ReceiveOptions::default()).unwrap();
        assert_eq!(received[0].record.sequence_number, put.sequence_number, "{way:?}");
    }
}

#[test]
fn a_copy_has_all_that_the_store_knows() {
    for way in WAYS {
        let bench = Bench::new();
        let store = bench.open();
        let clicks = store.create_stream("clicks", 2).unwrap();
        for number in 0..20 {
            clicks.put(&number.to_string(), &[7; 9_000]).unwrap();
        }
        clicks.split_in_half(ShardId::new(0).unwrap()).unwrap();
        for number in 0..4 {
            clicks.put(&number.to_string(), b"behind the split").unwrap();
        }
        let mut reader = clicks.reader(StartingPosition::TrimHorizon).unwrap();
        reader.next().unwrap().unwrap();
        reader.save_checkpoint("worker").unwrap();
        clicks.register_consumer("archive").unwrap();
        clicks.set_attribute("colour", Some(b"blue")).unwrap();
        #[cfg(feature = "channels")]
        clicks
            .create_channel(
                "all",
                &anabranch::ChannelOptions::to(anabranch::Destination::new("bucket")),
            )
            .unwrap();
        store.set_attribute("owner", Some(b"us")).unwrap();
        store.create_stream("gone", 1).unwrap().delete().unwrap();
        let copied = way.copy(&bench, &store).unwrap();
        assert_eq!(copied.streams, 1, "{way:?}");
        assert_eq!(
            copied.shared_segments > 0,
            !matches!(way, Way::Copied),
            "{way:?}: {copied:?}"
        );

        // The same again, from the copy.
        let restored = bench.restore().unwrap();
        assert_eq!((restored.streams, restored.shared_segments), (1, 0));
        for directory in [&bench.backup, &bench.restored] {
            let copy = options().open(directory).unwrap();
            let of_copy = copy.stream("clicks").unwrap();
            assert_eq!((copy.id(), copy.secret()), (store.id(), store.secret()));
            assert_eq!(numbers(&of_copy), numbers(&clicks), "{way:?}");
            let shards = |stream: &Stream| {
                let shards = stream.shards(&ShardFilter::FromTrimHorizon).unwrap();
                shards
                    .iter()
                    .map(|shard| (shard.id, shard.hash_key_range, shard.is_open()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(shards(&of_copy), shards(&clicks));
            assert_eq!(
                of_copy.checkpoint("worker").unwrap(),
                clicks.checkpoint("worker").unwrap()
            );
            assert_eq!(
                of_copy.attribute("colour").unwrap().as_deref(),
                Some(&b"blue"[..])
            );
            assert_eq!(copy.attribute("owner").unwrap().as_deref(), Some(&b"us"[..]));
            #[cfg(feature = "channels")]
            assert_eq!(of_copy.channels().unwrap().len(), 1);
            copy.close().unwrap();
        }
    }
}

#[cfg(feature = "encryption")]
#[test]
fn a_copy_of_an_encrypted_stream_is_read_with_its_key_and_shows_nothing_without() {
    for way in WAYS {
        let bench = Bench::new();
        let keys = anabranch::KeyRing::new();
        keys.insert("alias/a", [7; 32]);
        let with_keys = options().keys(keys);
        let store = with_keys.open(&bench.store_directory).unwrap();
        let stream = store.create_stream("s", 2).unwrap();
        stream.start_encryption("alias/a").unwrap();
        for number in 0..20 {
            stream
                .put(&number.to_string(), &b"for no one else".repeat(500))
                .unwrap();
        }
        way.copy(&bench, &store).unwrap();
        for (path, bytes) in all_files(&bench.backup) {
            assert!(
                !bytes.windows(15).any(|window| window == b"for no one else"),
                "{}",
                path.display()
            );
        }
        // It is verified and restored without a key.
        bench.restore().unwrap();
        let restored = with_keys.open(&bench.restored).unwrap();
        assert_eq!(
            numbers(&restored.stream("s").unwrap()),
            numbers(&stream),
            "{way:?}"
        );
        restored.stream("s").unwrap().put("key", b"more").unwrap();
        restored.close().unwrap();
        let without = options().open(&bench.backup).unwrap();
        let read = without
            .stream("s")
            .unwrap()
            .reader(StartingPosition::TrimHorizon)
            .unwrap()
            .next();
        assert!(matches!(read, Some(Err(Error::KeyNotFound { .. }))), "{way:?}");
    }
}

#[test]
fn a_restored_store_gives_no_number_that_the_other_one_has_given_since() {
    for way in WAYS {
        let bench = Bench::new();
        let store = bench.open();
        let clicks = store.create_stream("clicks", 1).unwrap();
        let idle = store.create_stream("idle", 1).unwrap();
        clicks.put("key", b"before").unwrap();
        way.copy(&bench, &store).unwrap();
        let given: BTreeSet<_> = (0..30)
            .flat_map(|_| [&clicks, &idle].map(|stream| stream.put("key", b"after").unwrap().sequence_number))
            .collect();
        bench.restore().unwrap();
        let restored = options().open(&bench.restored).unwrap();
        for name in ["clicks", "idle"] {
            let stream = restored.stream(name).unwrap();
            let before = numbers(&stream).len();
            let put = stream.put("key", b"restored").unwrap().sequence_number;
            assert!(
                given
                    .iter()
                    .all(|number| number.record_number() < put.record_number()),
                "{way:?}"
            );
            assert_eq!(numbers(&stream).len(), before + 1);
        }
        // A reader with a number that only the other store has given goes on.
        let clicks_again = restored.stream("clicks").unwrap();
        let position = StartingPosition::AfterSequenceNumber(*numbers(&clicks).last().unwrap());
        let iterator = clicks_again
            .shard_iterator(ShardId::new(0).unwrap(), position)
            .unwrap();
        let read = clicks_again.get_records(&iterator, &Default::default()).unwrap();
        assert_eq!(read.records.len(), 1, "{way:?}");
        assert_eq!(read.records[0].data, "restored");
        restored.close().unwrap();
        assert!(is_sound(&bench.restored));
    }
}

/// Numbers that a stream gives out besides those of records.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Given {
    shards: Vec<ShardId>,
    queue: QueueId,
    consumer: ConsumerId,
}

/// Splits the first shard, and makes a queue and a consumer.
fn give_out(stream: &Stream, name: &str) -> Given {
    let open = stream.shards(&ShardFilter::AtLatest).unwrap();
    stream.split_in_half(open[0].id).unwrap();
    let mut shards: Vec<_> = stream.shards(&ShardFilter::AtLatest).unwrap();
    shards.retain(|shard| shard.parent == Some(open[0].id));
    Given {
        shards: shards.iter().map(|shard| shard.id).collect(),
        queue: stream.create_queue(name, &QueueOptions::default()).unwrap().id(),
        consumer: stream.register_consumer(name).unwrap().id,
    }
}

#[test]
fn a_restored_store_gives_no_id_that_the_other_one_has_given_since() {
    for way in WAYS {
        let bench = Bench::new();
        let store = bench.open();
        let clicks = store.create_stream("clicks", 1).unwrap();
        give_out(&clicks, "before");
        way.copy(&bench, &store).unwrap();
        let given: Vec<_> = (0..3).map(|n| give_out(&clicks, &format!("after-{n}"))).collect();
        bench.restore().unwrap();
        let restored = options().open(&bench.restored).unwrap();
        let clicks = restored.stream("clicks").unwrap();
        // Whole, as it was at the moment of the copy.
        assert_eq!(clicks.shards(&ShardFilter::FromTrimHorizon).unwrap().len(), 3);
        let first = give_out(&clicks, "restored");
        for given in &given {
            assert!(
                given.shards.iter().all(|shard| *shard < first.shards[0]),
                "{way:?}"
            );
            assert!(
                given.queue < first.queue && given.consumer < first.consumer,
                "{way:?}"
            );
        }
        // From there on there are no gaps, and the lineage is read in order.
        let next = give_out(&clicks, "next");
        assert_eq!(next.shards[0].index(), first.shards[1].index() + 1);
        assert_eq!(next.queue.value(), first.queue.value() + 1);
        let put = clicks.put("key", b"restored").unwrap();
        assert!(first.shards.contains(&put.shard_id) || next.shards.contains(&put.shard_id));
        restored.close().unwrap();
        assert!(is_sound(&bench.restored));
        let again = options().open(&bench.restored).unwrap();
        assert_eq!(numbers(&again.stream("clicks").unwrap()).len(), 1);
    }
}

/// Otherwise repeated restores would use up the ids of shards, of which there are 2^31.
#[test]
fn copies_of_copies_leave_out_few_ids_each() {
    let mut bench = Bench::new();
    let store = bench.open();
    store.create_stream("clicks", 1).unwrap();
    store.snapshot(&bench.backup).unwrap();
    store.close().unwrap();
    let mut last = 0;
    for generation in 0..3 {
        bench.restored = bench.backup.with_file_name(format!("restored-{generation}"));
        bench.restore().unwrap();
        let restored = options().open(&bench.restored).unwrap();
        let given = give_out(&restored.stream("clicks").unwrap(), &format!("q-{generation}"));
        let first = given.shards[0].index();
        if generation > 0 {
            // A restore is two copies, which may take minutes.
            assert!(
                (last + 4_096..last + 3 * 4_096).contains(&first),
                "{last} {first}"
            );
        }
        last = first;
        bench.backup = bench.backup.with_file_name(format!("backup-{generation}"));
        restored.snapshot(&bench.backup).unwrap();
    }
}

/// A shard without puts between two restores has given none of the numbers that the first one reserved.
#[test]
fn a_copy_of_a_copy_leaves_out_numbers_behind_those_that_the_copy_goes_on_with() {
    for way in WAYS {
        let first = Bench::new();
        let store = first.open();
        store.create_stream("idle", 1).unwrap();
        way.copy(&first, &store).unwrap();
        // The backup is used as a store, and is backed up while its shard is idle.
        let second = Bench {
            store_directory: first.backup.clone(),
            ..Bench::new()
        };
        let copy = second.open();
        way.copy(&second, &copy).unwrap();
        let given = |store: &Store| {
            let put = store.stream("idle").unwrap().put("key", b"record").unwrap();
            put.sequence_number.record_number()
        };
        let given_since = given(&copy);
        let copy_of_copy = options().open(&second.backup).unwrap();
        assert!(
            given(&copy_of_copy).value() >= given_since.value() + (1 << 40),
            "{way:?}"
        );
    }
}

#[test]
fn stores_that_are_restored_of_one_backup_give_other_numbers_than_each_other() {
    let bench = Bench::new();
    let store = bench.open();
    let clicks = store.create_stream("clicks", 1).unwrap();
    clicks.put("key", b"before").unwrap();
    store.snapshot(&bench.backup).unwrap();
    let given = |store: &Store| {
        let stream = store.stream("clicks").unwrap();
        let put = || stream.put("key", b"record").unwrap().sequence_number;
        let numbers: BTreeSet<_> = (0..30).map(|_| put()).collect();
        let created = store.create_stream("later", 1).unwrap().id();
        (numbers, created)
    };
    let (mut numbers, created) = given(&store);
    let mut streams = BTreeSet::from([created]);
    for name in ["first", "second", "third"] {
        let directory = bench.restored.join(name);
        Inspection::of(&bench.backup)
            .restore(&directory, &mut |_| {})
            .unwrap();
        // The number of a stream follows the clock in seconds, that of a record in milliseconds.
        let (of_restored, created) = given(&options().open(&directory).unwrap());
        assert!(numbers.is_disjoint(&of_restored), "{name}");
        numbers.extend(of_restored);
        streams.insert(created);
    }
    assert!(
        streams.len() > 1,
        "the store and what was restored number streams alike"
    );
}

/// The manifest of a killed store has less than its files.
#[test]
fn a_backup_of_a_killed_store_has_what_its_recovery_finds() {
    let bench = Bench::new();
    let store = bench.open();
    let clicks = store.create_stream("clicks", 4).unwrap();
    for _ in 0..20 {
        let keys = (0..4_u128).map(|part| HashKey::new(part << 126));
        let records: Vec<_> = keys
            .map(|key| PutRecord::new("key", b"record").explicit_hash_key(key))
            .collect();
        clicks.put_records(&records).unwrap();
    }
    let all = numbers(&clicks);
    let killed = bench.store_directory.with_extension("killed");
    anabranch_harness::files::copy_tree(&bench.store_directory, &killed);
    let before = all_files(&killed);
    Inspection::of(&killed)
        .back_up(&bench.backup, Sharing::WherePossible, &mut |_| {})
        .unwrap();
    assert!(all_files(&killed) == before, "the store was changed");
    assert_eq!(bench.numbers_in_backup(), all);
}

#[test]
fn a_store_that_is_only_read_can_be_copied() {
    let bench = Bench::new();
    let store = bench.open();
    let clicks = store.create_stream("clicks", 2).unwrap();
    for number in 0..20 {
        clicks.put(&number.to_string(), &[7; 9_000]).unwrap();
    }
    let all = numbers(&clicks);
    store.close().unwrap();
    let before = all_files(&bench.store_directory);
    let store = options().read_only(true).open(&bench.store_directory).unwrap();
    store.snapshot(&bench.backup).unwrap();
    store.close().unwrap();
    assert!(all_files(&bench.store_directory) == before);
    assert_eq!(bench.numbers_in_backup(), all);
}

#[test]
fn directories_with_anything_in_them_are_refused_and_stay_as_they_are() {
    let (bench, store) = Bench::with_a_record();
    let occupied = bench.backup.with_extension("occupied");
    std::fs::create_dir_all(&occupied).unwrap();
    std::fs::write(occupied.join("letter"), b"to be kept").unwrap();
    store.snapshot(&bench.backup).unwrap();
    for directory in [&occupied, &bench.backup, &bench.store_directory] {
        let before = all_files(directory);
        for refused in [
            store.snapshot(directory),
            Inspection::of(&bench.store_directory).back_up(directory, Sharing::Nothing, &mut |_| {}),
            Inspection::of(&bench.backup).restore(directory, &mut |_| {}),
        ] {
            assert!(
                matches!(&refused, Err(Error::NotEmpty { path }) if path == directory),
                "{refused:?}"
            );
        }
        assert!(
            all_files(directory) == before,
            "{} was changed",
            directory.display()
        );
    }
    let file = occupied.join("letter");
    assert!(matches!(store.snapshot(&file), Err(Error::Io { .. })));
    let missing = Inspection::of(bench.store_directory.with_extension("missing"));
    let refused = missing.back_up(bench.backup.with_extension("2"), Sharing::Nothing, &mut |_| {});
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    assert!(!bench.backup.with_extension("2").exists());
    let no_store =
        Inspection::of(&occupied).back_up(bench.backup.with_extension("2"), Sharing::Nothing, &mut |_| {});
    assert!(matches!(no_store, Err(Error::NotAStore { .. })), "{no_store:?}");
    let in_memory = Store::in_memory()
        .unwrap()
        .snapshot(bench.backup.with_extension("2"));
    assert!(matches!(
        in_memory,
        Err(Error::InvalidArgument(InvalidArgument::SnapshotInMemory))
    ));
    store.close().unwrap();
    assert!(matches!(
        store.snapshot(bench.backup.with_extension("2")),
        Err(Error::Closed)
    ));
    assert!(!bench.backup.with_extension("2").exists());
}

#[test]
fn an_unfinished_copy_opens_nowhere_and_the_next_one_takes_its_place() {
    let (bench, store) = Bench::with_a_record();
    store.snapshot(&bench.backup).unwrap();
    // The copy as it is before its last step.
    std::fs::remove_file(bench.backup.join("CURRENT")).unwrap();
    std::fs::write(bench.backup.join("UNFINISHED"), b"").unwrap();
    let is_unfinished = |error| matches!(error, Error::UnfinishedCopy { path } if path == bench.backup);
    assert!(options().open(&bench.backup).is_err_and(is_unfinished));
    assert!(options().read_only(true).open(&bench.backup).is_err());
    assert!(inspect::verify(&bench.backup).is_err_and(is_unfinished));
    assert!(
        Inspection::of(&bench.backup)
            .plan_repair(&mut |_| {})
            .is_err_and(is_unfinished)
    );
    assert!(bench.restore().is_err_and(is_unfinished));

    // A file that does not belong to a copy keeps the copy from being removed.
    let letter = bench.backup.join("streams/1/shardId-000000000000/letter");
    std::fs::write(&letter, b"to be kept").unwrap();
    let before = all_files(&bench.backup);
    assert!(matches!(
        store.snapshot(&bench.backup),
        Err(Error::NotEmpty { .. })
    ));
    assert!(all_files(&bench.backup) == before, "some of it was removed");
    std::fs::remove_file(&letter).unwrap();
    store.snapshot(&bench.backup).unwrap();
    assert!(is_sound(&bench.backup));
    assert!(!bench.backup.join("UNFINISHED").exists());
}

#[test]
fn neither_a_copy_is_inside_its_store_nor_the_store_inside_the_copy() {
    let (bench, store) = Bench::with_a_record();
    store.snapshot(&bench.backup).unwrap();
    let link = bench.store_directory.with_extension("link");
    std::os::unix::fs::symlink(&bench.store_directory, &link).unwrap();
    let above = bench.store_directory.parent().unwrap();
    let before = all_files(&bench.store_directory);
    let is_refused = |copied: &Result<Copied>| {
        matches!(
            copied,
            Err(Error::InvalidArgument(InvalidArgument::CopyInside { .. }))
        )
    };
    for directory in [
        bench.store_directory.join("inside"),
        bench.store_directory.join("streams/1/../../new/deep"),
        link.join("inside"),
        above.to_owned(),
    ] {
        let copied = store.snapshot(&directory);
        assert!(is_refused(&copied), "{}: {copied:?}", directory.display());
        for sharing in [Sharing::Nothing, Sharing::WherePossible] {
            let source = Inspection::of(&bench.store_directory);
            let copied = source.back_up(&directory, sharing, &mut |_| {});
            assert!(is_refused(&copied), "{}: {copied:?}", directory.display());
        }
    }
    let inside = bench.backup.join("inside");
    let restored = Inspection::of(&bench.backup).restore(&inside, &mut |_| {});
    assert!(is_refused(&restored), "{restored:?}");
    assert!(!inside.exists());
    assert!(
        all_files(&bench.store_directory) == before,
        "the store was changed"
    );
    // Beside it, however the path is written.
    let beside = bench.store_directory.join("../data-2");
    store.snapshot(&beside).unwrap();
    assert!(is_sound(&beside));
}

#[test]
fn a_manifest_with_damage_in_one_of_its_copies_is_backed_up_and_restored() {
    for copy in [0, 64 << 10] {
        let (bench, store) = Bench::with_a_record();
        store.snapshot(&bench.backup).unwrap();
        // It gets edits behind its snapshot: if only the last of them is missing, a crash may be the cause.
        let backup = options().open(&bench.backup).unwrap();
        backup.create_stream("other", 1).unwrap();
        backup.close().unwrap();
        let current = std::fs::read_to_string(bench.backup.join("CURRENT")).unwrap();
        let manifest = bench.backup.join(current.split(' ').next().unwrap());
        let mut bytes = std::fs::read(&manifest).unwrap();
        // In the frame with the snapshot.
        bytes[copy + 64 + 30] ^= 1;
        std::fs::write(&manifest, bytes).unwrap();
        assert!(!is_sound(&bench.backup));
        let again = bench.backup.with_extension("again");
        Inspection::of(&bench.backup)
            .back_up(&again, Sharing::Nothing, &mut |_| {})
            .unwrap();
        bench.restore().unwrap();
        for directory in [&again, &bench.restored] {
            assert!(is_sound(directory), "{copy}");
            let copy = options().open(directory).unwrap();
            assert_eq!(numbers(&copy.stream("clicks").unwrap()).len(), 1);
            assert!(copy.stream("other").is_ok());
        }
    }
}

/// Files that a copy did not get to remove have no meaning from the moment that the copy is used as a store.
#[test]
fn a_store_that_was_a_copy_never_passes_for_an_unfinished_one() {
    let bench = Bench::new();
    let store = bench.open();
    let clicks = store.create_stream("clicks", 2).unwrap();
    clicks.put("key", b"record").unwrap();
    store.snapshot(&bench.backup).unwrap();
    let mark = bench.backup.join("UNFINISHED");
    std::fs::write(&mark, b"").unwrap();
    // A read-only opener changes nothing.
    options()
        .read_only(true)
        .open(&bench.backup)
        .unwrap()
        .close()
        .unwrap();
    assert!(mark.exists());
    let copy = options().min_journaled_shards(1).open(&bench.backup).unwrap();
    assert!(!mark.exists());
    let both = [HashKey::MIN, HashKey::MAX].map(|key| PutRecord::new("key", b"more").explicit_hash_key(key));
    copy.stream("clicks").unwrap().put_records(&both).unwrap();
    copy.close().unwrap();

    // The same holds if the mark is there for another reason, and the name of the manifest is lost.
    std::fs::write(&mark, b"").unwrap();
    std::fs::remove_file(bench.backup.join("CURRENT")).unwrap();
    assert!(bench.backup.join("journal").exists());
    let before = all_files(&bench.backup);
    for refused in [
        store.snapshot(&bench.backup),
        Inspection::of(&bench.store_directory).back_up(&bench.backup, Sharing::Nothing, &mut |_| {}),
    ] {
        assert!(matches!(&refused, Err(Error::NotEmpty { .. })), "{refused:?}");
    }
    assert!(matches!(
        options().open(&bench.backup),
        Err(Error::Corrupt { .. })
    ));
    assert!(all_files(&bench.backup) == before, "it was changed");
    assert!(!is_sound(&bench.backup));
}

#[test]
fn what_is_damaged_is_neither_backed_up_nor_restored() {
    let bench = Bench::new();
    let store = bench.open();
    let clicks = store.create_stream("clicks", 1).unwrap();
    for number in 0..8 {
        clicks.put("key", &vec![number; 19_000]).unwrap();
    }
    bench.back_up(Sharing::Nothing).unwrap();
    let shard = "streams/1/shardId-000000000000";
    let flip = |directory: &Path, name: &str| {
        let path = directory.join(shard).join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096 + 100] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    flip(&bench.backup, "00000000000000000004.log");
    assert!(matches!(bench.restore(), Err(Error::Corrupt { .. })));
    assert!(!bench.restored.exists());
    // In a full segment, and in the last one.
    for name in ["00000000000000000001.log", "00000000000000000007.log"] {
        flip(&bench.store_directory, name);
        for sharing in [Sharing::WherePossible, Sharing::Nothing] {
            let directory = bench.backup.with_extension("damaged");
            let damaged = Inspection::of(&bench.store_directory).back_up(&directory, sharing, &mut |_| {});
            assert!(matches!(&damaged, Err(Error::Corrupt { .. })), "{damaged:?}");
            let left: Vec<_> = std::fs::read_dir(&directory)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(left, ["LOCK"]);
        }
        flip(&bench.store_directory, name);
    }
    store.close().unwrap();
}
