//! The latch that makes the first failed write or sync the last.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::omission::{Step, is_left_out};
use crate::error::{Error, Result};
use crate::sync::OnceLock;

/// Shared by everything that writes into one store. After a failed write or sync the page cache may claim what the
/// disk never got, so nothing is retried: the first failure is kept, and every later write is refused with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    first_failure: Arc<OnceLock<Error>>,
}

impl Health {
    /// Refuses if something failed before.
    pub(crate) fn check(&self) -> Result<()> {
        match self.first_failure.get() {
            Some(_) if is_left_out(Step::FailureLatch) => Ok(()),
            None => Ok(()),
            Some(first) => Err(Error::Poisoned {
                first: Arc::new(first.clone()),
            }),
        }
    }

    /// Keeps this failure if it is the first, and gives back the error that the caller must report.
    pub(crate) fn poison(&self, operation: &'static str, path: &Path, source: io::Error) -> Error {
        self.latch(&Error::io(operation, path, source))
    }

    /// The same for a step of preparing what nothing depends on yet: want of room is an answer there, and harms nothing.
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
        let first = self.first_failure.get_or_init(|| error.clone());
        Error::Poisoned {
            first: Arc::new(first.clone()),
        }
    }
}
