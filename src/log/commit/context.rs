//! What the logs of a store share to commit.

use std::sync::Arc;

use super::commits::Commits;
use super::flushers::Flushers;
use super::journal_doubts::JournalDoubts;
use super::resources::LogResources;
use crate::log::segments::segment::Segment;
use crate::seam::Ticket;
use crate::sync::{AtomicUsize, OnceLock, RwLock};

/// What all logs of a store share.
pub(crate) struct CommitContext<L: Commits> {
    pub(crate) resources: Arc<LogResources>,
    pub(crate) flushers: Flushers<L>,
    /// Takes the frames of rounds over several logs, once the store is open.
    pub(crate) journal: RwLock<Option<Arc<dyn TakesFrames<L>>>>,
    /// The part of an earlier opener's commit journal that could not be read.
    pub(crate) journal_doubts: OnceLock<JournalDoubts>,
    /// Logs whose commit is in flight.
    pub(crate) commits_in_flight: AtomicUsize,
}

/// Makes frames durable before they are in their segments.
pub(crate) trait TakesFrames<L: Commits>: Send + Sync {
    /// Takes the frames of a round. They are durable when the ticket is done. `None` if syncing the segments is the
    /// better way.
    fn append(&self, frames: &[FrameOf<'_, L>]) -> Option<Ticket>;
}

/// A frame, its log and its segment.
#[derive(Debug)]
pub(crate) struct FrameOf<'a, L> {
    pub(super) log: &'a L,
    pub(super) segment: &'a Segment,
    pub(super) bytes: &'a [u8],
}

impl<L: Commits> std::fmt::Debug for CommitContext<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommitContext")
            .field("resources", &self.resources)
            .finish_non_exhaustive()
    }
}

impl<L: Commits> CommitContext<L> {
    pub(super) fn journal(&self) -> Option<Arc<dyn TakesFrames<L>>> {
        self.journal.read().clone()
    }
}
