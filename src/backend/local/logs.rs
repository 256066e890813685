//! The logs of a store, and what they share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::active_logs::ActiveLogs;
use super::garbage::Garbage;
use super::stream_logs::StreamLogs;
use crate::catalog::Catalog;
use crate::disk::{Disk, LockGuard, OverlayDisk};
use crate::error::Result;
use crate::log::{CommitJournal, Durability, LocalLog, LogContext};
use crate::model::{LogName, StreamId};
use crate::seam::{PutCounters, ShardCounters};
use crate::sync::{AtomicBool, Mutex, RwLock};

#[derive(Debug)]
pub(crate) struct LocalLogs {
    pub(super) directory: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// The disk that copies are written to: the same, or the one below the overlay of a store that is only read.
    pub(super) disk_of_copies: Arc<dyn Disk>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) context: Arc<LogContext>,
    /// Set once the frames that an earlier opener left in it are in the segments.
    pub(super) journal: RwLock<Option<Arc<CommitJournal>>>,
    pub(super) active: Arc<ActiveLogs>,
    /// Counts the commits of the shards of all streams.
    pub(super) puts: Arc<PutCounters>,
    pub(super) garbage: Mutex<Vec<Garbage>>,
    pub(super) streams: RwLock<HashMap<StreamId, Arc<StreamLogs>>>,
    /// Whether the leftovers of earlier openers were removed since the store was opened.
    pub(super) is_swept: AtomicBool,
    pub(super) leftover_streams: Vec<PathBuf>,
    /// Takes the writes of recovery, if the disk must not be changed.
    pub(super) overlay: Option<OverlayDisk>,
    /// Held until all files are closed.
    pub(super) lock: Mutex<Option<Box<dyn LockGuard>>>,
}

impl LocalLogs {
    /// A log by the name that edits and ledgers use for it, if it still exists.
    pub(super) fn log(&self, name: LogName) -> Result<Option<Arc<LocalLog>>> {
        match name {
            LogName::CommitJournal => Ok(self.commit_journal().map(|journal| journal.log().clone())),
            LogName::Shard(stream, _) | LogName::Queue(stream, _) => self
                .known_stream(stream)
                .map(|stream| stream.log(name))
                .transpose(),
        }
    }

    /// The logs that are being written to.
    #[cfg(test)]
    pub(crate) fn active(&self) -> Vec<LogName> {
        self.active.list().into_iter().map(|(log, _)| log).collect()
    }

    /// The logs of a stream that exists, in whatever state.
    pub(super) fn known_stream(&self, id: StreamId) -> Option<Arc<StreamLogs>> {
        if let Some(known) = self.streams.read().get(&id) {
            return Some(known.clone());
        }
        let (store, name) = {
            let state = self.catalog.read();
            (state.store, state.stream(id)?.name.local.clone())
        };
        let make = || {
            Arc::new(StreamLogs::new(
                id,
                name,
                store,
                self.streams_directory().join(id.to_string()),
                self.catalog.clone(),
                self.context.clone(),
                ShardCounters::new(Arc::default(), self.puts.clone()),
            ))
        };
        Some(self.streams.write().entry(id).or_insert_with(make).clone())
    }

    pub(super) fn open_streams(&self) -> Vec<Arc<StreamLogs>> {
        self.streams.read().values().cloned().collect()
    }

    pub(super) fn acknowledges_from_memory(&self) -> bool {
        self.context.resources.options.durability == Durability::Buffered
    }

    pub(super) fn commit_journal(&self) -> Option<Arc<CommitJournal>> {
        self.journal.read().clone()
    }

    pub(super) fn streams_directory(&self) -> PathBuf {
        self.directory.join("streams")
    }

    pub(super) fn log_directory(&self, log: LogName) -> PathBuf {
        let above = match log.stream() {
            Some(stream) => self.streams_directory().join(stream.to_string()),
            None => self.directory.clone(),
        };
        above.join(log.directory_name())
    }

    pub(super) fn journal_directory(&self) -> PathBuf {
        self.directory.join("journal")
    }
}
