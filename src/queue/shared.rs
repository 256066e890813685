//! What all handles of a queue share: its state, the order of its changes, and keeping them in its log.
//!
//! A change is written into the log and made of the state with the lock held, and waited for without it, so that the changes
//! of many consumers share a commit. Where a commit fails for want of room, the state is ahead of the log: it is read again
//! from the log before anything else is done with it. Entries say what happened to which records, and not how many, so
//! that later ones mean the same where one before them was lost.

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

/// A snapshot is written when the entries since the last one have so many bytes, and twice as many as that has.
const LEAST_BYTES_BETWEEN_SNAPSHOTS: usize = 256 * 1024;

/// So many entries may be under way before the oldest of them are waited for.
const MOST_OUTSTANDING: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Taken behind `inner`, and held while it is decided where the log begins, or that is relied on.
    log_begin: Mutex<LogBegin>,
    /// The last reading of the log after which a commit has failed: the state that was read then is ahead of the log.
    failed_reading: Mutex<u64>,
    /// Raised when a record may be given out that no shard has told of.
    pub(super) changes: LogChanges,
    /// Those who wait for records.
    of_records: Sleepers,
    of_dead_letters: Sleepers,
}

#[derive(Debug, Default)]
struct Inner {
    /// Once the log was read.
    state: Option<State>,
    /// In the order of the log. Of those that are not here it is known that they are durable.
    outstanding: VecDeque<Arc<WrittenEntries>>,
    bytes_since_snapshot: usize,
    snapshot_bytes: usize,
    turns: Turns,
    /// How often the log was read.
    reading: u64,
    /// Whether a caller is at bringing a snapshot to its end.
    is_snapshot_under_way: bool,
    /// Whether the store is closed.
    is_closed: bool,
}

/// How often something was given out, so that all have their turn. Those that found nothing do not count: where they come
/// between the others, each of these would have the same turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    /// Records, new ones or not.
    pub(super) of_records: u64,
    pub(super) of_new_records: u64,
}

#[derive(Debug, Default)]
struct LogBegin {
    /// Whether it stays where it is, since the store is closed.
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
        // A snapshot that is being synced is waited for.
        self.log_begin.lock().is_fixed = true;
    }

    fn keep_still(&self) -> Box<dyn KeptStill + '_> {
        Box::new(self.inner.lock())
    }
}

impl KeptStill for MutexGuard<'_, Inner> {}

impl Shared {
    /// Those who wait for records, or for dead letters.
    pub(super) fn sleepers(&self, of_dead_letters: bool) -> &Sleepers {
        match of_dead_letters {
            true => &self.of_dead_letters,
            false => &self.of_records,
        }
    }

    /// Waits for this caller's turn, and reads the log if need be.
    pub(super) fn turn(&self, stream: &Stream, queue: QueueId) -> Result<QueueTurn<'_>> {
        let log = QueueLog::open(stream, queue)?;
        let mut inner = self.inner.lock();
        if inner.is_closed {
            return Err(Error::Closed);
        }
        let is_ahead = inner.reading > 0 && *self.failed_reading.lock() >= inner.reading;
        if is_ahead {
            // Whatever is in the log in the end is there before it is read.
            inner
                .outstanding
                .drain(..)
                .for_each(|written| drop(written.wait()));
        }
        let state = match inner.state.take() {
            Some(state) if !is_ahead => state,
            ahead => {
                // The log must not begin elsewhere while it is read.
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
                // The log does not say for how long records are held back.
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
    /// The state is read again, once, however many callers wait for what has failed.
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

    /// Records are given out, and new ones among them or not.
    pub(super) fn note_given_out(&mut self, has_new: bool) {
        let turns = &mut self.inner.turns;
        turns.of_records = turns.of_records.wrapping_add(1);
        turns.of_new_records = turns.of_new_records.wrapping_add(has_new.into());
    }

    /// Writes what happened into the log and makes it of the state, with the deaths that the log does not say yet. Records
    /// that were given out are held back until then, in ms of the monotonic clock; those that were restored or given back are
    /// free since then. If this fails nothing has changed.
    pub(super) fn commit(mut self, entries: &[Entry], held_until: u64) -> Result<Committing<'a>> {
        let shared = self.shared;
        let deaths = std::mem::take(&mut self.state.unlogged_deaths);
        let died = (!deaths.is_empty()).then_some(Entry::Died(deaths));
        // An acknowledged one is none of them any more, so they come first.
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

    /// Writes all of the state as it is behind the entries that are in the log by now. Whether it holds is not known before
    /// they are durable, and what others write meanwhile comes behind it. The log goes on without one if there cannot be one
    /// now.
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

/// A change that is made and may not be durable yet.
#[must_use = "what happened is durable only once this was waited for"]
pub(super) struct Committing<'a> {
    shared: &'a Shared,
    reading: u64,
    written: Option<Arc<WrittenEntries>>,
    /// Which this caller brings to its end.
    snapshot: Option<Snapshot<'a>>,
    /// Whether there are more dead letters, for which others may wait.
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
        // What was lost is as it was before: what this had given out, or was done with, is free.
        if self.has_died || waited.is_err() {
            self.shared.changes.notify();
        }
        if let Some(snapshot) = self.snapshot {
            snapshot.finish();
        }
        waited.map(drop)
    }
}

/// A snapshot that was written into the log, and that the log does not begin with yet. One that it does not begin with means
/// nothing.
#[derive(Debug)]
struct Snapshot<'a> {
    shared: &'a Shared,
    log: QueueLog,
    /// What may not have been durable when it was made. It has all of that.
    before: Vec<Arc<WrittenEntries>>,
    written: WrittenEntries,
    bytes: usize,
}

impl Snapshot<'_> {
    /// Has the log begin with it. Others use the queue meanwhile.
    fn finish(self) {
        // Nothing may be in a snapshot that fails, and whose caller is told so.
        if !self.before.iter().all(|written| written.wait().is_ok()) {
            return;
        }
        let Ok(first) = self.written.wait() else {
            return;
        };
        let log_begin = self.shared.log_begin.lock();
        // What is before it is hidden durably, so it is durable first, at any level.
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

/// The state that the log leads to, and the bytes of the entries since its snapshot and of that.
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
        // The entries say the same as one that comes later, unless those before that were not durable: then it does not hold.
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
        // What came before is hidden: to go on without it would begin the queue again.
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
