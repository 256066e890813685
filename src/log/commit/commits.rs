//! A log as flushers see it.

use std::sync::Arc;

use super::sharing::Sharing;
use crate::error::Result;
use crate::sync::AtomicBool;

/// Something that can commit.
pub(crate) trait Commits: Send + Sync + Sized + 'static {
    /// Whether a flusher has been asked to commit. Changed with the flushers' queue locked.
    fn is_queued(&self) -> &AtomicBool;

    /// Whether rounds wait for this log.
    fn is_commit_journal(&self) -> bool;

    /// Whether the next commit will have to tell the ledger where it writes to.
    fn lacks_place(&self) -> bool;

    fn pending_bytes(&self) -> usize;

    /// Commits what is pending, if no other thread does.
    fn commit_pending(&self);

    /// Commits what is pending in those of these logs that no other thread commits, in one round.
    fn commit_together(logs: &[Arc<Self>], sharing: Sharing);

    /// Writes what is deferred. A failure is latched in the store's health.
    fn write_deferred(&self) -> Result<()>;

    /// Makes durable everything that was written before the call. Other threads can write meanwhile.
    fn sync(&self) -> Result<()>;
}
