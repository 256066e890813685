//! The logs of one stream.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::log::{LocalLog, LogContext, LogIdentity, LogStart};
use crate::model::{LogName, StreamId};
use crate::seam::ShardCounters;
use crate::sync::Mutex;

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
