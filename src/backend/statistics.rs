//! The numbers of a backend about its logs.

use std::time::Duration;

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
    /// Of all logs together, for a store on a cluster.
    pub(crate) cluster: Option<ClusterStats>,
    /// The servers that have the logs of the stream. For all streams together, those of the stream with the fewest
    /// current servers.
    pub(crate) replicas: Option<ReplicaStats>,
}

/// Counts of the calls to a cluster since the store was opened.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClusterStats {
    /// How long each successful append took, in microseconds: of a group of records, or of edits. Their count is the
    /// number of appends.
    pub append_micros: Histogram,
    /// Appends that were refused because another one was in progress or had come first. They are tried again unless the
    /// store is fenced or its cluster full.
    pub refused_appends: u64,
    /// Appends that were not answered. Their results were looked up.
    pub unknown_appends: u64,
    /// How many times a stream had another leader than before. Leaders are looked up once a minute.
    pub leader_changes: u64,
    /// How long no request has been answered; `None` while there are answers.
    pub unanswered_for: Option<Duration>,
}

/// The servers of a cluster that have a stream, as of at most a minute ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaStats {
    /// The number of servers that should have it.
    pub wanted: u64,
    /// The number of servers, the leader included, that have everything the leader has, or nearly everything.
    pub current: u64,
    /// The number of operations that the server furthest behind lacks.
    pub lag: u64,
}

impl ReplicaStats {
    /// Of two streams, the servers of the one with fewer current ones.
    #[cfg(feature = "nats")]
    pub(crate) fn worse(self, other: Self) -> Self {
        let missing = |of: &Self| (of.wanted.saturating_sub(of.current), of.lag);
        match missing(&self) >= missing(&other) {
            true => self,
            false => other,
        }
    }
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
