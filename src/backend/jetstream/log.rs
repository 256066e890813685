//! One log.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::cache::FrameCache;
use super::frame::{Frame, LogPlace, number};
use super::log_state::{Group, LogState, Question};
use super::shared::Shared;
use crate::catalog::{Catalog, Edit};
use crate::error::{Error, Result};
use crate::model::LogName;
use crate::seam::{CommittedGroup, LogChanges, ShardCounters};
use crate::sync::{Condvar, Mutex, MutexGuard};

#[derive(Debug)]
pub(super) struct ClusterLog {
    /// For tasks.
    this: Weak<ClusterLog>,
    pub(super) name: LogName,
    /// What has the log on the cluster.
    pub(super) stream: String,
    pub(super) subject: String,
    pub(super) shared: Arc<Shared>,
    pub(super) cache: Arc<FrameCache>,
    catalog: Arc<Catalog>,
    state: Mutex<LogState>,
    /// There is room in the pending group, nothing is under way any more, or something was fetched.
    pub(super) changed: Condvar,
    pub(super) changes: LogChanges,
    /// Who counts what is put; of a shard's log alone.
    counters: Option<ShardCounters>,
}

impl ClusterLog {
    pub(super) fn new(
        name: LogName,
        state: LogState,
        shared: Arc<Shared>,
        cache: Arc<FrameCache>,
        catalog: Arc<Catalog>,
        counters: Option<ShardCounters>,
    ) -> Arc<Self> {
        let stream = name.stream().map(|stream| shared.names.stream(stream));
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            name,
            stream: stream.unwrap_or_default(),
            subject: shared.names.log(name),
            shared,
            cache,
            catalog,
            state: Mutex::new(state),
            changed: Condvar::new(),
            changes: LogChanges::default(),
            counters,
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock()
    }

    /// Blocks until nothing is under way or pending.
    pub(super) fn wait_until_idle(&self) {
        let mut state = self.lock();
        while state.is_committing {
            state = self.changed.wait(state);
        }
    }

    /// Takes no more records, of a store that is being closed.
    pub(super) fn begin_close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Ends all use of the log. What is still under way is not waited for any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.abandon(&Error::Closed);
        self.changes.notify();
    }

    /// Takes no more records, and fails those that are under way: for a log that is gone. Readers are woken by the
    /// caller.
    pub(super) fn abandon(&self, error: &Error) {
        let mut state = self.lock();
        state.is_sealed = true;
        state.is_committing = false;
        let pending = state.pending.take();
        let of_pending = pending.as_ref().map(|group| group.outcome.clone());
        let outcomes: Vec<_> = state.in_flight.take().into_iter().chain(of_pending).collect();
        drop(state);
        for outcome in outcomes {
            let wakers = outcome.set(Err(error.clone()));
            wakers.into_iter().for_each(std::task::Waker::wake);
        }
        self.changed.notify_all();
    }

    /// The task that commits has ended before it was done, with what it had.
    pub(super) fn note_task_lost(&self) {
        let mut state = self.lock();
        let pending = state.pending.take();
        let in_flight = state.in_flight.take();
        (state.is_committing, state.is_unsure) = (false, true);
        drop(state);
        // Those who wait for it are told when it is dropped.
        drop((pending, in_flight));
        self.changed.notify_all();
    }

    /// Whether what is under way is not waited for any more.
    pub(super) fn is_abandoned(&self) -> bool {
        !self.lock().is_committing
    }

    /// The next group to commit, where the log is, and whether that has to be looked up. `None` where nothing is
    /// pending: then the task ends.
    pub(super) fn next_group(&self) -> Option<(Group, LogPlace, bool)> {
        let mut state = self.lock();
        let group = state.pending.take();
        state.in_flight = group.as_ref().map(|group| group.outcome.clone());
        state.in_flight_since = group.as_ref().map(|_| Instant::now());
        state.is_committing = group.is_some();
        let next = group.map(|group| (group, state.end, state.is_unsure));
        drop(state);
        self.changed.notify_all();
        next
    }

    /// The group is on the cluster, as this frame.
    pub(super) fn note_committed(&self, group: &Group, frame: Frame) {
        let mut state = self.lock();
        state.end = frame.place_behind();
        state.taken_arrival = state.taken_arrival.max(state.end.last_arrival);
        state.is_unsure = false;
        if frame.previous == 0 {
            state.note_beginning(&frame);
        }
        let first_record = number(frame.sequence, 0);
        self.cache.keep(self.name, Arc::new(frame));
        drop(state);
        if let Some(counters) = self.counters.as_ref().filter(|_| group.frame.records > 0) {
            counters.count(CommittedGroup {
                records: group.frame.records.into(),
                bytes: group.frame.payload_bytes(),
                took: group.began.elapsed(),
            });
        }
        // What a put was told of, its caller finds counted, and those who watch the shard know.
        self.changes.notify();
        let wakers = group.outcome.set_placed(first_record);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// The group is not on the cluster, or is not known to be if `is_unsure`. The log ends there now.
    pub(super) fn note_failed(&self, group: &Group, error: Error, end: LogPlace, is_unsure: bool) {
        let mut state = self.lock();
        if !state.is_closed {
            state.end = end;
            state.taken_arrival = state.taken_arrival.max(end.last_arrival);
        }
        state.is_unsure = is_unsure;
        let wakers = group.outcome.set(Err(error));
        drop(state);
        wakers.into_iter().for_each(std::task::Waker::wake);
        self.changes.notify();
    }

    /// The frames that were read for a reader, or why they were not.
    pub(super) fn note_fetched(&self, question: Question, failed: Option<Error>) {
        let mut state = self.lock();
        state.fetches.note_answered(question);
        if let Some(error) = failed {
            state.fetches.note_failure(question, error);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The log, for a task.
    pub(super) fn to_task(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    /// Has the catalog know that the log is written to.
    pub(super) fn commit_resumed(&self) -> Result<()> {
        let log = self.name;
        self.catalog.commit(|state| {
            let stream = log.stream().and_then(|id| state.stream(id));
            let stream = stream.ok_or(Error::Closed)?;
            let is_at_rest = stream.find_log(log)?.end.is_some();
            Ok(is_at_rest
                .then_some(Edit::LogResumed { log })
                .into_iter()
                .collect())
        })
    }

    /// The first frame from a sequence on, if it is here and known to be that one.
    pub(super) fn kept(&self, state: &LogState, sequence: u64) -> Option<Arc<Frame>> {
        let begins = state.beginning.map_or(0, |beginning| beginning.sequence);
        let sequence = sequence.max(begins).max(1);
        let frame = self.cache.next(self.name, sequence)?;
        (frame.previous < sequence).then_some(frame)
    }
}
