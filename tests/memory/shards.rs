//! The memory of a shard that is never written to.

use anabranch::StoreOptions;
use anabranch::sim::SimDisk;
use anabranch_harness::allocation;

/// The bytes that are allocated after `work` and were not before.
fn bytes_kept_by<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = allocation::used();
    let kept = work();
    (allocation::used().saturating_sub(before), kept)
}

#[test]
fn a_shard_that_takes_no_records_costs_a_few_hundred_bytes() {
    let _alone = crate::alone();
    const SHARDS: u32 = 20_000;
    const MOST_OF_A_SHARD: usize = 1000;
    const MOST_OF_A_USED_SHARD: usize = 64 << 10;
    let disk = SimDisk::new(1);
    let options = StoreOptions::new()
        .segment_bytes(64 << 10)
        .keeper(false)
        .disk(disk.clone());
    let store = options.open("store").unwrap();
    let (bytes, stream) = bytes_kept_by(|| store.create_stream("wide", SHARDS).unwrap());
    assert!(
        bytes / (SHARDS as usize) < MOST_OF_A_SHARD,
        "{bytes} bytes for a new stream"
    );
    println!("{} bytes for each shard of a new stream", bytes / SHARDS as usize);

    let (of_put, _) = bytes_kept_by(|| stream.put("key", b"data").unwrap());
    println!("{of_put} bytes for the first put");
    let most = MOST_OF_A_USED_SHARD + SHARDS as usize * 100;
    assert!(of_put < most, "{of_put} bytes for the first put");
    drop(stream);
    store.close().unwrap();
    drop(store);

    let (bytes, store) = bytes_kept_by(|| options.open("store").unwrap());
    println!(
        "{} bytes for each shard of an opened store",
        bytes / SHARDS as usize
    );
    assert!(
        bytes / (SHARDS as usize) < MOST_OF_A_SHARD,
        "{bytes} bytes for an opened store"
    );
    store.close().unwrap();
}
