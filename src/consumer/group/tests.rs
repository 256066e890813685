//! Leases, without a store.

use super::leases::{Holding, Leases, MemberId, Refusal};
use crate::model::{Advance, RecordNumber, ShardId, limits};

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
    // Until there is nothing more to do.
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
        // The first member has all shards before the others join.
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
    // Not while a commit is being made.
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
fn a_member_with_a_commit_under_way_is_not_replaced_whatever_the_time() {
    let shards = shards(1);
    let mut leases = Leases::default();
    let holding = Holding {
        lease_millis: LEASE,
        max_shards: 1,
    };
    let first = join(&mut leases, "first", 1);
    leases.balance(first, &shards, 0);
    let term = leases.held_by(first)[&shards[0]];
    leases.hand_out(shards[0], term, RecordNumber::new(9), 0);
    leases.begin_commit(first, shards[0], term, 0).unwrap();
    assert_eq!(leases.join("first", holding, LEASE), Err(Refusal::NameTaken));
    // Nor if a group is full.
    for name in 1..limits::MAX_MEMBERS_PER_GROUP {
        join(&mut leases, &name.to_string(), 1);
    }
    let another = leases.join("another", holding, LEASE).unwrap();
    leases.balance(another, &shards, LEASE);
    assert_eq!((leases.count(first), leases.count(another)), (1, 0));
    let advance = Advance::To(RecordNumber::new(9));
    leases.end_commit(shards[0], term, Some(advance), LEASE);
    leases.balance(another, &shards, LEASE);
    assert_eq!((leases.count(first), leases.count(another)), (0, 1));
    leases.join("first", holding, LEASE).unwrap();
}

#[test]
fn a_call_that_read_the_time_earlier_shortens_no_lease() {
    let mut leases = Leases::default();
    let member = join(&mut leases, "member", 1);
    leases.renew(member, LEASE - 1).unwrap();
    leases.renew(member, 0).unwrap();
    assert!(leases.is_live(member, LEASE));
    assert!(!leases.is_live(member, 2 * LEASE));
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
fn what_was_held_before_a_group_was_set_back_is_lost_and_nothing_is_held_after_its_end() {
    let shards = shards(1);
    let mut leases = Leases::default();
    let member = join(&mut leases, "member", 9);
    leases.balance(member, &shards, 0);
    let term = leases.held_by(member)[&shards[0]];
    leases.begin_commit(member, shards[0], term, 0).unwrap();
    leases.reset();
    assert_eq!(leases.count(member), 0);
    leases.balance(member, &shards, 0);
    // The lease is a new one, whatever the result of the commit.
    leases.end_commit(shards[0], term, Some(Advance::Drained { is_unread: false }), 0);
    assert_eq!(leases.count(member), 1);
    let late = leases.begin_commit(member, shards[0], term, 0);
    assert_eq!(late, Err(Refusal::Lost));
    leases.end();
    assert_eq!(leases.renew(member, 0), Err(Refusal::Ended));
}
