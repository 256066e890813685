//! Waiting for records to be committed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::commits::Commits;
use super::outcome::Outcome;
use crate::error::Result;
use crate::model::{RecordNumber, Timestamp};
use crate::sync::AtomicBool;

/// Records that have their numbers and wait to be durable at the store's level. Whether or not anyone waits, they
/// will be.
#[derive(Debug)]
#[must_use = "records are acknowledged only when their ticket is done"]
pub(crate) struct CommitTicket<L: Commits> {
    pub(crate) first_record: RecordNumber,
    pub(crate) arrival: Timestamp,
    /// How many bytes the records have in the group.
    pub(super) bytes: usize,
    pub(super) log: Arc<L>,
    /// Nothing, where the records are acknowledged from memory.
    awaited: Option<Arc<Outcome>>,
    /// Whether a thread is known to commit them.
    is_started: AtomicBool,
    /// Of the task that waits, among those that wait for the group.
    place_of_waker: Option<usize>,
}

impl<L: Commits> CommitTicket<L> {
    pub(super) fn new(
        log: Arc<L>,
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

    /// Blocks until the records are committed, and commits them itself if no other thread does.
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
        L::have_committed(logs);
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.awaited.as_deref()
    }
}

impl<L: Commits> Future for CommitTicket<L> {
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

impl<L: Commits> Drop for CommitTicket<L> {
    fn drop(&mut self) {
        self.start();
    }
}
