//! What one shard's log can do.

use std::any::Any;
use std::fmt::Debug;
use std::task::Poll;

use crate::error::Result;
use crate::model::{PutRecord, RecordNumber, Timestamp};
use crate::seam::{Appended, LogChanges, LogRead, ReadLimit, RecordSink, ShownEnd, Waiting};

/// The log of one shard, in whichever backend.
///
/// A read and a seek are `Pending` where something has to be fetched first: the caller
/// [waits](Self::wait_until_fetched) for that and asks again. No [signal](Self::changes) tells of it, since it is no
/// change of the log: a reader that waits at several logs would look again for each, and have more fetched each time.
pub(crate) trait ShardLog: Any + Debug + Send + Sync {
    /// Gives records their numbers, and all of them one arrival time: `now`, or that of the last record if the clock
    /// went back. They are acknowledged when the ticket is done.
    fn append(&self, records: &[PutRecord<'_>], now: Timestamp, waiting: Waiting) -> Result<Appended>;

    /// Hands out records from a number on, or from the next one that there is, without those that arrived before
    /// `horizon`. Where it is `Pending`, it has handed out none.
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

    /// Blocks until what was to be fetched is there. What is asked next may have to be fetched too.
    fn wait_until_fetched(&self);

    /// Where the log ends now.
    fn end(&self) -> Result<ShownEnd>;

    /// The signals that are raised when there may be more to read: more is committed, the shard is closed, the log is
    /// gone. There is no other way to wait at the end.
    fn changes(&self) -> &LogChanges;
}
