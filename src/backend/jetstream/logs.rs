//! What the logs of a store can do.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::log::ClusterLog;
use super::opened_logs::ClusterLogs;
use crate::backend::{
    Batch, ClusterStats, LogStatistics, Logs, RemovalPlan, SealPlan, ShardLog, Snapshot, StorageStats,
};
use crate::backup::Destination;
use crate::catalog::{Edit, LogEnd};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{LogName, Moment, RecordNumber, ShardId, Space, StreamId, Timestamp};
use crate::seam::{Appended, LogPiece, Waiting};

/// How many logs that were not used yet one round of house-keeping looks at.
const MOST_LOOKED_AT: usize = 64;

impl ClusterLogs {
    /// From when on, and from which number on, each log keeps its records, of those that had some and need not keep
    /// all.
    fn horizons(&self, time: Moment) -> Vec<(LogName, Timestamp, Option<RecordNumber>)> {
        let state = self.catalog.read();
        let horizons = state.streams().flat_map(|(id, stream)| {
            let horizon = stream.horizon(time);
            let logs = stream.logs_of(id);
            let had_some = logs.filter(|(_, log)| log.end != Some(LogEnd::EMPTY));
            had_some.map(move |(name, log)| {
                // What is in a queue's log is needed until it is hidden.
                let horizon = name.shard().map_or(Timestamp::EPOCH, |_| horizon);
                (name, horizon, log.hidden_before)
            })
        });
        let is_bounded = |(_, horizon, hidden): &(LogName, Timestamp, Option<RecordNumber>)| {
            *horizon > Timestamp::EPOCH || hidden.is_some()
        };
        horizons.filter(is_bounded).collect()
    }

    fn trim(&self, monotonic: Duration, time: Moment) -> Result<()> {
        let mut results = Vec::new();
        let mut looked_at = 0;
        for (name, horizon, hidden) in self.horizons(time) {
            let is_open = self.opened_log(name)?.is_some();
            looked_at += usize::from(!is_open);
            if !is_open && looked_at > MOST_LOOKED_AT {
                continue;
            }
            let log = match self.log(name) {
                Ok(log) => log,
                // It was removed meanwhile.
                Err(
                    Error::ShardNotFound { .. } | Error::QueueNotFound { .. } | Error::StreamNotFound { .. },
                ) => {
                    continue;
                }
                Err(error) => {
                    results.push(Err(error));
                    continue;
                }
            };
            if log.needs_trim(horizon, hidden, monotonic) {
                let trim = async move { log.trim(horizon, hidden).await };
                results.push(self.shared.cluster.run(trim)?);
            }
        }
        results.into_iter().collect()
    }

    fn cluster_stats(&self) -> ClusterStats {
        let counts = &self.shared.cluster.counts;
        ClusterStats {
            append_micros: counts.append_micros(),
            refused_appends: counts.refused_appends(),
            unknown_appends: counts.unknown_appends(),
            leader_changes: self.streams.leader_changes(),
            unanswered_for: counts.unanswered_for(),
        }
    }

    fn check_owner(&self) -> Result<()> {
        let shared = self.shared.clone();
        self.shared
            .cluster
            .run(async move { shared.check_owner().await })?
    }
}

impl Logs for ClusterLogs {
    fn open(&self, log: LogName) -> Result<Arc<dyn ShardLog>> {
        Ok(self.log(log)?)
    }

    fn append(
        &self,
        batches: &[Batch<'_>],
        now: Timestamp,
        waiting: Waiting,
    ) -> Option<Vec<Result<Appended>>> {
        if waiting == Waiting::Refused {
            return append_at_once(batches, now);
        }
        let append = |batch: &Batch<'_>| batch.log.append(batch.records, now, waiting);
        Some(batches.iter().map(append).collect())
    }

    fn pieces(&self, log: LogName, from: RecordNumber) -> Result<Vec<LogPiece>> {
        let log = self.log(log)?;
        self.shared.cluster.run(async move { log.pieces(from).await })?
    }

    /// A group is not acknowledged before, whatever an append waits for.
    fn sync(&self, log: LogName) -> Result<()> {
        self.log(log)?.wait_until_idle();
        self.shared.check()
    }

    /// Each log is sealed on the cluster, where an append is refused from then on that does not know of it, and then
    /// the edit is written. If that fails the logs go on behind the seals, which mean nothing to readers. If it is not
    /// known, nothing is written any more.
    fn seal(
        &self,
        stream: StreamId,
        shards: &[ShardId],
        plan: &mut SealPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        let logs = shards
            .iter()
            .map(|shard| self.log(LogName::Shard(stream, *shard)));
        let logs: Vec<_> = logs.collect::<Result<_>>()?;
        let ends = shards.iter().zip(&logs).map(|(shard, log)| {
            let place = log.seal()?;
            let end = LogEnd {
                next_record: place.next_record,
                last_arrival: place.last_arrival,
                ..LogEnd::EMPTY
            };
            Ok((*shard, end))
        });
        let ends: Result<Vec<_>> = ends.collect();
        let committed = ends.and_then(|ends| self.catalog.commit(|state| plan(state, &ends)));
        if let Err(error) = committed {
            logs.iter().for_each(|log| self.end_seal(log));
            return Err(error);
        }
        Ok(logs.into_iter().map(|log| log as Arc<dyn ShardLog>).collect())
    }

    fn remove(
        &self,
        stream: StreamId,
        log: Option<LogName>,
        plan: &mut RemovalPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        // A queue's is still written to. A shard is removed alone only when it is closed.
        let queue = log.filter(|log| log.queue().is_some());
        let sealed = queue.map(|queue| self.log(queue)).transpose()?;
        if let Some(queue) = &sealed {
            queue.seal()?;
        }
        let mut has_edits = false;
        let committed = self.catalog.commit(|state| {
            let edits = plan(state)?;
            has_edits = !edits.is_empty();
            Ok(edits)
        });
        if committed.is_err() || !has_edits {
            sealed.iter().for_each(|queue| self.end_seal(queue));
            return committed.map(|()| Vec::new());
        }
        // Also one that was opened meanwhile. From the edit on none can be.
        let removed =
            self.take_out(|name| name.stream() == Some(stream) && log.is_none_or(|log| log == name))?;
        match log {
            Some(log) => self.removal.note_log(log),
            None => {
                self.counters.lock().remove(&stream);
                // One of the name that could not be made is another program's.
                if self.streams.forget(stream) {
                    self.removal.note_stream(stream);
                }
            }
        }
        // What cannot be removed now is tried again.
        let _ = self.removal.go_on();
        Ok(removed.into_iter().map(|log| log as Arc<dyn ShardLog>).collect())
    }

    fn catch_up(&self) -> Result<bool> {
        if !self.shared.is_unsettled() {
            return Ok(false);
        }
        // What cannot be known yet is no failure of the caller's.
        let _ = self.catalog.finish();
        if self.shared.has_doubt() || !self.shared.take_unsettled() {
            return Ok(false);
        }
        self.settle()?;
        Ok(true)
    }

    fn maintain(&self, monotonic: Duration, time: Moment) -> Result<()> {
        self.check_owner()?;
        let results = [
            self.removal.sweep(&self.catalog),
            self.removal.go_on(),
            self.trim(monotonic, time),
            self.streams.look_again(&self.shared, monotonic),
        ];
        results.into_iter().collect()
    }

    fn begin_copy(&self, _: &Path) -> Result<Destination> {
        Err(InvalidArgument::SnapshotOfCluster.into())
    }

    fn write_out(&self) -> Result<()> {
        Ok(())
    }

    fn snapshot(&self, _: Timestamp) -> Result<Box<dyn Snapshot>> {
        Err(InvalidArgument::SnapshotOfCluster.into())
    }

    fn check(&self) -> Result<()> {
        self.shared.check()
    }

    fn statistics(&self, of: Option<StreamId>) -> LogStatistics {
        let puts = match of {
            None => self.puts.stats(),
            Some(stream) => {
                let counters = self.counters.lock().get(&stream).cloned();
                counters.map(|counters| counters.of_stream()).unwrap_or_default()
            }
        };
        LogStatistics {
            puts,
            storage: StorageStats {
                segment_bytes: self.streams.bytes(of),
                ..StorageStats::default()
            },
            cluster: of.is_none().then(|| self.cluster_stats()),
            replicas: self.streams.replicas(of),
            ..LogStatistics::default()
        }
    }

    fn unanswered_for(&self) -> Option<Duration> {
        self.shared.cluster.counts.unanswered_for()
    }

    fn stored_bytes(&self, log: LogName) -> u64 {
        let log = self.opened_log(log).ok().flatten();
        log.map_or(0, |log| log.lock().stored_bytes())
    }

    fn oldest_sync(&self) -> Option<Duration> {
        let logs = self.opened_logs(None);
        logs.iter().filter_map(|log| log.lock().committing_for()).max()
    }

    fn space(&self) -> Option<Space> {
        None
    }

    fn begin_close(&self) {
        self.shared.cluster.begin_close();
    }

    fn close(&self, last: &mut dyn FnMut() -> Vec<Edit>) -> Result<()> {
        self.begin_close();
        let logs = self.opened_logs(None);
        logs.iter().for_each(|log| log.begin_close());
        logs.iter().for_each(|log| log.wait_until_idle());
        let edits = last();
        let result = self.catalog.commit(|_| Ok(edits));
        self.catalog.close();
        let opened = self.opened.lock().take();
        opened
            .iter()
            .flat_map(BTreeMap::values)
            .for_each(|log| log.close());
        self.shared.cluster.close();
        result
    }
}

/// Takes all records in, or none if a log would have to wait.
fn append_at_once(batches: &[Batch<'_>], now: Timestamp) -> Option<Vec<Result<Appended>>> {
    let mut order: Vec<_> = (0..batches.len()).collect();
    // All who lock several logs do so in one order.
    order.sort_unstable_by_key(|place| log_of(&batches[*place]).map(|log| log.name));
    let mut locked = Vec::with_capacity(batches.len());
    for place in order {
        let log = log_of(&batches[place])?;
        let records = batches[place].records;
        // What is refused whatever the log has is told of that log alone.
        let checked = log
            .check_records(records)
            .and_then(|bytes| log.shared.check().map(|()| bytes));
        let state = log.lock();
        let may_take = !state.is_sealed && log.can_take(&state, records);
        if checked.is_ok() && (state.is_in_doubt || !(state.is_sealed || may_take)) {
            return None;
        }
        locked.push((place, log, checked, state));
    }
    let mut answers: Vec<_> = locked
        .into_iter()
        .map(|(place, log, checked, mut state)| {
            let answer = checked.and_then(|bytes| {
                if state.is_closed {
                    return Err(Error::Closed);
                }
                if state.is_sealed {
                    return Ok(Appended::Sealed);
                }
                let ticket = log.take_in(&mut state, batches[place].records, now, bytes);
                Ok(ticket.map_or(Appended::WouldWait, Appended::Taken))
            });
            (place, answer)
        })
        .collect();
    answers.sort_unstable_by_key(|(place, _)| *place);
    Some(answers.into_iter().map(|(_, answer)| answer).collect())
}

fn log_of<'a>(batch: &Batch<'a>) -> Option<&'a ClusterLog> {
    let log: &dyn Any = batch.log;
    log.downcast_ref()
}
