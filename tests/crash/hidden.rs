//! How much trims and limits of size hide of a stream, as far as it is known.
//!
//! A trim hides exactly the records that its checkpoint is past. A limit frees the oldest records in a round of
//! house-keeping, as long as at least the limit stays. Both are bounds here: records that are surely hidden never come
//! back, and records that cannot be hidden are readable. The next look at the store narrows the bounds.

use std::collections::BTreeMap;

use anabranch::{Checkpoint, RecordNumber, ShardId, SizeLimits};

use crate::model::{Model, RecordModel, ShardModel, StreamModel};

/// How many of the first records of a shard are hidden, besides those that have expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hidden {
    /// This many surely are.
    pub least: usize,
    /// This many may be.
    pub most: usize,
    pub closing: Closing,
}

/// Whether the closing of a shard is hidden with all of its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closing {
    /// The shard is listed until it expires.
    #[default]
    Shown,
    /// The shard may be gone after a round of house-keeping.
    MayBeHidden,
    /// The shard is gone after a round of house-keeping.
    Hidden,
    /// The shard is gone.
    Gone,
}

/// The most bytes that a record, alone in its frame, takes besides its data.
const OVERHEAD_BYTES: u64 = 128;

/// The largest segment, except one with a record that is larger. The hidden part of a segment counts until all of it is
/// hidden.
const SEGMENT_BYTES: u64 = 64 * 1024;

impl Model {
    /// A round of house-keeping begins.
    pub fn expect_house_keeping(&mut self) {
        self.streams.iter_mut().for_each(StreamModel::expect_limits);
    }

    /// A round of house-keeping has ended.
    pub fn note_house_kept(&mut self) {
        self.streams
            .iter_mut()
            .for_each(StreamModel::note_hidden_shards_gone);
    }
}

impl StreamModel {
    /// The records that a trim to a checkpoint hides: those read in its shards, and all of the shards' ancestors.
    pub fn hidden_by_trim(&self, checkpoint: &Checkpoint) -> BTreeMap<ShardId, Hidden> {
        let mut hidden = BTreeMap::new();
        let mut ancestors = Vec::new();
        for (id, next) in checkpoint.positions() {
            if let Some(shard) = self.shards.get(&id) {
                hidden.insert(id, shard.hidden_before(next));
                ancestors.extend(&shard.parents);
            }
        }
        while let Some(id) = ancestors.pop() {
            if let (Some(shard), false) = (self.shards.get(&id), hidden.contains_key(&id)) {
                hidden.insert(id, shard.all_hidden());
                ancestors.extend(&shard.parents);
            }
        }
        hidden
    }

    /// Notes that a trim may happen or not. Gives the bounds before.
    pub fn may_hide(&mut self, trim: &BTreeMap<ShardId, Hidden>) -> BTreeMap<ShardId, Hidden> {
        let known = self
            .shards
            .iter()
            .map(|(id, shard)| (*id, shard.hidden))
            .collect();
        for (id, by_trim) in trim {
            self.shards.entry(*id).and_modify(|shard| {
                let closing = by_trim.closing.min(Closing::MayBeHidden);
                shard.hidden.most = shard.hidden.most.max(by_trim.most);
                shard.hidden.closing = shard.hidden.closing.max(closing);
            });
        }
        known
    }

    /// Notes that a trim has happened.
    pub fn hide(&mut self, trim: &BTreeMap<ShardId, Hidden>) {
        for (id, by_trim) in trim {
            self.shards.entry(*id).and_modify(|shard| {
                shard.hidden.least = shard.hidden.least.max(by_trim.least);
                shard.hidden.closing = shard.hidden.closing.max(by_trim.closing);
            });
        }
    }

    /// Notes that a trim has not happened.
    pub fn take_back(&mut self, known: BTreeMap<ShardId, Hidden>) {
        for (id, hidden) in known {
            self.shards.entry(id).and_modify(|shard| shard.hidden = hidden);
        }
    }

    /// Whether a limit may hide records.
    pub fn may_be_limited(&self) -> bool {
        let limits = [Some(self.limits.is), self.limits.maybe];
        limits.iter().flatten().any(|limits| *limits != SizeLimits::NONE)
    }

    /// Notes that a limit may free the oldest records, as long as the limits stay.
    fn expect_limits(&mut self) {
        for limits in [Some(self.limits.is), self.limits.maybe].into_iter().flatten() {
            if let Some(limit) = limits.shard_bytes {
                let shards = self.shards.values_mut();
                shards.for_each(|shard| shard.may_hide_all_but(limit));
            }
            if let Some(limit) = limits.stream_bytes {
                self.may_hide_all_but(limit);
            }
        }
    }

    /// How much of one shard is freed depends on the bytes of the others.
    fn may_hide_all_but(&mut self, limit: u64) {
        let all: u64 = self.shards.values().map(ShardModel::most_bytes).sum();
        let maybe_resharded = self.maybe_resharded.as_ref();
        for (id, shard) in &mut self.shards {
            let others = all - shard.most_bytes();
            shard.may_hide_all_but(limit.saturating_sub(others));
            let can_go = others >= limit || shard.records.is_empty();
            let may_be_closed =
                shard.closed.is_some() || maybe_resharded.is_some_and(|change| change.may_close(*id));
            if may_be_closed && can_go {
                shard.hidden.closing = shard.hidden.closing.max(Closing::MayBeHidden);
            }
        }
    }

    fn note_hidden_shards_gone(&mut self) {
        let ids: Vec<_> = self.shards.keys().copied().collect();
        for id in ids {
            let closing = |id: &ShardId| self.shards.get(id).map(|shard| shard.hidden.closing);
            let mut parents = self.shards[&id].parents.iter();
            let is_oldest = parents.all(|parent| closing(parent) == Some(Closing::Gone));
            if is_oldest && closing(&id) == Some(Closing::Hidden) {
                self.shards
                    .entry(id)
                    .and_modify(|shard| shard.hidden.closing = Closing::Gone);
            }
        }
    }
}

impl ShardModel {
    /// The records that a trim to this number hides. A record that was never seen has a number between its neighbours'.
    fn hidden_before(&self, next: RecordNumber) -> Hidden {
        let number = |record: &RecordModel| record.number.map(anabranch::SequenceNumber::record_number);
        let is_before = |record: &RecordModel| number(record).is_some_and(|number| number < next);
        let is_behind = |record: &RecordModel| number(record).is_some_and(|number| number >= next);
        Hidden {
            least: self
                .records
                .iter()
                .rposition(is_before)
                .map_or(0, |last| last + 1),
            most: self
                .records
                .iter()
                .position(is_behind)
                .unwrap_or(self.records.len()),
            closing: Closing::Shown,
        }
    }

    fn all_hidden(&self) -> Hidden {
        Hidden {
            least: self.records.len(),
            most: self.records.len(),
            closing: Closing::Hidden,
        }
    }

    /// Keeps the newest records with this many bytes, in frames as large as they can be.
    fn may_hide_all_but(&mut self, bytes: u64) {
        let mut kept = 0;
        let mut most = self.records.len();
        for (place, record) in self.records.iter().enumerate().rev() {
            if kept >= bytes {
                break;
            }
            kept += largest_frame(record);
            most = place;
        }
        if kept >= bytes {
            self.hidden.most = self.hidden.most.max(most);
        }
    }

    /// The most bytes of its segments that are not hidden as a whole.
    fn most_bytes(&self) -> u64 {
        if self.hidden.closing == Closing::Gone {
            return 0;
        }
        let (hidden, rest) = self.records.split_at(self.hidden.least);
        let mut before = 0;
        for record in hidden.iter().rev() {
            if before >= SEGMENT_BYTES {
                break;
            }
            before += largest_frame(record);
        }
        before + rest.iter().map(largest_frame).sum::<u64>()
    }
}

fn largest_frame(record: &RecordModel) -> u64 {
    record.bytes as u64 + OVERHEAD_BYTES
}
