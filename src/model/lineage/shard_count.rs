//! Reaching another number of open shards, by one split or merge after the other.

use super::Lineage;
use crate::model::{HashKey, HashKeyRange, Shard, ShardId};

/// One step on the way to another number of open shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReshardStep {
    /// To be planned by [`Lineage::split`].
    Split {
        /// The shard to be split.
        shard: ShardId,
        /// The first key of the upper child.
        new_starting_hash_key: HashKey,
    },
    /// To be planned by [`Lineage::merge`].
    Merge {
        /// The lower shard.
        first: ShardId,
        /// The shard whose range follows it.
        second: ShardId,
    },
}

impl Lineage {
    /// The next step on the way to `target` open shards, for a change during which every shard from `first_new` on was
    /// made; `None` once there are as many.
    ///
    /// For more shards, every shard is split in its middle once, and then neighbours are merged. For fewer, neighbours
    /// are merged. The two neighbours whose ranges are the smallest together are merged first, so that from even ranges
    /// the largest and the smallest shard never differ by more than a factor of two. If one split of each is not
    /// enough, the widest shard is split.
    ///
    /// The steps depend on the lineage alone, so a change that was interrupted goes on where it stopped.
    pub fn next_step(&self, target: u32, first_new: ShardId) -> Option<ReshardStep> {
        let split = self
            .opens()
            .filter(|shard| shard.id < first_new)
            .find_map(middle_split);
        if split.is_some() {
            return split;
        }
        let open = self.open_shard_count();
        if open > target.max(1) {
            self.smallest_pair()
        } else if open < target {
            self.widest_split()
        } else {
            None
        }
    }

    /// The split of an open shard into halves; `None` if it is closed or has too few keys.
    pub(crate) fn halving(&self, shard: ShardId) -> Option<ReshardStep> {
        self.shard(shard)
            .filter(|shard| shard.is_open())
            .and_then(middle_split)
    }

    /// The first shard that is new to a change that begins now. No old shard is split if there will be fewer.
    pub(crate) fn first_new_on_the_way_to(&self, target: u32) -> Result<ShardId, super::LineageError> {
        match target > self.open_shard_count() {
            true => super::shard_id(self.next_index),
            false => super::shard_id(0),
        }
    }

    fn smallest_pair(&self) -> Option<ReshardStep> {
        let pairs = self.opens().zip(self.opens().skip(1));
        let (first, second) = pairs.min_by_key(|(first, second)| {
            (
                width(first).saturating_add(width(second)),
                first.hash_key_range.start(),
            )
        })?;
        Some(ReshardStep::Merge {
            first: first.id,
            second: second.id,
        })
    }

    /// So many of the open shards, those with the widest ranges.
    pub(crate) fn widest(&self, count: usize) -> Vec<ShardId> {
        let mut open: Vec<_> = self.opens().collect();
        open.sort_by_key(|shard| (std::cmp::Reverse(width(shard)), shard.id));
        open.iter().take(count).map(|shard| shard.id).collect()
    }

    /// The open shards in the order of their ranges. Closed ones, which may be many more, cost nothing.
    fn opens(&self) -> impl Iterator<Item = &Shard> {
        self.open.values().filter_map(|id| self.shard(*id))
    }

    fn widest_split(&self) -> Option<ReshardStep> {
        let widest = self
            .opens()
            .max_by_key(|shard| (width(shard), std::cmp::Reverse(shard.id)));
        widest.and_then(middle_split)
    }
}

/// The split of a shard into halves; `None` if it has too few keys for that.
fn middle_split(shard: &Shard) -> Option<ReshardStep> {
    let new_starting_hash_key = shard.hash_key_range.middle()?;
    Some(ReshardStep::Split {
        shard: shard.id,
        new_starting_hash_key,
    })
}

/// One less than the number of its keys, which may not fit an integer.
fn width(shard: &Shard) -> u128 {
    let range: HashKeyRange = shard.hash_key_range;
    range.end().value() - range.start().value()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Timestamp;

    fn apply(lineage: &mut Lineage, step: ReshardStep) {
        let now = Timestamp::from_seconds(1_421_279_230);
        let reshard = match step {
            ReshardStep::Split {
                shard,
                new_starting_hash_key,
            } => lineage.split(shard, new_starting_hash_key, now),
            ReshardStep::Merge { first, second } => lineage.merge(first, second, now),
        };
        lineage.apply_reshard(&reshard.unwrap()).unwrap();
    }

    fn scale(lineage: &mut Lineage, target: u32) {
        let first_new = lineage.first_new_on_the_way_to(target).unwrap();
        while let Some(step) = lineage.next_step(target, first_new) {
            apply(lineage, step);
        }
    }

    fn of(count: u32) -> Lineage {
        Lineage::new(count, Timestamp::from_seconds(1_421_279_230)).unwrap()
    }

    #[test]
    fn the_shards_in_all_are_as_many_as_on_aws() {
        for (from, to, in_all) in [
            (2, 4, 6),
            (4, 5, 15),
            (10, 13, 37),
            (4, 2, 6),
            (5, 3, 7),
            (10, 3, 17),
        ] {
            let mut lineage = of(from);
            scale(&mut lineage, to);
            assert_eq!(lineage.open_shard_count(), to, "{from} to {to}");
            assert_eq!(lineage.shards().len(), in_all, "{from} to {to}");
        }
    }

    #[test]
    fn twice_and_half_as_many_shards_have_even_ranges() {
        for (from, to) in [(2, 4), (7, 14), (4, 2), (64, 32), (3, 3)] {
            let mut lineage = of(from);
            scale(&mut lineage, to);
            let widths: Vec<_> = lineage.open_shards().map(width).collect();
            let (least, most) = (widths.iter().min().unwrap(), widths.iter().max().unwrap());
            assert!(most - least <= 2, "{from} to {to}: {least} to {most}");
        }
    }

    #[test]
    fn shards_that_are_too_narrow_to_be_split_are_left_alone() {
        let mut lineage = of(1);
        let narrow = ReshardStep::Split {
            shard: ShardId::new(0).unwrap(),
            new_starting_hash_key: HashKey::new(2),
        };
        apply(&mut lineage, narrow);
        scale(&mut lineage, 6);
        assert_eq!(lineage.open_shard_count(), 6);
        assert_eq!(lineage.check(), Ok(()));
    }

    proptest! {
        #[test]
        fn any_number_of_shards_is_reached_from_any_other(counts in prop::collection::vec(1..40u32, 2..5)) {
            let mut lineage = of(counts[0]);
            for pair in counts.windows(2) {
                let before = lineage.shards().len();
                scale(&mut lineage, pair[1]);
                prop_assert_eq!(lineage.open_shard_count(), pair[1]);
                prop_assert_eq!(lineage.check(), Ok(()));
                let made = lineage.shards().len() - before;
                prop_assert!(made <= 4 * pair[0].max(pair[1]) as usize);
            }
        }

        #[test]
        fn from_even_ranges_no_shard_is_more_than_twice_as_wide_as_another(from in 1..60u32, to in 1..120u32) {
            prop_assume!(to <= 2 * from && 2 * to >= from);
            let mut lineage = of(from);
            scale(&mut lineage, to);
            let widths: Vec<_> = lineage.open_shards().map(width).collect();
            let (least, most) = (widths.iter().min().unwrap(), widths.iter().max().unwrap());
            prop_assert!(most / 2 <= least.saturating_add(4), "{from} to {to}: {least} to {most}");
        }
    }
}
