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
    /// `None` if this program cannot deliver to the channel's destination.
    pub(crate) destination: Option<Destination>,
    pub(crate) lifecycle: ReaderLifecycle,
    /// How old a record gets before it is delivered.
    pub(crate) freshness_millis: u64,
    /// For each shard with delivered records: the next record to deliver, or `None` if the shard is delivered to its
    /// end.
    pub(crate) next: BTreeMap<ShardId, Option<RecordNumber>>,
    /// The time of its last object.
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

    /// The next record of a shard to deliver; `None` if there is none, or none of the shard was to be delivered.
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

    /// The shards that expired with undelivered records, until that is reported.
    #[cfg(feature = "channels")]
    pub(crate) fn lost_shards(&self, is_there: impl Fn(ShardId) -> bool) -> Vec<ShardId> {
        let shards = self.next.keys().copied();
        shards.filter(|shard| !is_there(*shard)).collect()
    }

    /// A shard has expired, with its records up to `end`. The position stays if some were not delivered.
    pub(super) fn expire(&mut self, shard: ShardId, end: Option<RecordNumber>) {
        let next = self.next_of(shard).filter(|_| self.destination.is_some());
        self.next.remove(&shard);
        let is_lost = |next: &RecordNumber| end.is_some_and(|end| *next < end);
        if let Some(next) = next.filter(is_lost) {
            self.note_lost(shard, Some(next));
        }
    }

    /// Keeps the position of delivery in an expired shard, or forgets it once the loss is reported.
    pub(super) fn note_lost(&mut self, shard: ShardId, next: Option<RecordNumber>) {
        match next {
            Some(_) => self.next.insert(shard, next),
            None => self.next.remove(&shard),
        };
    }

    /// A position never moves back.
    pub(super) fn advance(&mut self, shard: ShardId, next: Option<RecordNumber>) {
        let known = self.next.entry(shard).or_insert(next);
        *known = match (*known, next) {
            (Some(known), Some(next)) => Some(known.max(next)),
            _ => None,
        };
    }
    /// Several threads may note objects in another order than they made them.
    pub(super) fn note_delivery(&mut self, at: Timestamp) {
        self.last_delivery = self.last_delivery.max(Some(at));
    }
}
