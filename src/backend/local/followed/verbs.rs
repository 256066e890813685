//! The verbs of logs that another program writes to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::follower::Follower;
use super::shard::FollowedShard;
use crate::backend::local::statistics::storage_of;
use crate::backend::{Batch, LogStatistics, Logs, RemovalPlan, SealPlan, ShardLog, Snapshot};
use crate::backup::Destination;
use crate::catalog::Edit;
use crate::disk::Disk;
use crate::error::{Error, InvalidArgument, Result};
use crate::log::pieces_of;
use crate::model::{LogName, Moment, RecordNumber, ShardId, Space, StreamId, Timestamp};
use crate::seam::{Appended, LogPiece, Waiting};
use crate::sync::{AtomicBool, AtomicU64, Mutex};

#[derive(Debug)]
pub(super) struct FollowedLogs {
    follower: Arc<Follower>,
    disk: Arc<dyn Disk>,
    /// The logs that were used.
    shards: Mutex<BTreeMap<LogName, Arc<FollowedShard>>>,
    /// The follower's revision for which the signals were last raised.
    told: AtomicU64,
    /// Whether the last look at the manifest failed.
    is_failing: AtomicBool,
}

impl FollowedLogs {
    pub(super) fn new(follower: Arc<Follower>, disk: Arc<dyn Disk>) -> Self {
        Self {
            told: AtomicU64::new(follower.revision()),
            follower,
            disk,
            shards: Mutex::default(),
            is_failing: AtomicBool::new(false),
        }
    }

    fn shard(&self, name: LogName) -> Result<Arc<FollowedShard>> {
        let Some(stream) = name.stream().filter(|_| name.shard().is_some()) else {
            // Only the program that gives out a queue's records knows what became of them.
            return Err(Error::ReadOnly);
        };
        let mut shards = self.shards.lock();
        if let Some(known) = shards.get(&name) {
            return Ok(known.clone());
        }
        {
            let state = self.follower.catalog.read();
            let stream = state.stream(stream).ok_or_else(|| Error::StreamNotFound {
                name: format!("number {stream}"),
            })?;
            stream.find_log(name)?;
        }
        let shard = Arc::new(FollowedShard::new(name, self.follower.clone()));
        shards.insert(name, shard.clone());
        Ok(shard)
    }

    fn used(&self) -> Vec<Arc<FollowedShard>> {
        self.shards.lock().values().cloned().collect()
    }

    fn tell_all(&self) {
        for shard in self.used() {
            shard.changes().notify();
        }
    }

    /// Drops the logs that no longer exist. Their signals were raised before.
    fn forget_gone(&self) {
        let mut shards = self.shards.lock();
        let state = self.follower.catalog.read();
        shards.retain(|name, _| state.log(*name).is_some());
    }

    fn damaged(&self, of: Option<StreamId>) -> Vec<(LogName, Error)> {
        let shards = self.used().into_iter();
        let shards = shards.filter(|shard| of.is_none() || shard.name.stream() == of);
        shards
            .filter_map(|shard| Some((shard.name, shard.damage()?)))
            .collect()
    }
}

impl Logs for FollowedLogs {
    fn open(&self, name: LogName) -> Result<Arc<dyn ShardLog>> {
        Ok(self.shard(name)?)
    }

    fn append(&self, batches: &[Batch<'_>], _: Timestamp, _: Waiting) -> Option<Vec<Result<Appended>>> {
        Some(batches.iter().map(|_| Err(Error::ReadOnly)).collect())
    }

    fn pieces(&self, log: LogName, from: RecordNumber) -> Result<Vec<LogPiece>> {
        let at_rest = {
            let state = self.follower.catalog.read();
            let known = state.log(log);
            known.and_then(|known| known.end.map(|end| pieces_of(&known.segments, end, from)))
        };
        match at_rest {
            Some(pieces) => Ok(pieces),
            None => self.shard(log)?.pieces(from),
        }
    }

    fn sync(&self, _: LogName) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn seal(&self, _: StreamId, _: &[ShardId], _: &mut SealPlan<'_>) -> Result<Vec<Arc<dyn ShardLog>>> {
        Err(Error::ReadOnly)
    }

    fn remove(
        &self,
        _: StreamId,
        _: Option<LogName>,
        _: &mut RemovalPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        Err(Error::ReadOnly)
    }

    fn catch_up(&self) -> Result<bool> {
        let caught_up = self.follower.catch_up();
        let was_failing = self.is_failing.swap(caught_up.is_err(), Ordering::AcqRel);
        // Includes changes that a reading thread found.
        let revision = self.follower.revision();
        let has_changed = self.told.swap(revision, Ordering::AcqRel) != revision;
        if has_changed || (caught_up.is_err() && !was_failing) {
            self.tell_all();
            self.forget_gone();
        }
        caught_up.map(|_| has_changed)
    }

    /// Looks for new ends of the watched logs.
    fn maintain(&self, _: Duration, _: Moment) -> Result<()> {
        for shard in self.used() {
            if shard.changes().are_watched() {
                // Waiting readers are woken, and get the error when they read.
                let _ = shard.look();
            }
        }
        Ok(())
    }

    fn begin_copy(&self, _: &Path) -> Result<Destination> {
        Err(InvalidArgument::SnapshotOfFollowed.into())
    }

    fn write_out(&self) -> Result<()> {
        Err(Error::ReadOnly)
    }

    fn snapshot(&self, _: Timestamp) -> Result<Box<dyn Snapshot>> {
        Err(InvalidArgument::SnapshotOfFollowed.into())
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn statistics(&self, of: Option<StreamId>) -> LogStatistics {
        let state = self.follower.catalog.read();
        let storage = match of {
            Some(id) => storage_of(
                (state.stream(id).into_iter())
                    .flat_map(|stream| stream.logs_of(id))
                    .map(|(_, log)| log),
            ),
            None => storage_of(state.logs().map(|(_, log)| log).chain([&state.journal])),
        };
        drop(state);
        LogStatistics {
            storage,
            damaged: self.damaged(of),
            ..LogStatistics::default()
        }
    }

    fn stored_bytes(&self, log: LogName) -> u64 {
        let state = self.follower.catalog.read();
        storage_of(state.log(log).into_iter()).segment_bytes
    }

    fn oldest_sync(&self) -> Option<Duration> {
        None
    }

    fn space(&self) -> Option<Space> {
        self.disk.space(&self.follower.directory).ok().flatten()
    }

    fn close(&self, _: &mut dyn FnMut() -> Vec<Edit>) -> Result<()> {
        self.follower.catalog.close();
        self.tell_all();
        Ok(())
    }
}
