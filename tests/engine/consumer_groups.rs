//! Consumer groups: members that share the shards of a stream, their commits, and how far behind they are.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crate::backends::{Place, on_each_backend};
use anabranch::{
    Checkpoint, ConsumerGroup, Error, GroupBatch, HashKey, InvalidArgument, ManualClock, Member,
    MemberOptions, Named, PutRecord, ReadLimit, RecordNumber, ShardFilter, ShardId, StartingPosition, Store,
    StoreOptions, Stream, Timestamp, limits,
};

/// Much longer than every expected event takes.
const LONG: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(30);

struct World<'a> {
    place: &'a Place,
    clock: ManualClock,
    store: Store,
    stream: Stream,
    put: u32,
}

impl<'a> World<'a> {
    fn new(place: &'a Place, shards: u32) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let store = open(place, &clock);
        let stream = store.create_stream("orders", shards).unwrap();
        Self {
            place,
            clock,
            store,
            stream,
            put: 0,
        }
    }

    fn reopen(&mut self) {
        self.store.close().unwrap();
        self.store = open(self.place, &self.clock);
        self.stream = self.store.stream("orders").unwrap();
    }

    /// Puts one record into each part of the hash keys.
    fn put_to_each(&mut self, parts: u32) {
        for part in 0..parts {
            let length = HashKey::MAX.value() / u128::from(parts);
            let key = HashKey::new(length * u128::from(part) + length / 2);
            let data = self.put.to_be_bytes();
            self.put += 1;
            let record = PutRecord::new("key", &data).explicit_hash_key(key);
            self.stream.put_record(&record).unwrap();
        }
    }

    fn group(&self) -> ConsumerGroup {
        self.stream
            .group("billing", StartingPosition::TrimHorizon)
            .unwrap()
    }

    fn join(&self, name: &str) -> Member {
        self.group().join(name, &MemberOptions::default()).unwrap()
    }

    fn checkpoint(&self, position: StartingPosition) -> Checkpoint {
        self.stream.reader(position).unwrap().checkpoint()
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Waits until all records have expired.
    fn expire(&self) {
        for _ in 0..30 {
            self.advance(Duration::from_secs(3_600));
            self.store.maintain().unwrap();
        }
    }
}

fn open(place: &Place, clock: &ManualClock) -> Store {
    place.open_with(&StoreOptions::new().clock(clock.clone()).keeper(false))
}

fn shard(index: u32) -> ShardId {
    ShardId::new(index).unwrap()
}

fn next(member: &mut Member) -> Option<GroupBatch> {
    member.next_batch(&ReadLimit::default(), Duration::ZERO).unwrap()
}

fn next_of(member: &mut Member, records: usize) -> Option<GroupBatch> {
    let limit = ReadLimit {
        records,
        ..ReadLimit::default()
    };
    member.next_batch(&limit, Duration::ZERO).unwrap()
}

fn ids(batch: &GroupBatch) -> Vec<u32> {
    let records = batch.records.iter();
    records
        .map(|record| u32::from_be_bytes(record.data[..].try_into().unwrap()))
        .collect()
}

/// All records that a member gets, in order. Each batch is committed at once.
fn drain(member: &mut Member) -> Vec<u32> {
    let mut drained = Vec::new();
    while let Some(batch) = next(member) {
        drained.extend(ids(&batch));
        member.commit(&batch).unwrap();
    }
    drained
}

fn records_behind(group: &ConsumerGroup) -> BTreeMap<ShardId, u64> {
    let lag = group.lag().unwrap();
    lag.iter().map(|lag| (lag.shard, lag.records)).collect()
}

on_each_backend!(
    two_members_share_the_shards_and_one_takes_over_from_the_other,
    a_shard_changes_hands_once_what_was_given_out_is_committed,
    a_shard_that_is_not_let_go_is_taken_after_a_lease_time,
    a_member_that_leaves_is_followed_at_once,
    a_member_that_is_slow_and_alone_keeps_its_shards,
    a_member_that_renews_keeps_its_shards,
    children_are_read_when_all_members_have_committed_their_parents,
    an_empty_shard_is_drained_without_a_batch,
    what_is_committed_outlives_a_restart_and_the_members_do_not,
    a_group_that_begins_at_the_latest_begins_there_after_a_restart_too,
    a_group_that_is_set_back_gives_everything_again_and_takes_no_late_commit,
    a_group_is_set_only_from_where_it_is_expected,
    a_checkpoint_of_a_group_is_one_of_a_reader,
    a_reader_that_has_read_less_sets_no_checkpoint_back,
    a_reader_is_behind_no_records_that_have_expired,
    lag_is_counted_in_records_bytes_and_time,
    lag_of_a_reshard_is_that_of_the_children_too,
    what_expired_before_it_was_read_is_told_once,
    a_shard_that_expired_before_it_was_read_is_told_once,
    what_expired_of_the_children_of_a_shard_that_was_read_at_once_is_told,
    what_expired_of_the_children_of_a_shard_with_nothing_to_read_is_told_if_its_head_was_seen,
    a_member_that_had_read_all_of_a_shard_that_expired_is_told_nothing,
    what_was_given_out_of_a_shard_that_expired_is_settled_before_its_children_are_read,
    what_was_lost_with_a_child_that_expired_before_its_parent_was_drained_is_told,
    a_waiting_member_is_woken_by_a_record_and_by_a_shard,
    a_deleted_group_ends_its_members,
    a_deleted_stream_and_a_closed_store_end_their_members,
    names_and_options_are_checked,
    a_stream_that_is_being_created_has_no_group_yet,
    a_name_is_one_members_until_its_leases_run_out,
    a_member_holds_no_more_shards_than_it_may,
    a_batch_is_committed_in_its_own_group,
);

fn two_members_share_the_shards_and_one_takes_over_from_the_other(place: &Place) {
    let mut world = World::new(place, 4);
    world.put_to_each(4);
    let (mut one, mut two) = (world.join("one"), world.join("two"));
    // The first member that polls takes its part of two.
    let mut given = Vec::new();
    for _ in 0..2 {
        for member in [&mut one, &mut two] {
            let batch = next(member).unwrap();
            given.extend(ids(&batch));
            member.commit(&batch).unwrap();
        }
    }
    assert_eq!((one.shards().len(), two.shards().len()), (2, 2));
    given.sort_unstable();
    assert_eq!(given, [0, 1, 2, 3]);
    assert!(next(&mut one).is_none() && next(&mut two).is_none());

    // One member dies with records that it got.
    world.put_to_each(4);
    let lost = next(&mut one).unwrap();
    world.advance(LEASE / 2);
    let mut taken = drain(&mut two);
    assert_eq!(taken.len(), 2);
    world.advance(LEASE / 2);
    let described = world.group().members().unwrap();
    assert_eq!(described[0].name, "one");
    assert!(described[0].has_run_out && !described[1].has_run_out);
    taken.extend(drain(&mut two));
    taken.sort_unstable();
    assert_eq!(taken, [4, 5, 6, 7]);
    assert_eq!(two.shards().len(), 4);
    match one.commit(&lost) {
        Err(Error::LeaseLost { group, member, shard }) => {
            assert_eq!((&*group, &*member, shard), ("billing", "one", lost.shard));
        }
        other => panic!("{other:?}"),
    }
    // It comes back, and gets its part again.
    assert!(next(&mut one).is_none());
    assert_eq!((one.shards().len(), two.shards().len()), (2, 2));
}

fn a_shard_changes_hands_once_what_was_given_out_is_committed(place: &Place) {
    let mut world = World::new(place, 2);
    world.put_to_each(2);
    world.put_to_each(2);
    let mut one = world.join("one");
    let (first, second) = (next_of(&mut one, 1).unwrap(), next_of(&mut one, 1).unwrap());
    assert_ne!(first.shard, second.shard);
    let mut two = world.join("two");
    assert!(next(&mut two).is_none());
    assert!(two.shards().is_empty());
    // The shard that is to change hands gives no more records; the other one does.
    let third = next_of(&mut one, 1).unwrap();
    assert!(next_of(&mut one, 1).is_none());
    let (kept, asked_for) = match third.shard == first.shard {
        true => (&first, &second),
        false => (&second, &first),
    };
    one.commit(kept).unwrap();
    assert!(two.shards().is_empty());
    one.commit(asked_for).unwrap();
    assert_eq!(
        (one.shards(), two.shards()),
        (vec![kept.shard], vec![asked_for.shard])
    );
    // The next records, and none of the earlier ones again.
    let next_batch = next(&mut two).unwrap();
    assert_eq!(next_batch.records.len(), 1);
    assert_ne!(ids(&next_batch), ids(asked_for));
}

fn a_shard_that_is_not_let_go_is_taken_after_a_lease_time(place: &Place) {
    let mut world = World::new(place, 2);
    world.put_to_each(2);
    let mut one = world.join("one");
    let given = [next(&mut one).unwrap(), next(&mut one).unwrap()];
    let mut two = world.join("two");
    for _ in 0..2 {
        assert!(next(&mut two).is_none());
        world.advance(LEASE / 2);
        one.renew().unwrap();
    }
    let again = next(&mut two).unwrap();
    let taken = given.iter().find(|batch| batch.shard == again.shard).unwrap();
    assert_eq!(ids(taken), ids(&again));
    assert!(matches!(one.commit(taken), Err(Error::LeaseLost { .. })));
    two.commit(&again).unwrap();
}

fn a_member_that_leaves_is_followed_at_once(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    let (mut one, mut two) = (world.join("one"), world.join("two"));
    assert_eq!(ids(&next(&mut one).unwrap()), [0]);
    assert!(next(&mut two).is_none());
    one.leave();
    assert_eq!(ids(&next(&mut two).unwrap()), [0]);
    drop(two);
    assert!(world.group().members().unwrap().is_empty());
}

fn a_member_that_is_slow_and_alone_keeps_its_shards(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    let mut one = world.join("one");
    let batch = next(&mut one).unwrap();
    world.advance(10 * LEASE);
    one.commit(&batch).unwrap();
    assert!(drain(&mut one).is_empty());
}

fn a_member_that_renews_keeps_its_shards(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    let (mut one, mut two) = (world.join("one"), world.join("two"));
    let batch = next(&mut one).unwrap();
    for _ in 0..10 {
        world.advance(LEASE / 2);
        one.renew().unwrap();
        assert!(next(&mut two).is_none());
    }
    one.commit(&batch).unwrap();
}

fn children_are_read_when_all_members_have_committed_their_parents(place: &Place) {
    let mut world = World::new(place, 2);
    let (mut one, mut two) = (world.join("one"), world.join("two"));
    world.put_to_each(2);
    let batches = [next(&mut one).unwrap(), next(&mut two).unwrap()];
    world.stream.merge_shards(shard(0), shard(1)).unwrap();
    world.put_to_each(1);
    assert!(next(&mut one).is_none() && next(&mut two).is_none());
    one.commit(&batches[0]).unwrap();
    assert!(next(&mut one).is_none() && next(&mut two).is_none());
    two.commit(&batches[1]).unwrap();
    // The members that held the parents note their ends.
    let mut given = drain(&mut two);
    given.extend(drain(&mut one));
    assert_eq!(given, [2]);
    world.stream.split_in_half(shard(2)).unwrap();
    world.put_to_each(2);
    let mut drained = Vec::new();
    for _ in 0..3 {
        drained.extend(drain(&mut one));
        drained.extend(drain(&mut two));
    }
    drained.sort_unstable();
    assert_eq!(drained, [3, 4]);
    assert_eq!((one.shards().len(), two.shards().len()), (1, 1));
}

fn an_empty_shard_is_drained_without_a_batch(place: &Place) {
    let mut world = World::new(place, 1);
    let mut member = world.join("one");
    world.stream.split_in_half(shard(0)).unwrap();
    let children = world.stream.shards(&ShardFilter::AtLatest).unwrap();
    world.stream.merge_shards(children[0].id, children[1].id).unwrap();
    world.put_to_each(1);
    let batch = next(&mut member).unwrap();
    assert_eq!((batch.shard, ids(&batch)), (shard(3), vec![0]));
    assert!(!batch.is_last());
    world.stream.split_in_half(shard(3)).unwrap();
    world.put_to_each(2);
    // The children wait for the commit.
    assert!(next(&mut member).is_none());
    member.commit(&batch).unwrap();
    assert_eq!(drain(&mut member).len(), 2);
    assert_eq!(member.shards(), [shard(4), shard(5)]);

    world.put_to_each(1);
    world.stream.merge_shards(shard(4), shard(5)).unwrap();
    let last = next(&mut member).unwrap();
    assert!(last.is_last());
    member.commit(&last).unwrap();
    assert!(next(&mut member).is_none());
    assert_eq!(member.shards(), [shard(6)]);
}

fn what_is_committed_outlives_a_restart_and_the_members_do_not(place: &Place) {
    let mut world = World::new(place, 1);
    for _ in 0..3 {
        world.put_to_each(1);
    }
    let mut one = world.join("one");
    let batch = next_of(&mut one, 2).unwrap();
    one.commit(&batch).unwrap();
    assert_eq!(ids(&next(&mut one).unwrap()), [2]);
    world.reopen();
    assert!(matches!(one.commit(&batch), Err(Error::Closed)));
    let late = one.next_batch(&ReadLimit::default(), Duration::ZERO);
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    // No time has passed.
    let mut again = world.join("one");
    assert_eq!(drain(&mut again), [2]);
    assert_eq!(world.group().members().unwrap().len(), 1);
}

fn a_group_that_begins_at_the_latest_begins_there_after_a_restart_too(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    world.stream.group("billing", StartingPosition::Latest).unwrap();
    world.put_to_each(1);
    world.reopen();
    let group = world.stream.group("billing", StartingPosition::Latest).unwrap();
    let mut member = group.join("one", &MemberOptions::default()).unwrap();
    assert_eq!(drain(&mut member), [1]);
}

fn a_group_that_is_set_back_gives_everything_again_and_takes_no_late_commit(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    world.put_to_each(1);
    let mut member = world.join("one");
    let first = next_of(&mut member, 1).unwrap();
    member.commit(&first).unwrap();
    let second = next_of(&mut member, 1).unwrap();
    let beginning = world.checkpoint(StartingPosition::TrimHorizon);
    world.group().reset_to(&beginning).unwrap();
    assert_eq!(world.group().checkpoint().unwrap(), beginning);
    assert!(member.shards().is_empty());
    assert!(matches!(member.commit(&second), Err(Error::LeaseLost { .. })));
    assert_eq!(world.group().checkpoint().unwrap(), beginning);
    assert_eq!(drain(&mut member), [0, 1]);
    // The same forward.
    world.put_to_each(1);
    let latest = world.checkpoint(StartingPosition::Latest);
    world.group().reset_to(&latest).unwrap();
    assert!(drain(&mut member).is_empty());
}

fn a_group_is_set_only_from_where_it_is_expected(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    let group = world.group();
    let beginning = group.checkpoint().unwrap();
    let mut member = world.join("one");
    assert_eq!(drain(&mut member), [0]);
    let refused = group.compare_and_set(&beginning, &beginning);
    assert!(
        matches!(refused, Err(Error::CheckpointChanged { .. })),
        "{refused:?}"
    );
    assert!(drain(&mut member).is_empty());
    group
        .compare_and_set(&group.checkpoint().unwrap(), &beginning)
        .unwrap();
    assert_eq!(drain(&mut member), [0]);
}

fn a_checkpoint_of_a_group_is_one_of_a_reader(place: &Place) {
    let mut world = World::new(place, 2);
    world.put_to_each(2);
    let mut member = world.join("one");
    let batch = next(&mut member).unwrap();
    member.commit(&batch).unwrap();
    let rest = world
        .stream
        .resume_reader("billing", StartingPosition::TrimHorizon)
        .unwrap();
    assert_eq!(rest.count(), 1);
    world
        .stream
        .trim_to(&world.group().checkpoint().unwrap())
        .unwrap();
    let left = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(left.count(), 1);
    // A reader that is further ahead raises it.
    let mut reader = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(reader.by_ref().count(), 1);
    reader.save_checkpoint("billing").unwrap();
    assert_eq!(records_behind(&world.group()).values().sum::<u64>(), 0);
}

fn a_reader_that_has_read_less_sets_no_checkpoint_back(place: &Place) {
    let mut world = World::new(place, 1);
    for _ in 0..100 {
        world.put_to_each(1);
    }
    let read = |count: usize| {
        let mut reader = world.stream.reader(StartingPosition::TrimHorizon).unwrap();
        assert_eq!(reader.by_ref().take(count).count(), count);
        reader
    };
    let (stale, ahead) = (read(10), read(90));
    ahead.save_checkpoint("daily").unwrap();
    ahead.save_checkpoint("daily").unwrap();
    let left = || {
        let reader = world.stream.resume_reader("daily", StartingPosition::TrimHorizon);
        reader.unwrap().count()
    };
    match stale.save_checkpoint("daily") {
        Err(Error::CheckpointBehind {
            checkpoint,
            shard,
            saved,
            ..
        }) => {
            assert_eq!((&*checkpoint, shard), ("daily", ShardId::new(0).unwrap()));
            assert_eq!(ahead.checkpoint().positions().next(), Some((shard, saved)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(left(), 10);
    // Nor over a split, whose parent the other member has drained.
    world.stream.split_in_half(shard(0)).unwrap();
    let mut drained = world.stream.reader_from(ahead.checkpoint()).unwrap();
    assert_eq!(drained.by_ref().count(), 10);
    drained.save_checkpoint("daily").unwrap();
    for behind in [&stale, &ahead] {
        let refused = behind.save_checkpoint("daily");
        assert!(
            matches!(refused, Err(Error::CheckpointBehind { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(left(), 0);
    world
        .stream
        .reset_checkpoint("daily", &stale.checkpoint())
        .unwrap();
    assert_eq!(left(), 90);
    let refused = world
        .stream
        .compare_and_set_checkpoint("daily", None, &drained.checkpoint());
    assert!(
        matches!(refused, Err(Error::CheckpointChanged { .. })),
        "{refused:?}"
    );
    world
        .stream
        .compare_and_set_checkpoint("daily", Some(&stale.checkpoint()), &drained.checkpoint())
        .unwrap();
    assert_eq!(left(), 0);
}

fn a_reader_is_behind_no_records_that_have_expired(place: &Place) {
    let mut world = World::new(place, 1);
    let all = |stream: &Stream| {
        let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
        reader.by_ref().for_each(drop);
        reader
    };
    let at_horizon = |stream: &Stream| stream.reader(StartingPosition::TrimHorizon).unwrap();
    let assert_behind = |stream: &Stream| {
        let refused = at_horizon(stream).save_checkpoint("daily");
        assert!(
            matches!(refused, Err(Error::CheckpointBehind { .. })),
            "{refused:?}"
        );
    };
    for _ in 0..9 {
        world.put_to_each(1);
    }
    all(&world.stream).save_checkpoint("daily").unwrap();
    assert_behind(&world.stream);
    world.expire();
    world.put_to_each(1);
    at_horizon(&world.stream).save_checkpoint("daily").unwrap();
    let left = world.stream.resume_reader("daily", StartingPosition::Latest);
    assert_eq!(left.unwrap().count(), 1);
    all(&world.stream).save_checkpoint("daily").unwrap();
    assert_behind(&world.stream);

    // Of children that the saved checkpoint has begun, and which are now the oldest shards.
    world.stream.split_in_half(shard(0)).unwrap();
    all(&world.stream).save_checkpoint("daily").unwrap();
    assert_behind(&world.stream);
    world.expire();
    at_horizon(&world.stream).save_checkpoint("daily").unwrap();
    world.put_to_each(2);
    all(&world.stream).save_checkpoint("daily").unwrap();
    assert_behind(&world.stream);
}

/// A saved checkpoint is durable, and the records it is past are not.
#[cfg(feature = "sim")]
#[test]
fn a_reader_is_behind_no_records_that_were_lost_with_the_power() {
    use anabranch::Durability;
    use anabranch::sim::{LossMode, SimDisk};
    let options = StoreOptions::new().keeper(false).durability(Durability::Written);
    let disk = SimDisk::new(1);
    let store = options.clone().disk(disk.clone()).open("store").unwrap();
    let stream = store.create_stream("orders", 1).unwrap();
    let put = |stream: &Stream, records: u32| {
        for number in 0..records {
            stream.put("key", &number.to_be_bytes()).unwrap();
        }
    };
    put(&stream, 10);
    store.close().unwrap();
    let store = options.clone().disk(disk.clone()).open("store").unwrap();
    let stream = store.stream("orders").unwrap();
    put(&stream, 10);
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(reader.by_ref().count(), 20);
    reader.save_checkpoint("daily").unwrap();

    let store = options.disk(disk.crash(LossMode::LoseAll)).open("store").unwrap();
    let stream = store.stream("orders").unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    // On a busy machine they may have been synced.
    let kept = reader.by_ref().count();
    assert!((10..=20).contains(&kept), "{kept}");
    reader.save_checkpoint("daily").unwrap();
    let latest = stream.reader(StartingPosition::Latest).unwrap();
    latest.save_checkpoint("daily").unwrap();
    put(&stream, 1);
    let mut resumed = stream.resume_reader("daily", StartingPosition::Latest).unwrap();
    assert_eq!(resumed.by_ref().count(), 1);
    resumed.save_checkpoint("daily").unwrap();
    let refused = latest.save_checkpoint("daily");
    assert!(
        matches!(refused, Err(Error::CheckpointBehind { .. })),
        "{refused:?}"
    );
}

fn lag_is_counted_in_records_bytes_and_time(place: &Place) {
    let mut world = World::new(place, 1);
    let group = world.group();
    let lag = group.lag().unwrap();
    assert_eq!(
        (lag.len(), lag[0].records, lag[0].bytes, lag[0].time),
        (1, 0, 0, None)
    );
    for _ in 0..10 {
        world.put_to_each(1);
        world.advance(Duration::from_secs(1));
    }
    let all = group.lag().unwrap().remove(0);
    assert_eq!((all.records, all.time), (10, Some(Duration::from_secs(10))));
    assert!((10 * 20..10 * 200).contains(&all.bytes), "{all:?}");
    let mut member = world.join("one");
    let batch = next_of(&mut member, 4).unwrap();
    assert_eq!(records_behind(&group)[&shard(0)], 10);
    member.commit(&batch).unwrap();
    let rest = group.lag().unwrap().remove(0);
    assert_eq!((rest.records, rest.time), (6, Some(Duration::from_secs(6))));
    assert_eq!(rest.bytes, all.bytes * 6 / 10);
    drain(&mut member);
    let none = group.lag().unwrap().remove(0);
    assert_eq!((none.records, none.bytes, none.time), (0, 0, None));

    // Expired records do not count as behind.
    world.put_to_each(1);
    assert_eq!(records_behind(&group)[&shard(0)], 1);
    world.expire();
    assert_eq!(records_behind(&group)[&shard(0)], 0);
    // Numbers that a restart leaves out do not count as records.
    world.put_to_each(1);
    world.reopen();
    world.put_to_each(1);
    assert_eq!(records_behind(&world.group())[&shard(0)], 2);
    let foreign = World::new(&place.another(), 1).checkpoint(StartingPosition::Latest);
    assert!(matches!(
        world.stream.lag(&foreign),
        Err(Error::InvalidArgument(_))
    ));
}

fn lag_of_a_reshard_is_that_of_the_children_too(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    world.stream.split_in_half(shard(0)).unwrap();
    world.put_to_each(2);
    world.put_to_each(2);
    let group = world.group();
    let expected = BTreeMap::from([(shard(0), 1), (shard(1), 2), (shard(2), 2)]);
    assert_eq!(records_behind(&group), expected);
    let mut member = world.join("one");
    let parent = next(&mut member).unwrap();
    member.commit(&parent).unwrap();
    let expected = BTreeMap::from([(shard(1), 2), (shard(2), 2)]);
    assert_eq!(records_behind(&group), expected);
}

fn what_expired_before_it_was_read_is_told_once(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    let mut member = world.join("one");
    assert_eq!(drain(&mut member), [0]);
    world.put_to_each(1);
    world.expire();
    world.put_to_each(1);
    match member.next_batch(&ReadLimit::default(), Duration::ZERO) {
        Err(Error::Trimmed {
            shard: of,
            first_kept,
            ..
        }) => {
            assert_eq!(of, shard(0));
            assert!(first_kept.is_some());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(drain(&mut member), [2]);
    // A group that starts at the horizon gets all records that are there.
    let group = world
        .stream
        .group("audit", StartingPosition::TrimHorizon)
        .unwrap();
    world.expire();
    world.put_to_each(1);
    let mut member = group.join("one", &MemberOptions::default()).unwrap();
    assert_eq!(drain(&mut member), [3]);
}

fn a_shard_that_expired_before_it_was_read_is_told_once(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    let mut member = world.join("one");
    assert_eq!(drain(&mut member), [0]);
    world.put_to_each(1);
    world.stream.split_in_half(shard(0)).unwrap();
    world.expire();
    world.put_to_each(2);
    match member.next_batch(&ReadLimit::default(), Duration::ZERO) {
        Err(Error::Trimmed {
            shard: of,
            first_kept: None,
            ..
        }) => assert_eq!(of, shard(0)),
        other => panic!("{other:?}"),
    }
    let mut drained = drain(&mut member);
    drained.sort_unstable();
    assert_eq!(drained, [2, 3]);
    assert_eq!(member.shards(), [shard(1), shard(2)]);
}

fn what_expired_of_the_children_of_a_shard_that_was_read_at_once_is_told(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    world.stream.split_in_half(shard(0)).unwrap();
    world.put_to_each(2);
    let mut member = world.join("one");
    let all_of_the_parent = next(&mut member).unwrap();
    assert!(all_of_the_parent.is_last());
    member.commit(&all_of_the_parent).unwrap();
    world.expire();
    assert_told_of_both_children(&mut world, &mut member);
}

fn what_expired_of_the_children_of_a_shard_with_nothing_to_read_is_told_if_its_head_was_seen(place: &Place) {
    for has_seen_head in [true, false] {
        let place = place.another();
        let mut world = World::new(&place, 1);
        let mut member = world.join("one");
        if has_seen_head {
            assert!(next(&mut member).is_none());
        }
        world.stream.split_in_half(shard(0)).unwrap();
        if has_seen_head {
            world.put_to_each(2);
        }
        // The parent's end is noted while the parent exists.
        let one = next_of(&mut member, 1);
        assert_eq!(one.is_some(), has_seen_head);
        world.put_to_each(2);
        world.expire();
        match has_seen_head {
            true => assert_told_of_both_children(&mut world, &mut member),
            false => {
                // The member has seen the heads of the children, and another member has not.
                member.leave();
                assert!(drain(&mut world.join("two")).is_empty());
            }
        }
    }
}

fn a_member_that_had_read_all_of_a_shard_that_expired_is_told_nothing(place: &Place) {
    for is_reopened in [false, true] {
        let place = place.another();
        let mut world = World::new(&place, 1);
        world.put_to_each(1);
        let mut member = world.join("one");
        assert_eq!(drain(&mut member), [0]);
        // The member does not learn that the shard was closed before the shard has expired.
        world.stream.split_in_half(shard(0)).unwrap();
        world.expire();
        assert_eq!(world.stream.describe().unwrap().shards.len(), 2);
        if is_reopened {
            drop(member);
            world.reopen();
            member = world.join("one");
        }
        world.put_to_each(2);
        let mut given = drain(&mut member);
        given.sort_unstable();
        assert_eq!(given, [1, 2]);
    }
}

fn what_was_given_out_of_a_shard_that_expired_is_settled_before_its_children_are_read(place: &Place) {
    for is_committed in [true, false] {
        let place = place.another();
        let mut world = World::new(&place, 1);
        world.put_to_each(1);
        let mut member = world.join("one");
        assert_eq!(drain(&mut member), [0]);
        world.put_to_each(1);
        let given = next(&mut member).unwrap();
        world.stream.split_in_half(shard(0)).unwrap();
        world.expire();
        world.put_to_each(2);
        assert!(next(&mut member).is_none());
        match is_committed {
            true => member.commit(&given).unwrap(),
            false => {
                member.leave();
                member = world.join("two");
                let told = member.next_batch(&ReadLimit::default(), Duration::ZERO);
                assert!(
                    matches!(told, Err(Error::Trimmed { shard: of, .. }) if of == shard(0)),
                    "{told:?}"
                );
            }
        }
        let mut given = drain(&mut member);
        given.sort_unstable();
        assert_eq!(given, [2, 3]);
    }
}

fn what_was_lost_with_a_child_that_expired_before_its_parent_was_drained_is_told(place: &Place) {
    for child_has_records in [true, false] {
        let place = place.another();
        let mut world = World::new(&place, 1);
        world.put_to_each(1);
        world.stream.split_in_half(shard(0)).unwrap();
        if child_has_records {
            world.put_to_each(2);
        }
        world.stream.split_in_half(shard(1)).unwrap();
        let mut member = world.join("one");
        let all_of_the_parent = next(&mut member).unwrap();
        assert!(all_of_the_parent.is_last());
        // The parent and the first child are gone with all their records, and the other child is open.
        world.expire();
        world.put_to_each(4);
        assert_eq!(world.stream.describe().unwrap().shards.len(), 3);
        member.commit(&all_of_the_parent).unwrap();
        let (told, given) = told_and_given(&mut member);
        let expected = match child_has_records {
            true => vec![shard(1), shard(2)],
            false => Vec::new(),
        };
        assert_eq!((told, given), (expected, 4));
    }
}

fn assert_told_of_both_children(world: &mut World<'_>, member: &mut Member) {
    world.put_to_each(2);
    assert_eq!(told_and_given(member), (vec![shard(1), shard(2)], 2));
}

/// The shards for which a member gets the error that records are missing, and the number of records it gets.
fn told_and_given(member: &mut Member) -> (Vec<ShardId>, usize) {
    let mut told = Vec::new();
    let mut given = 0;
    loop {
        match member.next_batch(&ReadLimit::default(), Duration::ZERO) {
            Err(Error::Trimmed { shard, .. }) => told.push(shard),
            Ok(Some(batch)) => {
                given += batch.records.len();
                member.commit(&batch).unwrap();
            }
            Ok(None) => break,
            Err(error) => panic!("{error}"),
        }
    }
    told.sort_unstable();
    (told, given)
}

fn a_waiting_member_is_woken_by_a_record_and_by_a_shard(place: &Place) {
    let mut world = World::new(place, 1);
    let mut one = world.join("one");
    assert!(next(&mut one).is_none());
    let waiting = thread::spawn(move || {
        let batch = one.next_batch(&ReadLimit::default(), LONG).unwrap().unwrap();
        (one, batch)
    });
    world.put_to_each(1);
    let (mut one, batch) = waiting.join().unwrap();
    assert_eq!(ids(&batch), [0]);

    let mut two = world.join("two");
    let waiting = thread::spawn(move || ids(&two.next_batch(&ReadLimit::default(), LONG).unwrap().unwrap()));
    // The records that it has not committed belong to the other member.
    assert!(next(&mut one).is_none());
    one.leave();
    assert_eq!(waiting.join().unwrap(), [0]);
    let mut three = world.join("three");
    let nothing = three.next_batch(&ReadLimit::default(), Duration::from_millis(20));
    assert_eq!(nothing.unwrap().map(|batch| ids(&batch)), Some(vec![0]));
    let nothing = three.next_batch(&ReadLimit::default(), Duration::from_millis(20));
    assert!(nothing.unwrap().is_none());
}

fn a_deleted_group_ends_its_members(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    let mut one = world.join("one");
    let batch = next(&mut one).unwrap();
    let group = world.group();
    let mut two = world.join("two");
    let waiting = thread::spawn(move || two.next_batch(&ReadLimit::default(), LONG));
    group.delete().unwrap();
    group.delete().unwrap();
    let is_gone = |error: &Error| matches!(error, Error::GroupNotFound { .. });
    assert!(is_gone(&waiting.join().unwrap().unwrap_err()));
    assert!(is_gone(&one.commit(&batch).unwrap_err()));
    assert!(is_gone(&one.renew().unwrap_err()));
    let late = one.next_batch(&ReadLimit::default(), Duration::ZERO);
    assert!(is_gone(&late.unwrap_err()));
    assert!(is_gone(&group.lag().unwrap_err()));
    assert!(is_gone(&group.members().unwrap_err()));
    assert!(is_gone(
        &group
            .reset_to(&world.checkpoint(StartingPosition::Latest))
            .unwrap_err()
    ));
    let joined = group.join("three", &MemberOptions::default());
    assert!(is_gone(&joined.unwrap_err()));
    // A new group of this name has none of the members.
    let mut again = world.join("one");
    assert_eq!(drain(&mut again), [0]);
    assert!(is_gone(&one.renew().unwrap_err()));
}

fn a_deleted_stream_and_a_closed_store_end_their_members(place: &Place) {
    let world = World::new(place, 1);
    let mut member = world.join("one");
    assert!(next(&mut member).is_none());
    let mut waiting_for_a_shard = world.join("two");
    let waiting = [
        thread::spawn(move || member.next_batch(&ReadLimit::default(), LONG)),
        thread::spawn(move || waiting_for_a_shard.next_batch(&ReadLimit::default(), LONG)),
    ];
    world.stream.delete().unwrap();
    for waiting in waiting {
        let ended = waiting.join().unwrap();
        assert!(matches!(ended, Err(Error::StreamNotFound { .. })), "{ended:?}");
    }
    let other = world.store.create_stream("other", 1).unwrap();
    let group = other.group("billing", StartingPosition::Latest).unwrap();
    let waiting = ["one", "two"].map(|name| {
        let mut member = group.join(name, &MemberOptions::default()).unwrap();
        thread::spawn(move || member.next_batch(&ReadLimit::default(), LONG))
    });
    world.store.close().unwrap();
    for waiting in waiting {
        let ended = waiting.join().unwrap();
        assert!(matches!(ended, Err(Error::Closed)), "{ended:?}");
    }
}

fn names_and_options_are_checked(place: &Place) {
    let world = World::new(place, 1);
    let long = "x".repeat(129);
    for name in ["", "a b", "a/b", &long] {
        match world.stream.group(name, StartingPosition::Latest) {
            Err(Error::InvalidArgument(InvalidArgument::Name { of: Named::Group, .. })) => {}
            other => panic!("{other:?}"),
        }
        match world.group().join(name, &MemberOptions::default()) {
            Err(Error::InvalidArgument(InvalidArgument::Name {
                of: Named::Member, ..
            })) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(world.stream.checkpoint_names().unwrap(), ["billing"]);
    let join = |lease_time, max_shards| {
        let options = MemberOptions {
            lease_time,
            max_shards,
        };
        world.group().join("one", &options).map(Member::leave)
    };
    let (least, most) = (limits::MIN_LEASE_MILLIS, limits::MAX_LEASE_MILLIS);
    for millis in [0, least - 1, most + 1] {
        let refused = join(Duration::from_millis(millis), 1);
        match refused {
            Err(Error::InvalidArgument(InvalidArgument::LeaseTime { actual, .. })) => {
                assert_eq!(actual, millis);
            }
            other => panic!("{other:?}"),
        }
    }
    join(Duration::from_millis(least), 1).unwrap();
    join(Duration::from_millis(most), usize::MAX).unwrap();
    let refused = join(LEASE, 0);
    assert!(matches!(
        refused,
        Err(Error::InvalidArgument(InvalidArgument::NoShards))
    ));
    assert!(join(Duration::MAX, 1).is_err());
    for position in [
        StartingPosition::AtSequenceNumber,
        StartingPosition::AfterSequenceNumber,
    ] {
        let number = world.stream.describe().unwrap().shards[0].starting_sequence_number();
        let refused = world.stream.group("another", position(number));
        assert!(matches!(
            refused,
            Err(Error::InvalidArgument(InvalidArgument::PositionInOneShard))
        ));
    }
}

fn a_stream_that_is_being_created_has_no_group_yet(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let options = StoreOptions::new().clock(clock.clone()).keeper(false);
    let store = place.open_with(&options.transition_delay(LEASE));
    let stream = store.create_stream("orders", 1).unwrap();
    for position in [StartingPosition::TrimHorizon, StartingPosition::Latest] {
        let refused = stream.group("billing", position);
        assert!(
            matches!(refused, Err(Error::StreamNotActive { .. })),
            "{refused:?}"
        );
    }
    clock.advance(LEASE);
    stream.put("key", &0_u32.to_be_bytes()).unwrap();
    let group = stream.group("billing", StartingPosition::TrimHorizon).unwrap();
    let mut member = group.join("one", &MemberOptions::default()).unwrap();
    assert_eq!(drain(&mut member), [0]);
}

fn a_name_is_one_members_until_its_leases_run_out(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    let mut one = world.join("one");
    let batch = next(&mut one).unwrap();
    let again = world.group().join("one", &MemberOptions::default());
    assert!(matches!(again, Err(Error::MemberExists { .. })));
    world.advance(LEASE);
    let mut again = world.join("one");
    assert!(matches!(one.renew(), Err(Error::MemberNotFound { .. })));
    assert!(matches!(one.commit(&batch), Err(Error::MemberNotFound { .. })));
    let late = one.next_batch(&ReadLimit::default(), Duration::ZERO);
    assert!(matches!(late, Err(Error::MemberNotFound { .. })), "{late:?}");
    // Its handle keeps nothing.
    one.leave();
    assert_eq!(drain(&mut again), [0]);
    assert_eq!(world.group().members().unwrap().len(), 1);
}

fn a_member_holds_no_more_shards_than_it_may(place: &Place) {
    let mut world = World::new(place, 4);
    world.put_to_each(4);
    let one_shard = MemberOptions {
        max_shards: 1,
        ..MemberOptions::default()
    };
    let mut small = world.group().join("small", &one_shard).unwrap();
    assert_eq!(drain(&mut small).len(), 1);
    assert_eq!(small.shards().len(), 1);
    let mut large = world.join("large");
    assert_eq!(drain(&mut large).len(), 3);
    assert_eq!((small.shards().len(), large.shards().len()), (1, 3));
}

fn a_batch_is_committed_in_its_own_group(place: &Place) {
    let mut world = World::new(place, 1);
    world.put_to_each(1);
    let mut member = world.join("one");
    let batch = next(&mut member).unwrap();
    let group = world
        .stream
        .group("audit", StartingPosition::TrimHorizon)
        .unwrap();
    let mut other = group.join("one", &MemberOptions::default()).unwrap();
    let same = next(&mut other).unwrap();
    assert_eq!(ids(&batch), ids(&same));
    assert!(matches!(other.commit(&batch), Err(Error::LeaseLost { .. })));
    other.commit(&same).unwrap();
    let committed = group.checkpoint().unwrap().positions().next().unwrap();
    assert!(committed.1 > RecordNumber::FIRST);
    // The groups are independent.
    assert_eq!(records_behind(&world.group())[&shard(0)], 1);
}

#[cfg(feature = "sim")]
#[test]
fn a_reset_or_a_deletion_that_fails_ends_no_lease_and_no_member() {
    use anabranch::sim::{Calls, SimDisk};
    type Change = fn(&ConsumerGroup, &Checkpoint) -> anabranch::Result<()>;
    let changes: [Change; 2] = [|group, to| group.reset_to(to), |group, _| group.delete()];
    for change in changes {
        let disk = SimDisk::new(1);
        let store = StoreOptions::new()
            .keeper(false)
            .disk(disk.clone())
            .open("store")
            .unwrap();
        let stream = store.create_stream("orders", 1).unwrap();
        stream.put("key", &0_u32.to_be_bytes()).unwrap();
        let group = stream.group("billing", StartingPosition::TrimHorizon).unwrap();
        let mut member = group.join("one", &MemberOptions::default()).unwrap();
        let batch = next(&mut member).unwrap();
        let before = group.checkpoint().unwrap();
        disk.faults()
            .fail_from_nth(Calls::CHANGING, 1, std::io::ErrorKind::StorageFull);
        change(&group, &before).unwrap_err();
        disk.faults().clear();
        member.renew().unwrap();
        assert_eq!(member.shards(), [batch.shard]);
        assert_eq!(group.checkpoint().unwrap(), before);
    }
}

/// Members that have none of a thousand shards wait for one.
#[test]
fn a_group_has_so_many_members_and_a_stream_so_many_groups() {
    let place = Place::memory();
    let world = World::new(&place, 1);
    let options = MemberOptions::default();
    let group = world.group();
    let members: Vec<_> = (0..limits::MAX_MEMBERS_PER_GROUP)
        .map(|number| group.join(&format!("{number}"), &options).unwrap())
        .collect();
    match group.join("another", &options) {
        Err(Error::TooManyMembers { limit, .. }) => assert_eq!(limit, members.len()),
        other => panic!("{other:?}"),
    }
    drop(members);
    group.join("another", &options).unwrap();
    for number in 1..limits::MAX_GROUPS_PER_STREAM {
        world
            .stream
            .group(&format!("{number}"), StartingPosition::Latest)
            .unwrap();
    }
    match world.stream.group("another", StartingPosition::Latest) {
        Err(Error::TooManyGroups { limit, .. }) => assert_eq!(limit, limits::MAX_GROUPS_PER_STREAM),
        other => panic!("{other:?}"),
    }
    world.group();
    world
        .stream
        .group("1", StartingPosition::Latest)
        .unwrap()
        .delete()
        .unwrap();
    world.stream.group("another", StartingPosition::Latest).unwrap();
}

/// Threads that share a stream which is resharded: each record is read once, and those of a key in order.
#[test]
fn members_in_threads_have_every_record_once_and_those_of_a_key_in_order() {
    const RECORDS: u32 = 2_000;
    let place = Place::directory();
    let store = place.open();
    let stream = store.create_stream("orders", 2).unwrap();
    let group = stream.group("billing", StartingPosition::TrimHorizon).unwrap();
    let given = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let workers: Vec<_> = (0..3)
        .map(|number| {
            let (group, given) = (group.clone(), given.clone());
            thread::spawn(move || {
                let name = format!("worker-{number}");
                let options = MemberOptions {
                    // Long enough for a busy machine.
                    lease_time: Duration::from_secs(3_600),
                    ..MemberOptions::default()
                };
                let mut member = group.join(&name, &options).unwrap();
                let limit = ReadLimit {
                    records: 20,
                    ..ReadLimit::default()
                };
                while given.lock().unwrap().len() < RECORDS as usize {
                    let Some(batch) = member.next_batch(&limit, Duration::from_millis(20)).unwrap() else {
                        continue;
                    };
                    let keys = batch
                        .records
                        .iter()
                        .map(|record| record.partition_key.as_str().to_owned());
                    given.lock().unwrap().extend(keys.zip(ids(&batch)));
                    member.commit(&batch).unwrap();
                }
            })
        })
        .collect();
    for number in 0..RECORDS {
        stream
            .put(&format!("key-{}", number % 50), &number.to_be_bytes())
            .unwrap();
        if number % 400 == 399 {
            let open = stream.shards(&ShardFilter::AtLatest).unwrap();
            match number % 800 == 399 {
                true => stream.split_in_half(open[0].id).unwrap(),
                false => stream.update_shard_count(2).unwrap(),
            }
        }
    }
    for worker in workers {
        worker.join().unwrap();
    }
    let given = given.lock().unwrap();
    assert_eq!(given.len(), RECORDS as usize);
    let mut last = BTreeMap::new();
    for (key, number) in given.iter() {
        let before = last.insert(key, number);
        assert!(before < Some(number), "{key}: {number} came after {before:?}");
    }
}
