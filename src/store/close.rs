//! Closing a store.

use std::sync::atomic::Ordering;

use super::core::StoreCore;
use super::stream_core::Routing;
use crate::catalog::Edit;
use crate::error::Result;
use crate::model::LogName;

impl StoreCore {
    /// Ends all writing, records where every log ends, and lets the directory go.
    pub(super) fn close(&self) -> Result<()> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        for stream in self.open_streams() {
            *stream.routing.write() = Routing::Closed;
        }
        // A round of house-keeping that is under way ends first, and none begins any more.
        let _no_round = self.maintaining.lock();
        self.finish_appends();
        let result = self.record_ends();
        // The journal's log has the context, and the context has the journal.
        *self.context.journal.write() = None;
        self.context.flushers.stop();
        self.catalog.close();
        *self.lock.lock() = None;
        for stream in self.open_streams() {
            for (_, log) in stream.open_logs() {
                log.changes().notify();
            }
        }
        result
    }

    /// Commits what was taken in and not waited for yet: later there is nobody left to do it, and it would come into a
    /// directory that may be somebody else's. A log is not known as active before its first commit.
    fn finish_appends(&self) {
        for stream in self.open_streams() {
            for (_, log) in stream.open_logs() {
                // Whoever waits is told; of what concerns the store the recording of the ends comes to know.
                let _ = log.rest();
            }
        }
    }

    fn record_ends(&self) -> Result<()> {
        self.context.health.check()?;
        let mut ends = Vec::new();
        for (name, _) in self.active.list() {
            let Some(log) = (match name {
                // Its end comes last, below.
                LogName::CommitJournal => None,
                LogName::Shard(..) => self.log(name)?,
            }) else {
                continue;
            };
            if log.check_undamaged().is_ok() {
                log.rest()?;
                log.save_live_index();
                ends.extend(log.known_end().map(|end| (name, end)));
            }
        }
        ends.extend(self.rest_journal()?);
        self.compare_clocks();
        let rested = (!ends.is_empty()).then_some(Edit::LogsRested { ends });
        let note = self
            .clock_note()
            .filter(|_| self.catalog.read().streams().len() > 0);
        self.catalog
            .commit(|_| Ok(rested.into_iter().chain(note).collect()))
    }
}
