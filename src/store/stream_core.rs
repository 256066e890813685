//! The state that all handles of a stream share: its logs, and the routes from hash keys to them.

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
    /// The name within its namespace.
    pub(super) name: String,
    pub(super) namespace: String,
    /// The largest record, in bytes of data and partition key.
    pub(super) max_record_bytes: AtomicU64,
    /// Whether records go to all shards in turn.
    pub(super) is_distributed: AtomicBool,
    /// Whether the stream has a key, for encryption or only declared.
    pub(super) is_encrypted: AtomicBool,
    /// Counts calls, so that records go to the shards in turn.
    turn: AtomicUsize,
    pub(super) store: u128,
    catalog: Arc<Catalog>,
    pub(super) logs: Arc<dyn Logs>,
    pub(super) open_groups: OpenGroups,
    /// Held by the one thread that changes the stream's shards or settings, or deletes it. Taken before `routing`.
    pub(super) changing: Mutex<()>,
    /// How many threads wait for `changing`.
    waiting_to_change: AtomicUsize,
    /// Counts of former routes that have not been taken yet.
    carried: Mutex<BTreeMap<ShardId, Counts>>,
    /// Locked for reading by every put until its records are in the pending groups; locked for writing by changes of
    /// the open shards. So no put is under way while a shard is sealed.
    pub(super) routing: RwLock<Routing>,
    pub(super) reads: ReadCounters,
    /// The known oldest records.
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
    /// The next put makes the routes from the catalog.
    Unknown,
    /// The open shards, in the order of their ranges.
    Open(Vec<Route>),
    /// Nowhere: the store is closed.
    Closed,
}

impl Routing {
    /// Closing is final, also for a change that began before it.
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
    /// Opened by the first put that goes here: a stream of many thousand shards has a log in memory only for those that
    /// are used.
    log: OnceLock<Box<UsedLog>>,
}

#[derive(Debug)]
struct UsedLog {
    log: Arc<dyn ShardLog>,
    /// What was put since the counts were last taken.
    bytes: AtomicU64,
    records: AtomicU64,
}

/// How many bytes and records were put.
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

    /// A thread with many steps lets waiting threads go first: a lock that is released and taken again at once is not
    /// given to others.
    pub(super) fn let_others_change(&self) {
        while self.waiting_to_change.load(Ordering::Relaxed) > 0 {
            yield_now();
        }
    }

    pub(super) fn open_log(&self, shard: ShardId) -> Result<Arc<dyn ShardLog>> {
        self.logs.open(LogName::Shard(self.id, shard))
    }

    /// The log of a route, which is opened if necessary.
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
            // Used before the lock is released: in a change of many steps others would soon replace them again.
            if let Routing::Open(routes) = &*routing {
                return append(routes);
            }
        }
    }

    /// The same without waiting: only if the routes are known, and no thread is about to change them.
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
        // A stream of many shards must not keep unused memory for routes.
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

    /// What was put to each used shard since the last call.
    pub(super) fn take_counts(&self) -> BTreeMap<ShardId, Counts> {
        self.carry_counts(&self.routing.read());
        std::mem::take(&mut *self.carried.lock())
    }

    /// Drops the counts of closed shards. A stream can have any number of these, so nothing may be kept for them.
    pub(super) fn drop_counts(&self, closed: &[ShardId]) {
        self.carried.lock().retain(|shard, _| !closed.contains(shard));
    }

    /// Keeps the counts of these routes, which are about to be replaced.
    pub(super) fn carry_counts(&self, routing: &Routing) {
        let Routing::Open(routes) = routing else { return };
        let mut carried = self.carried.lock();
        for (shard, counts) in routes.iter().filter_map(Route::take_counts) {
            let known: &mut Counts = carried.entry(shard).or_default();
            known.bytes += counts.bytes;
            known.records += counts.records;
        }
    }

    /// This stream's state, or the error that it was deleted.
    pub(super) fn state<'a>(&self, state: Option<&'a StreamState>) -> Result<&'a StreamState> {
        state.ok_or_else(|| Error::StreamNotFound {
            name: self.name.clone(),
        })
    }
}

impl StreamCore {
    /// The route of all records of the next call, if records are not distributed by their keys.
    pub(super) fn route_in_turn(&self, routes: &[Route]) -> Option<usize> {
        let is_distributed = self.is_distributed.load(Ordering::Relaxed);
        is_distributed.then(|| self.turn.load(Ordering::Relaxed) % routes.len().max(1))
    }

    /// Moves on to the next route. Called after a call was taken in, so that a call that would have to wait, and is
    /// repeated, skips no route.
    pub(super) fn end_turn(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
    }
}

/// The route of a record by its hash key. The open shards tile the hash space, so there is one. If there is only one,
/// the partition key need not be hashed.
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

    /// What was put since the last call, if the route was ever used.
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

/// The part of a record's sequence number that comes from its shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShardIdentity {
    pub(super) shard: ShardId,
    pub(super) created_seconds: u64,
}

impl ShardIdentity {
    pub(super) fn sequence_number(&self, record: RecordNumber, arrival: Timestamp) -> SequenceNumber {
        // After a clock went back, or after quick splits, a shard's creation is ahead of the clock.
        let seconds = arrival.as_seconds().max(self.created_seconds);
        SequenceNumber::new(self.created_seconds, self.shard, record, seconds)
    }
}
