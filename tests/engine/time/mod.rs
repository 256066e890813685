//! The effects of time on a store: clocks that jump, changes that take time, numbers that carry a time.

mod clock;
mod numbers;
mod retention;
mod scaling;
mod transitions;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::sim::SimDisk;
use anabranch::{
    ManualClock, Memory, ReadLimit, ShardFilter, StartingPosition, Store, StoreOptions, Stream, Timestamp,
};

use crate::backends::{Place, on_each_backend};

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A store on a simulated disk, or in memory, its clock, and its events.
struct World {
    disk: SimDisk,
    /// Used instead of the disk.
    memory: Option<Memory>,
    clock: ManualClock,
    delay: Duration,
    store: Store,
    events: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(place: &Place) -> Self {
        Self::with_delay(place, Duration::ZERO)
    }

    fn with_delay(place: &Place, delay: Duration) -> Self {
        Self::on(place, SimDisk::new(1), delay)
    }

    /// With a store that has another number.
    fn another(place: &Place) -> Self {
        Self::on(&place.another(), SimDisk::new(2), Duration::ZERO)
    }

    /// In memory if the place is in memory, and otherwise on the disk.
    fn on(place: &Place, disk: SimDisk, delay: Duration) -> Self {
        let memory = place.in_memory();
        let clock = ManualClock::starting_at(START);
        let events = Arc::default();
        let store = open(&disk, memory.as_ref(), &clock, delay, &events);
        Self {
            disk,
            memory,
            clock,
            delay,
            store,
            events,
        }
    }

    /// Closes the store and opens it again. A real clock's monotonic part starts again; the store must not rely on it.
    fn reopen(&mut self) {
        use anabranch::Clock;
        self.store.close().unwrap();
        self.clock = ManualClock::starting_at(self.clock.now());
        self.open_again();
    }

    /// Kills the process and opens the store again, which is on the disk.
    fn reopen_after_kill(&mut self) {
        assert!(self.memory.is_none(), "memory does not outlive the process");
        self.disk = self.disk.crash(anabranch::sim::LossMode::KeepAll);
        self.open_again();
    }

    fn open_again(&mut self) {
        self.store = open(
            &self.disk,
            self.memory.as_ref(),
            &self.clock,
            self.delay,
            &self.events,
        );
    }

    /// Lets time pass, with rounds of house-keeping, though fewer than one a second.
    fn let_pass(&self, time: Duration) {
        const STEP: Duration = Duration::from_secs(600);
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(STEP);
            self.clock.advance(step);
            self.store.maintain().unwrap();
            left -= step;
        }
    }

    fn stream(&self, name: &str) -> Stream {
        self.store.stream(name).unwrap()
    }

    fn was_told(&self, part: &str) -> bool {
        self.events
            .lock()
            .unwrap()
            .iter()
            .any(|event| event.contains(part))
    }
}

fn open(
    disk: &SimDisk,
    memory: Option<&Memory>,
    clock: &ManualClock,
    delay: Duration,
    events: &Arc<Mutex<Vec<String>>>,
) -> Store {
    let events = events.clone();
    let options = StoreOptions::new()
        .keeper(false)
        .reads_for_each_wait(3)
        .segment_bytes(64 << 10)
        .min_journaled_shards(usize::MAX)
        .disk(disk.clone())
        .clock(clock.clone())
        .transition_delay(delay)
        .on_event(move |event| events.lock().unwrap().push(event.to_string()));
    let store = match memory {
        Some(memory) => options.open_in_memory(memory),
        None => options.open("/store"),
    };
    store.unwrap()
}

/// All records that can be read of a stream, as one number each.
fn numbers(stream: &Stream) -> Vec<u8> {
    stream
        .reader(StartingPosition::TrimHorizon)
        .unwrap()
        .map(|record| record.unwrap().data[0])
        .collect()
}

/// Puts a record that fills most of a segment, so that the next one begins another.
fn put_large(stream: &Stream, number: u8) -> anabranch::PutResult {
    stream.put("k", &[number; 40_000]).unwrap()
}

fn shard_count(stream: &Stream) -> usize {
    stream.shards(&ShardFilter::FromTrimHorizon).unwrap().len()
}

const ALL: ReadLimit = ReadLimit {
    records: 1_000,
    bytes: 10 << 20,
};
