//! What is not known of logs after a crash.

use std::collections::BTreeMap;

use crate::disk::{Step, is_left_out};
use crate::error::{Error, Result};
use crate::log::format::identity::LogIdentity;
use crate::model::LogName;

/// What could not be had of a commit journal, and so may be missing in logs that were being written to.
#[derive(Debug, Default)]
pub(crate) struct JournalDoubts {
    /// Logs of which the journal may have had frames where it is damaged, or whose frames could not be put back.
    pub(crate) about: BTreeMap<LogName, Error>,
}

impl JournalDoubts {
    pub(crate) fn is_empty(&self) -> bool {
        self.about.is_empty()
    }

    /// Takes note of what keeps frames of a log from being put back, if that is its own. The first that is noted holds.
    ///
    /// # Errors
    /// What concerns all logs.
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
