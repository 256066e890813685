//! Tickets, by which callers wait for the commit of their records.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::outcome::Outcome;
use crate::error::Result;
use crate::model::{RecordNumber, Timestamp};
use crate::sync::AtomicBool;

/// Whether an append may wait: for room, for the disk, or for another thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Allowed,
    Refused,
}

/// The result of an append.
#[derive(Debug)]
pub(crate) enum Appended {
    Taken(Ticket),
    /// The log is sealed, so the records must go to another one.
    Sealed,
    /// The append would have had to wait, which the caller did not allow. Nothing was taken.
    WouldWait,
}

/// The places of the records of one append. They have consecutive numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) first_record: RecordNumber,
    /// The arrival time of all of them.
    pub(crate) arrival: Timestamp,
}

/// Records that were taken in and will be durable at the store's level, whether or not a caller waits.
///
/// Their places are known only after that: a backend need not know them before.
#[derive(Debug)]
#[must_use = "records are acknowledged only when their ticket is done"]
pub(crate) struct Ticket {
    placed: Placed,
    /// `None` if the records are acknowledged already.
    awaited: Option<Awaited>,
    /// The place of the waiting task among those that wait for the group.
    place_of_waker: Option<usize>,
}

/// What a ticket waits for: the outcome of its records' group.
pub(crate) struct Awaited {
    by: Arc<dyn Committer>,
    outcome: Arc<Outcome>,
    bytes: usize,
    /// Whether a thread is known to commit the group.
    is_started: AtomicBool,
}

/// Gives out tickets, and commits the groups that they wait for.
pub(crate) trait Committer: Any + fmt::Debug + Send + Sync {
    /// Blocks until a group has its outcome, and commits it if no other thread does.
    fn wait_for(&self, outcome: &Outcome) -> Result<()>;

    /// Blocks until all groups have their outcomes, and commits them, together if that is better. All belong to
    /// committers of one store, and the first one to this committer.
    fn wait_for_all(&self, awaited: &[&Awaited]);

    /// Makes other threads commit these groups, which all belong to one store.
    fn have_committed(&self, awaited: &[&Awaited]);
}

impl Placed {
    /// The number of the record at this place of its append.
    pub(crate) fn number(&self, place: u32) -> RecordNumber {
        RecordNumber::new(self.first_record.value() + u64::from(place))
    }

    /// The final places, once the group has its outcome. Until then they may count from the beginning of the group.
    fn in_group(self, outcome: &Outcome) -> Self {
        match outcome.first_record() {
            Some(first) => Self {
                first_record: RecordNumber::new(first.value() + self.first_record.value()),
                ..self
            },
            None => self,
        }
    }
}

impl Ticket {
    /// A ticket for records that are acknowledged already.
    pub(crate) fn done(placed: Placed) -> Self {
        Self {
            placed,
            awaited: None,
            place_of_waker: None,
        }
    }

    /// A ticket for records that are acknowledged when their group has its outcome. They have so many bytes in the
    /// group.
    pub(crate) fn of_group(
        placed: Placed,
        by: Arc<dyn Committer>,
        outcome: Arc<Outcome>,
        bytes: usize,
    ) -> Self {
        Self {
            placed,
            awaited: Some(Awaited {
                by,
                outcome,
                bytes,
                is_started: AtomicBool::new(false),
            }),
            place_of_waker: None,
        }
    }

    /// Blocks until the records are committed, and commits them if no other thread does.
    pub(crate) fn wait(&self) -> Result<Placed> {
        match &self.awaited {
            Some(awaited) => awaited.wait().map(|()| self.placed.in_group(&awaited.outcome)),
            None => Ok(self.placed),
        }
    }

    /// Blocks until all tickets have their outcomes, which each of them keeps.
    pub(crate) fn wait_for_all(tickets: &[&Self]) {
        let awaited: Vec<_> = tickets
            .iter()
            .filter_map(|ticket| ticket.awaited.as_ref())
            .collect();
        if let Some(first) = awaited.first() {
            first.by.wait_for_all(&awaited);
        }
    }

    /// Makes other threads commit the records of several tickets, so that a task can wait for all of them at once.
    pub(crate) fn start_all(tickets: &[&Self]) {
        let awaited = tickets.iter().filter_map(|ticket| ticket.awaited.as_ref());
        let unstarted: Vec<_> = awaited.filter(|awaited| awaited.needs_start()).collect();
        if let Some(first) = unstarted.first() {
            first.by.have_committed(&unstarted);
        }
    }
}

impl Awaited {
    /// The committer, if it has the type `C`.
    pub(crate) fn by<C: Committer>(&self) -> Option<&C> {
        let by: &dyn Any = self.by.as_ref();
        by.downcast_ref()
    }

    pub(crate) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// How many bytes the records have in the group.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// As [`Ticket::wait`].
    pub(crate) fn wait(&self) -> Result<()> {
        match self.outcome.get() {
            Some(result) => result,
            None => self.by.wait_for(&self.outcome),
        }
    }

    /// As [`Ticket::start_all`], if this one [needs it](Self::needs_start).
    pub(crate) fn start(&self) {
        if self.needs_start() {
            self.by.have_committed(&[self]);
        }
    }

    /// Whether no thread is known to commit the group yet. The caller has to start one then.
    pub(crate) fn needs_start(&self) -> bool {
        self.outcome.get().is_none() && !self.is_started.swap(true, Ordering::Relaxed)
    }
}

impl Future for Ticket {
    type Output = Result<Placed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = &mut *self;
        let Some(awaited) = &ticket.awaited else {
            return Poll::Ready(Ok(ticket.placed));
        };
        match awaited
            .outcome
            .register(context.waker(), &mut ticket.place_of_waker)
        {
            Some(result) => Poll::Ready(result.map(|()| ticket.placed.in_group(&awaited.outcome))),
            None => {
                awaited.start();
                Poll::Pending
            }
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.start();
    }
}

impl fmt::Debug for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaited")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}
