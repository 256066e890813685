//! Consumer groups against a small model: members that join, leave, stall and commit, groups that are set back and
//! deleted, records that expire, reshards, crashes and restarts. Every record is given out unless it has expired; what was
//! committed never is again; nothing is given out twice unless a member has stalled, left or died; no shard has two
//! holders; a child's records come when its parents' are committed; and no position falls. A group that is set back, or
//! made again, gives all of it once more, and what was given out before can no more be committed. What expires uncommitted
//! behind a group's position is told, and nothing is told where nothing was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anabranch::sim::{LossMode, SimDisk};
use anabranch::{
    Checkpoint, ConsumerGroup, Error, GroupBatch, Member, MemberOptions, ReadLimit, RecordNumber,
    ShardFilter, ShardId, StartingPosition, StoreOptions, Stream,
};
use proptest::prelude::*;

use crate::machine::{Machine, Stopped, stopped};
use crate::op::Fault;
use crate::watchdog::Case;

const LEASE_SECONDS: u64 = 100;
const MOST_MEMBERS: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    Put(u8),
    Join,
    Leave(usize),
    /// A member is given so many records.
    Poll {
        member: usize,
        records: usize,
    },
    /// A member commits one of the batches that it was given.
    Commit {
        member: usize,
        batch: usize,
    },
    Renew(usize),
    /// The group is set back to its beginning.
    SetBack,
    /// The group is deleted and made again.
    Delete,
    Advance(u64),
    /// All that was put may expire.
    Expire,
    Split(usize),
    Merge(usize),
    Maintain,
    Lag,
    Reopen,
    Crash(LossMode),
    CrashIn(u64, LossMode),
    /// A call fails, and the store goes on if it can.
    FailIn(u64, Fault),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Committed {
    No,
    /// The machine stopped while it was.
    Maybe,
    Yes,
}

/// What is known of a record.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Whether its put was acknowledged, and to which shard.
    put_to: Option<ShardId>,
    is_given: bool,
    /// When it was given last, by the clock's seconds, if whoever it was given to may still commit it.
    given_at: Option<u64>,
    committed: Committed,
    /// It may be gone. After a crash less time may be confirmed.
    may_be_expired: bool,
    /// If it is gone, that is still to be told: the group was not at the trim horizon when it expired.
    is_owed: bool,
}

impl Known {
    /// Whether nothing need come of it before what follows.
    fn may_be_done(&self) -> bool {
        self.committed != Committed::No || self.may_be_expired
    }
}

struct Worker {
    member: Member,
    /// What it was given and has not committed, with the time.
    given: Vec<(u64, GroupBatch)>,
}

struct World {
    machine: Machine,
    workers: Vec<Worker>,
    joined: u32,
    records: BTreeMap<u32, Known>,
    /// All parents that any shard ever had.
    parents: BTreeMap<ShardId, Vec<ShardId>>,
    reached: Option<Checkpoint>,
    /// A deletion has begun, and the group is not made again.
    may_be_deleted: bool,
}

impl World {
    fn new(seed: u64, compacts: bool) -> Self {
        let options = match compacts {
            true => StoreOptions::new().compaction_bytes(1),
            false => StoreOptions::new(),
        };
        let world = Self {
            machine: Machine::new(SimDisk::new(seed), options),
            workers: Vec::new(),
            joined: 0,
            records: BTreeMap::new(),
            parents: BTreeMap::new(),
            reached: None,
            may_be_deleted: false,
        };
        world.group().unwrap();
        world
    }

    fn stream(&self) -> anabranch::Result<Stream> {
        self.machine.stream()
    }

    fn group(&self) -> anabranch::Result<ConsumerGroup> {
        self.stream()?.group("work", StartingPosition::TrimHorizon)
    }

    /// Power is lost, and the store is opened again.
    fn crash(&mut self, mode: LossMode) {
        // Members that end with the machine leave nothing behind.
        self.machine.disk.freeze();
        self.lose_members();
        self.machine.crash(mode);
        if self.may_be_deleted {
            self.group().unwrap();
            self.may_be_deleted = false;
        }
    }

    fn lose_members(&mut self) {
        self.workers.clear();
        self.records.values_mut().for_each(|known| known.given_at = None);
    }

    fn run(&mut self, op: &Op) {
        if let Err(Stopped(error)) = self.try_run(op) {
            assert!(self.machine.has_failed(), "{op:?} failed: {error}");
            // Nothing is known of a group that was to be made again.
            match self.machine.goes_on_after(&error) && !self.may_be_deleted {
                true => drop(self.machine.disk.faults().clear()),
                false => self.crash(self.machine.stop()),
            }
        }
        self.check();
    }

    fn try_run(&mut self, op: &Op) -> Result<(), Stopped> {
        match op {
            Op::Put(count) => (0..*count).try_for_each(|_| self.put()),
            Op::Join => self.join(),
            Op::Leave(nth) => {
                self.leave(*nth);
                Ok(())
            }
            Op::Poll { member, records } => self.poll(*member, *records).map(drop),
            Op::Commit { member, batch } => self.commit(*member, *batch),
            Op::Renew(nth) => match self.nth(*nth) {
                Some(at) => self.workers[at].member.renew().map_err(stopped),
                None => Ok(()),
            },
            Op::SetBack => self.set_back(),
            Op::Delete => self.delete(),
            Op::Advance(seconds) => {
                self.machine.advance(*seconds);
                Ok(())
            }
            Op::Expire => self.expire(),
            Op::Split(nth) => self.machine.split(*nth),
            Op::Merge(nth) => self.machine.merge(*nth),
            Op::Maintain => self.machine.maintain(),
            Op::Lag => self.lag(),
            Op::Reopen => {
                self.lose_members();
                self.machine.close()?;
                self.machine.open()
            }
            Op::Crash(mode) => {
                self.crash(*mode);
                Ok(())
            }
            Op::CrashIn(calls, mode) => {
                self.machine.stop_in(*calls, *mode);
                Ok(())
            }
            Op::FailIn(calls, fault) => {
                fault.arm(&self.machine.disk, *calls);
                Ok(())
            }
        }
    }

    fn expire(&mut self) -> Result<(), Stopped> {
        let owed = self.owed().map_err(stopped)?;
        for (id, known) in &mut self.records {
            known.is_owed |= owed.contains(id);
            known.may_be_expired = true;
        }
        self.machine.let_hours_pass(30)
    }

    /// The records that a member is to be told of if they expire now: the group has come to their shards, or to those in front
    /// of them, and is in none of these at the trim horizon.
    fn owed(&mut self) -> anabranch::Result<BTreeSet<u32>> {
        self.note_lineage();
        let Some(reached) = self.stream()?.checkpoint("work")? else {
            return Ok(BTreeSet::new());
        };
        let positions: BTreeMap<_, _> = reached.positions().collect();
        let is_owed = |(_, known): &(&u32, &Known)| {
            let Some(shard) = known.put_to.filter(|_| !known.may_be_done()) else {
                return false;
            };
            let mut on_the_way = self.ancestors([shard].into_iter());
            on_the_way.insert(shard);
            let mut listed = on_the_way
                .iter()
                .filter_map(|shard| positions.get(shard))
                .peekable();
            listed.peek().is_some() && listed.all(|next| *next > RecordNumber::BEFORE_FIRST)
        };
        let owed = self.records.iter().filter(is_owed);
        Ok(owed.map(|(id, _)| *id).collect())
    }

    /// A member is told that it misses records of a shard, or, where the shard is gone, of it and of all that descend from it.
    fn note_told(&mut self, at: usize, told: ShardId, is_gone: bool) {
        self.note_lineage();
        let given: BTreeSet<_> = self.workers[at]
            .given
            .iter()
            .flat_map(|(_, batch)| ids(batch))
            .collect();
        let is_lost = |(id, known): (&u32, &Known)| {
            let may_be_of = known.put_to.is_none_or(|shard| shard == told);
            may_be_of && known.may_be_expired && known.committed != Committed::Yes && !given.contains(id)
        };
        assert!(
            self.records.iter().any(is_lost),
            "nothing of {told} is lost, and that is told"
        );
        let shards = self.parents.keys().copied();
        let descends = |shard: &ShardId| self.ancestors([*shard].into_iter()).contains(&told);
        let descendants: BTreeSet<_> = shards.filter(|shard| is_gone && descends(shard)).collect();
        for known in self.records.values_mut() {
            let is_of = |shard| shard == told || descendants.contains(&shard);
            known.is_owed &= !known.put_to.is_some_and(is_of);
        }
    }

    fn set_back(&mut self) -> Result<(), Stopped> {
        let set_back = self.stream().and_then(|stream| {
            let beginning = stream.reader(StartingPosition::TrimHorizon)?.checkpoint();
            self.group()?.reset_to(&beginning)
        });
        self.forget_commits(set_back.is_ok());
        set_back.map_err(stopped)?;
        for worker in &mut self.workers {
            for (_, batch) in worker.given.drain(..) {
                let late = worker.member.commit(&batch);
                assert!(matches!(late, Err(Error::LeaseLost { .. })), "{late:?}");
            }
        }
        Ok(())
    }

    fn delete(&mut self) -> Result<(), Stopped> {
        self.may_be_deleted = true;
        let deleted = self.group().and_then(|group| group.delete());
        self.forget_commits(deleted.is_ok());
        deleted.map_err(stopped)?;
        for worker in self.workers.drain(..) {
            let late = worker.member.renew();
            assert!(matches!(late, Err(Error::GroupNotFound { .. })), "{late:?}");
        }
        self.group().map_err(stopped)?;
        self.may_be_deleted = false;
        Ok(())
    }

    /// The group is at its beginning, or may be.
    fn forget_commits(&mut self, is_sure: bool) {
        self.reached = None;
        for known in self.records.values_mut() {
            known.is_owed = false;
            if is_sure {
                known.committed = Committed::No;
                known.is_given = false;
                known.given_at = None;
            } else if known.committed == Committed::Yes {
                known.committed = Committed::Maybe;
            }
        }
    }

    fn put(&mut self) -> Result<(), Stopped> {
        let id = self.records.len() as u32;
        let put = self
            .stream()
            .and_then(|stream| stream.put(&format!("key-{id}"), &id.to_be_bytes()));
        let known = Known {
            put_to: put.as_ref().ok().map(|put| put.shard_id),
            is_given: false,
            given_at: None,
            committed: Committed::No,
            may_be_expired: false,
            is_owed: false,
        };
        self.records.insert(id, known);
        put.map(drop).map_err(stopped)
    }

    fn join(&mut self) -> Result<(), Stopped> {
        if self.workers.len() == MOST_MEMBERS {
            return Ok(());
        }
        self.joined += 1;
        let options = MemberOptions {
            lease_time: Duration::from_secs(LEASE_SECONDS),
            max_shards: if self.joined.is_multiple_of(3) {
                1
            } else {
                usize::MAX
            },
        };
        let name = format!("member-{}", self.joined);
        let member = self.group().and_then(|group| group.join(&name, &options));
        self.workers.push(Worker {
            member: member.map_err(stopped)?,
            given: Vec::new(),
        });
        Ok(())
    }

    fn nth(&self, nth: usize) -> Option<usize> {
        nth.checked_rem(self.workers.len())
    }

    fn leave(&mut self, nth: usize) {
        let Some(at) = self.nth(nth) else { return };
        let worker = self.workers.remove(at);
        worker.member.leave();
        for id in worker.given.iter().flat_map(|(_, batch)| ids(batch)) {
            self.records.get_mut(&id).unwrap().given_at = None;
        }
    }

    /// How many records the member was given.
    fn poll(&mut self, nth: usize, records: usize) -> Result<usize, Stopped> {
        let Some(at) = self.nth(nth) else { return Ok(0) };
        let limit = ReadLimit {
            records,
            ..ReadLimit::default()
        };
        let given = loop {
            match self.workers[at].member.next_batch(&limit, Duration::ZERO) {
                Err(Error::Trimmed {
                    shard, first_kept, ..
                }) => self.note_told(at, shard, first_kept.is_none()),
                given => break given,
            }
        };
        self.note_lineage();
        let Some(batch) = given.map_err(stopped)? else {
            return Ok(0);
        };
        assert!(
            self.workers[at].member.shards().contains(&batch.shard),
            "{} is not held",
            batch.shard
        );
        self.check_parents_are_committed(batch.shard);
        for id in ids(&batch) {
            let seconds = self.machine.seconds();
            let known = self.records.get_mut(&id).expect("what is given out was put");
            assert_ne!(known.committed, Committed::Yes, "{id} was committed");
            let may_be_again = known
                .given_at
                .is_none_or(|given_at| given_at + LEASE_SECONDS <= seconds);
            assert!(may_be_again, "{id} is given out twice: {known:?}");
            *known = Known {
                put_to: Some(batch.shard),
                is_given: true,
                given_at: Some(seconds),
                committed: Committed::No,
                is_owed: false,
                ..*known
            };
        }
        let count = batch.records.len();
        self.workers[at].given.push((self.machine.seconds(), batch));
        Ok(count)
    }

    fn commit(&mut self, nth: usize, batch: usize) -> Result<(), Stopped> {
        let Some(at) = self.nth(nth) else { return Ok(()) };
        let worker = &mut self.workers[at];
        let Some(nth) = batch.checked_rem(worker.given.len()) else {
            return Ok(());
        };
        let (given_at, batch) = worker.given[nth].clone();
        let committed = worker.member.commit(&batch);
        let earlier = worker.given[..=nth].iter();
        // One of an earlier lease can reach further than this one does.
        let last = ids(&batch).last().copied();
        let of_shard: Vec<_> = earlier
            .filter(|(_, earlier)| earlier.shard == batch.shard)
            .flat_map(|(_, earlier)| ids(earlier))
            .filter(|id| Some(*id) <= last)
            .collect();
        let outcome = match &committed {
            Ok(()) => Committed::Yes,
            Err(Error::LeaseLost { .. }) => {
                assert!(
                    given_at + LEASE_SECONDS <= self.machine.seconds(),
                    "{}",
                    batch.shard
                );
                worker.given.remove(nth);
                return Ok(());
            }
            Err(_) => Committed::Maybe,
        };
        let mut place = 0..;
        worker
            .given
            .retain(|(_, earlier)| place.next() > Some(nth) || earlier.shard != batch.shard);
        for id in of_shard {
            let known = self.records.get_mut(&id).unwrap();
            if known.committed != Committed::Yes {
                known.committed = outcome;
            }
        }
        committed.map_err(stopped)
    }

    fn lag(&self) -> Result<(), Stopped> {
        let lag = self.group().and_then(|group| group.lag()).map_err(stopped)?;
        let records: u64 = lag.iter().map(|lag| lag.records).sum();
        let is_open = |known: &&Known| known.committed != Committed::Yes;
        let most = self.records.values().filter(is_open).count() as u64;
        let is_sure = |known: &&Known| known.put_to.is_some() && !known.may_be_done();
        let least = self.records.values().filter(is_sure).count() as u64;
        assert!((least..=most).contains(&records), "{least} to {most}: {lag:?}");
        Ok(())
    }

    fn note_lineage(&mut self) {
        let shards = self
            .stream()
            .and_then(|stream| stream.shards(&ShardFilter::FromTrimHorizon));
        for shard in shards.into_iter().flatten() {
            self.parents
                .entry(shard.id)
                .or_insert_with(|| shard.parents().collect());
        }
    }

    fn ancestors(&self, of: impl Iterator<Item = ShardId>) -> BTreeSet<ShardId> {
        let mut found = BTreeSet::new();
        let mut unvisited: Vec<_> = of.collect();
        while let Some(shard) = unvisited.pop() {
            for parent in self.parents.get(&shard).into_iter().flatten() {
                if found.insert(*parent) {
                    unvisited.push(*parent);
                }
            }
        }
        found
    }

    fn check_parents_are_committed(&self, shard: ShardId) {
        let before = self.ancestors([shard].into_iter());
        for (id, known) in &self.records {
            let comes_before = known.put_to.is_some_and(|shard| before.contains(&shard));
            assert!(
                !comes_before || known.may_be_done(),
                "{id} is not committed, and {shard} is read"
            );
        }
    }

    /// No shard has two holders, and no position falls.
    fn check(&mut self) {
        let mut held = BTreeSet::new();
        for shard in self.workers.iter().flat_map(|worker| worker.member.shards()) {
            assert!(held.insert(shard), "{shard} is held twice");
        }
        self.note_lineage();
        let Ok(Some(now)) = self.stream().and_then(|stream| stream.checkpoint("work")) else {
            assert!(self.machine.has_stopped(), "the checkpoint is gone");
            return;
        };
        let drained = self.ancestors(now.positions().map(|(shard, _)| shard));
        let next: BTreeMap<_, _> = now.positions().collect();
        let listed = self
            .stream()
            .and_then(|stream| stream.shards(&ShardFilter::FromTrimHorizon));
        let has_expired = |shard| {
            let listed = listed.as_ref();
            listed.is_ok_and(|shards| shards.iter().all(|kept| kept.id != shard))
        };
        for (shard, before) in self.reached.iter().flat_map(Checkpoint::positions) {
            let has_risen = next.get(&shard).is_some_and(|next| *next >= before);
            assert!(
                has_risen || drained.contains(&shard) || has_expired(shard),
                "{shard} has fallen: it was at {before}, and the checkpoint is {now:?}"
            );
        }
        self.reached = Some(now);
    }

    /// All that is there is given out in the end.
    fn drain(&mut self) {
        // After a failed call the store may do no more.
        if self.machine.has_failed() {
            self.crash(self.machine.stop());
        }
        self.machine.disk.faults().clear();
        self.run(&Op::Advance(LEASE_SECONDS));
        while !self.workers.is_empty() {
            self.leave(0);
        }
        self.joined = 0;
        let name = "member-that-drains";
        let group = self.group().unwrap();
        self.workers.push(Worker {
            member: group.join(name, &MemberOptions::default()).unwrap(),
            given: Vec::new(),
        });
        while self.poll(0, 7).map_err(|_| "a poll failed").unwrap() > 0 {
            self.commit(0, 0).map_err(|_| "a commit failed").unwrap();
            self.check();
        }
        for (id, known) in &self.records {
            let may_be_gone =
                known.put_to.is_none() || known.committed == Committed::Maybe || known.may_be_expired;
            let checkpoint = self.stream().and_then(|stream| stream.checkpoint("work"));
            assert!(
                known.is_given || may_be_gone,
                "{id} is lost: {known:?}, and the checkpoint is {checkpoint:?}"
            );
            assert!(
                !known.is_owed || known.committed != Committed::No,
                "{id} has expired, and that was not told: {known:?}"
            );
        }
        let lag = group.lag().unwrap();
        assert!(lag.iter().all(|lag| lag.records == 0), "{lag:?}");
        drop(group);
        self.crash(LossMode::LoseAll);
        self.join().map_err(|_| "a join failed").unwrap();
        self.poll(0, 7).map_err(|_| "a poll failed").unwrap();
        // What had expired may be there again, where less time is confirmed.
        for id in self.workers[0].given.iter().flat_map(|(_, batch)| ids(batch)) {
            assert!(
                self.records[&id].may_be_expired,
                "{id} is given out after all was"
            );
        }
    }
}

fn ids(batch: &GroupBatch) -> Vec<u32> {
    let ids = batch.records.iter();
    ids.map(|record| u32::from_be_bytes(record.data[..].try_into().unwrap()))
        .collect()
}

fn op() -> impl Strategy<Value = Op> {
    let loss = || prop::sample::select(LossMode::ALL.to_vec());
    prop_oneof![
        8 => (1..20_u8).prop_map(Op::Put),
        3 => Just(Op::Join),
        1 => (0..MOST_MEMBERS).prop_map(Op::Leave),
        14 => (0..MOST_MEMBERS, 1..20_usize).prop_map(|(member, records)| Op::Poll { member, records }),
        10 => (0..MOST_MEMBERS, 0..4_usize).prop_map(|(member, batch)| Op::Commit { member, batch }),
        2 => (0..MOST_MEMBERS).prop_map(Op::Renew),
        2 => Just(Op::SetBack),
        1 => Just(Op::Delete),
        1 => Just(Op::Expire),
        4 => (1..150_u64).prop_map(Op::Advance),
        2 => (0..6_usize).prop_map(Op::Split),
        2 => (0..6_usize).prop_map(Op::Merge),
        2 => Just(Op::Maintain),
        2 => Just(Op::Lag),
        1 => Just(Op::Reopen),
        2 => loss().prop_map(Op::Crash),
        3 => (1..40_u64, loss()).prop_map(|(calls, mode)| Op::CrashIn(calls, mode)),
        2 => (1..40_u64, prop::sample::select(Fault::ALL.to_vec()))
            .prop_map(|(calls, fault)| Op::FailIn(calls, fault)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_is_given_out_and_none_again_that_was_committed(
        seed in any::<u64>(),
        compacts in any::<bool>(),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let _case = Case::begin(|| format!("seed {seed}, compacts {compacts}: {ops:?}"));
        let mut world = World::new(seed, compacts);
        ops.iter().for_each(|op| world.run(op));
        world.drain();
    }
}

/// Two members over a split and a merge, one of which stalls. The group is set back and made again, and records expire.
fn scenario() -> Vec<Op> {
    let poll = |member| Op::Poll { member, records: 4 };
    let commit = |member| Op::Commit { member, batch: 0 };
    let both = [poll(0), poll(1), commit(0), commit(1)];
    let mut ops = vec![Op::Join, Op::Put(6), poll(0), Op::Join];
    ops.extend(both.clone());
    ops.extend([Op::Split(0), Op::Put(6)]);
    ops.extend(both.clone());
    ops.extend(both.clone());
    ops.extend([Op::Merge(0), Op::Put(3), poll(0), Op::Advance(LEASE_SECONDS)]);
    ops.extend([
        poll(1),
        poll(1),
        commit(1),
        commit(0),
        Op::Lag,
        Op::Reopen,
        Op::Join,
    ]);
    ops.extend(both.clone());
    ops.extend([poll(0), Op::SetBack, poll(0), commit(0), Op::Delete, Op::Join]);
    ops.extend(both.clone());
    ops.extend([poll(0), Op::Expire, Op::Put(3)]);
    ops.extend(both);
    ops
}

#[test]
fn a_call_of_a_group_that_fails_sets_nothing_back_and_loses_nothing() {
    for fault in Fault::ALL {
        for call in 1.. {
            let _case = Case::begin(|| format!("{fault:?} in call {call}"));
            let mut world = World::new(call, false);
            let disk = world.machine.disk.clone();
            world.run(&Op::FailIn(call, fault));
            scenario().iter().for_each(|op| world.run(op));
            let has_struck = disk.faults().struck() > 0;
            world.drain();
            if !has_struck {
                break;
            }
        }
    }
}

#[test]
fn a_crash_in_any_call_of_a_group_sets_nothing_back_and_loses_nothing() {
    for compacts in [false, true] {
        for mode in [LossMode::LoseAll, LossMode::Random, LossMode::KeepAll] {
            for call in 1.. {
                let _case = Case::begin(|| format!("a crash in call {call}, {mode:?}, compacts {compacts}"));
                let mut world = World::new(call, compacts);
                world.run(&Op::CrashIn(call, mode));
                let before = world.machine.disk.clone();
                scenario().iter().for_each(|op| world.run(op));
                let has_stopped = before.is_frozen();
                world.drain();
                if !has_stopped {
                    break;
                }
            }
        }
    }
}
