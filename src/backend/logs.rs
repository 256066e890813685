//! What concerns several logs, or the catalog too.

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
    /// What says which logs there are.
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) logs: Arc<dyn Logs>,
    /// What was found to be damaged, each once.
    pub(crate) damage: Vec<Error>,
}

/// Records for one log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) log: &'a dyn ShardLog,
    pub(crate) records: &'a [PutRecord<'a>],
}

/// Makes edits that close shards, of where their logs end.
pub(crate) type SealPlan<'a> = dyn FnMut(&CatalogState, &[(ShardId, LogEnd)]) -> Result<Vec<Edit>> + 'a;

/// Makes edits that take logs out of the catalog.
pub(crate) type RemovalPlan<'a> = dyn FnMut(&CatalogState) -> Result<Vec<Edit>> + 'a;

/// What a store had at one moment, which is kept for as long as this is there.
pub(crate) trait Snapshot: Debug {
    /// Writes it to the directory, as a store of its own.
    fn write(&self, destination: Destination) -> Result<Copied>;
}

/// The logs of a store.
///
/// No verb wakes a reader, since its caller may hold locks: where a verb ends logs it gives them back, and the caller
/// has them tell it once it holds none.
pub(crate) trait Logs: Any + Debug + Send + Sync {
    /// The log of a shard or a queue that exists.
    fn open(&self, log: LogName) -> Result<Arc<dyn ShardLog>>;

    /// As [`ShardLog::append`], to several logs, each of which answers for itself. `None` if one of them would have to
    /// wait and may not; nothing was taken then.
    fn append(
        &self,
        batches: &[Batch<'_>],
        now: Timestamp,
        waiting: Waiting,
    ) -> Option<Vec<Result<Appended>>>;

    /// What of a log can be freed apart from the rest, oldest first. The last piece is the one that records follow in.
    /// Of each piece what has records from a number on is counted: the records exactly, and where only a part of a
    /// piece counts the bytes may be as large a part of its bytes as it is of its records. Reads no record.
    fn pieces(&self, log: LogName, from: RecordNumber) -> Result<Vec<LogPiece>>;

    /// Makes all durable that a log has taken so far, whatever an append waits for.
    fn sync(&self, log: LogName) -> Result<()>;

    /// Closes shards: their logs take no more records, and the edits that `plan` makes of their ends are committed. If
    /// they are not, the logs go on. `plan` may be asked more than once. Gives the closed logs.
    fn seal(
        &self,
        stream: StreamId,
        shards: &[ShardId],
        plan: &mut SealPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>>;

    /// Commits the edits that take a log, or a whole stream, out of the catalog, and then removes the logs, once they
    /// are not read any more. If `plan` makes no edits, nothing is removed. Gives the removed logs that were in use.
    fn remove(
        &self,
        stream: StreamId,
        log: Option<LogName>,
        plan: &mut RemovalPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>>;

    /// Brings the catalog up to date with what another program has changed, where one can. Says whether it has changed.
    ///
    /// # Errors
    /// It is not known any more what there is.
    fn catch_up(&self) -> Result<bool> {
        Ok(false)
    }

    /// Does one round of house-keeping. Frees, besides, what arrived before its stream's horizon or is hidden.
    fn maintain(&self, monotonic: Duration, time: Moment) -> Result<()>;

    /// Takes a directory for a copy.
    ///
    /// # Errors
    /// It is not free, or cannot be made; or these are no logs that can be copied.
    fn begin_copy(&self, directory: &Path) -> Result<Destination>;

    /// Opens all logs, and commits and writes what they have taken.
    ///
    /// # Errors
    /// A log is damaged, or cannot be written.
    fn write_out(&self) -> Result<()>;

    /// All that there is at one moment. The caller has nothing appended to a shard or a queue meanwhile; edits may go
    /// on. What was not [written out](Self::write_out) before is written first.
    ///
    /// # Errors
    /// As for [`write_out`](Self::write_out).
    fn snapshot(&self, now: Timestamp) -> Result<Box<dyn Snapshot>>;

    /// Refuses if something failed after which nothing more is written.
    fn check(&self) -> Result<()>;

    /// What is counted of the logs of one stream, or of all.
    fn statistics(&self, of: Option<StreamId>) -> LogStatistics;

    /// How many bytes of the disk or the memory one log takes.
    fn stored_bytes(&self, log: LogName) -> u64;

    /// How long the oldest sync has taken so far that is under way. Waits for nothing.
    fn oldest_sync(&self) -> Option<Duration>;

    /// For how long what holds the logs has not answered; `None` while it does, or is no cluster. Waits for nothing.
    fn unanswered_for(&self) -> Option<Duration> {
        None
    }

    /// The room on what holds the logs, if that is known. May wait for the disk, as none of the others that tell
    /// something does.
    fn space(&self) -> Option<Space>;

    /// Makes all durable that was taken, commits the `last` edits with it, and lets the logs go. All who wait at a log
    /// are woken. The logs are gone also where this fails.
    fn close(&self, last: &mut dyn FnMut() -> Vec<Edit>) -> Result<()>;
}
