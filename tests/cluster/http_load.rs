//! Threads that put records over HTTP, through servers in turn, and what was acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use anabranch::{SequenceNumber, ShardId, Store};
use anabranch_harness::http1::{CallError, Client, Reply};
use anabranch_harness::wait::wait_until;
use serde_json::{Value, json};

use crate::load::Acknowledged;

/// Where the streams are of requests that are signed as the harness signs.
pub const NAMESPACE: &str = "000000000000/eu-west-1";

/// How many other calls a thread makes before each put.
const CALLS_BETWEEN: usize = 10;

type Own = BTreeMap<u64, (ShardId, SequenceNumber)>;

/// Threads, each of which has a key of its own, and one of the servers.
pub struct HttpLoad {
    threads: Vec<JoinHandle<Own>>,
    acknowledged: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl HttpLoad {
    /// Each thread puts its next number until it is told to end, and none again that was not acknowledged.
    pub fn begin(servers: &[SocketAddr], threads: usize) -> HttpLoad {
        HttpLoad::begin_between(servers, threads, None)
    }

    /// As [`begin`](HttpLoad::begin), and each thread makes a call several times before each put. It may be refused, but
    /// it is counted as the puts are if it is not answered.
    pub fn begin_between(
        servers: &[SocketAddr],
        threads: usize,
        before_each: Option<&(&'static str, Value)>,
    ) -> HttpLoad {
        let [acknowledged, refused] = [(); 2].map(|()| Arc::<AtomicUsize>::default());
        let is_over = Arc::<AtomicBool>::default();
        let thread = |key: usize| {
            let server = servers[key % servers.len()];
            let (acknowledged, refused) = (acknowledged.clone(), refused.clone());
            let is_over = is_over.clone();
            let before_each = before_each.cloned();
            std::thread::spawn(move || {
                let mut own = BTreeMap::new();
                let mut client = None;
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    if let Some((operation, request)) = &before_each {
                        for _ in 0..CALLS_BETWEEN {
                            let answer = call(&mut client, server, operation, request);
                            let is_answered = answer.is_some_and(|answer| {
                                answer.map_or_else(|reply| reply.status < 500, |_| true)
                            });
                            refused.fetch_add(usize::from(!is_answered), Ordering::Relaxed);
                        }
                    }
                    match put(&mut client, server, key, number) {
                        Some(put) => {
                            own.insert(number, put);
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        None => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            // A server that is gone refuses at once.
                            std::thread::yield_now();
                        }
                    }
                }
                own
            })
        };
        HttpLoad {
            threads: (0..threads).map(thread).collect(),
            acknowledged,
            refused,
            is_over,
        }
    }

    /// Waits for so many more to be acknowledged.
    pub fn wait_for(&self, more: usize) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        wait_until("puts are acknowledged", || {
            self.acknowledged.load(Ordering::Relaxed) >= before + more
        });
    }

    /// How many were not acknowledged so far.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn end(self) -> Acknowledged {
        self.is_over.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter().map(|thread| thread.join().unwrap());
        Acknowledged::of(threads.collect())
    }
}

/// Checks what a store has, which no server has any more.
pub fn check(acknowledged: &Acknowledged, store: &Store) {
    let streams = store.namespace(NAMESPACE).unwrap();
    acknowledged.check(&streams.stream("clicks").unwrap());
}

fn put(
    client: &mut Option<Client>,
    server: SocketAddr,
    key: usize,
    number: u64,
) -> Option<(ShardId, SequenceNumber)> {
    let record = json!({
        "StreamName": "clicks",
        "PartitionKey": format!("key-{key}"),
        "Data": base64(number.to_string().as_bytes()),
    });
    match call(client, server, "PutRecord", &record)? {
        Ok(put) => {
            let text = |name: &str| put[name].as_str().map(str::to_owned);
            let (shard, number) = text("ShardId").zip(text("SequenceNumber")).unwrap();
            Some((shard.parse().unwrap(), number.parse().unwrap()))
        }
        Err(reply) => {
            assert!(reply.status >= 500, "{}: {}", reply.status, reply.text());
            let body: Value = reply.json();
            let kind = body["__type"].as_str().unwrap();
            assert!(
                ["InternalFailureException", "ServiceUnavailable"].contains(&kind),
                "{body}"
            );
            None
        }
    }
}

/// Connects if there is no connection. `None` without an answer.
fn call(
    client: &mut Option<Client>,
    server: SocketAddr,
    operation: &str,
    request: &Value,
) -> Option<Result<Value, Reply>> {
    if client.is_none() {
        *client = Client::try_connect(server).ok();
    }
    match client.as_mut()?.try_call(operation, request) {
        Ok(answer) => Some(Ok(answer)),
        Err(CallError::Refused(reply)) => Some(Err(reply)),
        Err(CallError::Lost(_)) => {
            *client = None;
            None
        }
    }
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            match place <= chunk.len() {
                true => text.push(char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize])),
                false => text.push('='),
            }
        }
    }
    text
}
