//! The log of failed and refused requests, which clients that retry without end cannot flood.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{error, warn};

use super::error::ApiError;
use super::subject::Subject;
use crate::http::Refusal;

/// Logs a failure at once. Failures of the same kind and stream within the next second are only counted. The next line
/// of that kind and stream has the count, or a separate line has it after the failures have ended and another request
/// comes. Time is the store's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Failures {
    state: Mutex<State>,
    /// Whether a count has not been logged yet.
    has_counts: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    recent: HashMap<Kind, Recent>,
    cleaned: Duration,
}

/// The kind of failure, and its stream.
type Kind = (&'static str, Option<Box<str>>);

#[derive(Debug, Clone, Copy)]
struct Recent {
    logged: Duration,
    since: u64,
}

const PAUSE: Duration = Duration::from_secs(1);

/// A count is logged after this time without a failure of its kind and stream.
const SILENCE: Duration = Duration::from_secs(10);

impl Failures {
    /// Logs the error of a whole request, if it is the server's and not the client's.
    pub(super) fn note_request(&self, now: Duration, subject: &Subject, error: &ApiError) {
        if error.status < 500 {
            return;
        }
        self.close_ended(now);
        let stream = subject.stream();
        if let Some(not_logged) = self.admit((error.reason(), stream.map(Into::into)), now, 1) {
            let (operation, request_id) = (subject.operation, subject.request_id);
            let (status, kind, message) = (error.status, error.kind, error.message.as_deref());
            let cause = error.cause.as_deref();
            error!(
                operation,
                stream,
                %request_id,
                status,
                kind,
                error = message,
                cause,
                not_logged,
                "request failed"
            );
        }
    }

    /// Logs that some records of a batch were not stored, for `reason`, with one `cause` as an example.
    pub(super) fn note_records(
        &self,
        now: Duration,
        subject: &Subject,
        failed: u64,
        reason: &'static str,
        cause: &dyn fmt::Display,
    ) {
        self.close_ended(now);
        let stream = subject.stream();
        if let Some(not_logged) = self.admit((reason, stream.map(Into::into)), now, failed) {
            let (operation, request_id) = (subject.operation, subject.request_id);
            error!(
                operation,
                stream,
                %request_id,
                failed,
                %cause,
                not_logged,
                "records of a batch were not stored"
            );
        }
    }

    /// Logs a refused request, because its client may not show the refusal to the people who could change the
    /// configuration.
    pub(super) fn note_refusal(&self, now: Duration, subject: &Subject, refusal: &Refusal) {
        const KIND: &str = "a request was not let in";
        self.close_ended(now);
        if let Some(not_logged) = self.admit((KIND, None), now, 1) {
            let (operation, request_id) = (subject.operation, subject.request_id);
            warn!(operation, %request_id, %refusal, not_logged, "{KIND}");
        }
    }

    /// Logs the counts of failures that have ended. Called for each request, and costs nothing if there are none.
    pub(super) fn tell_ended(&self, now: Duration) {
        if self.has_counts.load(Ordering::Relaxed) {
            self.close_ended(now);
        }
    }

    /// Logs the counts of kinds that have ended, which no later line has. Looks at most once a second.
    fn close_ended(&self, now: Duration) {
        for ((reason, stream), not_logged) in self.take_ended(now) {
            let stream = stream.as_deref();
            warn!(
                stream,
                reason, not_logged, "there were more of these failures, and then none"
            );
        }
    }

    /// Removes the kinds without a failure for long enough, and gives the counts that were not logged.
    fn take_ended(&self, now: Duration) -> Vec<(Kind, u64)> {
        let mut state = self.state();
        if now.saturating_sub(state.cleaned) < PAUSE {
            return Vec::new();
        }
        state.cleaned = now;
        let has_ended = |last: &Recent| match last.since {
            0 => now.saturating_sub(last.logged) >= PAUSE,
            _ => now.saturating_sub(last.logged) >= SILENCE,
        };
        let ended = state.recent.extract_if(|_, last| has_ended(last));
        let ended = ended
            .filter(|(_, last)| last.since > 0)
            .map(|(kind, last)| (kind, last.since))
            .collect();
        let has_counts = state.recent.values().any(|last| last.since > 0);
        self.has_counts.store(has_counts, Ordering::Relaxed);
        ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a failure of so many requests or records may be logged, and how many of its kind were not since the last
    /// line.
    fn admit(&self, kind: Kind, now: Duration, count: u64) -> Option<u64> {
        let mut state = self.state();
        let is_recent = |last: &Recent| now.saturating_sub(last.logged) < PAUSE;
        if let Some(last) = state.recent.get_mut(&kind).filter(|last| is_recent(last)) {
            last.since += count;
            self.has_counts.store(true, Ordering::Relaxed);
            return None;
        }
        let logged = Recent {
            logged: now,
            since: 0,
        };
        let before = state.recent.insert(kind, logged);
        Some(before.map_or(0, |before| before.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, ManualClock, Timestamp};

    fn of(kind: &'static str, stream: &str) -> Kind {
        (kind, Some(stream.into()))
    }

    #[test]
    fn a_kind_of_failure_of_a_stream_is_logged_once_a_second_with_the_number_of_those_between() {
        let (failures, clock) = (Failures::default(), ManualClock::starting_at(Timestamp::EPOCH));
        let admit = |kind, count| failures.admit(kind, clock.monotonic(), count);
        assert_eq!(admit(of("disk full", "a"), 500), Some(0));
        for millis in [0, 1, 998] {
            clock.advance(Duration::from_millis(millis));
            assert_eq!(admit(of("disk full", "a"), 500), None);
        }
        assert_eq!(admit(of("damaged", "a"), 1), Some(0));
        assert_eq!(admit(of("disk full", "b"), 1), Some(0));
        clock.advance(Duration::from_millis(1));
        assert_eq!(admit(of("disk full", "a"), 500), Some(1500));
        assert_eq!(admit(of("disk full", "a"), 1), None);
        clock.jump_forward(Duration::from_secs(3600));
        assert_eq!(admit(of("disk full", "a"), 1), None, "no time has passed");
        clock.advance(PAUSE);
        assert_eq!(admit(of("disk full", "a"), 1), Some(2));
    }

    #[test]
    fn kinds_that_were_not_seen_for_a_second_are_forgotten() {
        const OF_A_SECOND: usize = 1_000;
        let failures = Failures::default();
        for number in 0..10 * OF_A_SECOND {
            let now = PAUSE * (number / OF_A_SECOND) as u32;
            let kind = of("disk full", &number.to_string());
            assert_eq!(failures.admit(kind, now, 1), Some(0));
            assert_eq!(failures.take_ended(now), []);
        }
        assert!(failures.state().recent.len() <= 2 * OF_A_SECOND);
    }

    #[test]
    fn a_count_that_no_line_has_told_is_told_once_the_kind_has_ended() {
        let failures = Failures::default();
        let second = |number: u32| PAUSE * number;
        for count in [1, 5, 7] {
            failures.admit(of("disk full", "a"), second(1), count);
        }
        failures.admit(of("damaged", "b"), second(1), 1);
        assert_eq!(failures.take_ended(second(5)), []);
        assert_eq!(failures.state().recent.len(), 1, "all of the other one is told");
        assert_eq!(failures.take_ended(second(11)), [(of("disk full", "a"), 12)]);
        assert_eq!(failures.take_ended(second(30)), []);
    }
}
