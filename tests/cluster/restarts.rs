//! What a store has when it is opened again: all of it, whichever of its parts it is in.

use std::time::Duration;

use anabranch::{
    Clock, Error, HashKey, ManualClock, PutRecord, QueueOptions, ReadLimit, ReceiveOptions, ShardId,
    SizeLimits, StartingPosition, Store, StoreOptions, Stream, Timestamp,
};

use crate::Cluster;

const HOUR: Duration = Duration::from_secs(3_600);

fn clock() -> ManualClock {
    ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000))
}

fn open(cluster: &Cluster, clock: &ManualClock) -> Store {
    let options = StoreOptions::new().clock(clock.clone()).keeper(false);
    options.open_jetstream(&cluster.at()).unwrap()
}

fn count(store: &Store, stream: &str) -> usize {
    let stream = store.stream(stream).unwrap();
    let records = stream.reader(StartingPosition::TrimHorizon).unwrap();
    records.map(Result::unwrap).count()
}

/// How many messages the servers have of a stream.
fn messages(cluster: &Cluster, stream: &str) -> Option<u64> {
    let streams = cluster.nodes.streams();
    let found = streams.iter().find(|detail| detail["name"] == stream)?;
    found["state"]["messages"].as_u64()
}

#[test]
fn records_positions_and_lineage_outlive_the_store_and_the_servers() {
    let Some(mut cluster) = Cluster::of_one() else {
        return;
    };
    let store = cluster.open();
    let stream = store.create_stream("clicks", 2).unwrap();
    let records: Vec<_> = (0..300)
        .map(|number: u32| (format!("key-{number}"), number.to_string()))
        .collect();
    let puts: Vec<_> = records
        .iter()
        .map(|(key, data)| PutRecord::new(key, data.as_bytes()))
        .collect();
    let put = stream.put_records(&puts).unwrap();
    stream
        .split_shard(put[0].shard_id, middle_of(&stream, put[0].shard_id))
        .unwrap();
    stream.put_records(&puts).unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.by_ref().take(250).for_each(|record| drop(record.unwrap()));
    reader.save_checkpoint("half-way").unwrap();
    drop(reader);
    store.close().unwrap();
    cluster.restart();

    let store = cluster.open();
    let stream = store.stream("clicks").unwrap();
    assert_eq!(count(&store, "clicks"), 600);
    let rest = stream
        .resume_reader("half-way", StartingPosition::Latest)
        .unwrap();
    assert_eq!(rest.map(Result::unwrap).count(), 350);
    let at = StartingPosition::AtSequenceNumber(put[7].sequence_number);
    let from = stream.shard_iterator(put[7].shard_id, at).unwrap();
    let read = stream.get_records(&from, &ReadLimit::default()).unwrap();
    assert_eq!(read.records[0].sequence_number, put[7].sequence_number);
    assert_eq!(read.records[0].data, "7");
    let next = stream.put("key-0", b"later").unwrap();
    assert!(next.sequence_number > put[0].sequence_number);
    store.close().unwrap();
}

fn middle_of(stream: &Stream, shard: ShardId) -> HashKey {
    let shards = stream.describe().unwrap().shards;
    let range = shards.iter().find(|of| of.id == shard).unwrap().hash_key_range;
    HashKey::new(range.start().value() + (range.end().value() - range.start().value()) / 2 + 1)
}

#[test]
fn a_moment_is_found_and_what_has_expired_is_freed() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let clock = clock();
    let store = open(&cluster, &clock);
    let stream = store.create_stream("clicks", 1).unwrap();
    let mut moments = Vec::new();
    for hour in 0..40 {
        moments.push(clock.now());
        stream.put("key", format!("hour {hour}").as_bytes()).unwrap();
        clock.advance(HOUR);
        store.maintain().unwrap();
    }
    store.close().unwrap();
    let store = open(&cluster, &clock);
    let stream = store.stream("clicks").unwrap();
    for hour in [17, 25, 39] {
        let at = StartingPosition::AtTimestamp(moments[hour]);
        let first = stream.reader(at).unwrap().next().unwrap().unwrap();
        assert_eq!(first.data, format!("hour {hour}"));
    }
    let kept = count(&store, "clicks");
    assert!((24..=26).contains(&kept), "{kept}");
    clock.advance(HOUR);
    store.maintain().unwrap();
    let left = messages(&cluster, "AB_main_1").unwrap();
    assert!(left <= 28, "{left} messages are there");
    // All goes but the last frame, which is hidden, and the probe.
    for _ in 0..60 {
        clock.advance(HOUR);
        store.maintain().unwrap();
    }
    assert_eq!(count(&store, "clicks"), 0);
    assert_eq!(messages(&cluster, "AB_main_1"), Some(2));
    stream.put("key", b"after all").unwrap();
    assert_eq!(count(&store, "clicks"), 1);
    store.close().unwrap();
}

#[test]
fn a_limit_of_size_frees_the_oldest_and_a_deleted_stream_all() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let clock = clock();
    let store = open(&cluster, &clock);
    let stream = store.create_stream("clicks", 1).unwrap();
    stream
        .set_size_limits(SizeLimits {
            stream_bytes: Some(50_000),
            shard_bytes: None,
        })
        .unwrap();
    for _ in 0..200 {
        stream.put("key", &[7; 1_000]).unwrap();
    }
    clock.advance(Duration::from_secs(60));
    store.maintain().unwrap();
    let kept = count(&store, "clicks");
    assert!((49..=70).contains(&kept), "{kept}");
    clock.advance(Duration::from_secs(60));
    store.maintain().unwrap();
    let left = messages(&cluster, "AB_main_1").unwrap();
    assert!((49..=70).contains(&left), "{left}");

    stream.delete().unwrap();
    assert!(matches!(
        stream.put("key", b"too late"),
        Err(Error::StreamNotFound { .. })
    ));
    assert_eq!(messages(&cluster, "AB_main_1"), None);
    let again = store.create_stream("clicks", 1).unwrap();
    again.put("key", b"of the second").unwrap();
    assert_eq!(count(&store, "clicks"), 1);
    store.close().unwrap();
}

#[test]
fn a_queue_goes_on_where_it_was() {
    let Some(mut cluster) = Cluster::of_one() else {
        return;
    };
    let store = cluster.open();
    let stream = store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("workers", &QueueOptions::default()).unwrap();
    for job in 0..10 {
        stream.put("key", format!("job {job}").as_bytes()).unwrap();
    }
    let received = queue.receive(&at_most(4)).unwrap();
    assert_eq!(received.len(), 4);
    let receipts: Vec<_> = received.into_iter().map(|record| record.receipt).collect();
    let acknowledged = queue.acknowledge(&receipts).unwrap();
    assert!(acknowledged.iter().all(Result::is_ok));
    drop(queue);
    store.close().unwrap();
    cluster.restart();
    let store = cluster.open();
    let stream = store.stream("jobs").unwrap();
    let queue = stream.queue("workers").unwrap();
    let rest = queue.receive(&at_most(10)).unwrap();
    assert_eq!(rest.len(), 6);
    assert_eq!(rest[0].record.data, "job 4");
    queue.delete().unwrap();
    assert!(queue.receive(&at_most(1)).is_err());
    store.close().unwrap();
}

fn at_most(records: usize) -> ReceiveOptions {
    ReceiveOptions {
        limit: ReadLimit {
            records,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    }
}

#[test]
fn an_edit_log_is_compacted_and_read_again() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let store = cluster.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    let large = vec![b'x'; 60_000];
    for round in 0..60_u32 {
        let mut value = large.clone();
        value.extend_from_slice(round.to_string().as_bytes());
        stream.set_attribute("policy", Some(&value)).unwrap();
    }
    let left = messages(&cluster, "AB_main_catalog").unwrap();
    assert!(left < 40, "{left} messages are in the catalog");
    store.close().unwrap();
    let store = cluster.open();
    let stream = store.stream("clicks").unwrap();
    let value = stream.attribute("policy").unwrap().unwrap();
    assert!(value.ends_with(b"59"));
    store.close().unwrap();
}
