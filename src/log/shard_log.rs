//! One shard's log: appending, waiting, sealing, trimming.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Waker;

use super::commit::{Durability, Group, InFlight, Outcome, Ticket};
use super::flusher::Flushers;
use super::journal::{CommitJournal, JournalDoubts};
use super::open_segments::OpenSegments;
use super::pool::SegmentPool;
use super::record_codec;
use super::recovery::{self, RecoveredTail};
use super::round::{self, Round};
use super::segment::{Segment, SegmentEntry};
use super::writer::{PlacedFrame, Placement, Writer};
use super::{LogEnd, LogIdentity, SegmentLedger};
use crate::disk::{Disk, Health, Step, is_left_out, perform};
use crate::error::{Error, Result};
use crate::model::{PutRecord, RecordNumber, Timestamp};
use crate::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, OnceLock, RwLock};

/// What all logs of a store share.
pub(crate) struct LogContext {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) health: Health,
    pub(crate) open_segments: OpenSegments,
    pub(crate) pool: SegmentPool,
    pub(crate) ledger: Arc<dyn SegmentLedger>,
    pub(crate) flushers: Flushers,
    pub(crate) options: LogOptions,
    /// Takes the frames of rounds over several logs, once the store is open.
    pub(crate) journal: RwLock<Option<Arc<CommitJournal>>>,
    /// What could not be had of an earlier opener's commit journal.
    pub(crate) journal_doubts: OnceLock<JournalDoubts>,
    /// Logs whose commit is in flight.
    pub(crate) commits_in_flight: AtomicUsize,
    /// Called after a commit, for readers that wait at the head.
    pub(crate) on_commit: Box<dyn Fn() + Send + Sync>,
    /// Called when the keeper has something to prepare.
    pub(crate) on_want: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for LogContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogContext")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl LogContext {
    pub(crate) fn journal(&self) -> Option<Arc<CommitJournal>> {
        self.journal.read().clone()
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LogOptions {
    pub(crate) durability: Durability,
    /// The largest segment; a log's first ones are smaller.
    pub(crate) segment_bytes: u64,
    /// Appends wait while this much is pending.
    pub(crate) max_group_bytes: usize,
    /// So many logs are committed together through the commit journal.
    pub(crate) round_logs: usize,
    /// Whether sealed segments are read through a mapping, or all through the page cache.
    pub(crate) map_sealed_segments: bool,
}

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
    tail: Mutex<Tail>,
    /// By parity of the group that is waited for.
    committed: [Condvar; 2],
    writer: Mutex<Writer>,
    /// Held during a sync; taken after `writer` where both are.
    pub(super) syncing: Mutex<()>,
    /// Where readers stop: the end of what is committed.
    pub(super) published: Mutex<LogEnd>,
    damage: OnceLock<Error>,
    /// What lies at the end, where recovery found that the log once went on.
    pub(super) lost_tail: Option<Error>,
}

#[derive(Debug)]
struct Tail {
    pending: Group,
    /// The number that the next record to be appended gets.
    next_record: RecordNumber,
    last_arrival: Timestamp,
    is_committing: bool,
    /// How many commits, and what else keeps writers out, have ended.
    turns: u64,
    is_sealed: bool,
    /// Whether the ledger knows that this log is being written to. Until it does, a crash gives the numbers from here
    /// on to others, so none is told to anyone.
    is_announced: bool,
    /// Threads that wait for a group of either parity, so that nobody is woken in vain.
    waiting: [usize; 2],
    /// Why records that were acknowledged from memory cannot be written at the moment.
    stalled: Option<Error>,
    /// The buffer of the last group, to be used again.
    spare: Vec<u8>,
}

/// What becomes of a group that a thread wants to commit.
pub(super) enum Turn<'a> {
    /// It has its outcome.
    Answered,
    /// The thread has it, and has to answer it.
    Taken(InFlight<'a>, Group),
    /// Somebody else commits, this group or the one before.
    Awaited,
}

/// The answer to an append.
pub(crate) enum Appended {
    Ticket(Ticket),
    /// The log was sealed: the records belong elsewhere.
    Sealed,
}

/// Numbers left out after an interruption. A log syncs each segment before it begins the next, so fewer records
/// than this can have been seen by someone and then lost, whatever the durability.
const INTERRUPTION_GAP: u64 = 1 << 32;

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
        let (end, next_record, placement, damage) = match start {
            LogStart::Rested(end) => (
                end,
                end.next_record,
                segments.last().cloned().map_or(Placement::New, Placement::Resume),
                None,
            ),
            LogStart::Sealed(end) => (end, end.next_record, Placement::New, None),
            LogStart::Interrupted => match segments.last() {
                None => (LogEnd::EMPTY, LogEnd::EMPTY.next_record, Placement::New, None),
                Some(last) => {
                    let RecoveredTail { end, damage } = recovery::recover_tail(last, &context)?;
                    let gap = match is_left_out(Step::NumberGap)
                        || is_left_out(Step::NewSegmentAfterInterruption)
                    {
                        true => 0,
                        false => INTERRUPTION_GAP,
                    };
                    let placement = match is_left_out(Step::NewSegmentAfterInterruption) {
                        true => Placement::InPlace(last.clone()),
                        false => Placement::New,
                    };
                    (end, end.next_record.saturating_add(gap), placement, damage)
                }
            },
        };
        let log = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            identity,
            directory,
            segments: RwLock::new(segments),
            tail: Mutex::new(Tail {
                pending: Group::new(Vec::new(), 0),
                next_record,
                last_arrival: end.last_arrival,
                is_committing: false,
                turns: 0,
                is_sealed: matches!(start, LogStart::Sealed(_)),
                is_announced: false,
                waiting: [0; 2],
                stalled: None,
                spare: Vec::new(),
            }),
            committed: [Condvar::new(), Condvar::new()],
            writer: Mutex::new(Writer::new(end, placement)),
            syncing: Mutex::default(),
            published: Mutex::new(end),
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
        self.context.health.check()?;
        self.check_undamaged()?;
        let bytes: usize = records
            .iter()
            .map(|record| record_codec::encoded_bytes(record.partition_key, record.data))
            .sum();
        let mut tail = self.tail.lock();
        while tail.is_committing && !tail.pending.is_empty() && self.is_too_much(&tail.pending, bytes) {
            tail = self.wait_for_in_flight(tail);
        }
        if !tail.pending.is_empty() && self.is_too_much(&tail.pending, bytes) {
            drop(tail);
            self.commit_pending();
            tail = self.tail.lock();
        }
        if tail.stalled.is_some() && !tail.is_committing {
            tail = self.lead(tail);
        }
        while self.is_acknowledged_from_memory()
            && !tail.is_announced
            && !tail.is_sealed
            && !is_left_out(Step::AnnouncedBeforeNumber)
        {
            tail = self.announce(tail, bytes)?;
        }
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
        tail.pending.push(first_record, records, arrival);
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

    /// This log, unless its last owner is letting it go.
    pub(super) fn shared(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    /// Blocks until a group has its outcome, and leads whenever nobody does.
    pub(super) fn wait_for(&self, outcome: &Outcome) -> Result<()> {
        let mut tail = self.tail.lock();
        loop {
            if let Some(result) = outcome.get() {
                return result;
            }
            if !tail.is_committing {
                tail = self.lead(tail);
                continue;
            }
            // Counted only while the group is pending: the flag tells the leader that somebody is there to go on.
            let is_pending = std::ptr::eq(outcome, tail.pending.outcome.as_ref());
            if is_pending {
                tail.pending.waiting_threads += 1;
            }
            tail = self.wait_for_parity(outcome.parity, tail);
            if is_pending && std::ptr::eq(outcome, tail.pending.outcome.as_ref()) {
                tail.pending.waiting_threads -= 1;
            }
        }
    }

    /// Commits what is pending, if nobody is at it.
    pub(super) fn commit_pending(&self) {
        let tail = self.tail.lock();
        if !tail.is_committing && !tail.pending.is_empty() {
            drop(self.lead(tail));
        }
    }

    /// Whether something is pending and nobody is at it. While a commit is in flight its end takes care of that.
    pub(super) fn needs_a_leader(&self) -> bool {
        let tail = self.tail.lock();
        !tail.is_committing && !tail.pending.is_empty()
    }

    pub(super) fn pending_bytes(&self) -> usize {
        self.tail.lock().pending.bytes()
    }

    /// Takes the pending group, if there is one and nobody commits.
    pub(super) fn take_turn(&self) -> Option<(InFlight<'_>, Group)> {
        let mut tail = self.tail.lock();
        let is_free = !tail.is_committing && !tail.pending.is_empty();
        is_free.then(|| self.begin_turn(&mut tail))
    }

    /// Takes the awaited group if nobody commits. Else makes sure that it is left to this thread, which must come again
    /// after [`wait_for_turn`](Self::wait_for_turn).
    pub(super) fn take_turn_for(&self, awaited: &Outcome) -> Turn<'_> {
        let mut tail = self.tail.lock();
        if awaited.get().is_some() {
            return Turn::Answered;
        }
        if !tail.is_committing {
            // Neither answered nor in flight, so it is the pending one.
            let (in_flight, group) = self.begin_turn(&mut tail);
            return Turn::Taken(in_flight, group);
        }
        if std::ptr::eq(awaited, tail.pending.outcome.as_ref()) {
            tail.pending.is_claimed = true;
        }
        Turn::Awaited
    }

    /// Waits for the end of the commit that is in flight, if one is.
    pub(super) fn wait_for_turn(&self) {
        let mut tail = self.tail.lock();
        let turns = tail.turns;
        while tail.is_committing && tail.turns == turns {
            tail = self.wait_for_in_flight(tail);
        }
    }

    /// Waits for the commit that is in flight, if one is, and syncs what was written.
    pub(super) fn sync_in_turn(&self) -> Result<()> {
        self.wait_for_turn();
        self.sync()
    }

    /// Makes a group that was taken a frame of its segment.
    pub(super) fn frame(&self, group: &mut Group) -> Result<PlacedFrame> {
        self.context.health.check()?;
        self.writer.lock().frame(self, group)
    }

    /// Writes a frame to its segment.
    pub(super) fn write(&self, group: &mut Group, frame: PlacedFrame) -> Result<LogEnd> {
        self.writer.lock().write(self, group, frame)
    }

    /// Shows readers what was written, once no crash can take it back: by the journal, or by a sync of the segment.
    pub(super) fn publish(&self, end: LogEnd, is_journaled: bool) -> Result<()> {
        let mut writer = self.writer.lock();
        match is_journaled {
            true => writer.note_journaled(end.position),
            false => {
                self.context.health.check()?;
                perform(Step::GroupSync, || writer.sync(self))?;
            }
        }
        drop(writer);
        *self.published.lock() = end;
        Ok(())
    }

    /// Where readers stop.
    pub(crate) fn end(&self) -> LogEnd {
        if self.is_acknowledged_from_memory() {
            // What was acknowledged from memory is read through the file like all else, so it is written first.
            // Where that fails, readers see what was written before.
            let _ = self.drain();
        }
        *self.published.lock()
    }

    /// Takes no more records, and makes all that was taken durable.
    pub(crate) fn seal(&self) -> Result<LogEnd> {
        self.check_undamaged()?;
        self.tail.lock().is_sealed = true;
        self.drain()?;
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
        perform(Step::SyncBeforeRest, || self.sync())?;
        Ok(*self.published.lock())
    }

    /// Has the end of this log recorded if nobody is writing to it, and keeps writers out meanwhile. The next append
    /// resumes the log. Does nothing for a log that is not known to be whole behind its end. `record` says whether it
    /// has recorded the end.
    pub(crate) fn rest_if_idle(&self, record: impl FnOnce(LogEnd) -> Result<bool>) -> Result<()> {
        let mut tail = self.tail.lock();
        if tail.is_committing || !tail.pending.is_empty() || tail.is_sealed {
            return Ok(());
        }
        tail.is_committing = true;
        tail.is_announced = false;
        drop(tail);
        let result = self.record_end(record);
        let mut tail = self.tail.lock();
        // Thousands of idle logs keep no buffers.
        tail.spare = Vec::new();
        let next = self.end_turn(tail);
        self.context.flushers.commit(next);
        result
    }

    /// Has the ledger know that this log is being written to, and keeps writers out meanwhile. If somebody else is at
    /// it, or commits, waits for that instead.
    fn announce<'a>(&'a self, mut tail: MutexGuard<'a, Tail>, bytes: usize) -> Result<MutexGuard<'a, Tail>> {
        if tail.is_committing {
            return Ok(self.wait_for_in_flight(tail));
        }
        tail.is_committing = true;
        let next_record = tail.next_record;
        drop(tail);
        let result = self
            .context
            .health
            .check()
            .and_then(|()| self.writer.lock().announce(self, next_record, bytes));
        let mut tail = self.tail.lock();
        if let Ok(next_record) = result {
            tail.next_record = next_record;
            tail.is_announced = true;
        }
        let next = self.end_turn(tail);
        self.context.flushers.commit(next);
        result.map(|_| self.tail.lock())
    }

    fn record_end(&self, record: impl FnOnce(LogEnd) -> Result<bool>) -> Result<()> {
        self.context.health.check()?;
        let mut writer = self.writer.lock();
        perform(Step::SyncBeforeRest, || writer.sync(self))?;
        match writer.known_end() {
            Some(end) => {
                if record(end)? {
                    writer.rest();
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Where this log ends, if that may be recorded: everything is committed and synced, and behind the end nothing
    /// was ever written in the segment's present life.
    pub(crate) fn known_end(&self) -> Option<LogEnd> {
        self.damage
            .get()
            .map_or_else(|| self.writer.lock().known_end(), |_| None)
    }

    /// Makes durable all that was written so far. More can be written meanwhile.
    pub(crate) fn sync(&self) -> Result<()> {
        self.context.health.check()?;
        let unsynced = self.writer.lock().unsynced();
        if let Some(unsynced) = unsynced {
            unsynced.sync(self)?;
            self.writer.lock().note_synced(&unsynced);
        }
        Ok(())
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
    pub(super) fn note_damage(&self, damage: Error) -> Error {
        self.damage.get_or_init(|| damage).clone()
    }

    /// Forgets the oldest segments up to the one that begins at `first`. Their files are the caller's from then on.
    pub(crate) fn forget_segments_before(&self, first: RecordNumber) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.write();
        let kept = segments.partition_point(|segment| segment.entry.first_record < first);
        let forgotten: Vec<_> = segments.drain(..kept).collect();
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

    /// Waits until nothing is pending or in flight, or what is pending cannot be written.
    fn drain(&self) -> Result<()> {
        let mut tail = self.tail.lock();
        loop {
            if tail.is_committing {
                tail = self.wait_for_in_flight(tail);
            } else if tail.pending.is_empty() {
                return Ok(());
            } else {
                tail = self.lead(tail);
                if let Some(error) = &tail.stalled {
                    return Err(error.clone());
                }
            }
        }
    }

    fn is_too_much(&self, pending: &Group, bytes: usize) -> bool {
        pending.bytes() + bytes > self.context.options.max_group_bytes
    }

    /// Commits the pending group. The lock is released meanwhile, so the next group forms.
    fn lead<'a>(&'a self, mut tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        let (in_flight, mut group) = self.begin_turn(&mut tail);
        drop(tail);
        if self.is_one_of_many(&group) {
            Round::of(self, in_flight, group).commit();
        } else {
            let result = self.commit(&mut group);
            let is_committed = result.is_ok();
            let next = in_flight.answer(result, group);
            self.context.flushers.commit(next);
            if is_committed {
                (self.context.on_commit)();
            }
        }
        self.tail.lock()
    }

    fn begin_turn(&self, tail: &mut Tail) -> (InFlight<'_>, Group) {
        let next = Group::new(std::mem::take(&mut tail.spare), 1 - tail.pending.outcome.parity);
        let group = std::mem::replace(&mut tail.pending, next);
        tail.is_committing = true;
        self.context.commits_in_flight.fetch_add(1, Ordering::Relaxed);
        (InFlight::new(self, &group), group)
    }

    /// Whether so many logs are being committed now that their frames had better share one sync of the journal.
    fn is_one_of_many(&self, group: &Group) -> bool {
        !self.identity.is_commit_journal()
            && self.context.commits_in_flight.load(Ordering::Relaxed) >= self.context.options.round_logs
            && round::is_small(1, group.bytes())
    }

    fn commit(&self, group: &mut Group) -> Result<()> {
        self.context.health.check()?;
        let end = self.writer.lock().commit(self, group)?;
        *self.published.lock() = end;
        Ok(())
    }

    /// Answers the group that was in flight. Gives this log if a flusher has to lead the next one.
    pub(super) fn finish_commit(
        &self,
        in_flight: &InFlight<'_>,
        result: Result<()>,
        group: Group,
    ) -> Option<Arc<Self>> {
        let mut tail = self.tail.lock();
        self.context.commits_in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut wakers = Vec::new();
        tail.stalled = None;
        match &result {
            Ok(()) => tail.spare = group.buffer,
            Err(error) if self.is_acknowledged_from_memory() && !matches!(error, Error::Poisoned { .. }) => {
                tail.pending.put_before(group);
                tail.stalled = Some(error.clone());
            }
            Err(error) => wakers = self.fail_pending(&mut tail, in_flight.first_record, error),
        }
        wakers.extend(in_flight.outcome.set(result));
        let next = self.end_turn(tail);
        wakers.into_iter().for_each(Waker::wake);
        next
    }

    /// Whether records are acknowledged before they are written, so that they cannot be given up.
    fn is_acknowledged_from_memory(&self) -> bool {
        self.context.options.durability == Durability::Buffered
    }

    /// Ends a commit, or what else kept writers out. One of those who wait for the pending group leads it; where nobody
    /// waits, this log is given back for a flusher. The leader is woken first, so that the disk has something to do
    /// while the others wake.
    #[must_use = "nobody else leads what is pending"]
    fn end_turn(&self, mut tail: MutexGuard<'_, Tail>) -> Option<Arc<Self>> {
        tail.is_committing = false;
        tail.turns += 1;
        let pending = tail.pending.outcome.parity;
        let has_leader = tail.pending.waiting_threads > 0;
        let is_left_to_flusher = !has_leader && !tail.pending.is_claimed && !tail.pending.is_empty();
        let for_flusher = is_left_to_flusher.then(|| self.this.upgrade()).flatten();
        let is_stalled = tail.stalled.is_some();
        let is_awaited = tail.waiting[1 - pending] > 0;
        // Whoever looked before this found the turn going on and is counted; whoever looks later finds it ended.
        drop(tail);
        if has_leader {
            self.committed[pending].notify_one();
        }
        if is_awaited {
            self.committed[1 - pending].notify_all();
        }
        match for_flusher {
            // Tried again a little later, and by whoever appends.
            Some(this) if is_stalled => {
                self.context.flushers.commit_soon(&this);
                None
            }
            for_flusher => for_flusher,
        }
    }

    /// Waits for the end of the commit in flight, or of what else keeps writers out.
    fn wait_for_in_flight<'a>(&'a self, tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        let in_flight = 1 - tail.pending.outcome.parity;
        self.wait_for_parity(in_flight, tail)
    }

    fn wait_for_parity<'a>(&'a self, parity: usize, mut tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        tail.waiting[parity] += 1;
        let mut tail = self.committed[parity].wait(tail);
        tail.waiting[parity] -= 1;
        tail
    }

    /// What is pending was numbered behind a group that came to nothing. Nobody has seen those numbers, so they are
    /// given out again, and the pending records fail with the same error. Gives the tasks to be woken.
    fn fail_pending(&self, tail: &mut Tail, failed_from: RecordNumber, error: &Error) -> Vec<Waker> {
        let next = Group::new(Vec::new(), tail.pending.outcome.parity);
        let failed = std::mem::replace(&mut tail.pending, next);
        tail.next_record = failed_from;
        self.committed[failed.outcome.parity].notify_all();
        failed.outcome.set(Err(error.clone()))
    }

    pub(super) fn poison_after_panic(&self) -> Error {
        let panic = std::io::Error::other("the committing thread panicked");
        self.context.health.poison("commit to", &self.directory, panic)
    }
}
