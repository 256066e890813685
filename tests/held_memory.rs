//! What a program keeps in memory by keeping a record.
#![allow(clippy::unwrap_used, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use anabranch::{Durability, PutRecord, ReadLimit, StartingPosition, StoreOptions};

/// The system's allocator, and how many bytes are in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it comes; counting touches none of the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// `StoreOptions::map_sealed_segments` promises it.
const BUFFER_BYTES: usize = 256 * 1024;

#[test]
fn a_record_that_is_kept_keeps_a_buffer_and_not_the_commit_that_it_was_part_of() {
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
        let before = IN_USE.load(Ordering::Relaxed);
        let kept: Vec<_> = first_numbers
            .iter()
            .map(|number| read(*number, wanted).swap_remove(0))
            .collect();
        let pinned = IN_USE.load(Ordering::Relaxed).saturating_sub(before);
        // And a few that wait to be used again.
        let bound = (COMMITS + 8) * (BUFFER_BYTES + 1_024);
        assert!(pinned <= bound, "{pinned} bytes are kept by {COMMITS} records");
        assert!(kept.iter().all(|record| record.data == data[..]));
    }
    store.close().unwrap();
}
