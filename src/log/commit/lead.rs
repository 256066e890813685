//! Leading: a thread that finds no commit of a log in flight commits its pending group.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::commits::Commits;
use super::group::Group;
use super::local_log::LocalLog;
use super::round::{self, Round};
use super::sharing::{Sharing, is_small};
use super::tail::Tail;
use crate::error::Result;
use crate::sync::{AtomicBool, MutexGuard};

impl LocalLog {
    /// Waits until nothing is pending or in flight, or what is pending cannot be written.
    pub(super) fn drain(&self) -> Result<()> {
        let mut tail = self.tail.lock();
        loop {
            if tail.is_committing {
                tail = self.wait_for_in_flight(tail);
            } else if tail.pending.is_empty() {
                return Ok(());
            } else {
                tail = self.lead(tail);
                if let Some(error) = &tail.stalled {
                    return Err(error.clone());
                }
            }
        }
    }

    /// Commits the pending group. The lock is released meanwhile, so the next group forms.
    pub(super) fn lead<'a>(&'a self, mut tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        let (in_flight, mut group) = self.begin_turn(&mut tail);
        drop(tail);
        if self.is_one_of_many(&group) {
            Round::of(self, in_flight, group).commit();
        } else {
            let result = self.commit(&mut group);
            let is_committed = result.is_ok();
            let next = in_flight.answer(result, group);
            self.context.flushers.commit(next);
            if is_committed {
                self.changes.notify();
            }
        }
        self.tail.lock()
    }

    /// Whether so many logs are being committed now that their frames should share one sync of the journal.
    fn is_one_of_many(&self, group: &Group) -> bool {
        !self.files.identity.is_commit_journal()
            && self.context.commits_in_flight.load(Ordering::Relaxed)
                >= self.context.resources.options.round_logs
            && is_small(1, group.bytes())
    }
}

impl Commits for LocalLog {
    fn is_queued(&self) -> &AtomicBool {
        &self.is_queued
    }

    fn is_commit_journal(&self) -> bool {
        self.files.identity.is_commit_journal()
    }

    fn lacks_place(&self) -> bool {
        LocalLog::lacks_place(self)
    }

    fn pending_bytes(&self) -> usize {
        self.tail.lock().pending.bytes()
    }

    fn commit_pending(&self) {
        let tail = self.tail.lock();
        if !tail.is_committing && !tail.pending.is_empty() {
            drop(self.lead(tail));
        }
    }

    fn commit_together(logs: &[Arc<Self>], sharing: Sharing) {
        round::commit_pending(logs, sharing);
    }

    fn write_deferred(&self) -> Result<()> {
        LocalLog::write_deferred(self)
    }

    fn sync(&self) -> Result<()> {
        LocalLog::sync(self)
    }
}
