//! The numbers and the health of a store and its streams.
//!
//! The public functions may wait for the disk. `..._at_once` is the same for callers that watch a store whose disk may
//! hang: it finishes no due changes, and its caller passes the room on the disk.

use std::time::Duration;

use super::store::Store;
use super::stream::Stream;
use crate::backend::{ClusterStats, LogStatistics, ReplicaStats, StorageStats};
use crate::error::{Error, Result};
use crate::model::{Histogram, Lineage, LogName, ShardId, Space, StreamId};
use crate::seam::{PutStats, ReadStats};

/// The numbers of a store. Counting begins at 0 when the store is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreStats {
    /// The puts to all streams, including deleted ones.
    pub puts: PutStats,
    /// The reads from them, by all readers.
    pub reads: ReadStats,
    /// How long each sync of records took, in microseconds: those that puts wait for, and those in the background.
    /// There are none in memory.
    pub sync_micros: Histogram,
    /// The space that all records take.
    pub storage: StorageStats,
    /// How many streams there are, in all namespaces.
    pub streams: u64,
    /// How many open shards they have.
    pub open_shards: u64,
    /// The shards in which damage was found since the store was opened. They take no records. `anabranch verify` also
    /// checks all others.
    pub damaged_shards: Vec<DamagedShard>,
    /// Counts of the calls to the cluster that keeps the store; `None` for a store in a directory or in memory.
    pub cluster: Option<ClusterStats>,
    /// The servers of the cluster, for the stream, or the catalog, with the fewest current servers.
    pub replicas: Option<ReplicaStats>,
    /// Whether it takes records, and how much room it has.
    pub health: StoreHealth,
}

/// The numbers of a stream. Counting begins at 0 when the store is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamStats {
    /// The puts to it.
    pub puts: PutStats,
    /// The reads from it, by all readers.
    pub reads: ReadStats,
    /// The space that its records take, including what its queues note about them.
    pub storage: StorageStats,
    /// How many of its shards are open.
    pub open_shards: u64,
    /// How many shards it has, closed ones included until they expire.
    pub shards: u64,
    /// The shards in which damage was found since the store was opened.
    pub damaged_shards: Vec<DamagedShard>,
    /// The servers that have it, for a store on a cluster. `None` until they are first looked up, within a minute.
    pub replicas: Option<ReplicaStats>,
}

/// A shard with damage, and the first damage that was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DamagedShard {
    /// The stream.
    pub stream: StreamId,
    /// The shard.
    pub shard: ShardId,
    /// The damage and its place.
    pub damage: Error,
}

/// Whether a store takes records, and how much room it has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreHealth {
    /// The failure that ended all writing, as an [`Error::Poisoned`]. Until the store is opened again, puts fail with
    /// it. On a cluster it is [`Error::Fenced`] if another opener has the store, or the failure that leaves it unknown
    /// whether an edit was written. `None` without a failure.
    pub failure: Option<Error>,
    /// The room where the store is, if that is known. Room that the store would free for records counts as available.
    pub space: Option<Space>,
    /// How long the oldest sync under way has taken so far, by the store's monotonic clock; `None` if there is none. If
    /// it is many seconds, the device hangs, and puts that wait for a sync wait with it.
    pub oldest_sync: Option<Duration>,
    /// How long the cluster that keeps the store has not answered. `None` while it answers, and without a cluster.
    pub unanswered_for: Option<Duration>,
    /// Whether the store was opened only to be read.
    pub is_read_only: bool,
}

impl StoreHealth {
    /// Whether little room is left ([`Space::is_nearly_used_up`]). Always false for a store that is only read.
    pub fn is_nearly_full(&self) -> bool {
        !self.is_read_only && self.space.is_some_and(|space| space.is_nearly_used_up())
    }
}

impl Store {
    /// The numbers of the store. Uses what is known of each shard, and reads no records.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// let stream = store.create_stream("clicks", 4)?;
    /// stream.put("user-42", b"{}")?;
    /// let stats = store.stats()?;
    /// assert_eq!((stats.puts.records, stats.puts.bytes, stats.open_shards), (1, 9, 4));
    /// println!("99 % of the commits took up to {:?} µs", stats.puts.commit_micros.quantile(0.99));
    /// println!("99 % of the syncs took up to {:?} µs", stats.sync_micros.quantile(0.99));
    /// assert!(stats.health.failure.is_none() && stats.damaged_shards.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn stats(&self) -> Result<StoreStats> {
        self.core().begin(None)?;
        self.stats_at_once(self.space())
    }

    pub(crate) fn stats_at_once(&self, space: Option<Space>) -> Result<StoreStats> {
        let core = self.core();
        core.check_open()?;
        let LogStatistics {
            puts,
            sync_micros,
            storage,
            damaged,
            cluster,
            replicas,
        } = core.logs.statistics(None);
        let (streams, open_shards) = {
            let state = core.catalog.read();
            let lineages = state.streams().filter_map(|(_, stream)| stream.lineage.as_ref());
            (state.streams().len(), lineages.map(open_shards_of).sum())
        };
        Ok(StoreStats {
            puts,
            reads: core.reads.stats(),
            sync_micros,
            storage,
            streams: streams as u64,
            open_shards,
            damaged_shards: damaged_shards(damaged),
            cluster,
            replicas,
            health: self.health_at_once(space)?,
        })
    }

    /// Whether the store takes records, and how much room it has. May wait for the disk, which is asked for the room.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// let health = store.health()?;
    /// assert!(health.failure.is_none() && !health.is_nearly_full());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn health(&self) -> Result<StoreHealth> {
        self.core().check_open()?;
        self.health_at_once(self.space())
    }

    pub(crate) fn health_at_once(&self, space: Option<Space>) -> Result<StoreHealth> {
        let core = self.core();
        core.check_open()?;
        Ok(StoreHealth {
            failure: core.logs.check().err(),
            space,
            oldest_sync: core.logs.oldest_sync(),
            unanswered_for: core.logs.unanswered_for(),
            is_read_only: core.is_read_only,
        })
    }

    pub(crate) fn space(&self) -> Option<Space> {
        self.core().logs.space()
    }
}

impl Stream {
    /// The numbers of the stream. Uses what is known of each shard, and reads no records. The age of its records is
    /// [`oldest_arrival`](Self::oldest_arrival).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.put("user-42", b"{}")?;
    /// for record in stream.reader(anabranch::StartingPosition::TrimHorizon)? {
    ///     println!("{:?}", record?.data);
    /// }
    /// let stats = stream.stats()?;
    /// assert_eq!((stats.puts.records, stats.reads.records), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamNotFound`] once it is deleted, [`Error::Closed`].
    pub fn stats(&self) -> Result<StreamStats> {
        self.store_core().begin(Some(self.id()))?;
        self.stats_at_once()
    }

    pub(crate) fn stats_at_once(&self) -> Result<StreamStats> {
        let (open_shards, shards) = self.store_core().read_stream(&self.core, |stream, _| {
            let lineage = stream.lineage.as_ref();
            Ok((lineage.map_or(0, open_shards_of), stream.logs.len() as u64))
        })?;
        let LogStatistics {
            puts,
            storage,
            damaged,
            replicas,
            ..
        } = self.store_core().logs.statistics(Some(self.id()));
        Ok(StreamStats {
            puts,
            reads: self.core.reads.stats(),
            storage,
            open_shards,
            shards,
            damaged_shards: damaged_shards(damaged),
            replicas,
        })
    }
}

fn open_shards_of(lineage: &Lineage) -> u64 {
    lineage.open_shard_count().into()
}

/// Damage of a queue's log is reported by the queue's own calls.
fn damaged_shards(damaged: Vec<(LogName, Error)>) -> Vec<DamagedShard> {
    let shards = damaged.into_iter().filter_map(|(log, damage)| match log {
        LogName::Shard(stream, shard) => Some(DamagedShard {
            stream,
            shard,
            damage,
        }),
        _ => None,
    });
    shards.collect()
}
