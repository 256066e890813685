//! The memory that a program keeps by keeping a record.

use anabranch::{Durability, PutRecord, ReadLimit, StartingPosition, StoreOptions};
use anabranch_harness::allocation;

/// `StoreOptions::map_sealed_segments` promises it.
const BUFFER_BYTES: usize = 256 * 1024;

#[test]
fn a_record_that_is_kept_keeps_a_buffer_and_not_the_commit_that_it_was_part_of() {
    let _alone = crate::alone();
    const COMMITS: usize = 12;
    let directory = tempfile::tempdir().unwrap();
    let store = StoreOptions::new()
        .durability(Durability::Written)
        .map_sealed_segments(false)
        .keeper(false)
        .open(directory.path())
        .unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    // Each commit is a frame of 3 MB.
    let data = [7; 1_000];
    let records = vec![PutRecord::new("key", &data); 3_000];
    let mut first_numbers = Vec::new();
    for _ in 0..COMMITS {
        first_numbers.push(stream.put_records(&records).unwrap()[0].sequence_number);
    }
    let shard = first_numbers[0].shard_id();
    let read = |number, records| {
        let position = StartingPosition::AtSequenceNumber(number);
        let from = stream.shard_iterator(shard, position).unwrap();
        let limit = ReadLimit {
            records,
            bytes: 10 << 20,
        };
        stream.get_records(&from, &limit).unwrap().records
    };
    for wanted in [1, 1_000] {
        let before = allocation::used();
        let kept: Vec<_> = first_numbers
            .iter()
            .map(|number| read(*number, wanted).swap_remove(0))
            .collect();
        let pinned = allocation::used().saturating_sub(before);
        // And a few buffers that wait to be used again.
        let bound = (COMMITS + 8) * (BUFFER_BYTES + 1_024);
        assert!(pinned <= bound, "{pinned} bytes are kept by {COMMITS} records");
        assert!(kept.iter().all(|record| record.data == data[..]));
    }
    store.close().unwrap();
}
