use std::time::Duration;

use super::*;
use crate::model::ShardClosed;

pub(super) fn id(index: u32) -> ShardId {
    ShardId::new(index).unwrap()
}

pub(super) fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(1_421_279_230 + seconds)
}

fn millis(millis: u64) -> Timestamp {
    seconds(0).saturating_add(Duration::from_millis(millis))
}

pub(super) fn ids<'a>(shards: impl IntoIterator<Item = &'a Shard>) -> Vec<u32> {
    shards.into_iter().map(|shard| shard.id.index()).collect()
}

/// Verbs that plan and apply at once, for tests that are not about planning.
impl Lineage {
    pub(super) fn halve(&mut self, index: u32, now: Timestamp) {
        let range = self.shard(id(index)).unwrap().hash_key_range;
        let middle = range.start().value() + (range.end().value() - range.start().value()) / 2;
        let split = self.split(id(index), HashKey::new(middle), now).unwrap();
        self.apply_reshard(&split).unwrap();
    }

    pub(super) fn join(&mut self, first: u32, second: u32, now: Timestamp) {
        let merge = self.merge(id(first), id(second), now).unwrap();
        self.apply_reshard(&merge).unwrap();
    }
}

/// Shards 0 and 1; 0 is split into 2 and 3 after ten seconds; 3 and 1 are merged into 4 after twenty.
fn split_and_merged() -> Lineage {
    let mut lineage = Lineage::new(2, seconds(0)).unwrap();
    lineage.halve(0, seconds(10));
    lineage.join(3, 1, seconds(20));
    lineage
}

#[test]
fn a_new_lineage_divides_the_hash_space() {
    let lineage = Lineage::new(3, seconds(0)).unwrap();
    assert_eq!(ids(lineage.open_shards()), [0, 1, 2]);
    assert_eq!(
        lineage
            .shards()
            .map(|shard| shard.hash_key_range)
            .collect::<Vec<_>>(),
        HashKeyRange::divide(3)
    );
    assert!(
        lineage
            .shards()
            .all(|shard| shard.created_seconds == seconds(0).as_seconds())
    );
    assert_eq!(lineage.check(), Ok(()));
}

#[test]
fn a_lineage_has_1_to_the_most_shards_of_a_stream() {
    assert_eq!(
        Lineage::new(0, seconds(0)),
        Err(LineageError::InvalidShardCount { count: 0 })
    );
    let count = MAX_SHARDS_PER_STREAM + 1;
    assert_eq!(
        Lineage::new(count, seconds(0)),
        Err(LineageError::InvalidShardCount { count })
    );
    let mut full = Lineage::new(MAX_SHARDS_PER_STREAM, seconds(0)).unwrap();
    let split = full.split(id(0), HashKey::new(2), seconds(1));
    assert_eq!(split, Err(LineageError::InvalidShardCount { count }));
    full.join(0, 1, seconds(1));
    full.halve(2, seconds(1));
}

#[test]
fn a_split_gives_the_lower_part_the_lower_id() {
    let mut lineage = Lineage::new(1, seconds(0)).unwrap();
    let key = HashKey::new(1000);
    let split = lineage.split(id(0), key, millis(5_250)).unwrap();
    assert_eq!(ids(lineage.shards()), [0], "a plan changes nothing");
    lineage.apply_reshard(&split).unwrap();

    let closed = ShardClosed {
        at: millis(5_250),
        seconds: seconds(5).as_seconds(),
    };
    assert_eq!(lineage.shard(id(0)).unwrap().closed, Some(closed));
    let (low, high) = HashKeyRange::FULL.split_at(key).unwrap();
    for (index, range) in [(1, low), (2, high)] {
        let child = lineage.shard(id(index)).unwrap();
        assert_eq!(child.hash_key_range, range);
        assert_eq!((child.parent, child.adjacent_parent), (Some(id(0)), None));
        assert_eq!(
            (child.created, child.created_seconds),
            (millis(5_250), seconds(6).as_seconds())
        );
        assert!(child.is_open());
    }
    assert_eq!(ids(lineage.children(id(0))), [1, 2]);
}

#[test]
fn a_merge_names_both_parents() {
    let lineage = split_and_merged();
    let child = lineage.shard(id(4)).unwrap();
    assert_eq!((child.parent, child.adjacent_parent), (Some(id(3)), Some(id(1))));
    assert_eq!(ids(lineage.parents_of(id(4))), [3, 1]);
    assert_eq!(ids(lineage.children(id(1))), [4]);
    assert_eq!(ids(lineage.children(id(3))), [4]);
    assert_eq!(ids(lineage.open_shards()), [2, 4]);
    assert_eq!(ids(lineage.roots()), [0, 1]);
}

#[test]
fn a_split_key_leaves_both_children_two_hash_keys() {
    let mut lineage = Lineage::new(2, seconds(0)).unwrap();
    lineage.halve(0, seconds(1));
    let range = lineage.shard(id(3)).unwrap().hash_key_range;
    let (start, end) = (range.start().value(), range.end().value());
    for key in [0, start, start + 1, end, end + 1, u128::MAX].map(HashKey::new) {
        let refusal = LineageError::InvalidSplitKey {
            shard: id(3),
            key,
            range,
        };
        assert_eq!(lineage.split(id(3), key, seconds(2)), Err(refusal));
    }
    for key in [start + 2, end - 1].map(HashKey::new) {
        assert!(lineage.split(id(3), key, seconds(2)).is_ok());
    }
}

#[test]
fn only_a_shard_and_the_one_after_it_merge() {
    let lineage = Lineage::new(3, seconds(0)).unwrap();
    for (first, second) in [(1, 0), (0, 2), (0, 0), (2, 0)].map(|(first, second)| (id(first), id(second))) {
        assert_eq!(
            lineage.merge(first, second, seconds(1)),
            Err(LineageError::NotAdjacent { first, second })
        );
    }
    assert!(lineage.merge(id(1), id(2), seconds(1)).is_ok());
}

#[test]
fn closed_and_unknown_shards_are_not_resharded() {
    let lineage = split_and_merged();
    for shard in [id(0), id(1), id(3)] {
        let refusal = LineageError::ShardClosed { shard };
        assert_eq!(
            lineage.split(shard, HashKey::MAX / 3, seconds(30)),
            Err(refusal.clone())
        );
        assert_eq!(lineage.merge(shard, id(4), seconds(30)), Err(refusal.clone()));
        assert_eq!(lineage.merge(id(2), shard, seconds(30)), Err(refusal));
    }
    let refusal = LineageError::UnknownShard { shard: id(5) };
    assert_eq!(
        lineage.split(id(5), HashKey::MAX / 3, seconds(30)),
        Err(refusal.clone())
    );
    assert_eq!(lineage.merge(id(2), id(5), seconds(30)), Err(refusal));
}

#[test]
fn a_reshard_is_applied_once_and_only_to_the_lineage_it_was_planned_for() {
    let planned = Lineage::new(2, seconds(0)).unwrap();
    let split = planned.split(id(0), HashKey::new(1000), seconds(1)).unwrap();

    let mut lineage = planned.clone();
    lineage.apply_reshard(&split).unwrap();
    let once = lineage.clone();
    assert_eq!(
        lineage.apply_reshard(&split),
        Err(LineageError::ShardClosed { shard: id(0) })
    );
    assert_eq!(lineage, once);

    let mut later = planned.clone();
    later.halve(1, seconds(1));
    assert!(matches!(
        later.apply_reshard(&split),
        Err(LineageError::ForeignReshard { .. })
    ));

    let changes: [fn(&mut Reshard); 10] = [
        |plan| plan.children.clear(),
        |plan| plan.children.truncate(1),
        |plan| plan.children.reverse(),
        |plan| plan.parents.push(id(1)),
        |plan| plan.parents = vec![id(1)],
        |plan| plan.closed.at = seconds(2),
        |plan| plan.closed.seconds += 1,
        |plan| plan.closed.seconds = 0,
        |plan| plan.children[0].hash_key_range = plan.children[1].hash_key_range,
        |plan| plan.children[0].closed = Some(plan.closed),
    ];
    for change in changes {
        let (mut plan, mut lineage) = (split.clone(), planned.clone());
        change(&mut plan);
        assert!(
            matches!(
                lineage.apply_reshard(&plan),
                Err(LineageError::ForeignReshard { .. })
            ),
            "{plan:?}"
        );
        assert_eq!(lineage, planned);
    }
}

#[test]
fn shard_ids_run_out_before_they_repeat() {
    let mut lineage = Lineage::new(2, seconds(0)).unwrap();
    lineage.next_index = ShardId::MAX_INDEX;
    assert_eq!(
        lineage.split(id(0), HashKey::new(9), seconds(1)),
        Err(LineageError::ShardIdsExhausted)
    );
    lineage.join(0, 1, seconds(1));
    let last = id(ShardId::MAX_INDEX);
    assert!(lineage.shard(last).unwrap().is_open());
    assert_eq!(
        lineage.split(last, HashKey::new(9), seconds(1)),
        Err(LineageError::ShardIdsExhausted)
    );
    assert_eq!(lineage.check(), Ok(()));
}

#[test]
fn a_shard_is_not_created_later_than_sequence_numbers_can_say() {
    let end = SequenceNumber::CREATED_SECONDS_END;
    let too_late = LineageError::TimeOutOfRange { seconds: end };
    assert_eq!(
        Lineage::new(1, Timestamp::from_seconds(end)),
        Err(too_late.clone())
    );
    let last = Timestamp::from_seconds(end - 1);
    let lineage = Lineage::new(1, last).unwrap();
    assert_eq!(lineage.split(id(0), HashKey::new(9), last), Err(too_late));
}

#[test]
fn generations_within_one_millisecond_are_told_apart_by_the_last() {
    let mut lineage = Lineage::new(1, seconds(0)).unwrap();
    lineage.halve(0, seconds(10));
    lineage.halve(1, seconds(10));
    lineage.join(4, 2, seconds(10));
    let at = |time| ids(lineage.select(&ShardFilter::AtTimestamp(time), Timestamp::EPOCH));
    assert_eq!(at(millis(9_999)), [0]);
    assert_eq!(at(millis(10_000)), [3, 5]);
    let created: Vec<_> = lineage
        .shards()
        .map(|shard| shard.created_seconds - seconds(0).as_seconds())
        .collect();
    assert_eq!(created, [0, 11, 11, 12, 12, 13]);
}

#[test]
fn numbers_rise_over_a_reshard_though_the_clock_goes_back() {
    let mut lineage = Lineage::new(1, seconds(100)).unwrap();
    lineage.halve(0, seconds(50));
    lineage.join(1, 2, seconds(0));
    let [root, low, high, child] = [0, 1, 2, 3].map(|index| lineage.shard(id(index)).unwrap());
    assert!(root.ending_sequence_number().unwrap() < low.starting_sequence_number());
    assert!(low.ending_sequence_number().unwrap() < child.starting_sequence_number());
    assert!(high.ending_sequence_number().unwrap() < child.starting_sequence_number());
    assert_eq!(lineage.check(), Ok(()));
}

#[test]
fn filters_choose_as_kinesis_does() {
    let lineage = split_and_merged();
    let select = |filter, horizon| ids(lineage.select(&filter, horizon));
    let forever = Timestamp::EPOCH;

    assert_eq!(select(ShardFilter::FromTrimHorizon, forever), [0, 1, 2, 3, 4]);
    assert_eq!(select(ShardFilter::FromTrimHorizon, millis(10_001)), [1, 2, 3, 4]);

    assert_eq!(select(ShardFilter::AtTrimHorizon, forever), [0, 1]);
    assert_eq!(select(ShardFilter::AtTrimHorizon, millis(9_999)), [0, 1]);
    assert_eq!(select(ShardFilter::AtTrimHorizon, seconds(10)), [1, 2, 3]);
    assert_eq!(select(ShardFilter::AtTrimHorizon, seconds(20)), [2, 4]);

    assert_eq!(select(ShardFilter::AtLatest, forever), [2, 4]);

    assert_eq!(
        select(ShardFilter::AtTimestamp(Timestamp::EPOCH), forever),
        [0, 1]
    );
    assert_eq!(
        select(ShardFilter::AtTimestamp(millis(10_000)), forever),
        [1, 2, 3]
    );
    assert_eq!(
        select(ShardFilter::AtTimestamp(millis(19_999)), forever),
        [1, 2, 3]
    );
    assert_eq!(
        select(ShardFilter::AtTimestamp(millis(5_000)), millis(10_500)),
        [1, 2, 3]
    );
    assert_eq!(select(ShardFilter::AtTimestamp(Timestamp::MAX), forever), [2, 4]);

    assert_eq!(
        select(ShardFilter::FromTimestamp(Timestamp::EPOCH), forever),
        [0, 1, 2, 3, 4]
    );
    assert_eq!(
        select(ShardFilter::FromTimestamp(seconds(10)), forever),
        [0, 1, 2, 3, 4]
    );
    assert_eq!(
        select(ShardFilter::FromTimestamp(millis(10_001)), forever),
        [1, 2, 3, 4]
    );
    assert_eq!(
        select(ShardFilter::FromTimestamp(Timestamp::EPOCH), millis(10_001)),
        [1, 2, 3, 4]
    );

    assert_eq!(select(ShardFilter::AfterShardId(id(2)), forever), [3, 4]);
    assert_eq!(select(ShardFilter::AfterShardId(id(9)), forever), [0; 0]);
}

#[test]
fn closed_shards_expire_and_their_children_go_on_naming_them() {
    let mut lineage = split_and_merged();
    assert_eq!(ids(lineage.expired(seconds(20))), [0]);
    assert_eq!(ids(lineage.expired(seconds(21))), [0, 1, 3]);

    assert_eq!(
        lineage.expire(id(4)),
        Err(LineageError::ShardOpen { shard: id(4) })
    );
    assert_eq!(
        lineage.expire(id(3)),
        Err(LineageError::ParentListed {
            shard: id(3),
            parent: id(0)
        })
    );
    assert_eq!(lineage.expire(id(0)).unwrap().id, id(0));
    assert_eq!(
        lineage.expire(id(0)),
        Err(LineageError::UnknownShard { shard: id(0) })
    );

    assert_eq!(lineage.shard(id(2)).unwrap().parent, Some(id(0)));
    assert_eq!(ids(lineage.roots()), [1, 2, 3]);
    assert_eq!(ids(lineage.parents_of(id(2))), [0; 0]);
    assert_eq!(lineage.check(), Ok(()));
}

#[test]
fn generations_that_have_expired_give_way_to_the_oldest_that_has_not() {
    let mut lineage = split_and_merged();
    lineage.expire(id(0)).unwrap();
    for filter in [ShardFilter::AtTrimHorizon, ShardFilter::AtTimestamp(seconds(5))] {
        assert_eq!(ids(lineage.select(&filter, Timestamp::EPOCH)), [1, 2, 3]);
    }
}

#[test]
fn an_empty_lineage_routes_nothing() {
    let empty = Lineage::default();
    assert!(empty.is_empty() && empty.route(HashKey::MIN).is_none());
    assert_eq!(empty.check(), Ok(()));
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, bincode::config::standard().with_fixed_int_encoding()).unwrap()
}

pub(super) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    bincode::serde::decode_from_slice(bytes, bincode::config::standard().with_fixed_int_encoding())
        .map(|(value, _)| value)
        .map_err(|error| error.to_string())
}

#[test]
fn a_lineage_is_read_back_as_it_was_written() {
    let mut lineage = split_and_merged();
    lineage.expire(id(0)).unwrap();
    let read: Lineage = decode(&encode(&lineage)).unwrap();
    assert_eq!(read, lineage);
    assert_eq!(read.route(HashKey::MAX).unwrap().id, id(4));
    assert_eq!(decode(&encode(&Lineage::default())), Ok(Lineage::default()));

    let split = lineage.split(id(2), HashKey::new(1000), seconds(30)).unwrap();
    assert_eq!(decode(&encode(&split)), Ok(split));
}

type Damage = fn(&mut Lineage);

#[test]
fn a_damaged_lineage_is_refused() {
    let damages: [(Damage, &str); 11] = [
        (
            |lineage| lineage.next_index = 4,
            "a shard's id has not been given out",
        ),
        (
            |lineage| edit(lineage, 2, |shard| shard.parent = Some(id(2))),
            "a shard is older than its parent",
        ),
        (
            |lineage| edit(lineage, 4, |shard| shard.parent = None),
            "a shard has an adjacent parent but no other one",
        ),
        (
            |lineage| edit(lineage, 0, |shard| shard.closed = None),
            "an open shard has children",
        ),
        (
            |lineage| edit(lineage, 0, |shard| shard.created = seconds(11)),
            "a shard's sequence numbers are behind its creation",
        ),
        (
            |lineage| edit(lineage, 0, |shard| shard.created_seconds += 99),
            "a shard closes before it is created",
        ),
        (
            |lineage| edit(lineage, 2, |shard| shard.created = seconds(9)),
            "a shard does not begin when its parent ends",
        ),
        (
            |lineage| edit(lineage, 4, |shard| shard.created_seconds -= 1),
            "a shard's sequence numbers are not above its parent's",
        ),
        (
            |lineage| edit(lineage, 2, |shard| shard.parent = None),
            "a closed shard's range is not that of its children",
        ),
        (
            |lineage| remove(lineage, 4),
            "a closed shard's range is not that of its children",
        ),
        (
            |lineage| remove(lineage, 0),
            "its oldest shards do not tile the hash space",
        ),
    ];
    for (damage, expected) in damages {
        let mut lineage = split_and_merged();
        damage(&mut lineage);
        assert_eq!(
            lineage.check(),
            Err(LineageError::Inconsistent { reason: expected })
        );
        let read = decode::<Lineage>(&encode(&lineage));
        assert!(read.is_err_and(|error| error.contains(expected)), "{expected}");
    }
}

fn edit(lineage: &mut Lineage, index: u32, change: fn(&mut Shard)) {
    change(lineage.shards.get_mut(&id(index)).unwrap());
}

fn remove(lineage: &mut Lineage, index: u32) {
    lineage.shards.remove(&id(index)).unwrap();
}
