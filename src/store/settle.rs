//! The beginning of every operation: finishing the due changes of streams and their readers.
//!
//! [`Transitions`](super::transitions::Transitions) says when a change is due. Here it is done. A change that fails is
//! tried again or given up.

use std::time::Duration;

use super::core::StoreCore;
use super::event::StoreEvent;
use super::stream_core::StreamCore;
use super::transitions::{Doing, Subject};
use crate::catalog::{CatalogState, Change, ConsumerLifecycle, Due, Edit, Lifecycle, ReaderLifecycle};
use crate::error::{Error, Result};
use crate::model::{ChannelId, ConsumerId, QueueId, ReshardStep, StreamId, Timestamp};

/// A change of an active stream is given up after this many failures, except those of a full disk or of a cluster that
/// does not answer.
const MOST_FAILURES: u32 = 8;

/// How many splits and merges of one change are done at a time, so that the keeper or a call gets to its other work.
const MOST_STEPS: usize = 64;

impl StoreCore {
    /// Begins an operation: refuses if the store is closed, finishes what is due, and gives the time. A change that
    /// cannot be finished does not fail the operation. `of` is the stream of the operation; it waits for due changes of
    /// that stream.
    pub(super) fn begin(&self, of: Option<StreamId>) -> Result<Timestamp> {
        self.check_open()?;
        self.catch_up()?;
        if self.is_anything_due() {
            // A failure is reported as an event, and tried again later.
            let _ = self.settle(of, false);
        }
        Ok(self.now())
    }

    /// Begins an operation that changes something.
    pub(super) fn begin_change(&self, of: Option<StreamId>) -> Result<Timestamp> {
        self.check_takes_changes()?;
        self.begin(of)
    }

    /// The same for a caller that must not wait: `None` if a change of its stream is due.
    pub(super) fn try_begin_change(&self, of: StreamId) -> Result<Option<Timestamp>> {
        self.check_takes_changes()?;
        Ok((!self.is_due(of)).then(|| self.now()))
    }

    /// Begins a change of an active stream, which is done after the transition delay.
    pub(super) fn schedule(
        &self,
        stream: &StreamCore,
        now: Timestamp,
        plan: impl Fn(&CatalogState) -> Result<Change>,
    ) -> Result<Lifecycle> {
        self.schedule_with(stream, self.due_from(now), plan)
    }

    /// The same without the delay, for a change that the store itself begins.
    pub(super) fn schedule_at_once(
        &self,
        stream: &StreamCore,
        now: Timestamp,
        plan: impl Fn(&CatalogState) -> Result<Change>,
    ) -> Result<Lifecycle> {
        let due = Due {
            at: now,
            delay_millis: 0,
        };
        self.schedule_with(stream, due, plan)
    }

    fn schedule_with(
        &self,
        stream: &StreamCore,
        due: Due,
        plan: impl Fn(&CatalogState) -> Result<Change>,
    ) -> Result<Lifecycle> {
        let mut begun = Lifecycle::Active;
        self.catalog.commit(|state| {
            stream.active_state(state)?;
            let change = plan(state)?;
            begun = Lifecycle::Updating { due, change };
            Ok(vec![stream.becomes(begun.clone())])
        })?;
        self.note_next_due();
        Ok(begun)
    }

    /// When a change that is requested now will be due.
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

    /// Takes over from the catalog when the next change is due. Wakes the keeper only if that is earlier than before:
    /// the keeper itself comes here in every round.
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

    /// Whether a change of any stream is due.
    pub(super) fn is_anything_due(&self) -> bool {
        let next = self.transitions.next_due();
        next.is_some_and(|due| due <= self.time.monotonic())
    }

    /// Whether a change of this stream is due.
    pub(super) fn is_due(&self, stream: StreamId) -> bool {
        self.is_anything_due() && self.is_stream_due(stream)
    }

    /// Finishes due changes, except those that another thread is working on. It waits for that thread only if the
    /// change concerns the stream `asked_for`. Of a change with many steps it takes some: for the stream `asked_for`,
    /// or for all streams if the caller is the keeper. Gives the first failure. Each failure has its event, and a time
    /// for the next attempt.
    pub(super) fn settle(&self, asked_for: Option<StreamId>, is_keeper: bool) -> Result<()> {
        let due = self.transitions.due_at(self.time.monotonic());
        let writable = self.check_writable();
        let mut result = Ok(());
        for subject in due {
            let settled = match (&writable, subject) {
                (Ok(()), Subject::Stream(id)) => self.settle_one(id, asked_for == Some(id), is_keeper),
                (Ok(()), Subject::Consumer(id, consumer)) => self.settle_consumer(id, consumer),
                (Ok(()), Subject::Queue(id, queue)) => self.settle_queue(id, queue),
                (Ok(()), Subject::Channel(id, channel)) => self.settle_channel(id, channel),
                // The next writer gets the error.
                (Err(_), _) => {
                    self.transitions.delay(subject, self.time.monotonic());
                    Ok(())
                }
            };
            result = result.and(settled);
        }
        result
    }

    fn settle_one(&self, id: StreamId, is_asked_for: bool, is_keeper: bool) -> Result<()> {
        let Some(stream) = self.known_stream(id) else {
            self.note_next_due();
            return Ok(());
        };
        let one_at_a_time = match is_asked_for {
            true => stream.lock_to_change(),
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
        let Some(lifecycle) = lifecycle.filter(|_| self.is_stream_due(id)) else {
            return Ok(());
        };
        let finished = match &lifecycle {
            Lifecycle::Creating { due, shard_count } => self.activate(id, *shard_count, due.at),
            Lifecycle::Updating { change, .. } => match change {
                Change::Split {
                    shard,
                    new_starting_hash_key,
                } => {
                    let (shard, new_starting_hash_key) = (*shard, *new_starting_hash_key);
                    let split = ReshardStep::Split {
                        shard,
                        new_starting_hash_key,
                    };
                    self.reshard_now(&stream, split, &lifecycle)
                }
                Change::Merge { first, second } => {
                    let (first, second) = (*first, *second);
                    self.reshard_now(&stream, ReshardStep::Merge { first, second }, &lifecycle)
                }
                Change::Settings(settings) => self.finish_settings(&stream, settings, &lifecycle),
                // A call on another stream does not wait for this one's many steps.
                Change::Shards(_) if !is_asked_for && !is_keeper => return Ok(()),
                Change::Shards(steps) => {
                    // Other changes and all puts go on between the steps.
                    let _held = self.transitions.hold(Subject::Stream(id));
                    drop(one_at_a_time);
                    let taken = self.reshard_by_steps(&stream, steps, &lifecycle, MOST_STEPS);
                    taken.map(drop)
                }
            },
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

    fn is_stream_due(&self, id: StreamId) -> bool {
        self.transitions
            .is_due(Subject::Stream(id), self.time.monotonic())
    }

    /// Only the catalog knows a consumer, so one edit finishes its change.
    fn settle_consumer(&self, id: StreamId, consumer: ConsumerId) -> Result<()> {
        let subject = Subject::Consumer(id, consumer);
        let due = self.transitions.due_of(subject, self.time.monotonic());
        let finished = self.catalog.commit(|state| {
            let consumers = state.stream(id).map(|stream| &stream.consumers);
            let known = consumers.and_then(|consumers| consumers.get(&consumer));
            // Another thread may have come first.
            let known = known.filter(|known| due == Some(Doing::Consumer(known.lifecycle)));
            Ok(match known.map(|known| known.lifecycle) {
                Some(ConsumerLifecycle::Creating { .. }) => vec![Edit::ConsumerLifecycleChanged {
                    stream: id,
                    consumer,
                    lifecycle: ConsumerLifecycle::Active,
                }],
                Some(ConsumerLifecycle::Deleting { .. }) => {
                    vec![Edit::ConsumerRemoved { stream: id, consumer }]
                }
                Some(ConsumerLifecycle::Active) | None => Vec::new(),
            })
        });
        self.note_settled(subject, id, finished)
    }

    /// A deletion removes its log; every other change is one edit.
    fn settle_queue(&self, id: StreamId, queue: QueueId) -> Result<()> {
        let subject = Subject::Queue(id, queue);
        let due = self.transitions.due_of(subject, self.time.monotonic());
        let finished = match due {
            Some(Doing::Queue(ReaderLifecycle::Deleting { .. })) => self.remove_queue_now(id, queue),
            Some(Doing::Queue(doing)) => self.catalog.commit(|state| {
                let queues = state.stream(id).map(|stream| &stream.queues);
                let known = queues.and_then(|queues| queues.get(&queue));
                // Another thread may have come first.
                let is_same = known.is_some_and(|known| known.lifecycle == doing);
                let edit = is_same.then_some(Edit::QueueLifecycleChanged {
                    stream: id,
                    queue,
                    lifecycle: ReaderLifecycle::Active,
                });
                Ok(edit.into_iter().collect())
            }),
            _ => Ok(()),
        };
        self.note_settled(subject, id, finished)
    }

    /// Only the catalog knows a channel, so one edit finishes its change.
    fn settle_channel(&self, id: StreamId, channel: ChannelId) -> Result<()> {
        let subject = Subject::Channel(id, channel);
        let due = self.transitions.due_of(subject, self.time.monotonic());
        let finished = self.catalog.commit(|state| {
            let channels = state.stream(id).map(|stream| &stream.channels);
            let known = channels.and_then(|channels| channels.get(&channel));
            // Another thread may have come first.
            let known = known.filter(|known| due == Some(Doing::Channel(known.lifecycle)));
            Ok(match known.map(|known| known.lifecycle) {
                Some(ReaderLifecycle::Creating { .. } | ReaderLifecycle::Updating { .. }) => {
                    vec![Edit::ChannelLifecycleChanged {
                        stream: id,
                        channel,
                        lifecycle: ReaderLifecycle::Active,
                    }]
                }
                Some(ReaderLifecycle::Deleting { .. }) => {
                    vec![Edit::ChannelRemoved { stream: id, channel }]
                }
                Some(ReaderLifecycle::Active) | None => Vec::new(),
            })
        });
        self.note_settled(subject, id, finished)
    }

    fn note_settled(&self, subject: Subject, stream: StreamId, finished: Result<()>) -> Result<()> {
        let settled = finished.or_else(|error| {
            let (_, retry_in) = self.transitions.delay(subject, self.time.monotonic());
            let stream = self.known_stream(stream).map(|stream| stream.name.clone());
            self.delayed(&stream.unwrap_or_default(), error, retry_in)
        });
        self.note_next_due();
        settled
    }

    /// A change of an active stream that can never succeed is given up. Every other change is tried again.
    pub(super) fn transition_failed(
        &self,
        stream: &StreamCore,
        lifecycle: &Lifecycle,
        error: Error,
    ) -> Result<()> {
        if stream.check_is(lifecycle, &self.catalog.read()).is_err() {
            // Another change of the stream, such as its deletion, came between two steps.
            return Ok(());
        }
        let (failures, retry_in) = self
            .transitions
            .delay(Subject::Stream(stream.id), self.time.monotonic());
        let is_update = matches!(lifecycle, Lifecycle::Updating { .. });
        if is_update && (is_final(&error) || is_often_enough(&error, failures)) {
            self.catalog.commit(|state| match state.stream(stream.id) {
                Some(state) if state.lifecycle == *lifecycle => Ok(vec![Edit::LifecycleChanged {
                    stream: stream.id,
                    lifecycle: Lifecycle::Active,
                }]),
                _ => Ok(Vec::new()),
            })?;
            self.tell(&StoreEvent::ChangeGivenUp {
                stream: stream.name.clone(),
                error,
            });
            return Ok(());
        }
        self.delayed(&stream.name, error, retry_in)
    }

    fn delayed(&self, stream: &str, error: Error, retry_in: Duration) -> Result<()> {
        if matches!(error, Error::Poisoned { .. } | Error::Closed) {
            return Err(error);
        }
        self.tell(&StoreEvent::TransitionDelayed {
            stream: stream.to_owned(),
            error: error.clone(),
            retry_in,
        });
        match error {
            // The store itself has not failed.
            error if error.is_want_of_room() => Ok(()),
            error => Err(error),
        }
    }
}

/// Whether every further attempt fails in the same way.
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
    let is_of_the_store = error.is_want_of_room()
        || matches!(
            error,
            Error::Poisoned { .. } | Error::Closed | Error::Cluster { .. } | Error::Fenced { .. }
        );
    !is_of_the_store && failures >= MOST_FAILURES
}
