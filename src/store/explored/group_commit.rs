//! One shard's group commit: each caller gets an answer, and the right one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::log::Durability;
use crate::store::Append;
use crate::sync::explore;

#[test]
fn everybody_who_waits_is_answered() {
    explore(|| {
        let world = World::new(1);
        join([world.putter("a", 2), world.putter("b", 2), world.putter("c", 2)]);
        world.close_and_check();
    });
}

#[test]
fn those_who_await_and_those_who_wait_are_answered() {
    explore(|| {
        let world = World::new(1);
        let awaiting = world.thread(|world| {
            for number in 0..2 {
                let data = format!("awaited {number}").into_bytes();
                let append = world.stream.append(&[PutRecord::new("awaited", &data)]).unwrap();
                let put = shuttle::future::block_on(append).unwrap()[0];
                world.acknowledge(put, data);
            }
        });
        join([awaiting, world.putter("a", 2), world.putter("b", 1)]);
        world.close_and_check();
    });
}

#[test]
fn what_nobody_waits_for_is_committed() {
    explore(|| {
        let world = World::new(1);
        let careless = world.thread(|world| {
            for _ in 0..2 {
                drop(
                    world
                        .stream
                        .append(&[PutRecord::new("careless", b"dropped")])
                        .unwrap(),
                );
            }
        });
        let reading = world.thread(|world| {
            let mut reader = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
            for _ in 0..3 {
                reader.next_within(Duration::MAX).unwrap().unwrap();
            }
        });
        join([careless, world.putter("a", 1), reading]);
        world.cut_and_check();
    });
}

/// Polls in the call that wakes it, as some executors do. So it must be woken under no lock.
struct Inline {
    append: Mutex<Option<Append>>,
    outcome: Mutex<Option<Result<Vec<PutResult>>>>,
    is_done: crate::sync::Condvar,
}

impl Inline {
    fn poll(self: &Arc<Self>) {
        let mut append = self.append.lock();
        let waker = Waker::from(self.clone());
        if let Some(pending) = append.as_mut()
            && let Poll::Ready(outcome) = Pin::new(pending).poll(&mut Context::from_waker(&waker))
        {
            *append = None;
            *self.outcome.lock() = Some(outcome);
            self.is_done.notify_all();
        }
    }
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        self.poll();
    }
}

#[test]
fn a_waker_that_polls_on_the_spot_is_answered() {
    explore(|| {
        let world = World::new(1);
        let inline = world.thread(|world| {
            let append = world
                .stream
                .append(&[PutRecord::new("inline", b"inline")])
                .unwrap();
            let inline = Arc::new(Inline {
                append: Mutex::new(Some(append)),
                outcome: Mutex::new(None),
                is_done: crate::sync::Condvar::new(),
            });
            inline.poll();
            let mut outcome = inline.outcome.lock();
            while outcome.is_none() {
                outcome = inline.is_done.wait(outcome);
            }
            let put = outcome.take().unwrap().unwrap()[0];
            world.acknowledge(put, b"inline".to_vec());
        });
        join([inline, world.putter("a", 2), world.putter("b", 1)]);
        world.close_and_check();
    });
}

#[test]
fn a_full_group_lets_everybody_in_at_last() {
    explore(|| {
        // Two records fill a group.
        let world = World::with(1, |options| options.max_group_bytes(50));
        join([
            world.putter("a", 2),
            world.putter("b", 2),
            world.putter("c", 1),
            world.putter("d", 1),
        ]);
        world.close_and_check();
    });
}

#[test]
fn a_failed_sync_is_everybodys_answer() {
    for n in 1..=3 {
        explore(move || {
            let world = World::new(1);
            world.put_one("first", 0).unwrap();
            world.fail_log_sync(n);
            let putter = |name: &'static str| {
                world.thread(move |world| {
                    let mut has_failed = false;
                    for number in 0..2 {
                        match world.put_one(name, number) {
                            Ok(_) => assert!(!has_failed, "a put works after one that failed"),
                            Err(Error::Poisoned { .. }) => has_failed = true,
                            Err(error) => panic!("{error}"),
                        }
                    }
                })
            };
            join([putter("a"), putter("b"), putter("c")]);
            world.cut_and_check();
        });
    }
}

#[test]
fn a_failed_sync_answers_those_who_await() {
    explore(|| {
        let world = World::new(1);
        world.fail_log_sync(2);
        let awaiting = |name: &'static str| {
            world.thread(move |world| {
                let data = name.as_bytes();
                let append = match world.stream.append(&[PutRecord::new(name, data)]) {
                    Ok(append) => append,
                    Err(error) => return assert!(matches!(error, Error::Poisoned { .. }), "{error}"),
                };
                match shuttle::future::block_on(append) {
                    Ok(put) => world.acknowledge(put[0], data.to_vec()),
                    Err(error) => assert!(matches!(error, Error::Poisoned { .. }), "{error}"),
                }
            })
        };
        join([awaiting("a"), awaiting("b"), awaiting("c")]);
        world.cut_and_check();
    });
}

#[test]
fn a_full_disk_refuses_and_then_takes_again() {
    explore(|| {
        let world = World::new(1);
        world.disk.set_capacity(world.disk.used_bytes());
        let putter = |name: &'static str| {
            world.thread(move |world| {
                let mut number = 0;
                while number < 2 {
                    match world.put_one(name, number) {
                        Ok(_) => number += 1,
                        Err(Error::StorageFull { .. }) => shuttle::thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        };
        let making_room = world.thread(|world| world.disk.set_capacity(16 << 20));
        join([putter("a"), putter("b"), making_room]);
        world.close_and_check();
    });
}

#[test]
fn what_was_acknowledged_from_memory_is_written_once_there_is_room() {
    explore(|| {
        let world = World::with(1, |options| options.durability(Durability::Buffered));
        world.put_one("first", 0).unwrap();
        // The next segment has no room.
        let large = vec![1; 30_000];
        world.disk.set_capacity(world.disk.used_bytes());
        let putter = |name: &'static str| {
            let large = large.clone();
            world.thread(move |world| {
                let mut number = 0;
                while number < 2 {
                    match world.stream.put(name, &large) {
                        Ok(put) => {
                            world.acknowledge(put, large.clone());
                            number += 1;
                        }
                        Err(Error::StorageFull { .. }) => shuttle::thread::yield_now(),
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        };
        let making_room = world.thread(|world| {
            shuttle::thread::yield_now();
            world.disk.set_capacity(16 << 20);
        });
        join([putter("a"), putter("b"), making_room]);
        world.store.close().unwrap();
        world.check_reopened(&world.disk);
    });
}

#[test]
fn puts_that_do_not_wait_for_a_sync_are_in_order_too() {
    for durability in [Durability::Written, Durability::Buffered] {
        explore(move || {
            let world = World::with(1, |options| options.durability(durability));
            let maintaining = world.thread(|world| world.store.maintain().unwrap());
            join([world.putter("a", 2), world.putter("b", 2), maintaining]);
            world.check(&world.stream, Unacknowledged::None);
            world.store.close().unwrap();
            world.check_reopened(&world.disk);
        });
    }
}
