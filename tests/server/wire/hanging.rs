//! A disk that hangs: puts beside a split, on a server with a single async worker, and the reports to people who run
//! the server.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anabranch::kinesis::{Server, ServerOptions};
use anabranch::sim::{Operation, SimDisk};
use anabranch::{HashKey, ManualClock, ShardId, StoreOptions};
use anabranch_harness::http1::{Client, Head};
use anabranch_harness::listening::heard_by;
use anabranch_harness::wait::wait_until;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::test_server::{ACCOUNT, REGION, START};

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

/// A log that is kept in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// For how many seconds the sync had hung, at each log line.
    fn told(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().filter(|line| line.contains("a sync has not ended"));
        lines
            .map(|line| line.split_once("seconds=").unwrap().1.to_owned())
            .collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sync_that_hangs_is_told_while_it_does() {
    let disk = SimDisk::new(1);
    let clock = ManualClock::starting_at(START);
    let store = StoreOptions::new()
        .keeper(false)
        .clock(clock.clone())
        .disk(disk.clone())
        .open(Path::new("/store"))
        .unwrap();
    let streams = store.namespace(&format!("{ACCOUNT}/{REGION}")).unwrap();
    let stream = streams.create_stream("clicks", 1).unwrap();
    let log = Log::default();
    let (kept, served) = (log.clone(), store.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    // The log of this thread is kept.
    let serving = thread::spawn(move || {
        let listener = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || kept.clone())
            .finish();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let serve = async {
            let server = Server::bind(served, ServerOptions::new("127.0.0.1:0")).await;
            let server = server.unwrap();
            tell.send(server.local_addr()).unwrap();
            server.run_until(async { drop(stopped.await) }).await;
        };
        heard_by(listener, || runtime.block_on(serve));
    });
    let address = told.recv().unwrap();
    let get = |uri: &str| {
        let head = Head {
            method: "GET",
            uri,
            headers: Vec::new(),
        };
        Client::connect(address).send(&head, b"")
    };
    let gauge = || {
        let metrics = get("/metrics");
        let mut lines = metrics.text().lines();
        let value = lines.find_map(|line| line.strip_prefix("anabranch_oldest_sync_seconds "));
        value.unwrap().parse::<f64>().unwrap()
    };
    stream.put("k", b"data").unwrap();
    assert_eq!(gauge(), 0.0);

    let stall = disk.stall_next(Operation::SyncData, "");
    let putting = thread::spawn(move || stream.put("k", b"data"));
    stall.wait_until_reached();
    clock.advance(Duration::from_millis(9_999));
    assert_eq!(get("/health").status, 200);
    assert_eq!(gauge(), 9.999);
    clock.advance(Duration::from_millis(1));
    let health = get("/health");
    assert_eq!(health.status, 503);
    assert_eq!(health.json(), json!({"status": "failing", "reasons": ["stuck"]}));
    wait_until("the log has it", || log.told() == ["10"]);
    clock.advance(Duration::from_secs(15));
    wait_until("the log has it again", || log.told() == ["10", "25"]);
    assert!(!putting.is_finished());
    drop(stall);
    putting.join().unwrap().unwrap();
    let health = get("/health");
    assert_eq!((health.status, gauge()), (200, 0.0));
    assert_eq!(log.told(), ["10", "25"]);
    stop.send(()).unwrap();
    serving.join().unwrap();
}
