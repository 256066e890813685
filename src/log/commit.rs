//! Group commit: who leads, who waits, and how everyone learns the outcome.
//!
//! Two groups of a log exist at most: the one in flight and the pending one that takes new records. They differ in
//! parity, and each parity has a condition of its own, so that the end of a commit wakes its own group and one
//! future leader, not everybody.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::frame::{ALIGNMENT, HEADER_BYTES, frame_bytes_of};
use super::record_codec;
use super::segment::PAGE_BYTES;
use super::shard_log::ShardLog;
use super::spare_buffers::SpareBuffers;
use crate::error::Result;
use crate::model::{PutRecord, RecordNumber, Timestamp};
use crate::sync::{AtomicBool, Mutex, OnceLock};

/// When a put returns, and what it then survives.
///
/// | level | killed process | crashed operating system | lost power | a put costs |
/// |---|---|---|---|---|
/// | [`Synced`](Self::Synced) | survives | survives | survives | a share of one `fdatasync` |
/// | [`Written`](Self::Written) | survives | the last second may go | the last second may go | a share of one `write` |
/// | [`Buffered`](Self::Buffered) | the last 20 ms may go | the last second may go | the last second may go | a copy |
///
/// At every level a shard keeps a prefix of what was put, in order, and no sequence number is ever used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A put returns after `fdatasync`. Readers see only what no crash can take back.
    #[default]
    Synced,
    /// A put returns once the operating system has the bytes; they are synced in the background once a second.
    Written,
    /// A put returns once the bytes are in this process's memory; they are written in the background.
    Buffered,
}

/// Records that will be committed together.
#[derive(Debug)]
pub(super) struct Group {
    /// Room for the frame's header, then the encoded records. Nothing at all before the first.
    pub(super) buffer: Vec<u8>,
    pub(super) first_record: RecordNumber,
    pub(super) count: u32,
    pub(super) first_arrival: Timestamp,
    pub(super) last_arrival: Timestamp,
    pub(super) outcome: Arc<Outcome>,
    /// Threads that wait for this group, any of which will lead if need be.
    pub(super) waiting_threads: usize,
    /// Whether a thread that waits for another log of its round will come for this group.
    pub(super) is_claimed: bool,
}

impl Group {
    pub(super) fn new(parity: usize) -> Self {
        Self {
            buffer: Vec::new(),
            first_record: RecordNumber::FIRST,
            count: 0,
            first_arrival: Timestamp::from_millis(0),
            last_arrival: Timestamp::from_millis(0),
            outcome: Arc::new(Outcome {
                parity,
                result: OnceLock::new(),
                wakers: Mutex::default(),
            }),
            waiting_threads: 0,
            is_claimed: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn bytes(&self) -> usize {
        self.buffer.len().saturating_sub(HEADER_BYTES)
    }

    /// The length of the frame that the group becomes.
    pub(super) fn frame_bytes(&self) -> u64 {
        frame_bytes_of(self.buffer.len())
    }

    /// Takes back a group that was numbered before this one and could not be written.
    pub(super) fn put_before(&mut self, mut earlier: Group) {
        if !self.is_empty() {
            earlier.buffer.extend_from_slice(&self.buffer[HEADER_BYTES..]);
            earlier.count += self.count;
            earlier.last_arrival = self.last_arrival;
        }
        self.buffer = earlier.buffer;
        self.count = earlier.count;
        self.first_record = earlier.first_record;
        self.first_arrival = earlier.first_arrival;
        self.last_arrival = earlier.last_arrival;
    }

    /// Takes in records that have `bytes` when they are encoded, where the group before had `usual`.
    pub(super) fn push(
        &mut self,
        number: RecordNumber,
        records: &[PutRecord<'_>],
        arrival: Timestamp,
        bytes: usize,
        usual: usize,
        spare: &SpareBuffers,
    ) {
        // With room for what a frame is filled up with, and where there is a buffer, a page.
        let room = bytes + ALIGNMENT;
        let usual = usual.max(HEADER_BYTES + room + PAGE_BYTES as usize);
        if self.is_empty() {
            self.first_record = number;
            self.first_arrival = arrival;
            self.buffer = spare.take(HEADER_BYTES + room, usual);
            self.buffer.resize(HEADER_BYTES, 0);
        } else {
            spare.make_room(&mut self.buffer, room, usual);
        }
        self.last_arrival = arrival;
        // A group has a limit in bytes, and each record takes some.
        self.count += records.len() as u32;
        for record in records {
            record_codec::encode(&mut self.buffer, record.partition_key, record.data, arrival);
        }
    }
}

/// What became of a group, for all who wait for it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) parity: usize,
    result: OnceLock<Result<()>>,
    wakers: Mutex<Vec<Waker>>,
}

impl Outcome {
    pub(super) fn get(&self) -> Option<Result<()>> {
        self.result.get().cloned()
    }

    /// The first outcome stands. Gives the tasks that wait, to be woken once no lock is held: an executor may poll
    /// them right there.
    #[must_use = "somebody waits for this"]
    pub(super) fn set(&self, result: Result<()>) -> Vec<Waker> {
        let _ = self.result.set(result);
        // Taken after the result is set: whoever registers later finds the result first (see `register`).
        std::mem::take(&mut *self.wakers.lock())
    }

    /// Registers a task to be woken, unless the outcome is there already. `place` is its own among the tasks, which it
    /// keeps for the next time: thousands may wait for one group.
    pub(super) fn register(&self, waker: &Waker, place: &mut Option<usize>) -> Option<Result<()>> {
        let mut wakers = self.wakers.lock();
        if let Some(result) = self.get() {
            return Some(result);
        }
        match place.and_then(|place| wakers.get_mut(place)) {
            Some(known) => known.clone_from(waker),
            None => {
                *place = Some(wakers.len());
                wakers.push(waker.clone());
            }
        }
        None
    }
}

/// Records that have their numbers and wait to be durable at the store's level. Whether or not anyone waits, they
/// will be.
#[derive(Debug)]
#[must_use = "records are acknowledged only when their ticket is done"]
pub(crate) struct Ticket {
    pub(crate) first_record: RecordNumber,
    pub(crate) arrival: Timestamp,
    /// How many bytes the records have in the group.
    pub(super) bytes: usize,
    pub(super) log: Arc<ShardLog>,
    /// Nothing, where the records are acknowledged from memory.
    pub(super) awaited: Option<Arc<Outcome>>,
    /// Whether somebody is known to commit them.
    is_started: AtomicBool,
    /// Of the task that waits, among those that wait for the group.
    place_of_waker: Option<usize>,
}

impl Ticket {
    pub(super) fn new(
        log: Arc<ShardLog>,
        awaited: Option<Arc<Outcome>>,
        first_record: RecordNumber,
        arrival: Timestamp,
        bytes: usize,
    ) -> Self {
        Self {
            first_record,
            arrival,
            bytes,
            log,
            awaited,
            is_started: AtomicBool::new(false),
            place_of_waker: None,
        }
    }

    /// Blocks until the records are committed, and commits them itself if nobody else is at it.
    pub(crate) fn wait(&self) -> Result<()> {
        match &self.awaited {
            Some(outcome) => outcome.get().unwrap_or_else(|| self.log.wait_for(outcome)),
            None => Ok(()),
        }
    }

    /// Has a flusher commit the records, so that a thread can wait for several logs at once.
    pub(crate) fn start(&self) {
        Self::start_all(std::iter::once(self));
    }

    /// Has flushers commit the records of several logs, as one round where that is better.
    pub(crate) fn start_all<'a>(tickets: impl Iterator<Item = &'a Self>) {
        let mut logs = Vec::new();
        for ticket in tickets {
            let is_answered = ticket.outcome().is_none_or(|outcome| outcome.get().is_some());
            if !is_answered && !ticket.is_started.swap(true, Ordering::Relaxed) && ticket.log.needs_a_leader()
            {
                logs.push(ticket.log.clone());
            }
        }
        if let Some(log) = logs.first() {
            let context = log.context.clone();
            context.flushers.commit(logs);
        }
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.awaited.as_deref()
    }
}

impl Future for Ticket {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = &mut *self;
        let Some(outcome) = &ticket.awaited else {
            return Poll::Ready(Ok(()));
        };
        match outcome.register(context.waker(), &mut ticket.place_of_waker) {
            Some(result) => Poll::Ready(result),
            None => {
                ticket.start();
                Poll::Pending
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.start();
    }
}

/// Answers the group in flight however its commit ends, by unwinding too, so that nobody waits for ever.
pub(super) struct InFlight<'a> {
    pub(super) outcome: Arc<Outcome>,
    pub(super) first_record: RecordNumber,
    log: &'a ShardLog,
    is_answered: bool,
}

impl<'a> InFlight<'a> {
    pub(super) fn new(log: &'a ShardLog, group: &Group) -> Self {
        Self {
            outcome: group.outcome.clone(),
            first_record: group.first_record,
            log,
            is_answered: false,
        }
    }

    /// Gives the log if a flusher has to commit what has gathered meanwhile.
    #[must_use = "somebody may wait for what has gathered"]
    pub(super) fn answer(mut self, result: Result<()>, group: Group) -> Option<Arc<ShardLog>> {
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
