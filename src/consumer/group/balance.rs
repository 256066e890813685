//! Fair parts: which shards a member takes, and which shards it asks other members for.

use std::collections::BTreeMap;

use super::leases::{Leases, MemberId, Wanted};
use crate::model::ShardId;

impl Leases {
    /// Gives a member its part of the available shards: free ones at once, and others from members that have more, as
    /// soon as these have committed what they were given.
    pub(super) fn balance(&mut self, id: MemberId, shards: &[ShardId], now: u64) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let level = fair_level(
            shards.len(),
            self.live(now).map(|(_, live)| live.holding.max_shards),
        );
        let target = level.min(member.holding.max_shards);
        self.take_free(id, shards, target, now);
        self.ask_for_more(id, target, level, now);
    }

    fn take_free(&mut self, id: MemberId, shards: &[ShardId], target: usize, now: u64) {
        let mut held = self.count(id);
        for shard in shards {
            if held >= target {
                return;
            }
            if self.is_free_for(*shard, id, now) {
                self.grant(*shard, id);
                held += 1;
            }
        }
    }

    fn is_free_for(&self, shard: ShardId, id: MemberId, now: u64) -> bool {
        let Some(lease) = self.leases.get(&shard) else {
            return true;
        };
        let is_due = |wanted: Wanted| wanted.by == id && wanted.from <= now;
        let can_be_taken = !self.is_live(lease.holder, now) || lease.wanted.is_some_and(is_due);
        lease.holder != id && lease.commits == 0 && can_be_taken
    }

    /// Asks the members with most shards for some, as long as they have too many while this member has too few.
    fn ask_for_more(&mut self, id: MemberId, target: usize, level: usize, now: u64) {
        let mut own = self.count(id) + self.count_wanted(id);
        if own >= target {
            return;
        }
        let mut others = self.kept_by_others(id, now);
        while own < target {
            let Some(fullest) = others.values_mut().max_by_key(|kept| kept.shards.len()) else {
                return;
            };
            let count = fullest.shards.len();
            let has_too_many = count > level.min(fullest.max_shards) || count >= own + 2;
            let Some(shard) = fullest.shards.pop().filter(|_| has_too_many) else {
                return;
            };
            self.want(shard, id, now);
            own += 1;
        }
    }

    /// The shards that other members hold and that no member is to get, with idle shards last.
    fn kept_by_others(&self, id: MemberId, now: u64) -> BTreeMap<MemberId, Kept> {
        let others = self.live(now).filter(|(other, _)| *other != id);
        let mut kept: BTreeMap<_, _> = others
            .map(|(other, member)| (other, Kept::none(member.holding.max_shards)))
            .collect();
        for is_idle in [false, true] {
            for (shard, lease) in &self.leases {
                if let Some(kept) = kept.get_mut(&lease.holder)
                    && lease.is_idle() == is_idle
                    && self.asker(lease, now).is_none()
                {
                    kept.shards.push(*shard);
                }
            }
        }
        kept
    }

    fn want(&mut self, shard: ShardId, by: MemberId, now: u64) {
        let Some(lease) = self.leases.get_mut(&shard) else {
            return;
        };
        let holder = self.members.get(&lease.holder);
        let lease_millis = holder.map_or(0, |holder| holder.holding.lease_millis);
        lease.wanted = Some(Wanted {
            by,
            from: now.saturating_add(lease_millis),
        });
        self.touch();
        self.hand_over(shard, now);
    }
}

/// The shards of a member.
struct Kept {
    max_shards: usize,
    shards: Vec<ShardId>,
}

impl Kept {
    fn none(max_shards: usize) -> Self {
        Self {
            max_shards,
            shards: Vec::new(),
        }
    }
}

/// The least level at which all shards are held if each member holds up to that many, and no more than its own maximum.
fn fair_level(shards: usize, most: impl Iterator<Item = usize>) -> usize {
    let mut most: Vec<_> = most.collect();
    most.sort_unstable();
    let mut left = shards;
    for (at, own) in most.iter().enumerate() {
        let level = left.div_ceil(most.len() - at);
        if level <= *own {
            return level;
        }
        left -= own;
    }
    usize::MAX
}
