//! The subscriptions of consumers to shards: one at a time for each pair.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::console::Pushes;
use crate::{ConsumerId, RecordNumber, ShardId, StreamId};

/// The active subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    active: HashMap<Subscribed, Active>,
    begun: u64,
}

/// The consumer and the shard of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Subscribed {
    pub(super) stream: StreamId,
    pub(super) consumer: ConsumerId,
    pub(super) shard: ShardId,
}

#[derive(Debug)]
struct Active {
    number: u64,
    /// When it began, by the store's monotonic clock.
    began: Duration,
    progress: Progress,
    end: oneshot::Sender<Ended>,
}

/// The next record that a subscription pushes.
#[derive(Debug, Clone)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn note(&self, next: RecordNumber) {
        self.0.store(next.value(), Ordering::Relaxed);
    }
}

/// Why a subscription ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    TakenOver,
    ConsumerRemoved,
}

/// A subscription, active until it is dropped or another takes over.
#[derive(Debug)]
pub(super) struct Subscription {
    home: Arc<Subscriptions>,
    to: Subscribed,
    number: u64,
    /// The first record, until progress is noted.
    pub(super) progress: Progress,
    end: oneshot::Receiver<Ended>,
}

/// Why a subscription cannot begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Another one is too young to be replaced.
    InUse,
    /// The greatest number of subscriptions is reached.
    TooMany,
}

impl Subscriptions {
    /// How long a subscription cannot be replaced.
    pub(super) const NOT_TAKEN_OVER_FOR: Duration = Duration::from_secs(5);

    /// Each is a task with a few kilobytes, which waits for its shard.
    pub(super) const MOST: usize = 10_000;

    /// A new subscription, which replaces an active one. The time is that of the store's monotonic clock.
    pub(super) fn begin(self: &Arc<Self>, to: Subscribed, now: Duration) -> Result<Subscription, Refused> {
        let mut state = self.state();
        if let Some(active) = state.active.get(&to)
            && now.saturating_sub(active.began) < Subscriptions::NOT_TAKEN_OVER_FOR
        {
            return Err(Refused::InUse);
        }
        if state.active.len() >= Subscriptions::MOST && !state.active.contains_key(&to) {
            return Err(Refused::TooMany);
        }
        state.begun += 1;
        let number = state.begun;
        let (end, ended) = oneshot::channel();
        let progress = Progress(Arc::new(AtomicU64::new(RecordNumber::FIRST.value())));
        let active = Active {
            number,
            began: now,
            progress: progress.clone(),
            end,
        };
        if let Some(older) = state.active.insert(to, active) {
            let _ = older.end.send(Ended::TakenOver);
        }
        Ok(Subscription {
            home: Arc::clone(self),
            to,
            number,
            progress,
            end: ended,
        })
    }

    /// Ends all subscriptions of a removed consumer.
    pub(super) fn end_of_consumer(&self, stream: StreamId, consumer: ConsumerId) {
        let is_of_consumer = |to: &Subscribed, _: &mut Active| (to.stream, to.consumer) == (stream, consumer);
        let ended: Vec<_> = self.state().active.extract_if(is_of_consumer).collect();
        for (_, active) in ended {
            let _ = active.end.send(Ended::ConsumerRemoved);
        }
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.state().active.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pushes for Subscriptions {
    fn positions(&self, stream: StreamId, consumer: ConsumerId) -> Vec<(ShardId, RecordNumber)> {
        let state = self.state();
        let active = state.active.iter();
        let of_consumer = active.filter(|(to, _)| (to.stream, to.consumer) == (stream, consumer));
        let next = |active: &Active| RecordNumber::new(active.progress.0.load(Ordering::Relaxed));
        of_consumer.map(|(to, active)| (to.shard, next(active))).collect()
    }
}

impl Subscription {
    /// Ready when the subscription ends early.
    pub(super) async fn ended(&mut self) -> Ended {
        // The sender is dropped only if another subscription has taken over.
        (&mut self.end).await.unwrap_or(Ended::TakenOver)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.home.state();
        if state
            .active
            .get(&self.to)
            .is_some_and(|active| active.number == self.number)
        {
            state.active.remove(&self.to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(3600);

    fn to(consumer: u64, shard: u32) -> Subscribed {
        Subscribed {
            stream: StreamId::new(1),
            consumer: ConsumerId::new(consumer),
            shard: ShardId::new(shard).unwrap(),
        }
    }

    #[tokio::test]
    async fn a_subscription_can_be_taken_over_after_five_seconds() {
        let subscriptions = Arc::new(Subscriptions::default());
        let mut first = subscriptions.begin(to(1, 0), START).unwrap();
        let almost = START.saturating_add(Duration::from_millis(4_999));
        assert_eq!(subscriptions.begin(to(1, 0), almost).err(), Some(Refused::InUse));
        let others = [to(1, 1), to(2, 0)].map(|other| subscriptions.begin(other, almost).unwrap());
        let second = subscriptions.begin(to(1, 0), START.saturating_add(Subscriptions::NOT_TAKEN_OVER_FOR));
        assert_eq!(first.ended().await, Ended::TakenOver);
        // Ending the older one must not end the newer one.
        drop(first);
        assert_eq!(subscriptions.count(), 3);
        drop((second, others));
        assert_eq!(subscriptions.count(), 0);
        drop(subscriptions.begin(to(1, 0), START).unwrap());
        assert!(subscriptions.begin(to(1, 0), START).is_ok());
    }

    #[test]
    fn there_are_no_more_subscriptions_than_there_may_be() {
        let subscriptions = Arc::new(Subscriptions::default());
        let numbers = 0..Subscriptions::MOST as u64;
        let mut all: Vec<_> = numbers
            .map(|consumer| subscriptions.begin(to(consumer, 0), START).unwrap())
            .collect();
        let more = || subscriptions.begin(to(u64::MAX, 0), START);
        assert_eq!(more().err(), Some(Refused::TooMany));
        // A replacement does not count in addition.
        let later = START.saturating_add(Subscriptions::NOT_TAKEN_OVER_FOR);
        assert!(subscriptions.begin(to(7, 0), later).is_ok());
        all.pop();
        assert!(more().is_ok());
    }

    #[tokio::test]
    async fn a_consumer_that_is_removed_has_no_subscriptions() {
        let subscriptions = Arc::new(Subscriptions::default());
        let [mut first, mut second, other] =
            [to(1, 0), to(1, 1), to(2, 0)].map(|to| subscriptions.begin(to, START).unwrap());
        subscriptions.end_of_consumer(StreamId::new(1), ConsumerId::new(1));
        assert_eq!(first.ended().await, Ended::ConsumerRemoved);
        assert_eq!(second.ended().await, Ended::ConsumerRemoved);
        assert_eq!(subscriptions.count(), 1);
        drop(other);
    }
}
