//! How often a stream can be changed within a day.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{StreamId, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When streams were changed, for each kind of change that is counted.
#[derive(Debug, Default)]
pub(in crate::kinesis) struct Changes {
    times: Mutex<HashMap<(StreamId, &'static str), VecDeque<Timestamp>>>,
}

impl Changes {
    /// Counts a change of a stream by this operation, unless there were `most` of them in the 24 hours before.
    pub(in crate::kinesis) fn count(
        &self,
        stream: StreamId,
        operation: &'static str,
        most: usize,
        now: Timestamp,
    ) -> bool {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.retain(|_, times| {
            times.retain(|time| now.since(*time) < DAY);
            !times.is_empty()
        });
        let times = times.entry((stream, operation)).or_default();
        if times.len() >= most {
            return false;
        }
        times.push_back(now);
        true
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
        assert!(changes.count(one, "a", 2, start));
        assert!(changes.count(one, "a", 2, start.saturating_add(DAY / 2)));
        assert!(!changes.count(one, "a", 2, start.saturating_add(DAY / 2)));
        assert!(changes.count(one, "b", 2, start.saturating_add(DAY / 2)));
        assert!(changes.count(other, "a", 2, start.saturating_add(DAY / 2)));
        assert!(changes.count(one, "a", 2, start.saturating_add(DAY)));
        assert!(!changes.count(one, "a", 2, start.saturating_add(DAY)));
    }
}
