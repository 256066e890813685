//! The logs of a store, and how one comes into use.

use std::collections::BTreeMap;
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
use crate::catalog::{Catalog, LogEnd};
use crate::error::{Error, Result};
use crate::model::{LogName, RecordNumber, StreamId};
use crate::seam::{PutCounters, ShardCounters};
use crate::sync::Mutex;

/// How long opening a log may take, and making what has it.
const OPEN_LIMIT: Duration = Duration::from_secs(30);

/// What the catalog says of a log.
pub(super) struct Facts {
    known_end: KnownEnd,
    /// Whether it is being written to.
    is_noted: bool,
    pub(super) is_closed: bool,
    hidden_before: RecordNumber,
}

#[derive(Debug)]
pub(super) struct ClusterLogs {
    pub(super) shared: Arc<Shared>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) cache: Arc<FrameCache>,
    pub(super) streams: Streams,
    pub(super) removal: Removal,
    /// What the shards of all streams take.
    pub(super) puts: Arc<PutCounters>,
    /// The same of those streams that were put to since the store was opened.
    pub(super) counters: Mutex<BTreeMap<StreamId, ShardCounters>>,
    /// Those that were used since the store was opened, until it is closed.
    pub(super) opened: Mutex<Option<BTreeMap<LogName, Arc<ClusterLog>>>>,
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

    pub(super) fn log(&self, name: LogName) -> Result<Arc<ClusterLog>> {
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

    pub(super) fn opened_log(&self, name: LogName) -> Result<Option<Arc<ClusterLog>>> {
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
            self.find_stream(id)?;
            return Ok(false);
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

    /// Finds a stream that was not listed when the store was opened. The earlier opener can have made it between that and
    /// the moment at which it lost the store.
    fn find_stream(&self, id: StreamId) -> Result<()> {
        let (shared, name) = (self.shared.clone(), self.shared.names.stream(id));
        let listed = self
            .shared
            .cluster
            .run(async move { shared.known_streams().await })?
            .map_err(|failure| failure.into_error("list its streams"))?;
        if !listed.iter().any(|stream| stream.name == name) {
            let reason = "the cluster does not have the stream";
            return Err(self.shared.corrupt(&name, "", 0, reason));
        }
        self.streams.note_made(id, false);
        Ok(())
    }

    pub(super) fn facts(&self, name: LogName) -> Result<Facts> {
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
    pub(super) fn opened_logs(&self, of: Option<StreamId>) -> Vec<Arc<ClusterLog>> {
        let opened = self.opened.lock();
        let logs = opened.iter().flat_map(BTreeMap::values);
        let is_of = |log: &&Arc<ClusterLog>| of.is_none() || log.name.stream() == of;
        logs.filter(is_of).cloned().collect()
    }
}

pub(super) fn stream_not_found(log: LogName) -> Error {
    Error::StreamNotFound {
        name: log.stream().map_or_else(String::new, |id| format!("number {id}")),
    }
}
