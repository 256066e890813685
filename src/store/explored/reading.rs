//! Readers beside writers.

use super::*;
use crate::seam::ReadLimit;
use crate::sync::explore;

#[test]
fn a_reader_at_the_head_is_woken_by_every_put() {
    explore(|| {
        let world = World::new(2);
        let reading = |records: usize| {
            world.thread(move |world| {
                let mut reader = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
                for _ in 0..records {
                    reader.next_within(Duration::MAX).unwrap().unwrap();
                }
            })
        };
        // The second reader reads only half of the records, so that watching also ends while there is activity.
        join([reading(4), reading(2), world.putter("a", 2), world.putter("b", 2)]);
        world.close_and_check();
    });
}

#[test]
fn what_is_seen_survives_a_power_cut_at_that_moment() {
    explore(|| {
        let world = World::new(1);
        let reading = world.thread(|world| {
            let mut reader = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
            let seen = reader.next_within(Duration::MAX).unwrap().unwrap();
            let cut = world.disk.image(LossMode::LoseAll);
            let store = World::options(&cut)
                .clock(world.clock.clone())
                .open(DIRECTORY)
                .unwrap();
            let mut found = store
                .stream("clicks")
                .unwrap()
                .reader(StartingPosition::TrimHorizon)
                .unwrap();
            let found = found.next().unwrap().unwrap();
            assert_eq!(
                (found.sequence_number, found.data),
                (seen.sequence_number, seen.data)
            );
        });
        join([reading, world.putter("a", 2), world.putter("b", 1)]);
        world.close_and_check();
    });
}

#[test]
fn one_open_file_serves_readers_and_a_writer_of_many_segments() {
    explore(|| {
        let world = World::with(1, |options| options.max_open_segments(1).max_mapped_bytes(1));
        let large = vec![7; 40_000];
        // Every put begins a segment.
        let putting = {
            let large = large.clone();
            world.thread(move |world| {
                for _ in 0..3 {
                    let put = world.stream.put("a", &large).unwrap();
                    world.acknowledge(put, large.clone());
                }
            })
        };
        let reading = |world: &World| {
            let large = large.clone();
            world.thread(move |world| {
                let mut reader = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
                for _ in 0..3 {
                    let record = reader.next_within(Duration::MAX).unwrap().unwrap();
                    assert!(record.data == large);
                }
            })
        };
        join([putting, reading(&world), reading(&world)]);
        world.close_and_check();
    });
}

#[test]
fn a_reader_beside_the_trimming_of_old_segments_gets_records_or_goes_on_behind_them() {
    explore(|| {
        let world = World::with(1, |options| options.max_open_segments(2));
        let large = vec![7; 40_000];
        for _ in 0..3 {
            world.stream.put("a", &large).unwrap();
        }
        world.clock.advance(Duration::from_secs(25 * 3_600));
        let trimming = world.thread(|world| {
            world.store.maintain().unwrap();
            world.store.maintain().unwrap();
        });
        let reading = world.thread(|world| {
            let limit = ReadLimit {
                records: 1,
                bytes: 50_000,
            };
            let mut next = world
                .stream
                .shard_iterator(ShardId::FIRST, StartingPosition::TrimHorizon)
                .unwrap();
            let read = world.stream.get_records(&next, &limit).unwrap();
            next = read.next.unwrap();
            world.stream.get_records(&next, &limit).unwrap();
        });
        let putting = world.thread(|world| {
            let put = world.stream.put("b", b"new").unwrap();
            world.acknowledge(put, b"new".to_vec());
        });
        join([trimming, reading, putting]);
        world.close_and_check();
    });
}
