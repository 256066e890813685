//! A server on a store and a clock of its own, and a client that sends exactly the bytes it is told to.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anabranch::kinesis::{Server, ServerGauges, ServerOptions};
use anabranch::{ManualClock, Memory, Store, StoreOptions, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// `Thu Jan 22 01:22:02 UTC 2015`
pub const START: Timestamp = Timestamp::from_millis(1_421_889_722_000);
pub const ACCOUNT: &str = "000000000000";
pub const JSON: &str = "application/x-amz-json-1.1";
pub const CBOR: &str = "application/x-amz-cbor-1.1";
pub const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=AKID/20150122/eu-west-1/kinesis/aws4_request, \
                                 SignedHeaders=host;x-amz-date;x-amz-target, Signature=80e8";

/// What keeps the store of a test's server.
#[derive(Clone, Copy, Debug)]
pub enum Backend {
    Directory,
    Memory,
}

/// Makes tests of functions that take a backend: one for each.
macro_rules! on_each_backend {
    ($($test:ident),+ $(,)?) => {
        mod in_a_directory {
            $(#[test]
            fn $test() {
                super::$test(crate::support::Backend::Directory);
            })+
        }

        mod in_memory {
            $(#[test]
            fn $test() {
                super::$test(crate::support::Backend::Memory);
            })+
        }
    };
}
pub(crate) use on_each_backend;

/// Where a store is while its server is not.
enum Place {
    Directory(TempDir),
    Memory(Memory),
}

impl Place {
    fn on(backend: Backend) -> Place {
        match backend {
            Backend::Directory => Place::Directory(tempfile::tempdir().unwrap()),
            Backend::Memory => Place::Memory(Memory::new()),
        }
    }

    /// In memory one of three reads of a shard has to wait.
    fn open(&self, clock: &ManualClock, setup: &Setup) -> Store {
        let options = StoreOptions::new()
            .clock(clock.clone())
            .keeper(false)
            .segment_bytes(1 << 20)
            .reads_for_each_wait(3)
            .transition_delay(setup.transition_delay);
        let store = match self {
            Place::Directory(directory) => options.open(directory.path().join("data")),
            Place::Memory(memory) => options.open_in_memory(memory),
        };
        store.unwrap()
    }
}

/// How a test wants its server.
#[derive(Default)]
pub struct Setup {
    pub transition_delay: Duration,
    pub options: Option<fn(ServerOptions) -> ServerOptions>,
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

    /// Stops the server, and waits until it has answered what it had taken.
    pub fn stop(&mut self) {
        if let Some((stop, running)) = self.running.take() {
            stop.send(()).unwrap();
            self.runtime.block_on(running).unwrap();
        }
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

    /// Waits until the server has stopped, which it does before any grace of a test is over.
    pub fn finish(&self, running: JoinHandle<()>) {
        let within = self
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(60), running).await });
        within.expect("the server stops").unwrap();
    }

    /// Lets time pass, and what is due then happen.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
        self.store.maintain().unwrap();
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One operation on a connection of its own.
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
        let stream = self.store.create_stream(name, 1).unwrap();
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

    /// How many records all shards of a stream hold.
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

/// A connection that stays open from one request to the next.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// What a request says beside its body.
pub struct Head<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Head<'a> {
    /// What every SDK sends for an operation.
    pub fn of(target: &'a str) -> Head<'a> {
        Head {
            method: "POST",
            uri: "/",
            headers: vec![
                ("Content-Type", JSON),
                ("X-Amz-Target", target),
                ("X-Amz-Date", "20150122T012202Z"),
                ("Authorization", AUTHORIZATION),
            ],
        }
    }

    /// With this value in place of what it had of the name; with nothing if it is empty.
    pub fn header(mut self, name: &'a str, value: &'a str) -> Head<'a> {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.headers.push((name, value));
        }
        self
    }

    pub fn method(mut self, method: &'a str) -> Head<'a> {
        self.method = method;
        self
    }

    pub fn uri(mut self, uri: &'a str) -> Head<'a> {
        self.uri = uri;
        self
    }

    pub fn to_text(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: kinesis.test\r\n", self.method, self.uri);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        // A server that never answers fails a test instead of holding it up for ever.
        stream.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
        Client {
            stream: BufReader::new(stream),
        }
    }

    pub fn call(&mut self, operation: &str, input: &Value) -> Reply {
        let target = format!("Kinesis_20131202.{operation}");
        self.send(&Head::of(&target), input.to_string().as_bytes())
    }

    pub fn send(&mut self, head: &Head<'_>, body: &[u8]) -> Reply {
        let head = format!("{}Content-Length: {}\r\n\r\n", head.to_text(), body.len());
        self.write(&[head.as_bytes(), body].concat());
        self.read_reply(head.starts_with("HEAD ")).expect("an answer")
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Begins the call, and leaves the answer where it is.
    pub fn begin(&mut self, operation: &str, input: &Value) {
        let target = format!("Kinesis_20131202.{operation}");
        let (head, body) = (Head::of(&target).to_text(), input.to_string());
        self.write(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }

    /// The next answer, or `None` if the server has closed the connection.
    pub fn read_reply(&mut self, is_head: bool) -> Option<Reply> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = Vec::new();
        loop {
            let line = self.line().expect("a whole head");
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut reply = Reply {
            status,
            headers,
            body: Vec::new(),
        };
        let len = reply
            .header("content-length")
            .map_or(0, |len| len.parse().unwrap());
        if !is_head {
            reply.body = vec![0; len];
            self.stream.read_exact(&mut reply.body).unwrap();
        }
        Some(reply)
    }

    /// Whether the server has closed the connection, after waiting for it.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Drops what has arrived.
    pub fn skip(&mut self) {
        let arrived = self.stream.buffer().len();
        self.stream.consume(arrived);
    }

    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no answer: {error}"),
        }
        line.strip_suffix("\r\n").map(str::to_owned)
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The output of a call that succeeded; null if it has none.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some(JSON));
        if self.body.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// The exception and message of a call that failed with status 400.
    #[track_caller]
    pub fn refusal(&self) -> (String, String) {
        assert_eq!(self.status, 400, "{}", self.text());
        assert_eq!(self.header("content-type"), Some(JSON));
        let body = self.json();
        let kind = text(&body["__type"]);
        assert_eq!(self.header("x-amzn-errortype"), Some(kind.as_str()));
        let key = if kind == "SerializationException" {
            "Message"
        } else {
            "message"
        };
        assert!(
            body.as_object()
                .unwrap()
                .keys()
                .all(|name| name == "__type" || name == key),
            "{body}"
        );
        (kind, body[key].as_str().unwrap_or_default().to_owned())
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
