//! The shards that a queue is done with.

use std::collections::BTreeMap;

use crate::model::ShardId;

/// Shards, as ranges of their indices. Its size depends on the gaps between ranges, not on the number of shards.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct ShardSet {
    /// The last index of each range, by its first. There is a gap between any two ranges.
    ranges: BTreeMap<u32, u32>,
}

impl ShardSet {
    pub(super) fn contains(&self, shard: ShardId) -> bool {
        let at_or_before = self.ranges.range(..=shard.index()).next_back();
        at_or_before.is_some_and(|(_, last)| shard.index() <= *last)
    }

    pub(super) fn insert(&mut self, shard: ShardId) {
        self.insert_range(shard, shard);
    }

    /// Includes the first and the last.
    pub(super) fn insert_range(&mut self, first: ShardId, last: ShardId) {
        let (mut first, mut last) = (first.index(), last.index());
        if first > last {
            return;
        }
        // All ranges that it touches become one.
        while let Some((&from, &to)) = self.ranges.range(..=last.saturating_add(1)).next_back()
            && to.saturating_add(1) >= first
        {
            self.ranges.remove(&from);
            first = first.min(from);
            last = last.max(to);
        }
        self.ranges.insert(first, last);
    }

    /// The first and the last of each range, in order.
    pub(super) fn ranges(&self) -> impl ExactSizeIterator<Item = (u32, u32)> {
        self.ranges.iter().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_has_what_was_inserted_in_as_few_ranges_as_can_be(
            inserted in prop::collection::vec((0..60_u32, 0..6_u32), 0..30),
        ) {
            let shard = |index| ShardId::new(index).unwrap();
            let (mut set, mut expected) = (ShardSet::default(), BTreeSet::new());
            for (first, more) in inserted {
                set.insert_range(shard(first), shard(first + more));
                expected.extend(first..=first + more);
            }
            let known: BTreeSet<_> = (0..100).filter(|index| set.contains(shard(*index))).collect();
            prop_assert_eq!(&known, &expected);
            let begins = |index: &&u32| !expected.contains(&index.wrapping_sub(1));
            prop_assert_eq!(set.ranges().len(), expected.iter().filter(begins).count());
        }
    }
}
