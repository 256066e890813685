//! The latch that makes the first failed write or sync final, and the durations of syncs under way.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::omission::{Step, is_left_out};
use super::syncs_under_way::SyncsUnderWay;
use crate::error::{Error, Result};
use crate::model::{Clock, SystemClock};
use crate::sync::OnceLock;
use crate::trace::{self, Happening};

/// Shared by everything that writes into one store. After a failed write or sync the page cache may have data that is
/// not on the disk, so nothing is retried: the first failure is kept, and every later write is refused with it.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    first_failure: Arc<OnceLock<Error>>,
    syncs: Arc<SyncsUnderWay>,
}

impl Default for Health {
    fn default() -> Self {
        Self::by(Arc::new(SystemClock))
    }
}

impl Health {
    /// A latch that measures syncs by this clock.
    pub(crate) fn by(clock: Arc<dyn Clock>) -> Self {
        Self {
            first_failure: Arc::default(),
            syncs: Arc::new(SyncsUnderWay::new(clock)),
        }
    }

    /// Runs a sync, and notes that it is under way until it ends.
    pub(crate) fn watch_sync<T>(&self, sync: impl FnOnce() -> T) -> T {
        let under_way = self.syncs.begin();
        let done = sync();
        let took = under_way.end();
        if took >= trace::SLOW_SYNC {
            trace::tell(&Happening::SyncWasSlow { took });
        }
        done
    }

    /// How long the oldest sync under way has taken so far.
    pub(crate) fn oldest_sync(&self) -> Option<Duration> {
        self.syncs.oldest()
    }

    /// Refuses after a failure.
    pub(crate) fn check(&self) -> Result<()> {
        match self.first_failure.get() {
            Some(_) if is_left_out(Step::FailureLatch) => Ok(()),
            None => Ok(()),
            Some(first) => Err(Error::Poisoned {
                first: Arc::new(first.clone()),
            }),
        }
    }

    /// Keeps this failure if it is the first, and gives the error that the caller must return.
    pub(crate) fn poison(&self, operation: &'static str, path: &Path, source: io::Error) -> Error {
        self.latch(&Error::io(operation, path, source))
    }

    /// The same for a step that prepares something: want of room is only an error of the call there.
    pub(crate) fn fail_preparing(&self, operation: &'static str, path: &Path, source: io::Error) -> Error {
        self.latch_unless_harmless(Error::preparing(operation, path, source))
    }

    /// Keeps a failure of the operating system, unless it is want of room in a step of preparing.
    pub(crate) fn latch_unless_harmless(&self, error: Error) -> Error {
        match error {
            Error::Io { .. } => self.latch(&error),
            error => error,
        }
    }

    fn latch(&self, error: &Error) -> Error {
        let first = self.first_failure.get_or_init(|| {
            trace::tell(&Happening::Poisoned { error });
            error.clone()
        });
        Error::Poisoned {
            first: Arc::new(first.clone()),
        }
    }
}
