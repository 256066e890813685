//! Comparing the clocks, and noting their times in the catalog.

use std::time::Duration;

use super::core::StoreCore;
use super::event::StoreEvent;
use crate::catalog::Edit;
use crate::error::Result;
use crate::model::ClockStep;

/// While the store is open, the clocks are noted again when the last note is this old.
const BETWEEN_NOTES: Duration = Duration::from_secs(30 * 60);

/// A store that is closed within this time after a note does not note the clocks again.
const WORTH_A_NOTE: Duration = Duration::from_secs(60);

impl StoreCore {
    /// Compares the clocks, reports a step, and notes the times at intervals.
    pub(super) fn keep_time(&self) -> Result<()> {
        self.compare_clocks();
        // In a store without streams nothing expires.
        let is_empty = self.catalog.read().streams().len() == 0;
        match self.clock_note_after(BETWEEN_NOTES) {
            Some(note) if !is_empty => self.catalog.commit(|_| Ok(vec![note])),
            _ => Ok(()),
        }
    }

    /// Replaces a note of a clock that was ahead. Otherwise a later opener whose clock is further ahead would take the
    /// noted time for confirmed.
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

    /// Compares the clocks, and reports a step.
    pub(super) fn compare_clocks(&self) {
        if let Some(step) = self.time.observe() {
            self.tell(&StoreEvent::ClockStepped(step));
        }
    }

    /// A note of the clocks, for a commit that happens anyway.
    pub(super) fn clock_note(&self) -> Option<Edit> {
        self.clock_note_after(WORTH_A_NOTE)
    }

    /// A note, unless the last one is younger than `age`, both by the time that the store was open and by the wall
    /// clock.
    fn clock_note_after(&self, age: Duration) -> Option<Edit> {
        let note = self.time.note();
        let last = self.catalog.read().clock;
        let is_due = last.is_none_or(|last| {
            let apart = |one: u64, other: u64| u128::from(one.abs_diff(other)) >= age.as_millis();
            apart(note.open_millis, last.open_millis)
                || apart(note.shown.as_millis(), last.shown.as_millis())
                || apart(note.confirmed.as_millis(), last.confirmed.as_millis())
                // A later opener must not take records for older than they may be.
                || (note.lags, note.unconfirmed) != (last.lags, last.unconfirmed)
        });
        is_due.then_some(Edit::ClockNoted(note))
    }
}
