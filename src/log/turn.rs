//! Who commits a log's groups, and who waits.
//!
//! One thread at a time has a log's *turn*: it takes the pending group, makes it durable and answers it, alone or in a
//! round with other logs ([`round`](super::round)). While it does, the next group forms.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::LogEnd;
use super::commit::{Group, InFlight, Outcome};
use super::place::Place;
use super::round::{self, Round};
use super::shard_log::ShardLog;
use super::writer::PlacedFrame;
use crate::disk::{Step, perform};
use crate::error::{Error, Result};
use crate::model::{RecordNumber, Timestamp};
use crate::sync::MutexGuard;

/// What a log has taken and not yet committed.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) pending: Group,
    /// The number that the next record to be appended gets.
    pub(super) next_record: RecordNumber,
    pub(super) last_arrival: Timestamp,
    pub(super) is_committing: bool,
    /// How many commits, and what else keeps writers out, have ended.
    pub(super) turns: u64,
    pub(super) is_sealed: bool,
    /// Bytes of records that are about to be taken in, which have room here already ([`Reservation`](super::Reservation)).
    pub(super) reserved: usize,
    /// Whether the ledger knows that this log is being written to. Until it does, a crash gives the numbers from here
    /// on to others, so none is told to anyone.
    pub(super) is_announced: bool,
    /// Threads that wait for a group of either parity, so that nobody is woken in vain.
    pub(super) waiting: [usize; 2],
    /// Why records that were acknowledged from memory cannot be written at the moment.
    pub(super) stalled: Option<Error>,
    /// How many bytes the last group had, and the next will probably have.
    pub(super) usual_bytes: usize,
}

impl Tail {
    /// Whether nothing is taken, and nothing will be before somebody appends.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_committing && self.pending.is_empty() && self.reserved == 0 && !self.is_sealed
    }
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

/// How far a group has come on the way to its segment.
pub(super) enum FrameOrPlace {
    Frame(PlacedFrame),
    Place(Place),
}

impl ShardLog {
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

    /// Waits until nothing is pending or in flight, or what is pending cannot be written.
    pub(super) fn drain(&self) -> Result<()> {
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

    /// Makes a group that was taken a frame of the last segment, if that is ready and takes it. Else says where the
    /// frame goes once that place is ready.
    pub(super) fn frame_or_place(&self, group: &mut Group) -> Result<FrameOrPlace> {
        self.context.health.check()?;
        let mut writer = self.writer.lock();
        match writer.frame_where_ready(self, group)? {
            Some(frame) => Ok(FrameOrPlace::Frame(frame)),
            None => writer
                .place(self, group.first_record, group.frame_bytes())
                .map(FrameOrPlace::Place),
        }
    }

    /// Makes a group that was taken a frame in a place that is ready.
    pub(super) fn frame_in(&self, group: &mut Group, place: Place) -> Result<PlacedFrame> {
        self.writer.lock().frame_in(self, group, place)
    }

    /// Writes a frame to its segment and shows it, where nobody waits for a sync.
    pub(super) fn write(&self, group: &mut Group, frame: PlacedFrame) -> Result<()> {
        self.context.health.check()?;
        let mut writer = self.writer.lock();
        let end = writer.write(self, group, frame)?;
        writer.ask_for_sync(self);
        writer.publish(self, end);
        Ok(())
    }

    /// Whether a commit will have to tell the ledger where it writes to.
    pub(crate) fn lacks_place(&self) -> bool {
        !self.has_place.load(Ordering::Relaxed)
    }

    /// Takes a frame in, to be written to its segment in time.
    pub(super) fn defer(&self, group: &mut Group, frame: PlacedFrame) -> Result<LogEnd> {
        self.writer.lock().defer(self, group, frame)
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
        writer.publish(self, end);
        Ok(())
    }

    /// Commits the pending group. The lock is released meanwhile, so the next group forms.
    pub(super) fn lead<'a>(&'a self, mut tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
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
                self.changes.notify();
            }
        }
        self.tail.lock()
    }

    fn begin_turn(&self, tail: &mut Tail) -> (InFlight<'_>, Group) {
        let next = Group::new(1 - tail.pending.outcome.parity);
        let group = std::mem::replace(&mut tail.pending, next);
        // Forgotten slowly: often a writer that comes alone is followed by many.
        tail.usual_bytes = group.buffer.len().max(tail.usual_bytes - tail.usual_bytes / 4);
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
            Ok(()) => {
                // With what the frame, and the page, was filled up with.
                tail.usual_bytes = tail.usual_bytes.max(group.buffer.len());
                self.context.spare_buffers.give(group.buffer);
            }
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

    /// Ends a commit, or what else kept writers out. One of those who wait for the pending group leads it; where nobody
    /// waits, this log is given back for a flusher. The leader is woken first, so that the disk has something to do
    /// while the others wake.
    #[must_use = "nobody else leads what is pending"]
    pub(super) fn end_turn(&self, mut tail: MutexGuard<'_, Tail>) -> Option<Arc<Self>> {
        tail.is_committing = false;
        tail.turns += 1;
        let pending = tail.pending.outcome.parity;
        let has_leader = tail.pending.waiting_threads > 0;
        let is_left_to_flusher = !has_leader && !tail.pending.is_claimed && !tail.pending.is_empty();
        let for_flusher = is_left_to_flusher.then(|| self.shared()).flatten();
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

    /// What is pending was numbered behind a group that came to nothing. Nobody has seen those numbers, so they are
    /// given out again, and the pending records fail with the same error. Gives the tasks to be woken.
    fn fail_pending(&self, tail: &mut Tail, failed_from: RecordNumber, error: &Error) -> Vec<Waker> {
        let next = Group::new(tail.pending.outcome.parity);
        let failed = std::mem::replace(&mut tail.pending, next);
        tail.next_record = failed_from;
        self.committed[failed.outcome.parity].notify_all();
        failed.outcome.set(Err(error.clone()))
    }

    /// Waits for the end of the commit in flight, or of what else keeps writers out.
    pub(super) fn wait_for_in_flight<'a>(&'a self, tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        let in_flight = 1 - tail.pending.outcome.parity;
        self.wait_for_parity(in_flight, tail)
    }

    fn wait_for_parity<'a>(&'a self, parity: usize, mut tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        tail.waiting[parity] += 1;
        let mut tail = self.committed[parity].wait(tail);
        tail.waiting[parity] -= 1;
        tail
    }

    pub(super) fn poison_after_panic(&self) -> Error {
        let panic = std::io::Error::other("the committing thread panicked");
        self.context.health.poison("commit to", &self.directory, panic)
    }
}
