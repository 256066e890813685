//! A record's place in its shard.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The position of a record in its shard: numbers rise with each record. In a directory the first record is 1 and the
/// next one has the next number, unless a crash came between; in memory other numbers are left out too.
///
/// This is the counter inside a [`SequenceNumber`](crate::SequenceNumber). Two values never belong to a record:
/// [`BEFORE_FIRST`](Self::BEFORE_FIRST) and [`END`](Self::END) are the shard's starting and ending numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RecordNumber(u64);

impl RecordNumber {
    /// Before every record: the counter of a shard's starting sequence number.
    pub const BEFORE_FIRST: RecordNumber = RecordNumber(0);
    /// The first record of a shard.
    pub const FIRST: RecordNumber = RecordNumber(1);
    /// After every record: the counter of a closed shard's ending sequence number, 2^63 - 1.
    pub const END: RecordNumber = RecordNumber(0x7fff_ffff_ffff_ffff);

    /// The record number with this value.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number as an integer.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The number `records` further on, or `None` where there are no more numbers.
    #[must_use]
    pub const fn checked_add(self, records: u64) -> Option<Self> {
        match self.0.checked_add(records) {
            Some(value) if value < Self::END.0 => Some(Self(value)),
            _ => None,
        }
    }

    /// The number `records` further on, or [`END`](Self::END).
    #[must_use]
    pub const fn saturating_add(self, records: u64) -> Self {
        match self.checked_add(records) {
            Some(number) => number,
            None => Self::END,
        }
    }

    /// The number of the record after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for RecordNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_from_one() {
        assert_eq!(RecordNumber::BEFORE_FIRST.next(), RecordNumber::FIRST);
        assert_eq!(RecordNumber::FIRST.value(), 1);
        assert_eq!(RecordNumber::new(41).next().to_string(), "42");
        assert_eq!(RecordNumber::END.value(), i64::MAX as u64);
    }
}
