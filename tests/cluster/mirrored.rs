//! `anabranch mirror` into a store on a cluster, and out of it.

use std::path::Path;

use anabranch::{HashKey, ShardFilter, StartingPosition, Store, Stream};

use crate::{Cluster, PROGRAM};

const NAMESPACE: &str = "000000000000/us-east-1";

fn stream(store: &Store) -> Stream {
    store.namespace(NAMESPACE).unwrap().stream("clicks").unwrap()
}

fn texts(store: &Store) -> Vec<String> {
    let reader = stream(store).reader(StartingPosition::TrimHorizon).unwrap();
    let text = |record: anabranch::Record| String::from_utf8(record.data.to_vec()).unwrap();
    reader.map(|record| text(record.unwrap())).collect()
}

fn mirror(cluster: &Cluster, directory: &Path, places: [&str; 2]) {
    let [source, target] = places;
    let checkpoint = directory.join(format!("{}.mirror", target.len()));
    let ran = PROGRAM
        .command()
        .args(["mirror", source, "clicks", target, "--checkpoint"])
        .arg(checkpoint)
        .args(["--engine-monitor", &cluster.nodes.monitors().join(",")])
        .args(["--replicas", &cluster.nodes.len().to_string()])
        .output()
        .unwrap();
    let error = String::from_utf8(ran.stderr).unwrap();
    assert_eq!((ran.status.code(), error.as_str()), (Some(0), ""));
}

#[test]
fn a_stream_comes_to_a_cluster_and_back() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let [data, back] = ["data", "back"].map(|name| directory.path().join(name));
    let expected: Vec<_> = (0..900).map(|number| number.to_string()).collect();
    let store = Store::open(&data).unwrap();
    let made = store
        .namespace(NAMESPACE)
        .unwrap()
        .create_stream("clicks", 1)
        .unwrap();
    for (place, text) in expected.iter().enumerate() {
        made.put("k", text.as_bytes()).unwrap();
        if place == 300 {
            let first = made.shards(&ShardFilter::AtLatest).unwrap()[0].id;
            made.split_shard(first, HashKey::MAX / 5).unwrap();
        }
    }
    store.close().unwrap();

    let url = format!("{}/copies", cluster.nodes.url());
    mirror(&cluster, directory.path(), [data.to_str().unwrap(), &url]);
    let copies = anabranch::StoreOptions::new();
    let copies = copies
        .open_jetstream(&cluster.at().store_name("copies").unwrap())
        .unwrap();
    assert_eq!(texts(&copies), expected);
    let shards = stream(&copies).shards(&ShardFilter::AtLatest).unwrap();
    assert_eq!(shards.len(), 2);
    copies.close().unwrap();

    mirror(&cluster, directory.path(), [&url, back.to_str().unwrap()]);
    assert_eq!(texts(&Store::open(&back).unwrap()), expected);
}
