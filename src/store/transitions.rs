//! The changes that take time, and when they are due: creating and deleting streams, consumers, queues and channels,
//! and changing shards and settings. Without a transition delay only a change of the number of shards takes time.
//!
//! The catalog notes that a change has begun. The monotonic clock measures when it is due, so that setting the wall
//! clock does not delay it. A later opener waits for as long as the wall clock says, and never longer than the change
//! takes. A change that fails is tried again after a pause, by one thread, and affects only its stream.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::catalog::{CatalogState, ConsumerLifecycle, Due, Lifecycle, ReaderLifecycle};
use crate::model::{ChannelId, ConsumerId, QueueId, StreamId, Timestamp};
use crate::sync::{AtomicU64, Mutex};

/// The pause after the first failure. It doubles after each further one.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

const NEVER: Duration = Duration::from_millis(u64::MAX);

/// The changes that are under way.
#[derive(Debug)]
pub(super) struct Transitions {
    /// When the next of them is due, in ms of the monotonic clock; `u64::MAX` if there is none.
    next_due: AtomicU64,
    pending: Mutex<BTreeMap<Subject, Pending>>,
}

/// The stream or reader that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Stream(StreamId),
    Consumer(StreamId, ConsumerId),
    Queue(StreamId, QueueId),
    Channel(StreamId, ChannelId),
}

/// The lifecycle of a subject in the catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Stream(Lifecycle),
    Consumer(ConsumerLifecycle),
    Queue(ReaderLifecycle),
    Channel(ReaderLifecycle),
}

#[derive(Clone, Debug)]
struct Pending {
    doing: Doing,
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

    /// Takes over the changes under way from the catalog. True if one is due earlier than was known.
    pub(super) fn take_over(&self, state: &CatalogState, now: Timestamp, monotonic: Duration) -> bool {
        let mut pending = self.pending.lock();
        pending.retain(|subject, known| Doing::of(*subject, state).as_ref() == Some(&known.doing));
        let mut note = |subject, due: Due| {
            if let Some(doing) = Doing::of(subject, state) {
                pending.entry(subject).or_insert_with(|| Pending {
                    doing,
                    due: monotonic.saturating_add(due.left(now)),
                    failures: 0,
                });
            }
        };
        for (id, stream) in state.streams() {
            if let Some(due) = stream.lifecycle.due() {
                note(Subject::Stream(id), due);
            }
            for (consumer, state) in &stream.consumers {
                if let Some(due) = state.lifecycle.due() {
                    note(Subject::Consumer(id, *consumer), due);
                }
            }
            for (queue, state) in &stream.queues {
                if let Some(due) = state.lifecycle.due() {
                    note(Subject::Queue(id, *queue), due);
                }
            }
            for (channel, state) in &stream.channels {
                if let Some(due) = state.lifecycle.due() {
                    note(Subject::Channel(id, *channel), due);
                }
            }
        }
        self.note_next(&pending)
    }

    pub(super) fn due_at(&self, monotonic: Duration) -> Vec<Subject> {
        let pending = self.pending.lock();
        let due = pending.iter().filter(|(_, known)| known.due <= monotonic);
        due.map(|(subject, _)| *subject).collect()
    }

    /// The lifecycle of the subject, if it is due to end.
    pub(super) fn due_of(&self, subject: Subject, monotonic: Duration) -> Option<Doing> {
        let pending = self.pending.lock();
        let known = pending.get(&subject).filter(|known| known.due <= monotonic);
        known.map(|known| known.doing.clone())
    }

    pub(super) fn is_due(&self, subject: Subject, monotonic: Duration) -> bool {
        let pending = self.pending.lock();
        pending.get(&subject).is_some_and(|known| known.due <= monotonic)
    }

    /// This thread works on the change: until the result is dropped, the change is due for no other.
    pub(super) fn hold(&self, subject: Subject) -> Held<'_> {
        let mut pending = self.pending.lock();
        let known = pending.get_mut(&subject);
        let due = known.map_or(NEVER, |known| std::mem::replace(&mut known.due, NEVER));
        self.note_next(&pending);
        Held {
            transitions: self,
            subject,
            due,
        }
    }

    /// Postpones the next attempt of a change. Gives how often it has failed, and the pause.
    pub(super) fn delay(&self, subject: Subject, monotonic: Duration) -> (u32, Duration) {
        let mut pending = self.pending.lock();
        let Some(known) = pending.get_mut(&subject).filter(|known| known.due != NEVER) else {
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

    fn note_next(&self, pending: &BTreeMap<Subject, Pending>) -> bool {
        let next = pending.values().map(|known| known.due.as_millis() as u64).min();
        let next = next.unwrap_or(u64::MAX);
        next < self.next_due.swap(next, Ordering::AcqRel)
    }
}

/// A change that one thread works on. If it is not done when this is dropped, it is due as before.
#[must_use = "the change is held until this is dropped"]
pub(super) struct Held<'a> {
    transitions: &'a Transitions,
    subject: Subject,
    due: Duration,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut pending = self.transitions.pending.lock();
        if let Some(known) = pending.get_mut(&self.subject).filter(|known| known.due == NEVER) {
            known.due = self.due;
        }
        self.transitions.note_next(&pending);
    }
}

impl Doing {
    fn of(subject: Subject, state: &CatalogState) -> Option<Self> {
        match subject {
            Subject::Stream(id) => Some(Self::Stream(state.stream(id)?.lifecycle.clone())),
            Subject::Consumer(id, consumer) => {
                let consumer = state.stream(id)?.consumers.get(&consumer)?;
                Some(Self::Consumer(consumer.lifecycle))
            }
            Subject::Queue(id, queue) => {
                let queue = state.stream(id)?.queues.get(&queue)?;
                Some(Self::Queue(queue.lifecycle))
            }
            Subject::Channel(id, channel) => {
                let channel = state.stream(id)?.channels.get(&channel)?;
                Some(Self::Channel(channel.lifecycle))
            }
        }
    }
}

impl Due {
    /// The remaining time of the change for an opener that did not see it begin.
    fn left(&self, now: Timestamp) -> Duration {
        self.at.since(now).min(Duration::from_millis(self.delay_millis))
    }
}
