//! Logs at rest: their ends are in the catalog.

use std::time::Duration;

use super::active_logs::Idleness;
use super::logs::LocalLogs;
use crate::catalog::Edit;
use crate::error::Result;
use crate::log::Resting;
use crate::model::LogName;

/// After this time without an append the end of a log is recorded. Then the log need not be scanned when the store is
/// opened after a crash, and damage of its last group cannot pass for a torn write.
const UNTIL_IDLE: Duration = Duration::from_secs(5);

impl LocalLogs {
    /// Records the ends of idle logs, with one edit. A log that fails does not keep the others from resting.
    pub(crate) fn rest(&self, logs: &[LogName]) -> Result<()> {
        let mut result = Ok(());
        let mut resting = Vec::new();
        // The journal first: it waits for the turns of other logs, and a log that is brought to rest keeps its turn.
        let (journal, shards): (Vec<_>, Vec<_>) =
            (logs.iter()).partition(|log| matches!(log, LogName::CommitJournal));
        for &log in journal.into_iter().chain(shards) {
            match self.begin_rest(log) {
                Ok(begun) => resting.extend(begun.map(|begun| (log, begun))),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result.and(self.record_ends(resting))
    }

    /// The logs without an append for a while.
    pub(super) fn idle_logs(&self, monotonic: Duration) -> Vec<LogName> {
        let mut idle = Vec::new();
        for (name, idleness) in self.active.list() {
            // A log that cannot be opened takes no records.
            let Ok(Some(log)) = self.log(name) else {
                continue;
            };
            let appended_through = log.appended_through();
            if appended_through != idleness.appended_through {
                let since = monotonic;
                let idleness = Idleness {
                    since,
                    appended_through,
                };
                self.active.set_idleness(name, idleness);
            } else if monotonic.saturating_sub(idleness.since) >= UNTIL_IDLE {
                idle.push(name);
            }
        }
        idle
    }

    fn begin_rest(&self, name: LogName) -> Result<Option<Resting>> {
        match name {
            LogName::CommitJournal => self.begin_journal_rest(),
            LogName::Shard(..) | LogName::Queue(..) => match self.log(name)? {
                Some(log) => log.begin_rest(),
                None => Ok(None),
            },
        }
    }

    fn record_ends(&self, resting: Vec<(LogName, Resting)>) -> Result<()> {
        if resting.is_empty() {
            return Ok(());
        }
        self.catalog.commit(|state| {
            let ends: Vec<_> = resting
                .iter()
                .filter(|(log, _)| state.log(*log).is_some())
                .map(|(log, resting)| (*log, resting.end()))
                .collect();
            match ends.is_empty() {
                true => Ok(Vec::new()),
                false => Ok(vec![Edit::LogsRested { ends }]),
            }
        })?;
        for (log, resting) in resting {
            // Done while writers are still kept out: the one that resumes the log is noted after this.
            self.active.forget(log);
            resting.recorded();
        }
        Ok(())
    }
}
