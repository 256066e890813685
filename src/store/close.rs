//! Closing a store.

use std::sync::atomic::Ordering;

use super::core::StoreCore;
use super::stream_core::Routing;
use crate::catalog::Edit;
use crate::error::Result;

impl StoreCore {
    /// Ends all writing, records where every log ends, and lets the logs go.
    pub(super) fn close(&self) -> Result<()> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        for stream in self.open_streams() {
            *stream.routing.write() = Routing::Closed;
        }
        // A round of house-keeping that is under way ends first, and none begins any more.
        let _no_round = self.maintaining.lock();
        let result = match self.options.local.read_only {
            true => Ok(()),
            false => {
                self.logs.finish_appends();
                self.record_ends()
            }
        };
        self.logs.close();
        result
    }

    fn record_ends(&self) -> Result<()> {
        let ends = self.logs.ends()?;
        self.compare_clocks();
        let rested = (!ends.is_empty()).then_some(Edit::LogsRested { ends });
        let note = self
            .clock_note()
            .filter(|_| self.catalog.read().streams().len() > 0);
        self.catalog
            .commit(|_| Ok(rested.into_iter().chain(note).collect()))
    }
}
