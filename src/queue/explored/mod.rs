//! Several consumers of one queue, under every schedule that the explorer draws (`sync::explore`).
//!
//! Each scenario is a small store on a simulated disk. The checks: no thread waits for ever, no record is given to two
//! consumers, acknowledged records never come back, not even after a power cut at any moment, and no other record is
//! lost.

mod timed;

use std::collections::BTreeSet;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use super::{Queue, QueueRecord, QueueWatch, ReceiveOptions};
use crate::disk::sim::{LossMode, Operation, SimDisk};
use crate::error::Error;
use crate::model::{HashKey, ManualClock, ShardId, StartingPosition, StreamMode, Timestamp};
use crate::seam::ReadLimit;
use crate::store::{ModeOptions, QueueOptions, QueueSettings, Store, StoreOptions, Stream};
use crate::sync::{Mutex, explore, explore_often};

const DIRECTORY: &str = "store";

type Thread = shuttle::thread::JoinHandle<()>;

#[derive(Clone)]
struct World {
    disk: SimDisk,
    clock: ManualClock,
    compaction_bytes: u64,
    store: Store,
    stream: Stream,
    queue: Queue,
    known: Arc<Mutex<Known>>,
}

/// Names of records.
#[derive(Clone, Debug, Default)]
struct Known {
    put: BTreeSet<Vec<u8>>,
    received: BTreeSet<Vec<u8>>,
    /// Those whose acknowledgement was requested.
    asked: BTreeSet<Vec<u8>>,
    acknowledged: BTreeSet<Vec<u8>>,
}

impl World {
    fn new(compaction_bytes: u64) -> Self {
        let disk = SimDisk::new(11);
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let store = open(&disk, &clock, compaction_bytes);
        let stream = store.create_stream("jobs", 1).unwrap();
        let options = QueueOptions {
            start: StartingPosition::TrimHorizon,
            settings: QueueSettings {
                visibility_seconds: 100,
                max_receive_count: None,
            },
            ..QueueOptions::default()
        };
        let queue = stream.create_queue("work", &options).unwrap();
        Self {
            disk,
            clock,
            compaction_bytes,
            store,
            stream,
            queue,
            known: Arc::default(),
        }
    }

    fn thread(&self, run: impl FnOnce(&Self) + Send + 'static) -> Thread {
        let world = self.clone();
        shuttle::thread::spawn(move || run(&world))
    }

    fn put(&self, name: &str, number: usize) {
        let data = format!("{name} {number}").into_bytes();
        self.stream.put(name, &data).unwrap();
        self.known.lock().put.insert(data);
    }

    fn putter(&self, name: &'static str, records: usize) -> Thread {
        self.thread(move |world| (0..records).for_each(|number| world.put(name, number)))
    }

    fn receive(&self, records: usize) -> Vec<QueueRecord> {
        let received = self.queue.receive(&of_records(records)).unwrap();
        self.note_received(&received);
        received
    }

    fn note_received(&self, received: &[QueueRecord]) {
        for record in received {
            let data = record.record.data.to_vec();
            let is_first = self.known.lock().received.insert(data);
            assert!(is_first, "{:?} is given out twice", record.record);
        }
    }

    fn acknowledge(&self, records: &[QueueRecord]) {
        let data = || records.iter().map(|record| record.record.data.to_vec());
        self.known.lock().asked.extend(data());
        let receipts: Vec<_> = records.iter().map(|record| record.receipt).collect();
        let outcomes = self.queue.acknowledge(&receipts).unwrap();
        assert!(outcomes.iter().all(Result::is_ok));
        self.known.lock().acknowledged.extend(data());
    }

    /// A thread that waits for this many records and acknowledges each.
    fn consumer(&self, records: usize) -> Thread {
        self.thread(move |world| {
            let mut left = records;
            let mut watch = world.queue.watch(false).unwrap();
            while left > 0 {
                let received = watch.receive(&of_records(1)).unwrap();
                if received.is_empty() {
                    shuttle::future::block_on(watch.changed());
                    continue;
                }
                world.note_received(&received);
                left -= received.len();
                world.acknowledge(&received);
            }
        })
    }

    /// A thread that waits for a record until this returns, and then stops waiting, whether it was woken or not. A
    /// record that it got is free for the others again.
    fn quitter(&self, wait: fn(&mut QueueWatch)) -> Thread {
        self.thread(move |world| {
            let mut watch = world.queue.watch(false).unwrap();
            let received = watch.receive(&of_records(1)).unwrap();
            match received.first() {
                Some(record) => {
                    let given_back = world.queue.change_visibility(&[(record.receipt, 0)]);
                    assert!(given_back.unwrap()[0].is_ok());
                }
                None => wait(&mut watch),
            }
        })
    }

    /// A thread that waits by its watch, receives a record for a consumer that is gone, and gives it back. If none
    /// comes it leaves.
    fn returner(&self) -> Thread {
        self.thread(|world| {
            let mut watch = world.queue.watch(false).unwrap();
            let mut received = watch.receive(&of_records(1)).unwrap();
            if received.is_empty() {
                wait_a_little(&mut watch);
                received = watch.receive(&of_records(1)).unwrap();
            }
            let receipts: Vec<_> = received.iter().map(|record| record.receipt).collect();
            let given_back = world.queue.give_back(&receipts).unwrap();
            assert!(given_back.iter().all(Result::is_ok));
        })
    }

    /// A thread that checks the disk after a power cut at this moment.
    fn cutter(&self) -> Thread {
        self.thread(|world| {
            let before = world.known.lock().clone();
            let cut = world.disk.image(LossMode::LoseAll);
            let after = world.known.lock().clone();
            world.check(&cut, &before, &after);
        })
    }

    /// Checks the records on a disk, whose state is from between these two moments.
    fn check(&self, disk: &SimDisk, before: &Known, after: &Known) {
        let store = open(disk, &self.clock, self.compaction_bytes);
        let queue = store.stream("jobs").unwrap().queue("work").unwrap();
        let mut found = BTreeSet::new();
        loop {
            let received = queue.receive(&of_records(100)).unwrap();
            if received.is_empty() {
                break;
            }
            for record in received {
                let data = record.record.data.to_vec();
                assert!(
                    !before.acknowledged.contains(&data),
                    "{:?} came back",
                    record.record
                );
                assert!(found.insert(data), "{:?} is given out twice", record.record);
            }
        }
        for data in before.put.difference(&after.asked) {
            assert!(found.contains(data), "{data:?} is lost");
        }
        store.close().unwrap();
    }

    fn close_and_check(self) {
        let known = self.known.lock().clone();
        let cut = self.disk.image(LossMode::LoseAll);
        self.store.close().unwrap();
        self.check(&cut, &known, &known);
        self.check(&self.disk, &known, &known);
    }
}

fn open(disk: &SimDisk, clock: &ManualClock, compaction_bytes: u64) -> Store {
    StoreOptions::new()
        .segment_bytes(64 << 10)
        .min_journaled_shards(usize::MAX)
        .flusher_threads(1)
        .keeper(false)
        .compaction_bytes(compaction_bytes)
        .clock(clock.clone())
        .disk(disk.clone())
        .open(DIRECTORY)
        .unwrap()
}

fn of_records(records: usize) -> ReceiveOptions {
    ReceiveOptions {
        limit: ReadLimit {
            records,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    }
}

fn join(threads: impl IntoIterator<Item = Thread>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Waits as a task that may find nothing to wait for.
fn wait_a_little(watch: &mut QueueWatch) {
    let mut changed = pin!(watch.changed());
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..20 {
        if changed.as_mut().poll(&mut context).is_ready() {
            return;
        }
        shuttle::thread::yield_now();
    }
}

const SELDOM: u64 = 1 << 20;

#[test]
fn consumers_that_wait_share_what_is_put() {
    explore(|| {
        let world = World::new(SELDOM);
        join([
            world.consumer(2),
            world.consumer(1),
            world.putter("a", 2),
            world.putter("b", 1),
        ]);
        world.close_and_check();
    });
}

/// A record wakes one of them, which may be leaving at that moment.
#[test]
fn consumers_that_leave_as_they_are_woken_leave_the_records_to_others() {
    let cancelled: fn(&mut QueueWatch) = |watch| {
        let mut context = Context::from_waker(Waker::noop());
        let _ = pin!(watch.changed()).poll(&mut context);
    };
    let woken_only: fn(&mut QueueWatch) = wait_a_little;
    // Its time is over at once.
    let timed_out: fn(&mut QueueWatch) = |watch| {
        watch.wait(Duration::ZERO);
    };
    for wait in [cancelled, timed_out, woken_only] {
        explore(move || {
            let world = World::new(SELDOM);
            join([
                world.consumer(1),
                world.quitter(wait),
                world.consumer(1),
                world.putter("a", 2),
            ]);
            world.close_and_check();
        });
    }
}

/// A record that the queue counts as received would be a dead letter, for which none of them waits.
#[test]
fn what_is_given_back_is_for_those_who_wait_as_if_it_were_new() {
    explore(|| {
        let world = World::new(SELDOM);
        let settings = QueueSettings {
            visibility_seconds: 100,
            max_receive_count: Some(1),
        };
        world.queue.set_settings(&settings).unwrap();
        join([
            world.consumer(1),
            world.returner(),
            world.consumer(1),
            world.putter("a", 2),
        ]);
        world.close_and_check();
    });
}

#[test]
fn the_end_of_a_queue_wakes_all_that_wait() {
    explore(|| {
        let world = World::new(SELDOM);
        let waiting = || {
            world.thread(|world| {
                let Ok(mut watch) = world.queue.watch(false) else {
                    return;
                };
                while watch.receive(&of_records(1)).is_ok() {
                    shuttle::future::block_on(watch.changed());
                }
            })
        };
        let deleting = world.thread(|world| world.queue.delete().unwrap());
        join([waiting(), waiting(), waiting(), deleting]);
        world.store.close().unwrap();
    });
}

#[test]
fn a_consumer_that_waits_comes_to_the_children_of_a_split() {
    explore(|| {
        let world = World::new(SELDOM);
        let splitting = world.thread(|world| {
            let shard = ShardId::new(0).unwrap();
            world.stream.split_shard(shard, HashKey::new(1 << 127)).unwrap();
        });
        join([world.consumer(3), splitting, world.putter("a", 3)]);
        world.close_and_check();
    });
}

#[test]
fn a_snapshot_is_synced_beside_those_who_receive_and_acknowledge() {
    explore(|| {
        // One snapshot follows each change, while no change is being made.
        let world = World::new(1);
        (0..4).for_each(|number| world.put("a", number));
        let consumer = || {
            world.thread(|world| {
                for _ in 0..2 {
                    let received = world.receive(1);
                    world.acknowledge(&received);
                }
            })
        };
        join([consumer(), consumer(), world.cutter()]);
        world.close_and_check();
    });
}

/// A change that failed for its caller is in no later snapshot.
#[test]
fn a_receive_that_fails_for_want_of_room_has_not_been() {
    static FAILED: AtomicUsize = AtomicUsize::new(0);
    explore(|| {
        // More records than one entry can have, and fewer than two can.
        let world = World::new(30);
        (0..4).for_each(|number| world.put("a", number));
        // The log of the queue gets its first segment with the first change.
        let _ = world
            .disk
            .faults()
            .fail_nth(Operation::Rename, 1, ErrorKind::StorageFull);
        let consumer = || {
            world.thread(|world| {
                for _ in 0..2 {
                    match world.queue.receive(&of_records(1)) {
                        Ok(received) => {
                            let data = received.into_iter().map(|record| record.record.data.to_vec());
                            world.known.lock().received.extend(data);
                        }
                        Err(Error::StorageFull { .. }) => drop(FAILED.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        };
        join([consumer(), consumer(), consumer()]);
        let received = world.known.lock().received.clone();
        world.store.close().unwrap();
        let store = open(&world.disk, &world.clock, world.compaction_bytes);
        let queue = store.stream("jobs").unwrap().queue("work").unwrap();
        for record in queue.receive(&of_records(100)).unwrap() {
            let before = received.contains(&record.record.data[..]);
            let count = record.receive_count;
            // Records that no caller got are given out for the first time.
            assert_eq!(count > 1, before, "{:?}: {count}", record.record);
        }
        store.close().unwrap();
    });
    assert!(FAILED.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_store_that_is_closed_under_consumers_keeps_what_was_acknowledged() {
    explore(|| {
        let world = World::new(1);
        (0..3).for_each(|number| world.put("a", number));
        let consumer = |world: &World| loop {
            let Ok(received) = world.queue.receive(&of_records(1)) else {
                return;
            };
            let Some(record) = received.first() else {
                return;
            };
            let data = record.record.data.to_vec();
            world.known.lock().asked.insert(data.clone());
            match world.queue.acknowledge(&[record.receipt]) {
                Ok(outcomes) => assert!(outcomes[0].is_ok()),
                Err(_) => return,
            }
            world.known.lock().acknowledged.insert(data);
        };
        let closing = world.thread(|world| world.store.close().unwrap());
        join([world.thread(consumer), world.thread(consumer), closing]);
        let known = world.known.lock().clone();
        world.check(&world.disk, &known, &known);
    });
}

#[test]
fn a_queue_that_needs_a_stream_on_demand_keeps_it_so() {
    explore(|| {
        let world = World::new(SELDOM);
        world.queue.delete().unwrap();
        world.stream.set_mode(StreamMode::OnDemand).unwrap();
        let creating = world.thread(|world| {
            let options = QueueOptions {
                needs_on_demand: true,
                ..QueueOptions::default()
            };
            match world.stream.create_queue("new", &options) {
                Ok(_) | Err(Error::StreamNotOnDemand { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        });
        let changing = world.thread(|world| {
            let options = ModeOptions {
                readers_need_on_demand: true,
                ..ModeOptions::default()
            };
            match world.stream.set_mode_with(StreamMode::Provisioned, &options) {
                Ok(()) | Err(Error::StreamHasQueues { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        });
        join([creating, changing]);
        let has_queue = !world.stream.queues().unwrap().is_empty();
        let is_on_demand = world.stream.summary().unwrap().mode == StreamMode::OnDemand;
        assert_eq!(has_queue, is_on_demand);
        world.store.close().unwrap();
    });
}

#[test]
fn what_is_deleted_while_the_store_is_closed_leaves_one_that_opens() {
    explore(|| {
        let world = World::new(SELDOM);
        let other = world.store.create_stream("other", 1).unwrap();
        other.put("key", b"data").unwrap();
        world.put("a", 0);
        assert_eq!(world.receive(1).len(), 1);
        let deleting = world.thread(|world| is_done_or_closed(world.queue.delete()));
        let deleting_all = world.thread(move |_| is_done_or_closed(other.delete()));
        let closing = world.thread(|world| world.store.close().unwrap());
        join([deleting, deleting_all, closing]);
        let store = open(&world.disk, &world.clock, world.compaction_bytes);
        let stream = store.stream("jobs").unwrap();
        assert_eq!(stream.reader(StartingPosition::TrimHorizon).unwrap().count(), 1);
        store.close().unwrap();
    });
}

fn is_done_or_closed(done: crate::error::Result<()>) {
    match done {
        Ok(()) | Err(Error::Closed) => {}
        Err(error) => panic!("{error}"),
    }
}
