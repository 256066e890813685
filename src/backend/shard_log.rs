//! The verbs of one shard's log.

use std::any::Any;
use std::fmt::Debug;
use std::task::Poll;

use crate::error::Result;
use crate::model::{PutRecord, RecordNumber, Timestamp};
use crate::seam::{Appended, LogChanges, LogRead, ReadLimit, RecordSink, ShownEnd, Waiting};

/// The log of one shard, in any backend.
///
/// A read and a seek are `Pending` if something has to be fetched first: the caller [waits](Self::wait_until_fetched)
/// for that and asks again. No [signal](Self::changes) is raised for a fetch, since it is no change of the log:
/// otherwise a reader that waits at several logs would look at all of them after each fetch, and start more fetches.
pub(crate) trait ShardLog: Any + Debug + Send + Sync {
    /// Gives records their numbers, and all of them one arrival time: `now`, or that of the last record if the clock
    /// went back. They are acknowledged when the ticket is done.
    fn append(&self, records: &[PutRecord<'_>], now: Timestamp, waiting: Waiting) -> Result<Appended>;

    /// Gives records to `sink` from a number on, or from the next existing one, without those that arrived before
    /// `horizon`. A `Pending` result has given none.
    ///
    /// Stops early, without an error, in front of damage: the next read reports it.
    fn read(
        &self,
        from: RecordNumber,
        horizon: Timestamp,
        limit: &ReadLimit,
        sink: &mut dyn RecordSink,
    ) -> Poll<Result<LogRead>>;

    /// The first record that arrived at `time` or later, or the number behind the last record.
    fn seek_time(&self, time: Timestamp) -> Poll<Result<RecordNumber>>;

    /// Blocks until the fetch is done. The next call may start another one.
    fn wait_until_fetched(&self);

    /// The present end of the log.
    fn end(&self) -> Result<ShownEnd>;

    /// The signals that are raised when there may be more to read: more is committed, the shard is closed, the log is
    /// removed. There is no other way to wait at the end.
    fn changes(&self) -> &LogChanges;
}
