//! What `anabranch verify --engine` finds on the servers of a cluster.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anabranch::{ClusterVerification, Error, PutRecord, ReplicaDamage, ReplicaFinding, Store};
use anabranch_harness::wait::wait_until;
use serde_json::Value;

use crate::load::Load;
use crate::{Cluster, run};

fn verify(cluster: &Cluster) -> ClusterVerification {
    cluster.at().verify(&mut |_| {}).unwrap()
}

fn damage(verification: &ClusterVerification) -> Vec<&ReplicaFinding> {
    verification
        .findings
        .iter()
        .filter(|finding| finding.is_damage())
        .collect()
}

/// Two streams, a split, a queue and several frames in each shard.
pub fn fill(store: &Store) {
    for name in ["clicks", "orders"] {
        let stream = store.create_stream(name, 2).unwrap();
        for number in 0..40 {
            let data = format!("data of {name} {number:04}");
            stream.put(&format!("key-{number}"), data.as_bytes()).unwrap();
        }
        let shard = stream.describe().unwrap().shards[0].id;
        stream.split_in_half(shard).unwrap();
        let records: Vec<_> = (0..100).map(|_| PutRecord::new("key", b"of a group")).collect();
        stream.put_records(&records).unwrap();
    }
}

/// Changes a bit of the only block that has these bytes.
fn flip_a_bit(directory: &Path, text: &str) {
    let mut blocks = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => directories.push(path),
                // What Raft has is another copy.
                false if path.to_str().unwrap().contains("_js_") => {}
                false => blocks.push(path),
            }
        }
    }
    let mut flipped = 0;
    for path in blocks {
        let mut bytes = fs::read(&path).unwrap();
        let found = bytes
            .windows(text.len())
            .position(|window| window == text.as_bytes());
        if let Some(at) = found {
            bytes[at] ^= 1;
            let block = fs::File::options().write(true).open(&path).unwrap();
            block.write_all_at(&bytes[at..=at], at as u64).unwrap();
            flipped += 1;
        }
    }
    assert_eq!(flipped, 1, "{text}");
}

#[test]
fn a_store_is_sound_on_all_servers_also_while_it_is_written() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let nothing = cluster.at().verify(&mut |_| {}).unwrap_err();
    assert!(matches!(nothing, Error::NotAStore { .. }), "{nothing}");
    let store = cluster.open();
    fill(&store);
    let verification = verify(&cluster);
    assert_eq!(damage(&verification), [] as [&ReplicaFinding; 0]);
    let checked = verification.checked;
    assert_eq!((checked.streams, checked.records), (3, 280));
    // A server may have got the last ones a moment later.
    assert!((2 * checked.messages..=3 * checked.messages).contains(&checked.copies));

    let load = Load::begin(&store.stream("clicks").unwrap(), 3);
    load.wait_for(50);
    let verification = verify(&cluster);
    assert_eq!(damage(&verification), [] as [&ReplicaFinding; 0]);
    assert!(verification.checked.records >= 330);
    load.end();
    store.close().unwrap();
    let (status, said, error) = run(&["verify"], &cluster.options());
    assert_eq!(status, Some(0), "{said}{error}");
    assert!(
        said.contains("The store is sound on all of its servers."),
        "{said}"
    );
}

/// A leader that was just chosen has not heard all of its servers yet.
#[test]
fn a_server_that_is_heard_late_is_waited_for() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    let leader = cluster.nodes.leader_of("AB_main_catalog");
    let [late, other] = [1, 2].map(|step| (leader + step) % 3);
    let at = cluster.at_servers(&[leader, other]);
    cluster.nodes.pause(late);
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"data")
        .unwrap();
    let verification = std::thread::scope(|scope| {
        let verified = scope.spawn(|| at.verify(&mut |_| {}).unwrap());
        // The verification has asked the leader by then; if not, the server is only heard in time.
        std::thread::sleep(std::time::Duration::from_secs(2));
        cluster.nodes.resume(late);
        verified.join().unwrap()
    });
    assert_eq!(damage(&verification), [] as [&ReplicaFinding; 0]);
    store.close().unwrap();
}

#[test]
fn a_flipped_bit_is_found_on_the_server_that_has_it() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    fill(&store);
    store.close().unwrap();
    flip_a_bit(cluster.nodes.directory(1), "data of orders 0007");
    flip_a_bit(cluster.nodes.directory(1), "data of clicks 0000");
    let mut found = ClusterVerification::default();
    // What it has just written it has in memory, for some seconds.
    wait_until("the server reads its disk", || {
        found = verify(&cluster);
        damage(&found).len() == 2
    });
    let damage = damage(&found);
    let told: Vec<_> = damage
        .iter()
        .map(|finding| {
            (
                finding.server.as_deref(),
                finding.stream.as_str(),
                finding.messages,
            )
        })
        .collect();
    assert_eq!(
        told,
        [(Some("n2"), "AB_main_1", 1), (Some("n2"), "AB_main_2", 1)],
        "{damage:?}"
    );
    assert!(damage[1].log.ends_with("of orders"), "{damage:?}");

    let (status, said, _) = run(&["verify"], &cluster.options());
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("n2: ") && said.contains("of orders") && said.contains("Next: "),
        "{said}"
    );
    let (status, said, _) = run(&["verify", "--json"], &cluster.options());
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &said["sound"]), (Some(1), &false.into()));
    assert_eq!(said["findings"][0]["server"], "n2");
    assert_eq!(said["findings"][0]["meaning"], "missing");
}

#[test]
fn a_message_that_is_on_no_server_is_found_by_the_ones_around_it() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let store = cluster.open();
    fill(&store);
    store.close().unwrap();
    assert_eq!(damage(&verify(&cluster)), [] as [&ReplicaFinding; 0]);
    let delete = |stream: &str, sequence: u64| {
        let body = format!("{{\"seq\":{sequence}}}");
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{stream}");
        let answer = cluster.nodes.request(&subject, &body);
        assert_eq!(answer["success"], true, "{answer}");
    };
    let found = |stream: &str, asked: &str| {
        let subject = format!("$JS.API.STREAM.MSG.GET.{stream}");
        let answer = cluster.nodes.request(&subject, asked);
        answer["message"]["seq"].as_u64().unwrap()
    };
    // In the middle, the first of a log, and its end: the seal of the shard that was split, and the last of its records.
    let middle = found("AB_main_1", r#"{"next_by_subj":"ab.main.1.s.0","seq":15}"#);
    let first = found("AB_main_2", r#"{"next_by_subj":"ab.main.2.s.0","seq":1}"#);
    delete("AB_main_1", middle);
    delete("AB_main_2", first);
    for _ in 0..2 {
        let last = found("AB_main_2", r#"{"last_by_subj":"ab.main.2.s.0"}"#);
        delete("AB_main_2", last);
    }
    let verification = verify(&cluster);
    let damage = damage(&verification);
    assert_eq!(damage.len(), 3, "{damage:?}");
    for finding in damage {
        assert_eq!(
            (&finding.damage, &finding.server),
            (&ReplicaDamage::Missing, &None),
            "{finding}"
        );
    }
}

#[test]
fn a_server_that_is_down_is_said_not_to_have_been_read() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    fill(&store);
    cluster.nodes.kill(0);
    wait_until("it is not read", || {
        let verification = verify(&cluster);
        let is_unread = |finding: &&&ReplicaFinding| {
            finding.server.as_deref() == Some("n1") && finding.damage == ReplicaDamage::Unread
        };
        let damage = damage(&verification);
        damage.len() == 3 && damage.iter().filter(is_unread).count() == 3
    });
    drop(store);
}

#[test]
fn a_store_is_shown_beside_the_server_that_has_it() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let store = cluster.open();
    fill(&store);
    let stream = store.stream("orders").unwrap();
    let put = stream.put("key-3", b"the last one").unwrap();
    let dump = |arguments: &[&str]| {
        let (status, said, error) = run(&[&["dump", "--json"], arguments].concat(), &cluster.options());
        assert_eq!(status, Some(0), "{error}");
        let items = said.lines().map(|line| serde_json::from_str(line).unwrap());
        items.collect::<Vec<Value>>()
    };
    let records = dump(&["--what", "records"]);
    assert_eq!(records.len(), 281);
    let of_orders = dump(&["--what", "records", "--stream", "orders"]);
    assert_eq!(of_orders.len(), 141);
    let last = of_orders
        .iter()
        .find(|record| record["data"] == "dGhlIGxhc3Qgb25l");
    let last = last.unwrap();
    assert_eq!(last["sequence_number"], put.sequence_number.to_string());
    assert_eq!(last["partition_key"], "key-3");
    assert_eq!(last["shard"], put.shard_id.to_string());
    assert!(
        last["file"]
            .as_str()
            .unwrap()
            .starts_with("AB_main_2 ab.main.2.s.")
    );
    assert_eq!(dump(&["--what", "records", "--limit", "7"]).len(), 7);
    let shards = dump(&["--what", "lineage"]);
    assert_eq!(shards.len(), 8);
    assert_eq!(
        shards.iter().filter(|shard| shard["closed"].is_string()).count(),
        2
    );
    let edits = dump(&["--what", "manifest"]);
    assert_eq!(edits[0]["kind"], "StoreCreated");
    for what in ["segments", "frames"] {
        let (status, _, said) = run(&["dump", "--what", what], &cluster.options());
        assert!(status == Some(2) && said.contains("has no files"), "{said}");
    }
    let (status, _, said) = run(&["dump", "--stream", "unknown"], &cluster.options());
    assert!(status == Some(2) && said.contains("unknown"), "{said}");
    store.close().unwrap();
}

#[test]
fn a_tool_is_given_a_directory_or_a_cluster() {
    let cluster = ["--engine".to_owned(), "nats://127.0.0.1:1".to_owned()];
    let (status, _, said) = run(&["verify", "somewhere"], &cluster);
    assert!(
        status == Some(2) && said.contains("cannot be used with a directory"),
        "{said}"
    );
    let (status, _, said) = run(&["verify"], &[]);
    assert!(status == Some(2) && said.contains("there is no store"), "{said}");
    let (status, _, said) = run(&["verify"], &cluster);
    assert!(
        status == Some(2) && said.contains("did not let the client in"),
        "{said}"
    );
}
