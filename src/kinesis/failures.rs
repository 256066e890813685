//! The log of failed and refused requests, which clients that try again and again do not flood.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tracing::{error, warn};

use super::error::ApiError;
use super::subject::Subject;
use crate::http::Refusal;

/// Logs a failure at once. Failures of the same kind and stream in the second after it are only counted, and the next
/// line of that kind and stream has the count. Time is the store's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Failures {
    recent: Mutex<HashMap<Kind, Recent>>,
}

/// What failed, and of which stream.
type Kind = (&'static str, Option<Box<str>>);

#[derive(Debug, Clone, Copy)]
struct Recent {
    logged: Duration,
    since: u64,
}

const PAUSE: Duration = Duration::from_secs(1);

/// So many kinds are remembered, and more only while all of them are of the last second.
const MOST_KINDS: usize = 1000;

impl Failures {
    /// Logs the error of a whole request, if it is one of ours and not of the client's.
    pub(super) fn note_request(&self, now: Duration, subject: &Subject, error: &ApiError) {
        if error.status < 500 {
            return;
        }
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

    /// Logs that some records of a batch were not stored, for `reason` and in particular because of `cause`.
    pub(super) fn note_records(
        &self,
        now: Duration,
        subject: &Subject,
        failed: u64,
        reason: &'static str,
        cause: &dyn fmt::Display,
    ) {
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

    /// Logs that a request was not looked at, which its client may not show to the people who could let it in.
    pub(super) fn note_refusal(&self, now: Duration, subject: &Subject, refusal: &Refusal) {
        const KIND: &str = "a request was not let in";
        if let Some(not_logged) = self.admit((KIND, None), now, 1) {
            let (operation, request_id) = (subject.operation, subject.request_id);
            warn!(operation, %request_id, %refusal, not_logged, "{KIND}");
        }
    }

    /// Whether this failure, of that many requests or records, may be logged, and how many of its kind were not since
    /// the last line.
    fn admit(&self, kind: Kind, now: Duration, count: u64) -> Option<u64> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = |last: &Recent| now.saturating_sub(last.logged) < PAUSE;
        if let Some(last) = recent.get_mut(&kind).filter(|last| is_recent(last)) {
            last.since += count;
            return None;
        }
        if recent.len() >= MOST_KINDS {
            recent.retain(|other, last| *other == kind || is_recent(last));
        }
        let logged = Recent {
            logged: now,
            since: 0,
        };
        let before = recent.insert(kind, logged);
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
        let failures = Failures::default();
        for number in 0..10 * MOST_KINDS {
            let now = PAUSE * (number / MOST_KINDS) as u32;
            assert_eq!(
                failures.admit(of("disk full", &number.to_string()), now, 1),
                Some(0)
            );
        }
        assert!(failures.recent.lock().unwrap().len() <= 2 * MOST_KINDS);
    }
}
