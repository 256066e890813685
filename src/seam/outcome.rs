//! The outcome of a group, and the tasks that wait for it.

use std::task::Waker;

use crate::error::Result;
use crate::model::RecordNumber;
use crate::sync::{Mutex, OnceLock};

/// The outcome of a group, for all who wait for it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) parity: usize,
    result: OnceLock<Result<()>>,
    /// The number of the first record, of a group that gets its place only when it is committed.
    first_record: OnceLock<RecordNumber>,
    wakers: Mutex<Vec<Waker>>,
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
    pub(super) fn first_record(&self) -> Option<RecordNumber> {
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
