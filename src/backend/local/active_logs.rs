//! The logs that are being written to, whose ends are therefore not in the manifest.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, CatalogState, Edit};
use crate::error::{Error, Result};
use crate::log::{LogChange, LogIdentity, SegmentLedger};
use crate::model::{LogName, RecordNumber};
use crate::sync::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The logs' ledger: writes their reports to the catalog, and remembers which logs reported.
#[derive(Debug)]
pub(super) struct ActiveLogs {
    catalog: Arc<Catalog>,
    active: Mutex<BTreeMap<LogName, Idleness>>,
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

    pub(super) fn list(&self) -> Vec<(LogName, Idleness)> {
        let active = self.active.lock();
        active.iter().map(|(log, idleness)| (*log, *idleness)).collect()
    }

    pub(super) fn set_idleness(&self, log: LogName, idleness: Idleness) {
        if let Some(known) = self.active.lock().get_mut(&log) {
            *known = idleness;
        }
    }

    pub(super) fn forget(&self, log: LogName) {
        self.active.lock().remove(&log);
    }

    pub(super) fn remember(&self, log: LogName) {
        let idleness = Idleness {
            since: Duration::ZERO,
            appended_through: RecordNumber::BEFORE_FIRST,
        };
        self.active.lock().insert(log, idleness);
    }
}

impl SegmentLedger for ActiveLogs {
    /// Makes one list of edits, and so one sync of the manifest, for all of these logs that still exist.
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
                self.remember(log.name);
            }
        }
        outcomes
    }
}

fn edit_of(log: LogIdentity, change: &LogChange) -> Edit {
    let log = log.name;
    match *change {
        LogChange::SegmentAdded(segment) => Edit::SegmentAdded { log, segment },
        LogChange::Resumed => Edit::LogResumed { log },
        LogChange::Journaled => Edit::LogJournaled { log },
    }
}

fn check_log_exists(state: &CatalogState, log: LogIdentity) -> Result<()> {
    let Some(id) = log.name.stream() else {
        return Ok(());
    };
    let stream = state.stream(id).ok_or_else(|| Error::StreamNotFound {
        name: format!("number {id}"),
    })?;
    stream.find_log(log.name).map(drop)
}
