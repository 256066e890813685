//! What opening a store, and following one, takes in memory.

use std::path::{Path, PathBuf};

use anabranch::{HashKey, PutRecord, StartingPosition, Store, StoreOptions, Stream};
use anabranch_harness::{allocation, files};

const SHARDS: u32 = 8;
const SEGMENT_BYTES: u64 = 8 << 20;

/// What an opener has of the commit journal at a time, twice, and little else.
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

/// What a follower keeps of the commit journal, with the piece that is being read.
const MOST_FOLLOWED_BYTES: usize = 20 << 20;

const BATCHES: usize = 1_200;

/// A store as a killed program leaves it, in a directory of this one, with so many bytes in its commit journal.
fn killed_store(directory: &Path) -> (PathBuf, u64) {
    let data = vec![7; 3_000];
    let written = tempfile::tempdir().unwrap();
    let store = options().open(written.path()).unwrap();
    let stream = store.create_stream("clicks", SHARDS).unwrap();
    (0..BATCHES).for_each(|_| put_to_each(&stream, &data));
    let killed = directory.join("store");
    files::copy_tree(written.path(), &killed);
    let bytes = journal_bytes(&killed);
    assert!(bytes >= 24 << 20, "{bytes} bytes in the journal");
    (killed, bytes)
}

fn count(store: &Store) -> usize {
    let stream = store.stream("clicks").unwrap();
    let records = stream.reader(StartingPosition::TrimHorizon).unwrap();
    records.map(Result::unwrap).count()
}

/// All of it was: up to five segments, which are 320 MiB.
#[test]
fn the_commit_journal_of_a_store_that_was_killed_is_never_in_memory_as_a_whole() {
    let _alone = crate::alone();
    let directory = tempfile::tempdir().unwrap();
    let (killed, bytes) = killed_store(directory.path());
    let before = allocation::start_peak();
    let store = options().open(&killed).unwrap();
    let most = allocation::peak() - before;
    assert!(most <= MOST_BYTES, "{most} bytes for a journal of {bytes}");
    assert_eq!(count(&store), BATCHES * SHARDS as usize);
}

#[test]
fn nor_is_it_in_the_memory_of_who_follows_the_store() {
    let _alone = crate::alone();
    let directory = tempfile::tempdir().unwrap();
    let (killed, bytes) = killed_store(directory.path());
    let before = allocation::start_peak();
    let followed = options().follow(&killed).unwrap();
    // The first use of a shard that is written to reads the journal.
    let stream = followed.stream("clicks").unwrap();
    let mut reader = stream.reader(StartingPosition::Latest).unwrap();
    assert!(reader.next().is_none());
    let most = allocation::peak() - before;
    assert!(
        most <= MOST_FOLLOWED_BYTES,
        "{most} bytes for a journal of {bytes}"
    );
    assert_eq!(count(&followed), BATCHES * SHARDS as usize);
}
