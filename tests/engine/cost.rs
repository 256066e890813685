//! The cost of operations, counted in calls to the disk and bytes of memory instead of seconds.

use std::time::Duration;

use anabranch::sim::{Calls, LossMode, Operation, SimDisk};
use anabranch::{
    Durability, HashKey, ManualClock, PutRecord, Queue, QueueOptions, ReadLimit, ReceiveOptions, ShardId,
    StartingPosition, Store, StoreOptions, Stream, Timestamp,
};
use proptest::prelude::*;

fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 << 10)
        .keeper(false)
        .disk(disk.clone())
}

fn shard(index: u32) -> ShardId {
    ShardId::new(index).unwrap()
}

fn put_many(stream: &Stream, records: usize) {
    let data = vec![b'x'; 10_000];
    for _ in 0..records {
        stream.put("key", &data).unwrap();
    }
}

fn calls_of(disk: &SimDisk, work: impl FnOnce()) -> u64 {
    let before = disk.calls(Calls::ALL);
    work();
    disk.calls(Calls::ALL) - before
}

/// Puts a small record into each of these shards, of `shards` in all.
fn put_into(stream: &Stream, shards: u32, wanted: impl Iterator<Item = u32>) {
    let step = HashKey::MAX.value() / u128::from(shards);
    let batch: Vec<_> = wanted
        .map(|shard| {
            PutRecord::new("key", b"data").explicit_hash_key(HashKey::new(step * u128::from(shard) + 7))
        })
        .collect();
    stream.put_records(&batch).unwrap();
}

/// How often each kind of file was synced.
#[derive(Clone, Copy, Debug)]
struct Syncs {
    manifest: usize,
    all: usize,
}

fn syncs_of(disk: &SimDisk, work: impl FnOnce()) -> Syncs {
    disk.start_trace();
    let before = disk.trace().len();
    work();
    let calls = disk.trace().split_off(before);
    let is_sync = |operation| matches!(operation, Operation::SyncData | Operation::SyncDir);
    let synced: Vec<_> = calls.iter().filter(|call| is_sync(call.operation)).collect();
    let of_manifest = synced
        .iter()
        .filter(|call| call.path.to_string_lossy().contains("MANIFEST"));
    Syncs {
        manifest: of_manifest.count(),
        all: synced.len(),
    }
}

/// A store with a stream of this many shards, which takes its time from the clock.
fn timed_store(durability: Durability, shards: u32) -> (SimDisk, ManualClock, Store, Stream) {
    let disk = SimDisk::new(1);
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let options = options(&disk).durability(durability).clock(clock.clone());
    let store = options.open("store").unwrap();
    let stream = store.create_stream("clicks", shards).unwrap();
    (disk, clock, store, stream)
}

/// Waits until house-keeping has seen that nothing is appended, and then until the logs are at rest.
fn rest(store: &Store, clock: &ManualClock) {
    // Records acknowledged from memory are written before they are read.
    let stream = store.stream("clicks").unwrap();
    assert!(stream.reader(StartingPosition::TrimHorizon).unwrap().count() > 0);
    store.maintain().unwrap();
    clock.advance(Duration::from_secs(6));
    store.maintain().unwrap();
}

/// A store that was closed with this many records and shards.
fn closed_store(shards: u32, records: usize) -> SimDisk {
    let disk = SimDisk::new(1);
    let store = options(&disk).open("store").unwrap();
    put_many(&store.create_stream("clicks", shards).unwrap(), records);
    store.close().unwrap();
    disk
}

fn open(disk: &SimDisk) -> Store {
    options(disk).open("store").unwrap()
}

#[test]
fn opening_after_a_clean_close_costs_the_same_however_much_is_stored() {
    let cost = |records| {
        let disk = closed_store(1, records);
        let data = disk.rot().files().len();
        (calls_of(&disk, || drop(open(&disk))), data)
    };
    let (of_one, few_files) = cost(1);
    let (of_many, many_files) = cost(300);
    assert!(
        many_files > 10 * few_files / 2,
        "{many_files} and {few_files} files"
    );
    assert_eq!(of_one, of_many);
}

#[test]
fn opening_after_a_clean_close_touches_no_file_of_any_shard() {
    let disk = closed_store(1_000, 50);
    disk.start_trace();
    let store = open(&disk);
    let touched: Vec<_> = disk.trace().into_iter().map(|call| call.to_string()).collect();
    assert!(touched.len() < 40, "{touched:?}");
    assert!(
        !touched.iter().any(|call| call.contains("shardId")),
        "{touched:?}"
    );
    drop(store);
}

#[test]
fn opening_after_a_crash_reads_one_segment_of_each_shard_that_was_being_written() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open("store").unwrap();
    let stream = store.create_stream("clicks", 2).unwrap();
    for _ in 0..40 {
        let data = vec![b'x'; 10_000];
        stream
            .put_record(&PutRecord::new("low", &data).explicit_hash_key(HashKey::MIN))
            .unwrap();
        stream
            .put_record(&PutRecord::new("high", &data).explicit_hash_key(HashKey::MAX))
            .unwrap();
    }
    let disk = disk.crash(LossMode::LoseAll);
    disk.start_trace();
    let store = open(&disk);
    let opened: Vec<_> = disk
        .trace()
        .into_iter()
        .filter(|call| call.operation == Operation::Open && call.path.to_string_lossy().ends_with(".log"))
        .map(|call| call.path)
        .collect();
    assert_eq!(opened.len(), 2, "{opened:?}");
    drop(store);
}

#[test]
fn splitting_costs_the_same_however_much_is_stored() {
    let cost = |records| {
        let disk = closed_store(1, records);
        let store = open(&disk);
        let stream = store.stream("clicks").unwrap();
        stream.put("key", b"wakes the log").unwrap();
        calls_of(&disk, || stream.split_shard(shard(0), HashKey::MAX / 2).unwrap())
    };
    assert_eq!(cost(1), cost(300));
}

#[test]
fn seeking_reads_no_more_in_a_long_log_than_in_a_short_one() {
    let cost = |records: usize| {
        let disk = SimDisk::new(1);
        let store = options(&disk).open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        put_many(&stream, records);
        let put = stream.put("key", b"wanted").unwrap();
        put_many(&stream, records);
        let position = StartingPosition::AtSequenceNumber(put.sequence_number);
        let one = ReadLimit { records: 1, bytes: 1 };
        calls_of(&disk, || {
            let from = stream.shard_iterator(shard(0), position).unwrap();
            assert_eq!(
                &stream.get_records(&from, &one).unwrap().records[0].data[..],
                b"wanted"
            );
        })
    };
    assert!(
        cost(600) <= cost(30),
        "{} calls, {} in a short log",
        cost(600),
        cost(30)
    );
}

#[test]
fn a_shard_without_records_has_no_file() {
    let disk = closed_store(100, 0);
    let files = disk.rot().files();
    assert!(
        !files
            .iter()
            .any(|(path, _)| path.to_string_lossy().contains("shardId")),
        "{files:?}"
    );
}

#[test]
fn no_more_segments_are_open_than_the_options_say() {
    let disk = SimDisk::new(1);
    let store = options(&disk).max_open_segments(3).open("store").unwrap();
    let stream = store.create_stream("clicks", 10).unwrap();
    let step = HashKey::MAX.value() / 10;
    for _ in 0..3 {
        for n in 0..10 {
            let key = HashKey::new(step * n + 7);
            stream
                .put_record(&PutRecord::new("key", b"data").explicit_hash_key(key))
                .unwrap();
        }
    }
    let read: Vec<_> = stream.reader(StartingPosition::TrimHorizon).unwrap().collect();
    assert_eq!(read.len(), 30);
    // More shards than files: nearly every put and read has to open its segment again.
    assert!(disk.calls(Operation::Open) > 30);
}

#[test]
fn a_segment_that_is_used_in_between_is_not_closed_for_others() {
    const OTHERS: u32 = 40;
    let disk = SimDisk::new(1);
    let store = options(&disk).max_open_segments(16).open("store").unwrap();
    let stream = store.create_stream("clicks", OTHERS + 1).unwrap();
    put_into(&stream, OTHERS + 1, 0..OTHERS + 1);
    let before = disk.calls(Operation::Open);
    for _ in 0..3 {
        for other in 1..=OTHERS {
            put_into(&stream, OTHERS + 1, 0..1);
            put_into(&stream, OTHERS + 1, other..other + 1);
        }
    }
    // Each put to another shard opens its segment again. The first put may open that of the first shard.
    let opened = disk.calls(Operation::Open) - before;
    let least = 3 * u64::from(OTHERS);
    assert!((least..=least + 1).contains(&opened), "{opened}");
}

/// They stayed open until another file needed their place.
#[test]
fn the_segments_of_a_journal_that_was_put_back_are_closed() {
    const SHARDS: u32 = 8;
    let disk = SimDisk::new(1);
    let journaled = |disk: &SimDisk| options(disk).min_journaled_shards(1);
    let store = journaled(&disk).open("store").unwrap();
    let stream = store.create_stream("clicks", SHARDS).unwrap();
    for _ in 0..40 {
        put_into(&stream, SHARDS, 0..SHARDS);
    }
    let killed = disk.crash(LossMode::KeepAll);
    let has_journal = |(path, _): &(std::path::PathBuf, u64)| path.starts_with("store/journal");
    assert!(killed.rot().files().iter().any(has_journal));
    let store = journaled(&killed).open("store").unwrap();
    let open_at_first = killed.open_files();
    store.close().unwrap();
    drop(store);
    let store = journaled(&killed).open("store").unwrap();
    // And each shard's segment, whose end had to be found.
    assert_eq!(open_at_first, killed.open_files() + SHARDS as usize);
    drop(store);
}

#[test]
fn a_reader_at_the_head_reads_once_for_what_was_put_since() {
    let disk = SimDisk::new(1);
    let store = options(&disk).segment_bytes(1 << 20).open("store").unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    // The first segments are small, and opening one reads its header page.
    put_many(&stream, 20);
    assert_eq!(reader.by_ref().count(), 20);
    for records in [1, 1, 1, 5, 20] {
        let batch: Vec<_> = (0..records).map(|_| PutRecord::new("key", b"data")).collect();
        stream.put_records(&batch).unwrap();
        let before = disk.calls(Operation::Read);
        assert_eq!(reader.by_ref().count(), records);
        assert_eq!(disk.calls(Operation::Read) - before, 1);
    }
}

#[test]
fn a_segment_stays_open_when_its_mapping_is_let_go_of() {
    let disk = SimDisk::new(1);
    let store = options(&disk).max_mapped_bytes(1).open("store").unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    put_many(&stream, 60);
    let read_all = || {
        let records = stream.reader(StartingPosition::TrimHorizon).unwrap().count();
        assert_eq!(records, 60);
    };
    read_all();
    let before = (disk.calls(Operation::Open), disk.calls(Operation::Map));
    read_all();
    assert_eq!(disk.calls(Operation::Open), before.0);
    assert!(disk.calls(Operation::Map) > before.1 + 5);
}

/// Each segment's page and its name are synced, and those of the journal's first segment. The other syncs are done
/// once: of the directories of the stream, of its shards and of the journal, of the manifest for the shards and for the
/// journal, and of the records.
#[test]
fn the_first_put_to_many_shards_syncs_each_segment_twice_and_the_manifest_once() {
    for durability in [Durability::Synced, Durability::Written, Durability::Buffered] {
        for shards in [8, 200] {
            let (disk, _, _store, stream) = timed_store(durability, shards);
            let syncs = syncs_of(&disk, || put_into(&stream, shards, 0..shards));
            assert!(syncs.manifest <= 2, "{durability:?}, {shards} shards: {syncs:?}");
            assert!(
                syncs.all <= 2 * shards as usize + 10,
                "{durability:?}, {shards} shards: {syncs:?}"
            );
        }
    }
}

#[test]
fn the_first_put_after_a_rest_syncs_the_same_however_many_shards_rested() {
    for durability in [Durability::Synced, Durability::Written, Durability::Buffered] {
        for shards in [8, 200] {
            let (disk, clock, store, stream) = timed_store(durability, shards);
            put_into(&stream, shards, 0..shards);
            rest(&store, &clock);
            let syncs = syncs_of(&disk, || put_into(&stream, shards, 0..shards));
            assert!(
                syncs.manifest >= 1,
                "{durability:?}, {shards} shards did not rest"
            );
            assert!(syncs.all <= 3, "{durability:?}, {shards} shards: {syncs:?}");
        }
    }
}

#[test]
fn shards_that_come_to_rest_together_are_recorded_with_one_sync() {
    for durability in [Durability::Synced, Durability::Written, Durability::Buffered] {
        let (disk, clock, store, stream) = timed_store(durability, 100);
        put_into(&stream, 100, 0..100);
        let syncs = syncs_of(&disk, || rest(&store, &clock));
        assert_eq!(syncs.manifest, 1, "{durability:?}: {syncs:?}");
    }
}

/// An operation on a stream of many shards.
#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u32>),
    Advance(u64),
    Maintain,
}

fn step(shards: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(0..shards, 1..40).prop_map(Step::Put),
        2 => (1..7_u64).prop_map(Step::Advance),
        2 => Just(Step::Maintain),
    ]
}

/// A round in which some logs have a segment already, and the journal has no frames of them yet.
#[test]
fn a_round_tells_the_manifest_of_all_its_logs_at_once() {
    let (disk, _clock, _store, stream) = timed_store(Durability::Synced, 40);
    put_into(&stream, 40, [12].into_iter());
    let syncs = syncs_of(&disk, || put_into(&stream, 40, [12, 0, 13, 1].into_iter()));
    // One for the shards, and one for the journal's first segment.
    assert_eq!(syncs.manifest, 2, "{syncs:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// One edit notes the writes of the shards, and one the journal.
    #[test]
    fn no_put_and_no_house_keeping_syncs_the_manifest_once_for_each_shard(
        durability in prop::sample::select(vec![Durability::Synced, Durability::Written, Durability::Buffered]),
        steps in prop::collection::vec(step(40), 1..40),
    ) {
        let (disk, clock, store, stream) = timed_store(durability, 40);
        for step in &steps {
            let syncs = syncs_of(&disk, || match step {
                Step::Put(shards) => put_into(&stream, 40, shards.iter().copied()),
                Step::Advance(seconds) => clock.advance(Duration::from_secs(*seconds)),
                Step::Maintain => store.maintain().unwrap(),
            });
            prop_assert!(syncs.manifest <= 2, "{step:?}: {syncs:?}");
        }
    }
}

/// Receiving and acknowledging costs the same in a stream that is a hundred times as long, also for the next opener.
#[test]
fn a_queue_costs_the_same_whatever_the_length_of_its_stream() {
    let cost = |records: usize| {
        let disk = SimDisk::new(1);
        let store = options(&disk).open("store").unwrap();
        let stream = store.create_stream("jobs", 1).unwrap();
        let whole = QueueOptions {
            start: StartingPosition::TrimHorizon,
            ..QueueOptions::default()
        };
        stream.create_queue("work", &whole).unwrap();
        put_many(&stream, records);
        let latest = stream.create_queue("latest", &QueueOptions::default()).unwrap();
        put_many(&stream, 10);
        let round = |queue: &Queue| {
            let received = queue.receive(&ReceiveOptions::default()).unwrap();
            let receipts: Vec<_> = received.iter().map(|record| record.receipt).collect();
            assert_eq!(receipts.len(), 10);
            queue.acknowledge(&receipts).unwrap();
        };
        let of_latest = calls_of(&disk, || round(&latest));
        let queue = stream.queue("work").unwrap();
        round(&queue);
        let of_whole = calls_of(&disk, || round(&queue));
        store.close().unwrap();
        let of_opener = calls_of(&disk, || {
            let store = options(&disk).open("store").unwrap();
            round(&store.stream("jobs").unwrap().queue("work").unwrap());
            store.close().unwrap();
        });
        [of_latest, of_whole, of_opener]
    };
    let (short, long) = (cost(40), cost(4_000));
    println!("{short:?} calls to the disk, and {long:?}");
    for (short, long) in short.into_iter().zip(long) {
        assert!(long <= short + 8, "{short} calls became {long}");
    }
}
