//! Puts beside a split that hangs in the disk, on a server with a single async worker.

use std::path::Path;
use std::thread;

use anabranch::kinesis::{Server, ServerOptions};
use anabranch::sim::{Operation, SimDisk};
use anabranch::{HashKey, ShardId, StoreOptions};
use anabranch_harness::http1::Client;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::test_server::{ACCOUNT, REGION};

fn put(stream: &str) -> Value {
    json!({"StreamName": stream, "PartitionKey": "k", "Data": "aGk="})
}

fn put_two(stream: &str) -> Value {
    let record = |key: u128| json!({"PartitionKey": "k", "Data": "aGk=", "ExplicitHashKey": key.to_string()});
    json!({"StreamName": stream, "Records": [record(0), record(u128::MAX)]})
}

#[test]
fn a_split_that_hangs_keeps_no_worker_from_other_requests() {
    let disk = SimDisk::new(1);
    let store = StoreOptions::new()
        .keeper(false)
        .disk(disk.clone())
        .open(Path::new("/store"))
        .unwrap();
    let options = ServerOptions::new("127.0.0.1:0");
    let streams = store.namespace(&format!("{ACCOUNT}/{REGION}")).unwrap();
    for name in ["splitting", "other"] {
        streams.create_stream(name, 2).unwrap();
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Server::bind(store.clone(), options)).unwrap();
    let address = server.local_addr();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(server.run_until(async {
        let _ = stopped.await;
    }));
    for name in ["splitting", "other"] {
        Client::connect(address).call("PutRecords", &put_two(name)).ok();
    }

    let stall = disk.stall_next(Operation::SyncData, "MANIFEST");
    let splitting = streams.stream("splitting").unwrap();
    let split =
        thread::spawn(move || splitting.split_shard(ShardId::new(0).unwrap(), HashKey::new(1 << 100)));
    stall.wait_until_reached();
    let mut held_up: Vec<_> = [
        ("PutRecord", put("splitting")),
        ("PutRecords", put_two("splitting")),
    ]
    .into_iter()
    .map(|(operation, input)| thread::spawn(move || Client::connect(address).call(operation, &input).ok()))
    .collect();
    for _ in 0..10 {
        Client::connect(address).call("PutRecord", &put("other")).ok();
        Client::connect(address)
            .call("PutRecords", &put_two("other"))
            .ok();
    }
    assert!(
        !split.is_finished(),
        "the split hangs for as long as it is told to"
    );
    drop(stall);
    split.join().unwrap().unwrap();
    for reply in held_up.drain(..) {
        reply.join().unwrap();
    }
    stop.send(()).unwrap();
    runtime.block_on(running).unwrap();
}
