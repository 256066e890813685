//! What becomes of logs whose seal or removal came to nothing, or is in doubt.

use std::sync::Arc;

use super::log::ClusterLog;
use super::opened_logs::{ClusterLogs, stream_not_found};
use crate::error::{Error, Result};
use crate::model::LogName;

impl ClusterLogs {
    /// Lets go of logs that the catalog has no more.
    pub(super) fn take_out(&self, is_removed: impl Fn(LogName) -> bool) -> Result<Vec<Arc<ClusterLog>>> {
        let mut opened = self.opened.lock();
        let logs = opened.as_mut().ok_or(Error::Closed)?;
        let names: Vec<_> = logs.keys().filter(|name| is_removed(**name)).copied().collect();
        let removed: Vec<_> = names.iter().filter_map(|name| logs.remove(name)).collect();
        drop(opened);
        for log in &removed {
            log.abandon(&stream_not_found(log.name));
            self.cache.forget(log.name);
        }
        Ok(removed)
    }

    /// A log that was sealed goes on, unless the catalog has closed or removed it. Whether it has may not be known yet.
    pub(super) fn end_seal(&self, log: &ClusterLog) {
        if self.shared.has_doubt() {
            log.lock().is_in_doubt = true;
            self.shared.note_unsettled();
            return;
        }
        let is_open = self.facts(log.name).is_ok_and(|facts| !facts.is_closed);
        if is_open && self.shared.check().is_ok() {
            log.unseal();
        }
    }

    /// Takes over what the catalog has, once that is known again.
    pub(super) fn settle(&self) -> Result<()> {
        let in_doubt = self.opened_logs(None).into_iter();
        for log in in_doubt.filter(|log| log.lock().is_in_doubt) {
            self.end_seal(&log);
            log.lock().is_in_doubt &= self.shared.has_doubt();
            log.changes.notify();
        }
        let names = self.opened_logs(None).into_iter().map(|log| log.name);
        let gone: Vec<_> = {
            let state = self.catalog.read();
            names.filter(|name| state.log(*name).is_none()).collect()
        };
        for log in self.take_out(|name| gone.contains(&name))? {
            self.removal.note_log(log.name);
            log.changes.notify();
        }
        let state = self.catalog.read();
        let streams = self.streams.ids().into_iter();
        let gone: Vec<_> = streams.filter(|id| state.stream(*id).is_none()).collect();
        drop(state);
        for stream in gone {
            self.counters.lock().remove(&stream);
            if self.streams.forget(stream) {
                self.removal.note_stream(stream);
            }
        }
        Ok(())
    }
}
