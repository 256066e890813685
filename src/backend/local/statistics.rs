//! The counters of the logs of this machine.

use std::sync::Arc;

use super::logs::{LocalLogs, StreamLogs};
use crate::backend::{LogStatistics, StorageStats};
use crate::catalog::LogState;
use crate::error::Error;
use crate::model::{LogName, Space, StreamId};

impl LocalLogs {
    /// Sums of all logs.
    pub(super) fn statistics_of_all(&self) -> LogStatistics {
        let mut storage = {
            let state = self.catalog.read();
            let logs = state.logs().map(|(_, log)| log);
            storage_of(logs.chain([&state.journal]))
        };
        (storage.pool_files, storage.pool_bytes) = self.context.resources.pool.ready();
        let damaged = self.open_streams().iter().flat_map(damaged_in).collect();
        LogStatistics {
            puts: self.puts.stats(),
            sync_micros: self.context.resources.open_segments.sync_micros(),
            storage,
            damaged,
            ..LogStatistics::default()
        }
    }

    /// Sums of one stream's logs.
    pub(super) fn statistics_of(&self, stream: StreamId) -> LogStatistics {
        let storage = {
            let state = self.catalog.read();
            let logs = state.stream(stream).into_iter();
            storage_of(logs.flat_map(|state| state.logs_of(stream)).map(|(_, log)| log))
        };
        // A stream whose logs were not used since the store was opened has counted nothing.
        let used = self.streams.read().get(&stream).cloned();
        LogStatistics {
            puts: used
                .as_ref()
                .map(|logs| logs.counters.of_stream())
                .unwrap_or_default(),
            storage,
            damaged: used.iter().flat_map(damaged_in).collect(),
            ..LogStatistics::default()
        }
    }

    /// The bytes of one log's segments, including what is reserved and not written yet.
    pub(super) fn segment_bytes_of(&self, log: LogName) -> u64 {
        let state = self.catalog.read();
        let stream = log.stream().and_then(|stream| state.stream(stream));
        let log = stream.and_then(|stream| stream.find_log(log).ok());
        storage_of(log.into_iter()).segment_bytes
    }

    /// Files in the pool count as free, since the pool would give them up.
    pub(super) fn space_with_pool(&self) -> Option<Space> {
        let space = self.disk.space(&self.directory).ok().flatten()?;
        let (_, pool_bytes) = self.context.resources.pool.ready();
        Some(Space {
            available_bytes: space.available_bytes.saturating_add(pool_bytes),
            ..space
        })
    }
}

pub(super) fn storage_of<'a>(logs: impl Iterator<Item = &'a LogState>) -> StorageStats {
    let mut storage = StorageStats::default();
    for log in logs {
        storage.segments += log.segments.len() as u64;
        storage.segment_bytes += log.segments.iter().map(|segment| segment.bytes).sum::<u64>();
    }
    storage
}

/// Only of logs that were opened: damage of others is not known.
fn damaged_in(stream: &Arc<StreamLogs>) -> Vec<(LogName, Error)> {
    let logs = stream.opened_logs().into_iter();
    logs.filter_map(|(name, log)| Some((name, log.check_undamaged().err()?)))
        .collect()
}
