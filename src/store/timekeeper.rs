//! The store's time: the wall clock, and the confirmed time.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::model::{Clock, ClockNote, ClockReading, ClockStep, ConfirmedTime, Lags, Moment, Timestamp};
use crate::sync::{AtomicBool, AtomicU64, Mutex};

#[derive(Debug)]
pub(super) struct TimeKeeper {
    clock: ClockHandle,
    known: Mutex<ConfirmedTime>,
    /// How many milliseconds the confirmed time is ahead of the monotonic clock (wrapping). An atomic, so that readers
    /// take no lock.
    lead_millis: AtomicU64,
    /// Whether lags besides the confirmed time decide which records have expired.
    has_lags: AtomicBool,
    /// Whether the wall clock shows less than it once did.
    is_behind: AtomicBool,
    /// The earliest arrival time of a record that was put since then.
    earliest: Mutex<Option<Timestamp>>,
}

/// The clock of the store's options.
#[derive(Clone)]
pub(super) struct ClockHandle(pub(super) Arc<dyn Clock>);

impl ClockHandle {
    pub(super) fn read(&self) -> ClockReading {
        ClockReading {
            wall: self.0.now(),
            monotonic: self.0.monotonic(),
        }
    }
}

impl std::fmt::Debug for ClockHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ClockHandle({} ms)", self.0.now().as_millis())
    }
}

impl TimeKeeper {
    pub(super) fn begin(clock: ClockHandle, note: Option<ClockNote>) -> (Self, Option<ClockStep>) {
        let reading = clock.read();
        let (known, step) = ConfirmedTime::begin(note, reading);
        let was_behind = note.is_some_and(|note| note.is_behind());
        let keeper = Self {
            clock,
            lead_millis: AtomicU64::new(lead_millis(&known, reading)),
            has_lags: AtomicBool::new(known.has_lags()),
            is_behind: AtomicBool::new(known.is_behind(reading)),
            // It is not known what an earlier opener has put while the clock was behind.
            earliest: Mutex::new(was_behind.then_some(Timestamp::EPOCH)),
            known: Mutex::new(known),
        };
        (keeper, step)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.0.now()
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.clock.0.monotonic()
    }

    pub(super) fn moment(&self) -> Moment {
        let reading @ ClockReading { wall, monotonic } = self.clock.read();
        // Loaded in this order: a time that is ahead by a step is never seen without the lag of the step.
        let lead = self.lead_millis.load(Ordering::Acquire);
        if self.has_lags.load(Ordering::Acquire) {
            return self.known.lock().moment(reading);
        }
        let confirmed = Timestamp::from_millis(lead.wrapping_add(monotonic.as_millis() as u64));
        Moment {
            now: wall,
            confirmed: confirmed.min(wall),
            lags: Lags::default(),
            open_millis: 0,
        }
    }

    /// Compares the clocks. Once a second is often enough. Time that was never compared is only not confirmed.
    pub(super) fn observe(&self) -> Option<ClockStep> {
        let mut known = self.known.lock();
        let reading = self.clock.read();
        let mut earliest = self.earliest.lock();
        // Records that were put between the step back and this call have no earlier time than this.
        let back_at = reading.wall.saturating_sub(known.since_compared(reading));
        let step = known.observe(reading, *earliest);
        let is_behind = known.is_behind(reading);
        if self.is_behind.swap(is_behind, Ordering::Relaxed) != is_behind {
            *earliest = is_behind.then_some(back_at);
        }
        self.has_lags.store(known.has_lags(), Ordering::Release);
        self.lead_millis
            .store(lead_millis(&known, reading), Ordering::Release);
        step
    }

    pub(super) fn open_millis(&self) -> u64 {
        self.known.lock().open_millis(self.clock.read())
    }

    /// Whether [`note_earliest`](Self::note_earliest) has to be called for puts.
    pub(super) fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }

    /// Notes that a record is put with this arrival time or a later one, while the clock is behind.
    pub(super) fn note_earliest(&self, arrival: Timestamp) {
        let mut earliest = self.earliest.lock();
        *earliest = Some(earliest.map_or(arrival, |earliest| earliest.min(arrival)));
    }

    pub(super) fn note(&self) -> ClockNote {
        self.known.lock().note(self.clock.read())
    }
}

fn lead_millis(known: &ConfirmedTime, reading: ClockReading) -> u64 {
    let confirmed = known.at(reading).as_millis();
    confirmed.wrapping_sub(reading.monotonic.as_millis() as u64)
}
