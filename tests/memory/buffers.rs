//! The memory that an idle store keeps.

use anabranch::{Durability, HashKey, PutRecord, StoreOptions, StreamOptions};
use anabranch_harness::allocation;

const SHARDS: u32 = 12;

/// The spare buffers of all shards, and little else.
const KEPT_BYTES: usize = 40 << 20;

/// Each shard kept a buffer as large as its largest group as long as it was written to: 96 MiB here.
#[test]
fn a_large_record_to_each_shard_leaves_no_large_buffer_in_each() {
    let _alone = crate::alone();
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new().keeper(false).durability(Durability::Written);
    let store = options.open(directory.path()).unwrap();
    let stream = store
        .create_stream_with(
            "clicks",
            StreamOptions {
                shard_count: SHARDS,
                max_record_bytes: 8 << 20,
                ..StreamOptions::default()
            },
        )
        .unwrap();
    let data = vec![7; 5 << 20];
    let put_into_each = |data: &[u8]| {
        let step = HashKey::MAX.value() / u128::from(SHARDS);
        let keys = (0..u128::from(SHARDS)).map(|shard| HashKey::new(step * shard + 7));
        let batch: Vec<_> = keys
            .map(|key| PutRecord::new("key", data).explicit_hash_key(key))
            .collect();
        stream.put_records(&batch).unwrap();
    };
    let before = allocation::start_peak();
    put_into_each(&data);
    let after_large = allocation::start_peak() - before;
    assert!(after_large <= KEPT_BYTES, "{after_large} bytes");
    put_into_each(b"small");
    let after_small = allocation::start_peak() - before;
    assert!(after_small <= KEPT_BYTES, "{after_small} bytes");
}
