//! Waiting for new records in shards: by a thread, by a task, and through a reader.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use crate::backends::{Place, on_each_backend};
use anabranch::{
    Durability, HashKey, ManualClock, PutRecord, ShardFilter, ShardId, ShardWatch, StartingPosition, Store,
    StoreOptions, Stream, Timestamp,
};

/// Much longer than every expected event takes.
const LONG: Duration = Duration::from_secs(60);

struct World {
    clock: ManualClock,
    store: Store,
    stream: Stream,
    shards: Vec<ShardId>,
    _place: Place,
}

impl World {
    fn new(place: &Place, options: StoreOptions) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let place = place.another();
        let store = place.open_with(&options.clock(clock.clone()).keeper(false));
        let stream = store.create_stream("stream", 2).unwrap();
        let shards = stream.shards(&ShardFilter::AtLatest).unwrap();
        Self {
            clock,
            store,
            stream,
            shards: shards.iter().map(|shard| shard.id).collect(),
            _place: place,
        }
    }

    fn put(&self, shard: usize) {
        let hash_key = [HashKey::MIN, HashKey::MAX][shard];
        let record = PutRecord::new("key", b"data").explicit_hash_key(hash_key);
        self.stream.put_record(&record).unwrap();
    }
}

/// Whether there was a signal; does not wait.
fn is_told(watch: &mut ShardWatch) -> bool {
    watch.wait(Duration::ZERO)
}

on_each_backend!(
    a_put_tells_those_who_watch_its_shard_and_no_other,
    a_record_that_is_acknowledged_from_memory_is_told_of_too,
    the_end_of_a_shard_a_stream_and_a_store_is_told,
    a_thread_that_waits_is_woken,
    a_task_that_waits_is_woken_by_a_change_of_what_it_watches,
    a_reader_in_a_task_goes_on_across_a_split,
);

fn a_put_tells_those_who_watch_its_shard_and_no_other(place: &Place) {
    for durability in [Durability::Synced, Durability::Written] {
        for min_journaled_shards in [1, usize::MAX] {
            let options = StoreOptions::new()
                .durability(durability)
                .min_journaled_shards(min_journaled_shards);
            let world = World::new(place, options);
            let mut watches =
                [0, 1, 0].map(|shard: usize| world.stream.watch(&[world.shards[shard]]).unwrap());
            let mut of_both = world.stream.watch(&world.shards).unwrap();
            world.put(0);
            assert_eq!(watches.each_mut().map(is_told), [true, false, true]);
            assert_eq!(watches.each_mut().map(is_told), [false; 3]);
            assert!(is_told(&mut of_both));
            of_both.retain(|shard| shard == world.shards[1]);
            world.put(0);
            assert!(!is_told(&mut of_both));
            world.put(1);
            assert!(is_told(&mut of_both));
        }
    }
}

fn a_record_that_is_acknowledged_from_memory_is_told_of_too(place: &Place) {
    let world = World::new(place, StoreOptions::new().durability(Durability::Buffered));
    let mut watch = world.stream.watch(&world.shards).unwrap();
    world.put(0);
    assert!(watch.wait(LONG));
}

fn the_end_of_a_shard_a_stream_and_a_store_is_told(place: &Place) {
    let world = World::new(place, StoreOptions::new());
    let split = world.shards[0];
    let mut watch = world.stream.watch(&[split]).unwrap();
    world.stream.split_shard(split, HashKey::MAX / 8).unwrap();
    assert!(is_told(&mut watch));
    // The closed shard expires.
    world.clock.advance(Duration::from_secs(25 * 3_600));
    world.store.maintain().unwrap();
    world.store.maintain().unwrap();
    assert!(is_told(&mut watch));
    assert!(world.stream.watch(&[split]).is_err());

    let mut watch = world.stream.watch(&world.shards[1..]).unwrap();
    world.stream.delete().unwrap();
    assert!(is_told(&mut watch));

    let other = world.store.create_stream("other", 1).unwrap();
    let shard = other.shards(&ShardFilter::AtLatest).unwrap()[0].id;
    let mut watch = other.watch(&[shard]).unwrap();
    world.store.close().unwrap();
    assert!(is_told(&mut watch));
}

fn a_thread_that_waits_is_woken(place: &Place) {
    let world = World::new(place, StoreOptions::new());
    let mut watch = world.stream.watch(&world.shards).unwrap();
    let waiting = thread::spawn(move || watch.wait(LONG));
    world.put(1);
    assert!(waiting.join().unwrap());
}

fn a_task_that_waits_is_woken_by_a_change_of_what_it_watches(place: &Place) {
    let world = World::new(place, StoreOptions::new());
    let mut watch = world.stream.watch(&world.shards[..1]).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    {
        let mut changed = pin!(watch.changed());
        assert!(changed.as_mut().poll(&mut context).is_pending());
        world.put(1);
        assert_eq!(wakes.count(), 0);
        world.put(0);
        assert_eq!(wakes.count(), 1);
        assert!(changed.as_mut().poll(&mut context).is_ready());
    }
    // A change that comes while no future exists is a signal for the next one.
    world.put(0);
    assert!(pin!(watch.changed()).poll(&mut context).is_ready());
    assert!(pin!(watch.changed()).poll(&mut context).is_pending());
}

fn a_reader_in_a_task_goes_on_across_a_split(place: &Place) {
    let world = World::new(place, StoreOptions::new());
    let mut reader = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    for round in 0..3 {
        let mut next = pin!(reader.next_record());
        assert!(next.as_mut().poll(&mut context).is_pending());
        if round == 1 {
            world
                .stream
                .split_shard(world.shards[0], HashKey::MAX / 8)
                .unwrap();
        }
        world.put(0);
        assert!(wakes.count() > round);
        match next.as_mut().poll(&mut context) {
            Poll::Ready(record) => assert_eq!(record.unwrap().data, "data"),
            Poll::Pending => panic!("the reader waits although a record is there"),
        }
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
