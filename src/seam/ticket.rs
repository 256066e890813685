//! Tickets, by which callers wait for the commit of their records, and the outcomes that tickets wait for.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use crate::error::Result;
use crate::model::{RecordNumber, Timestamp};
use crate::sync::{AtomicBool, Mutex, OnceLock};

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

/// The outcome of a group, for all who wait for it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) parity: usize,
    result: OnceLock<Result<()>>,
    /// The number of the first record, of a group that gets its place only when it is committed.
    first_record: OnceLock<RecordNumber>,
    wakers: Mutex<Vec<Waker>>,
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

impl Outcome {
    /// The outcome of a group of this parity.
    pub(crate) fn new(parity: usize) -> Self {
        Self {
            parity,
            result: OnceLock::new(),
            first_record: OnceLock::new(),
            wakers: Mutex::default(),
        }
    }

    pub(crate) fn get(&self) -> Option<Result<()>> {
        self.result.get().cloned()
    }

    /// Sets the outcome, unless there is one. Gives the waiting tasks, which the caller wakes when it holds no lock: an
    /// executor may poll them at once.
    #[must_use = "a caller waits for this"]
    pub(crate) fn set(&self, result: Result<()>) -> Vec<Waker> {
        let _ = self.result.set(result);
        // Taken after the result is set: a task that registers later finds the result first (see `register`).
        std::mem::take(&mut *self.wakers.lock())
    }

    /// The same for a group that got its place only when it was committed. The places in its tickets count from the
    /// group's first record.
    #[cfg(feature = "nats")]
    #[must_use = "a caller waits for this"]
    pub(crate) fn set_placed(&self, first_record: RecordNumber) -> Vec<Waker> {
        let _ = self.first_record.set(first_record);
        self.set(Ok(()))
    }

    /// The number of the first record of a group that [got its place](Self::set_placed) when it was committed.
    fn first_record(&self) -> Option<RecordNumber> {
        self.first_record.get().copied()
    }

    /// Registers a task to be woken, unless there is an outcome. `place` is the task's place among the waiting ones,
    /// which it keeps for the next call: thousands may wait for one group.
    pub(crate) fn register(&self, waker: &Waker, place: &mut Option<usize>) -> Option<Result<()>> {
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
