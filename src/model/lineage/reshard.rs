//! Splitting and merging: planned first, applied when the plan is durable.

use serde::{Deserialize, Serialize};

use super::check::{check_close, check_handover};
use super::{Lineage, LineageError, check_created_seconds, check_open_count, shard_id};
use crate::model::{HashKey, HashKeyRange, Shard, ShardClosed, ShardId, Timestamp};

/// A split or a merge: which shards close, and which ones take over.
///
/// [`Lineage::split`] and [`Lineage::merge`] plan it, [`Lineage::apply_reshard`] does it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reshard {
    /// The shards that close: one that is split, or two that are merged, the lower one first.
    pub parents: Vec<ShardId>,
    /// When they close.
    pub closed: ShardClosed,
    /// The shards that take over, open and in the order of their ids.
    pub children: Vec<Shard>,
}

impl Lineage {
    /// Plans to split an open shard: the lower child ends before `new_starting_hash_key`, and the upper one starts
    /// there.
    ///
    /// `now` has to be later than the arrival of any record in the shard, so that reading from a time on misses none. A
    /// `now` before the shard's own creation counts as that creation.
    ///
    /// # Errors
    /// [`LineageError::UnknownShard`], [`LineageError::ShardClosed`], [`LineageError::InvalidSplitKey`];
    /// [`LineageError::InvalidShardCount`], [`LineageError::ShardIdsExhausted`] or [`LineageError::TimeOutOfRange`] at
    /// the ends of what a stream can have.
    pub fn split(
        &self,
        id: ShardId,
        new_starting_hash_key: HashKey,
        now: Timestamp,
    ) -> Result<Reshard, LineageError> {
        let shard = self.known_open(id)?;
        let (low, high) = shard
            .hash_key_range
            .split_at(new_starting_hash_key)
            .map_err(|_| LineageError::InvalidSplitKey {
                shard: id,
                key: new_starting_hash_key,
                range: shard.hash_key_range,
            })?;
        check_open_count(self.open_shard_count() + 1)?;
        self.plan(&[shard], &[low, high], now)
    }

    /// Plans to merge two open shards: `second` owns the range that follows the one of `first`.
    ///
    /// `now` is as for [`Lineage::split`].
    ///
    /// # Errors
    /// [`LineageError::UnknownShard`], [`LineageError::ShardClosed`], [`LineageError::NotAdjacent`] (also for a shard
    /// and itself, and for the inverted order); [`LineageError::ShardIdsExhausted`] or
    /// [`LineageError::TimeOutOfRange`] at the ends of what a stream can have.
    pub fn merge(&self, first: ShardId, second: ShardId, now: Timestamp) -> Result<Reshard, LineageError> {
        let parents = [self.known_open(first)?, self.known_open(second)?];
        let whole = parents[0].hash_key_range.joined(&parents[1].hash_key_range);
        self.plan(
            &parents,
            &[whole.ok_or(LineageError::NotAdjacent { first, second })?],
            now,
        )
    }

    /// Closes the parents of a reshard and opens its children.
    ///
    /// # Errors
    /// [`LineageError::UnknownShard`], [`LineageError::ShardClosed`] or [`LineageError::ForeignReshard`] if the lineage
    /// has changed since the reshard was planned; then nothing has changed.
    pub fn apply_reshard(&mut self, reshard: &Reshard) -> Result<(), LineageError> {
        self.check_reshard(reshard)?;
        for parent in &reshard.parents {
            if let Some(shard) = self.shards.get_mut(parent) {
                shard.closed = Some(reshard.closed);
                self.open.remove(&shard.hash_key_range.start());
                self.closed.insert((reshard.closed.at, *parent));
            }
        }
        for child in &reshard.children {
            self.next_index = child.id.index() + 1;
            self.insert(child.clone());
        }
        Ok(())
    }

    /// The parents close, and the children are created, in one moment: not before any parent's own creation, so that
    /// generations by time stay exact when the clock goes back. In sequence numbers, the parents close in a second that
    /// no parent's creation is after, and the children are created in the next one: that is what puts all numbers of a
    /// child above all of its parents'.
    fn plan(
        &self,
        parents: &[&Shard],
        ranges: &[HashKeyRange],
        now: Timestamp,
    ) -> Result<Reshard, LineageError> {
        let at = parents.iter().fold(now, |at, parent| at.max(parent.created));
        let seconds = parents.iter().fold(now.as_seconds(), |seconds, parent| {
            seconds.max(parent.created_seconds)
        });
        let created_seconds = check_created_seconds(seconds.saturating_add(1))?;
        let children = (self.next_index..).zip(ranges).map(|(index, &hash_key_range)| {
            Ok(Shard {
                id: shard_id(index)?,
                hash_key_range,
                parent: parents.first().map(|parent| parent.id),
                adjacent_parent: parents.get(1).map(|parent| parent.id),
                created: at,
                created_seconds,
                closed: None,
            })
        });
        Ok(Reshard {
            parents: parents.iter().map(|parent| parent.id).collect(),
            closed: ShardClosed { at, seconds },
            children: children.collect::<Result<_, LineageError>>()?,
        })
    }

    /// Checks what the lineage relies on, and not that the reshard would be planned in the same way today: an earlier
    /// version may have made the plan, with other limits.
    fn check_reshard(&self, reshard: &Reshard) -> Result<(), LineageError> {
        let parents = reshard.parents.iter().map(|id| self.known_open(*id));
        let parents = parents.collect::<Result<Vec<_>, _>>()?;
        for parent in &parents {
            check_close(parent, reshard.closed).map_err(foreign)?;
        }
        for (index, child) in (self.next_index..).zip(&reshard.children) {
            if child.id.index() != index {
                return Err(foreign("its children do not have the next shard ids"));
            }
            if !child.is_open() || !child.parents().eq(reshard.parents.iter().copied()) {
                return Err(foreign("its children are not open shards made of its parents"));
            }
            check_created_seconds(child.created_seconds)?;
            check_handover(reshard.closed, child).map_err(foreign)?;
        }
        let ranges_pass_on = match (&parents[..], &reshard.children[..]) {
            ([parent], [low, high]) => parent
                .hash_key_range
                .is_tiled_by([low.hash_key_range, high.hash_key_range]),
            ([first, second], [child]) => {
                first.hash_key_range.joined(&second.hash_key_range) == Some(child.hash_key_range)
            }
            _ => return Err(foreign("it is neither a split nor a merge")),
        };
        if !ranges_pass_on {
            return Err(foreign("its children do not have the range of its parents"));
        }
        Ok(())
    }
}

fn foreign(reason: &'static str) -> LineageError {
    LineageError::ForeignReshard { reason }
}
