//! One shard's log: appending, waiting, sealing, trimming.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::changes::LogChanges;
use super::commit::{Durability, Group, Ticket};
use super::context::LogContext;
use super::left_off::LeftOff;
use super::record_codec::{check_batch_bytes, encoded_bytes};
use super::recovery::{self, RecoveredTail};
use super::segment::{Segment, SegmentEntry};
use super::turn::Tail;
use super::writer::{Placement, Writer};
use super::{LogEnd, LogIdentity};
use crate::disk::{DiskFile, Step, is_left_out, perform};
use crate::error::{Error, Result};
use crate::model::{PutRecord, RecordNumber, Timestamp};
use crate::sync::{AtomicBool, Condvar, Mutex, MutexGuard, OnceLock, RwLock};

/// How a log was left.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogStart {
    /// At a known end, with nothing written since.
    Rested(LogEnd),
    /// Sealed at a known end, for ever.
    Sealed(LogEnd),
    /// Perhaps in the middle of a write; the last segment tells.
    Interrupted,
}

/// One shard's log.
#[derive(Debug)]
pub(crate) struct ShardLog {
    /// For handing this log to the flushers.
    this: Weak<ShardLog>,
    pub(super) identity: LogIdentity,
    pub(super) directory: PathBuf,
    pub(super) context: Arc<LogContext>,
    /// All segments, oldest first.
    pub(super) segments: RwLock<Vec<Arc<Segment>>>,
    pub(super) tail: Mutex<Tail>,
    /// By parity of the group that is waited for.
    pub(super) committed: [Condvar; 2],
    pub(super) writer: Mutex<Writer>,
    /// Whether a flusher has been asked to commit. Changed with the flushers' queue locked.
    pub(super) is_queued: AtomicBool,
    /// Whether the ledger knows where the next group goes, if that fits there: for choosing how to commit it.
    pub(super) has_place: AtomicBool,
    /// Where readers stop: the end of what is committed, and in the segment's file.
    pub(super) published: Mutex<LogEnd>,
    /// Told of every change of what readers may see.
    pub(super) changes: LogChanges,
    /// Whether more is committed, which `writer` has yet to write to the file.
    pub(super) has_deferred: AtomicBool,
    /// Whether the ledger knows that the commit journal may have frames that the segments lack.
    pub(super) is_known_journaled: AtomicBool,
    /// The last segment's file with what could not be written to it, once the store's health is lost.
    pub(super) stranded: RwLock<Option<Arc<dyn DiskFile>>>,
    pub(super) left_off: Mutex<LeftOff>,
    pub(super) damage: OnceLock<Error>,
    /// What lies at the end, where recovery found that the log once went on.
    pub(super) lost_tail: Option<Error>,
}

/// A log of which writers are kept out while its end is being recorded. The next append resumes it, once it is let go.
#[derive(Debug)]
#[must_use = "the log takes nothing meanwhile"]
pub(crate) struct Resting {
    log: Arc<ShardLog>,
    end: LogEnd,
    is_recorded: bool,
}

/// The answer to an append.
pub(crate) enum Appended {
    Ticket(Ticket),
    /// The log was sealed: the records belong elsewhere.
    Sealed,
}

/// Room in a log's pending group. Until it is used or dropped the log does not rest.
pub(crate) struct Reservation<'a> {
    log: &'a Arc<ShardLog>,
    bytes: usize,
}

impl Reservation<'_> {
    /// Takes in the records that the room was kept for, without waiting.
    pub(crate) fn append(mut self, records: &[PutRecord<'_>], now: Timestamp) -> Result<Appended> {
        self.log.check_takes_records()?;
        let bytes = std::mem::take(&mut self.bytes);
        let mut tail = self.log.tail.lock();
        tail.reserved -= bytes;
        self.log.take_in(tail, records, now, bytes)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.log.tail.lock().reserved -= self.bytes;
        }
    }
}

/// Numbers left out after an interruption. A log syncs each segment before it begins the next, so fewer records
/// than this can have been seen by someone and then lost, whatever the durability.
pub(super) const INTERRUPTION_GAP: u64 = 1 << 32;

impl ShardLog {
    /// Opens a log. Only an interrupted one is looked at, and of that only the last segment.
    pub(crate) fn open(
        identity: LogIdentity,
        directory: PathBuf,
        entries: &[SegmentEntry],
        start: LogStart,
        context: Arc<LogContext>,
    ) -> Result<Arc<Self>> {
        let segments: Vec<_> = entries
            .iter()
            .map(|entry| Arc::new(Segment::inherited(identity, *entry, &directory)))
            .collect();
        let last = segments.last();
        let in_last = |place: fn(Arc<Segment>) -> Placement| last.cloned().map_or(Placement::New, place);
        let (end, damage) = match (start, last) {
            (LogStart::Rested(end) | LogStart::Sealed(end), _) => (end, None),
            (LogStart::Interrupted, None) => (LogEnd::EMPTY, None),
            (LogStart::Interrupted, Some(last)) => {
                let RecoveredTail { mut end, damage } = recovery::recover_tail(last, &context)?;
                end.is_interrupted = true;
                (end, damage)
            }
        };
        let placement = match start {
            LogStart::Sealed(_) => Placement::New,
            _ if !end.is_interrupted => in_last(Placement::Resume),
            _ if is_left_out(Step::NewSegmentAfterInterruption) => in_last(Placement::InPlace),
            _ => Placement::New,
        };
        let leaves_numbers_out = end.is_interrupted
            && !is_left_out(Step::NumberGap)
            && !is_left_out(Step::NewSegmentAfterInterruption);
        // A segment may have been begun behind the end and have stayed empty.
        let begun = last.map_or(RecordNumber::FIRST, |last| last.entry.first_record);
        let next_record = match leaves_numbers_out {
            true => end.next_record.max(begun).saturating_add(INTERRUPTION_GAP),
            false => end.next_record,
        };
        let log = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            identity,
            directory,
            segments: RwLock::new(segments),
            tail: Mutex::new(Tail {
                pending: Group::new(0),
                next_record,
                last_arrival: end.last_arrival,
                is_committing: false,
                turns: 0,
                is_sealed: matches!(start, LogStart::Sealed(_)),
                reserved: 0,
                is_announced: false,
                waiting: [0; 2],
                stalled: None,
                usual_bytes: 0,
            }),
            committed: [Condvar::new(), Condvar::new()],
            writer: Mutex::new(Writer::new(end, placement)),
            is_queued: AtomicBool::new(false),
            has_place: AtomicBool::new(false),
            published: Mutex::new(end),
            changes: LogChanges::default(),
            has_deferred: AtomicBool::new(false),
            is_known_journaled: AtomicBool::new(false),
            stranded: RwLock::default(),
            left_off: Mutex::default(),
            damage: OnceLock::new(),
            lost_tail: damage.clone(),
            context,
        });
        if let Some(damage) = damage {
            log.note_damage(damage);
        }
        Ok(log)
    }

    /// Gives records their numbers and takes them into the pending group. All of them get the same arrival time:
    /// `now`, or that of the last record if the clock went back.
    ///
    /// Waits while too much is pending.
    pub(crate) fn append(self: &Arc<Self>, records: &[PutRecord<'_>], now: Timestamp) -> Result<Appended> {
        self.check_takes_records()?;
        let bytes = check_batch_bytes(records)?;
        let tail = self.lock_with_room_for(bytes)?;
        self.take_in(tail, records, now, bytes)
    }

    /// The same, unless that would have to wait: then `None`, and nothing was taken.
    pub(crate) fn try_append(
        self: &Arc<Self>,
        records: &[PutRecord<'_>],
        now: Timestamp,
    ) -> Result<Option<Appended>> {
        self.check_takes_records()?;
        let bytes = check_batch_bytes(records)?;
        let tail = self.tail.lock();
        match self.has_to_wait(&tail, bytes) {
            true => Ok(None),
            false => self.take_in(tail, records, now, bytes).map(Some),
        }
    }

    /// Keeps room for records, so that they can be taken in without waiting once other logs have room for theirs too.
    /// `None` if that would have to wait.
    pub(crate) fn try_reserve<'a>(
        self: &'a Arc<Self>,
        records: impl Iterator<Item = &'a PutRecord<'a>>,
    ) -> Option<Reservation<'a>> {
        let bytes = records.map(encoded_bytes).sum();
        let mut tail = self.tail.lock();
        if self.has_to_wait(&tail, bytes) {
            return None;
        }
        tail.reserved += bytes;
        Some(Reservation { log: self, bytes })
    }

    fn check_takes_records(&self) -> Result<()> {
        self.context.health.check()?;
        self.check_undamaged()
    }

    /// Whether somebody, or the disk, has to be waited for before records are taken in.
    fn has_to_wait(&self, tail: &Tail, bytes: usize) -> bool {
        let is_full = !tail.pending.is_empty() && self.is_too_much(tail, bytes);
        let has_to_be_tried_again = tail.stalled.is_some() && !tail.is_committing;
        is_full || has_to_be_tried_again || self.has_to_announce(tail)
    }

    fn take_in(
        self: &Arc<Self>,
        mut tail: MutexGuard<'_, Tail>,
        records: &[PutRecord<'_>],
        now: Timestamp,
        bytes: usize,
    ) -> Result<Appended> {
        // Looked at again under the lock: a failure may have come while this waited.
        self.context.health.check()?;
        if let Some(error) = &tail.stalled {
            return Err(error.clone());
        }
        if tail.is_sealed {
            return Ok(Appended::Sealed);
        }
        let first_record = tail.next_record;
        let next_record = first_record
            .checked_add(records.len() as u64)
            .ok_or_else(|| Error::invalid("the shard has used up its sequence numbers"))?;
        let arrival = now.max(tail.last_arrival);
        let is_first = tail.pending.is_empty();
        let usual = tail.usual_bytes;
        (tail.pending).push(
            first_record,
            records,
            arrival,
            bytes,
            usual,
            &self.context.spare_buffers,
        );
        tail.next_record = next_record;
        tail.last_arrival = arrival;
        let outcome = tail.pending.outcome.clone();
        drop(tail);

        let awaited = match self.context.options.durability {
            Durability::Synced | Durability::Written => Some(outcome),
            Durability::Buffered => {
                if is_first {
                    self.context.flushers.commit_soon(self);
                }
                None
            }
        };
        Ok(Appended::Ticket(Ticket::new(
            self.clone(),
            awaited,
            first_record,
            arrival,
            bytes,
        )))
    }

    /// Waits until the pending group has room for so many bytes, and this log's records can be given numbers. A group
    /// that cannot be written may stay too large: its log is stalled then.
    fn lock_with_room_for(&self, bytes: usize) -> Result<MutexGuard<'_, Tail>> {
        let mut tail = self.tail.lock();
        let mut is_tried = false;
        loop {
            let is_full = !tail.pending.is_empty() && self.is_too_much(&tail, bytes);
            if is_full && tail.is_committing {
                tail = self.wait_for_in_flight(tail);
            } else if (is_full || tail.stalled.is_some()) && !tail.is_committing && !is_tried {
                tail = self.lead(tail);
                is_tried = tail.stalled.is_some();
            } else if self.has_to_announce(&tail) {
                tail = self.announce(tail, bytes)?;
            } else {
                return Ok(tail);
            }
        }
    }

    /// This log, unless its last owner is letting it go.
    pub(super) fn shared(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    /// Waits for the commit that is in flight, if one is, and syncs what was written.
    pub(super) fn sync_in_turn(&self) -> Result<()> {
        self.wait_for_turn();
        self.sync()
    }

    /// When the last record arrived that was taken in: no later one arrives earlier.
    pub(crate) fn last_arrival(&self) -> Timestamp {
        self.tail.lock().last_arrival
    }

    /// For waiting at the end.
    pub(crate) fn changes(&self) -> &LogChanges {
        &self.changes
    }

    /// Where readers stopped when they last looked: behind all of that, but not behind all that is committed.
    pub(crate) fn shown_end(&self) -> LogEnd {
        *self.published.lock()
    }

    /// Where readers stop.
    pub(crate) fn end(&self) -> LogEnd {
        if self.is_acknowledged_from_memory() {
            // What was acknowledged from memory is read through the file like all else, so it is written first.
            // Where that fails, readers see what was written before.
            let _ = self.drain();
        } else if self.has_deferred.load(Ordering::Acquire) {
            // What only the journal has too; where that fails, it is read from memory.
            let _ = self.write_deferred();
        }
        *self.published.lock()
    }

    /// Takes no more records, and makes all that was taken durable.
    pub(crate) fn seal(&self) -> Result<LogEnd> {
        self.check_undamaged()?;
        self.tail.lock().is_sealed = true;
        self.drain()?;
        self.write_deferred()?;
        perform(Step::SyncBeforeReshard, || self.sync())?;
        Ok(*self.published.lock())
    }

    /// Takes records again, after a seal that led to nothing.
    pub(crate) fn unseal(&self) {
        self.tail.lock().is_sealed = false;
    }

    /// Commits and syncs all that was taken so far.
    pub(crate) fn rest(&self) -> Result<LogEnd> {
        self.drain()?;
        self.write_deferred()?;
        perform(Step::SyncBeforeRest, || self.sync())?;
        Ok(*self.published.lock())
    }

    /// Keeps writers out of a log that nobody is writing to, for as long as its end is being recorded. `None` for a log
    /// that is being written to, or that is not known to be whole behind its end.
    pub(crate) fn begin_rest(self: &Arc<Self>) -> Result<Option<Resting>> {
        if !self.tail.lock().is_idle() {
            return Ok(None);
        }
        // Before writers are kept out, since it takes a while.
        perform(Step::SyncBeforeRest, || self.sync())?;
        let mut tail = self.tail.lock();
        if !tail.is_idle() {
            return Ok(None);
        }
        tail.is_committing = true;
        tail.is_announced = false;
        drop(tail);
        Resting::of(self)
    }

    /// Makes what was written durable, and gives the end if that may be recorded then. Writers are kept out.
    fn synced_end(&self) -> Result<Option<LogEnd>> {
        self.context.health.check()?;
        let mut writer = self.writer.lock();
        writer.write_deferred(self)?;
        perform(Step::SyncBeforeRest, || writer.sync(self))?;
        drop(writer);
        Ok(self.known_end())
    }

    /// Where this log ends, if that may be recorded: everything is committed and synced, and the log is whole.
    pub(crate) fn known_end(&self) -> Option<LogEnd> {
        match self.damage.get() {
            Some(_) => None,
            None => Some(self.writer.lock().known_end())
                .filter(|end| !end.is_interrupted || !is_left_out(Step::RecoveredEndRecorded)),
        }
    }

    /// Makes durable all that was written so far. More can be written meanwhile.
    pub(crate) fn sync(&self) -> Result<()> {
        self.context.health.check()?;
        let unsynced = self.writer.lock().unsynced(self)?;
        if let Some(unsynced) = unsynced {
            unsynced.sync(self)?;
            self.writer.lock().note_synced(&unsynced);
        }
        Ok(())
    }

    /// Has a flusher write what is deferred.
    pub(super) fn have_deferred_written(&self) {
        if let Some(this) = self.this.upgrade() {
            self.context.flushers.write(this);
        }
    }

    /// Writes what is deferred. A failure is latched in the store's health.
    pub(super) fn write_deferred(&self) -> Result<()> {
        self.writer.lock().write_deferred(self)
    }

    /// Has a flusher sync.
    pub(super) fn have_synced(&self) {
        if let Some(this) = self.this.upgrade() {
            self.context.flushers.sync(this);
        }
    }

    /// The number behind the last record that was given one, for telling whether anything was appended since.
    pub(crate) fn appended_through(&self) -> RecordNumber {
        self.tail.lock().next_record
    }

    /// Refuses if damage was found in this log.
    pub(crate) fn check_undamaged(&self) -> Result<()> {
        self.damage.get().map_or(Ok(()), |damage| Err(damage.clone()))
    }

    /// Keeps the first damage that was found. Nothing more is written to a damaged log.
    pub(crate) fn note_damage(&self, damage: Error) -> Error {
        self.damage.get_or_init(|| damage).clone()
    }

    /// Forgets the oldest segments up to the one that begins at `first`. Their files are the caller's from then on.
    pub(crate) fn forget_segments_before(&self, first: RecordNumber) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.write();
        let kept = segments.partition_point(|segment| segment.entry.first_record < first);
        let forgotten: Vec<_> = segments.drain(..kept).collect();
        // Under the lock: whoever cannot hold one of them does not find it here again.
        forgotten.iter().for_each(|segment| segment.forget());
        drop(segments);
        for segment in &forgotten {
            self.context.open_segments.close(segment);
        }
        forgotten
    }

    /// Forgets all segments of a log that is gone from the catalog.
    pub(crate) fn forget_all_segments(&self) -> Vec<Arc<Segment>> {
        self.forget_segments_before(RecordNumber::END)
    }

    /// Whether a file in this log's directory is one of its own.
    pub(crate) fn names_file(&self, name: &str) -> bool {
        let is_named =
            |segment: &Arc<Segment>| name == segment.entry.file_name() || name == segment.entry.index_name();
        self.segments.read().iter().any(is_named)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Saves the index of the last segment, which would else be built again when the log is next read.
    pub(crate) fn save_live_index(&self) {
        if let Some(last) = self.segments.read().last().cloned() {
            super::writer::save_index(&last, self.published.lock().position, self.context.disk.as_ref());
        }
    }

    fn is_too_much(&self, tail: &Tail, bytes: usize) -> bool {
        tail.pending.bytes() + tail.reserved + bytes > self.context.options.max_group_bytes
    }

    /// Whether records are acknowledged before they are written, so that they cannot be given up.
    pub(crate) fn is_acknowledged_from_memory(&self) -> bool {
        self.context.options.durability == Durability::Buffered
    }
}

impl Resting {
    /// Has the turn of this log already.
    fn of(log: &Arc<ShardLog>) -> Result<Option<Self>> {
        let mut resting = Self {
            log: log.clone(),
            end: LogEnd::EMPTY,
            is_recorded: false,
        };
        let end = log.synced_end()?;
        Ok(end.map(|end| {
            resting.end = end;
            resting
        }))
    }

    /// Where the log ends.
    pub(crate) fn end(&self) -> LogEnd {
        self.end
    }

    /// Lets writers in again, now that the end is recorded.
    pub(crate) fn recorded(mut self) {
        self.is_recorded = true;
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        if self.is_recorded {
            self.log.writer.lock().rest(&self.log);
            self.log.is_known_journaled.store(false, Ordering::Relaxed);
        }
        let next = self.log.end_turn(self.log.tail.lock());
        self.log.context.flushers.commit(next);
    }
}
