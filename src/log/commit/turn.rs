//! Taking a log's groups, making them frames, and answering them.
//!
//! One thread at a time has a log's *turn*: it takes the pending group, makes it durable and answers it, alone
//! ([`lead`](super::lead)) or in a round with other logs ([`round`](super::round)). While it does, the next group forms.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::group::Group;
use super::local_log::LocalLog;
use super::place::Place;
use super::tail::Tail;
use super::writer::PlacedFrame;
use crate::disk::{Step, is_left_out, perform};
use crate::error::{Error, Result};
use crate::log::format::log_end::LogEnd;
use crate::log::segments::segment::Segment;
use crate::model::RecordNumber;
use crate::seam::{CommittedGroup, Outcome};
use crate::sync::MutexGuard;

/// What becomes of a group that a thread wants to commit.
pub(super) enum Turn<'a> {
    /// It has its outcome.
    Answered,
    /// The thread has it, and has to answer it.
    Taken(InFlight<'a>, Group),
    /// Another thread commits, this group or the one before.
    Awaited,
}

/// How far a group has come on the way to its segment.
pub(super) enum FrameOrPlace {
    Frame(PlacedFrame),
    Place(Place),
}

/// Answers the group in flight however its commit ends, by unwinding too, so that no caller waits for ever.
pub(super) struct InFlight<'a> {
    pub(super) outcome: Arc<Outcome>,
    pub(super) first_record: RecordNumber,
    log: &'a LocalLog,
    is_answered: bool,
}

impl<'a> InFlight<'a> {
    pub(super) fn new(log: &'a LocalLog, group: &Group) -> Self {
        Self {
            outcome: group.outcome.clone(),
            first_record: group.first_record,
            log,
            is_answered: false,
        }
    }

    /// Gives the log if a flusher has to commit what has gathered meanwhile.
    #[must_use = "a caller may wait for what has gathered"]
    pub(super) fn answer(mut self, result: Result<()>, group: Group) -> Option<Arc<LocalLog>> {
        self.is_answered = true;
        self.log.finish_commit(&self, result, group)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            let error = self.log.poison_after_panic();
            let group = Group::new(self.outcome.parity);
            let next = self.log.finish_commit(self, Err(error), group);
            self.log.context.flushers.commit(next);
        }
    }
}

impl LocalLog {
    /// Takes the pending group, if there is one and no thread commits.
    pub(super) fn take_turn(&self) -> Option<(InFlight<'_>, Group)> {
        let mut tail = self.tail.lock();
        let is_free = !tail.is_committing && !tail.pending.is_empty();
        is_free.then(|| self.begin_turn(&mut tail))
    }

    /// Takes the awaited group if no thread commits. Else makes sure that it is left to this thread, which must come again
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
        self.context.resources.health.check()?;
        let mut writer = self.writer.lock();
        match writer.frame_where_ready(group)? {
            Some(frame) => Ok(FrameOrPlace::Frame(frame)),
            None => writer.place(group).map(FrameOrPlace::Place),
        }
    }

    /// Makes a group that was taken a frame in a place that is ready.
    pub(super) fn frame_in(&self, group: &mut Group, place: Place) -> Result<PlacedFrame> {
        self.writer.lock().frame_in(group, place)
    }

    /// Writes a frame to its segment and shows it, where no caller waits for a sync.
    pub(super) fn write(&self, group: &mut Group, frame: PlacedFrame) -> Result<()> {
        self.context.resources.health.check()?;
        let mut writer = self.writer.lock();
        let end = writer.write(group, frame)?;
        if writer.asks_for_sync() {
            self.have_synced();
        }
        writer.publish(end);
        Ok(())
    }

    /// Takes a frame in, to be written to its segment in time.
    pub(super) fn defer(&self, group: &mut Group, frame: PlacedFrame) -> Result<LogEnd> {
        let mut writer = self.writer.lock();
        let end = writer.defer(group, frame)?;
        if writer.asks_for_write() {
            self.have_deferred_written();
        }
        Ok(end)
    }

    /// Shows readers what was written, once no crash can take it back: by the journal, or by a sync of the segment.
    pub(super) fn publish(&self, end: LogEnd, is_journaled: bool) -> Result<()> {
        let mut writer = self.writer.lock();
        match is_journaled {
            true => writer.note_journaled(end.position),
            false => {
                self.context.resources.health.check()?;
                perform(Step::GroupSync, || writer.sync())?;
            }
        }
        writer.publish(end);
        Ok(())
    }

    pub(super) fn begin_turn(&self, tail: &mut Tail) -> (InFlight<'_>, Group) {
        let next = Group::new(1 - tail.pending.outcome.parity);
        let group = std::mem::replace(&mut tail.pending, next);
        // Forgotten slowly: often a writer that comes alone is followed by many.
        tail.usual_bytes = group.buffer.len().max(tail.usual_bytes - tail.usual_bytes / 4);
        tail.is_committing = true;
        self.context.commits_in_flight.fetch_add(1, Ordering::Relaxed);
        (InFlight::new(self, &group), group)
    }

    /// Commits a group that was taken, alone.
    pub(super) fn commit(&self, group: &mut Group) -> Result<()> {
        self.context.resources.health.check()?;
        let mut writer = self.writer.lock();
        let end = writer.commit(group)?;
        if writer.asks_for_sync() {
            self.have_synced();
        }
        drop(writer);
        *self.files.published.lock() = end;
        Ok(())
    }

    /// Writes what is deferred. A failure is latched in the store's health.
    pub(super) fn write_deferred(&self) -> Result<()> {
        self.writer.lock().write_deferred()
    }

    /// Makes durable all that was written so far. More can be written meanwhile.
    pub(crate) fn sync(&self) -> Result<()> {
        let health = &self.context.resources.health;
        health.check()?;
        let unsynced = self.writer.lock().unsynced()?;
        if let Some(unsynced) = unsynced {
            unsynced.sync(health)?;
            self.writer.lock().note_synced(&unsynced);
        }
        Ok(())
    }

    /// Has a flusher write what is deferred.
    fn have_deferred_written(&self) {
        if let Some(this) = self.shared() {
            self.context.flushers.write(this);
        }
    }

    /// Has a flusher sync.
    fn have_synced(&self) {
        if let Some(this) = self.shared() {
            self.context.flushers.sync(this);
        }
    }

    /// Answers the group that was in flight. Gives this log if a flusher has to lead the next one.
    pub(super) fn finish_commit(
        &self,
        in_flight: &InFlight<'_>,
        result: Result<()>,
        group: Group,
    ) -> Option<Arc<Self>> {
        if result.is_ok() {
            self.count(&group);
        }
        let mut tail = self.tail.lock();
        self.context.commits_in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut wakers = Vec::new();
        tail.stalled = None;
        match &result {
            Ok(()) => {
                // With what the frame, and the page, was filled up with.
                tail.usual_bytes = tail.usual_bytes.max(group.buffer.len());
                self.context.resources.spare_buffers.give(group.buffer);
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

    fn count(&self, committed: &Group) {
        if let Some(counters) = &self.counters {
            counters.count(CommittedGroup {
                records: committed.count.into(),
                bytes: committed.record_bytes,
                took: committed.begun.map(|begun| begun.elapsed()).unwrap_or_default(),
            });
        }
    }

    /// Ends a commit, or what else kept writers out. One of those who wait for the pending group leads it; where none
    /// waits, this log is given back for a flusher. The leader is woken first, so that the disk has something to do
    /// while the others wake.
    #[must_use = "no other thread leads what is pending"]
    pub(super) fn end_turn(&self, mut tail: MutexGuard<'_, Tail>) -> Option<Arc<Self>> {
        tail.is_committing = false;
        tail.turns += 1;
        let pending = tail.pending.outcome.parity;
        let has_leader = tail.pending.waiting_threads > 0;
        let is_left_to_flusher = !has_leader && !tail.pending.is_claimed && !tail.pending.is_empty();
        let for_flusher = is_left_to_flusher.then(|| self.shared()).flatten();
        let is_stalled = tail.stalled.is_some();
        let is_awaited = tail.waiting[1 - pending] > 0;
        // A thread that looked before this found the turn going on and is counted; one that looks later finds it ended.
        drop(tail);
        if has_leader {
            self.committed[pending].notify_one();
        }
        if is_awaited {
            self.committed[1 - pending].notify_all();
        }
        match for_flusher {
            // Tried again a little later, and by the next append.
            Some(this) if is_stalled => {
                self.context.flushers.commit_soon(&this);
                None
            }
            for_flusher => for_flusher,
        }
    }

    /// What is pending was numbered behind a group that came to nothing. Those numbers were not seen, so they are
    /// given out again, and the pending records fail with the same error. Gives the tasks to be woken.
    fn fail_pending(&self, tail: &mut Tail, failed_from: RecordNumber, error: &Error) -> Vec<Waker> {
        let next = Group::new(tail.pending.outcome.parity);
        let failed = std::mem::replace(&mut tail.pending, next);
        tail.next_record = failed_from;
        self.committed[failed.outcome.parity].notify_all();
        failed.outcome.set(Err(error.clone()))
    }

    /// Forgets all segments of a log that is gone from the catalog.
    pub(crate) fn forget_all_segments(&self) -> Vec<Arc<Segment>> {
        self.is_removed.store(true, Ordering::Release);
        self.abandon_pending();
        self.forget_segments_before(RecordNumber::END)
    }

    /// Fails what was taken and not written, of a log that is removed: nothing is written to it on return, nor later.
    fn abandon_pending(&self) {
        let mut tail = self.tail.lock();
        while tail.is_committing && !is_left_out(Step::QuietBeforeRemoval) {
            tail = self.wait_for_in_flight(tail);
        }
        let mut wakers = Vec::new();
        if !tail.pending.is_empty() {
            let next = tail.next_record;
            let gone = tail.stalled.take().unwrap_or(Error::Closed);
            wakers = self.fail_pending(&mut tail, next, &gone);
        }
        drop(tail);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits for the end of the commit in flight, or of what else keeps writers out.
    pub(super) fn wait_for_in_flight<'a>(&'a self, tail: MutexGuard<'a, Tail>) -> MutexGuard<'a, Tail> {
        let in_flight = 1 - tail.pending.outcome.parity;
        self.wait_for_parity(in_flight, tail)
    }

    pub(super) fn wait_for_parity<'a>(
        &'a self,
        parity: usize,
        mut tail: MutexGuard<'a, Tail>,
    ) -> MutexGuard<'a, Tail> {
        tail.waiting[parity] += 1;
        let mut tail = self.committed[parity].wait(tail);
        tail.waiting[parity] -= 1;
        tail
    }

    pub(super) fn poison_after_panic(&self) -> Error {
        let panic = std::io::Error::other("the committing thread panicked");
        self.context
            .resources
            .health
            .poison("commit to", &self.files.directory, panic)
    }
}
