//! The syncs that have begun and not ended. Only they show that a device hangs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::Clock;

/// The syncs of one store that are under way. Its lock is the standard library's even under the schedule explorer,
/// since no decision depends on it.
pub(super) struct SyncsUnderWay {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// When each began, by the monotonic clock.
    begun: BTreeMap<u64, Duration>,
}

/// A sync under way, until this is dropped.
pub(super) struct UnderWay<'a> {
    syncs: &'a SyncsUnderWay,
    number: u64,
    begun: Duration,
}

impl SyncsUnderWay {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    pub(super) fn begin(&self) -> UnderWay<'_> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.begun.insert(number, now);
        UnderWay {
            syncs: self,
            number,
            begun: now,
        }
    }

    /// How long the oldest has taken so far.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let now = self.clock.monotonic();
        let begun = self.state().begun.values().min().copied();
        begun.map(|begun| now.saturating_sub(begun))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay<'_> {
    /// Gives how long it took.
    pub(super) fn end(self) -> Duration {
        self.syncs.clock.monotonic().saturating_sub(self.begun)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.syncs.state().begun.remove(&self.number);
    }
}

impl fmt::Debug for SyncsUnderWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncsUnderWay({})", self.state().begun.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ManualClock, Timestamp};

    #[test]
    fn the_oldest_that_has_not_ended_is_told() {
        let clock = ManualClock::starting_at(Timestamp::EPOCH);
        let syncs = SyncsUnderWay::new(Arc::new(clock.clone()));
        assert_eq!(syncs.oldest(), None);
        let first = syncs.begin();
        clock.advance(Duration::from_secs(2));
        let second = syncs.begin();
        clock.advance(Duration::from_secs(1));
        assert_eq!(syncs.oldest(), Some(Duration::from_secs(3)));
        assert_eq!(first.end(), Duration::from_secs(3));
        assert_eq!(syncs.oldest(), Some(Duration::from_secs(1)));
        drop(second);
        assert_eq!(syncs.oldest(), None);
    }
}
