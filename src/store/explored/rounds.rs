//! Puts to several shards, made durable together by the commit journal.

use std::any::Any;

use super::*;
use crate::backend::local::LocalLogs;
use crate::model::LogName;
use crate::seam::ReadLimit;
use crate::sync::{explore, explore_often};

const SHARDS: u32 = 3;

fn world() -> World {
    World::with(SHARDS, |options| options.min_journaled_shards(2))
}

/// The logs of this machine, for their special calls.
fn local_logs(world: &World) -> &LocalLogs {
    let logs: &dyn Any = world.stream.store_core().logs.as_ref();
    logs.downcast_ref().unwrap()
}

fn putter_into_all(world: &World, name: &'static str, records: usize) -> Thread {
    world.thread(move |world| {
        for number in 0..records {
            world.put_into_all(name, number, SHARDS).unwrap();
        }
    })
}

#[test]
fn rounds_that_meet_answer_everybody() {
    explore(|| {
        let world = world();
        join([
            putter_into_all(&world, "a", 2),
            putter_into_all(&world, "b", 2),
            world.putter("c", 2),
        ]);
        world.close_and_check();
    });
}

#[test]
fn readers_who_come_together_all_find_what_was_acknowledged() {
    explore(|| {
        let world = world();
        world.put_into_all("a", 0, SHARDS).unwrap();
        let reading = || {
            world.thread(|world| {
                for shard in 0..SHARDS {
                    let from = StartingPosition::TrimHorizon;
                    let from = world
                        .stream
                        .shard_iterator(ShardId::new(shard).unwrap(), from)
                        .unwrap();
                    let read = world.stream.get_records(&from, &ReadLimit::default()).unwrap();
                    assert_eq!(read.records.len(), 1, "{shard}");
                }
            })
        };
        join([reading(), reading(), reading()]);
        world.close_and_check();
    });
}

#[test]
fn rounds_of_those_who_await_answer_everybody() {
    explore(|| {
        let world = world();
        let awaiting = |name: &'static str| {
            world.thread(move |world| {
                let step = u128::MAX / u128::from(SHARDS) + 1;
                let records = [0, 1, 2].map(|shard| PutRecord {
                    explicit_hash_key: Some(HashKey::new(shard * step)),
                    ..PutRecord::new(name, name.as_bytes())
                });
                let append = world.stream.append(&records).unwrap();
                for put in shuttle::future::block_on(append).unwrap() {
                    world.acknowledge(put, name.as_bytes().to_vec());
                }
            })
        };
        join([awaiting("a"), awaiting("b"), putter_into_all(&world, "c", 1)]);
        world.close_and_check();
    });
}

#[test]
fn a_round_whose_sync_fails_is_everybodys_error() {
    for n in 1..=4 {
        explore(move || {
            let world = world();
            world.put_into_all("first", 0, SHARDS).unwrap();
            world.fail_log_sync(n);
            let putter = |name: &'static str| {
                world.thread(move |world| {
                    let mut has_failed = false;
                    for number in 0..2 {
                        match world.put_into_all(name, number, SHARDS) {
                            Ok(()) => assert!(!has_failed, "a put works after one that failed"),
                            Err(Error::Poisoned { .. }) => has_failed = true,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            };
            join([putter("a"), putter("b")]);
            world.cut_and_check();
        });
    }
}

#[test]
fn the_journal_lets_nothing_go_that_is_needed() {
    explore(|| {
        let world = world();
        world.put_into_all("first", 0, SHARDS).unwrap();
        let keeper = world.thread(|world| {
            for _ in 0..3 {
                world.clock.advance(Duration::from_secs(10));
                world.store.maintain().unwrap();
            }
        });
        join([keeper, putter_into_all(&world, "a", 2), world.putter("b", 2)]);
        world.cut_and_check();
    });
}

#[test]
fn a_split_beside_rounds_loses_nobodys_record() {
    explore(|| {
        let world = world();
        let splitting = world.thread(|world| {
            world
                .stream
                .split_shard(ShardId::FIRST, HashKey::new(1 << 100))
                .unwrap();
        });
        join([
            splitting,
            putter_into_all(&world, "a", 2),
            putter_into_all(&world, "b", 1),
        ]);
        world.close_and_check();
    });
}

#[test]
fn a_store_that_is_closed_beside_rounds_answers_everybody() {
    explore(|| {
        let world = world();
        let putter = |name: &'static str| {
            world.thread(move |world| {
                for number in 0..2 {
                    match world.put_into_all(name, number, SHARDS) {
                        Ok(()) | Err(Error::Closed) => {}
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
fn the_journal_rests_only_when_its_frames_are_durable_elsewhere() {
    explore_often(3, || {
        let world = world();
        let keeper = world.thread(|world| {
            for _ in 0..2 {
                local_logs(world).rest(&[LogName::CommitJournal]).unwrap();
            }
        });
        join([keeper, putter_into_all(&world, "a", 1)]);
        world.cut_and_check();
    });
}

#[test]
fn logs_that_rest_together_go_on_with_the_next_round() {
    explore_often(3, || {
        let world = world();
        world.put_into_all("first", 0, SHARDS).unwrap();
        let keeper = world.thread(|world| {
            let logs = local_logs(world);
            let written_to = logs.active();
            for _ in 0..2 {
                logs.rest(&written_to).unwrap();
            }
        });
        join([keeper, putter_into_all(&world, "a", 2), world.putter("b", 1)]);
        world.cut_and_check();
    });
}
