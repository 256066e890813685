//! The logs of a store, and what they share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::active_logs::ActiveLogs;
use super::garbage::{Garbage, remove_directory};
use super::stream_logs::StreamLogs;
use crate::catalog::Catalog;
use crate::disk::{Disk, LockGuard, OverlayDisk, Step, is_left_out};
use crate::error::Result;
use crate::log::{CommitJournal, LogContext, ShardLog};
use crate::model::{LogName, RecordNumber, ShardId, StreamId};
use crate::sync::{AtomicBool, Mutex, RwLock};

#[derive(Debug)]
pub(crate) struct LocalLogs {
    pub(super) directory: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) context: Arc<LogContext>,
    /// Once what an earlier opener left in it is in the segments.
    pub(super) journal: RwLock<Option<Arc<CommitJournal>>>,
    pub(super) active: Arc<ActiveLogs>,
    pub(super) garbage: Mutex<Vec<Garbage>>,
    pub(super) streams: Mutex<HashMap<StreamId, Arc<StreamLogs>>>,
    /// Whether what earlier openers left behind was removed since the store was opened.
    pub(super) is_swept: AtomicBool,
    pub(super) leftover_streams: Vec<PathBuf>,
    /// What recovery writes to, where the disk must not be changed.
    pub(super) overlay: Option<OverlayDisk>,
    /// Held until all files are closed.
    pub(super) lock: Mutex<Option<Box<dyn LockGuard>>>,
}

impl LocalLogs {
    /// What says which logs there are.
    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// For messages.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Refuses if a write or a sync failed before.
    pub(crate) fn check_health(&self) -> Result<()> {
        self.context.resources.health.check()
    }

    /// The logs of a stream that exists.
    pub(crate) fn of_stream(&self, id: StreamId, name: &str) -> Arc<StreamLogs> {
        let mut streams = self.streams.lock();
        let make = || {
            Arc::new(StreamLogs::new(
                id,
                name.to_owned(),
                self.catalog.read().store,
                self.streams_directory().join(id.to_string()),
                self.catalog.clone(),
                self.context.clone(),
            ))
        };
        streams.entry(id).or_insert_with(make).clone()
    }

    /// A log by the name that edits and ledgers have for it, if it still is there.
    pub(crate) fn log(&self, name: LogName) -> Result<Option<Arc<ShardLog>>> {
        match name {
            LogName::CommitJournal => Ok(self.commit_journal().map(|journal| journal.log().clone())),
            LogName::Shard(stream, shard) => self
                .known_stream(stream)
                .map(|stream| stream.log(shard))
                .transpose(),
        }
    }

    /// The logs that are being written to.
    #[cfg(test)]
    pub(crate) fn active(&self) -> Vec<LogName> {
        self.active.list().into_iter().map(|(log, _)| log).collect()
    }

    /// Notes that nothing is appended to a log any more: its end is in the catalog.
    pub(crate) fn forget_active(&self, log: LogName) {
        self.active.forget(log);
    }

    /// Removes a stream that the catalog has no more, once its logs are not read any more.
    pub(crate) fn remove_stream(&self, stream: &StreamLogs, logs: &[(ShardId, Arc<ShardLog>)]) {
        self.streams.lock().remove(&stream.id);
        for (shard, _) in logs {
            self.active.forget(LogName::Shard(stream.id, *shard));
        }
        self.garbage
            .lock()
            .push(Garbage::of_stream(stream.directory.clone(), logs));
    }

    /// For tests that leave a step out: removes a stream's files while the catalog still has it.
    pub(crate) fn remove_too_early(&self, stream: &StreamLogs) -> Result<()> {
        match is_left_out(Step::EditBeforeRemoval) {
            true => remove_directory(self.disk.as_ref(), &stream.directory),
            false => Ok(()),
        }
    }

    /// Removes a log that the catalog has no more, once it is not read any more.
    pub(crate) fn remove_log(&self, log: &ShardLog) {
        self.garbage
            .lock()
            .push(Garbage::of_log(log.directory().to_owned(), log));
    }

    /// Removes the segments of a log that end before a record, once they are not read any more.
    pub(crate) fn remove_before(&self, log: &ShardLog, first_record: RecordNumber) {
        self.garbage
            .lock()
            .push(Garbage::of_segments(log.forget_segments_before(first_record)));
    }

    /// A stream that exists, in whatever state.
    pub(super) fn known_stream(&self, id: StreamId) -> Option<Arc<StreamLogs>> {
        let name = self.catalog.read().stream(id)?.name.local.clone();
        Some(self.of_stream(id, &name))
    }

    pub(super) fn open_streams(&self) -> Vec<Arc<StreamLogs>> {
        self.streams.lock().values().cloned().collect()
    }

    pub(super) fn commit_journal(&self) -> Option<Arc<CommitJournal>> {
        self.journal.read().clone()
    }

    pub(super) fn streams_directory(&self) -> PathBuf {
        self.directory.join("streams")
    }

    pub(super) fn journal_directory(&self) -> PathBuf {
        self.directory.join("journal")
    }
}
