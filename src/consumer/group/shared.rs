//! The shared state of a group's members: their leases, and the signal that something has changed.
//!
//! The lock of the leases is taken last: by a commit under the catalog's locks, and elsewhere without other locks. No
//! call to the store is made while it is held.

use super::leases::{Leases, MemberId, Refusal, Term};
use crate::model::ShardId;
use crate::seam::LogChanges;
use crate::store::OpenGroup;
use crate::sync::Mutex;

#[derive(Debug, Default)]
pub(super) struct Shared {
    leases: Mutex<Leases>,
    /// Raised when members may have to look again.
    pub(super) changes: LogChanges,
}

impl Shared {
    /// Reads or changes the leases, and wakes waiting members if the change concerns them.
    pub(super) fn with_leases<T>(&self, run: impl FnOnce(&mut Leases) -> T) -> T {
        let mut leases = self.leases.lock();
        let before = leases.version();
        let result = run(&mut leases);
        let has_changed = leases.version() != before;
        drop(leases);
        if has_changed {
            self.changes.notify();
        }
        result
    }

    /// As [`Leases::begin_commit`]. Wakes no member, since the caller holds locks.
    pub(super) fn begin_commit(
        &self,
        id: MemberId,
        shard: ShardId,
        term: Term,
        now: u64,
    ) -> Result<(), Refusal> {
        self.leases.lock().begin_commit(id, shard, term, now)
    }
}

impl OpenGroup for Shared {
    fn reset(&self) {
        self.leases.lock().reset();
    }

    fn end(&self) {
        self.leases.lock().end();
    }

    fn notify(&self) {
        self.with_leases(Leases::touch);
    }
}
