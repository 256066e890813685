//! How a reader goes down a lineage: from shards that are drained or have expired to those in which it goes on.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::gone_shards::{GoneShard, GoneShards};
use super::{Lineage, RecordNumber, Shard, ShardId, Timestamp};

/// The number of the next record to read, by shard; [`RecordNumber::END`] for one that is drained and has a child that
/// waits for another parent.
pub(super) type Positions = BTreeMap<ShardId, RecordNumber>;

/// The shards that exist, and expired ones as far as they are remembered.
#[derive(Debug)]
pub(crate) struct Descent<'a> {
    pub(super) lineage: &'a Lineage,
    /// Includes those of the lineage that are behind the horizon.
    gone: Cow<'a, GoneShards>,
    horizon: Timestamp,
}

/// Positions, and the changes of some of them.
struct Moved<'a> {
    before: &'a Positions,
    changes: BTreeMap<ShardId, Option<RecordNumber>>,
}

/// A shard that was made from another one.
#[derive(Clone, Copy)]
struct Child {
    id: ShardId,
    parents: [Option<ShardId>; 2],
    /// It has expired, and never had a record.
    is_empty: bool,
}

impl<'a> Descent<'a> {
    /// `gone` has the shards that have expired, including those of the lineage that are behind the horizon.
    pub(crate) fn new(lineage: &'a Lineage, gone: Cow<'a, GoneShards>, horizon: Timestamp) -> Self {
        Self {
            lineage,
            gone,
            horizon,
        }
    }

    /// Whether a shard has not expired.
    pub(crate) fn has(&self, shard: ShardId) -> bool {
        let shard = self.lineage.shard(shard);
        shard.is_some_and(|shard| self.is_kept(shard))
    }

    /// Whether an expired shard may have had records from a number on. True if it is not remembered.
    pub(crate) fn may_have_lost(&self, shard: ShardId, from: RecordNumber) -> bool {
        let gone = self.gone.get(shard);
        gone.is_none_or(|gone| gone.may_have_had(from))
    }

    /// Moves positions on when a reader has finished a shard. Children begin when all of their parents are finished.
    /// They begin at their first record; or at the trim horizon, if the reader misses no records of them, or their
    /// parent has reported the loss.
    ///
    /// A child that has expired is listed if records of it are missed: a reader that comes to it gets an error.
    ///
    /// All children of a kept shard are kept, so only these and the shards they wait for are looked at, and not all
    /// shards.
    pub(super) fn pass(
        &self,
        positions: &Positions,
        shard: ShardId,
        is_at_horizon: bool,
    ) -> BTreeMap<ShardId, Option<RecordNumber>> {
        let mut next = Moved::from(positions);
        let mut passed = vec![(shard, is_at_horizon)];
        let mut has_passed_gone = false;
        while let Some((shard, is_at_horizon)) = passed.pop() {
            has_passed_gone |= !self.has(shard);
            next.insert(shard, RecordNumber::END);
            let children = self.children(shard);
            let unread = self.unread_gone_before(&children, &next);
            let mut is_waited_for = false;
            for child in children {
                if next.contains(child.id) || self.leads_to_any(child.id, positions) {
                    continue;
                }
                if !self.is_ready(&child, &next, &unread) {
                    is_waited_for = true;
                    continue;
                }
                let is_at_horizon = self.begin(&mut next, &child, shard, is_at_horizon);
                if !self.has(child.id) && (is_at_horizon || child.is_empty) {
                    passed.push((child.id, is_at_horizon));
                }
            }
            // If the finished shard has expired too, its child may begin at the horizon.
            let leaves_no_mark = is_at_horizon && !self.has(shard);
            if !is_waited_for || leaves_no_mark {
                next.remove(shard);
            }
        }
        if has_passed_gone {
            self.begin_orphans(&mut next);
        }
        next.into_changes()
    }

    /// Begins a child whose parents are all finished. Gives whether it begins at the trim horizon.
    fn begin(&self, next: &mut Moved<'_>, child: &Child, passed: ShardId, is_at_horizon: bool) -> bool {
        let mut is_at_horizon = is_at_horizon;
        for parent in child.parents().filter(|parent| *parent != passed) {
            if next.get(parent) == Some(RecordNumber::END) {
                // The reader has read records of this shard, and misses those that followed.
                is_at_horizon = false;
                next.remove(parent);
            }
        }
        let first = match is_at_horizon {
            true => RecordNumber::BEFORE_FIRST,
            false => RecordNumber::FIRST,
        };
        next.insert(child.id, first);
        is_at_horizon
    }

    /// Begins the oldest kept shards that no position leads to: their parents are gone or drained, and they are not
    /// drained themselves. The shards between them and the positions are not remembered.
    fn begin_orphans(&self, next: &mut Moved<'_>) {
        let drained = self.ancestors(next.iter().map(|(shard, _)| shard));
        let unread = self.unread_gone(next);
        let orphans: Vec<_> = self
            .kept()
            .filter(|shard| !next.contains(shard.id) && !drained.contains(&shard.id))
            .map(Child::of)
            .filter(|child| self.is_ready(child, next, &unread))
            .collect();
        for orphan in orphans {
            self.begin(next, &orphan, orphan.id, true);
        }
    }

    /// Whether all parents are drained, or are gone and will not be reached any more.
    fn is_ready(&self, child: &Child, next: &Moved<'_>, unread: &BTreeSet<ShardId>) -> bool {
        child.parents().all(|parent| {
            next.get(parent) == Some(RecordNumber::END) || !self.has(parent) && !unread.contains(&parent)
        })
    }

    /// The gone shards that the reader is in, or will reach, if that matters to one of these children.
    fn unread_gone_before(&self, children: &[Child], next: &Moved<'_>) -> BTreeSet<ShardId> {
        let mut parents = children.iter().flat_map(Child::parents);
        match parents.any(|parent| !self.has(parent)) {
            true => self.unread_gone(next),
            false => BTreeSet::new(),
        }
    }

    /// The gone shards that the reader is in, or will reach.
    fn unread_gone(&self, next: &Moved<'_>) -> BTreeSet<ShardId> {
        let listed = next.iter().filter(|(_, next)| *next != RecordNumber::END);
        let listed = listed.map(|(shard, _)| shard);
        let mut unread: BTreeSet<_> = listed.filter(|shard| !self.has(*shard)).collect();
        for gone in self.gone.iter() {
            if !next.contains(gone.id) && gone.parents().any(|parent| unread.contains(&parent)) {
                unread.insert(gone.id);
            }
        }
        unread
    }

    /// Whether one of these positions is in a descendant of a shard. Ids rise from parents to children.
    fn leads_to_any(&self, shard: ShardId, positions: &Positions) -> bool {
        let Some((&last, _)) = positions.last_key_value() else {
            return false;
        };
        let mut found = BTreeSet::new();
        let mut unvisited = vec![shard];
        while let Some(id) = unvisited.pop().filter(|_| shard < last) {
            let listed = self.lineage.children(id).map(|child| child.id);
            for child in listed.chain(self.gone.children(id).map(|gone| gone.id)) {
                if positions.contains_key(&child) {
                    return true;
                }
                if child < last && found.insert(child) {
                    unvisited.push(child);
                }
            }
        }
        false
    }

    fn children(&self, of: ShardId) -> Vec<Child> {
        let kept = self.lineage.children(of);
        let kept = kept.filter(|shard| self.is_kept(shard)).map(Child::of);
        let gone = self.gone.children(of).map(|gone| Child {
            id: gone.id,
            parents: [gone.parent, gone.adjacent_parent],
            is_empty: !gone.may_have_had(RecordNumber::FIRST),
        });
        kept.chain(gone).collect()
    }

    /// The shards from which any of these descends.
    fn ancestors(&self, of: impl Iterator<Item = ShardId>) -> BTreeSet<ShardId> {
        let mut found = BTreeSet::new();
        let mut unvisited: Vec<_> = of.collect();
        while let Some(id) = unvisited.pop() {
            let listed = self.lineage.shard(id).into_iter().flat_map(Shard::parents);
            let gone = self.gone.get(id).into_iter().flat_map(GoneShard::parents);
            unvisited.extend(listed.chain(gone).filter(|parent| found.insert(*parent)));
        }
        found
    }

    fn kept(&self) -> impl Iterator<Item = &Shard> {
        self.lineage.shards().filter(|shard| self.is_kept(shard))
    }

    fn is_kept(&self, shard: &Shard) -> bool {
        !shard.is_expired(self.horizon)
    }
}

impl<'a> Moved<'a> {
    fn from(before: &'a Positions) -> Self {
        Self {
            before,
            changes: BTreeMap::new(),
        }
    }

    fn get(&self, shard: ShardId) -> Option<RecordNumber> {
        match self.changes.get(&shard) {
            Some(changed) => *changed,
            None => self.before.get(&shard).copied(),
        }
    }

    fn contains(&self, shard: ShardId) -> bool {
        self.get(shard).is_some()
    }

    fn insert(&mut self, shard: ShardId, next: RecordNumber) {
        self.changes.insert(shard, Some(next));
    }

    fn remove(&mut self, shard: ShardId) {
        self.changes.insert(shard, None);
    }

    /// All of them, in no order.
    fn iter(&self) -> impl Iterator<Item = (ShardId, RecordNumber)> {
        let kept = self.before.iter().map(|(shard, next)| (*shard, *next));
        let kept = kept.filter(|(shard, _)| !self.changes.contains_key(shard));
        let changes = self.changes.iter();
        kept.chain(changes.filter_map(|(shard, next)| Some((*shard, (*next)?))))
    }

    /// The difference to the state before.
    fn into_changes(mut self) -> BTreeMap<ShardId, Option<RecordNumber>> {
        self.changes
            .retain(|shard, next| self.before.get(shard).copied() != *next);
        self.changes
    }
}

impl Child {
    fn of(shard: &Shard) -> Self {
        Self {
            id: shard.id,
            parents: [shard.parent, shard.adjacent_parent],
            is_empty: false,
        }
    }

    fn parents(&self) -> impl Iterator<Item = ShardId> + use<> {
        self.parents.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::model::HashKey;
    use crate::model::gone_shards::GoneShard;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
    const END: u64 = RecordNumber::END.value();

    fn shard(index: u32) -> ShardId {
        ShardId::new(index).unwrap()
    }

    fn positions(next: &[(u32, u64)]) -> Positions {
        let next = next.iter();
        next.map(|(index, number)| (shard(*index), RecordNumber::new(*number)))
            .collect()
    }

    fn apply(positions: &mut Positions, changes: BTreeMap<ShardId, Option<RecordNumber>>) {
        for (shard, next) in changes {
            match next {
                Some(next) => positions.insert(shard, next),
                None => positions.remove(&shard),
            };
        }
    }

    /// Shards of which some have expired, after so many records each.
    struct World {
        lineage: Lineage,
        gone: GoneShards,
    }

    impl World {
        /// Shard 0 is split into 1 and 2, which are merged into 3; that is split into 4 and 5.
        fn new() -> Self {
            let mut lineage = Lineage::new(1, NOW).unwrap();
            let split = lineage.split(shard(0), HashKey::MAX / 2, NOW).unwrap();
            lineage.apply_reshard(&split).unwrap();
            let merge = lineage.merge(shard(1), shard(2), NOW).unwrap();
            lineage.apply_reshard(&merge).unwrap();
            let split = lineage.split(shard(3), HashKey::MAX / 4, NOW).unwrap();
            lineage.apply_reshard(&split).unwrap();
            Self {
                lineage,
                gone: GoneShards::default(),
            }
        }

        fn expire(mut self, records: &[(u32, u64)]) -> Self {
            for (index, records) in records {
                let gone = self.lineage.expire(shard(*index)).unwrap();
                let end = RecordNumber::new(records + 1);
                self.gone.note(GoneShard::of(&gone, Some(end)));
            }
            self
        }

        fn pass(&self, before: &[(u32, u64)], index: u32, is_at_horizon: bool) -> Positions {
            let descent = Descent::new(&self.lineage, Cow::Borrowed(&self.gone), Timestamp::EPOCH);
            let mut next = positions(before);
            let changes = descent.pass(&next, shard(index), is_at_horizon);
            apply(&mut next, changes);
            next
        }
    }

    #[test]
    fn a_reader_that_misses_nothing_of_a_shard_that_has_expired_begins_its_children() {
        let world = World::new().expire(&[(0, 4)]);
        assert_eq!(world.pass(&[(0, 5)], 0, false), positions(&[(1, 1), (2, 1)]));
        // It was told of the parent, or was at the horizon.
        assert_eq!(world.pass(&[(0, 3)], 0, true), positions(&[(1, 0), (2, 0)]));
    }

    #[test]
    fn a_child_that_has_expired_with_records_is_come_to() {
        let world = World::new().expire(&[(0, 4), (1, 2)]);
        let reached = world.pass(&[(0, 5)], 0, false);
        assert_eq!(reached, positions(&[(1, 1), (2, 1)]));
        let both = World::new().expire(&[(0, 4), (1, 2), (2, 3)]);
        assert_eq!(both.pass(&[(0, 5)], 0, false), reached);
        // Shard 3 waits for both.
        let one = both.pass(&[(1, 1), (2, 1)], 1, true);
        assert_eq!(one, positions(&[(2, 1)]));
        assert_eq!(both.pass(&[(2, 1)], 2, true), positions(&[(3, 0)]));
        // What follows records that were read is missed.
        let one = both.pass(&[(1, 3), (2, 1)], 1, false);
        assert_eq!(one, positions(&[(1, END), (2, 1)]));
        assert_eq!(both.pass(&[(1, END), (2, 1)], 2, true), positions(&[(3, 1)]));
    }

    #[test]
    fn a_child_that_has_expired_and_had_no_record_is_passed_over() {
        let world = World::new().expire(&[(0, 4), (1, 0), (2, 0)]);
        assert_eq!(world.pass(&[(0, 5)], 0, false), positions(&[(3, 1)]));
        let one = World::new().expire(&[(0, 4), (1, 0), (2, 7)]);
        assert_eq!(one.pass(&[(0, 5)], 0, false), positions(&[(1, END), (2, 1)]));
    }

    #[test]
    fn one_that_was_told_of_a_shard_is_not_told_of_its_descendants() {
        let world = World::new().expire(&[(0, 4), (1, 1), (2, 1), (3, 1)]);
        assert_eq!(world.pass(&[(0, 3)], 0, true), positions(&[(4, 0), (5, 0)]));
        assert_eq!(world.pass(&[(0, 0)], 0, true), positions(&[(4, 0), (5, 0)]));
    }

    #[test]
    fn what_is_behind_shards_that_are_not_remembered_is_begun() {
        let mut world = World::new().expire(&[(0, 4), (1, 1), (2, 1), (3, 1)]);
        world.gone = GoneShards::default();
        assert_eq!(world.pass(&[(0, 3)], 0, true), positions(&[(4, 0), (5, 0)]));
        let descent = Descent::new(&world.lineage, Cow::Borrowed(&world.gone), Timestamp::EPOCH);
        assert!(descent.may_have_lost(shard(0), RecordNumber::new(5)));
    }

    #[test]
    fn what_was_read_of_a_child_is_not_begun_again() {
        let world = World::new().expire(&[(0, 4), (1, 2)]);
        // A reader goes on in a child while one of its parents has expired.
        assert_eq!(world.pass(&[(1, 1), (3, 8)], 1, true), positions(&[(3, 8)]));
        let further = &[(1, 1), (4, 8), (5, 2)];
        assert_eq!(world.pass(further, 1, true), positions(&[(4, 8), (5, 2)]));
    }
    /// Each step took time in proportion to all shards, so this took minutes.
    #[test]
    fn to_pass_each_of_many_shards_takes_no_look_at_all_of_them() {
        const SHARDS: u32 = 8_000;
        let mut lineage = Lineage::new(SHARDS, NOW).unwrap();
        for index in 0..SHARDS {
            let range = lineage.shard(shard(index)).unwrap().hash_key_range;
            let middle = HashKey::new(range.start().value() / 2 + range.end().value() / 2);
            let split = lineage.split(shard(index), middle, NOW).unwrap();
            lineage.apply_reshard(&split).unwrap();
        }
        let gone = GoneShards::default();
        let mut next: Positions = (0..SHARDS)
            .map(|index| (shard(index), RecordNumber::FIRST))
            .collect();
        let begun = Instant::now();
        for index in 0..SHARDS {
            let descent = Descent::new(&lineage, Cow::Borrowed(&gone), Timestamp::EPOCH);
            let changes = descent.pass(&next, shard(index), false);
            assert_eq!(changes.len(), 3);
            apply(&mut next, changes);
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let children = (SHARDS..3 * SHARDS).map(|index| (index, 1));
        assert_eq!(next, positions(&children.collect::<Vec<_>>()));
    }
}
