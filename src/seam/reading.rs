//! What a read takes and gives.

use bytes::Bytes;

use crate::model::{PartitionKey, RecordNumber, Timestamp};

/// How much one read may return.
///
/// The default is what GetRecords of Kinesis returns at most: 10,000 records and 10 MiB.
///
/// ```
/// use anabranch::ReadLimit;
///
/// let few = ReadLimit { records: 100, ..ReadLimit::default() };
/// assert_eq!(few.bytes, 10 * 1024 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimit {
    /// At most this many records.
    pub records: usize,
    /// At most this many bytes of data and partition keys; but one record, however large, is always returned.
    pub bytes: usize,
}

impl Default for ReadLimit {
    fn default() -> Self {
        Self {
            records: 10_000,
            bytes: 10 * 1024 * 1024,
        }
    }
}

/// A record with its place in the log. Its bytes are shared with the mapping or buffer they were read from.
#[derive(Clone, Debug)]
pub(crate) struct ReadRecord {
    pub(crate) number: RecordNumber,
    pub(crate) arrival: Timestamp,
    pub(crate) partition_key: PartitionKey,
    pub(crate) data: Bytes,
}

/// Where a read puts its records, one by one: they are many, and a second list of them would cost more than their
/// checksums.
pub(crate) trait RecordSink {
    /// About so many records follow.
    fn expect(&mut self, records: usize);

    fn take(&mut self, record: ReadRecord);
}

impl RecordSink for Vec<ReadRecord> {
    fn expect(&mut self, records: usize) {
        self.reserve(records);
    }

    fn take(&mut self, record: ReadRecord) {
        self.push(record);
    }
}

/// How far a read came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogRead {
    /// Where the next read goes on.
    pub(crate) next: RecordNumber,
    /// The number behind the last record that was shown when this was read.
    pub(crate) end: RecordNumber,
    /// Where reading began instead, if records from the number on that was asked for are not to be seen any more. A log
    /// that has only numbers left of what it freed counts those that were left out too.
    pub(crate) began_behind_trimmed: Option<RecordNumber>,
}

impl LogRead {
    /// Whether nothing more was there to read.
    pub(crate) fn is_at_end(&self) -> bool {
        self.next >= self.end
    }
}
