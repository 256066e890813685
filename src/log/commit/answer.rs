//! Waiting for tickets: a thread that waits for a group commits it if no other thread does.

use super::local_log::LocalLog;
use super::round::{AwaitedGroup, commit_all};
use super::sharing::{Sharing, is_small};
use crate::error::Result;
use crate::seam::{Awaited, Committer, Outcome};

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
            // Counted only while the group is pending: the flag tells the leader that a thread will go on.
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
    /// Whether something is pending that no thread commits. The end of a commit in flight takes care of what is pending
    /// then.
    fn needs_a_leader(&self) -> bool {
        let tail = self.tail.lock();
        !tail.is_committing && !tail.pending.is_empty()
    }
}
