//! Which member holds which shard.
//!
//! A lease has a term, a number that no other lease of the group ever has. Every call of a member about a shard names
//! the term, so a lease that was lost and taken again is another one.
//!
//! A lease runs out when its holder has made no call for its lease time. It stays with the holder until another member
//! takes it: a member alone in its group may be slow.

use std::collections::BTreeMap;

use crate::model::{Advance, RecordNumber, ShardId, limits};

/// The number of a member, which no other member of the group ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberId(u64);

/// The number of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term(u64);

/// The members of a group and their leases. Times are in milliseconds of the store's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Leases {
    pub(super) members: BTreeMap<MemberId, MemberState>,
    pub(super) leases: BTreeMap<ShardId, Lease>,
    last_member: u64,
    last_term: u64,
    /// Changes whenever members may have to look again.
    version: u64,
    /// Whether the group was deleted.
    is_ended: bool,
}

/// How long and how many shards a member holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    pub(super) lease_millis: u64,
    pub(super) max_shards: usize,
}

#[derive(Debug)]
pub(super) struct MemberState {
    name: String,
    pub(super) holding: Holding,
    /// When its leases run out.
    until: u64,
}

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) holder: MemberId,
    term: Term,
    /// The number behind the last record that was given to the holder; the first position if none was.
    handed_out: RecordNumber,
    /// The number behind the last record that the holder has committed.
    committed: RecordNumber,
    /// How many commits are on their way into the catalog. While there are any, the lease is not taken.
    pub(super) commits: usize,
    pub(super) wanted: Option<Wanted>,
}

/// Another member has too few shards and will get this one. The holder gets no more of its records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) by: MemberId,
    /// From this time on the shard is taken even if the holder has uncommitted records.
    pub(super) from: u64,
}

/// Why a call of a member is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The group was deleted.
    Ended,
    /// Another member has replaced this one.
    NoMember,
    /// The member does not hold the shard, or holds it by another lease.
    Lost,
    /// A member of this name holds shards, or may still take some, or is committing.
    NameTaken,
    TooManyMembers,
}

/// The description of a member.
pub(super) struct MemberView {
    pub(super) name: String,
    pub(super) shards: Vec<ShardId>,
    pub(super) has_run_out: bool,
}

impl Leases {
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Makes all members look again.
    pub(super) fn touch(&mut self) {
        self.version += 1;
    }

    pub(super) fn join(&mut self, name: &str, holding: Holding, now: u64) -> Result<MemberId, Refusal> {
        if self.is_ended {
            return Err(Refusal::Ended);
        }
        let namesake = self.members.iter().find(|(_, member)| member.name == name);
        if let Some(id) = namesake.map(|(id, _)| *id) {
            if !self.may_be_removed(id, now) {
                return Err(Refusal::NameTaken);
            }
            self.remove(id);
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

    /// Removes the member, and frees its shards.
    pub(super) fn leave(&mut self, id: MemberId) {
        self.remove(id);
    }

    /// Renews the member's leases. Gives the version.
    pub(super) fn renew(&mut self, id: MemberId, now: u64) -> Result<u64, Refusal> {
        if self.is_ended {
            return Err(Refusal::Ended);
        }
        let member = self.members.get_mut(&id).ok_or(Refusal::NoMember)?;
        // Other members have computed their parts without it.
        let was_gone = !member.is_live(now);
        // Another call of the member may have read a later time, and have come first.
        let until = now.saturating_add(member.holding.lease_millis);
        member.until = member.until.max(until);
        if was_gone {
            self.touch();
        }
        Ok(self.version)
    }

    /// The shards that a member holds, with their leases.
    pub(super) fn held_by(&self, id: MemberId) -> BTreeMap<ShardId, Term> {
        let held = self.leases.iter().filter(|(_, lease)| lease.holder == id);
        held.map(|(shard, lease)| (*shard, lease.term)).collect()
    }

    /// When a member has to look again without any change: leases of others run out, or shards are to be taken.
    pub(super) fn next_due(&self, id: MemberId, now: u64) -> Option<u64> {
        let others = self.leases.values().filter(|lease| lease.holder != id);
        let dues = others.filter_map(|lease| {
            let holder = self.members.get(&lease.holder)?;
            let wanted = lease.wanted.filter(|wanted| wanted.by == id);
            Some(wanted.map_or(holder.until, |wanted| wanted.from.min(holder.until)))
        });
        dues.filter(|due| *due > now).min()
    }

    /// Whether records of a shard may be given to this holder.
    pub(super) fn may_read(&self, shard: ShardId, term: Term, now: u64) -> bool {
        let lease = self.lease(shard, term);
        lease.is_some_and(|lease| self.asker(lease, now).is_none())
    }

    /// Notes that records before a number are given to the holder; false if that is no longer allowed.
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

    /// Whether everything that the holder was given is committed.
    pub(super) fn is_settled(&self, shard: ShardId, term: Term) -> bool {
        self.lease(shard, term).is_some_and(Lease::is_settled)
    }

    /// Allows the member to commit a position of a shard. The lease is not taken before
    /// [`end_commit`](Self::end_commit).
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

    /// Ends a commit. `noted` is what it has changed, or `None` if it failed.
    pub(super) fn end_commit(&mut self, shard: ShardId, term: Term, noted: Option<Advance>, now: u64) {
        let Some(lease) = self.lease_mut(shard, term) else {
            // The group was reset meanwhile.
            return;
        };
        lease.commits -= 1;
        match noted {
            Some(Advance::To(next)) => lease.committed = lease.committed.max(next),
            Some(Advance::Drained { .. } | Advance::Expired { .. }) => {
                self.leases.remove(&shard);
                // There may be children to take.
                self.touch();
            }
            None => {}
        }
        self.hand_over(shard, now);
    }

    /// Frees a shard of which there is nothing to read any more.
    pub(super) fn give_up(&mut self, shard: ShardId, term: Term) {
        let is_idle = self.lease(shard, term).is_some_and(|lease| lease.commits == 0);
        if is_idle {
            self.leases.remove(&shard);
        }
    }

    /// Ends all leases, because the group's checkpoint was set.
    pub(super) fn reset(&mut self) {
        self.leases.clear();
        self.touch();
    }

    /// Ends the group, because it was deleted.
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

    pub(super) fn grant(&mut self, shard: ShardId, holder: MemberId) {
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

    /// Hands a shard to the member that asked for it, if its holder has nothing uncommitted.
    pub(super) fn hand_over(&mut self, shard: ShardId, now: u64) {
        let idle = self.leases.get(&shard).filter(|lease| lease.is_idle());
        if let Some(asker) = idle.and_then(|lease| self.asker(lease, now)) {
            self.grant(shard, asker);
        }
    }

    /// The member that asked for the shard, if it still is a member.
    pub(super) fn asker(&self, lease: &Lease, now: u64) -> Option<MemberId> {
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
        let members = self.members.keys().copied();
        let run_out: Vec<_> = members.filter(|id| self.may_be_removed(*id, now)).collect();
        run_out.into_iter().for_each(|id| self.remove(id));
    }

    /// Whether a member's leases have run out, and none of them has a commit under way.
    fn may_be_removed(&self, id: MemberId, now: u64) -> bool {
        let mut held = self.leases.values().filter(|lease| lease.holder == id);
        !self.is_live(id, now) && held.all(|lease| lease.commits == 0)
    }

    pub(super) fn live(&self, now: u64) -> impl Iterator<Item = (MemberId, &MemberState)> {
        let members = self.members.iter().map(|(id, member)| (*id, member));
        members.filter(move |(_, member)| member.is_live(now))
    }

    pub(super) fn is_live(&self, id: MemberId, now: u64) -> bool {
        self.members.get(&id).is_some_and(|member| member.is_live(now))
    }

    pub(super) fn count(&self, id: MemberId) -> usize {
        self.leases.values().filter(|lease| lease.holder == id).count()
    }

    pub(super) fn count_wanted(&self, by: MemberId) -> usize {
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

    /// Whether it can change hands without giving a record out twice.
    pub(super) fn is_idle(&self) -> bool {
        self.commits == 0 && self.is_settled()
    }
}
