//! `anabranch serve --engine`: the program on a cluster.

use anabranch_harness::wait::wait_until;
use serde_json::json;

use crate::process::Served;
use crate::{Cluster, PROGRAM};

#[test]
fn a_server_on_a_cluster_is_killed_and_the_next_one_has_its_records() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let first = Served::begin(&cluster, &[]);
    let mut client = first.client();
    client.ok(
        "CreateStream",
        &json!({ "StreamName": "clicks", "ShardCount": 1 }),
    );
    let put = json!({ "StreamName": "clicks", "PartitionKey": "user-42", "Data": "Zmlyc3Q=" });
    let number = client.ok("PutRecord", &put)["SequenceNumber"].clone();

    first.kill();
    let leader = cluster.nodes.leader_of("AB_main_1");
    cluster.nodes.kill(leader);
    let next = Served::begin(&cluster, &[]);
    wait_until("the next one has the store", || next.health()["role"] == "owner");
    let mut client = next.client();
    let shard = json!({
        "StreamName": "clicks", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON",
    });
    let iterator = client.ok("GetShardIterator", &shard)["ShardIterator"].clone();
    let read = client.ok("GetRecords", &json!({ "ShardIterator": iterator }));
    assert_eq!(read["Records"][0]["SequenceNumber"], number);
    assert_eq!(read["Records"][0]["Data"], "Zmlyc3Q=");
    client.ok("PutRecord", &put);
}

/// It takes no calls that another server could pass on.
#[test]
fn a_program_with_the_library_that_has_the_store_is_named_as_what_it_is() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let store = cluster.open();
    let refused = PROGRAM
        .command()
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(cluster.options())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(
        said.contains("another server has the store main on the cluster open")
            && said.contains("--engine-store"),
        "{said}"
    );
    store.close().unwrap();
}

#[test]
fn options_of_a_cluster_are_checked_before_anything_is_done() {
    let run = |arguments: &[&str]| {
        let output = PROGRAM.command().arg("serve").args(arguments).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for (arguments, why) in [
        (&["--engine", "http://a"][..], "nats://HOST"),
        (&["--engine-store", "other"], "--engine"),
        (&["--advertise", "http://a:1"], "--engine"),
        (
            &["--engine", "nats://a", "--data-dir", "d"],
            "cannot be used with",
        ),
        (&["--engine", "nats://a", "--ephemeral"], "cannot be used with"),
        (&["--engine", "nats://a", "--read-only"], "cannot be used with"),
        (&["--engine", "nats://a", "--keys", "keys"], "cannot be used with"),
    ] {
        let (status, said) = run(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
    let (status, said) = run(&["--engine", "nats://127.0.0.1:1", "--replicas", "2"]);
    assert!(status != Some(0) && said.contains("1, 3 or 5"), "{said}");
    let at = |more: &[&str]| run(&[&["--engine", "nats://127.0.0.1:1", "--listen"], more].concat());
    for address in ["a:1", "http://a:1/b", "https://a:1"] {
        let (status, said) = at(&["127.0.0.1:0", "--advertise", address]);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains("--advertise"), "{said}");
    }
    let (status, said) = at(&["0.0.0.0:0", "--allow-unsigned-beyond-loopback"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("--advertise http://HOST:PORT"), "{said}");
    let (status, said) = at(&["127.0.0.1:0"]);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("the cluster did not let the client in"), "{said}");
}
