//! What a backend says of its logs in numbers.

use crate::error::Error;
use crate::model::{Histogram, LogName};
use crate::seam::PutStats;

/// The numbers of the logs of one stream, or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogStatistics {
    /// Of shards.
    pub(crate) puts: PutStats,
    /// How long each sync of a log's file took, in microseconds. Of all logs together: those of one stream are not told
    /// apart.
    pub(crate) sync_micros: Histogram,
    pub(crate) storage: StorageStats,
    /// The logs in which damage was found since the store was opened.
    pub(crate) damaged: Vec<(LogName, Error)>,
}

/// What the records take of the disk, or of the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageStats {
    /// How many segments there are: the files of shards, of queues, and of all streams together also of the commit journal.
    /// In memory there are none.
    pub segments: u64,
    /// The bytes of these files, with what is reserved and not written yet. In memory, those of the records: of each its
    /// data, its partition key and 16 bytes. On a cluster, those of the messages on each server that has them, as they were
    /// within the last minute.
    pub segment_bytes: u64,
    /// How many files wait in the pool to become segments. Of one stream none: the pool is of all.
    pub pool_files: u64,
    /// Their bytes.
    pub pool_bytes: u64,
}
