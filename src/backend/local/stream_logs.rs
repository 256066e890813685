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
    /// For errors.
    name: String,
    store: u128,
    pub(super) directory: PathBuf,
    catalog: Arc<Catalog>,
    context: Arc<LogContext>,
    pub(super) counters: ShardCounters,
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
            logs: Mutex::default(),
        }
    }

    /// One of the stream's logs, opened if need be.
    pub(super) fn log(&self, name: LogName) -> Result<Arc<LocalLog>> {
        let mut logs = self.logs.lock();
        if let Some(log) = logs.get(&name) {
            return Ok(log.clone());
        }
        let log = self.open_log(name)?;
        logs.insert(name, log.clone());
        Ok(log)
    }

    pub(super) fn open_logs(&self) -> Vec<(LogName, Arc<LocalLog>)> {
        self.logs
            .lock()
            .iter()
            .map(|(name, log)| (*name, log.clone()))
            .collect()
    }

    pub(super) fn forget_log(&self, name: LogName) {
        self.logs.lock().remove(&name);
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
