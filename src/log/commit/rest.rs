//! Bringing a log to rest: everything that was taken in is durable, and its end is known.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::local_log::LocalLog;
use super::readable_end::ReadableEnd;
use crate::disk::{Step, is_left_out, perform};
use crate::error::Result;
use crate::log::format::log_end::LogEnd;

/// A log whose writers are kept out while its end is being recorded. The next append after that resumes it.
#[derive(Debug)]
#[must_use = "the log takes nothing meanwhile"]
pub(crate) struct Resting {
    log: Arc<LocalLog>,
    end: LogEnd,
    is_recorded: bool,
}

impl LocalLog {
    /// Waits for a commit in flight, and then syncs what was written.
    pub(super) fn sync_in_turn(&self) -> Result<()> {
        self.wait_for_turn();
        self.sync()
    }

    /// The end for readers. First makes everything readable that was acknowledged. If that fails, readers see what was
    /// written before.
    pub(crate) fn readable_end(&self) -> ReadableEnd {
        if self.is_acknowledged_from_memory() {
            // Records that were acknowledged from memory are also read through the file, so they are written first.
            // Where that fails, on a full disk for instance, readers see them once they are written.
            let _ = self.drain();
        } else if self.files.has_deferred.load(Ordering::Acquire) {
            // Also frames that only the journal has.
            return self.writer.lock().publish_deferred();
        }
        ReadableEnd {
            end: *self.files.published.lock(),
            withheld: None,
        }
    }

    /// Takes no more records, and makes everything that was taken in durable.
    pub(crate) fn seal(&self) -> Result<LogEnd> {
        self.check_undamaged()?;
        self.tail.lock().is_sealed = true;
        self.drain()?;
        self.write_deferred()?;
        perform(Step::SyncBeforeReshard, || self.sync())?;
        Ok(*self.files.published.lock())
    }

    /// Takes no more records, because the log is about to be removed. No thread writes to it on return. Records that
    /// cannot be written are lost with the log.
    pub(crate) fn seal_for_removal(&self) {
        if is_left_out(Step::QuietBeforeRemoval) {
            return;
        }
        self.tail.lock().is_sealed = true;
        let _ = self.seal();
        self.wait_for_turn();
    }

    /// Takes records again, after a seal whose edit failed.
    pub(crate) fn unseal(&self) {
        self.tail.lock().is_sealed = false;
    }

    /// Commits and syncs everything that was taken in before the call.
    pub(crate) fn rest(&self) -> Result<LogEnd> {
        self.drain()?;
        self.write_deferred()?;
        perform(Step::SyncBeforeRest, || self.sync())?;
        Ok(*self.files.published.lock())
    }

    /// Keeps writers out of an idle log while its end is being recorded. `None` for a log that is being written to, or
    /// that is not known to be whole behind its end.
    pub(crate) fn begin_rest(self: &Arc<Self>) -> Result<Option<Resting>> {
        if !self.tail.lock().is_idle() {
            return Ok(None);
        }
        // Done before writers are kept out, since it takes a while.
        perform(Step::SyncBeforeRest, || self.sync())?;
        let mut tail = self.tail.lock();
        if !tail.is_idle() {
            return Ok(None);
        }
        tail.is_committing = true;
        tail.is_announced = false;
        drop(tail);
        Resting::of(self)
    }

    /// Makes what was written durable, and gives the end if it may be recorded then. The caller keeps writers out.
    fn synced_end(&self) -> Result<Option<LogEnd>> {
        self.context.resources.health.check()?;
        let mut writer = self.writer.lock();
        writer.write_deferred()?;
        perform(Step::SyncBeforeRest, || writer.sync())?;
        drop(writer);
        Ok(self.known_end())
    }

    /// The end of this log, if it may be recorded: everything is committed and synced, and the log is whole.
    pub(crate) fn known_end(&self) -> Option<LogEnd> {
        match self.files.damage() {
            Some(_) => None,
            None => Some(self.writer.lock().known_end())
                .filter(|end| !end.is_interrupted || !is_left_out(Step::RecoveredEndRecorded)),
        }
    }
}

impl Resting {
    /// The caller has the turn of this log already.
    fn of(log: &Arc<LocalLog>) -> Result<Option<Self>> {
        let mut resting = Self {
            log: log.clone(),
            end: LogEnd::EMPTY,
            is_recorded: false,
        };
        let end = log.synced_end()?;
        Ok(end.map(|end| {
            resting.end = end;
            resting
        }))
    }

    /// Where the log ends.
    pub(crate) fn end(&self) -> LogEnd {
        self.end
    }

    /// Lets writers in again, because the end is recorded.
    pub(crate) fn recorded(mut self) {
        self.is_recorded = true;
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        if self.is_recorded {
            self.log.writer.lock().rest();
            self.log.files.is_known_journaled.store(false, Ordering::Relaxed);
        }
        let next = self.log.end_turn(self.log.tail.lock());
        self.log.context.flushers.commit(next);
    }
}
