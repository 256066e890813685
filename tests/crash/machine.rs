//! A machine with a store of one stream, which stops and is started again. The worlds of groups, queues and channels, and
//! that of all of these together, are built on it.

use std::time::Duration;

use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{Error, HashKey, ManualClock, ShardFilter, Store, StoreOptions, Stream, Timestamp};

use crate::model::KEYS;

pub const DIRECTORY: &str = "store";
pub const STREAM: &str = "records";

pub struct Machine {
    pub disk: SimDisk,
    options: StoreOptions,
    clock: ManualClock,
    seconds: u64,
    store: Option<Store>,
    /// How it stops, if it is to stop.
    stop: LossMode,
}

/// The machine has stopped, or a call has failed.
#[derive(Debug)]
pub struct Stopped(pub Error);

pub fn stopped(error: Error) -> Stopped {
    Stopped(error)
}

impl Machine {
    /// With a new store, whose stream has two shards.
    pub fn new(disk: SimDisk, options: StoreOptions) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let options = options
            .segment_bytes(64 << 10)
            .keeper(false)
            .flusher_threads(1)
            .clock(clock.clone());
        let mut machine = Self {
            disk,
            options,
            clock,
            seconds: 0,
            store: None,
            stop: LossMode::LoseAll,
        };
        machine.open().unwrap();
        machine.store().create_stream(STREAM, 2).unwrap();
        machine
    }

    /// What the store is opened with, for a copy of it on another disk.
    pub fn options(&self, disk: &SimDisk) -> StoreOptions {
        self.options.clone().disk(disk.clone())
    }

    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub fn stream(&self) -> anabranch::Result<Stream> {
        self.store().stream(STREAM)
    }

    /// The seconds that have passed by its clock.
    pub fn seconds(&self) -> u64 {
        self.seconds
    }

    pub fn advance(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.seconds += seconds;
    }

    /// Lets hours pass, one after the other. The store believes a jump of the clock only after an hour.
    pub fn let_hours_pass(&mut self, hours: u64) -> Result<(), Stopped> {
        for _ in 0..hours {
            self.advance(3_600);
            self.maintain()?;
        }
        Ok(())
    }

    pub fn maintain(&self) -> Result<(), Stopped> {
        self.store().maintain().map_err(stopped)
    }

    /// Halves an open shard, unless there are many or it has one key.
    pub fn split(&self, nth: usize) -> Result<(), Stopped> {
        self.stream()
            .and_then(|stream| split_nth(&stream, nth))
            .map_err(stopped)
    }

    /// Merges two open neighbours, if there are two.
    pub fn merge(&self, nth: usize) -> Result<(), Stopped> {
        self.stream()
            .and_then(|stream| merge_nth(&stream, nth))
            .map_err(stopped)
    }

    /// Records are put from now on encrypted with this key, or not encrypted.
    pub fn encrypt(&self, key: Option<u8>) -> Result<(), Stopped> {
        let changed = self.stream().and_then(|stream| match key {
            Some(key) => stream.start_encryption(KEYS[usize::from(key)]),
            None => stream.stop_encryption(),
        });
        changed.map_err(stopped)
    }

    pub fn close(&mut self) -> Result<(), Stopped> {
        let closed = self.store().close();
        self.store = None;
        closed.map_err(stopped)
    }

    pub fn open(&mut self) -> Result<(), Stopped> {
        let options = self.options(&self.disk);
        self.store = Some(options.open(DIRECTORY).map_err(stopped)?);
        Ok(())
    }

    /// Whether there is a store: not where it was closed, and did not open again.
    pub fn is_open(&self) -> bool {
        self.store.is_some()
    }

    /// It is to stop in a later call.
    pub fn stop_in(&mut self, calls: u64, mode: LossMode) {
        self.stop = mode;
        self.disk.faults().freeze_nth(Calls::ALL, calls);
    }

    pub fn has_stopped(&self) -> bool {
        self.disk.is_frozen()
    }

    /// Whether it has stopped, or a call has failed as it was to.
    pub fn has_failed(&self) -> bool {
        self.has_stopped() || self.disk.faults().struck() > 0
    }

    /// Whether the store goes on after this failure.
    pub fn goes_on_after(&self, error: &Error) -> bool {
        !self.has_stopped() && self.is_open() && !matches!(error, Error::Poisoned { .. })
    }

    /// Does not open the store again.
    pub fn lose_power(&mut self, mode: LossMode) {
        self.disk.freeze();
        let after = self.disk.crash(mode);
        self.store = None;
        self.disk = after;
    }

    /// In which way it is to stop.
    pub fn stop(&self) -> LossMode {
        self.stop
    }

    /// Starts again after it has stopped as it was to.
    pub fn start_again(&mut self) {
        self.crash(self.stop);
    }

    /// Power is lost, or the process is killed, and the store is opened again.
    pub fn crash(&mut self, mode: LossMode) {
        self.lose_power(mode);
        self.open().unwrap();
    }
}

pub(crate) fn split_nth(stream: &Stream, nth: usize) -> anabranch::Result<()> {
    let shards = stream.shards(&ShardFilter::AtLatest)?;
    let range = shards[nth % shards.len()].hash_key_range;
    let half = range.start().value() / 2 + range.end().value() / 2;
    match shards.len() < 6 && half > range.start().value() {
        true => stream.split_shard(shards[nth % shards.len()].id, HashKey::new(half)),
        false => Ok(()),
    }
}

pub(crate) fn merge_nth(stream: &Stream, nth: usize) -> anabranch::Result<()> {
    let mut shards = stream.shards(&ShardFilter::AtLatest)?;
    shards.sort_by_key(|shard| shard.hash_key_range.start());
    match shards.len() {
        0 | 1 => Ok(()),
        count => {
            let first = nth % (count - 1);
            stream.merge_shards(shards[first].id, shards[first + 1].id)
        }
    }
}
