//! Where reading ends in a stream that is being written to.

use std::time::Duration;

use anabranch::{Clock, SystemClock, Timestamp};

use super::target::{Page, ReadRecord};

/// How far the clocks of this machine and of an endpoint may differ.
const CLOCKS_APART: Duration = Duration::from_secs(5);

/// The end of the records that were there when this was made, or a little more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    time: Timestamp,
}

impl Until {
    pub(super) fn now() -> Until {
        Until {
            time: SystemClock.now().saturating_add(CLOCKS_APART),
        }
    }

    /// Whether a shard ends with this page: at the head, or at a record that has arrived since. Removes that record and
    /// those behind it.
    pub(super) fn ends(self, page: &mut Page) -> bool {
        self.ends_by(page, SystemClock.now())
    }

    fn ends_by(self, page: &mut Page, now: Timestamp) -> bool {
        // A time in the future proves nothing: the record got it while a clock was ahead.
        let is_new = |record: &ReadRecord| record.arrival > self.time && record.arrival <= now;
        match page.records.iter().position(is_new) {
            Some(first) => {
                page.records.truncate(first);
                // Later records, also those of its children, are new as well.
                page.is_drained = false;
                true
            }
            None => page.is_at_head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anabranch::ShardId;

    fn page(arrivals: &[u64], is_at_head: bool, is_drained: bool) -> Page {
        let record = |arrival: &u64| ReadRecord {
            shard: ShardId::new(0).unwrap(),
            sequence_number: String::new(),
            arrival: Timestamp::from_seconds(*arrival),
            key: String::new(),
            data: Vec::new().into(),
        };
        Page {
            records: arrivals.iter().map(record).collect(),
            millis_behind: 0,
            is_at_head,
            is_drained,
        }
    }

    #[test]
    fn a_shard_is_over_at_its_head_or_at_what_has_come_since() {
        let until = Until {
            time: Timestamp::from_seconds(100),
        };
        let now = Timestamp::from_seconds(200);
        for (mut page, is_over, left, is_drained) in [
            (page(&[99, 100], false, false), false, 2, false),
            (page(&[99, 100], true, false), true, 2, false),
            (page(&[], true, false), true, 0, false),
            (page(&[], false, false), false, 0, false),
            (page(&[100, 101, 102], false, false), true, 1, false),
            (page(&[100, 101], true, true), true, 1, false),
            (page(&[100], true, true), true, 1, true),
            (page(&[300, 300], false, false), false, 2, false),
            (page(&[300, 300], true, false), true, 2, false),
        ] {
            let arrivals: Vec<_> = page.records.iter().map(|record| record.arrival).collect();
            assert_eq!(until.ends_by(&mut page, now), is_over, "{arrivals:?}");
            assert_eq!((page.records.len(), page.is_drained), (left, is_drained));
        }
    }
}
