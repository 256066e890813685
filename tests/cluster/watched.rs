//! What a server on a cluster tells those who watch it.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use anabranch::StoreOptions;
use anabranch_harness::wait::wait_until;
use serde_json::json;

use crate::Cluster;
use crate::process::Served;

/// The status and the body of a page.
fn page(served: &Served, path: &str) -> (u16, String) {
    let mut connection = TcpStream::connect(served.address).unwrap();
    write!(
        connection,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

fn number(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics
        .lines()
        .find(|line| line.split([' ', '{']).next() == Some(name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

fn serve(cluster: &Cluster) -> Served {
    Served::begin(cluster, &[])
}

#[test]
fn the_numbers_of_a_cluster_are_those_of_its_page() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let served = serve(&cluster);
    let mut client = served.client();
    client.ok(
        "CreateStream",
        &json!({ "StreamName": "clicks", "ShardCount": 1 }),
    );
    let put = json!({ "StreamName": "clicks", "PartitionKey": "user-42", "Data": "Zmlyc3Q=" });
    for _ in 0..5 {
        client.ok("PutRecord", &put);
    }
    let (status, metrics) = page(&served, "/metrics");
    assert_eq!(status, 200);
    // At least one for each of the records, which were put one after the other.
    assert!(
        number(&metrics, "anabranch_cluster_append_duration_seconds_count") >= Some(5.0),
        "{metrics}"
    );
    assert_eq!(number(&metrics, "anabranch_cluster_fenced"), Some(0.0));
    assert_eq!(
        number(&metrics, "anabranch_cluster_unanswered_seconds"),
        Some(0.0)
    );
    assert_eq!(page(&served, "/health").0, 200);
    served.kill();

    // A stream that was there when the store was opened is known with its servers.
    let served = serve(&cluster);
    let (_, metrics) = page(&served, "/metrics");
    assert_eq!(
        number(&metrics, "anabranch_stream_current_replicas"),
        Some(1.0),
        "{metrics}"
    );
    assert_eq!(number(&metrics, "anabranch_cluster_missing_replicas"), Some(0.0));
    let is_of_cluster = |name: &&str| name.starts_with("anabranch_cluster_") || name.contains("_replica");
    let told: BTreeSet<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(is_of_cluster)
        .collect();
    let documented = include_str!("../../docs/cluster.md").lines();
    let documented: BTreeSet<_> = documented
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(is_of_cluster)
        .collect();
    assert_eq!(told, documented);
}

#[test]
fn a_server_whose_store_was_taken_is_not_well() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let served = serve(&cluster);
    let health = served.health();
    assert_eq!(
        (&health["status"], &health["role"]),
        (&json!("ok"), &json!("owner"))
    );
    let second = StoreOptions::new()
        .open_jetstream(&cluster.at().take_over())
        .unwrap();
    // It takes no calls, so that there is no owner to pass them on to.
    wait_until("it is told", || page(&served, "/health").1.contains("no owner"));
    assert_eq!(page(&served, "/health").0, 503);
    let (_, metrics) = page(&served, "/metrics");
    assert_eq!(number(&metrics, "anabranch_owner"), Some(0.0));
    second.close().unwrap();
    wait_until("it has the store again", || served.is_owner());
}

#[test]
fn a_server_whose_cluster_does_not_answer_is_not_well_until_it_does() {
    let Some(mut cluster) = Cluster::of_one() else {
        return;
    };
    let served = serve(&cluster);
    cluster.nodes.kill(0);
    wait_until("it is told", || {
        page(&served, "/health").1.contains("unreachable")
    });
    assert_eq!(page(&served, "/health").0, 503);
    let (_, metrics) = page(&served, "/metrics");
    assert!(
        number(&metrics, "anabranch_cluster_unanswered_seconds") >= Some(10.0),
        "{metrics}"
    );
    cluster.nodes.begin(0);
    wait_until("it is well again", || page(&served, "/health").0 == 200);
}
