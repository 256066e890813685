//! Checking that decoded data is a lineage.

use std::collections::BTreeMap;

use super::{Lineage, LineageError};
use crate::model::{HashKeyRange, SequenceNumber, Shard, ShardClosed, ShardId};

impl Lineage {
    /// Verifies everything that the other methods rely on. Deserialising does it too. O(n log n).
    ///
    /// # Errors
    /// [`LineageError::Inconsistent`] with the first thing that is wrong.
    pub fn check(&self) -> Result<(), LineageError> {
        if self.is_empty() {
            return Ok(());
        }
        let mut children: BTreeMap<ShardId, Vec<&Shard>> = BTreeMap::new();
        for shard in self.shards() {
            self.check_alone(shard)?;
            for parent in self.parents_of(shard.id) {
                let closed = parent.closed.ok_or("an open shard has children");
                closed
                    .and_then(|closed| check_handover(closed, shard))
                    .map_err(inconsistent)?;
                children.entry(parent.id).or_default().push(shard);
            }
        }
        for shard in self.shards() {
            let children = children.get(&shard.id).map_or(&[][..], Vec::as_slice);
            self.check_children(shard, children)?;
        }
        let open = self.open.values().filter_map(|id| self.shard(*id));
        ensure(tile(open), "its open shards do not tile the hash space")?;
        let mut oldest: Vec<_> = self
            .shards()
            .filter(|shard| shard.owned_at(self.tiled_since))
            .collect();
        oldest.sort_by_key(|shard| shard.hash_key_range.start());
        ensure(tile(oldest), "its oldest shards do not tile the hash space")
    }

    fn check_alone(&self, shard: &Shard) -> Result<(), LineageError> {
        ensure(
            shard.id.index() < self.next_index,
            "a shard's id has not been given out",
        )?;
        ensure(
            shard.created_seconds < SequenceNumber::CREATED_SECONDS_END,
            "a shard is created too late",
        )?;
        ensure(
            shard.parents().all(|parent| parent < shard.id),
            "a shard is older than its parent",
        )?;
        ensure(
            shard.adjacent_parent.is_none()
                || shard.parent.is_some() && shard.parent != shard.adjacent_parent,
            "a shard has an adjacent parent but no other one",
        )?;
        ensure(
            shard.created.as_seconds() <= shard.created_seconds,
            "a shard's sequence numbers are behind its creation",
        )?;
        shard
            .closed
            .map_or(Ok(()), |closed| check_close(shard, closed))
            .map_err(inconsistent)
    }

    fn check_children(&self, shard: &Shard, children: &[&Shard]) -> Result<(), LineageError> {
        let range = shard.hash_key_range;
        let made_of_it = match children {
            [] => shard.is_open(),
            [child] => match (child.parent, child.adjacent_parent) {
                (Some(first), Some(second)) => match (self.shard(first), self.shard(second)) {
                    (Some(first), Some(second)) => {
                        first.hash_key_range.joined(&second.hash_key_range) == Some(child.hash_key_range)
                    }
                    _ => child.hash_key_range.encloses(&range),
                },
                _ => false,
            },
            [low, high] => {
                let split = low.adjacent_parent.is_none() && high.adjacent_parent.is_none();
                split && range.is_tiled_by([low.hash_key_range, high.hash_key_range])
            }
            _ => false,
        };
        ensure(made_of_it, "a closed shard's range is not that of its children")
    }
}

/// What must hold between a shard and its end: it does not close before it is created.
pub(super) fn check_close(shard: &Shard, closed: ShardClosed) -> Result<(), &'static str> {
    if shard.created > closed.at || shard.created_seconds > closed.seconds {
        return Err("a shard closes before it is created");
    }
    Ok(())
}

/// What must hold between a parent and its child: one moment ends the one and begins the other, so that generations
/// are exact, and the child's sequence numbers are above the parent's.
pub(super) fn check_handover(parent: ShardClosed, child: &Shard) -> Result<(), &'static str> {
    if parent.at != child.created {
        return Err("a shard does not begin when its parent ends");
    }
    if parent.seconds >= child.created_seconds {
        return Err("a shard's sequence numbers are not above its parent's");
    }
    Ok(())
}

fn tile<'a>(shards: impl IntoIterator<Item = &'a Shard>) -> bool {
    HashKeyRange::FULL.is_tiled_by(shards.into_iter().map(|shard| shard.hash_key_range))
}

fn ensure(holds: bool, reason: &'static str) -> Result<(), LineageError> {
    if holds { Ok(()) } else { Err(inconsistent(reason)) }
}

fn inconsistent(reason: &'static str) -> LineageError {
    LineageError::Inconsistent { reason }
}
