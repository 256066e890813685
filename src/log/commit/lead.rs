//! Leading: a thread that waits for a group, and finds no commit of its log in flight, commits the pending group.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::commits::Commits;
use super::group::Group;
use super::local_log::LocalLog;
use super::round::{self, AwaitedGroup, Round, commit_all};
use super::sharing::{Sharing, is_small};
use super::tail::Tail;
use crate::error::Result;
use crate::seam::{Awaited, Committer, Outcome};
use crate::sync::{AtomicBool, MutexGuard};

impl Committer for LocalLog {
    fn wait_for(&self, outcome: &Outcome) -> Result<()> {
        let mut tail = self.tail.lock();
        loop {
            if let Some(result) = outcome.get() {
                return result;
            }
            if !tail.is_committing {
                tail = self.lead(tail);
                continue;
            }
            // Counted only while the group is pending: the count tells the leader that a thread will go on.
            let is_pending = std::ptr::eq(outcome, tail.pending.outcome.as_ref());
            if is_pending {
                tail.pending.waiting_threads += 1;
            }
            tail = self.wait_for_parity(outcome.parity, tail);
            if is_pending && std::ptr::eq(outcome, tail.pending.outcome.as_ref()) {
                tail.pending.waiting_threads -= 1;
            }
        }
    }

    fn wait_for_all(&self, awaited: &[&Awaited]) {
        let groups: Vec<_> = awaited
            .iter()
            .filter_map(|awaited| AwaitedGroup::of(awaited))
            .collect();
        let bytes = awaited.iter().map(|awaited| awaited.bytes()).sum();
        let are_many = groups.len() >= self.context.resources.options.round_logs;
        let unplaced = groups.iter().filter(|group| group.log.lacks_place());
        if are_many && is_small(groups.len(), bytes) {
            commit_all(&groups, Sharing::Journal);
        } else if unplaced.count() > 1 {
            commit_all(&groups, Sharing::Ledger);
        } else {
            // The others are committed by flushers while this thread commits the first.
            let others = awaited.iter().skip(1).copied();
            let others: Vec<_> = others.filter(|awaited| awaited.needs_start()).collect();
            self.have_committed(&others);
        }
        // Each ticket keeps its outcome.
        awaited.iter().for_each(|awaited| drop(awaited.wait()));
    }

    fn have_committed(&self, awaited: &[&Awaited]) {
        let logs = awaited.iter().filter_map(|awaited| awaited.by::<Self>());
        let without_leader: Vec<_> = logs
            .filter(|log| log.needs_a_leader())
            .filter_map(Self::shared)
            .collect();
        if !without_leader.is_empty() {
            self.context.flushers.commit(without_leader);
        }
    }
}

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

    /// Whether something is pending that no thread commits. The end of a commit in flight takes care of what is pending
    /// then.
    fn needs_a_leader(&self) -> bool {
        let tail = self.tail.lock();
        !tail.is_committing && !tail.pending.is_empty()
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
