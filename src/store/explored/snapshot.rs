//! Snapshots beside changes of the store.

use super::*;
use crate::sync::explore;

/// Takes a snapshot. It has all records acknowledged before, and no gap in any shard.
fn snapshot(world: &World, directory: &str) {
    let before: Vec<_> = world
        .put
        .lock()
        .iter()
        .map(|known| known.put.sequence_number)
        .collect();
    world.store.snapshot(directory).unwrap();
    let copy = World::options(&world.disk)
        .clock(world.clock.clone())
        .open(directory)
        .unwrap();
    let stream = copy.stream("clicks").unwrap();
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    let copied = reader.collect::<Result<Vec<_>>>().unwrap();
    for number in before {
        let is_there = copied.iter().any(|record| record.sequence_number == number);
        assert!(is_there, "{number} was acknowledged before");
    }
    // A putter puts one record after the other, so the copy has a prefix of them.
    for name in ["a", "b"] {
        let numbers: Vec<_> = copied
            .iter()
            .filter(|record| record.partition_key == name)
            .collect();
        for number in 0..numbers.len() {
            let data = format!("{name} {number}").into_bytes();
            assert!(
                numbers.iter().any(|record| record.data == data),
                "{name} {number} is missing"
            );
        }
    }
    copy.close().unwrap();
}

#[test]
fn a_snapshot_beside_puts_and_a_split_has_a_beginning_of_all_that_each_caller_put() {
    explore(|| {
        let world = World::new(2);
        let splitting = world.thread(|world| {
            world.stream.split_in_half(ShardId::FIRST).unwrap();
        });
        let copying = world.thread(|world| snapshot(world, "copy"));
        join([world.putter("a", 3), world.putter("b", 2), splitting, copying]);
        snapshot(&world, "copy of the end");
        world.close_and_check();
    });
}

#[test]
fn a_snapshot_beside_rounds_through_the_journal_has_what_only_that_has() {
    explore(|| {
        let world = World::with(2, |options| options.min_journaled_shards(1));
        let putting = world.thread(|world| {
            (0..2).for_each(|number| world.put_into_all("c", number, 2).unwrap());
        });
        let copying = world.thread(|world| snapshot(world, "copy"));
        join([world.putter("a", 2), putting, copying]);
        world.close_and_check();
    });
}

/// A table of streams that grows between two readings gives them in another order.
#[test]
fn snapshots_beside_each_other_and_new_streams_end() {
    explore(|| {
        let world = World::new(1);
        for name in ["second", "third"] {
            world.store.create_stream(name, 1).unwrap();
        }
        world.put_one("first", 0).unwrap();
        let copying = ["one", "two"].map(|directory| world.thread(move |world| snapshot(world, directory)));
        let creating = world.thread(|world| {
            world.store.create_stream("fourth", 1).unwrap();
        });
        join(copying.into_iter().chain([creating]));
        world.close_and_check();
    });
}

#[test]
fn a_snapshot_beside_the_end_of_the_store_ends() {
    explore(|| {
        let world = World::new(1);
        world.put_one("first", 0).unwrap();
        let copying = world.thread(|world| match world.store.snapshot("copy") {
            Ok(_) | Err(Error::Closed) => {}
            Err(error) => panic!("{error}"),
        });
        let closing = world.thread(|world| world.store.close().unwrap());
        join([copying, closing]);
        world.check_reopened(&world.disk);
    });
}
