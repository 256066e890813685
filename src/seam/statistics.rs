//! The numbers of puts and reads.

use crate::model::Histogram;

/// The puts since the store was opened, counted when they are committed.
///
/// A group is the records that a shard commits together: those that came during the commit before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PutStats {
    /// How many records.
    pub records: u64,
    /// How many bytes of data and partition keys.
    pub bytes: u64,
    /// How long the first record of each group took, in microseconds, from being taken in to being acknowledged; at
    /// [`Durability::Buffered`](crate::Durability::Buffered), where records are acknowledged at once, to being written.
    /// In memory all are 0.
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

/// The reads since the store was opened. A record that is read several times counts each time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadStats {
    /// How many records.
    pub records: u64,
    /// How many bytes of data and partition keys.
    pub bytes: u64,
}
