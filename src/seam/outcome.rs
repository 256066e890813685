//! How those who wait for a group learn what became of it.

use std::task::Waker;

use crate::error::Result;
use crate::model::RecordNumber;
use crate::sync::{Mutex, OnceLock};

/// What became of a group, for all who wait for it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) parity: usize,
    result: OnceLock<Result<()>>,
    /// Of a group that gets its place when it is committed: the number of its first record.
    first_record: OnceLock<RecordNumber>,
    wakers: Mutex<Vec<Waker>>,
}

impl Outcome {
    /// Of a group of this parity.
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

    /// The first outcome stands. Gives the tasks that wait, to be woken once no lock is held: an executor may poll
    /// them right there.
    #[must_use = "a caller waits for this"]
    pub(crate) fn set(&self, result: Result<()>) -> Vec<Waker> {
        let _ = self.result.set(result);
        // Taken after the result is set: a task that registers later finds the result first (see `register`).
        std::mem::take(&mut *self.wakers.lock())
    }

    /// The same for a group that is committed, and got its place only then. Its tickets were given places that count from
    /// the group's first record.
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

    /// Registers a task to be woken, unless the outcome is there already. `place` is its own among the tasks, which it
    /// keeps for the next time: thousands may wait for one group.
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
