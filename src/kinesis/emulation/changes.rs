//! Limits of how often a stream can be changed within a day.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{StreamId, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The times at which streams were changed, for each kind of change that is counted.
#[derive(Debug, Default)]
pub(in crate::kinesis) struct Changes {
    times: Mutex<HashMap<(StreamId, &'static str), VecDeque<Timestamp>>>,
}

/// A change that was counted.
#[derive(Clone, Copy, Debug)]
#[must_use = "a change that was not made is taken back"]
pub(in crate::kinesis) struct Counted {
    stream: StreamId,
    operation: &'static str,
    at: Timestamp,
}

impl Changes {
    /// Counts a change of a stream by this operation, unless there were `most` of them in the 24 hours before.
    pub(in crate::kinesis) fn count(
        &self,
        stream: StreamId,
        operation: &'static str,
        most: usize,
        now: Timestamp,
    ) -> Option<Counted> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.retain(|_, times| {
            times.retain(|time| now.since(*time) < DAY);
            !times.is_empty()
        });
        let times = times.entry((stream, operation)).or_default();
        if times.len() >= most {
            return None;
        }
        times.push_back(now);
        Some(Counted {
            stream,
            operation,
            at: now,
        })
    }

    /// Removes a counted change that was not made.
    pub(in crate::kinesis) fn take_back(&self, counted: Counted) {
        let Counted {
            stream,
            operation,
            at,
        } = counted;
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = times.get_mut(&(stream, operation))
            && let Some(found) = times.iter().position(|time| *time == at)
        {
            times.remove(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_for_a_day() {
        let changes = Changes::default();
        let start = Timestamp::from_seconds(1_000_000);
        let (one, other) = (StreamId::new(1), StreamId::new(2));
        let counts = |stream, operation, at| changes.count(stream, operation, 2, at).is_some();
        assert!(counts(one, "a", start));
        assert!(counts(one, "a", start.saturating_add(DAY / 2)));
        assert!(!counts(one, "a", start.saturating_add(DAY / 2)));
        assert!(counts(one, "b", start.saturating_add(DAY / 2)));
        assert!(counts(other, "a", start.saturating_add(DAY / 2)));
        assert!(counts(one, "a", start.saturating_add(DAY)));
        assert!(!counts(one, "a", start.saturating_add(DAY)));
    }

    #[test]
    fn what_is_taken_back_counts_no_more() {
        let changes = Changes::default();
        let (now, one) = (Timestamp::from_seconds(1_000_000), StreamId::new(1));
        for _ in 0..3 {
            changes.take_back(changes.count(one, "a", 1, now).unwrap());
        }
        assert!(changes.count(one, "a", 1, now).is_some());
        assert!(changes.count(one, "a", 1, now).is_none());
    }
}
