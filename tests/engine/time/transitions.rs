//! Changes that take time, and causes that delay them.

use std::io;

use anabranch::sim::{LossMode, Operation};
use anabranch::{Error, HashKey, StreamStatus};

use super::*;

const DELAY: Duration = Duration::from_millis(500);

/// A stream of the name that is active and has some records.
fn active(world: &World, name: &str) -> Stream {
    let stream = world.store.create_stream(name, 1).unwrap();
    world.clock.advance(DELAY);
    for data in [b"first", b"secnd", b"third"] {
        stream.put("k", data).unwrap();
    }
    stream
}

fn first_shard(stream: &Stream) -> anabranch::ShardId {
    stream.describe().unwrap().shards[0].id
}

/// Checks that requests for other streams go on.
fn check_others(world: &World, name: &str) {
    let good = world.stream("good");
    good.put("k", b"on").unwrap();
    good.summary().unwrap();
    assert!(!numbers(&good).is_empty());
    world.store.streams(None, 10).unwrap();
    world.store.open_shard_count().unwrap();
    world.store.create_stream(name, 1).unwrap();
    world
        .store
        .stream(name)
        .and_then(|stream| stream.delete())
        .unwrap();
}

#[test]
fn a_split_that_is_due_of_a_damaged_shard_is_given_up_and_concerns_no_other_stream() {
    for crashed in [false, true] {
        let mut world = World::with_delay(&Place::directory(), DELAY);
        let bad = active(&world, "bad");
        active(&world, "good");
        if crashed {
            bad.split_shard(first_shard(&bad), HashKey::MAX / 2).unwrap();
            world.disk = world.disk.crash(LossMode::KeepAll);
        } else {
            world.store.close().unwrap();
        }
        damage(&world.disk, "streams/1/");
        world.open_again();
        let bad = world.stream("bad");
        if !crashed {
            // It is found by reading: a log at rest is not read before.
            let is_found = match bad.reader(StartingPosition::TrimHorizon) {
                Ok(mut reader) => reader.any(|read| matches!(read, Err(Error::Corrupt { .. }))),
                Err(error) => matches!(error, Error::Corrupt { .. }),
            };
            assert!(is_found);
            bad.split_shard(first_shard(&bad), HashKey::MAX / 2).unwrap();
        }
        assert_eq!(bad.summary().unwrap().status, StreamStatus::Updating);
        world.clock.advance(2 * DELAY);
        check_others(&world, "new");
        assert_eq!(bad.summary().unwrap().status, StreamStatus::Active);
        assert_eq!(bad.summary().unwrap().open_shard_count, 1);
        assert!(world.was_told("stream bad stays as it is"), "{:?}", world.events);
        assert!(matches!(bad.put("k", b"x"), Err(Error::Corrupt { .. })));
        world.reopen();
        check_others(&world, "newer");
        world
            .store
            .stream("bad")
            .and_then(|stream| stream.delete())
            .unwrap();
        world.clock.advance(DELAY);
        assert!(world.stream("bad").summary().is_err());
    }
}

/// Flips a bit of the first record of the stream.
fn damage(disk: &SimDisk, directory: &str) {
    let files = disk.rot().files().into_iter().map(|(path, _)| path);
    let file = files
        .filter(|path| path.to_string_lossy().contains(directory))
        .find(|path| path.to_string_lossy().ends_with(".log"))
        .unwrap();
    let bytes = disk.rot().read(&file).unwrap();
    let at = bytes.windows(5).position(|bytes| bytes == b"first").unwrap();
    disk.rot().flip_bit(&file, at as u64, 0).unwrap();
}

#[test]
fn reads_go_on_in_a_poisoned_store_when_something_is_due() {
    let world = World::with_delay(&Place::directory(), DELAY);
    let stream = active(&world, "s");
    let from = stream
        .shard_iterator(first_shard(&stream), StartingPosition::TrimHorizon)
        .unwrap();
    world.store.create_stream("coming", 1).unwrap();
    let _ = world
        .disk
        .faults()
        .fail_nth(Operation::SyncData, 1, io::ErrorKind::Other);
    assert!(stream.put("k", b"x").is_err());
    for _ in 0..3 {
        assert_eq!(stream.get_records(&from, &ALL).unwrap().records.len(), 3);
        world.store.streams(None, 10).unwrap();
        stream.describe().unwrap();
        assert!(matches!(stream.put("k", b"x"), Err(Error::Poisoned { .. })));
        world.clock.advance(DELAY);
    }
}

#[test]
fn a_change_that_fails_is_tried_again_after_a_pause_and_not_in_each_call() {
    let world = World::with_delay(&Place::directory(), DELAY);
    let stream = active(&world, "s");
    world.store.create_stream("coming", 1).unwrap();
    world.clock.advance(DELAY);
    world.disk.set_capacity(0);
    let faults = world.disk.faults();
    let _ = faults.on("MANIFEST").fail_from_nth(
        Operation::Allocate | Operation::Write,
        1,
        io::ErrorKind::StorageFull,
    );
    let struck_by = |calls: usize| {
        let before = faults.struck();
        (0..calls).for_each(|_| drop(stream.summary().unwrap()));
        faults.struck() - before
    };
    let _ = struck_by(1);
    assert_eq!(struck_by(20), 0);
}

on_each_backend!(
    a_split_that_an_earlier_opener_began_is_not_forgotten_when_another_is_asked_for,
    what_takes_time_does_not_wait_for_a_clock_that_was_set_back,
);

fn a_split_that_an_earlier_opener_began_is_not_forgotten_when_another_is_asked_for(place: &Place) {
    let mut world = World::new(place);
    let stream = world.store.create_stream("s", 2).unwrap();
    let shards = stream.describe().unwrap().shards;
    world.delay = HOUR;
    drop(stream);
    world.reopen();
    let stream = world.stream("s");
    stream.split_shard(shards[0].id, HashKey::MAX / 4).unwrap();
    drop(stream);
    world.delay = Duration::ZERO;
    world.reopen();
    let stream = world.stream("s");
    let key = HashKey::new(u128::MAX / 4 * 3);
    let error = stream.split_shard(shards[1].id, key).unwrap_err();
    assert!(matches!(error, Error::StreamNotActive { .. }), "{error}");
    world.clock.advance(2 * HOUR);
    stream.split_shard(shards[1].id, key).unwrap();
    assert_eq!(stream.summary().unwrap().open_shard_count, 4);
}

fn what_takes_time_does_not_wait_for_a_clock_that_was_set_back(place: &Place) {
    let mut world = World::with_delay(place, DELAY);
    let stream = world.store.create_stream("s", 1).unwrap();
    world.clock.jump_back(DAY);
    world.clock.advance(DELAY);
    assert_eq!(stream.summary().unwrap().status, StreamStatus::Active);
    stream
        .split_shard(first_shard(&stream), HashKey::MAX / 2)
        .unwrap();
    drop(stream);
    world.clock.jump_back(DAY);
    world.reopen();
    let stream = world.stream("s");
    assert_eq!(stream.summary().unwrap().status, StreamStatus::Updating);
    world.clock.advance(DELAY);
    assert_eq!(stream.summary().unwrap().open_shard_count, 2);
    // Nor does a change happen before its time, if the clock is set forward.
    stream.delete().unwrap();
    world.clock.jump_forward(DAY);
    assert_eq!(stream.summary().unwrap().status, StreamStatus::Deleting);
    world.clock.advance(DELAY);
    assert!(matches!(stream.summary(), Err(Error::StreamNotFound { .. })));
}
