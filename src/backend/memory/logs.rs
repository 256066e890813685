//! All logs, and the verbs that concern several of them.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::fetcher::Fetcher;
use super::log::MemoryLog;
use super::log_state::LogState;
use super::place::{Memory, Occupied, Room};
use crate::backend::{Batch, LogStatistics, Logs, RemovalPlan, SealPlan, ShardLog, Snapshot, StorageStats};
use crate::backup::Destination;
use crate::catalog::{Catalog, Edit};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{LogName, Moment, RecordNumber, ShardId, Space, StreamId, Timestamp};
use crate::seam::{Appended, LogPiece, PutCounters, ShardCounters, Waiting};
use crate::sync::Mutex;

#[derive(Debug)]
pub(super) struct MemoryLogs {
    catalog: Arc<Catalog>,
    room: Room,
    fetcher: Option<Arc<Fetcher>>,
    memory: Memory,
    /// Counts the puts to the shards of all streams.
    puts: Arc<PutCounters>,
    /// The same for each stream that was put to since the store was opened.
    counters: Mutex<BTreeMap<StreamId, ShardCounters>>,
    /// `None` once the store is closed.
    opened: Mutex<Option<OpenLogs>>,
}

#[derive(Debug)]
struct OpenLogs {
    /// The logs that were used since the store was opened. The `Memory` has the others.
    logs: BTreeMap<LogName, Arc<MemoryLog>>,
    /// Dropped after the `Memory` has all of them.
    _occupied: Occupied,
}

impl MemoryLogs {
    pub(super) fn new(
        catalog: Arc<Catalog>,
        max_bytes: usize,
        fetcher: Option<Fetcher>,
        occupied: Occupied,
    ) -> Self {
        Self {
            catalog,
            room: Room::of(occupied.memory(), max_bytes),
            fetcher: fetcher.map(Arc::new),
            memory: occupied.memory().clone(),
            puts: Arc::default(),
            counters: Mutex::default(),
            opened: Mutex::new(Some(OpenLogs {
                logs: BTreeMap::new(),
                _occupied: occupied,
            })),
        }
    }

    fn log(&self, name: LogName) -> Result<Arc<MemoryLog>> {
        let mut opened = self.opened.lock();
        let OpenLogs { logs, .. } = opened.as_mut().ok_or(Error::Closed)?;
        if let Some(log) = logs.get(&name) {
            return Ok(log.clone());
        }
        // Checked with the map locked, so that a removed log does not come back.
        self.check_exists(name)?;
        let kept = self.memory.with(|place| place.logs.remove(&name));
        let state = kept.unwrap_or_else(|| LogState::of(name));
        let log = MemoryLog::new(
            name,
            state,
            self.catalog.clone(),
            self.room.clone(),
            self.fetcher.clone(),
            self.counters_of(name),
        );
        logs.insert(name, log.clone());
        Ok(log)
    }

    fn counters_of(&self, log: LogName) -> Option<ShardCounters> {
        let LogName::Shard(stream, _) = log else {
            return None;
        };
        let make = || ShardCounters::new(Arc::default(), self.puts.clone());
        Some(self.counters.lock().entry(stream).or_insert_with(make).clone())
    }

    fn check_exists(&self, name: LogName) -> Result<()> {
        let state = self.catalog.read();
        let stream = name.stream().and_then(|id| state.stream(id));
        let stream = stream.ok_or_else(|| Error::StreamNotFound {
            name: name
                .stream()
                .map_or_else(String::new, |id| format!("number {id}")),
        })?;
        stream.find_log(name).map(drop)
    }

    /// Those logs of a stream that have contents and for which `is_wanted` is true.
    fn logs_of(&self, stream: StreamId, is_wanted: impl Fn(LogName) -> bool) -> Vec<Arc<MemoryLog>> {
        let state = self.catalog.read();
        let logs = state
            .stream(stream)
            .into_iter()
            .flat_map(|state| state.logs_of(stream));
        let names = logs.map(|(name, _)| name).filter(|name| is_wanted(*name));
        let names: Vec<_> = names.collect();
        drop(state);
        names.into_iter().filter_map(|name| self.log(name).ok()).collect()
    }

    /// For each log, the time and the number from which on it keeps its records.
    fn horizons(&self, time: Moment) -> Vec<(Arc<MemoryLog>, Timestamp, Option<RecordNumber>)> {
        let state = self.catalog.read();
        let horizons = state.streams().flat_map(|(id, stream)| {
            let horizon = stream.horizon(time);
            let logs = stream.logs_of(id);
            logs.map(move |(name, log)| {
                // Entries of a queue's log are needed until they are hidden by number.
                let horizon = name.shard().map_or(Timestamp::EPOCH, |_| horizon);
                (name, horizon, log.hidden_before)
            })
        });
        let horizons: Vec<_> = horizons.collect();
        drop(state);
        // A log that was removed meanwhile keeps nothing.
        let log = |(name, horizon, hidden)| Some((self.log(name).ok()?, horizon, hidden));
        horizons.into_iter().filter_map(log).collect()
    }
}

impl Logs for MemoryLogs {
    fn open(&self, log: LogName) -> Result<Arc<dyn ShardLog>> {
        Ok(self.log(log)?)
    }

    fn append(
        &self,
        batches: &[Batch<'_>],
        now: Timestamp,
        waiting: Waiting,
    ) -> Option<Vec<Result<Appended>>> {
        if waiting == Waiting::Refused && !batches.iter().all(|batch| is_noted(batch.log)) {
            return None;
        }
        // A log that is known to be written to stays so.
        let append = |batch: &Batch<'_>| batch.log.append(batch.records, now, waiting);
        Some(batches.iter().map(append).collect())
    }

    fn pieces(&self, log: LogName, from: RecordNumber) -> Result<Vec<LogPiece>> {
        Ok(self.log(log)?.pieces(from))
    }

    /// Records live as long as the memory.
    fn sync(&self, _log: LogName) -> Result<()> {
        Ok(())
    }

    /// The seal and its edit are one step: an append and a read see both or neither.
    fn seal(
        &self,
        stream: StreamId,
        shards: &[ShardId],
        plan: &mut SealPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        let mut shards = shards.to_vec();
        // Sorted, so that two threads that seal the same logs lock them in the same order.
        shards.sort_unstable();
        let logs = shards
            .iter()
            .map(|shard| self.log(LogName::Shard(stream, *shard)));
        let logs: Vec<_> = logs.collect::<Result<_>>()?;
        let mut locked: Vec<_> = logs.iter().map(|log| log.lock()).collect();
        let ends = shards.iter().zip(&locked).map(|(shard, log)| (*shard, log.end()));
        let ends: Vec<_> = ends.collect();
        self.catalog.commit(|state| plan(state, &ends))?;
        locked.iter_mut().for_each(|log| log.seal());
        drop(locked);
        Ok(logs.into_iter().map(|log| log as Arc<dyn ShardLog>).collect())
    }

    fn remove(
        &self,
        stream: StreamId,
        log: Option<LogName>,
        plan: &mut RemovalPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        let is_of = |of: LogName| log.is_none_or(|log| log == of);
        let removed = self.logs_of(stream, is_of);
        let mut locked: Vec<_> = removed.iter().map(|log| log.lock()).collect();
        let mut has_edits = false;
        self.catalog.commit(|state| {
            let edits = plan(state)?;
            has_edits = !edits.is_empty();
            Ok(edits)
        })?;
        if !has_edits {
            return Ok(Vec::new());
        }
        for (log, whole) in locked.iter_mut().zip(&removed) {
            log.seal();
            whole.clear(log);
        }
        drop(locked);
        let mut opened = self.opened.lock();
        let OpenLogs { logs, .. } = opened.as_mut().ok_or(Error::Closed)?;
        // Includes one that was opened meanwhile. After the edit none can be opened.
        let is_removed = |name: &LogName| name.stream() == Some(stream) && is_of(*name);
        let names: Vec<_> = logs.keys().filter(|name| is_removed(name)).copied().collect();
        if log.is_none() {
            self.counters.lock().remove(&stream);
        }
        let removed = names.iter().filter_map(|name| logs.remove(name));
        Ok(removed.map(|log| log as Arc<dyn ShardLog>).collect())
    }

    fn maintain(&self, _: Duration, time: Moment) -> Result<()> {
        for (log, horizon, hidden_before) in self.horizons(time) {
            log.trim(horizon, hidden_before);
        }
        Ok(())
    }

    fn begin_copy(&self, _: &Path) -> Result<Destination> {
        Err(InvalidArgument::SnapshotInMemory.into())
    }

    fn write_out(&self) -> Result<()> {
        Ok(())
    }

    fn snapshot(&self, _: Timestamp) -> Result<Box<dyn Snapshot>> {
        Err(InvalidArgument::SnapshotInMemory.into())
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn statistics(&self, of: Option<StreamId>) -> LogStatistics {
        let (puts, bytes) = match of {
            None => (self.puts.stats(), self.room.used()),
            Some(stream) => {
                let counters = self.counters.lock().get(&stream).cloned();
                let puts = counters.map(|counters| counters.of_stream());
                let logs = self.logs_of(stream, |_| true);
                (
                    puts.unwrap_or_default(),
                    logs.iter().map(|log| log.lock().bytes).sum(),
                )
            }
        };
        LogStatistics {
            puts,
            storage: StorageStats {
                segment_bytes: bytes as u64,
                ..StorageStats::default()
            },
            ..LogStatistics::default()
        }
    }

    fn stored_bytes(&self, log: LogName) -> u64 {
        self.log(log).map_or(0, |log| log.lock().bytes as u64)
    }

    fn oldest_sync(&self) -> Option<Duration> {
        None
    }

    fn space(&self) -> Option<Space> {
        Some(self.room.space())
    }

    fn close(&self, last: &mut dyn FnMut() -> Vec<Edit>) -> Result<()> {
        let edits = last();
        let result = self.catalog.commit(|_| Ok(edits));
        self.catalog.close();
        let opened = self.opened.lock().take();
        if let Some(OpenLogs { logs, _occupied }) = opened {
            for (name, log) in logs {
                let left = log.close();
                self.memory.with(|place| place.logs.insert(name, left));
            }
        }
        if let Some(fetcher) = &self.fetcher {
            fetcher.stop();
        }
        result
    }
}

fn is_noted(log: &dyn ShardLog) -> bool {
    let log: &dyn Any = log;
    log.downcast_ref().is_none_or(MemoryLog::is_noted)
}
