//! All logs, and what concerns several of them.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::api::StreamInfo;
use super::cache::FrameCache;
use super::checks::not_made;
use super::fetch::KnownEnd;
use super::frame::{LogPlace, sequence_and_place};
use super::log::ClusterLog;
use super::log_state::LogState;
use super::removal::Removal;
use super::shared::Shared;
use super::streams::Streams;
use crate::backend::{
    Batch, ClusterStats, LogStatistics, Logs, RemovalPlan, SealPlan, ShardLog, Snapshot, StorageStats,
};
use crate::backup::Destination;
use crate::catalog::{Catalog, Edit, LogEnd};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{LogName, Moment, RecordNumber, ShardId, Space, StreamId, Timestamp};
use crate::seam::{Appended, LogPiece, PutCounters, ShardCounters, Waiting};
use crate::sync::Mutex;

/// How many logs that were not used yet one round of house-keeping looks at.
const MOST_LOOKED_AT: usize = 64;

/// How long opening a log may take, and making what has it.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// What the catalog says of a log.
struct Facts {
    known_end: KnownEnd,
    /// Whether it is being written to.
    is_noted: bool,
    is_closed: bool,
    hidden_before: RecordNumber,
}

#[derive(Debug)]
pub(super) struct ClusterLogs {
    shared: Arc<Shared>,
    catalog: Arc<Catalog>,
    cache: Arc<FrameCache>,
    streams: Streams,
    removal: Removal,
    /// What the shards of all streams take.
    puts: Arc<PutCounters>,
    /// The same of those streams that were put to since the store was opened.
    counters: Mutex<BTreeMap<StreamId, ShardCounters>>,
    /// Those that were used since the store was opened, until it is closed.
    opened: Mutex<Option<BTreeMap<LogName, Arc<ClusterLog>>>>,
}

impl ClusterLogs {
    /// `streams` are those of the store that are on the cluster.
    pub(super) fn new(shared: Arc<Shared>, catalog: Arc<Catalog>, streams: &[StreamInfo]) -> Self {
        let known = Streams::of(&shared.names, streams);
        let removal = Removal::new(shared.clone(), known.ids());
        // Their deletion was interrupted.
        let state = catalog.read();
        let left = known.ids().into_iter().filter(|id| state.stream(*id).is_none());
        left.for_each(|id| removal.note_stream(id));
        drop(state);
        Self {
            shared,
            catalog,
            cache: Arc::default(),
            streams: known,
            removal,
            puts: Arc::default(),
            counters: Mutex::default(),
            opened: Mutex::new(Some(BTreeMap::new())),
        }
    }

    fn log(&self, name: LogName) -> Result<Arc<ClusterLog>> {
        if let Some(log) = self.opened_log(name)? {
            return Ok(log);
        }
        let known = self.facts(name)?.known_end;
        let stream = name.stream().ok_or(Error::Closed)?;
        let deadline = Instant::now() + OPEN_LIMIT;
        let is_new = self.make_stream(stream, known, deadline)?;
        let log = ClusterLog::new(
            name,
            LogState::at(LogPlace::BEGINNING, false, false),
            self.shared.clone(),
            self.cache.clone(),
            self.catalog.clone(),
            self.counters_of(name),
        );
        if !is_new || !matches!(known, KnownEnd::Unwritten) {
            let of_task = log.clone();
            self.shared
                .cluster
                .run(async move { of_task.find_end(known, deadline).await })??;
        }
        let mut opened = self.opened.lock();
        let logs = opened.as_mut().ok_or(Error::Closed)?;
        if let Some(log) = logs.get(&name) {
            return Ok(log.clone());
        }
        // With the map locked, so that a log that is removed does not come back.
        let facts = self.facts(name)?;
        let mut state = log.lock();
        (state.is_noted, state.is_sealed) = (facts.is_noted, facts.is_closed);
        // An earlier opener may have freed them.
        state.freed_before = sequence_and_place(facts.hidden_before).0;
        drop(state);
        logs.insert(name, log.clone());
        Ok(log)
    }

    fn opened_log(&self, name: LogName) -> Result<Option<Arc<ClusterLog>>> {
        let opened = self.opened.lock();
        Ok(opened.as_ref().ok_or(Error::Closed)?.get(&name).cloned())
    }

    /// Makes what has the logs of a stream, unless it is there. True if none of them can have a frame that is not
    /// known.
    fn make_stream(&self, id: StreamId, known: KnownEnd, deadline: Instant) -> Result<bool> {
        if let Some(is_new) = self.streams.is_new(id) {
            return Ok(is_new);
        }
        if !matches!(known, KnownEnd::Unwritten) {
            let (stream, reason) = (
                self.shared.names.stream(id),
                "the cluster does not have the stream",
            );
            return Err(self.shared.corrupt(&stream, "", 0, reason));
        }
        let shared = self.shared.clone();
        let made = self.shared.cluster.run(async move {
            let (stream, subjects) = (shared.names.stream(id), shared.names.subjects(id));
            shared.make_stream(&stream, &subjects, deadline).await
        })?;
        let is_empty =
            made.map_err(|failure| not_made(failure, &self.shared.names.stream(id), self.shared.replicas))?;
        self.streams.note_made(id, is_empty);
        Ok(is_empty)
    }

    fn facts(&self, name: LogName) -> Result<Facts> {
        let state = self.catalog.read();
        let stream = name.stream().and_then(|id| state.stream(id));
        let stream = stream.ok_or_else(|| stream_not_found(name))?;
        let log = stream.find_log(name)?;
        Ok(Facts {
            known_end: match log.end {
                Some(LogEnd::EMPTY) => KnownEnd::Unwritten,
                Some(end) => KnownEnd::Closed(end.next_record),
                None => KnownEnd::Written,
            },
            is_noted: log.end.is_none(),
            is_closed: name.shard().is_some_and(|shard| !stream.is_open(shard)),
            hidden_before: log.hidden_before.unwrap_or(RecordNumber::BEFORE_FIRST),
        })
    }

    fn counters_of(&self, log: LogName) -> Option<ShardCounters> {
        let LogName::Shard(stream, _) = log else {
            return None;
        };
        let make = || ShardCounters::new(Arc::default(), self.puts.clone());
        Some(self.counters.lock().entry(stream).or_insert_with(make).clone())
    }

    /// The logs that are open, of one stream or of all.
    fn opened_logs(&self, of: Option<StreamId>) -> Vec<Arc<ClusterLog>> {
        let opened = self.opened.lock();
        let logs = opened.iter().flat_map(BTreeMap::values);
        let is_of = |log: &&Arc<ClusterLog>| of.is_none() || log.name.stream() == of;
        logs.filter(is_of).cloned().collect()
    }

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

    /// Lets go of logs that the catalog has no more.
    fn take_out(&self, is_removed: impl Fn(LogName) -> bool) -> Result<Vec<Arc<ClusterLog>>> {
        let mut opened = self.opened.lock();
        let logs = opened.as_mut().ok_or(Error::Closed)?;
        let names: Vec<_> = logs.keys().filter(|name| is_removed(**name)).copied().collect();
        let removed: Vec<_> = names.iter().filter_map(|name| logs.remove(name)).collect();
        drop(opened);
        for log in &removed {
            log.abandon(&stream_not_found(log.name));
            self.cache.forget(log.name);
        }
        Ok(removed)
    }

    /// A log that was sealed goes on, unless the catalog has closed or removed it. Whether it has may not be known yet.
    fn end_seal(&self, log: &ClusterLog) {
        if self.shared.has_doubt() {
            log.lock().is_in_doubt = true;
            self.shared.note_unsettled();
            return;
        }
        let is_open = self.facts(log.name).is_ok_and(|facts| !facts.is_closed);
        if is_open && self.shared.check().is_ok() {
            log.unseal();
        }
    }

    /// Takes over what the catalog has, once that is known again.
    fn settle(&self) -> Result<()> {
        let in_doubt = self.opened_logs(None).into_iter();
        for log in in_doubt.filter(|log| log.lock().is_in_doubt) {
            self.end_seal(&log);
            log.lock().is_in_doubt &= self.shared.has_doubt();
            log.changes.notify();
        }
        let names = self.opened_logs(None).into_iter().map(|log| log.name);
        let gone: Vec<_> = {
            let state = self.catalog.read();
            names.filter(|name| state.log(*name).is_none()).collect()
        };
        for log in self.take_out(|name| gone.contains(&name))? {
            self.removal.note_log(log.name);
            log.changes.notify();
        }
        let state = self.catalog.read();
        let streams = self.streams.ids().into_iter();
        let gone: Vec<_> = streams.filter(|id| state.stream(*id).is_none()).collect();
        drop(state);
        for stream in gone {
            self.counters.lock().remove(&stream);
            if self.streams.forget(stream) {
                self.removal.note_stream(stream);
            }
        }
        Ok(())
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

fn stream_not_found(log: LogName) -> Error {
    Error::StreamNotFound {
        name: log.stream().map_or_else(String::new, |id| format!("number {id}")),
    }
}
