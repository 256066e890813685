//! The options of the logs of a directory.

use std::path::Path;
use std::sync::Arc;

use crate::catalog::manifest::COMPACTION_BYTES;
use crate::disk::{Disk, OsDisk, new_identity, open_file_limit};
use crate::encryption::KeyRing;
use crate::error::{Error, InvalidArgument, Result};
use crate::log::{Durability, LogOptions};
use crate::model::limits;

/// Memory for records that are not written yet, where puts do not wait for the write.
const BUFFERED_GROUP_BYTES: usize = 256 * 1024;

/// The part of [`StoreOptions`](crate::StoreOptions) about the logs. Its methods describe each option.
#[derive(Clone, Debug)]
pub(crate) struct LocalOptions {
    pub(crate) durability: Durability,
    pub(crate) segment_bytes: u64,
    pub(crate) max_group_bytes: usize,
    pub(crate) max_open_segments: Option<usize>,
    pub(crate) max_mapped_bytes: u64,
    pub(crate) max_recycled_bytes: u64,
    pub(crate) flusher_threads: usize,
    pub(crate) min_journaled_shards: usize,
    pub(crate) map_sealed_segments: bool,
    pub(crate) compaction_bytes: u64,
    /// Whether nothing on the disk is changed.
    pub(crate) read_only: bool,
    /// Whether another program may be writing to the directory.
    pub(crate) is_following: bool,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) keys: Option<KeyRing>,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Synced,
            segment_bytes: 64 * 1024 * 1024,
            max_group_bytes: 4 * 1024 * 1024,
            max_open_segments: None,
            max_mapped_bytes: 256 * 1024 * 1024,
            max_recycled_bytes: 256 * 1024 * 1024,
            flusher_threads: 4,
            min_journaled_shards: 4,
            map_sealed_segments: true,
            compaction_bytes: COMPACTION_BYTES,
            read_only: false,
            is_following: false,
            disk: Arc::new(OsDisk),
            keys: None,
        }
    }
}

impl LocalOptions {
    pub(super) fn check(&self) -> Result<()> {
        const SMALLEST: u64 = 64 * 1024;
        const LARGEST: u64 = 1024 * 1024 * 1024;
        if !(SMALLEST..=LARGEST).contains(&self.segment_bytes) {
            return Err(Error::InvalidArgument(InvalidArgument::SegmentBytes {
                actual: self.segment_bytes,
                least: SMALLEST,
                most: LARGEST,
            }));
        }
        if self.max_group_bytes > limits::MAX_BATCH_BYTES {
            return Err(Error::InvalidArgument(InvalidArgument::WaitingBytes {
                actual: self.max_group_bytes,
                most: limits::MAX_BATCH_BYTES,
            }));
        }
        Ok(())
    }

    /// Whether this program changes nothing.
    pub(crate) fn is_read_only(&self) -> bool {
        self.read_only || self.is_following
    }

    /// A random number and a secret for a new store.
    pub(crate) fn new_identity(&self) -> Result<(u128, [u8; 32])> {
        let drawn = new_identity(self.disk.as_ref());
        drawn.map_err(|error| Error::io("draw an identity for", Path::new("a store"), error))
    }

    pub(super) fn open_segments_limit(&self) -> usize {
        const LEAST: u64 = 8;
        const MOST: u64 = 4096;
        self.max_open_segments
            .unwrap_or_else(|| (open_file_limit() / 2).clamp(LEAST, MOST) as usize)
    }

    pub(super) fn for_logs(&self) -> LogOptions {
        LogOptions {
            durability: self.durability,
            segment_bytes: self.segment_bytes.next_multiple_of(4096),
            max_group_bytes: match self.durability {
                Durability::Buffered => self.max_group_bytes.min(BUFFERED_GROUP_BYTES),
                Durability::Synced | Durability::Written => self.max_group_bytes,
            },
            map_sealed_segments: self.map_sealed_segments,
            round_logs: match self.durability {
                Durability::Synced => self.min_journaled_shards,
                Durability::Written | Durability::Buffered => usize::MAX,
            },
            // Each log of a round has its segment's file open.
            max_round_logs: (self.open_segments_limit() / 2).max(1),
        }
    }
}
