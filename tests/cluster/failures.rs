//! Servers that are killed while records are put.

use anabranch::HashKey;

use crate::Cluster;
use crate::load::Load;

#[test]
fn every_acknowledged_record_is_there_once_when_leaders_are_killed_and_shards_split() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    let stream = store.create_stream("clicks", 3).unwrap();
    let load = Load::begin(&stream, 6);
    load.wait_for(200);
    for round in 0..3 {
        let name = if round == 1 {
            "AB_main_catalog"
        } else {
            "AB_main_1"
        };
        let leader = cluster.nodes.leader_of(name);
        cluster.nodes.kill(leader);
        // Right away, so that both come into the time without a leader.
        let open = stream.shards(&anabranch::ShardFilter::AtLatest).unwrap();
        let range = open[0].hash_key_range;
        let middle = range.start().value() + (range.end().value() - range.start().value()) / 2 + 1;
        stream.split_shard(open[0].id, HashKey::new(middle)).unwrap();
        load.wait_for(200);
        cluster.nodes.begin(leader);
        cluster.nodes.wait_until_ready();
        load.wait_for(200);
    }
    let acknowledged = load.end();
    acknowledged.check(&stream);
    store.close().unwrap();
    let store = cluster.open();
    acknowledged.check(&store.stream("clicks").unwrap());
    store.close().unwrap();
}

#[test]
fn every_acknowledged_record_is_there_once_when_all_servers_are_killed() {
    let Some(mut cluster) = Cluster::of_three() else {
        return;
    };
    let store = cluster.open();
    let stream = store.create_stream("clicks", 4).unwrap();
    let load = Load::begin(&stream, 4);
    load.wait_for(300);
    cluster.restart();
    load.wait_for(300);
    let acknowledged = load.end();
    acknowledged.check(&stream);
    store.close().unwrap();
    cluster.restart();
    let store = cluster.open();
    let stream = store.stream("clicks").unwrap();
    acknowledged.check(&stream);
    stream.put("key-0", b"18446744073709551615").unwrap();
    acknowledged.check(&stream);
    store.close().unwrap();
}
