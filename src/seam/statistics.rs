//! What was put and read, in numbers.

use crate::model::Histogram;

/// What was put since the store was opened: records that are committed.
///
/// A group is what a shard commits together: the records that came while it committed the ones before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutStats {
    /// How many records.
    pub records: u64,
    /// How many bytes of data and partition keys.
    pub bytes: u64,
    /// How long the first record of each group took, in microseconds, from being taken in to being acknowledged; at
    /// [`Durability::Buffered`](crate::Durability::Buffered), where that is at once, to being written. In memory all is 0.
    pub commit_micros: Histogram,
    /// How many records each group had.
    pub group_records: Histogram,
}

impl PutStats {
    /// How many groups were committed.
    pub fn commits(&self) -> u64 {
        self.group_records.count()
    }
}

/// What was read since the store was opened, over and over if it was read so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadStats {
    /// How many records.
    pub records: u64,
    /// How many bytes of data and partition keys.
    pub bytes: u64,
}
