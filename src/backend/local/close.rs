//! Closing: recording the ends of all logs, and releasing the directory.

use super::logs::LocalLogs;
use crate::catalog::Edit;
use crate::disk::{Step, passes};
use crate::error::{Error, Result};
use crate::log::LogEnd;
use crate::model::LogName;

/// Where logs end.
type Ends = Vec<(LogName, LogEnd)>;

impl LocalLogs {
    /// Commits records that were taken in and that no caller has waited for yet: later no thread would do it, and the
    /// directory may belong to another process. A log counts as active only after its first commit.
    pub(super) fn finish_appends(&self) {
        for stream in self.open_streams() {
            for (_, log) in stream.open_logs() {
                // Waiting callers get the error. A failure of the store is found when the ends are recorded.
                let _ = log.rest();
            }
        }
    }

    /// Records the ends of all logs, with the edits that `last` gives.
    pub(super) fn record_all_ends(&self, last: &mut dyn FnMut() -> Vec<Edit>) -> Result<()> {
        let (ends, failed) = self.ends()?;
        let last = last();
        let noted = self.catalog.commit(|state| {
            // A stream or a queue that was being deleted may not exist any more.
            let is_there = |name| passes(Step::NoEndOfGone, state.log(name).is_some());
            let ends = ends.iter().filter(|(name, _)| is_there(*name));
            let ends: Vec<_> = ends.copied().collect();
            let rested = (!ends.is_empty()).then_some(Edit::LogsRested { ends });
            Ok(rested.into_iter().chain(last.iter().cloned()).collect())
        });
        match noted {
            // The edits besides the ends are not essential.
            Err(error) if ends.is_empty() && error.is_want_of_room() => {}
            noted => drop(noted?),
        }
        failed.map_or(Ok(()), Err)
    }

    /// Brings the logs that were written to to rest. Gives their ends, to be recorded, and the first failure. A log
    /// that cannot be written to does not keep the others from resting.
    fn ends(&self) -> Result<(Ends, Option<Error>)> {
        self.context.resources.health.check()?;
        let mut ends = Vec::new();
        let mut failed = None;
        for (name, _) in self.active.list() {
            let Some(log) = (match name {
                // Its end is recorded last, below.
                LogName::CommitJournal => None,
                // A removed log has no end.
                LogName::Shard(..) | LogName::Queue(..) => self.log(name).ok().flatten(),
            }) else {
                continue;
            };
            if log.check_undamaged().is_ok() {
                match log.rest() {
                    Ok(_) => {
                        log.save_live_index();
                        ends.extend(log.known_end().map(|end| (name, end)));
                    }
                    Err(error) => {
                        self.context.resources.health.check()?;
                        failed.get_or_insert(error);
                    }
                }
            }
        }
        match self.rest_journal() {
            Ok(end) => ends.extend(end),
            Err(error) => {
                self.context.resources.health.check()?;
                failed.get_or_insert(error);
            }
        }
        Ok((ends, failed))
    }

    /// Ends the threads, releases the directory, and wakes all callers that wait at a log.
    pub(super) fn let_go(&self) {
        // The journal's log has the context, and the context has the journal: break the circle.
        *self.context.journal.write() = None;
        *self.journal.write() = None;
        self.context.flushers.stop();
        self.catalog.close();
        *self.lock.lock() = None;
        for stream in self.open_streams() {
            for (_, log) in stream.open_logs() {
                log.changes().notify();
            }
        }
    }
}
