//! `anabranch serve --engine`: the program on a cluster.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use anabranch_harness::http1::Client;
use serde_json::json;

use crate::{Cluster, PROGRAM};

pub struct Served {
    child: Child,
    pub address: String,
}

impl Served {
    pub fn begin(arguments: &[&str]) -> Served {
        let mut child = PROGRAM
            .command()
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("Ctrl-C") {
            if out.read_line(&mut said).unwrap() == 0 {
                let mut log = String::new();
                child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
                panic!("it does not serve: {said}\n{log}");
            }
        }
        let address = said.split_once("http://").unwrap().1;
        let address = address.split(['"', ' ', '\n', '/']).next().unwrap().to_owned();
        Served { child, address }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address.parse().unwrap())
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn engine(cluster: &Cluster) -> Vec<String> {
    vec![
        "--engine".to_owned(),
        cluster.nodes.url(),
        "--engine-monitor".to_owned(),
        cluster.nodes.monitors().join(","),
    ]
}

#[test]
fn a_server_on_a_cluster_is_killed_and_the_next_one_has_its_records() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let engine = engine(&cluster);
    let arguments: Vec<_> = engine.iter().map(String::as_str).collect();
    let first = Served::begin(&arguments);
    let mut client = first.client();
    client.ok(
        "CreateStream",
        &json!({ "StreamName": "clicks", "ShardCount": 1 }),
    );
    let put = json!({ "StreamName": "clicks", "PartitionKey": "user-42", "Data": "Zmlyc3Q=" });
    let number = client.ok("PutRecord", &put)["SequenceNumber"].clone();

    let second = PROGRAM.command().arg("serve").args(&arguments).output().unwrap();
    let refused = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(3), "{refused}");
    assert!(
        refused.contains("another server has the store main on the cluster open"),
        "{refused}"
    );
    assert!(refused.contains("--engine-store"), "{refused}");

    first.kill();
    let leader = cluster.nodes.leader_of("AB_main_1");
    cluster.nodes.kill(leader);
    let next = Served::begin(&arguments);
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
    let (status, said) = run(&["--engine", "nats://127.0.0.1:1"]);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("the cluster did not let the client in"), "{said}");
}
