//! Taking a log's groups, making them frames, and answering them.
//!
//! One thread at a time has a log's *turn*: it takes the pending group, makes it durable and answers it, alone
//! ([`lead`](super::lead)) or in a round with other logs ([`round`](super::round)). While it does, the next group
//! forms.

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

/// The result of trying to take a group in order to commit it.
pub(super) enum Turn<'a> {
    /// It has its outcome.
    Answered,
    /// This thread has taken it, and has to answer it.
    Taken(InFlight<'a>, Group),
    /// Another thread commits this group or the one before.
    Awaited,
}

/// A group as a frame, or the place that must be made ready first.
pub(super) enum FrameOrPlace {
    Frame(PlacedFrame),
    Place(Place),
}

/// Answers the group in flight however its commit ends, also by unwinding, so that no caller waits for ever.
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

    /// Gives the log if a flusher has to commit the group that formed meanwhile.
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

    /// Takes the awaited group if no thread commits. Otherwise reserves the group for this thread, which must come
    /// again after [`wait_for_turn`](Self::wait_for_turn).
    pub(super) fn take_turn_for(&self, awaited: &Outcome) -> Turn<'_> {
        let mut tail = self.tail.lock();
        if awaited.get().is_some() {
            return Turn::Answered;
        }
        if !tail.is_committing {
            // It is neither answered nor in flight, so it is the pending one.
            let (in_flight, group) = self.begin_turn(&mut tail);
            return Turn::Taken(in_flight, group);
        }
        if std::ptr::eq(awaited, tail.pending.outcome.as_ref()) {
            tail.pending.is_claimed = true;
        }
        Turn::Awaited
    }

    /// Waits for the end of a commit in flight.
    pub(super) fn wait_for_turn(&self) {
        let mut tail = self.tail.lock();
        let turns = tail.turns;
        while tail.is_committing && tail.turns == turns {
            tail = self.wait_for_in_flight(tail);
        }
    }

    /// Makes a group that was taken a frame of the last segment, if that is ready and has room. Otherwise gives the
    /// place for the frame, which must be made ready.
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

    /// Writes a frame to its segment and publishes it, where no caller waits for a sync.
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

    /// Keeps a frame in memory, to be written to its segment later.
    pub(super) fn defer(&self, group: &mut Group, frame: PlacedFrame) -> Result<LogEnd> {
        let mut writer = self.writer.lock();
        let end = writer.defer(group, frame)?;
        if writer.asks_for_write() {
            self.have_deferred_written();
        }
        Ok(end)
    }

    /// Publishes what was written, after the journal or a sync of the segment has made it durable.
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
        // Lowered slowly: often many writers follow a single one.
        tail.usual_bytes = group.buffer.len().max(tail.usual_bytes - tail.usual_bytes / 4);
        tail.is_committing = true;
        self.context.commits_in_flight.fetch_add(1, Ordering::Relaxed);
        (InFlight::new(self, &group), group)
    }

    /// Commits a single group that was taken.
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

    /// Writes the deferred frames. A failure is latched in the store's health.
    pub(super) fn write_deferred(&self) -> Result<()> {
        self.writer.lock().write_deferred()
    }

    /// Makes durable everything that was written before the call. Other threads can write meanwhile.
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

    /// Asks a flusher to write the deferred frames.
    fn have_deferred_written(&self) {
        if let Some(this) = self.shared() {
            self.context.flushers.write(this);
        }
    }

    /// Asks a flusher to sync.
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
                // Includes the bytes that fill up the frame and the page.
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

    /// Ends a turn. One of the threads that wait for the pending group leads it. If no thread waits, this log is
    /// returned for a flusher. The leader is woken first, so that the disk is busy while the others wake.
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
        // A thread that looked before this saw the turn going on and is counted; one that looks later sees that it has
        // ended.
        drop(tail);
        if has_leader {
            self.committed[pending].notify_one();
        }
        if is_awaited {
            self.committed[1 - pending].notify_all();
        }
        match for_flusher {
            // The flusher tries again a little later, and so does the next append.
            Some(this) if is_stalled => {
                self.context.flushers.commit_soon(&this);
                None
            }
            for_flusher => for_flusher,
        }
    }

    /// The pending records were numbered behind a group that failed. No caller has seen those numbers, so they are
    /// given out again, and the pending records fail with the same error. Gives the tasks to be woken.
    fn fail_pending(&self, tail: &mut Tail, failed_from: RecordNumber, error: &Error) -> Vec<Waker> {
        let next = Group::new(tail.pending.outcome.parity);
        let failed = std::mem::replace(&mut tail.pending, next);
        tail.next_record = failed_from;
        self.committed[failed.outcome.parity].notify_all();
        failed.outcome.set(Err(error.clone()))
    }

    /// Forgets all segments of a log that the catalog has removed.
    pub(crate) fn forget_all_segments(&self) -> Vec<Arc<Segment>> {
        self.is_removed.store(true, Ordering::Release);
        self.abandon_pending();
        self.forget_segments_before(RecordNumber::END)
    }

    /// Fails the records that were taken in and not written, because the log is removed. No thread writes to it on
    /// return, or later.
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

    /// Waits for the end of the commit in flight, or of another step that keeps writers out.
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
