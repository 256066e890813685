//! What takes time: creating, splitting, merging and deleting while the store has a transition delay.
//!
//! That a change has begun is in the manifest. When it is due is measured by the monotonic clock, so that nobody who
//! sets the wall clock holds it up; a later opener waits for what the wall clock says is left, and never longer than the
//! change takes. A change that fails is tried again after a pause, by one thread, and concerns its stream alone.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::core::StoreCore;
use super::event::StoreEvent;
use super::stream_core::StreamCore;
use crate::catalog::{CatalogState, Due, Edit, Lifecycle};
use crate::error::{Error, Result};
use crate::model::{StreamId, Timestamp};
use crate::sync::{AtomicU64, Mutex};

/// After the first failure; twice as long after each further one.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A reshard that failed so often, for another reason than a full disk, is given up.
const MOST_FAILURES: u32 = 8;

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
    fn next_due(&self) -> Option<Duration> {
        match self.next_due.load(Ordering::Acquire) {
            u64::MAX => None,
            due => Some(Duration::from_millis(due)),
        }
    }

    /// Takes over from the catalog what is under way. True if something is due earlier than was known.
    fn take_over(&self, state: &CatalogState, now: Timestamp, monotonic: Duration) -> bool {
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

    fn due_at(&self, monotonic: Duration) -> Vec<StreamId> {
        let pending = self.pending.lock();
        let due = pending.iter().filter(|(_, known)| known.due <= monotonic);
        due.map(|(id, _)| *id).collect()
    }

    fn is_due(&self, stream: StreamId, monotonic: Duration) -> bool {
        let pending = self.pending.lock();
        pending.get(&stream).is_some_and(|known| known.due <= monotonic)
    }

    /// Has a change tried again later. Gives how often it has failed, and the pause.
    fn delay(&self, stream: StreamId, monotonic: Duration) -> (u32, Duration) {
        let mut pending = self.pending.lock();
        let Some(known) = pending.get_mut(&stream) else {
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

impl Due {
    /// How much of it remains for an opener that did not see it begin.
    fn left(&self, now: Timestamp) -> Duration {
        self.at.since(now).min(Duration::from_millis(self.delay_millis))
    }
}

impl StoreCore {
    /// When a change that is asked for now is done.
    pub(super) fn due_from(&self, now: Timestamp) -> Due {
        let delay = self.options.transition_delay;
        Due {
            at: now.saturating_add(delay),
            delay_millis: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn is_immediate(&self) -> bool {
        self.options.transition_delay == Duration::ZERO
    }

    /// Takes over from the catalog when something is next due. The keeper is woken only if that is earlier than it
    /// knew: it comes through here in every round itself.
    pub(super) fn note_next_due(&self) {
        let (now, monotonic) = (self.now(), self.time.monotonic());
        if self.transitions.take_over(&self.catalog.read(), now, monotonic) {
            self.keeper.wake();
        }
    }

    /// How long the keeper may sleep until something is due.
    pub(super) fn until_next_due(&self) -> Duration {
        self.transitions
            .next_due()
            .map_or(Duration::MAX, |due| due.saturating_sub(self.time.monotonic()))
    }

    /// Whether anything is due, of whatever stream.
    pub(super) fn is_anything_due(&self) -> bool {
        let next = self.transitions.next_due();
        next.is_some_and(|due| due <= self.time.monotonic())
    }

    /// Whether a change of this stream is due.
    pub(super) fn is_due(&self, stream: StreamId) -> bool {
        self.is_anything_due() && self.transitions.is_due(stream, self.time.monotonic())
    }

    /// Finishes what is due, but for what another thread is at. Waits for that only if it concerns the stream that is
    /// `asked_for`. Gives the first failure, each of which has its event, and its time to be tried again.
    pub(super) fn settle(&self, asked_for: Option<StreamId>) -> Result<()> {
        let due = self.transitions.due_at(self.time.monotonic());
        let writable = self.check_writable();
        let mut result = Ok(());
        for id in due {
            let settled = match &writable {
                Ok(()) => self.settle_one(id, asked_for == Some(id)),
                // The next writer is told.
                Err(_) => {
                    self.transitions.delay(id, self.time.monotonic());
                    Ok(())
                }
            };
            result = result.and(settled);
        }
        result
    }

    fn settle_one(&self, id: StreamId, is_asked_for: bool) -> Result<()> {
        let Some(stream) = self.known_stream(id) else {
            self.note_next_due();
            return Ok(());
        };
        let _one_at_a_time = match is_asked_for {
            true => stream.changing.lock(),
            false => match stream.changing.try_lock() {
                Some(guard) => guard,
                None => return Ok(()),
            },
        };
        // Another thread may have come first.
        let lifecycle = self
            .catalog
            .read()
            .stream(id)
            .map(|stream| stream.lifecycle.clone());
        let Some(lifecycle) = lifecycle.filter(|_| self.transitions.is_due(id, self.time.monotonic())) else {
            return Ok(());
        };
        let finished = match &lifecycle {
            Lifecycle::Creating { due, shard_count } => self.activate(id, *shard_count, due.at),
            Lifecycle::Updating { change, .. } => self.reshard_now(&stream, change, &lifecycle),
            Lifecycle::Deleting { .. } => self.delete_now(&stream),
            Lifecycle::Active => Ok(()),
        };
        let settled = match finished {
            Ok(()) => Ok(()),
            Err(error) => self.transition_failed(&stream, &lifecycle, error),
        };
        self.note_next_due();
        settled
    }

    /// A reshard that can never happen is given up. All else is tried again.
    fn transition_failed(&self, stream: &StreamCore, lifecycle: &Lifecycle, error: Error) -> Result<()> {
        let (failures, retry_in) = self.transitions.delay(stream.id, self.time.monotonic());
        let is_reshard = matches!(lifecycle, Lifecycle::Updating { .. });
        if is_reshard && (is_final(&error) || is_often_enough(&error, failures)) {
            self.catalog.commit(|state| match state.stream(stream.id) {
                Some(state) if state.lifecycle == *lifecycle => Ok(vec![Edit::LifecycleChanged {
                    stream: stream.id,
                    lifecycle: Lifecycle::Active,
                }]),
                _ => Ok(Vec::new()),
            })?;
            self.tell(&StoreEvent::ReshardGivenUp {
                stream: stream.name.clone(),
                error,
            });
            return Ok(());
        }
        if matches!(error, Error::Poisoned { .. } | Error::Closed) {
            return Err(error);
        }
        self.tell(&StoreEvent::TransitionDelayed {
            stream: stream.name.clone(),
            error: error.clone(),
            retry_in,
        });
        match error {
            // Nothing is wrong with the store.
            error if error.is_want_of_room() => Ok(()),
            error => Err(error),
        }
    }
}

/// Whether trying again comes to the same end, whatever happens meanwhile.
fn is_final(error: &Error) -> bool {
    matches!(
        error,
        Error::Corrupt { .. }
            | Error::ShardNotFound { .. }
            | Error::ShardClosed { .. }
            | Error::InvalidSplit { .. }
            | Error::NotAdjacent { .. }
            | Error::InvalidArgument { .. }
            | Error::StreamNotActive { .. }
    )
}

fn is_often_enough(error: &Error, failures: u32) -> bool {
    let is_of_the_store = error.is_want_of_room() || matches!(error, Error::Poisoned { .. } | Error::Closed);
    !is_of_the_store && failures >= MOST_FAILURES
}
