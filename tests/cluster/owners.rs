//! One opener at a time: a second is refused, and one that was cut off writes nothing more.

use anabranch::{Error, HashKey, StartingPosition, StoreOptions};
use anabranch_harness::wait::wait_until;

use crate::Cluster;

#[test]
fn a_second_opener_is_refused_while_the_first_answers() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let first = cluster.open();
    let refused = StoreOptions::new().open_jetstream(&cluster.at()).unwrap_err();
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");
    assert_eq!(
        refused.to_string(),
        "another server has the store main on the cluster open: one at a time can"
    );
    // Another store is another matter.
    let other = cluster.at().store_name("other").unwrap();
    let other = StoreOptions::new().open_jetstream(&other).unwrap();
    assert_ne!(other.id(), first.id());
    other.close().unwrap();
    let id = first.id();
    first.close().unwrap();
    let second = cluster.open();
    assert_eq!(second.id(), id);
    second.close().unwrap();
}

/// The first does not know that it was taken for gone.
#[test]
fn an_opener_that_was_cut_off_loses_nothing_and_writes_nothing_more() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let options = StoreOptions::new().keeper(false);
    let first = options.open_jetstream(&cluster.at()).unwrap();
    let of_first = first.create_stream("clicks", 2).unwrap();
    for number in 0..20 {
        of_first.put(&format!("key-{number}"), b"of the first").unwrap();
    }
    let second = options.open_jetstream(&cluster.at().take_over()).unwrap();
    let of_second = second.stream("clicks").unwrap();
    // It does not know of the second yet. This is acknowledged, so the second finds it.
    let late = of_first.put("late", b"of the first");
    let put = of_second.put("late", b"of the second").unwrap();
    // Now it has to look at where the log ends, and learns it.
    let fenced = of_first.put("late", b"too late").unwrap_err();
    assert!(matches!(fenced, Error::Fenced { .. }), "{fenced}");
    assert!(late.unwrap().sequence_number < put.sequence_number);
    for refused in [
        of_first.put("other", b"too late").map(drop),
        of_first.split_shard(put.shard_id, HashKey::new(7)),
        first.create_stream("orders", 1).map(drop),
        of_first.delete(),
        first.maintain(),
    ] {
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
    }
    let records = of_second.reader(StartingPosition::TrimHorizon).unwrap();
    let records: Vec<_> = records.map(Result::unwrap).collect();
    assert_eq!(records.len(), 22);
    assert!(records.iter().all(|record| record.data != "too late"));
    let _ = first.close();
    of_second.put("late", b"goes on").unwrap();
    second.close().unwrap();
}

/// What the first puts into a shard that the second has split would be seen by no reader.
#[test]
fn an_opener_that_was_cut_off_puts_nothing_into_a_shard_that_was_split() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let options = StoreOptions::new().keeper(false);
    let first = options.open_jetstream(&cluster.at()).unwrap();
    let of_first = first.create_stream("clicks", 1).unwrap();
    let second = options.open_jetstream(&cluster.at().take_over()).unwrap();
    let of_second = second.stream("clicks").unwrap();
    let shard = of_second.describe().unwrap().shards[0].id;
    of_second.split_in_half(shard).unwrap();
    let fenced = of_first.put("key", b"too late").unwrap_err();
    assert!(matches!(fenced, Error::Fenced { .. }), "{fenced}");
    drop(first.close());
    second.close().unwrap();
}

/// Nor into one that it had not used yet: the first look at where that ends shows the seal.
#[test]
fn an_opener_that_was_cut_off_puts_nothing_behind_a_seal_that_it_finds() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let options = StoreOptions::new().keeper(false);
    let earlier = options.open_jetstream(&cluster.at()).unwrap();
    let stream = earlier.create_stream("clicks", 1).unwrap();
    stream.put("key", b"record 0").unwrap();
    earlier.close().unwrap();
    let first = options.open_jetstream(&cluster.at()).unwrap();
    let of_first = first.stream("clicks").unwrap();
    let second = options.open_jetstream(&cluster.at().take_over()).unwrap();
    let of_second = second.stream("clicks").unwrap();
    let shard = of_second.describe().unwrap().shards[0].id;
    of_second.split_in_half(shard).unwrap();
    let fenced = of_first.put("key", b"too late").unwrap_err();
    assert!(matches!(fenced, Error::Fenced { .. }), "{fenced}");
    let records = of_second.reader(StartingPosition::TrimHorizon).unwrap();
    assert_eq!(records.map(Result::unwrap).count(), 1);
    drop(first.close());
    second.close().unwrap();
}

/// With its keeper, an opener learns it of itself.
#[test]
fn an_opener_that_puts_nothing_finds_out_too() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let first = cluster.open();
    let second = StoreOptions::new()
        .open_jetstream(&cluster.at().take_over())
        .unwrap();
    wait_until("the first is told", || {
        matches!(first.create_stream("clicks", 1), Err(Error::Fenced { .. }))
    });
    let _ = first.close();
    second.close().unwrap();
}
