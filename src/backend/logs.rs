//! The verbs that concern several logs, or the catalog too.

use std::any::Any;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::shard_log::ShardLog;
use super::statistics::LogStatistics;
use crate::backup::{Copied, Destination};
use crate::catalog::{Catalog, CatalogState, Edit, LogEnd};
use crate::error::{Error, Result};
use crate::model::{LogName, Moment, PutRecord, RecordNumber, ShardId, Space, StreamId, Timestamp};
use crate::seam::{Appended, LogPiece, Waiting};

/// A backend that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Says which logs exist.
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) logs: Arc<dyn Logs>,
    /// The damage that was found, each reported once.
    pub(crate) damage: Vec<Error>,
}

/// Records for one log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) log: &'a dyn ShardLog,
    pub(crate) records: &'a [PutRecord<'a>],
}

/// Makes edits that close shards, from the ends of their logs.
pub(crate) type SealPlan<'a> = dyn FnMut(&CatalogState, &[(ShardId, LogEnd)]) -> Result<Vec<Edit>> + 'a;

/// Makes edits that remove logs from the catalog.
pub(crate) type RemovalPlan<'a> = dyn FnMut(&CatalogState) -> Result<Vec<Edit>> + 'a;

/// The contents of a store at one moment, which are kept as long as this value lives.
pub(crate) trait Snapshot: Debug {
    /// Writes the snapshot to the directory, as a separate store.
    fn write(&self, destination: Destination) -> Result<Copied>;
}

/// The logs of a store.
///
/// No verb wakes a reader, since its caller may hold locks. A verb that ends logs returns them, and the caller raises
/// their signals once it holds no locks.
pub(crate) trait Logs: Any + Debug + Send + Sync {
    /// The log of an existing shard or queue.
    fn open(&self, log: LogName) -> Result<Arc<dyn ShardLog>>;

    /// As [`ShardLog::append`], to several logs, with a result for each. `None` if one of them would have to wait and
    /// may not; in that case nothing was taken.
    fn append(
        &self,
        batches: &[Batch<'_>],
        now: Timestamp,
        waiting: Waiting,
    ) -> Option<Vec<Result<Appended>>>;

    /// The parts of a log that can be freed separately, oldest first. The last piece is the one that records follow in.
    /// For each piece this counts what has records from a number on: the records exactly; and if only a part of a piece
    /// counts, the bytes in proportion to its records. Reads no record.
    fn pieces(&self, log: LogName, from: RecordNumber) -> Result<Vec<LogPiece>>;

    /// Makes everything durable that a log has taken so far, whatever an append waits for.
    fn sync(&self, log: LogName) -> Result<()>;

    /// Closes shards: their logs take no more records, and the edits that `plan` makes from their ends are committed.
    /// If that fails, the logs go on. `plan` may be called more than once. Gives the closed logs.
    fn seal(
        &self,
        stream: StreamId,
        shards: &[ShardId],
        plan: &mut SealPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>>;

    /// Commits the edits that remove a log, or a whole stream, from the catalog, and then removes the logs, once
    /// nothing reads them. If `plan` makes no edits, nothing is removed. Gives the removed logs that were in use.
    fn remove(
        &self,
        stream: StreamId,
        log: Option<LogName>,
        plan: &mut RemovalPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>>;

    /// Adds to the catalog the changes of another program, where there can be one, and changes whose durability was
    /// unknown and is known now. Returns whether there were any.
    ///
    /// # Errors
    /// The state of the store is no longer known.
    fn catch_up(&self) -> Result<bool> {
        Ok(false)
    }

    /// Does one round of house-keeping. Also frees records that arrived before the horizon of their stream or are
    /// hidden.
    fn maintain(&self, monotonic: Duration, time: Moment) -> Result<()>;

    /// Reserves a directory for a copy.
    ///
    /// # Errors
    /// It is not free, or cannot be made; or the logs cannot be copied.
    fn begin_copy(&self, directory: &Path) -> Result<Destination>;

    /// Opens all logs, and commits and writes what they have taken in.
    ///
    /// # Errors
    /// A log is damaged, or cannot be written.
    fn write_out(&self) -> Result<()>;

    /// The contents of the store at one moment. The caller stops all appends meanwhile; edits may go on. Writes out
    /// first what was not [written out](Self::write_out) before.
    ///
    /// # Errors
    /// As for [`write_out`](Self::write_out).
    fn snapshot(&self, now: Timestamp) -> Result<Box<dyn Snapshot>>;

    /// Refuses after a failure that ended all writing.
    fn check(&self) -> Result<()>;

    /// The counts of the logs of one stream, or of all.
    fn statistics(&self, of: Option<StreamId>) -> LogStatistics;

    /// How many bytes of the disk or the memory one log takes.
    fn stored_bytes(&self, log: LogName) -> u64;

    /// How long the oldest sync under way has taken so far. Waits for nothing.
    fn oldest_sync(&self) -> Option<Duration>;

    /// How long the cluster with the logs has not answered. `None` while it answers, and without a cluster. Never
    /// waits.
    fn unanswered_for(&self) -> Option<Duration> {
        None
    }

    /// The room where the logs are, if that is known. May wait for the disk, unlike the other queries.
    fn space(&self) -> Option<Space>;

    /// Says that the store is about to be closed: from now on no call waits long for an answer that may never come.
    fn begin_close(&self) {}

    /// Makes everything durable that was taken in, commits the `last` edits with it, and drops the logs. Wakes all
    /// callers that wait at a log. The logs are dropped also after a failure.
    fn close(&self, last: &mut dyn FnMut() -> Vec<Edit>) -> Result<()>;
}
