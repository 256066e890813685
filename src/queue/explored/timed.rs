//! Consumers with timers, and a clock that goes on between any two of their steps.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::model::Clock;

const MILLISECOND: Duration = Duration::from_millis(1);

/// Wakers with times of the world's clock.
#[derive(Clone, Default)]
struct Timers(Arc<Mutex<Vec<(Duration, Waker)>>>);

impl Timers {
    fn poll(&self, at: Duration, clock: &ManualClock, context: &Context<'_>) -> Poll<()> {
        let mut waiting = self.0.lock();
        if clock.monotonic() >= at {
            return Poll::Ready(());
        }
        waiting.push((at, context.waker().clone()));
        Poll::Pending
    }

    /// Moves the clock, and wakes those whose time has come.
    fn advance(&self, clock: &ManualClock) {
        let mut waiting = self.0.lock();
        clock.advance(MILLISECOND);
        let now = clock.monotonic();
        let due: Vec<_> = waiting.extract_if(.., |(at, _)| *at <= now).collect();
        drop(waiting);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

/// A thread that waits for one record and acknowledges it. It waits until it gets a signal or has to look by the time.
fn consumer(world: &World, timers: &Timers, dead_letters: bool) -> Thread {
    let timers = timers.clone();
    world.thread(move |world| {
        let mut watch = world.queue.watch(dead_letters).unwrap();
        loop {
            let received = watch.receive(&of_records(1)).unwrap();
            if !received.is_empty() {
                world.note_received(&received);
                return world.acknowledge(&received);
            }
            // Never too late, at whatever step the clock moves.
            let now = world.clock.monotonic();
            let due = watch.due().map(|due| now + due);
            let mut changed = pin!(watch.changed());
            shuttle::future::block_on(poll_fn(|context| {
                if changed.as_mut().poll(context).is_ready() {
                    return Poll::Ready(());
                }
                due.map_or(Poll::Pending, |due| timers.poll(due, &world.clock, context))
            }));
        }
    })
}

#[test]
fn consumers_that_wait_get_what_becomes_free_by_the_time() {
    const RECORDS: usize = 3;
    for dead_letters in [false, true] {
        explore_often(3, move || {
            let world = World::new(SELDOM);
            let held_for_a_second = ReceiveOptions {
                visibility_seconds: Some(1),
                ..of_records(1)
            };
            // Each is held back for a millisecond longer than the one before.
            for number in 0..RECORDS {
                world.put("a", number);
                assert_eq!(world.queue.receive(&held_for_a_second).unwrap().len(), 1);
                world.clock.advance(MILLISECOND);
            }
            if dead_letters {
                let settings = QueueSettings {
                    visibility_seconds: 100,
                    max_receive_count: Some(1),
                };
                world.queue.set_settings(&settings).unwrap();
            }
            world
                .clock
                .advance(Duration::from_secs(1) - MILLISECOND * (RECORDS as u32 + 1));
            let timers = Timers::default();
            let clock = {
                let timers = timers.clone();
                world.thread(move |world| {
                    for _ in 0..=RECORDS {
                        timers.advance(&world.clock);
                        shuttle::thread::yield_now();
                    }
                })
            };
            let consumer = || consumer(&world, &timers, dead_letters);
            join([consumer(), consumer(), consumer(), clock]);
            world.close_and_check();
        });
    }
}

#[test]
fn a_consumer_that_waits_gets_what_a_receive_had_that_failed() {
    explore(|| {
        let world = World::new(SELDOM);
        world.put("a", 0);
        // The log of the queue gets its first segment with the first change.
        let _ = world
            .disk
            .faults()
            .fail_nth(Operation::Rename, 1, ErrorKind::StorageFull);
        let failing = world.thread(|world| match world.queue.receive(&of_records(1)) {
            Ok(received) => {
                let changes: Vec<_> = received.iter().map(|record| (record.receipt, 0)).collect();
                world.queue.change_visibility(&changes).unwrap();
            }
            Err(Error::StorageFull { .. }) => {}
            Err(error) => panic!("{error}"),
        });
        let waiting = world.thread(|world| {
            let mut watch = world.queue.watch(false).unwrap();
            loop {
                match watch.receive(&of_records(1)) {
                    Ok(received) if received.is_empty() => shuttle::future::block_on(watch.changed()),
                    Ok(received) => {
                        world.note_received(&received);
                        return world.acknowledge(&received);
                    }
                    Err(Error::StorageFull { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        join([failing, waiting]);
        world.close_and_check();
    });
}
