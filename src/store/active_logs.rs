//! The logs that are being written to, and whose end is therefore not in the manifest.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, CatalogState, Edit};
use crate::error::{Error, Result};
use crate::log::{LogIdentity, SegmentEntry, SegmentLedger};
use crate::model::{RecordNumber, ShardId, StreamId, Timestamp};
use crate::sync::Mutex;
use std::sync::Arc;

/// The logs' ledger: writes what they report to the catalog, and remembers who reported.
#[derive(Debug)]
pub(super) struct ActiveLogs {
    catalog: Arc<Catalog>,
    active: Mutex<BTreeMap<(StreamId, ShardId), Idleness>>,
}

/// Since when nothing was appended to a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idleness {
    pub(super) since: Timestamp,
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
            since: Timestamp::EPOCH,
            appended_through: RecordNumber::BEFORE_FIRST,
        };
        self.active.lock().insert((stream, shard), idleness);
    }

    fn record(&self, log: LogIdentity, edit: Edit) -> Result<()> {
        self.catalog.commit(|state| {
            check_log_exists(state, log)?;
            Ok(vec![edit])
        })?;
        self.remember(log.stream, log.shard);
        Ok(())
    }
}

impl SegmentLedger for ActiveLogs {
    fn segment_added(&self, log: LogIdentity, segment: SegmentEntry) -> Result<()> {
        self.record(
            log,
            Edit::SegmentAdded {
                stream: log.stream,
                shard: log.shard,
                segment,
            },
        )
    }

    fn log_resumed(&self, log: LogIdentity) -> Result<()> {
        self.record(
            log,
            Edit::LogResumed {
                stream: log.stream,
                shard: log.shard,
            },
        )
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
