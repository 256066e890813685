//! A process with few descriptors: a store keeps within its limit of open files, and does no harm if it gets none.
//!
//! Each test runs itself again in a child process with a small limit, since the limit is that of the whole process.

use std::fs::File;
use std::path::Path;

use anabranch::{Durability, Error, HashKey, PutRecord, StartingPosition, StoreOptions, Stream};
use anabranch_harness::child::is_child_with_open_files;
use anabranch_harness::files::quick_parent;

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

fn one_record_for_each(shards: u32) -> Vec<HashKey> {
    let width = HashKey::MAX.value() / u128::from(shards);
    (0..u128::from(shards))
        .map(|n| HashKey::new(width * n + 7))
        .collect()
}

fn put_to_all(stream: &Stream, keys: &[HashKey]) {
    let records: Vec<_> = keys
        .iter()
        .map(|key| PutRecord::new("key", b"data").explicit_hash_key(*key))
        .collect();
    for outcome in stream.append(&records).unwrap().each().wait() {
        outcome.unwrap();
    }
}

fn count(stream: &Stream) -> usize {
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.map(Result::unwrap).count()
}

fn put_to_many_shards(directory: &Path, options: &StoreOptions) {
    const SHARDS: u32 = 300;
    let store = options.open(directory).unwrap();
    let stream = store.create_stream("clicks", SHARDS).unwrap();
    let keys = one_record_for_each(SHARDS);
    for _ in 0..3 {
        put_to_all(&stream, &keys);
        for key in keys.iter().step_by(7) {
            let record = PutRecord::new("key", b"alone").explicit_hash_key(*key);
            stream.put_record(&record).unwrap();
        }
        assert!(open_files() < 60, "{} files are open", open_files());
    }
    store.maintain().unwrap();
    let alone = keys.iter().step_by(7).count();
    assert_eq!(count(&stream), 3 * (SHARDS as usize + alone));
    store.close().unwrap();
    let store = options.open(directory).unwrap();
    assert_eq!(
        count(&store.stream("clicks").unwrap()),
        3 * (SHARDS as usize + alone)
    );
}

#[test]
fn many_more_shards_are_written_to_than_files_can_be_open() {
    if is_child_with_open_files(
        64,
        "open_files::many_more_shards_are_written_to_than_files_can_be_open",
    ) {
        for (n, durability) in [Durability::Synced, Durability::Written, Durability::Buffered]
            .into_iter()
            .enumerate()
        {
            let directory = tempfile::tempdir_in(quick_parent()).unwrap();
            let options = StoreOptions::new()
                .durability(durability)
                .keeper(n == 0)
                .min_journaled_shards(4);
            put_to_many_shards(&directory.path().join("data"), &options);
        }
    }
}

#[test]
fn a_store_goes_on_when_others_give_descriptors_back() {
    if !is_child_with_open_files(
        128,
        "open_files::a_store_goes_on_when_others_give_descriptors_back",
    ) {
        return;
    }
    for journaled in [1, usize::MAX] {
        let directory = tempfile::tempdir_in(quick_parent()).unwrap();
        let options = StoreOptions::new()
            .keeper(false)
            .segment_bytes(64 << 10)
            .compaction_bytes(1)
            .min_journaled_shards(journaled);
        let store = options.open(directory.path().join("data")).unwrap();
        let stream = store.create_stream("clicks", 4).unwrap();
        let keys = one_record_for_each(4);
        put_to_all(&stream, &keys);
        let mut stored = 4;
        for left in (0..6).chain(0..6) {
            // Other code takes all descriptors but a few.
            let mut others = Vec::new();
            while let Ok(file) = File::open("/dev/null") {
                others.push(file);
            }
            others.truncate(others.len() - left);
            for key in keys.iter().cycle().take(16) {
                let data = [7; 19_000];
                let put = stream.put_record(&PutRecord::new("key", &data).explicit_hash_key(*key));
                match put {
                    Ok(_) => stored += 1,
                    Err(Error::TooManyOpenFiles { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            drop(others);
            put_to_all(&stream, &keys);
            stored += 4;
        }
        assert_eq!(count(&stream), stored);
        store.close().unwrap();
    }
}
