//! The memory that opening a store takes.

use std::path::Path;

use anabranch::{HashKey, PutRecord, Store, StoreOptions, Stream};
use anabranch_harness::{allocation, files};

const SHARDS: u32 = 8;
const SEGMENT_BYTES: u64 = 8 << 20;

/// The part of the commit journal that an opener has in memory at a time, twice, and little else.
const MOST_BYTES: usize = 14 << 20;

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

/// The whole journal was in memory: up to five segments, which are 320 MiB.
#[test]
fn the_commit_journal_of_a_store_that_was_killed_is_never_in_memory_as_a_whole() {
    let _alone = crate::alone();
    const BATCHES: usize = 1_200;
    let data = vec![7; 3_000];
    let directory = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let killed = {
        let store = options().open(directory.path()).unwrap();
        let stream = store.create_stream("clicks", SHARDS).unwrap();
        (0..BATCHES).for_each(|_| put_to_each(&stream, &data));
        let killed = copy.path().join("store");
        files::copy_tree(directory.path(), &killed);
        killed
    };
    let bytes = journal_bytes(&killed);
    assert!(bytes >= 24 << 20, "{bytes} bytes in the journal");
    let before = allocation::start_peak();
    let store: Store = options().open(&killed).unwrap();
    let most = allocation::peak() - before;
    assert!(most <= MOST_BYTES, "{most} bytes for a journal of {bytes}");
    let stream = store.stream("clicks").unwrap();
    let records = stream.reader(anabranch::StartingPosition::TrimHorizon).unwrap();
    assert_eq!(records.map(Result::unwrap).count(), BATCHES * SHARDS as usize);
}
