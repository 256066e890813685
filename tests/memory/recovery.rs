//! The memory that opening, verifying and repairing a store take.

use std::path::{Path, PathBuf};

use anabranch::inspect::Inspection;
use anabranch::{HashKey, PutRecord, ShardId, Store, StoreOptions, Stream};
use anabranch_harness::{allocation, files};

const SHARDS: u32 = 8;
const SEGMENT_BYTES: u64 = 8 << 20;

/// The part of the commit journal that an opener has in memory at a time, twice, and little else.
const MOST_BYTES: usize = 14 << 20;

/// The memory of an inspection: the places of the journal's frames, the manifest, and the bytes that it is reading.
const MOST_BYTES_TO_INSPECT: usize = 4 << 20;

fn options() -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(SEGMENT_BYTES)
        .min_journaled_shards(2)
        .keeper(false)
}

fn put_to_each(stream: &Stream, data: &[u8]) {
    let step = HashKey::MAX.value() / u128::from(SHARDS);
    let keys = (0..u128::from(SHARDS)).map(|shard| HashKey::new(step * shard + 7));
    let batch: Vec<_> = keys
        .map(|key| PutRecord::new("key", data).explicit_hash_key(key))
        .collect();
    stream.put_records(&batch).unwrap();
}

fn journal_bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory.join("journal")).unwrap();
    entries
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

const BATCHES: usize = 1_200;

/// A store that was killed with a commit journal of 24 MiB or more.
fn killed_store(directory: &Path) -> PathBuf {
    let data = vec![7; 3_000];
    let store = options().open(directory.join("killed")).unwrap();
    let stream = store.create_stream("clicks", SHARDS).unwrap();
    (0..BATCHES).for_each(|_| put_to_each(&stream, &data));
    let killed = directory.join("copy");
    files::copy_tree(&directory.join("killed"), &killed);
    let bytes = journal_bytes(&killed);
    assert!(bytes >= 24 << 20, "{bytes} bytes in the journal");
    killed
}

fn peak_of<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = allocation::start_peak();
    let done = work();
    (allocation::peak() - before, done)
}

fn records_in(store: &Store) -> usize {
    let stream = store.stream("clicks").unwrap();
    let records = stream.reader(anabranch::StartingPosition::TrimHorizon).unwrap();
    records.map(Result::unwrap).count()
}

/// The whole journal was in memory: up to five segments, which are 320 MiB.
#[test]
fn the_commit_journal_of_a_store_that_was_killed_is_never_in_memory_as_a_whole() {
    let _alone = crate::alone();
    let directory = tempfile::tempdir().unwrap();
    let killed = killed_store(directory.path());
    let (most, store) = peak_of(|| options().open(&killed).unwrap());
    assert!(most <= MOST_BYTES, "{most} bytes to open the store");
    assert_eq!(records_in(&store), BATCHES * SHARDS as usize);
}

/// The segments of a shard.
fn segments_of(directory: &Path, shard: u32) -> Vec<PathBuf> {
    let stream = std::fs::read_dir(directory.join("streams")).unwrap().next();
    let shard = stream
        .unwrap()
        .unwrap()
        .path()
        .join(ShardId::new(shard).unwrap().to_string());
    let files = std::fs::read_dir(shard).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"))
        .collect()
}

/// An inspection without opening the store had the whole journal in memory too.
#[test]
fn verifying_and_repairing_a_store_have_no_more_of_the_journal_in_memory_than_they_read() {
    let _alone = crate::alone();
    let directory = tempfile::tempdir().unwrap();
    let killed = killed_store(directory.path());
    let inspection = Inspection::of(&killed);
    let (most, verification) = peak_of(|| inspection.verify(&mut |_| {}).unwrap());
    assert!(verification.is_sound(), "{:?}", verification.findings);
    println!("{most} bytes to verify");
    assert!(most <= MOST_BYTES_TO_INSPECT, "{most} bytes to verify");

    // One segment lacks nearly all, and has to be mended for another reason; one has lost its header page.
    for segment in segments_of(&killed, 3) {
        let file = std::fs::File::options().write(true).open(segment).unwrap();
        file.set_len(100_000).unwrap();
    }
    for segment in segments_of(&killed, 5) {
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[20] ^= 1;
        std::fs::write(segment, bytes).unwrap();
    }
    let (most, repaired) = peak_of(|| {
        let plan = inspection.plan_repair(&mut |_| {}).unwrap();
        assert!(plan.hopeless.is_empty(), "{:?}", plan.hopeless);
        plan.apply().unwrap().unwrap()
    });
    assert!(repaired.verification.is_sound());
    println!("{most} bytes to repair");
    assert!(most <= MOST_BYTES_TO_INSPECT, "{most} bytes to repair");
    let store = options().open(&killed).unwrap();
    assert_eq!(records_in(&store), BATCHES * SHARDS as usize);
}
