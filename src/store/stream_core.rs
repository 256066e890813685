//! What all handles of a stream share: its logs, and which of them takes which hash keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::oldest_records::OldestRecords;
use super::open_groups::OpenGroups;
use crate::backend::{Logs, ShardLog};
use crate::catalog::{Catalog, CatalogState, StreamState};
use crate::error::{Error, Result};
use crate::model::{
    HashKey, LogName, PutRecord, RecordDistribution, RecordNumber, SequenceNumber, ShardId, StreamId,
    StreamName, StreamStatus, Timestamp,
};
use crate::seam::ReadCounters;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, MutexGuard, OnceLock, RwLock, yield_now};

#[derive(Debug)]
pub(super) struct StreamCore {
    pub(super) id: StreamId,
    /// The name in its namespace.
    pub(super) name: String,
    pub(super) namespace: String,
    /// The largest record, in bytes of data and partition key.
    pub(super) max_record_bytes: AtomicU64,
    /// Whether records go to all shards in turn.
    pub(super) is_distributed: AtomicBool,
    /// Whether records are encrypted, or said to be.
    pub(super) is_encrypted: AtomicBool,
    /// Which of the shards is next, over and over.
    turn: AtomicUsize,
    pub(super) store: u128,
    catalog: Arc<Catalog>,
    pub(super) logs: Arc<dyn Logs>,
    pub(super) open_groups: OpenGroups,
    /// One thread at a time changes the stream's shards, or deletes it. Taken before `routing`.
    pub(super) changing: Mutex<()>,
    /// How many threads wait for that.
    waiting_to_change: AtomicUsize,
    /// What was put through routes that are no more, and not counted yet.
    carried: Mutex<BTreeMap<ShardId, Counts>>,
    /// Read by every put, for as long as it takes to get into the pending groups; written by what changes the open
    /// shards. So no put is under way while a shard is sealed.
    pub(super) routing: RwLock<Routing>,
    pub(super) reads: ReadCounters,
    /// What is known of the oldest records.
    pub(super) oldest: Mutex<OldestRecords>,
}

/// The settings that puts read without the catalog.
#[derive(Clone, Copy, Debug)]
pub(super) struct PutSettings {
    /// The largest record, in bytes of data and partition key.
    pub(super) max_record_bytes: u32,
    pub(super) distribution: RecordDistribution,
    pub(super) is_encrypted: bool,
}

impl PutSettings {
    pub(super) fn of(stream: &StreamState) -> Self {
        Self {
            max_record_bytes: stream.max_record_bytes,
            distribution: stream.distribution,
            is_encrypted: stream.encryption.is_some(),
        }
    }
}

/// Where records go.
#[derive(Debug)]
pub(super) enum Routing {
    /// To be made from the catalog by the next put.
    Unknown,
    /// The open shards, in the order of their ranges.
    Open(Vec<Route>),
    /// Nowhere: the store is closed.
    Closed,
}

impl Routing {
    /// The end of the store is never taken back, by a change that began before it either.
    pub(super) fn check_not_closed(&self) -> Result<()> {
        match self {
            Self::Closed => Err(Error::Closed),
            Self::Unknown | Self::Open(_) => Ok(()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Route {
    start: HashKey,
    pub(super) shard: ShardId,
    created_seconds: u64,
    /// Opened by the first put that goes here: a stream of many thousand shards has a log in memory only for those
    /// that are used.
    log: OnceLock<Box<UsedLog>>,
}

#[derive(Debug)]
struct UsedLog {
    log: Arc<dyn ShardLog>,
    /// What was put since the counts were last taken.
    bytes: AtomicU64,
    records: AtomicU64,
}

/// How much was put.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

impl StreamCore {
    pub(super) fn new(
        id: StreamId,
        name: StreamName,
        store: u128,
        settings: PutSettings,
        catalog: Arc<Catalog>,
        logs: Arc<dyn Logs>,
    ) -> Self {
        Self {
            id,
            name: name.local,
            namespace: name.namespace,
            max_record_bytes: AtomicU64::new(settings.max_record_bytes.into()),
            is_distributed: AtomicBool::new(settings.distribution == RecordDistribution::Auto),
            is_encrypted: AtomicBool::new(settings.is_encrypted),
            turn: AtomicUsize::new(0),
            store,
            catalog,
            logs,
            open_groups: OpenGroups::default(),
            changing: Mutex::default(),
            waiting_to_change: AtomicUsize::new(0),
            carried: Mutex::default(),
            routing: RwLock::new(Routing::Unknown),
            reads: ReadCounters::default(),
            oldest: Mutex::default(),
        }
    }

    /// Waits until no other thread changes the stream's shards or settings.
    pub(super) fn lock_to_change(&self) -> MutexGuard<'_, ()> {
        self.waiting_to_change.fetch_add(1, Ordering::Relaxed);
        let guard = self.changing.lock();
        self.waiting_to_change.fetch_sub(1, Ordering::Relaxed);
        guard
    }

    /// A thread that has many steps to take lets those first who wait: a lock that is let go and taken again at once is not
    /// given to others.
    pub(super) fn let_others_change(&self) {
        while self.waiting_to_change.load(Ordering::Relaxed) > 0 {
            yield_now();
        }
    }

    pub(super) fn open_log(&self, shard: ShardId) -> Result<Arc<dyn ShardLog>> {
        self.logs.open(LogName::Shard(self.id, shard))
    }

    /// The log that a route leads to.
    pub(super) fn log_behind<'a>(&self, route: &'a Route) -> Result<&'a Arc<dyn ShardLog>> {
        if let Some(log) = route.opened_log() {
            return Ok(log);
        }
        let log = self.open_log(route.shard)?;
        let used = || {
            Box::new(UsedLog {
                log,
                bytes: AtomicU64::new(0),
                records: AtomicU64::new(0),
            })
        };
        Ok(&route.log.get_or_init(used).log)
    }

    /// Runs `append` with the routes, which do not change meanwhile.
    pub(super) fn with_routes<T>(&self, append: impl Fn(&[Route]) -> Result<T>) -> Result<T> {
        loop {
            match &*self.routing.read() {
                Routing::Open(routes) => return append(routes),
                Routing::Closed => return Err(Error::Closed),
                Routing::Unknown => {}
            }
            let mut routing = self.routing.write();
            if matches!(*routing, Routing::Unknown) {
                *routing = Routing::Open(self.routes()?);
            }
            // Used before they are let go: in a change of many steps others would soon replace them again.
            if let Routing::Open(routes) = &*routing {
                return append(routes);
            }
        }
    }

    /// The same where nothing has to be waited for: the routes are known, and no thread is about to change them.
    pub(super) fn try_with_routes<T>(&self, append: impl FnOnce(&[Route]) -> Result<T>) -> Option<Result<T>> {
        match &*self.routing.try_read()? {
            Routing::Open(routes) => Some(append(routes)),
            Routing::Closed => Some(Err(Error::Closed)),
            // Making them may open logs.
            Routing::Unknown => None,
        }
    }

    fn routes(&self) -> Result<Vec<Route>> {
        let state = self.catalog.read();
        let stream = self.state(state.stream(self.id))?;
        let lineage = match (stream.status(), &stream.lineage) {
            (StreamStatus::Active | StreamStatus::Updating, Some(lineage)) => lineage,
            (status, _) => {
                return Err(Error::StreamNotActive {
                    name: self.name.clone(),
                    status,
                });
            }
        };
        let shards = lineage.open_shards();
        let mut routes: Vec<_> = shards
            .map(|shard| Route {
                start: shard.hash_key_range.start(),
                shard: shard.id,
                created_seconds: shard.created_seconds,
                log: OnceLock::new(),
            })
            .collect();
        routes.sort_by_key(|route| route.start);
        // A stream of many shards keeps no room for routes that it does not have.
        routes.shrink_to_fit();
        Ok(routes)
    }

    /// The stream's state, if it is active.
    pub(super) fn active_state<'a>(&self, state: &'a CatalogState) -> Result<&'a StreamState> {
        let stream = self.state(state.stream(self.id))?;
        match stream.status() {
            StreamStatus::Active => Ok(stream),
            status => Err(self.not_active(status)),
        }
    }

    pub(super) fn not_active(&self, status: StreamStatus) -> Error {
        Error::StreamNotActive {
            name: self.name.clone(),
            status,
        }
    }

    /// What was put to each shard since this was last asked, if the shard was ever put to.
    pub(super) fn take_counts(&self) -> BTreeMap<ShardId, Counts> {
        self.carry_counts(&self.routing.read());
        std::mem::take(&mut *self.carried.lock())
    }

    /// Of closed shards no count matters any more, and nothing may be kept of them: a stream can have any number of those.
    pub(super) fn drop_counts(&self, closed: &[ShardId]) {
        self.carried.lock().retain(|shard, _| !closed.contains(shard));
    }

    /// Keeps what was put through these routes, which may be no more soon.
    pub(super) fn carry_counts(&self, routing: &Routing) {
        let Routing::Open(routes) = routing else { return };
        let mut carried = self.carried.lock();
        for (shard, counts) in routes.iter().filter_map(Route::take_counts) {
            let known: &mut Counts = carried.entry(shard).or_default();
            known.bytes += counts.bytes;
            known.records += counts.records;
        }
    }

    /// This stream's state, unless it was deleted.
    pub(super) fn state<'a>(&self, state: Option<&'a StreamState>) -> Result<&'a StreamState> {
        state.ok_or_else(|| Error::StreamNotFound {
            name: self.name.clone(),
        })
    }
}

impl StreamCore {
    /// The one route that takes all records of the next call, where records do not go by their keys.
    pub(super) fn route_in_turn(&self, routes: &[Route]) -> Option<usize> {
        let is_distributed = self.is_distributed.load(Ordering::Relaxed);
        is_distributed.then(|| self.turn.load(Ordering::Relaxed) % routes.len().max(1))
    }

    /// The next call goes to the next route. Counted when a call has been taken in, so that one that would have had to wait
    /// and is tried again leaves none out.
    pub(super) fn end_turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}

/// The route that takes a record by its hash key. The open shards tile the hash space, so there is one; where it is the
/// only one, the partition key need not be hashed.
pub(super) fn route_of(routes: &[Route], record: &PutRecord<'_>) -> usize {
    match routes {
        [_] => 0,
        _ => {
            let key = record.hash_key();
            routes
                .partition_point(|route| route.start <= key)
                .saturating_sub(1)
        }
    }
}

impl Route {
    /// The log, if a put has opened it.
    pub(super) fn opened_log(&self) -> Option<&Arc<dyn ShardLog>> {
        self.log.get().map(|used| &used.log)
    }

    /// Counts records that the log has taken in.
    pub(super) fn count<'a>(&self, records: impl ExactSizeIterator<Item = &'a PutRecord<'a>>) {
        if let Some(used) = self.log.get() {
            used.records.fetch_add(records.len() as u64, Ordering::Relaxed);
            let bytes: usize = records.map(PutRecord::size_bytes).sum();
            used.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// What was put since this was last asked, if anything ever was.
    fn take_counts(&self) -> Option<(ShardId, Counts)> {
        let used = self.log.get()?;
        let counts = Counts {
            bytes: used.bytes.swap(0, Ordering::Relaxed),
            records: used.records.swap(0, Ordering::Relaxed),
        };
        Some((self.shard, counts))
    }

    pub(super) fn identity(&self) -> ShardIdentity {
        ShardIdentity {
            shard: self.shard,
            created_seconds: self.created_seconds,
        }
    }
}

/// What a record's sequence number takes from its shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShardIdentity {
    pub(super) shard: ShardId,
    pub(super) created_seconds: u64,
}

impl ShardIdentity {
    pub(super) fn sequence_number(&self, record: RecordNumber, arrival: Timestamp) -> SequenceNumber {
        // Where a clock went back, or splits came in quick succession, a shard's creation is ahead of it.
        let seconds = arrival.as_seconds().max(self.created_seconds);
        SequenceNumber::new(self.created_seconds, self.shard, record, seconds)
    }
}
