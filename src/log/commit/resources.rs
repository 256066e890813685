//! What the logs of a store share to write and to read.

use std::sync::Arc;

use super::durability::Durability;
use super::spare_buffers::SpareBuffers;
use crate::disk::{Disk, Health};
use crate::error::Error;
use crate::log::segments::ledger::SegmentLedger;
use crate::log::segments::open_segments::OpenSegments;
use crate::log::segments::pool::SegmentPool;
use crate::log::segments::segment_keys::SegmentKeys;

/// The disk, its files, and what is kept of them.
pub(crate) struct LogResources {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) health: Health,
    pub(crate) open_segments: OpenSegments,
    pub(crate) pool: SegmentPool,
    pub(crate) ledger: Arc<dyn SegmentLedger>,
    pub(crate) keys: Arc<dyn SegmentKeys>,
    pub(crate) spare_buffers: SpareBuffers,
    pub(crate) options: LogOptions,
    /// Called when the keeper has something to prepare.
    pub(crate) on_want: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for LogResources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogResources")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl LogResources {
    /// Gives up what is kept for later, so that something else does not fail for want of room. False if nothing is left
    /// to give that would help.
    pub(crate) fn make_room_for(&self, failed: &Error) -> bool {
        match failed {
            Error::StorageFull { .. } => self.pool.make_room(),
            Error::TooManyOpenFiles { .. } => self.open_segments.close_unused(),
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions {
    pub(crate) durability: Durability,
    /// The largest segment; a log's first ones are smaller.
    pub(crate) segment_bytes: u64,
    /// Appends wait while this much is pending.
    pub(crate) max_group_bytes: usize,
    /// So many logs are committed together through the commit journal.
    pub(crate) round_logs: usize,
    /// No more than so many are: each has its segment open meanwhile.
    pub(crate) max_round_logs: usize,
    /// Whether sealed segments are read through a mapping, or all through the page cache.
    pub(crate) map_sealed_segments: bool,
}
