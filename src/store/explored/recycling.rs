//! Readers beside the recycling of their segments, while another stream writes to the recycled files.
//!
//! The simulated disk panics on a write to a file that is mapped, or that is still open for its earlier use.

use super::*;
use crate::error::Error;
use crate::seam::ReadLimit;
use crate::store::{RecordBatch, ShardIterator};
use crate::sync::explore;

const OLD: u8 = 1;
const NEW: u8 = 2;
const LARGE: usize = 40_000;

/// Reads little, through buffers unless the segment is mapped already.
const ONE: ReadLimit = ReadLimit {
    records: 1,
    bytes: 50_000,
};

/// Reads much, through a mapping if that is allowed.
const MANY: ReadLimit = ReadLimit {
    records: 1_000,
    bytes: 10 << 20,
};

/// Three segments of one record each, of which the first two expire while they are read, and another stream, which
/// writes to the recycled files.
fn readers_beside_recycling_with(map: bool) {
    let world = World::with(1, |options| options.max_open_segments(1).map_sealed_segments(map));
    let other = world.store.create_stream("other", 1).unwrap();
    for _ in 0..2 {
        world.stream.put("a", &[OLD; LARGE]).unwrap();
    }
    world.clock.advance(Duration::from_secs(20 * 3_600));
    let put = world.stream.put("a", &[NEW; LARGE]).unwrap();
    world.acknowledge(put, vec![NEW; LARGE]);
    let start = world
        .stream
        .shard_iterator(ShardId::FIRST, StartingPosition::TrimHorizon)
        .unwrap();
    let trimming = world.thread(move |world| {
        world.clock.advance(Duration::from_secs(5 * 3_600));
        for _ in 0..2 {
            world.store.maintain().unwrap();
            other.put("b", &[3; LARGE]).unwrap();
        }
    });
    let reading = |limit| world.thread(move |world| read(world, start, &limit));
    let seeking = world.thread(move |world| {
        // The first record that has not expired, at the beginning of the read or now.
        for time in [NOW, NOW.saturating_add(Duration::from_secs(3_600))] {
            let position = StartingPosition::AtTimestamp(time);
            let found = world.stream.shard_iterator(ShardId::FIRST, position).unwrap();
            read(world, found, &ONE);
        }
    });
    join([trimming, reading(ONE), reading(MANY), seeking]);
    // No damage was reported where there is none.
    world.put_one("after", 0).unwrap();
    world.store.maintain().unwrap();
    world.close_and_check();
}

/// Reads twice, and checks the records of the first read again after the second.
fn read(world: &World, from: ShardIterator, limit: &ReadLimit) {
    let first = read_what_is_kept(world, from, limit);
    let second = first.next.map(|next| read_what_is_kept(world, next, limit));
    for read in std::iter::once(first).chain(second) {
        for record in read.records {
            let kind = record.data[0];
            assert!(kind == OLD || kind == NEW);
            assert!(record.data.iter().all(|byte| *byte == kind), "a record changed");
        }
    }
}

fn read_what_is_kept(world: &World, mut from: ShardIterator, limit: &ReadLimit) -> RecordBatch {
    loop {
        match world.stream.get_records(&from, limit) {
            Err(Error::Trimmed { first_kept, .. }) => from.next = first_kept.unwrap(),
            read => return read.unwrap(),
        }
    }
}

/// With and without mappings.
pub(super) fn readers_beside_recycling() {
    explore(|| readers_beside_recycling_with(true));
    explore(|| readers_beside_recycling_with(false));
}

#[test]
fn readers_and_seeks_get_what_was_put_while_their_segments_are_recycled() {
    readers_beside_recycling();
}
