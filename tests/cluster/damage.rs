//! Servers whose disks are damaged: a bit of one message is another one.

use anabranch::{Error, StartingPosition, Store, StoreOptions};
use anabranch_harness::nats::Nodes;
use serde_json::json;

use crate::Cluster;

/// Damages the last message on a subject, on the disk of a server that does not run.
fn damage_last(nodes: &Nodes, place: usize, stream: &str, subject: &str) {
    let messages = nodes
        .directory(place)
        .join("jetstream/$G/streams")
        .join(stream)
        .join("msgs");
    let files = std::fs::read_dir(messages)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut blocks: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "blk"))
        .collect();
    blocks.sort();
    let has_subject = blocks.into_iter().rev().find_map(|block| {
        let bytes = std::fs::read(&block).unwrap();
        let found = bytes
            .windows(subject.len())
            .rposition(|window| window == subject.as_bytes())?;
        Some((block, bytes, found + subject.len() + 5))
    });
    let (block, mut bytes, at) = has_subject.unwrap();
    bytes[at] ^= 1;
    std::fs::write(block, bytes).unwrap();
}

/// As the leader of a stream finds the last message.
fn is_found_by_leader(nodes: &Nodes, stream: &str, subject: &str) -> bool {
    let asked = json!({ "last_by_subj": subject }).to_string();
    let answer = nodes.request(&format!("$JS.API.STREAM.MSG.GET.{stream}"), &asked);
    answer["error"].is_null()
}

/// Has a server lead a stream of which it does not find the last message.
fn have_damaged_leader(cluster: &mut Cluster, stream: &str, subject: &str) {
    let damaged = (cluster.nodes.leader_of(stream) + 1) % 3;
    cluster.nodes.end(damaged);
    damage_last(&cluster.nodes, damaged, stream, subject);
    cluster.nodes.begin(damaged);
    cluster.nodes.wait_until_ready();
    cluster.nodes.lead(stream, damaged);
    assert!(!is_found_by_leader(&cluster.nodes, stream, subject));
}

fn records(store: &Store) -> Vec<String> {
    let stream = store.stream("clicks").unwrap();
    let records = stream.reader(StartingPosition::TrimHorizon).unwrap();
    let text = |record: anabranch::Record| String::from_utf8(record.data.to_vec()).unwrap();
    records.map(|record| text(record.unwrap())).collect()
}

#[test]
fn a_leader_that_does_not_find_the_last_record_of_a_shard_is_not_believed() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    let mut expected: Vec<_> = (0..10).map(|number| format!("record {number}")).collect();
    for record in &expected {
        stream.put("key", record.as_bytes()).unwrap();
    }
    store.close().unwrap();
    have_damaged_leader(&mut cluster, "AB_main_1", "ab.main.1.s.0");
    let store = cluster.open();
    assert_eq!(records(&store), expected);
    // The leader does not know behind what this goes, and another one has to lead.
    store.stream("clicks").unwrap().put("key", b"behind").unwrap();
    expected.push("behind".to_owned());
    assert_eq!(records(&store), expected);
    store.close().unwrap();
    let store = cluster.open();
    assert_eq!(records(&store), expected);
    store.close().unwrap();
}

#[test]
fn no_new_store_takes_the_place_of_one_whose_leader_is_damaged() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    let id = store.id();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"record 0")
        .unwrap();
    store.close().unwrap();
    have_damaged_leader(&mut cluster, "AB_main_catalog", "ab.main.catalog.edits");
    let store = cluster.open();
    assert_eq!(store.id(), id);
    assert_eq!(records(&store), ["record 0"]);
    store.create_stream("orders", 1).unwrap();
    store.close().unwrap();
}

#[test]
fn what_no_server_has_whole_is_reported_and_not_taken_for_nothing() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"record 0").unwrap();
    store.close().unwrap();
    damage_everywhere(&mut cluster, "AB_main_1", "ab.main.1.s.0");
    let store = cluster.open();
    let stream = store.stream("clicks").unwrap();
    let refused = stream.put("key", b"in its place").unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    store.close().unwrap();
    damage_everywhere(&mut cluster, "AB_main_catalog", "ab.main.catalog.edits");
    let refused = StoreOptions::new().open_jetstream(&cluster.at()).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}

fn damage_everywhere(cluster: &mut Cluster, stream: &str, subject: &str) {
    (0..3).for_each(|place| cluster.nodes.end(place));
    for place in 0..3 {
        damage_last(&cluster.nodes, place, stream, subject);
    }
    (0..3).for_each(|place| cluster.nodes.begin(place));
    cluster.nodes.wait_until_ready();
    cluster.nodes.leader_of(stream);
}

#[test]
fn a_stream_that_is_gone_from_the_cluster_is_reported() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let store = cluster.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"record 0").unwrap();
    store.close().unwrap();
    cluster.nodes.request("$JS.API.STREAM.DELETE.AB_main_1", "");
    let store = cluster.open();
    let refused = store
        .stream("clicks")
        .unwrap()
        .put("key", b"record 1")
        .unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    store.close().unwrap();
    cluster.nodes.request("$JS.API.STREAM.PURGE.AB_main_catalog", "");
    let refused = StoreOptions::new().open_jetstream(&cluster.at()).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}
