//! Counters of commits and reads.
//!
//! Each count is one addition to memory that other threads may be adding to, without an order among them. A group costs
//! a few of them, and a record none. They are the standard library's even under the schedule explorer, since no
//! decision depends on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::statistics::{PutStats, ReadStats};
use crate::model::{BUCKETS, Histogram, bucket_of};

/// Counts the groups that a shard's log commits, for its stream and for the whole store.
#[derive(Clone, Debug)]
pub(crate) struct ShardCounters {
    of_stream: Arc<PutCounters>,
    of_store: Arc<PutCounters>,
}

/// The commits since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct PutCounters {
    records: AtomicU64,
    bytes: AtomicU64,
    commit_micros: Tally,
    group_records: Tally,
}

/// A committed group of a shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommittedGroup {
    pub(crate) records: u64,
    /// Bytes of data and partition keys.
    pub(crate) bytes: u64,
    /// The time from taking in its first record to now.
    pub(crate) took: Duration,
}

/// The reads since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct ReadCounters {
    records: AtomicU64,
    bytes: AtomicU64,
}

/// A [`Histogram`] in atomic counters.
#[derive(Debug)]
pub(crate) struct Tally {
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl ShardCounters {
    pub(crate) fn new(of_stream: Arc<PutCounters>, of_store: Arc<PutCounters>) -> Self {
        Self { of_stream, of_store }
    }

    /// Counts for the store first: a caller that reads the counts in the other order never sees more of streams than of
    /// the store.
    pub(crate) fn count(&self, group: CommittedGroup) {
        self.of_store.count(group);
        self.of_stream.count(group);
    }

    pub(crate) fn of_stream(&self) -> PutStats {
        self.of_stream.stats()
    }
}

impl PutCounters {
    fn count(&self, group: CommittedGroup) {
        self.records.fetch_add(group.records, Ordering::Relaxed);
        self.bytes.fetch_add(group.bytes, Ordering::Relaxed);
        self.commit_micros.count_micros(group.took);
        self.group_records.count(group.records);
    }

    pub(crate) fn stats(&self) -> PutStats {
        PutStats {
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            commit_micros: self.commit_micros.histogram(),
            group_records: self.group_records.histogram(),
        }
    }
}

impl ReadCounters {
    pub(crate) fn count(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> ReadStats {
        ReadStats {
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum: AtomicU64::new(0),
        }
    }
}

impl Tally {
    pub(crate) fn count(&self, value: u64) {
        self.counts[bucket_of(value)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn count_micros(&self, took: Duration) {
        self.count(took.as_micros() as u64);
    }

    pub(crate) fn histogram(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Ordering::Relaxed)),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}
