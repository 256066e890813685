//! A log as tickets and flushers know it.

use std::sync::Arc;

use super::outcome::Outcome;
use super::sharing::Sharing;
use crate::error::Result;
use crate::sync::AtomicBool;

/// Something that can commit.
pub(crate) trait Commits: Send + Sync + Sized + 'static {
    /// Blocks until a group has its outcome, and leads whenever no other thread does.
    fn wait_for(&self, outcome: &Outcome) -> Result<()>;

    /// Whether something is pending and no thread commits it. While a commit is in flight its end takes care of that.
    fn needs_a_leader(&self) -> bool;

    /// Has flushers commit these logs, which are all of one store.
    fn have_committed(logs: Vec<Arc<Self>>);

    /// Whether a flusher has been asked to commit. Changed with the flushers' queue locked.
    fn is_queued(&self) -> &AtomicBool;

    /// Whether rounds wait for this log.
    fn is_commit_journal(&self) -> bool;

    /// Whether a commit will have to tell the ledger where it writes to.
    fn lacks_place(&self) -> bool;

    fn pending_bytes(&self) -> usize;

    /// Commits what is pending, if no other thread does.
    fn commit_pending(&self);

    /// Commits what is pending in these logs and in nobody's hands, in one round.
    fn commit_together(logs: &[Arc<Self>], sharing: Sharing);

    /// Writes what is deferred. A failure is latched in the store's health.
    fn write_deferred(&self) -> Result<()>;

    /// Makes durable all that was written so far. More can be written meanwhile.
    fn sync(&self) -> Result<()>;
}
