//! The owner is gone, stopped, or ends: another server takes its place, and no record is lost or doubled.

use std::sync::atomic::{AtomicBool, Ordering};

use anabranch_harness::wait::wait_until;
use serde_json::json;

use crate::Cluster;
use crate::forwarding::Subscription;
use crate::http_load::{HttpLoad, check};
use crate::process::Served;

/// Servers that have found each other, of which the first is the owner, and a stream.
fn begin(cluster: &Cluster, count: usize) -> Vec<Served> {
    let servers: Vec<_> = (0..count).map(|_| Served::begin(cluster, &[])).collect();
    assert!(servers[0].is_owner());
    for other in &servers[1..] {
        assert_eq!(other.health()["role"], "forwarding");
        assert_eq!(other.health()["owner"], servers[0].url());
    }
    servers[1].client().ok(
        "CreateStream",
        &json!({ "StreamName": "clicks", "ShardCount": 3 }),
    );
    servers
}

fn addresses(servers: &[Served]) -> Vec<std::net::SocketAddr> {
    servers.iter().map(|server| server.address).collect()
}

/// Stops all of them, and looks at what the store has.
fn end(cluster: &Cluster, servers: Vec<Served>, load: HttpLoad) {
    let acknowledged = load.end();
    servers.into_iter().for_each(Served::stop);
    let store = cluster.open();
    check(&acknowledged, &store);
    store.close().unwrap();
}

#[test]
fn nothing_that_was_acknowledged_is_lost_or_doubled_when_owners_are_killed_in_turn() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let mut servers = begin(&cluster, 3);
    let load = HttpLoad::begin(&addresses(&servers), 6);
    for _ in 0..2 {
        load.wait_for(200);
        let mut owner = None;
        wait_until("there is an owner", || {
            owner = servers.iter().position(Served::is_owner);
            owner.is_some()
        });
        servers.remove(owner.unwrap()).kill();
    }
    load.wait_for(200);
    assert!(servers[0].is_owner());
    end(&cluster, servers, load);
}

#[test]
fn an_owner_that_was_stopped_passes_calls_on_once_it_goes_on() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let servers = begin(&cluster, 2);
    // Those that have the owner itself have puts in hand when it stops.
    let load = HttpLoad::begin(&addresses(&servers), 8);
    load.wait_for(200);
    servers[0].signal("STOP");
    wait_until("the other one is the owner", || servers[1].is_owner());
    load.wait_for(200);
    servers[0].signal("CONT");
    wait_until("the first one passes calls on", || {
        let health = servers[0].health();
        health["role"] == "forwarding" && health["owner"] == servers[1].url()
    });
    assert!(servers[0].log().contains("this server has the store no more"));
    load.wait_for(200);
    end(&cluster, servers, load);
}

/// A client of a server that stays sees a pause and no error.
#[test]
fn an_owner_that_ends_in_order_is_followed_at_once_and_no_call_fails() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let mut servers = begin(&cluster, 2);
    // As many as it takes for some to be sent at the moment when the owner closes its connections.
    let load = HttpLoad::begin(&addresses(&servers[1..]), 16);
    load.wait_for(400);
    servers.remove(0).stop();
    load.wait_for(100);
    assert!(servers[0].is_owner());
    assert_eq!(load.refused(), 0);
    end(&cluster, servers, load);
}

/// A connection on which records of a queue were received last is still one on which a call may be on its way.
#[test]
fn no_call_fails_behind_one_that_received_records_when_an_owner_ends_in_order() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let mut servers = begin(&cluster, 2);
    // Refused at once. One of a queue that is there waits for records.
    let receive = json!({ "QueueARN": "arn:aws:kinesis:eu-west-1:000000000000:queue/none" });
    let load = HttpLoad::begin_between(
        &addresses(&servers[1..]),
        16,
        Some(&("ReceiveQueueRecords", receive)),
    );
    load.wait_for(400);
    servers.remove(0).stop();
    load.wait_for(100);
    assert!(servers[0].is_owner());
    assert_eq!(load.refused(), 0);
    end(&cluster, servers, load);
}

/// What is not sent waits: a call that comes while there is no owner is answered by the next one.
#[test]
fn a_call_that_comes_while_there_is_no_owner_waits_for_the_next_one() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let mut servers = begin(&cluster, 2);
    servers.remove(0).kill();
    let mut client = servers[0].client();
    let described = client.ok("DescribeStreamSummary", &json!({ "StreamName": "clicks" }));
    assert_eq!(described["StreamDescriptionSummary"]["OpenShardCount"], 3);
    assert!(servers[0].is_owner());
}

#[test]
fn two_servers_that_begin_at_once_agree_on_one_owner() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let servers: Vec<_> = std::thread::scope(|scope| {
        let begun: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| Served::begin(&cluster, &[])))
            .collect();
        begun.into_iter().map(|begun| begun.join().unwrap()).collect()
    });
    wait_until("all know the same owner", || {
        let known: Vec<_> = servers
            .iter()
            .map(|server| server.health()["owner"].clone())
            .collect();
        known[0].is_string() && known.iter().all(|owner| *owner == known[0])
    });
    assert_eq!(servers.iter().filter(|server| server.is_owner()).count(), 1);
}

#[test]
fn of_two_servers_that_split_a_shard_at_once_one_does_it() {
    let Some(cluster) = Cluster::of_three() else {
        return;
    };
    let servers = begin(&cluster, 2);
    let load = HttpLoad::begin(&addresses(&servers), 4);
    load.wait_for(50);
    for round in 0..3 {
        let shards = servers[0]
            .client()
            .ok("ListShards", &json!({ "StreamName": "clicks" }));
        let mut listed = shards["Shards"].as_array().unwrap().iter();
        let open = listed
            .rfind(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null())
            .unwrap();
        let key = |name: &str| -> u128 { open["HashKeyRange"][name].as_str().unwrap().parse().unwrap() };
        let middle = key("StartingHashKey") + (key("EndingHashKey") - key("StartingHashKey")) / 2 + 1;
        let split = json!({
            "StreamName": "clicks", "ShardToSplit": open["ShardId"], "NewStartingHashKey": middle.to_string(),
        });
        let go = AtomicBool::new(false);
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = servers
                .iter()
                .map(|server| {
                    let (split, go, mut client) = (&split, &go, server.client());
                    scope.spawn(move || {
                        while !go.load(Ordering::Acquire) {
                            std::hint::spin_loop();
                        }
                        let reply = client.call("SplitShard", split);
                        if reply.status != 200 {
                            let (kind, _) = reply.refusal();
                            assert!(
                                ["ResourceInUseException", "InvalidArgumentException"]
                                    .contains(&kind.as_str()),
                                "{kind}"
                            );
                        }
                        reply.status
                    })
                })
                .collect();
            go.store(true, Ordering::Release);
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        assert_eq!(
            statuses.iter().filter(|status| **status == 200).count(),
            1,
            "{statuses:?}"
        );
        let described = servers[1]
            .client()
            .ok("DescribeStreamSummary", &json!({ "StreamName": "clicks" }));
        assert_eq!(described["StreamDescriptionSummary"]["OpenShardCount"], 4 + round);
        load.wait_for(50);
    }
    end(&cluster, servers, load);
}

/// A subscription through a server that stays is broken off when the owner is gone, and can be made again.
#[test]
fn a_subscription_is_broken_off_when_the_owner_is_killed() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let mut servers = begin(&cluster, 2);
    let mut subscription = Subscription::begin(&servers[1], "app");
    subscription.wait_for("SubscribeToShardEvent");
    servers.remove(0).kill();
    assert!(!subscription.ends_in_order());
    Subscription::begin(&servers[0], "app").wait_for("SubscribeToShardEvent");
    assert!(servers[0].is_owner());
}
