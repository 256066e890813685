//! A server in this process, on its own store and clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "nats")]
use anabranch::JetStream;
use anabranch::kinesis::{Server, ServerGauges, ServerOptions};
use anabranch::{Delivery, KeyRing, ManualClock, Memory, Namespace, Store, StoreOptions, Timestamp};
use anabranch_harness::files::quick_parent;
use anabranch_harness::http1::{Client, Reply};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[cfg(feature = "nats")]
use super::cluster;

/// `Thu Jan 22 01:22:02 UTC 2015`
pub const START: Timestamp = Timestamp::from_millis(1_421_889_722_000);
pub const ACCOUNT: &str = "000000000000";
/// The region that a [`Client`] signs for.
pub const REGION: &str = "eu-west-1";

/// The backend of the store of a test's server.
#[derive(Clone, Copy, Debug)]
pub enum Backend {
    Directory,
    Memory,
    #[cfg(feature = "nats")]
    Cluster,
}

/// Makes tests of functions with a backend as parameter: one for each.
macro_rules! on_each_backend {
    ($($test:ident),+ $(,)?) => {
        mod in_a_directory {
            $(#[test]
            fn $test() {
                super::$test(crate::wire::test_server::Backend::Directory);
            })+
        }

        mod in_memory {
            $(#[test]
            fn $test() {
                super::$test(crate::wire::test_server::Backend::Memory);
            })+
        }

        #[cfg(feature = "nats")]
        mod on_a_cluster {
            $(#[test]
            fn $test() {
                if crate::wire::cluster::is_for(module_path!(), stringify!($test)) {
                    super::$test(crate::wire::test_server::Backend::Cluster);
                }
            })+
        }
    };
}
pub(crate) use on_each_backend;

/// The place of a store while its server is stopped.
enum Place {
    Directory(TempDir),
    Memory(Memory),
    #[cfg(feature = "nats")]
    Cluster(JetStream),
}

impl Place {
    fn on(backend: Backend) -> Place {
        match backend {
            Backend::Directory => Place::Directory(tempfile::tempdir_in(quick_parent()).unwrap()),
            Backend::Memory => Place::Memory(Memory::new()),
            #[cfg(feature = "nats")]
            Backend::Cluster => Place::Cluster(cluster::new_store()),
        }
    }

    /// In memory, one of three reads of a shard has to wait.
    fn open(&self, clock: &ManualClock, setup: &Setup) -> Store {
        let mut options = StoreOptions::new()
            .clock(clock.clone())
            .keeper(false)
            .segment_bytes(1 << 20)
            .reads_for_each_wait(3)
            .transition_delay(setup.transition_delay);
        if let Some(keys) = &setup.keys {
            options = options.keys(keys.clone());
        }
        let store = match self {
            Place::Directory(directory) => options.open(directory.path().join("data")),
            Place::Memory(memory) => options.open_in_memory(memory),
            #[cfg(feature = "nats")]
            Place::Cluster(at) => options.open_jetstream(at),
        };
        store.unwrap()
    }
}

/// The setup of a test's server.
#[derive(Default)]
pub struct Setup {
    pub transition_delay: Duration,
    pub options: Option<fn(ServerOptions) -> ServerOptions>,
    pub keys: Option<KeyRing>,
    pub delivery: Option<Arc<Delivery>>,
}

pub struct TestServer {
    pub clock: ManualClock,
    pub store: Store,
    pub address: SocketAddr,
    gauges: Option<ServerGauges>,
    setup: Setup,
    runtime: Runtime,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    place: Place,
}

impl TestServer {
    pub fn start(backend: Backend) -> TestServer {
        TestServer::with(backend, Setup::default())
    }

    pub fn with_options(backend: Backend, options: fn(ServerOptions) -> ServerOptions) -> TestServer {
        let setup = Setup {
            options: Some(options),
            ..Setup::default()
        };
        TestServer::with(backend, setup)
    }

    pub fn with(backend: Backend, setup: Setup) -> TestServer {
        let place = Place::on(backend);
        let clock = ManualClock::starting_at(START);
        let store = place.open(&clock, &setup);
        let mut server = TestServer {
            clock,
            store,
            address: "127.0.0.1:0".parse().unwrap(),
            gauges: None,
            setup,
            runtime: Runtime::new().unwrap(),
            running: None,
            place,
        };
        server.serve();
        server
    }

    fn serve(&mut self) {
        let mut options = ServerOptions::new("127.0.0.1:0");
        if let Some(change) = self.setup.options {
            options = change(options);
        }
        if let Some(delivery) = &self.setup.delivery {
            options = options.delivery(delivery.clone());
        }
        let server = self
            .runtime
            .block_on(Server::bind(self.store.clone(), options))
            .unwrap();
        self.address = server.local_addr();
        self.gauges = Some(server.gauges());
        let (stop, stopped) = oneshot::channel();
        let running = self.runtime.spawn(server.run_until(async {
            let _ = stopped.await;
        }));
        self.running = Some((stop, running));
    }

    /// Stops the server, and waits until it has answered all requests it had taken.
    pub fn stop(&mut self) {
        if let Some((stop, running)) = self.running.take() {
            stop.send(()).unwrap();
            self.runtime.block_on(running).unwrap();
        }
    }

    /// Replaces the server by one whose channels are delivered by this.
    pub fn deliver_by(&mut self, delivery: Arc<Delivery>) {
        self.stop();
        self.setup.delivery = Some(delivery);
        self.serve();
    }

    /// A new server on the same store, as after a restart of the machine.
    pub fn restart(&mut self) {
        self.stop();
        self.store.close().unwrap();
        self.store = self.place.open(&self.clock, &self.setup);
        self.serve();
    }

    pub fn gauges(&self) -> &ServerGauges {
        self.gauges.as_ref().unwrap()
    }

    pub fn begin_stop(&mut self) -> JoinHandle<()> {
        let (stop, running) = self.running.take().unwrap();
        stop.send(()).unwrap();
        running
    }

    /// Waits until the server has stopped. It stops before any grace period of a test is over.
    pub fn finish(&self, running: JoinHandle<()>) {
        let within = self
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(60), running).await });
        within.expect("the server stops").unwrap();
    }

    /// Lets time pass, and makes the changes that are due then.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
        self.store.maintain().unwrap();
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Calls one operation on a new connection.
    pub fn call(&self, operation: &str, input: &Value) -> Reply {
        self.connect().call(operation, input)
    }

    /// The output of an operation that succeeds.
    #[track_caller]
    pub fn ok(&self, operation: &str, input: &Value) -> Value {
        self.call(operation, input).ok()
    }

    /// The exception and message of an operation that fails with status 400.
    #[track_caller]
    pub fn refusal(&self, operation: &str, input: &Value) -> (String, String) {
        self.call(operation, input).refusal()
    }

    #[track_caller]
    pub fn create(&self, name: &str, shards: u32) {
        self.ok(
            "CreateStream",
            &json!({ "StreamName": name, "ShardCount": shards }),
        );
    }

    /// The streams that a [`Client`] can name.
    pub fn streams(&self) -> Namespace {
        self.store.namespace(&format!("{ACCOUNT}/{REGION}")).unwrap()
    }

    #[track_caller]
    pub fn put(&self, stream: &str, key: &str, data: &str) -> Value {
        let data = base64_simd::STANDARD.encode_to_string(data);
        self.ok(
            "PutRecord",
            &json!({ "StreamName": stream, "PartitionKey": key, "Data": data }),
        )
    }

    /// A stream of one shard, with `count` records of 900,000 bytes.
    pub fn fill(&self, name: &str, count: usize) {
        let stream = self.streams().create_stream(name, 1).unwrap();
        for _ in 0..count {
            stream.put("k", &vec![7; 900_000]).unwrap();
        }
    }

    #[track_caller]
    pub fn iterator(&self, stream: &str, shard: &str, kind: &str) -> String {
        let input = json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": kind });
        text(&self.ok("GetShardIterator", &input)["ShardIterator"])
    }

    #[track_caller]
    pub fn get(&self, iterator: &str) -> Value {
        self.ok("GetRecords", &json!({ "ShardIterator": iterator }))
    }

    /// The number of records in all shards of a stream.
    #[track_caller]
    pub fn count_records(&self, stream: &str) -> usize {
        let shards = self.ok("ListShards", &json!({ "StreamName": stream }));
        let shards = shards["Shards"].as_array().unwrap();
        shards
            .iter()
            .map(|shard| {
                let iterator = self.iterator(stream, shard["ShardId"].as_str().unwrap(), "TRIM_HORIZON");
                self.get(&iterator)["Records"].as_array().unwrap().len()
            })
            .sum()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}

#[track_caller]
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a string: {value}"))
        .to_owned()
}

/// The member `name` of every item of a list.
#[track_caller]
pub fn all(list: &Value, name: &str) -> Vec<String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| text(&item[name]))
        .collect()
}

pub fn not_found(message: impl Into<String>) -> (String, String) {
    ("ResourceNotFoundException".to_owned(), message.into())
}

pub fn in_use(message: impl Into<String>) -> (String, String) {
    ("ResourceInUseException".to_owned(), message.into())
}

pub fn invalid_argument(message: impl Into<String>) -> (String, String) {
    ("InvalidArgumentException".to_owned(), message.into())
}

/// The exception for these failures, each the text behind `Value`.
pub fn validation(failures: &[&str]) -> (String, String) {
    let (count, plural) = (failures.len(), if failures.len() == 1 { "" } else { "s" });
    let failures: Vec<_> = failures
        .iter()
        .map(|failure| format!("Value {failure}"))
        .collect();
    let message = format!(
        "{count} validation error{plural} detected: {}",
        failures.join("; ")
    );
    ("ValidationException".to_owned(), message)
}
