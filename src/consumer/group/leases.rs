//! Which member holds which shard.
//!
//! A lease has a term, a number that no other lease of the group ever has. Whatever a member does with a shard names the
//! term, so a lease that was lost and taken again is another one.
//!
//! A lease runs out when its holder has made no call for its lease time. It stays with the holder until another member
//! takes it: a member alone in its group may be slow.

use std::collections::BTreeMap;

use crate::model::{Advance, RecordNumber, ShardId, limits};

/// A member, as no other of the group ever is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberId(u64);

/// The number of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term(u64);

/// The members of a group and what they hold. Times are in milliseconds of the store's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Leases {
    members: BTreeMap<MemberId, MemberState>,
    leases: BTreeMap<ShardId, Lease>,
    last_member: u64,
    last_term: u64,
    /// Another one whenever members may have to look again.
    version: u64,
    /// How many callers are setting the group's checkpoint: meanwhile there are no leases.
    resets: usize,
    /// The group is no more.
    is_ended: bool,
}

/// How a member holds shards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    pub(super) lease_millis: u64,
    pub(super) max_shards: usize,
}

#[derive(Debug)]
struct MemberState {
    name: String,
    holding: Holding,
    /// When its leases run out.
    until: u64,
}

#[derive(Debug)]
struct Lease {
    holder: MemberId,
    term: Term,
    /// Behind the last record that was given to the holder; the beginning if none was.
    handed_out: RecordNumber,
    /// Behind the last record that the holder has committed.
    committed: RecordNumber,
    /// How many commits are on their way into the catalog. A lease with one is not taken.
    commits: usize,
    wanted: Option<Wanted>,
}

/// Another member has too few shards and is to get this one. The holder is given nothing more of it.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    by: MemberId,
    /// From then on it is taken whatever the holder has not committed.
    from: u64,
}

/// Why a member may not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The group is no more.
    Ended,
    /// Another member has taken this one's place.
    NoMember,
    /// The member does not hold the shard, or not by this lease.
    Lost,
    /// A member of this name holds shards, or may.
    NameTaken,
    TooManyMembers,
}

/// A member as others see it.
pub(super) struct MemberView {
    pub(super) name: String,
    pub(super) shards: Vec<ShardId>,
    pub(super) has_run_out: bool,
}

impl Leases {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Has all members look again.
    pub(super) fn touch(&mut self) {
        self.version += 1;
    }

    pub(super) fn join(&mut self, name: &str, holding: Holding, now: u64) -> Result<MemberId, Refusal> {
        if self.is_ended {
            return Err(Refusal::Ended);
        }
        let namesake = self.members.iter().find(|(_, member)| member.name == name);
        match namesake.map(|(id, member)| (*id, member.is_live(now))) {
            Some((_, true)) => return Err(Refusal::NameTaken),
            Some((id, false)) => self.remove(id),
            None => {}
        }
        if self.members.len() >= limits::MAX_MEMBERS_PER_GROUP {
            self.remove_run_out(now);
        }
        if self.members.len() >= limits::MAX_MEMBERS_PER_GROUP {
            return Err(Refusal::TooManyMembers);
        }
        self.last_member += 1;
        let id = MemberId(self.last_member);
        let state = MemberState {
            name: name.to_owned(),
            holding,
            until: now.saturating_add(holding.lease_millis),
        };
        self.members.insert(id, state);
        self.touch();
        Ok(id)
    }

    /// The member is no more, and what it holds is free.
    pub(super) fn leave(&mut self, id: MemberId) {
        self.remove(id);
    }

    /// The member is there. Gives the version.
    pub(super) fn renew(&mut self, id: MemberId, now: u64) -> Result<u64, Refusal> {
        if self.is_ended {
            return Err(Refusal::Ended);
        }
        let member = self.members.get_mut(&id).ok_or(Refusal::NoMember)?;
        // Others have counted without it.
        let was_gone = !member.is_live(now);
        member.until = now.saturating_add(member.holding.lease_millis);
        if was_gone {
            self.touch();
        }
        Ok(self.version)
    }

    /// Gives a member its part of the shards that can be held: those that are free at once, and others from members that
    /// have more, as soon as they have committed what they were given.
    pub(super) fn balance(&mut self, id: MemberId, shards: &[ShardId], now: u64) {
        let Some(member) = self.members.get(&id).filter(|_| self.resets == 0) else {
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

    /// The shards that a member holds, with their leases.
    pub(super) fn held_by(&self, id: MemberId) -> BTreeMap<ShardId, Term> {
        let held = self.leases.iter().filter(|(_, lease)| lease.holder == id);
        held.map(|(shard, lease)| (*shard, lease.term)).collect()
    }

    /// When a member has to look again although nothing has told it: leases of others run out, or are to be taken.
    pub(super) fn next_due(&self, id: MemberId, now: u64) -> Option<u64> {
        let others = self.leases.values().filter(|lease| lease.holder != id);
        let dues = others.filter_map(|lease| {
            let holder = self.members.get(&lease.holder)?;
            let wanted = lease.wanted.filter(|wanted| wanted.by == id);
            Some(wanted.map_or(holder.until, |wanted| wanted.from.min(holder.until)))
        });
        dues.filter(|due| *due > now).min()
    }

    /// Whether records of a shard may be given to its holder.
    pub(super) fn may_read(&self, shard: ShardId, term: Term, now: u64) -> bool {
        let lease = self.lease(shard, term);
        lease.is_some_and(|lease| self.asker(lease, now).is_none())
    }

    /// Notes that records before a number are given to the holder; false if they may not be any more.
    pub(super) fn hand_out(&mut self, shard: ShardId, term: Term, before: RecordNumber, now: u64) -> bool {
        if !self.may_read(shard, term, now) {
            return false;
        }
        if let Some(lease) = self.lease_mut(shard, term) {
            lease.handed_out = lease.handed_out.max(before);
            lease.wanted = None;
        }
        true
    }

    /// Whether all that the holder was given is committed.
    pub(super) fn is_settled(&self, shard: ShardId, term: Term) -> bool {
        self.lease(shard, term).is_some_and(Lease::is_settled)
    }

    /// The member may note something about a shard, and the lease is not taken before it has.
    pub(super) fn begin_commit(
        &mut self,
        id: MemberId,
        shard: ShardId,
        term: Term,
        now: u64,
    ) -> Result<(), Refusal> {
        self.renew(id, now)?;
        let lease = self.lease_mut(shard, term);
        let lease = lease.filter(|lease| lease.holder == id);
        lease.ok_or(Refusal::Lost)?.commits += 1;
        Ok(())
    }

    /// What was begun is noted, or could not be.
    pub(super) fn end_commit(&mut self, shard: ShardId, term: Term, noted: Option<Advance>, now: u64) {
        let Some(lease) = self.lease_mut(shard, term) else {
            // The group was set back meanwhile.
            return;
        };
        lease.commits -= 1;
        match noted {
            Some(Advance::To(next)) => lease.committed = lease.committed.max(next),
            Some(Advance::Drained | Advance::Expired) => {
                self.leases.remove(&shard);
                // There may be children to hold.
                self.touch();
            }
            None => {}
        }
        self.hand_over(shard, now);
    }

    /// There is nothing to read of the shard any more.
    pub(super) fn give_up(&mut self, shard: ShardId, term: Term) {
        let is_idle = self.lease(shard, term).is_some_and(|lease| lease.commits == 0);
        if is_idle {
            self.leases.remove(&shard);
        }
    }

    /// Ends all leases, and gives no other before [`end_reset`](Self::end_reset).
    pub(super) fn begin_reset(&mut self) {
        self.resets += 1;
        self.leases.clear();
        self.touch();
    }

    pub(super) fn end_reset(&mut self) {
        self.resets = self.resets.saturating_sub(1);
        self.touch();
    }

    /// The group is no more.
    pub(super) fn end(&mut self) {
        self.is_ended = true;
        self.leases.clear();
        self.touch();
    }

    /// The members, in the order in which they joined.
    pub(super) fn views(&self, now: u64) -> Vec<MemberView> {
        let members = self.members.iter();
        let views = members.map(|(id, member)| MemberView {
            name: member.name.clone(),
            shards: self.held_by(*id).into_keys().collect(),
            has_run_out: !member.is_live(now),
        });
        views.collect()
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

    fn grant(&mut self, shard: ShardId, holder: MemberId) {
        self.last_term += 1;
        let lease = Lease {
            holder,
            term: Term(self.last_term),
            handed_out: RecordNumber::BEFORE_FIRST,
            committed: RecordNumber::BEFORE_FIRST,
            commits: 0,
            wanted: None,
        };
        self.leases.insert(shard, lease);
        self.touch();
    }

    /// Asks those who have most for shards, as long as they have too many for this member to have too few.
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

    /// What other members hold and no member is to get, with that of which nothing is under way last.
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

    /// Gives a shard to the member that is to get it, if its holder has nothing under way.
    fn hand_over(&mut self, shard: ShardId, now: u64) {
        let idle = self.leases.get(&shard).filter(|lease| lease.is_idle());
        if let Some(asker) = idle.and_then(|lease| self.asker(lease, now)) {
            self.grant(shard, asker);
        }
    }

    /// The member that is to get the shard, as long as it is there.
    fn asker(&self, lease: &Lease, now: u64) -> Option<MemberId> {
        let asker = lease.wanted.map(|wanted| wanted.by);
        asker.filter(|asker| self.is_live(*asker, now))
    }

    fn remove(&mut self, id: MemberId) {
        if self.members.remove(&id).is_some() {
            self.leases.retain(|_, lease| lease.holder != id);
            self.touch();
        }
    }

    fn remove_run_out(&mut self, now: u64) {
        let members = self.members.iter();
        let run_out = members.filter(|(_, member)| !member.is_live(now));
        let run_out: Vec<_> = run_out.map(|(id, _)| *id).collect();
        run_out.into_iter().for_each(|id| self.remove(id));
    }

    fn live(&self, now: u64) -> impl Iterator<Item = (MemberId, &MemberState)> {
        let members = self.members.iter().map(|(id, member)| (*id, member));
        members.filter(move |(_, member)| member.is_live(now))
    }

    fn is_live(&self, id: MemberId, now: u64) -> bool {
        self.members.get(&id).is_some_and(|member| member.is_live(now))
    }

    fn count(&self, id: MemberId) -> usize {
        self.leases.values().filter(|lease| lease.holder == id).count()
    }

    fn count_wanted(&self, by: MemberId) -> usize {
        let wanted = self.leases.values().filter_map(|lease| lease.wanted);
        wanted.filter(|wanted| wanted.by == by).count()
    }

    fn lease(&self, shard: ShardId, term: Term) -> Option<&Lease> {
        self.leases.get(&shard).filter(|lease| lease.term == term)
    }

    fn lease_mut(&mut self, shard: ShardId, term: Term) -> Option<&mut Lease> {
        self.leases.get_mut(&shard).filter(|lease| lease.term == term)
    }
}

impl MemberState {
    fn is_live(&self, now: u64) -> bool {
        self.until > now
    }
}

impl Lease {
    fn is_settled(&self) -> bool {
        self.committed >= self.handed_out
    }

    /// Whether it can change hands without a record that is given out twice.
    fn is_idle(&self) -> bool {
        self.commits == 0 && self.is_settled()
    }
}

/// What a member holds.
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

/// The least number of shards so that members who have up to it, and no more than their own most, have all of them.
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: u64 = 1_000;

    fn shards(count: u32) -> Vec<ShardId> {
        (0..count).map(|index| ShardId::new(index).unwrap()).collect()
    }

    fn join(leases: &mut Leases, name: &str, max_shards: usize) -> MemberId {
        let holding = Holding {
            lease_millis: LEASE,
            max_shards,
        };
        leases.join(name, holding, 0).unwrap()
    }

    fn counts(leases: &Leases, members: &[MemberId]) -> Vec<usize> {
        members.iter().map(|id| leases.count(*id)).collect()
    }

    fn balance_all(leases: &mut Leases, members: &[MemberId], shards: &[ShardId], now: u64) {
        // Until nothing is to be done any more.
        for _ in 0..members.len() {
            for id in members {
                leases.balance(*id, shards, now);
            }
        }
    }

    #[test]
    fn members_have_equal_parts_and_no_more_than_they_can() {
        for (count, most, expected) in [
            (4, vec![9, 9], vec![2, 2]),
            (5, vec![9, 9], vec![3, 2]),
            (4, vec![9, 9, 9], vec![2, 1, 1]),
            (7, vec![1, 9, 9], vec![1, 3, 3]),
            (9, vec![1, 2, 3], vec![1, 2, 3]),
            (1, vec![9, 9], vec![1, 0]),
            (0, vec![9], vec![0]),
        ] {
            let shards = shards(count);
            let mut leases = Leases::default();
            // The first has all, before the others come.
            let first = join(&mut leases, "0", most[0]);
            leases.balance(first, &shards, 0);
            let others = most.iter().enumerate().skip(1);
            let others: Vec<_> = others
                .map(|(at, most)| join(&mut leases, &at.to_string(), *most))
                .collect();
            let members: Vec<_> = std::iter::once(first).chain(others).collect();
            balance_all(&mut leases, &members, &shards, 0);
            let mut counts = counts(&leases, &members);
            if most.iter().all(|most| *most == 9) {
                counts.sort_unstable_by(|one, other| other.cmp(one));
            }
            assert_eq!(counts, expected, "{count} shards, {most:?}");
            // Nothing moves any more.
            let version = leases.version();
            balance_all(&mut leases, &members, &shards, 0);
            assert_eq!(leases.version(), version);
        }
    }

    #[test]
    fn a_shard_changes_hands_when_what_was_given_out_is_committed() {
        let shards = shards(2);
        let mut leases = Leases::default();
        let first = join(&mut leases, "first", 9);
        leases.balance(first, &shards, 0);
        let terms = leases.held_by(first);
        for (shard, term) in &terms {
            assert!(leases.hand_out(*shard, *term, RecordNumber::new(9), 0));
        }
        let second = join(&mut leases, "second", 9);
        leases.balance(second, &shards, 0);
        assert_eq!(counts(&leases, &[first, second]), [2, 0]);
        let (asked_for, term) = terms
            .iter()
            .find(|(shard, term)| !leases.may_read(**shard, **term, 0))
            .map(|(shard, term)| (*shard, *term))
            .unwrap();
        let commit = |leases: &mut Leases, next| {
            leases.begin_commit(first, asked_for, term, 0).unwrap();
            leases.end_commit(asked_for, term, Some(Advance::To(RecordNumber::new(next))), 0);
        };
        commit(&mut leases, 5);
        assert_eq!(counts(&leases, &[first, second]), [2, 0]);
        commit(&mut leases, 9);
        assert_eq!(counts(&leases, &[first, second]), [1, 1]);
        let late = leases.begin_commit(first, asked_for, term, 0);
        assert_eq!(late, Err(Refusal::Lost));
    }

    #[test]
    fn a_shard_that_is_not_let_go_is_taken_after_a_lease_time() {
        let shards = shards(2);
        let mut leases = Leases::default();
        let first = join(&mut leases, "first", 9);
        leases.balance(first, &shards, 0);
        for (shard, term) in leases.held_by(first) {
            leases.hand_out(shard, term, RecordNumber::new(9), 0);
        }
        let second = join(&mut leases, "second", 9);
        leases.balance(second, &shards, 0);
        assert_eq!(leases.next_due(second, 0), Some(LEASE));
        for now in [LEASE / 2, LEASE - 1] {
            leases.renew(first, now).unwrap();
            leases.renew(second, now).unwrap();
            leases.balance(second, &shards, now);
            assert_eq!(leases.count(second), 0);
        }
        leases.balance(second, &shards, LEASE);
        assert_eq!(counts(&leases, &[first, second]), [1, 1]);
    }

    #[test]
    fn a_lease_that_has_run_out_is_its_holders_until_it_is_taken() {
        let shards = shards(1);
        let mut leases = Leases::default();
        let first = join(&mut leases, "first", 9);
        leases.balance(first, &shards, 0);
        let term = leases.held_by(first)[&shards[0]];
        let much_later = 10 * LEASE;
        leases.begin_commit(first, shards[0], term, much_later).unwrap();
        leases.end_commit(shards[0], term, None, much_later);

        let second = join(&mut leases, "second", 9);
        let later_still = 20 * LEASE;
        leases.renew(second, later_still).unwrap();
        // Not while a commit is under way.
        leases.begin_commit(first, shards[0], term, later_still).unwrap();
        let run_out = 30 * LEASE;
        leases.renew(second, run_out).unwrap();
        leases.balance(second, &shards, run_out);
        assert_eq!(leases.count(second), 0);
        leases.end_commit(shards[0], term, None, run_out);
        leases.balance(second, &shards, run_out);
        assert_eq!(leases.count(second), 1);
        let late = leases.begin_commit(first, shards[0], term, run_out);
        assert_eq!(late, Err(Refusal::Lost));
    }

    #[test]
    fn a_name_is_free_when_its_members_leases_have_run_out() {
        let mut leases = Leases::default();
        let holding = Holding {
            lease_millis: LEASE,
            max_shards: 1,
        };
        let first = leases.join("worker", holding, 0).unwrap();
        assert_eq!(leases.join("worker", holding, LEASE - 1), Err(Refusal::NameTaken));
        let second = leases.join("worker", holding, LEASE).unwrap();
        assert_eq!(leases.renew(first, LEASE), Err(Refusal::NoMember));
        leases.leave(second);
        leases.join("worker", holding, LEASE).unwrap();
    }

    #[test]
    fn a_group_has_so_many_members_and_no_more() {
        let mut leases = Leases::default();
        for name in 0..limits::MAX_MEMBERS_PER_GROUP {
            join(&mut leases, &name.to_string(), 1);
        }
        let holding = Holding {
            lease_millis: LEASE,
            max_shards: 1,
        };
        let refused = leases.join("another", holding, 0);
        assert_eq!(refused, Err(Refusal::TooManyMembers));
        leases.join("another", holding, LEASE).unwrap();
    }

    #[test]
    fn nothing_is_held_while_a_group_is_set_back_or_after_its_end() {
        let shards = shards(1);
        let mut leases = Leases::default();
        let member = join(&mut leases, "member", 9);
        leases.balance(member, &shards, 0);
        let term = leases.held_by(member)[&shards[0]];
        leases.begin_commit(member, shards[0], term, 0).unwrap();
        leases.begin_reset();
        leases.end_commit(shards[0], term, Some(Advance::Drained), 0);
        leases.balance(member, &shards, 0);
        assert_eq!(leases.count(member), 0);
        leases.end_reset();
        leases.balance(member, &shards, 0);
        assert_eq!(leases.count(member), 1);
        leases.end();
        assert_eq!(leases.renew(member, 0), Err(Refusal::Ended));
    }
}
