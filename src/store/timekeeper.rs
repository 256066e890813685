//! The store's time: what the wall clock shows, and how much of it is confirmed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::StoreCore;
use super::event::StoreEvent;
use super::options::ClockHandle;
use crate::catalog::Edit;
use crate::disk::{Step, is_left_out};
use crate::error::Result;
use crate::model::{ClockNote, ClockReading, ClockStep, ConfirmedTime, Timestamp};
use crate::sync::{AtomicU64, Mutex};

/// The clocks are noted in the manifest when a note is so old, while the store is open.
const BETWEEN_NOTES: Duration = Duration::from_secs(30 * 60);

/// A store that is closed earlier than this after a note does not note the clocks again.
const WORTH_A_NOTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct TimeKeeper {
    clock: ClockHandle,
    known: Mutex<ConfirmedTime>,
    /// By how many milliseconds the confirmed time is ahead of the monotonic clock (wrapping): readers take no lock.
    lead_millis: AtomicU64,
}

/// One moment by both reckonings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// By the wall clock.
    pub(super) now: Timestamp,
    /// The confirmed time: never later. Records expire by it.
    pub(super) confirmed: Timestamp,
}

impl TimeKeeper {
    pub(super) fn begin(clock: ClockHandle, note: Option<ClockNote>) -> (Self, Option<ClockStep>) {
        let reading = clock.read();
        let (known, step) = ConfirmedTime::begin(note, reading);
        let keeper = Self {
            clock,
            lead_millis: AtomicU64::new(lead_millis(&known, reading)),
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
        let ClockReading { wall, monotonic } = self.clock.read();
        let lead = self.lead_millis.load(Ordering::Acquire);
        let confirmed = Timestamp::from_millis(lead.wrapping_add(monotonic.as_millis() as u64));
        let confirmed = match is_left_out(Step::ConfirmedTime) {
            true => wall,
            false => confirmed.min(wall),
        };
        Moment { now: wall, confirmed }
    }

    /// Compares the clocks. Once a second is enough, and so is never: what has not been compared is not confirmed.
    pub(super) fn observe(&self) -> Option<ClockStep> {
        let mut known = self.known.lock();
        let reading = self.clock.read();
        let step = known.observe(reading);
        self.lead_millis
            .store(lead_millis(&known, reading), Ordering::Release);
        step
    }

    pub(super) fn open_millis(&self) -> u64 {
        self.known.lock().open_millis(self.clock.read())
    }

    pub(super) fn note(&self) -> ClockNote {
        self.known.lock().note(self.clock.read())
    }
}

impl StoreCore {
    /// Compares the clocks, tells of a step, and notes from time to time what they show.
    pub(super) fn keep_time(&self) -> Result<()> {
        self.compare_clocks();
        // A store without streams has nothing that expires.
        let is_empty = self.catalog.read().streams().len() == 0;
        match self.clock_note_after(BETWEEN_NOTES) {
            Some(note) if !is_empty => self.catalog.commit(|_| Ok(vec![note])),
            _ => Ok(()),
        }
    }

    /// Replaces a note of a clock that was ahead: a later opener whose clock is further ahead would take it for
    /// confirmed.
    pub(super) fn correct_clock_note(&self, step: ClockStep) -> Result<()> {
        if matches!(step, ClockStep::Forward(_)) {
            return Ok(());
        }
        let noted = self
            .catalog
            .commit(|_| Ok(vec![Edit::ClockNoted(self.time.note())]));
        match noted {
            // The next round of house-keeping tries again.
            Err(error) if error.is_want_of_room() => Ok(()),
            other => other,
        }
    }

    /// Compares the clocks, and tells of a step.
    pub(super) fn compare_clocks(&self) {
        if let Some(step) = self.time.observe() {
            self.tell(&StoreEvent::ClockStepped(step));
        }
    }

    /// What the clocks show, to be noted with what is committed anyway.
    pub(super) fn clock_note(&self) -> Option<Edit> {
        self.clock_note_after(WORTH_A_NOTE)
    }

    /// A note, unless the last one is younger than that, by the time that the store was open and by what was shown.
    fn clock_note_after(&self, age: Duration) -> Option<Edit> {
        let note = self.time.note();
        let last = self.catalog.read().clock;
        let is_due = last.is_none_or(|last| {
            let apart = |one: u64, other: u64| u128::from(one.abs_diff(other)) >= age.as_millis();
            apart(note.open_millis, last.open_millis)
                || apart(note.shown.as_millis(), last.shown.as_millis())
                || apart(note.confirmed.as_millis(), last.confirmed.as_millis())
        });
        is_due.then_some(Edit::ClockNoted(note))
    }
}

fn lead_millis(known: &ConfirmedTime, reading: ClockReading) -> u64 {
    let confirmed = known.at(reading).as_millis();
    confirmed.wrapping_sub(reading.monotonic.as_millis() as u64)
}
