//! The arguments and results of a read.

use bytes::Bytes;

use crate::model::{PartitionKey, RecordNumber, Timestamp};

/// The limit of one read.
///
/// The default is the maximum of Kinesis' GetRecords: 10,000 records and 10 MiB.
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

/// A record with its place in the log. Its bytes are shared with the mapping or the buffer that they were read from.
#[derive(Clone, Debug)]
pub(crate) struct ReadRecord {
    pub(crate) number: RecordNumber,
    pub(crate) arrival: Timestamp,
    pub(crate) partition_key: PartitionKey,
    pub(crate) data: Bytes,
}

/// Takes the records of a read, one by one: a second list of many records would cost more than their checksums.
pub(crate) trait RecordSink {
    /// Announces about how many records follow.
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
    /// The number at which the next read goes on.
    pub(crate) next: RecordNumber,
    /// The number behind the last visible record at the time of the read.
    pub(crate) end: RecordNumber,
    /// Where reading began instead, if records from the requested number on are hidden or freed. A log that has freed
    /// their segments also counts numbers that were left out.
    pub(crate) began_behind_trimmed: Option<RecordNumber>,
}

impl LogRead {
    /// Whether the read reached the end.
    pub(crate) fn is_at_end(&self) -> bool {
        self.next >= self.end
    }
}
