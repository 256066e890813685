//! The logs of a store and of its streams, and the state that they share.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use super::active_logs::ActiveLogs;
use super::garbage::Garbage;
use crate::catalog::Catalog;
use crate::disk::{Disk, LockGuard, OverlayDisk};
use crate::error::{Error, Result};
use crate::log::{CommitJournal, Durability, LocalLog, LogContext, LogIdentity, LogStart};
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

/// The logs of one stream.
#[derive(Debug)]
pub(super) struct StreamLogs {
    pub(super) id: StreamId,
    /// The stream's name, for errors.
    name: String,
    store: u128,
    pub(super) directory: PathBuf,
    catalog: Arc<Catalog>,
    context: Arc<LogContext>,
    pub(super) counters: ShardCounters,
    /// Held while a log is opened, which waits for the disk. Taken before `logs`.
    opening: Mutex<()>,
    /// The open logs. Never held while a thread waits for the disk.
    logs: Mutex<BTreeMap<LogName, Arc<LocalLog>>>,
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

impl StreamLogs {
    pub(super) fn new(
        id: StreamId,
        name: String,
        store: u128,
        directory: PathBuf,
        catalog: Arc<Catalog>,
        context: Arc<LogContext>,
        counters: ShardCounters,
    ) -> Self {
        Self {
            id,
            name,
            store,
            directory,
            catalog,
            context,
            counters,
            opening: Mutex::default(),
            logs: Mutex::default(),
        }
    }

    /// One of the stream's logs, which is opened if necessary.
    pub(super) fn log(&self, name: LogName) -> Result<Arc<LocalLog>> {
        if let Some(log) = self.opened_log(name) {
            return Ok(log);
        }
        let _one_at_a_time = self.opening.lock();
        // Another thread may have come first.
        if let Some(log) = self.opened_log(name) {
            return Ok(log);
        }
        let log = self.open_log(name)?;
        self.logs.lock().insert(name, log.clone());
        Ok(log)
    }

    /// All open logs. Waits for one that is being opened.
    pub(super) fn open_logs(&self) -> Vec<(LogName, Arc<LocalLog>)> {
        let _none_is_being_opened = self.opening.lock();
        self.opened_logs()
    }

    /// All logs that are open now. Does not wait for the disk.
    pub(super) fn opened_logs(&self) -> Vec<(LogName, Arc<LocalLog>)> {
        let logs = self.logs.lock();
        logs.iter().map(|(name, log)| (*name, log.clone())).collect()
    }

    pub(super) fn forget_log(&self, name: LogName) {
        let _none_is_being_opened = self.opening.lock();
        self.logs.lock().remove(&name);
    }

    fn opened_log(&self, name: LogName) -> Option<Arc<LocalLog>> {
        self.logs.lock().get(&name).cloned()
    }

    fn open_log(&self, name: LogName) -> Result<Arc<LocalLog>> {
        let (segments, start, numbers_from) = {
            let state = self.catalog.read();
            let stream = state.stream(self.id).ok_or_else(|| Error::StreamNotFound {
                name: self.name.clone(),
            })?;
            let log = stream.find_log(name)?;
            let is_open = name.shard().is_none_or(|shard| stream.is_open(shard));
            let start = match log.end {
                Some(end) if is_open => LogStart::Rested(end),
                Some(end) => LogStart::Sealed(end),
                None => LogStart::Interrupted,
            };
            (log.segments.clone(), start, log.numbers_from)
        };
        let store = self.store;
        let identity = LogIdentity { store, name };
        let directory = self.directory.join(name.directory_name());
        let context = self.context.clone();
        let counters = name.shard().map(|_| self.counters.clone());
        LocalLog::open(
            identity,
            directory,
            &segments,
            start,
            numbers_from,
            context,
            counters,
        )
    }
}
