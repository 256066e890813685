//! The shared state of a queue's handles: its records, the order of its changes, and keeping them in its log.
//!
//! A change is written into the log and applied to the state with the lock held. Its caller waits for the commit
//! without the lock, so the changes of many consumers share a commit. If a commit fails for want of room, the state is
//! ahead of the log: it is read again from the log before it is used next. Entries say what happened to which records,
//! and not how many, so later entries mean the same if one before them was lost.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::Entry;
use super::sleepers::Sleepers;
use super::state::State;
use crate::error::{Error, Result};
use crate::model::{QueueId, RecordNumber, ShardFilter};
use crate::seam::LogChanges;
use crate::store::{KeptStill, OpenQueue, QueueLog, Stream, WrittenEntries};
use crate::sync::{Mutex, MutexGuard};

/// A snapshot is written when the entries since the last one have at least so many bytes, and twice as many as that
/// snapshot.
const LEAST_BYTES_BETWEEN_SNAPSHOTS: usize = 256 * 1024;

/// With more entries under way than this, a caller waits for the oldest of them.
const MOST_OUTSTANDING: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Taken after `inner`. Held while the place where the log begins is decided or used.
    log_begin: Mutex<LogBegin>,
    /// The number of the last reading after which a commit has failed: the state of that reading is ahead of the log.
    failed_reading: Mutex<u64>,
    /// Raised when a record may be given out without a signal from a shard.
    pub(super) changes: LogChanges,
    /// Callers that wait for records.
    of_records: Sleepers,
    of_dead_letters: Sleepers,
}

#[derive(Debug, Default)]
struct Inner {
    /// Set once the log was read.
    state: Option<State>,
    /// Entries in the order of the log. All entries that are not here are known to be durable.
    outstanding: VecDeque<Arc<WrittenEntries>>,
    bytes_since_snapshot: usize,
    snapshot_bytes: usize,
    turns: Turns,
    /// How often the log was read.
    reading: u64,
    /// Whether a caller is finishing a snapshot.
    is_snapshot_under_way: bool,
    /// Whether the store is closed.
    is_closed: bool,
}

/// How often something was given out, so that all shards and kinds have their turn. Receives without a record do not
/// count. If they did, they could come in between so that each receive with a record has the same turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    /// Receives of records, new ones or not.
    pub(super) of_records: u64,
    pub(super) of_new_records: u64,
}

#[derive(Debug, Default)]
struct LogBegin {
    /// Whether the place is final, because the store is closed.
    is_fixed: bool,
}

impl OpenQueue for Shared {
    fn note_ended(&self) {
        self.changes.notify();
        self.of_records.wake_others();
        self.of_dead_letters.wake_others();
    }

    fn close(&self) {
        self.inner.lock().is_closed = true;
        // Waits for a snapshot that is being synced.
        self.log_begin.lock().is_fixed = true;
    }

    fn keep_still(&self) -> Box<dyn KeptStill + '_> {
        Box::new(self.inner.lock())
    }
}

impl KeptStill for MutexGuard<'_, Inner> {}

impl Shared {
    /// Callers that wait for records, or for dead letters.
    pub(super) fn sleepers(&self, of_dead_letters: bool) -> &Sleepers {
        match of_dead_letters {
            true => &self.of_dead_letters,
            false => &self.of_records,
        }
    }

    /// Waits for the lock, and reads the log if necessary.
    pub(super) fn turn(&self, stream: &Stream, queue: QueueId) -> Result<QueueTurn<'_>> {
        let log = QueueLog::open(stream, queue)?;
        let mut inner = self.inner.lock();
        if inner.is_closed {
            return Err(Error::Closed);
        }
        let is_ahead = inner.reading > 0 && *self.failed_reading.lock() >= inner.reading;
        if is_ahead {
            // Everything that the log will finally have is in it before it is read.
            inner
                .outstanding
                .drain(..)
                .for_each(|written| drop(written.wait()));
        }
        let state = match inner.state.take() {
            Some(state) if !is_ahead => state,
            ahead => {
                // The log's beginning must not change while the log is read.
                let log_begin = self.log_begin.lock();
                let read = read_state(stream, queue, &log);
                drop(log_begin);
                let (mut state, bytes) = match read {
                    Ok(read) => read,
                    Err(error) => {
                        inner.state = ahead;
                        return Err(error);
                    }
                };
                // The log does not say how long records are held back.
                state.hold_as(ahead.as_ref());
                (inner.bytes_since_snapshot, inner.snapshot_bytes) = bytes;
                inner.reading += 1;
                state
            }
        };
        Ok(QueueTurn {
            shared: self,
            inner,
            log,
            state,
        })
    }
}

impl Shared {
    /// Makes the next turn read the state again, once for each failure, however many callers wait for that.
    fn note_failure_after(&self, reading: u64) {
        let mut failed = self.failed_reading.lock();
        *failed = reading.max(*failed);
    }
}

/// One caller's use of the state.
pub(super) struct QueueTurn<'a> {
    shared: &'a Shared,
    inner: MutexGuard<'a, Inner>,
    log: QueueLog,
    pub(super) state: State,
}

impl<'a> QueueTurn<'a> {
    pub(super) fn turns(&self) -> Turns {
        self.inner.turns
    }

    /// Counts a receive that gives out records. `has_new` is whether new ones are among them.
    pub(super) fn note_given_out(&mut self, has_new: bool) {
        let turns = &mut self.inner.turns;
        turns.of_records = turns.of_records.wrapping_add(1);
        turns.of_new_records = turns.of_new_records.wrapping_add(has_new.into());
    }

    /// Writes entries into the log and applies them, together with the deaths that the log does not have yet. Records
    /// that were given out are held back until `held_until`, in ms of the monotonic clock; those that were restored or
    /// given back are free since then. After an error nothing has changed.
    pub(super) fn commit(mut self, entries: &[Entry], held_until: u64) -> Result<Committing<'a>> {
        let shared = self.shared;
        let deaths = std::mem::take(&mut self.state.unlogged_deaths);
        let died = (!deaths.is_empty()).then_some(Entry::Died(deaths));
        // Deaths come first, since an acknowledged record is no dead letter.
        let encoded: Vec<_> = died.iter().chain(entries).map(Entry::encode).collect();
        let reading = self.inner.reading;
        if encoded.is_empty() {
            return Ok(Committing {
                shared,
                reading,
                written: None,
                snapshot: None,
                has_died: false,
            });
        }
        let bytes: usize = encoded.iter().map(Vec::len).sum();
        let written = match self.log.append(&encoded) {
            Ok(written) => Arc::new(written),
            Err(error) => {
                if let Some(Entry::Died(deaths)) = died {
                    self.state.unlogged_deaths = deaths;
                }
                return Err(error);
            }
        };
        for entry in entries {
            self.state.apply(entry, held_until);
        }
        self.inner.outstanding.push_back(written.clone());
        self.inner.bytes_since_snapshot += bytes;
        self.forget_old();
        let snapshot = match self.is_time_for_snapshot() {
            true => self.write_snapshot(),
            false => None,
        };
        Ok(Committing {
            shared,
            reading,
            written: Some(written),
            snapshot,
            has_died: died.is_some(),
        })
    }

    fn forget_old(&mut self) {
        while self.inner.outstanding.len() > MOST_OUTSTANDING {
            if let Some(oldest) = self.inner.outstanding.pop_front()
                && oldest.wait().is_err()
            {
                self.shared.note_failure_after(self.inner.reading);
            }
        }
    }

    fn is_time_for_snapshot(&self) -> bool {
        let least = self.log.compaction_bytes(LEAST_BYTES_BETWEEN_SNAPSHOTS);
        let least = least.max(2 * self.inner.snapshot_bytes);
        self.inner.bytes_since_snapshot > least && !self.inner.is_snapshot_under_way
    }

    /// Writes the whole state behind the entries that are in the log now. The snapshot is valid only if those become
    /// durable; entries of others come behind it. The log goes on without a snapshot if one cannot be written now.
    fn write_snapshot(&mut self) -> Option<Snapshot<'a>> {
        // After a failure it is tried again later, and not with each entry.
        self.inner.bytes_since_snapshot = 0;
        if *self.shared.failed_reading.lock() >= self.inner.reading {
            return None;
        }
        let encoded: Vec<_> = self.state.snapshot().iter().map(Entry::encode).collect();
        let written = self.log.append(&encoded).ok()?;
        self.inner.is_snapshot_under_way = true;
        Some(Snapshot {
            shared: self.shared,
            log: self.log.clone(),
            before: self.inner.outstanding.iter().cloned().collect(),
            written,
            bytes: encoded.iter().map(Vec::len).sum(),
        })
    }
}

impl Drop for QueueTurn<'_> {
    fn drop(&mut self) {
        self.inner.state = Some(std::mem::take(&mut self.state));
    }
}

/// A change that is applied and may not be durable yet.
#[must_use = "what happened is durable only once this was waited for"]
pub(super) struct Committing<'a> {
    shared: &'a Shared,
    reading: u64,
    written: Option<Arc<WrittenEntries>>,
    /// The snapshot that this caller has to finish.
    snapshot: Option<Snapshot<'a>>,
    /// Whether there are new dead letters, for which others may wait.
    has_died: bool,
}

impl Committing<'_> {
    pub(super) fn wait(self) -> Result<()> {
        let Some(written) = self.written else {
            return Ok(());
        };
        let waited = written.wait();
        if waited.is_err() {
            self.shared.note_failure_after(self.reading);
        }
        // Lost entries have had no effect: the records that they gave out, or acknowledged, are free.
        if self.has_died || waited.is_err() {
            self.shared.changes.notify();
        }
        if let Some(snapshot) = self.snapshot {
            snapshot.finish();
        }
        waited.map(drop)
    }
}

/// A snapshot that was written into the log, before the log begins with it. Until then it has no meaning.
#[derive(Debug)]
struct Snapshot<'a> {
    shared: &'a Shared,
    log: QueueLog,
    /// Entries that it includes and that may not have been durable when it was made.
    before: Vec<Arc<WrittenEntries>>,
    written: WrittenEntries,
    bytes: usize,
}

impl Snapshot<'_> {
    /// Makes the log begin with it. Others use the queue meanwhile.
    fn finish(self) {
        // A snapshot must not include an entry whose caller is told that it failed.
        if !self.before.iter().all(|written| written.wait().is_ok()) {
            return;
        }
        let Ok(first) = self.written.wait() else {
            return;
        };
        let log_begin = self.shared.log_begin.lock();
        // The entries before it are hidden durably, so it must be durable first, at any level.
        let is_begin = !log_begin.is_fixed && self.log.sync().is_ok() && self.log.hide_before(first).is_ok();
        drop(log_begin);
        if is_begin {
            self.shared.inner.lock().snapshot_bytes = self.bytes;
        }
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        self.shared.inner.lock().is_snapshot_under_way = false;
    }
}

/// The state that the log leads to, and the bytes of the entries since its snapshot and of the snapshot.
fn read_state(stream: &Stream, queue: QueueId, log: &QueueLog) -> Result<(State, (usize, usize))> {
    let start = stream.start_of_queue(queue)?;
    let mut state = State::new(start.clone());
    let (mut since, mut snapshot) = (0, Vec::new());
    let mut next_part = 0;
    let begins_at = log.begins_at()?;
    let mut is_begun = begins_at.is_none();
    log.read(begins_at.unwrap_or(RecordNumber::FIRST), |number, bytes| {
        let corrupt = |reason| corrupt(queue, number, reason);
        let entry = Entry::decode(bytes).ok_or_else(|| corrupt("it is no entry of a queue"))?;
        let Entry::Snapshot { part, parts, bytes } = entry else {
            if !is_begun {
                return Err(corrupt("the log does not begin with a whole snapshot"));
            }
            since += bytes.len();
            state.apply(&entry, 0);
            return Ok(());
        };
        // A later snapshot repeats what the entries say, or is invalid because entries before it were not durable.
        if is_begun {
            return Ok(());
        }
        if part != next_part || (part == 0 && Some(number) != begins_at) {
            return Err(corrupt("a part of a snapshot is missing"));
        }
        snapshot.extend_from_slice(&bytes);
        next_part += 1;
        if next_part == parts {
            is_begun = true;
            state = State::of_snapshot(start.clone(), &snapshot)
                .ok_or_else(|| corrupt("a snapshot cannot be read"))?;
        }
        Ok(())
    })?;
    if let Some(begin) = begins_at.filter(|_| !is_begun) {
        // The entries before are hidden: going on without the snapshot would begin the queue again.
        return Err(corrupt(
            queue,
            begin,
            "the snapshot that the log begins with is missing",
        ));
    }
    let shards = stream.shards(&ShardFilter::FromTrimHorizon)?;
    state.keep_shards(shards.iter().map(|shard| shard.id));
    Ok((state, (since, snapshot.len())))
}

fn corrupt(queue: QueueId, entry: RecordNumber, reason: &str) -> Error {
    Error::Corrupt {
        path: format!("the log of queue number {queue}").into(),
        offset: entry.value(),
        reason: reason.to_owned(),
    }
}
