//! Random histories of a stream, and the invariants that hold at every moment of them.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;

use super::tests::{decode, encode, id, ids, seconds};
use super::*;

/// One thing that happens to a stream.
#[derive(Clone, Debug)]
enum Step {
    Split { shard: Index, key: u128 },
    Merge { first: Index },
    Clock { forward: bool, millis: u64 },
    Expire { retention_millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let millis = prop_oneof![Just(0), 0..1_500u64, 0..100_000u64];
    prop_oneof![
        4 => (any::<Index>(), any::<u128>()).prop_map(|(shard, key)| Step::Split { shard, key }),
        4 => any::<Index>().prop_map(|first| Step::Merge { first }),
        4 => (prop::bool::weighted(0.8), millis).prop_map(|(forward, millis)| Step::Clock { forward, millis }),
        1 => (0..200_000u64).prop_map(|retention_millis| Step::Expire { retention_millis }),
    ]
}

/// Does a step as far as it is possible, and returns the time after it.
fn take(lineage: &mut Lineage, step: &Step, now: Timestamp) -> Timestamp {
    let mut open: Vec<Shard> = lineage.open_shards().cloned().collect();
    open.sort_by_key(|shard| shard.hash_key_range.start());
    match step {
        Step::Split { shard, key } => {
            let shard = shard.get(&open);
            let (start, end) = (
                shard.hash_key_range.start().value(),
                shard.hash_key_range.end().value(),
            );
            let key = HashKey::new(start + key % (end - start).saturating_add(1).max(1));
            let refused = shard.hash_key_range.split_at(key).is_err();
            match lineage.split(shard.id, key, now) {
                Ok(split) => lineage.apply_reshard(&split).unwrap(),
                Err(error) => assert!(refused, "{error}"),
            }
        }
        Step::Merge { first } => {
            let first = first.index(open.len());
            if let [first, second, ..] = &open[first..] {
                lineage.join(first.id.index(), second.id.index(), now);
            }
        }
        Step::Clock {
            forward: true,
            millis,
        } => return now.saturating_add(Duration::from_millis(*millis)),
        Step::Clock {
            forward: false,
            millis,
        } => return now.saturating_sub(Duration::from_millis(*millis)),
        Step::Expire { retention_millis } => {
            let horizon = now.saturating_sub(Duration::from_millis(*retention_millis));
            for shard in ids(lineage.expired(horizon)) {
                lineage.expire(id(shard)).unwrap();
            }
        }
    }
    now
}

fn assert_generation(shards: &[&Shard], what: &str) {
    let mut ranges: Vec<_> = shards.iter().map(|shard| shard.hash_key_range).collect();
    ranges.sort_by_key(HashKeyRange::start);
    assert!(
        HashKeyRange::FULL.is_tiled_by(ranges),
        "{what} does not tile: {shards:?}"
    );
    let chosen: BTreeSet<_> = shards.iter().map(|shard| shard.id).collect();
    let parents: BTreeSet<_> = shards.iter().flat_map(|shard| shard.parents()).collect();
    assert!(
        chosen.is_disjoint(&parents),
        "{what} has a parent and its child: {shards:?}"
    );
    assert!(
        shards.is_sorted_by_key(|shard| shard.id),
        "{what} is out of order"
    );
}

/// Checks every invariant of the lineage, without the lineage's own code for them.
fn assert_invariants(lineage: &Lineage, now: Timestamp) {
    assert_eq!(lineage.check(), Ok(()));

    let open: Vec<_> = lineage.open_shards().collect();
    assert_generation(&open, "the open shards");
    assert_eq!(lineage.open_shard_count() as usize, open.len());
    for shard in &open {
        for key in [shard.hash_key_range.start(), shard.hash_key_range.end()] {
            assert_eq!(lineage.route(key).map(|owner| owner.id), Some(shard.id));
        }
    }

    for shard in lineage.shards() {
        assert!(shard.parents().all(|parent| parent < shard.id));
        for parent in lineage.parents_of(shard.id) {
            assert!(parent.ending_sequence_number().unwrap() < shard.starting_sequence_number());
        }
        assert_eq!(lineage.children(shard.id).next().is_none(), shard.is_open());
        let is_child = |other: &&Shard| other.parents().any(|parent| parent == shard.id);
        assert!(lineage.children(shard.id).eq(lineage.shards().filter(is_child)));
    }

    let moments = lineage
        .shards()
        .flat_map(|shard| [Some(shard.created), shard.closed.map(|closed| closed.at)]);
    let mut times: Vec<_> = moments.flatten().collect();
    times.extend([Timestamp::EPOCH, now, Timestamp::MAX]);
    let horizons = [Timestamp::EPOCH, now.saturating_sub(Duration::from_secs(30)), now];
    for time in times {
        for near in [time.saturating_sub(Duration::from_millis(1)), time] {
            for horizon in horizons {
                let what = format!("the generation at {near:?} with {horizon:?}");
                assert_generation(&lineage.select(&ShardFilter::AtTimestamp(near), horizon), &what);
            }
            let is_expired = |shard: &&Shard| shard.is_expired(near);
            assert!(lineage.expired(near).eq(lineage.shards().filter(is_expired)));
            let what = format!("the generation at the horizon {near:?}");
            assert_generation(&lineage.select(&ShardFilter::AtTrimHorizon, near), &what);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_invariant_holds_through_any_history(
        count in 1..5u32,
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut now = seconds(0);
        let mut lineage = Lineage::new(count, now).unwrap();
        for step in &steps {
            now = take(&mut lineage, step, now);
            assert_invariants(&lineage, now);
        }
        prop_assert_eq!(decode(&encode(&lineage)), Ok(lineage));
    }

    #[test]
    fn while_the_clock_goes_forward_a_generation_is_what_was_open_then(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (start, mut now) = (seconds(0), seconds(0));
        let mut lineage = Lineage::new(2, start).unwrap();
        let mut history = vec![];
        for step in steps {
            match step {
                Step::Expire { .. } => continue,
                Step::Clock { millis, .. } => {
                    history.push((now, ids(lineage.open_shards())));
                    now = now.saturating_add(Duration::from_millis(millis.max(1)));
                }
                step => now = take(&mut lineage, &step, now),
            }
        }
        history.push((now, ids(lineage.open_shards())));
        for (time, open) in history {
            let filter = ShardFilter::AtTimestamp(time);
            prop_assert_eq!(&ids(lineage.select(&filter, Timestamp::EPOCH)), &open);
            prop_assert_eq!(&ids(lineage.select(&ShardFilter::AtTrimHorizon, time)), &open);
        }
        let all: Vec<_> = lineage.select(&ShardFilter::FromTrimHorizon, start).into_iter().collect();
        prop_assert_eq!(all.len(), lineage.shards().len());
        prop_assert!(lineage.expired(now.saturating_add(Duration::from_secs(3600))).all(|shard| !shard.is_open()));
    }
}
