//! When changes are due that take time: creating, splitting, merging and deleting while the store has a transition delay.
//!
//! That a change has begun is in the manifest. When it is due is measured by the monotonic clock, so that a wall clock
//! that is set does not hold it up; a later opener waits for what the wall clock says is left, and never longer than the
//! change takes. A change that fails is tried again after a pause, by one thread, and concerns its stream alone.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::catalog::{CatalogState, Due, Lifecycle};
use crate::model::{StreamId, Timestamp};
use crate::sync::{AtomicU64, Mutex};

/// After the first failure; twice as long after each further one.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const NEVER: Duration = Duration::from_millis(u64::MAX);

/// The changes that are under way.
#[derive(Debug)]
pub(super) struct Transitions {
    /// When the next of them is due, in ms of the monotonic clock; `u64::MAX` if there is none.
    next_due: AtomicU64,
    pending: Mutex<BTreeMap<StreamId, Pending>>,
}

#[derive(Clone, Debug)]
struct Pending {
    lifecycle: Lifecycle,
    /// By the monotonic clock.
    due: Duration,
    failures: u32,
}

impl Transitions {
    pub(super) fn new() -> Self {
        Self {
            next_due: AtomicU64::new(u64::MAX),
            pending: Mutex::default(),
        }
    }

    /// When the next change is due, by the monotonic clock.
    pub(super) fn next_due(&self) -> Option<Duration> {
        match self.next_due.load(Ordering::Acquire) {
            u64::MAX => None,
            due => Some(Duration::from_millis(due)),
        }
    }

    /// Takes over from the catalog what is under way. True if something is due earlier than was known.
    pub(super) fn take_over(&self, state: &CatalogState, now: Timestamp, monotonic: Duration) -> bool {
        let mut pending = self.pending.lock();
        pending.retain(|id, known| {
            (state.stream(*id)).is_some_and(|stream| stream.lifecycle == known.lifecycle)
        });
        for (id, stream) in state.streams() {
            if let Some(due) = stream.lifecycle.due() {
                pending.entry(id).or_insert_with(|| Pending {
                    lifecycle: stream.lifecycle.clone(),
                    due: monotonic.saturating_add(due.left(now)),
                    failures: 0,
                });
            }
        }
        self.note_next(&pending)
    }

    pub(super) fn due_at(&self, monotonic: Duration) -> Vec<StreamId> {
        let pending = self.pending.lock();
        let due = pending.iter().filter(|(_, known)| known.due <= monotonic);
        due.map(|(id, _)| *id).collect()
    }

    pub(super) fn is_due(&self, stream: StreamId, monotonic: Duration) -> bool {
        let pending = self.pending.lock();
        pending.get(&stream).is_some_and(|known| known.due <= monotonic)
    }

    /// One thread is at this change: until that lets go, the change is due for no other.
    pub(super) fn hold(&self, stream: StreamId) -> Held<'_> {
        let mut pending = self.pending.lock();
        let known = pending.get_mut(&stream);
        let due = known.map_or(NEVER, |known| std::mem::replace(&mut known.due, NEVER));
        self.note_next(&pending);
        Held {
            transitions: self,
            stream,
            due,
        }
    }

    /// Has a change tried again later. Gives how often it has failed, and the pause.
    pub(super) fn delay(&self, stream: StreamId, monotonic: Duration) -> (u32, Duration) {
        let mut pending = self.pending.lock();
        let Some(known) = pending.get_mut(&stream).filter(|known| known.due != NEVER) else {
            return (0, Duration::ZERO);
        };
        let pause = SHORTEST_PAUSE
            .saturating_mul(1 << known.failures.min(16))
            .min(LONGEST_PAUSE);
        known.failures = known.failures.saturating_add(1);
        known.due = monotonic.saturating_add(pause);
        let failures = known.failures;
        self.note_next(&pending);
        (failures, pause)
    }

    fn note_next(&self, pending: &BTreeMap<StreamId, Pending>) -> bool {
        let next = pending.values().map(|known| known.due.as_millis() as u64).min();
        let next = next.unwrap_or(u64::MAX);
        next < self.next_due.swap(next, Ordering::AcqRel)
    }
}

/// A change that one thread is at. If it is not done when this is dropped, it is due as before.
#[must_use = "the change is held until this is dropped"]
pub(super) struct Held<'a> {
    transitions: &'a Transitions,
    stream: StreamId,
    due: Duration,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut pending = self.transitions.pending.lock();
        if let Some(known) = pending.get_mut(&self.stream).filter(|known| known.due == NEVER) {
            known.due = self.due;
        }
        self.transitions.note_next(&pending);
    }
}

impl Due {
    /// How much of it remains for an opener that did not see it begin.
    fn left(&self, now: Timestamp) -> Duration {
        self.at.since(now).min(Duration::from_millis(self.delay_millis))
    }
}
