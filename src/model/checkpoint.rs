//! Checkpoints: the positions of a reader in all shards of a stream.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::descent::{Descent, Positions};
use super::{Lineage, RecordNumber, ShardId, StreamId, Timestamp};

/// The positions of a reader in the shards of a stream.
///
/// Only shards that are being read, or will be next, are listed. Their ancestors are drained; their descendants have
/// not been begun.
///
/// It belongs to one stream of one store, and to no other of the same name: a stream that is made again begins at its
/// first record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The store of the stream.
    #[serde(with = "crate::model::wide")]
    pub(crate) store: u128,
    pub(crate) stream: StreamId,
    /// The number of the next record to read, by shard; [`RecordNumber::END`] for a shard that is drained and has a
    /// child that waits for another parent.
    pub(crate) next: BTreeMap<ShardId, RecordNumber>,
}

/// A new position of readers in one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advance {
    /// The records before this number are read.
    To(RecordNumber),
    /// The shard is closed, and all of its records are read. It is unread if there was nothing: no record was given
    /// out, and the reader, which began at the trim horizon, did not reach the shard's head before it was closed.
    Drained { is_unread: bool },
    /// The shard has expired. At the horizon, nothing of its children is missed, or it was already reported that
    /// records of this shard may be.
    Expired { is_at_horizon: bool },
}

/// New positions in a checkpoint, by shard. A shard without one is no longer listed.
pub(crate) type PositionChanges = Vec<(ShardId, Option<RecordNumber>)>;

impl Checkpoint {
    /// The stream that was read.
    pub fn stream_id(&self) -> StreamId {
        self.stream
    }

    /// The number of the next record to read in each shard that is being read, by shard id.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = (ShardId, RecordNumber)> {
        self.next.iter().map(|(shard, next)| (*shard, *next))
    }

    pub(crate) fn apply(&mut self, changes: &[(ShardId, Option<RecordNumber>)]) {
        for (shard, next) in changes {
            match next {
                Some(next) => self.next.insert(*shard, *next),
                None => self.next.remove(shard),
            };
        }
    }

    /// Where another checkpoint of the stream is further on than this one, by numbers alone: the ranges that the other
    /// has read, and this one has not. There need not be records with these numbers. The shards that the other one
    /// lists come first.
    pub(crate) fn behind(&self, other: &Self, lineage: &Lineage) -> Vec<(ShardId, Range<RecordNumber>)> {
        let (own, others) = (Reached::of(self, lineage), Reached::of(other, lineage));
        // Nothing of an expired shard remains to be read.
        let listed = other.next.keys().filter(|shard| lineage.shard(**shard).is_some());
        listed
            .chain(&others.drained)
            .map(|shard| (*shard, own.before(*shard)..others.before(*shard)))
            .filter(|(_, numbers)| !numbers.is_empty())
            .collect()
    }

    /// The shards that are not drained, and the position in each.
    pub(crate) fn unread(&self, lineage: &Lineage, horizon: Timestamp) -> Vec<(ShardId, RecordNumber)> {
        let drained = ancestors(lineage, self.next.keys().copied());
        let shards = lineage.shards().filter(|shard| !shard.is_expired(horizon));
        shards
            .filter(|shard| !drained.contains(&shard.id))
            .map(|shard| {
                let next = self.next.get(&shard.id).copied();
                (shard.id, next.unwrap_or(RecordNumber::BEFORE_FIRST))
            })
            .filter(|(_, next)| *next != RecordNumber::END)
            .collect()
    }

    /// The changes for a new position in a shard. None if the checkpoint is there already, since it only rises. The
    /// descent is only asked for if readers leave the shard.
    pub(crate) fn changes<'a>(
        &self,
        shard: ShardId,
        advance: Advance,
        descent: impl FnOnce() -> Option<Descent<'a>>,
    ) -> PositionChanges {
        let Some(at) = self.next.get(&shard).copied() else {
            return Vec::new();
        };
        if let Advance::To(next) = advance {
            return Vec::from_iter((next > at).then_some((shard, Some(next))));
        }
        let Some(descent) = descent() else {
            return Vec::new();
        };
        let changes = match advance {
            Advance::Drained { is_unread } if at < RecordNumber::END => {
                let is_at_horizon = is_unread && at == RecordNumber::BEFORE_FIRST;
                descent.pass(&self.next, shard, is_at_horizon)
            }
            Advance::Expired { is_at_horizon } if !descent.has(shard) => {
                descent.pass(&self.next, shard, is_at_horizon)
            }
            Advance::To(_) | Advance::Drained { .. } | Advance::Expired { .. } => return Vec::new(),
        };
        changes.into_iter().collect()
    }
}

/// The positions of a checkpoint in all shards of a lineage.
struct Reached<'a> {
    next: &'a Positions,
    drained: BTreeSet<ShardId>,
}

impl<'a> Reached<'a> {
    fn of(checkpoint: &'a Checkpoint, lineage: &Lineage) -> Self {
        Self {
            next: &checkpoint.next,
            drained: ancestors(lineage, checkpoint.next.keys().copied()),
        }
    }

    /// The number before which all records are read.
    fn before(&self, shard: ShardId) -> RecordNumber {
        match self.drained.contains(&shard) {
            true => RecordNumber::END,
            false => self
                .next
                .get(&shard)
                .copied()
                .unwrap_or(RecordNumber::BEFORE_FIRST),
        }
    }
}

/// The shards from which any of these descends.
fn ancestors(lineage: &Lineage, of: impl Iterator<Item = ShardId>) -> BTreeSet<ShardId> {
    let mut found = BTreeSet::new();
    let mut unvisited: Vec<_> = of.collect();
    while let Some(id) = unvisited.pop() {
        for parent in lineage.parents_of(id) {
            if found.insert(parent.id) {
                unvisited.push(parent.id);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::model::HashKey;
    use crate::model::gone_shards::GoneShards;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn shard(index: u32) -> ShardId {
        ShardId::new(index).unwrap()
    }

    fn checkpoint(next: &[(u32, u64)]) -> Checkpoint {
        let next = next
            .iter()
            .map(|(index, number)| (shard(*index), RecordNumber::new(*number)));
        Checkpoint {
            store: 7,
            stream: StreamId::new(1),
            next: next.collect(),
        }
    }

    const END: u64 = RecordNumber::END.value();

    /// Shard 0 is split into 1 and 2, which are merged into 3.
    fn lineage() -> Lineage {
        let mut lineage = Lineage::new(1, NOW).unwrap();
        let split = lineage.split(shard(0), HashKey::MAX / 2, NOW).unwrap();
        lineage.apply_reshard(&split).unwrap();
        let merge = lineage.merge(shard(1), shard(2), NOW).unwrap();
        lineage.apply_reshard(&merge).unwrap();
        lineage
    }

    fn after(before: &Checkpoint, index: u32, advance: Advance, horizon: Timestamp) -> Checkpoint {
        let (lineage, gone) = (lineage(), GoneShards::default());
        let descent = || Some(Descent::new(&lineage, Cow::Borrowed(&gone), horizon));
        let mut after = before.clone();
        after.apply(&before.changes(shard(index), advance, descent));
        after
    }

    #[test]
    fn a_position_only_rises() {
        let before = checkpoint(&[(0, 5)]);
        let to = |number| Advance::To(RecordNumber::new(number));
        assert_eq!(after(&before, 0, to(6), Timestamp::EPOCH), checkpoint(&[(0, 6)]));
        assert_eq!(after(&before, 0, to(4), Timestamp::EPOCH), before);
        // What is not listed is drained, or not begun.
        assert_eq!(after(&before, 1, to(4), Timestamp::EPOCH), before);
        let expired = Advance::Expired { is_at_horizon: true };
        assert_eq!(after(&before, 0, expired, Timestamp::EPOCH), before);
    }

    #[test]
    fn children_begin_when_all_their_parents_are_drained() {
        let drain_unread = |before: &Checkpoint, index, is_unread| {
            after(before, index, Advance::Drained { is_unread }, Timestamp::EPOCH)
        };
        let drain = |before: &Checkpoint, index| drain_unread(before, index, false);
        let children = drain(&checkpoint(&[(0, 5)]), 0);
        assert_eq!(children, checkpoint(&[(1, 1), (2, 1)]));
        let at_horizon = checkpoint(&[(0, 0)]);
        assert_eq!(drain_unread(&at_horizon, 0, true), checkpoint(&[(1, 0), (2, 0)]));
        // All its records were dealt with at once.
        assert_eq!(drain(&at_horizon, 0), children);
        // By another member.
        assert_eq!(drain_unread(&checkpoint(&[(0, 5)]), 0, true), children);
        let one = drain(&children, 2);
        assert_eq!(one, checkpoint(&[(1, 1), (2, END)]));
        assert_eq!(drain(&one, 2), one);
        assert_eq!(drain(&one, 1), checkpoint(&[(3, 1)]));
    }

    #[test]
    fn a_shard_that_has_expired_is_followed_by_what_is_kept() {
        let later = NOW.saturating_add(std::time::Duration::from_secs(1));
        let expired = Advance::Expired { is_at_horizon: true };
        let kept = after(&checkpoint(&[(0, 5)]), 0, expired, later);
        assert_eq!(kept, checkpoint(&[(3, 0)]));
        // Of the other parent records were read, and the next ones may be missed.
        let one = after(&checkpoint(&[(1, 5), (2, END)]), 1, expired, later);
        assert_eq!(one, checkpoint(&[(3, 1)]));
    }

    #[test]
    fn a_checkpoint_is_behind_where_another_one_is_further_in_any_shard() {
        let is_behind = |one: &[(u32, u64)], other: &[(u32, u64)]| {
            let behind = checkpoint(one).behind(&checkpoint(other), &lineage());
            !behind.is_empty()
        };
        let rising: [&[_]; 6] = [
            &[(0, 0)],
            &[(0, 9)],
            &[(1, 1), (2, 1)],
            &[(1, 8), (2, 1)],
            &[(1, 8), (2, END)],
            &[(3, 1)],
        ];
        for (earlier, later) in (0..rising.len()).flat_map(|later| (0..later).map(move |one| (one, later))) {
            assert!(is_behind(rising[earlier], rising[later]), "{earlier}, {later}");
            assert!(!is_behind(rising[later], rising[earlier]), "{earlier}, {later}");
        }
        assert!(!is_behind(&[(0, 9)], &[(0, 9)]));
        // Each is further than the other in one shard.
        assert!(is_behind(&[(1, 8), (2, 1)], &[(1, 1), (2, 8)]));
        assert!(is_behind(&[(1, 1), (2, 8)], &[(1, 8), (2, 1)]));
        // Shard 9 is not there any more.
        assert!(!is_behind(&[(3, 1)], &[(9, 5)]));
        // What is between them in the parent counts, too.
        let behind = checkpoint(&[(0, 5)]).behind(&checkpoint(&[(1, 8), (2, 0)]), &lineage());
        let numbers = |from, to| RecordNumber::new(from)..RecordNumber::new(to);
        assert_eq!(behind, [(shard(1), numbers(0, 8)), (shard(0), numbers(5, END))]);
    }
}
