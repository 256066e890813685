//! Closing a store.

use std::sync::atomic::Ordering;

use super::core::StoreCore;
use super::stream_core::Routing;
use crate::error::Result;
use crate::trace::{self, Happening};

impl StoreCore {
    /// Ends all writing, records the end of every log, and drops the logs.
    pub(super) fn close(&self) -> Result<()> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // Done before any lock is taken that a waiting thread may hold.
        self.logs.begin_close();
        for stream in self.open_streams() {
            *stream.routing.write() = Routing::Closed;
        }
        self.open_queues.close();
        // A round of house-keeping under way ends first, and no other begins.
        let _no_round = self.maintaining.lock();
        let closed = self.logs.close(&mut || {
            self.compare_clocks();
            let note = self.clock_note();
            let is_empty = self.catalog.read().streams().len() == 0;
            note.filter(|_| !is_empty).into_iter().collect()
        });
        self.open_queues.note_ended();
        for stream in self.open_streams() {
            stream.open_groups.notify_all();
        }
        trace::tell(&Happening::Closed);
        closed
    }
}
