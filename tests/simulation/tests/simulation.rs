//! The whole server on one thread: its connections are turmoil's, its disk is simulated, and its clocks are set.
//! Everything that happens follows from one seed.
#![allow(clippy::unwrap_used)]

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::kinesis::{Listener, Server, ServerOptions};
use anabranch::sim::SimDisk;
use anabranch::{ManualClock, Store, StoreOptions, Timestamp};
use base64_simd::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

const START: Timestamp = Timestamp::from_millis(1_421_889_722_000);
const PORT: u16 = 4567;
/// How long a client waits for a reply before it makes another connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// The clients' view: the virtual time, the client, the request, and its answer.
type Transcript = Arc<Mutex<Vec<String>>>;

/// turmoil's listener for the server.
struct Simulated(TcpListener);

impl Listener for Simulated {
    type Connection = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_at_the_same_times() {
    let seeds = [1, 2, 3];
    let runs: Vec<_> = seeds.iter().map(|seed| run(*seed)).collect();
    for (seed, first) in seeds.iter().zip(&runs) {
        let again = run(*seed);
        for (at, (once, twice)) in first.iter().zip(&again).enumerate() {
            assert_eq!(once, twice, "line {at} of seed {seed}");
        }
        assert_eq!(first.len(), again.len());
    }
    assert_ne!(runs[0], runs[1], "another seed has another network");
}

/// Two writers and a reader. The network between them and the server is held once and cut once.
fn run(seed: u64) -> Vec<String> {
    let transcript = Transcript::default();
    let store = store(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(40))
        .simulation_duration(Duration::from_secs(600))
        .tcp_capacity(4096)
        .build();
    {
        let store = store.clone();
        sim.host("server", move || {
            let store = store.clone();
            async move {
                let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
                let options = ServerOptions::new("").simulated(seed).allow_host("server");
                let server = Server::over(Simulated(listener), store, options)?;
                server.run_until(pending()).await;
                Ok(())
            }
        });
    }
    for writer in ["ada", "bob"] {
        let transcript = Arc::clone(&transcript);
        sim.client(writer, async move {
            let mut client = Client::new(writer, transcript);
            client.create_stream().await;
            for number in 0..40 {
                client.put(&format!("{writer} {number}")).await;
                sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        });
    }
    {
        let transcript = Arc::clone(&transcript);
        sim.client("eve", async move {
            let mut client = Client::new("eve", transcript);
            client.create_stream().await;
            let read = client.read_until_both_writers_are_done().await;
            for writer in ["ada", "bob"] {
                let of_writer: Vec<_> = read.iter().filter(|data| data.starts_with(writer)).collect();
                let mut numbers = of_writer.clone();
                // A put whose answer was lost is repeated, so its record is there twice in a row.
                numbers.dedup();
                let expected: Vec<String> = (0..40).map(|number| format!("{writer} {number}")).collect();
                assert_eq!(numbers, expected.iter().collect::<Vec<_>>());
            }
            Ok(())
        });
    }
    sim.client("network", async {
        sleep(Duration::from_secs(1)).await;
        turmoil::hold("ada", "server");
        sleep(Duration::from_millis(700)).await;
        turmoil::release("ada", "server");
        sleep(Duration::from_millis(300)).await;
        turmoil::partition("bob", "server");
        sleep(Duration::from_secs(5)).await;
        turmoil::repair("bob", "server");
        Ok(())
    });
    sim.run().unwrap();
    drop(sim);
    store.close().unwrap();
    let lines = std::mem::take(&mut *transcript.lock().unwrap());
    let of = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert!(of("ada PutRecord 200") == 40 && of("bob PutRecord 200") == 40);
    assert!(of("bob PutRecord without an answer") > 0, "the cut was noticed");
    assert_eq!(
        of("ada PutRecord without an answer"),
        0,
        "what was held came in time"
    );
    lines
}

/// At the default level of durability, so a put commits its records on its own thread.
fn store(seed: u64) -> Store {
    StoreOptions::new()
        .keeper(false)
        .flusher_threads(1)
        .clock(ManualClock::starting_at(START))
        .disk(SimDisk::new(seed))
        .open("data")
        .unwrap()
}

/// A client that sends its requests one after the other, each until it is answered.
struct Client {
    name: &'static str,
    stream: Option<TcpStream>,
    transcript: Transcript,
}

impl Client {
    fn new(name: &'static str, transcript: Transcript) -> Client {
        Client {
            name,
            stream: None,
            transcript,
        }
    }

    /// The first client creates it.
    async fn create_stream(&mut self) {
        let input = json!({ "StreamName": "s", "ShardCount": 1 });
        self.call("CreateStream", &input).await;
    }

    async fn put(&mut self, data: &str) {
        let data = BASE64.encode_to_string(data);
        let input = json!({ "StreamName": "s", "PartitionKey": self.name, "Data": data });
        let (status, _) = self.call("PutRecord", &input).await;
        assert_eq!(status, 200);
    }

    async fn read_until_both_writers_are_done(&mut self) -> Vec<String> {
        let input = json!({
            "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"
        });
        let (_, first) = self.call("GetShardIterator", &input).await;
        let mut iterator = first["ShardIterator"].clone();
        let mut read: Vec<String> = Vec::new();
        while !["ada 39", "bob 39"]
            .iter()
            .all(|last| read.iter().any(|data| data == last))
        {
            let (status, reply) = self
                .call("GetRecords", &json!({ "ShardIterator": iterator }))
                .await;
            assert_eq!(status, 200, "{reply}");
            for record in reply["Records"].as_array().unwrap() {
                let data = BASE64.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
                read.push(String::from_utf8(data).unwrap());
            }
            iterator = reply["NextShardIterator"].clone();
            sleep(Duration::from_millis(100)).await;
        }
        read
    }

    async fn call(&mut self, operation: &str, input: &Value) -> (u16, Value) {
        loop {
            match timeout(PATIENCE, self.exchange(operation, input)).await {
                Ok(Ok((status, head, body))) => {
                    let text = String::from_utf8(body).unwrap();
                    self.note(&format!("{operation} {status} {head} {text}"));
                    return (status, serde_json::from_str(&text).unwrap_or_default());
                }
                Ok(Err(error)) => self.note(&format!("{operation} without an answer: {error}")),
                Err(_) => self.note(&format!("{operation} without an answer in time")),
            }
            self.stream = None;
            sleep(Duration::from_millis(500)).await;
        }
    }

    fn note(&self, event: &str) {
        let line = format!("{:?} {} {event}", turmoil::sim_elapsed().unwrap(), self.name);
        self.transcript.lock().unwrap().push(line);
    }

    /// The status, the head without its date, and the body.
    async fn exchange(&mut self, operation: &str, input: &Value) -> io::Result<(u16, String, Vec<u8>)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => TcpStream::connect(("server", PORT)).await?,
        };
        let body = input.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: server\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n\
             Content-Type: application/x-amz-json-1.1\r\nX-Amz-Date: 20150122T012202Z\r\nAuthorization: \
             AWS4-HMAC-SHA256 Credential=A/20150122/eu-west-1/kinesis/aws4_request,SignedHeaders=host,Signature=a\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        let mut received = Vec::new();
        let end = loop {
            if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            read_some(&mut stream, &mut received).await?;
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        while received.len() < end + length {
            read_some(&mut stream, &mut received).await?;
        }
        self.stream = Some(stream);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let head = head.lines().filter(|line| !line.starts_with("date: "));
        Ok((
            status,
            head.collect::<Vec<_>>().join("|"),
            received.split_off(end),
        ))
    }
}

async fn read_some(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(received).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
