//! Clusters to which records are not entrusted, and options that do not go together.

use std::time::{Duration, Instant};

use anabranch::{Error, InvalidArgument, JetStream, StoreOptions};
use anabranch_harness::nats::Setup;

use crate::Cluster;

fn refusal(at: &JetStream) -> Error {
    StoreOptions::new().open_jetstream(at).unwrap_err()
}

#[track_caller]
fn assert_unfit(at: &JetStream, why: &str) {
    let refused = refusal(at);
    assert!(matches!(refused, Error::ClusterUnfit { .. }), "{refused}");
    assert!(refused.to_string().contains(why), "{refused}");
}

#[test]
fn servers_that_do_not_sync_are_refused_unless_the_caller_vouches_for_them() {
    let setup = Setup {
        sync_interval: "2m",
        ..Setup::default()
    };
    let Some(cluster) = Cluster::of(1, setup) else {
        return;
    };
    assert_unfit(&cluster.at(), "n1 does not sync what it acknowledges");
    let vouched = cluster.at().trust_sync();
    StoreOptions::new()
        .open_jetstream(&vouched)
        .unwrap()
        .close()
        .unwrap();
    // Nor is it opened where they cannot be asked.
    let unknown = cluster.at().monitors(&["http://127.0.0.1:1"]).unwrap();
    assert_unfit(&unknown, "it is not known whether the servers sync");
    let no_monitor = cluster
        .at()
        .monitors(&[cluster.nodes.url().replace("nats", "http")])
        .unwrap();
    assert_unfit(&no_monitor, "it is no monitor of nats-server");
}

#[test]
fn messages_that_are_too_small_for_the_largest_record_are_refused() {
    let setup = Setup {
        max_payload: "8MB",
        ..Setup::default()
    };
    let Some(cluster) = Cluster::of(1, setup) else {
        return;
    };
    assert_unfit(&cluster.at(), "set max_payload: 16MB");
}

#[test]
fn a_server_without_jetstream_is_refused() {
    let setup = Setup {
        has_jetstream: false,
        ..Setup::default()
    };
    let Some(cluster) = Cluster::of(1, setup) else {
        return;
    };
    assert_unfit(&cluster.at().trust_sync(), "JetStream does not answer");
    assert_unfit(&cluster.at(), "JetStream");
}

#[test]
fn fewer_replicas_than_are_asked_for_are_refused() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let three = cluster.at().replicas(3).unwrap();
    assert_unfit(&three, "cannot be made on 3 servers");
    cluster.open().close().unwrap();
    assert_unfit(&three, "has 1 replicas, and 3 are asked for");
    cluster.open().close().unwrap();
}

#[test]
fn wrong_credentials_are_refused() {
    let setup = Setup {
        user_and_password: Some(("me", "secret")),
        ..Setup::default()
    };
    let Some(cluster) = Cluster::of(1, setup) else {
        return;
    };
    let with = |user: &str| {
        let url = cluster.nodes.url().replace("://", &format!("://{user}@"));
        let at = JetStream::at(&url).unwrap().replicas(1).unwrap();
        at.monitors(&cluster.nodes.monitors()).unwrap()
    };
    for wrong in [cluster.at(), with("me:wrong"), with("you:secret")] {
        let refused = refusal(&wrong);
        assert!(matches!(refused, Error::Cluster { .. }), "{refused}");
        assert!(
            refused.to_string().contains("refused the credentials"),
            "{refused}"
        );
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
    let store = StoreOptions::new().open_jetstream(&with("me:secret")).unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"let in")
        .unwrap();
    store.close().unwrap();
    let no_file = cluster.at().credentials_file("/nowhere/me.creds");
    assert!(matches!(refusal(&no_file), Error::Io { .. }));
}

#[test]
fn a_cluster_that_is_down_is_refused_in_time() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    cluster.open().close().unwrap();
    (0..3).for_each(|place| cluster.nodes.kill(place));
    let began = Instant::now();
    let refused = refusal(&cluster.at());
    assert!(matches!(refused, Error::Cluster { .. }), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(20));
    // One of three is no majority.
    cluster.nodes.begin(0);
    let began = Instant::now();
    let refused = refusal(&cluster.at());
    assert!(
        matches!(refused, Error::Cluster { .. } | Error::ClusterUnfit { .. }),
        "{refused}"
    );
    assert!(began.elapsed() < Duration::from_secs(60));
    cluster.nodes.begin(1);
    cluster.nodes.wait_until_ready();
    // Two of three are.
    cluster.open().close().unwrap();
}

#[test]
fn streams_of_another_program_are_left_alone() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    make_foreign_stream(&cluster, "ORDERS", "ab.main.orders");
    assert_unfit(&cluster.at(), "the stream ORDERS was made by another program");
    let other = cluster.at().store_name("other").unwrap();
    StoreOptions::new()
        .open_jetstream(&other)
        .unwrap()
        .close()
        .unwrap();
    make_foreign_stream(&cluster, "AB_third_catalog", "orders");
    let third = cluster.at().store_name("third").unwrap();
    assert_unfit(&third, "already in use");
    // A stream of the name that a stream of the store would have.
    make_foreign_stream(&cluster, "AB_fourth_1", "other-orders");
    let fourth = cluster.at().store_name("fourth").unwrap();
    let store = StoreOptions::new().open_jetstream(&fourth).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    let refused = stream.put("key", b"nowhere to go").unwrap_err();
    assert!(matches!(refused, Error::ClusterUnfit { .. }), "{refused}");
    stream.delete().unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"here")
        .unwrap();
    store.close().unwrap();
    let names: Vec<_> = cluster
        .nodes
        .streams()
        .iter()
        .map(|stream| stream["name"].clone())
        .collect();
    assert!(names.iter().any(|name| name == "AB_fourth_1"), "{names:?}");
}

/// As a program would that is not this one.
fn make_foreign_stream(cluster: &Cluster, name: &str, subject: &str) {
    use std::io::{BufRead, BufReader, Write};
    let address = cluster.nodes.url().replace("nats://", "");
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    let body = format!("{{\"name\":\"{name}\",\"subjects\":[\"{subject}\"],\"storage\":\"file\"}}");
    let subject = format!("$JS.API.STREAM.CREATE.{name}");
    write!(
        connection,
        "CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {}\r\n{body}\r\n",
        body.len()
    )
    .unwrap();
    let answer = BufReader::new(connection)
        .lines()
        .map(Result::unwrap)
        .find(|line| line.starts_with('{'));
    assert!(!answer.as_ref().unwrap().contains("\"error\""), "{answer:?}");
}

#[test]
fn what_a_store_on_a_cluster_cannot_do_is_refused() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let read_only = StoreOptions::new().read_only(true).open_jetstream(&cluster.at());
    assert!(matches!(
        read_only.unwrap_err(),
        Error::InvalidArgument(InvalidArgument::ClusterOption { .. })
    ));
    let store = cluster.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    assert!(matches!(
        store.snapshot(directory.path().join("copy")).unwrap_err(),
        Error::InvalidArgument(InvalidArgument::SnapshotOfCluster)
    ));
    let large = vec![7; 5 << 20];
    let records: Vec<_> = (0..3).map(|_| anabranch::PutRecord::new("key", &large)).collect();
    stream.set_max_record_bytes(10 << 20).unwrap();
    assert!(matches!(
        stream.put_records(&records),
        Err(Error::BatchTooLarge { .. })
    ));
    let many = vec![anabranch::PutRecord::new("key", b""); 16_384];
    assert!(matches!(
        stream.put_records(&many),
        Err(Error::InvalidArgument(InvalidArgument::RecordsAtOnce { .. }))
    ));
    stream.put_records(&many[1..]).unwrap();
    let largest = vec![7; (10 << 20) - 3];
    stream.put("key", &largest).unwrap();
    store.close().unwrap();
    // Whose last frame is the largest.
    let store = cluster.open();
    let stream = store.stream("clicks").unwrap();
    stream.put("key", b"behind it").unwrap();
    let mut records = stream.reader(anabranch::StartingPosition::TrimHorizon).unwrap();
    let records: Vec<_> = records.by_ref().map(Result::unwrap).collect();
    assert_eq!(records.len(), 16_385);
    assert_eq!(records[16_383].data.len(), largest.len());
    store.close().unwrap();
}
