//! Changes during puts: splits, merges, rest, the end.

use super::*;
use crate::sync::explore;

fn shard(index: u32) -> ShardId {
    ShardId::new(index).unwrap()
}

#[test]
fn a_split_and_a_merge_lose_nobodys_record() {
    explore(|| {
        let world = World::new(1);
        let resharding = world.thread(|world| {
            world
                .stream
                .split_shard(shard(0), HashKey::new(1 << 127))
                .unwrap();
            world.stream.merge_shards(shard(1), shard(2)).unwrap();
        });
        join([world.putter("a", 3), world.putter("b", 3), resharding]);
        world.close_and_check();
    });
}

#[test]
fn a_reader_comes_over_a_split_to_the_children() {
    explore(|| {
        let world = World::new(1);
        let splitting = world.thread(|world| {
            world
                .stream
                .split_shard(shard(0), HashKey::new(1 << 127))
                .unwrap();
        });
        let reading = world.thread(|world| {
            let mut reader = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
            let mut numbers = Vec::new();
            for _ in 0..3 {
                let record = reader.next_within(Duration::MAX).unwrap().unwrap();
                numbers.push(record.data);
            }
            assert_eq!(numbers, [&b"a 0"[..], b"a 1", b"a 2"]);
        });
        join([world.putter("a", 3), splitting, reading]);
        world.close_and_check();
    });
}

#[test]
fn a_split_that_cannot_be_recorded_leaves_everything_as_it_was() {
    explore(|| {
        let world = World::new(1);
        world.put_one("first", 0).unwrap();
        let faults = world.disk.faults();
        let _ = faults
            .on("MANIFEST")
            .fail_nth(Operation::SyncData, 1, ErrorKind::Other);
        let splitting = world.thread(|world| {
            world
                .stream
                .split_shard(shard(0), HashKey::new(1 << 127))
                .unwrap_err();
        });
        let putting = world.thread(|world| {
            for number in 0..2 {
                match world.put_one("a", number) {
                    Ok(_) | Err(Error::Poisoned { .. } | Error::ShardClosed { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        join([splitting, putting]);
        world.cut_and_check();
    });
}

#[test]
fn a_log_that_rests_goes_on_with_the_next_put() {
    explore(|| {
        let world = World::new(1);
        world.put_one("first", 0).unwrap();
        let keeper = world.thread(|world| {
            for _ in 0..3 {
                world.clock.advance(Duration::from_secs(10));
                world.store.maintain().unwrap();
            }
        });
        join([keeper, world.putter("a", 2), world.putter("b", 1)]);
        world.close_and_check();
    });
}

#[test]
fn whoever_puts_while_the_store_is_closed_is_told() {
    explore(|| {
        let world = World::new(1);
        world.put_one("first", 0).unwrap();
        let putter = |name: &'static str| {
            world.thread(move |world| {
                for number in 0..2 {
                    match world.put_one(name, number) {
                        Ok(_) | Err(Error::Closed) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        };
        let closing = world.thread(|world| world.store.close().unwrap());
        join([putter("a"), putter("b"), closing]);
        world.check_reopened(&world.disk);
    });
}

#[test]
fn whoever_awaits_while_the_store_is_closed_is_answered() {
    explore(|| {
        let world = World::new(2);
        world.put_one("first", 0).unwrap();
        let awaiting = world.thread(|world| {
            let data = b"awaited".to_vec();
            let records = [
                PutRecord {
                    explicit_hash_key: Some(HashKey::new(0)),
                    ..PutRecord::new("a", &data)
                },
                PutRecord {
                    explicit_hash_key: Some(HashKey::MAX),
                    ..PutRecord::new("a", &data)
                },
            ];
            let append = match world.stream.append(&records) {
                Ok(append) => append,
                Err(error) => return assert!(matches!(error, Error::Closed), "{error}"),
            };
            match shuttle::future::block_on(append) {
                Ok(put) => put
                    .into_iter()
                    .for_each(|put| world.acknowledge(put, data.clone())),
                Err(error) => panic!("{error}"),
            }
        });
        let closing = world.thread(|world| world.store.close().unwrap());
        join([awaiting, closing]);
        world.check_reopened(&world.disk);
    });
}

#[test]
fn a_split_that_meets_the_end_of_the_store_opens_nothing_again() {
    explore(|| {
        let world = World::new(1);
        world.put_one("first", 0).unwrap();
        let splitting =
            world.thread(
                |world| match world.stream.split_shard(shard(0), HashKey::new(1 << 127)) {
                    Ok(()) | Err(Error::Closed) => {}
                    Err(error) => panic!("{error}"),
                },
            );
        let putting = world.thread(|world| {
            for number in 0..2 {
                match world.put_one("a", number) {
                    Ok(_) | Err(Error::Closed) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let closing = world.thread(|world| {
            world.store.close().unwrap();
            // From now on another process may have the directory.
            world
                .disk
                .faults()
                .freeze_nth(crate::disk::sim::Calls::CHANGING, 1);
        });
        join([splitting, putting, closing]);
        assert!(!world.disk.is_frozen(), "something was changed after the end");
        world.disk.faults().clear();
        world.check_reopened(&world.disk);
    });
}

/// A runtime's only worker: it waits here while the split hangs.
#[test]
fn a_put_that_must_not_wait_does_not_wait_for_a_split_that_hangs() {
    explore(|| {
        let world = World::new(1);
        world.put_one("first", 0).unwrap();
        let other = world.store.create_stream("other", 2).unwrap();
        let record = [PutRecord::new("k", b"during the split")];
        let both = [HashKey::MIN, HashKey::MAX].map(|key| PutRecord {
            explicit_hash_key: Some(key),
            ..record[0]
        });
        // With routes, and with segments that the manifest knows.
        other.put_records(&both).unwrap();
        let stall = world.disk.stall_next(Operation::SyncData, "MANIFEST");
        let splitting = world.thread(|world| {
            world
                .stream
                .split_shard(shard(0), HashKey::new(1 << 127))
                .unwrap();
        });
        stall.wait_until_reached();
        assert!(world.stream.try_append(&record).unwrap().is_none());
        for records in [&record[..], &both] {
            let append = world.store.stream("other").unwrap().try_append(records).unwrap();
            shuttle::future::block_on(append.expect("no split of this stream hangs")).unwrap();
        }
        drop(stall);
        join([splitting]);
        world.put_one("later", 0).unwrap();
        world.close_and_check();
    });
}

#[test]
fn puts_that_must_not_wait_meet_puts_that_do_and_a_log_that_rests() {
    explore(|| {
        let world = World::with(2, |options| options.max_group_bytes(100));
        world.put_into_all("first", 0, 2).unwrap();
        let awaiting = world.thread(|world| {
            let data = b"awaited".to_vec();
            let records = [HashKey::MIN, HashKey::MAX].map(|key| PutRecord {
                explicit_hash_key: Some(key),
                ..PutRecord::new("a", &data)
            });
            for _ in 0..2 {
                let append = match world.stream.try_append(&records).unwrap() {
                    Some(append) => append,
                    None => world.stream.append(&records).unwrap(),
                };
                for put in shuttle::future::block_on(append).unwrap() {
                    world.acknowledge(put, data.clone());
                }
            }
        });
        let keeper = world.thread(|world| {
            for _ in 0..2 {
                world.clock.advance(Duration::from_secs(10));
                world.store.maintain().unwrap();
            }
        });
        join([awaiting, keeper, world.putter("b", 2)]);
        world.close_and_check();
    });
}

#[test]
fn another_number_of_shards_beside_puts_loses_no_record() {
    explore(|| {
        let world = World::new(1);
        let scaling = world.thread(|world| world.stream.update_shard_count(3).unwrap());
        join([world.putter("a", 3), world.putter("b", 3), scaling]);
        assert_eq!(world.stream.summary().unwrap().open_shard_count, 3);
        world.close_and_check();
    });
}

#[test]
fn a_number_of_shards_that_was_begun_is_reached_once_whoever_takes_the_steps() {
    explore(|| {
        let world = World::new(1);
        world.stream.begin_shard_count_update(3).unwrap();
        let keeper = world.thread(|world| world.store.maintain().unwrap());
        let caller = || {
            world.thread(|world| {
                world.stream.summary().unwrap();
            })
        };
        join([keeper, caller(), caller(), world.putter("a", 2)]);
        let described = world.stream.describe().unwrap();
        assert_eq!(described.summary.open_shard_count, 3);
        // Two more by the first split and two by the others, and no step is done twice.
        assert_eq!(described.shards.len(), 1 + 2 + 2);
        world.close_and_check();
    });
}

#[test]
fn a_stream_can_be_deleted_while_its_shards_change() {
    explore(|| {
        let world = World::new(1);
        let scaling = world.thread(|world| match world.stream.update_shard_count(4) {
            Ok(()) | Err(Error::StreamNotFound { .. } | Error::StreamNotActive { .. }) => {}
            Err(error) => panic!("{error}"),
        });
        let deleting = world.thread(|world| world.stream.delete().unwrap());
        join([scaling, deleting]);
        assert!(matches!(
            world.stream.summary(),
            Err(Error::StreamNotFound { .. })
        ));
        world.store.create_stream("another", 1).unwrap();
        world.store.close().unwrap();
    });
}
