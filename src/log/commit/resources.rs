//! What the logs of a store share for writing and reading.

use std::sync::Arc;

use super::durability::Durability;
use super::spare_buffers::SpareBuffers;
use crate::disk::{Disk, Health};
use crate::error::Error;
use crate::log::segments::ledger::SegmentLedger;
use crate::log::segments::open_segments::OpenSegments;
use crate::log::segments::pool::SegmentPool;
use crate::log::segments::segment_keys::SegmentKeys;

/// The disk, the open files, the pool and the spare buffers.
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
    /// Frees files of the pool or unused descriptors so that a call which failed for want of room can be tried again.
    /// False if nothing that helps can be freed.
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
    /// Appends wait while a group has this many bytes pending.
    pub(crate) max_group_bytes: usize,
    /// At least this many logs are committed together through the commit journal.
    pub(crate) round_logs: usize,
    /// At most this many are: each has its segment open meanwhile.
    pub(crate) max_round_logs: usize,
    /// Whether sealed segments are read through a mapping. Otherwise every segment is read through the page cache.
    pub(crate) map_sealed_segments: bool,
}
