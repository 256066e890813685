//! What is unknown about logs after a crash.

use std::collections::BTreeMap;

use crate::disk::{Step, is_left_out};
use crate::error::{Error, Result};
use crate::log::format::identity::LogIdentity;
use crate::model::LogName;

/// The part of a commit journal that could not be read, and so may be missing in logs that were being written to.
#[derive(Debug, Default)]
pub(crate) struct JournalDoubts {
    /// Logs that may have had frames where the journal is damaged, or whose frames could not be put back.
    pub(crate) about: BTreeMap<LogName, Error>,
}

impl JournalDoubts {
    pub(crate) fn is_empty(&self) -> bool {
        self.about.is_empty()
    }

    /// Notes an error that prevented putting back frames of a log, if the error concerns only that log. The first error
    /// of a log is kept.
    ///
    /// # Errors
    /// An error that concerns all logs.
    pub(crate) fn note(&mut self, log: LogName, put_back: Result<()>) -> Result<()> {
        match put_back {
            Err(error @ (Error::Poisoned { .. } | Error::TooManyOpenFiles { .. })) => Err(error),
            Err(error) => {
                self.about.entry(log).or_insert(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    pub(crate) fn about(&self, log: LogIdentity) -> Option<&Error> {
        self.about
            .get(&log.name)
            .filter(|_| !log.is_commit_journal() && !is_left_out(Step::JournalDoubts))
    }
}
