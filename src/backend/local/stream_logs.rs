//! The logs of one stream.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::log::{LocalLog, LogContext, LogIdentity, LogStart};
use crate::model::{Shard, ShardId, StreamId};
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
    logs: Mutex<BTreeMap<ShardId, Arc<LocalLog>>>,
}

impl StreamLogs {
    pub(super) fn new(
        id: StreamId,
        name: String,
        store: u128,
        directory: PathBuf,
        catalog: Arc<Catalog>,
        context: Arc<LogContext>,
    ) -> Self {
        Self {
            id,
            name,
            store,
            directory,
            catalog,
            context,
            logs: Mutex::default(),
        }
    }

    /// A shard's log, opened if need be.
    pub(super) fn log(&self, shard: ShardId) -> Result<Arc<LocalLog>> {
        let mut logs = self.logs.lock();
        if let Some(log) = logs.get(&shard) {
            return Ok(log.clone());
        }
        let log = self.open_log(shard)?;
        logs.insert(shard, log.clone());
        Ok(log)
    }

    pub(super) fn open_logs(&self) -> Vec<(ShardId, Arc<LocalLog>)> {
        self.logs
            .lock()
            .iter()
            .map(|(shard, log)| (*shard, log.clone()))
            .collect()
    }

    pub(super) fn forget_log(&self, shard: ShardId) {
        self.logs.lock().remove(&shard);
    }

    fn open_log(&self, shard: ShardId) -> Result<Arc<LocalLog>> {
        let (segments, start, numbers_from) = {
            let state = self.catalog.read();
            let stream = state.stream(self.id).ok_or_else(|| Error::StreamNotFound {
                name: self.name.clone(),
            })?;
            let missing = || Error::ShardNotFound {
                stream: self.name.clone(),
                shard,
            };
            let log = stream.logs.get(&shard).ok_or_else(missing)?;
            let is_open = stream
                .lineage
                .as_ref()
                .and_then(|lineage| lineage.shard(shard))
                .is_some_and(Shard::is_open);
            let start = match log.end {
                Some(end) if is_open => LogStart::Rested(end),
                Some(end) => LogStart::Sealed(end),
                None => LogStart::Interrupted,
            };
            (log.segments.clone(), start, log.numbers_from)
        };
        let identity = LogIdentity::of_shard(self.store, self.id, shard);
        let directory = self.directory.join(shard.to_string());
        let context = self.context.clone();
        LocalLog::open(identity, directory, &segments, start, numbers_from, context)
    }
}
