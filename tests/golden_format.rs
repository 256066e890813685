//! The bytes on disk are pinned: what is written today is, byte for byte, what lies in `tests/golden`, and what lies
//! there can be read.
//!
//! After a deliberate change of the format, `ANABRANCH_BLESS=1 cargo test --features sim --test golden_format` writes
//! the files anew; a released format's folder is never changed, the new one gets its own.
#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::sim::SimDisk;
use anabranch::{
    CreateStream, HashKey, ManualClock, PutRecord, ReadLimit, ShardFilter, ShardId, StartingPosition, Store,
    StoreOptions, StreamMode, StreamStatus, Timestamp,
};

const DIRECTORY: &str = "store";
const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1")
}

fn shard(index: u32) -> ShardId {
    ShardId::new(index).unwrap()
}

fn options(clock: &ManualClock) -> StoreOptions {
    StoreOptions::new()
        .clock(clock.clone())
        .segment_bytes(64 << 10)
        .min_journaled_shards(2)
        .keeper(false)
}

fn start() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

/// Every kind of edit, several segments, a split and a merge, a round in the commit journal.
fn write_store(options: &StoreOptions, directory: &Path, clock: &ManualClock) {
    let store = options.open(directory).unwrap();
    let orders = store.create_stream("orders", 1).unwrap();
    let big = vec![b'x'; 30_000];
    for _ in 0..5 {
        orders.put("big", &big).unwrap();
        clock.advance(Duration::from_secs(3_600));
    }
    orders.split_shard(&shard(0), HashKey::MAX / 2).unwrap();
    // A frame of two records and one of one, which the commit journal has in one frame.
    let low = HashKey::MIN;
    orders
        .put_records(&[
            PutRecord::new("user-3", b"one").explicit_hash_key(low),
            PutRecord::new("user-1", b"two").explicit_hash_key(low),
            PutRecord::new("user-2", b"three").explicit_hash_key(HashKey::MAX),
        ])
        .unwrap();
    orders
        .put_record(&PutRecord::new("user-1", b"high").explicit_hash_key(HashKey::MAX))
        .unwrap();
    orders.increase_retention(48).unwrap();
    let mut reader = orders.reader(StartingPosition::TrimHorizon).unwrap();
    reader.next().unwrap().unwrap();
    reader.save_checkpoint("billing").unwrap();
    reader.save_checkpoint("audit").unwrap();
    orders.remove_checkpoint("audit").unwrap();

    let tags = BTreeMap::from([("owner".to_owned(), "me".to_owned())]);
    let options_of_second = CreateStream {
        shard_count: 2,
        mode: StreamMode::OnDemand,
        tags,
        ..CreateStream::default()
    };
    let clicks = store.create_stream_with("clicks", options_of_second).unwrap();
    clicks
        .put_record(&PutRecord::new("\u{1F40B}", b"").explicit_hash_key(HashKey::MAX))
        .unwrap();
    store.create_stream("gone", 1).unwrap();
    store.delete_stream("gone").unwrap();
    store.close().unwrap();

    // What takes time is begun, and left to be finished.
    let slow = options.clone().transition_delay(Duration::from_secs(60));
    let store = slow.open(directory).unwrap();
    let clicks = store.stream("clicks").unwrap();
    clicks
        .put_record(&PutRecord::new("again", b"resumed").explicit_hash_key(HashKey::MAX))
        .unwrap();
    clicks.merge_shards(&shard(0), &shard(1)).unwrap();
    store.create_stream("young", 3).unwrap();
    store.delete_stream("orders").unwrap();
    store.close().unwrap();
}

fn written_today() -> BTreeMap<PathBuf, Vec<u8>> {
    let disk = SimDisk::new(7);
    let clock = ManualClock::starting_at(start());
    write_store(&options(&clock).disk(disk.clone()), Path::new(DIRECTORY), &clock);
    let mut files = BTreeMap::new();
    for (path, _) in disk.rot().files() {
        let name = path
            .strip_prefix("/")
            .unwrap_or(&path)
            .strip_prefix(DIRECTORY)
            .unwrap()
            .to_owned();
        // The lock says which process had the store, and the pool's files mean nothing.
        if name != Path::new("LOCK") && !name.starts_with("pool") {
            files.insert(name, disk.rot().read(&path).unwrap());
        }
    }
    files
}

fn stored(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(directory: &Path, root: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, root, files);
            } else {
                files.insert(
                    path.strip_prefix(root).unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(directory, directory, &mut files);
    files
}

fn write_files(directory: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (name, bytes) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

#[test]
fn what_is_written_today_is_byte_for_byte_the_golden_store() {
    let today = written_today();
    if std::env::var_os("ANABRANCH_BLESS").is_some() {
        std::fs::remove_dir_all(golden()).ok();
        write_files(&golden(), &today);
    }
    let golden = stored(&golden());
    assert_eq!(
        golden.keys().collect::<Vec<_>>(),
        today.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &golden {
        let differs = bytes.iter().zip(&today[name]).position(|(a, b)| a != b);
        assert!(
            bytes == &today[name],
            "{} differs from byte {differs:?} on",
            name.display()
        );
    }
}

#[test]
fn the_golden_store_opens_and_holds_what_was_put() {
    let directory = tempfile::tempdir().unwrap();
    write_files(directory.path(), &stored(&golden()));
    let clock = ManualClock::starting_at(start().saturating_add(Duration::from_secs(5 * 3_600)));
    let store = options(&clock).open(directory.path()).unwrap();
    check_before_the_transitions(&store);
    clock.advance(Duration::from_secs(60));
    check_after_the_transitions(&store);
}

fn check_before_the_transitions(store: &Store) {
    let status = |name: &str| store.stream(name).unwrap().summary().unwrap().status;
    assert_eq!(status("orders"), StreamStatus::Deleting);
    assert_eq!(status("clicks"), StreamStatus::Updating);
    assert_eq!(status("young"), StreamStatus::Creating);

    let orders = store.stream("orders").unwrap();
    assert_eq!(orders.summary().unwrap().retention_hours, 48);
    let records: Vec<_> = orders
        .reader(StartingPosition::TrimHorizon)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let lengths: Vec<_> = records.iter().map(|record| record.data.len()).collect();
    assert_eq!(lengths[..5], [30_000; 5]);
    assert_eq!(
        records[0].sequence_number.to_string(),
        "49646437577108476416916876405827138351405044305449975810"
    );
    let resumed = orders.resume_reader("billing", StartingPosition::Latest).unwrap();
    assert_eq!(resumed.count(), records.len() - 1);
    assert_eq!(orders.checkpoint_names().unwrap(), ["billing"]);
}

fn check_after_the_transitions(store: &Store) {
    let names: Vec<_> = store
        .streams(None, 10)
        .unwrap()
        .into_iter()
        .map(|stream| stream.name)
        .collect();
    assert_eq!(names, ["clicks", "young"]);
    let clicks = store.stream("clicks").unwrap();
    let summary = clicks.summary().unwrap();
    assert_eq!(
        (summary.mode, summary.status),
        (StreamMode::OnDemand, StreamStatus::Active)
    );
    assert_eq!(summary.tags["owner"], "me");
    assert_eq!(clicks.shards(&ShardFilter::AtLatest).unwrap()[0].id, shard(2));
    let from = clicks
        .shard_iterator(shard(1), StartingPosition::TrimHorizon)
        .unwrap();
    let read = clicks.get_records(&from, &ALL).unwrap();
    assert_eq!(read.records[0].partition_key.as_str(), "\u{1F40B}");
    assert_eq!(&read.records[1].data[..], b"resumed");
    assert_eq!(read.child_shards[0].shard_id, shard(2));
    assert_eq!(store.stream("young").unwrap().describe().unwrap().shards.len(), 3);
}
