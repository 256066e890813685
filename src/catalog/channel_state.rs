//! What the catalog keeps of a channel.

use std::collections::BTreeMap;

use super::labels::Labels;
use super::lifecycle::ReaderLifecycle;
use super::setting::Setting;
use crate::model::{Destination, ReaderStart, RecordNumber, ShardId, Timestamp, limits};

/// A channel, which delivers a stream into objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelState {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) start: ReaderStart,
    /// `None` if it goes where this program does not deliver to.
    pub(crate) destination: Option<Destination>,
    pub(crate) lifecycle: ReaderLifecycle,
    /// How old a record gets before it is delivered.
    pub(crate) freshness_millis: u64,
    /// The next record to deliver of each shard of which some were delivered; `None` once it is delivered to its end.
    pub(crate) next: BTreeMap<ShardId, Option<RecordNumber>>,
    /// When an object was last made of its records.
    pub(crate) last_delivery: Option<Timestamp>,
    pub(crate) labels: Labels,
}

impl ChannelState {
    pub(super) fn new(
        name: &str,
        created: Timestamp,
        start: ReaderStart,
        destination: Option<Destination>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            created,
            start,
            destination,
            lifecycle: ReaderLifecycle::Active,
            freshness_millis: limits::DEFAULT_FRESHNESS_MILLIS,
            next: BTreeMap::new(),
            last_delivery: None,
            labels: Labels::default(),
        }
    }

    /// The next record of a shard to deliver; `None` if none of it is left, or ever was to be delivered.
    pub(crate) fn next_of(&self, shard: ShardId) -> Option<RecordNumber> {
        match self.next.get(&shard) {
            Some(next) => *next,
            None => self.start.first_of(shard),
        }
    }

    pub(super) fn change(&mut self, setting: &Setting) -> Result<(), &'static str> {
        match setting {
            Setting::Freshness { millis } => self.freshness_millis = *millis,
            _ => return Err("a channel has no such setting"),
        }
        Ok(())
    }

    /// The shards that expired with records that were not delivered, until that is told.
    #[cfg(feature = "channels")]
    pub(crate) fn lost_shards(&self, is_there: impl Fn(ShardId) -> bool) -> Vec<ShardId> {
        let shards = self.next.keys().copied();
        shards.filter(|shard| !is_there(*shard)).collect()
    }

    /// A shard is gone, with its records up to `end`. The position stays where some were not delivered.
    pub(super) fn expire(&mut self, shard: ShardId, end: Option<RecordNumber>) {
        let next = self.next_of(shard).filter(|_| self.destination.is_some());
        self.next.remove(&shard);
        let is_lost = |next: &RecordNumber| end.is_some_and(|end| *next < end);
        if let Some(next) = next.filter(is_lost) {
            self.note_lost(shard, Some(next));
        }
    }

    /// Keeps where delivery was in a shard that is gone, or forgets it once that is told.
    pub(super) fn note_lost(&mut self, shard: ShardId, next: Option<RecordNumber>) {
        match next {
            Some(_) => self.next.insert(shard, next),
            None => self.next.remove(&shard),
        };
    }

    /// Nothing delivered is ever taken back.
    pub(super) fn advance(&mut self, shard: ShardId, next: Option<RecordNumber>) {
        let known = self.next.entry(shard).or_insert(next);
        *known = match (*known, next) {
            (Some(known), Some(next)) => Some(known.max(next)),
            _ => None,
        };
    }
    /// Notes of several threads can come in another order than their objects.
    pub(super) fn note_delivery(&mut self, at: Timestamp) {
        self.last_delivery = self.last_delivery.max(Some(at));
    }
}
