//! The log of failed and refused requests, which clients that try again and again do not flood.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::error::ApiError;
use crate::http::Refusal;

/// Logs a failure at once. Failures of the same kind in the second after it are only counted, and the next line of
/// that kind has the count.
#[derive(Debug, Default)]
pub(super) struct Failures {
    recent: Mutex<HashMap<&'static str, Recent>>,
}

#[derive(Debug, Clone, Copy)]
struct Recent {
    logged: Instant,
    since: u64,
}

const PAUSE: Duration = Duration::from_secs(1);

impl Failures {
    /// Logs the error of a whole request, if it is one of ours and not of the client's.
    pub(super) fn note_request(&self, error: &ApiError) {
        if error.status < 500 {
            return;
        }
        if let Some(not_logged) = self.admit(error.reason(), Instant::now()) {
            let (status, kind, message) = (error.status, error.kind, error.message.as_deref());
            let cause = error.cause.as_deref();
            error!(status, kind, message, cause, not_logged, "request failed");
        }
    }

    /// Logs that some records of a batch were not stored, for `reason` and in particular because of `cause`.
    pub(super) fn note_records(&self, failed: usize, reason: &'static str, cause: &dyn fmt::Display) {
        if let Some(not_logged) = self.admit(reason, Instant::now()) {
            error!(failed, %cause, not_logged, "records of a batch were not stored");
        }
    }

    /// Logs that a request was not looked at, which its client may not show to the people who could let it in.
    pub(super) fn note_refusal(&self, refusal: &Refusal) {
        const KIND: &str = "a request was not let in";
        if let Some(not_logged) = self.admit(KIND, Instant::now()) {
            warn!(%refusal, not_logged, "{KIND}");
        }
    }

    /// Whether this failure may be logged, and how many of its kind were not since the last one that was.
    fn admit(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match recent.get_mut(kind) {
            Some(last) if now.saturating_duration_since(last.logged) < PAUSE => {
                last.since += 1;
                None
            }
            _ => {
                let before = recent.insert(
                    kind,
                    Recent {
                        logged: now,
                        since: 0,
                    },
                );
                Some(before.map_or(0, |before| before.since))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_failure_is_logged_once_a_second_with_the_number_of_those_between() {
        let (failures, start) = (Failures::default(), Instant::now());
        assert_eq!(failures.admit("disk full", start), Some(0));
        for millis in [0, 1, 999] {
            assert_eq!(
                failures.admit("disk full", start + Duration::from_millis(millis)),
                None
            );
        }
        assert_eq!(failures.admit("damaged", start), Some(0));
        assert_eq!(failures.admit("disk full", start + PAUSE), Some(3));
        assert_eq!(failures.admit("disk full", start + PAUSE), None);
        assert_eq!(failures.admit("disk full", start + 2 * PAUSE), Some(1));
        assert_eq!(
            failures.admit("disk full", start),
            None,
            "a clock may not go back"
        );
    }
}
