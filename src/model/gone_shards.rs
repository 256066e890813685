//! The shards that have expired and are remembered, so that a reader which comes back gets an exact report of what it
//! has missed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RecordNumber, Shard, ShardId};

/// As many are remembered for each stream. Nothing is known of older ones: a reader that was in one may have missed
/// records.
const MOST_SHARDS: usize = 1_024;

/// A shard that has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoneShard {
    pub(crate) id: ShardId,
    pub(crate) parent: Option<ShardId>,
    pub(crate) adjacent_parent: Option<ShardId>,
    /// The number behind its last record, if that is known.
    pub(crate) end: Option<RecordNumber>,
}

impl GoneShard {
    /// A shard that has ended in front of this number, if that is known.
    pub(crate) fn of(shard: &Shard, end: Option<RecordNumber>) -> Self {
        Self {
            id: shard.id,
            parent: shard.parent,
            adjacent_parent: shard.adjacent_parent,
            end,
        }
    }

    pub(crate) fn parents(&self) -> impl Iterator<Item = ShardId> + use<> {
        self.parent.into_iter().chain(self.adjacent_parent)
    }

    /// Whether it may have had records from this number on.
    pub(crate) fn may_have_had(&self, from: RecordNumber) -> bool {
        self.end.is_none_or(|end| from < end)
    }
}

/// The newest expired shards of a stream. No shard expires before its parents do, and ids rise from parents to
/// children. So all descendants of a remembered shard are remembered, or still exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GoneShards {
    shards: BTreeMap<ShardId, GoneShard>,
}

impl GoneShards {
    pub(crate) fn note(&mut self, gone: GoneShard) {
        self.shards.insert(gone.id, gone);
        if self.shards.len() > MOST_SHARDS {
            self.shards.pop_first();
        }
    }

    pub(crate) fn get(&self, id: ShardId) -> Option<&GoneShard> {
        self.shards.get(&id)
    }

    /// All remembered ones, in the order of their ids.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &GoneShard> {
        self.shards.values()
    }

    /// The ones that were made from a shard.
    pub(crate) fn children(&self, id: ShardId) -> impl Iterator<Item = &GoneShard> {
        self.iter()
            .filter(move |gone| gone.parents().any(|parent| parent == id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_shards_are_remembered() {
        let gone = |index| GoneShard {
            id: ShardId::new(index).unwrap(),
            parent: index.checked_sub(1).map(|parent| ShardId::new(parent).unwrap()),
            adjacent_parent: None,
            end: Some(RecordNumber::new(8)),
        };
        let mut shards = GoneShards::default();
        let count = MOST_SHARDS as u32 + 5;
        (0..count).for_each(|index| shards.note(gone(index)));
        assert_eq!(shards.iter().len(), MOST_SHARDS);
        assert_eq!(shards.get(gone(4).id), None);
        assert_eq!(shards.get(gone(5).id), Some(&gone(5)));
        let children: Vec<_> = shards.children(gone(5).id).collect();
        assert_eq!(children, [&gone(6)]);
    }

    #[test]
    fn a_shard_whose_end_is_not_known_may_have_had_any_record() {
        let mut gone = GoneShard {
            id: ShardId::FIRST,
            parent: None,
            adjacent_parent: None,
            end: Some(RecordNumber::new(8)),
        };
        assert!(gone.may_have_had(RecordNumber::new(7)));
        assert!(!gone.may_have_had(RecordNumber::new(8)));
        gone.end = None;
        assert!(gone.may_have_had(RecordNumber::new(8)));
    }
}
