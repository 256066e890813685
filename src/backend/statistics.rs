//! The numbers of a backend about its logs.

use crate::error::Error;
use crate::model::{Histogram, LogName};
use crate::seam::PutStats;

/// The numbers of the logs of one stream, or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogStatistics {
    /// Counts of shards alone.
    pub(crate) puts: PutStats,
    /// How long each sync of a log's file took, in microseconds. For all logs together, also in the numbers of one
    /// stream.
    pub(crate) sync_micros: Histogram,
    pub(crate) storage: StorageStats,
    /// The logs in which damage was found since the store was opened.
    pub(crate) damaged: Vec<(LogName, Error)>,
}

/// The disk or memory that records take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StorageStats {
    /// How many segments there are: the files of shards and of queues, and in the sum over all streams also those of
    /// the commit journal. In memory there are none.
    pub segments: u64,
    /// The bytes of these files, including what is reserved and not written yet. In memory, those of the records: for
    /// each its data, its partition key and 16 bytes. On a cluster, those of the messages on each server that has them,
    /// at most a minute old.
    pub segment_bytes: u64,
    /// How many files wait in the pool to become segments. Zero for one stream, since all streams share the pool.
    pub pool_files: u64,
    /// Their bytes.
    pub pool_bytes: u64,
}
