//! The logs that are being written to, and whose end is therefore not in the manifest.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, CatalogState, Edit};
use crate::error::{Error, Result};
use crate::log::{LogChange, LogIdentity, SegmentLedger};
use crate::model::{RecordNumber, ShardId, StreamId};
use crate::sync::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The logs' ledger: writes what they report to the catalog, and remembers who reported.
#[derive(Debug)]
pub(super) struct ActiveLogs {
    catalog: Arc<Catalog>,
    active: Mutex<BTreeMap<(StreamId, ShardId), Idleness>>,
}

/// Since when nothing was appended to a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idleness {
    /// By the monotonic clock.
    pub(super) since: Duration,
    pub(super) appended_through: RecordNumber,
}

impl ActiveLogs {
    pub(super) fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            active: Mutex::default(),
        }
    }

    pub(super) fn list(&self) -> Vec<(StreamId, ShardId, Idleness)> {
        self.active
            .lock()
            .iter()
            .map(|((stream, shard), idleness)| (*stream, *shard, *idleness))
            .collect()
    }

    pub(super) fn set_idleness(&self, stream: StreamId, shard: ShardId, idleness: Idleness) {
        if let Some(known) = self.active.lock().get_mut(&(stream, shard)) {
            *known = idleness;
        }
    }

    pub(super) fn forget(&self, stream: StreamId, shard: ShardId) {
        self.active.lock().remove(&(stream, shard));
    }

    pub(super) fn remember(&self, stream: StreamId, shard: ShardId) {
        let idleness = Idleness {
            since: Duration::ZERO,
            appended_through: RecordNumber::BEFORE_FIRST,
        };
        self.active.lock().insert((stream, shard), idleness);
    }
}

impl SegmentLedger for ActiveLogs {
    /// One list of edits, and so one sync of the manifest, for all logs that still exist.
    fn record(&self, changes: &[(LogIdentity, LogChange)]) -> Vec<Result<()>> {
        let mut outcomes = Vec::with_capacity(changes.len());
        let recorded = self.catalog.commit(|state| {
            outcomes.extend(changes.iter().map(|(log, _)| check_log_exists(state, *log)));
            let existing = changes
                .iter()
                .zip(&outcomes)
                .filter(|(_, outcome)| outcome.is_ok());
            Ok(existing.map(|((log, change), _)| edit_of(*log, change)).collect())
        });
        if let Err(error) = recorded {
            return vec![Err(error); changes.len()];
        }
        for ((log, _), outcome) in changes.iter().zip(&outcomes) {
            if outcome.is_ok() {
                self.remember(log.stream, log.shard);
            }
        }
        outcomes
    }
}

fn edit_of(log: LogIdentity, change: &LogChange) -> Edit {
    let LogIdentity { stream, shard, .. } = log;
    match *change {
        LogChange::SegmentAdded(segment) => Edit::SegmentAdded {
            stream,
            shard,
            segment,
        },
        LogChange::Resumed => Edit::LogResumed { stream, shard },
        LogChange::Journaled => Edit::LogJournaled { stream, shard },
    }
}

fn check_log_exists(state: &CatalogState, log: LogIdentity) -> Result<()> {
    if log.is_commit_journal() {
        return Ok(());
    }
    let stream = state.stream(log.stream).ok_or_else(|| Error::StreamNotFound {
        name: format!("number {}", log.stream),
    })?;
    match stream.logs.contains_key(&log.shard) {
        true => Ok(()),
        false => Err(Error::ShardNotFound {
            stream: stream.name.clone(),
            shard: log.shard,
        }),
    }
}
