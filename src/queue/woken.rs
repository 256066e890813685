//! How many of those who wait are woken: as many as there are records for, and one who is on the lookout from then on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::{Queue, QueueWatch, ReceiveOptions};
use crate::Memory;
use crate::error::Error;
use crate::model::{HashKey, ManualClock, ShardId, Timestamp};
use crate::seam::ReadLimit;
use crate::store::{QueueOptions, QueueSettings, Store, StoreOptions, Stream};

const CONSUMERS: usize = 64;

pub(super) struct Bench {
    pub(super) clock: ManualClock,
    store: Store,
    pub(super) stream: Stream,
    pub(super) queue: Queue,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::opened_by(|options| options.open_in_memory(&Memory::new()))
    }

    pub(super) fn opened_by(open: impl FnOnce(StoreOptions) -> Result<Store, Error>) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let options = StoreOptions::new().clock(clock.clone()).keeper(false);
        let store = open(options).unwrap();
        let stream = store.create_stream("jobs", 2).unwrap();
        let options = QueueOptions {
            settings: QueueSettings {
                visibility_seconds: 30,
                max_receive_count: None,
            },
            ..QueueOptions::default()
        };
        let queue = stream.create_queue("work", &options).unwrap();
        Self {
            clock,
            store,
            stream,
            queue,
        }
    }

    pub(super) fn put(&self, records: usize) {
        for record in 0..records {
            self.stream.put(&record.to_string(), b"x").unwrap();
        }
    }

    /// So many that sleep.
    pub(super) fn consumers(&self, count: usize) -> Vec<Consumer> {
        let mut consumers: Vec<_> = (0..count).map(|_| Consumer::of(&self.queue)).collect();
        for consumer in &mut consumers {
            assert!(consumer.run().is_pending());
        }
        consumers
    }
}

pub(super) fn one() -> ReceiveOptions {
    ReceiveOptions {
        limit: ReadLimit {
            records: 1,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    }
}

/// A task that waits for one record.
pub(super) struct Consumer {
    task: Pin<Box<dyn Future<Output = Result<usize, Error>>>>,
    woken: Arc<Woken>,
    looks: Arc<AtomicUsize>,
}

#[derive(Default)]
pub(super) struct Woken(AtomicBool);

impl Woken {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Consumer {
    fn of(queue: &Queue) -> Self {
        let looks = Arc::new(AtomicUsize::new(0));
        let (queue, counted) = (queue.clone(), looks.clone());
        let task = Box::pin(async move {
            let mut watch = queue.watch(false)?;
            loop {
                counted.fetch_add(1, Ordering::SeqCst);
                let received = watch.receive(&one())?;
                if !received.is_empty() {
                    return Ok(received.len());
                }
                watch.changed().await;
            }
        });
        Self {
            task,
            woken: Arc::default(),
            looks,
        }
    }

    fn run(&mut self) -> Poll<Result<usize, Error>> {
        self.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.woken.clone());
        self.task.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn is_woken(&self) -> bool {
        self.woken.is_so()
    }
}

/// Runs those that are woken until none is. Gives how often one looked, and how many were given a record.
pub(super) fn settle(consumers: &mut Vec<Consumer>) -> (usize, usize) {
    let looks = |consumers: &[Consumer]| -> usize {
        let looks = consumers
            .iter()
            .map(|consumer| consumer.looks.load(Ordering::SeqCst));
        looks.sum()
    };
    let before = looks(consumers);
    let mut looks_of_served = 0;
    let mut served = 0;
    while let Some(at) = consumers.iter().position(Consumer::is_woken) {
        if consumers[at].run().is_ready() {
            let consumer = consumers.remove(at);
            looks_of_served += consumer.looks.load(Ordering::SeqCst);
            served += 1;
        }
    }
    (looks(consumers) + looks_of_served - before, served)
}

/// The first one of those that are woken, of which there have to be so many.
pub(super) fn woken(consumers: &[Consumer], count: usize) -> usize {
    let woken = consumers.iter().filter(|consumer| consumer.is_woken()).count();
    assert_eq!(woken, count);
    consumers.iter().position(Consumer::is_woken).unwrap()
}

#[test]
fn a_record_wakes_one_of_many_and_the_next_is_on_the_lookout() {
    let bench = Bench::new();
    let mut consumers = bench.consumers(CONSUMERS);
    for left in (CONSUMERS - 10..CONSUMERS).rev() {
        bench.put(1);
        woken(&consumers, 1);
        // The next one looks until it has begun to hear.
        let (looks, served) = settle(&mut consumers);
        assert!(served == 1 && looks <= 3, "{looks} looks for {served} records");
        assert_eq!(consumers.len(), left);
    }
}

#[test]
fn as_many_are_woken_as_there_are_records_for() {
    let bench = Bench::new();
    let mut consumers = bench.consumers(CONSUMERS);
    bench.put(20);
    let (looks, served) = settle(&mut consumers);
    assert!(
        served == 20 && looks <= 20 * 2 + 2,
        "{looks} looks for {served} records"
    );
    // All of them.
    bench.put(CONSUMERS);
    let (_, served) = settle(&mut consumers);
    assert_eq!((served, consumers.len()), (CONSUMERS - 20, 0));
}

#[test]
fn one_that_leaves_as_it_is_woken_wakes_the_next() {
    let bench = Bench::new();
    let mut consumers = bench.consumers(8);
    bench.put(1);
    for _ in 0..7 {
        let at = woken(&consumers, 1);
        drop(consumers.remove(at));
    }
    assert_eq!(settle(&mut consumers), (1, 1));
}

#[test]
fn the_lookout_that_leaves_leaves_another() {
    let bench = Bench::new();
    let mut consumers = bench.consumers(4);
    for _ in 0..3 {
        // The first one that fell asleep is on the lookout.
        drop(consumers.remove(0));
        let (_, served) = settle(&mut consumers);
        assert_eq!(served, 0);
    }
    bench.put(1);
    assert_eq!(settle(&mut consumers).1, 1);
}

/// One that was woken by a record, and others that rely on it.
pub(super) fn woken_before_others(bench: &Bench) -> (QueueWatch, Vec<Consumer>) {
    let mut first = bench.queue.watch(false).unwrap();
    assert!(first.receive(&one()).unwrap().is_empty());
    let consumers = {
        let mut context = Context::from_waker(Waker::noop());
        let mut changed = std::pin::pin!(first.changed());
        assert!(changed.as_mut().poll(&mut context).is_pending());
        let consumers = bench.consumers(2);
        bench.put(1);
        assert!(changed.as_mut().poll(&mut context).is_ready());
        consumers
    };
    assert!(!consumers.iter().any(Consumer::is_woken));
    (first, consumers)
}

#[test]
fn one_that_is_woken_and_does_not_look_wakes_another_when_its_watch_is_dropped() {
    let bench = Bench::new();
    let (first, mut consumers) = woken_before_others(&bench);
    drop(first);
    woken(&consumers, 1);
    assert_eq!(settle(&mut consumers).1, 1);
}

#[test]
fn a_split_and_what_is_put_into_its_children_are_heard_of() {
    let bench = Bench::new();
    let mut consumers = bench.consumers(3);
    let shard = ShardId::new(0).unwrap();
    bench.stream.split_shard(shard, HashKey::new(1 << 125)).unwrap();
    assert_eq!(settle(&mut consumers).1, 0);
    for _ in 0..3 {
        bench.put(1);
        assert_eq!(settle(&mut consumers).1, 1);
    }
}

#[test]
fn one_has_a_timer_for_what_is_given_out_again() {
    let bench = Bench::new();
    bench.put(1);
    let held = bench.queue.receive(&one()).unwrap();
    let mut watches: Vec<_> = (0..3).map(|_| bench.queue.watch(false).unwrap()).collect();
    let mut sleeping = Vec::new();
    let mut dues = Vec::new();
    for watch in &mut watches {
        assert!(watch.receive(&one()).unwrap().is_empty());
        dues.push(watch.due());
        let mut changed = Box::pin(watch.changed());
        let polled = changed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        sleeping.push(changed);
    }
    assert_eq!(dues, [Some(Duration::from_secs(30)), None, None]);
    drop(sleeping);
    // Its moment comes earlier.
    let mut consumers = bench.consumers(3);
    assert_eq!(
        bench.queue.change_visibility(&[(held[0].receipt, 0)]).unwrap(),
        [Ok(())]
    );
    assert_eq!(settle(&mut consumers).1, 1);
}

#[test]
fn the_end_of_the_queue_and_of_the_store_wakes_all() {
    for is_store in [false, true] {
        let bench = Bench::new();
        let mut consumers = bench.consumers(CONSUMERS);
        match is_store {
            true => bench.store.close().unwrap(),
            false => bench.queue.delete().unwrap(),
        }
        assert!(consumers.iter().all(Consumer::is_woken));
        for consumer in &mut consumers {
            assert!(matches!(consumer.run(), Poll::Ready(Err(_))));
        }
    }
}
