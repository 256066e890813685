//! The regular house-keeping of logs.

use std::time::Duration;

use super::garbage::empty_garbage;
use super::logs::LocalLogs;
use crate::disk::{Step, perform};
use crate::error::Result;
use crate::log::Durability;
use crate::model::LogName;

impl LocalLogs {
    /// Frees what is not needed, brings idle logs to rest, and prepares segments. Does all of these steps, and reports
    /// the first failure.
    pub(super) fn keep_house(&self, monotonic: Duration) -> Result<()> {
        let results = [
            self.trim_journal(),
            self.rest(&self.idle_logs(monotonic)),
            empty_garbage(&self.garbage, &self.context.resources.pool, self.disk.as_ref()),
            // After everything that can be freed is free.
            self.prepare_segments(monotonic),
        ];
        // Other programs may have used up the disk meanwhile.
        self.context.resources.pool.leave_room();
        results.into_iter().collect()
    }

    /// Syncs what was written without a put waiting for it.
    pub(super) fn sync_in_background(&self) -> Result<()> {
        if self.context.resources.options.durability == Durability::Synced {
            return Ok(());
        }
        for (log, _) in self.active.list() {
            if log != LogName::CommitJournal
                && let Some(log) = self.log(log)?
            {
                perform(Step::BackgroundSync, || log.sync())?;
            }
        }
        Ok(())
    }

    /// Prepares segments ahead of need. Want of room is not a failure here: the put that needs the segment makes it, or
    /// is refused.
    fn prepare_segments(&self, monotonic: Duration) -> Result<()> {
        match self.context.resources.pool.prepare_wanted(monotonic) {
            Err(error) if error.is_want_of_room() => Ok(()),
            other => other,
        }
    }
}
