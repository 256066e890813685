//! A bare publisher: messages to JetStream as a program without anabranch sends them. Like a shard's log, each subject
//! has one message under way, which goes in only behind the one before.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anabranch::bench::batch::Batch;
use anabranch::bench::raw::{RawQueue, Sink};
use anabranch::bench::run::Writer;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use measure::Outcome;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How long a message is tried: the leader may still take the append before for one that is under way.
const ATTEMPTS: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis(1);

/// How many messages a reader asks for at once.
const FETCHED: usize = 32;

pub struct Bare {
    runtime: Runtime,
    client: Client,
}

impl Bare {
    pub fn connect(url: &str) -> Outcome<Self> {
        let runtime = Runtime::new()?;
        let servers: Vec<_> = url.trim_start_matches("nats://").split(',').collect();
        let client = runtime.block_on(async_nats::connect(servers))?;
        Ok(Self { runtime, client })
    }

    /// A new stream with three replicas, set up as the backend sets up its own, and so many subjects.
    pub fn stream(&self, name: &str, subjects: usize) -> Outcome<BareStream<'_>> {
        let configuration = json!({
            "name": name,
            "subjects": [format!("{name}.*")],
            "retention": "limits",
            "discard": "new",
            "storage": "file",
            "num_replicas": 3,
            "allow_direct": true,
        });
        self.ask(&format!("STREAM.CREATE.{name}"), &configuration)?;
        let subject = |number| Subject {
            bare: self,
            name: format!("{name}.{number}"),
            last: AtomicU64::new(0),
        };
        Ok(BareStream {
            bare: self,
            name: name.to_owned(),
            subjects: (0..subjects).map(subject).collect(),
        })
    }

    /// Reads all messages of a stream, and gives the number of their bytes.
    pub fn read(&self, stream: &str) -> Outcome<u64> {
        let consumer = json!({
            "stream_name": stream,
            "config": {
                "deliver_policy": "all",
                "ack_policy": "none",
                "replay_policy": "instant",
                "num_replicas": 1,
                "mem_storage": true,
                "inactive_threshold": 30_000_000_000_u64,
            },
        });
        let made = self.ask(&format!("CONSUMER.CREATE.{stream}"), &consumer)?;
        let name = made["name"].as_str().ok_or("the consumer has no name")?;
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        let wanted = json!({ "batch": FETCHED, "no_wait": true }).to_string();
        let mut bytes = 0;
        self.runtime.block_on(async {
            let inbox = self.client.new_inbox();
            let mut messages = self.client.subscribe(inbox.clone()).await?;
            loop {
                let wanted = wanted.clone().into();
                self.client
                    .publish_with_reply(next.clone(), inbox.clone(), wanted)
                    .await?;
                for _ in 0..FETCHED {
                    let message = messages.next().await.ok_or("the connection ended")?;
                    if message.status.is_some() {
                        // There are no more.
                        return Ok(bytes);
                    }
                    bytes += message.payload.len() as u64;
                }
            }
        })
    }

    /// An answer of JetStream's API that is no error. Without a body, nothing is sent.
    fn ask(&self, operation: &str, body: &Value) -> Outcome<Value> {
        let subject = format!("$JS.API.{operation}");
        let body = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let asked = self.client.request(subject, body);
        let answer: Value = serde_json::from_slice(&self.runtime.block_on(asked)?.payload)?;
        match answer["error"].is_null() {
            true => Ok(answer),
            false => Err(format!("{operation}: {answer}").into()),
        }
    }
}

pub struct BareStream<'a> {
    bare: &'a Bare,
    name: String,
    pub subjects: Vec<Subject<'a>>,
}

impl BareStream<'_> {
    pub fn delete(self) -> Outcome<()> {
        let deleted = self
            .bare
            .ask(&format!("STREAM.DELETE.{}", self.name), &Value::Null);
        deleted.map(drop)
    }
}

pub struct Subject<'a> {
    bare: &'a Bare,
    name: String,
    /// The sequence of its last message.
    last: AtomicU64,
}

impl Subject<'_> {
    /// Waits until the message is on the disks of two servers.
    async fn publish(&self, message: Bytes) -> Outcome<()> {
        let mut headers = HeaderMap::new();
        let last = self.last.load(Ordering::Relaxed).to_string();
        headers.insert("Nats-Expected-Last-Subject-Sequence", last.as_str());
        let mut refusal = Value::Null;
        for _ in 0..ATTEMPTS {
            let sent =
                self.bare
                    .client
                    .request_with_headers(self.name.clone(), headers.clone(), message.clone());
            let answer: Value = serde_json::from_slice(&sent.await?.payload)?;
            if let Some(sequence) = answer["seq"].as_u64() {
                self.last.store(sequence, Ordering::Relaxed);
                return Ok(());
            }
            refusal = answer;
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!("{} does not take a message: {refusal}", self.name).into())
    }
}

impl Sink for Subject<'_> {
    fn write_durably(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let message = Bytes::copy_from_slice(bytes);
        let published = self.bare.runtime.block_on(self.publish(message));
        published.map_err(io::Error::other)
    }
}

/// Publishes what a writer of the store would put.
pub struct BareWriter<'a> {
    pub batch: Batch,
    pub path: BarePath<'a>,
}

/// How a writer's batch becomes messages.
pub enum BarePath<'a> {
    /// One, together with the batches of others that have gathered.
    Queued(&'a RawQueue<'a, Subject<'a>>),
    /// One to each subject, at the same time.
    Spread(&'a [Subject<'a>]),
}

impl Writer for BareWriter<'_> {
    fn write(&mut self) -> Outcome<()> {
        self.batch.advance();
        match self.path {
            BarePath::Queued(queue) => queue.write_durably(&self.batch.bytes)?,
            BarePath::Spread(subjects) => {
                let records = self.batch.records().count().div_ceil(subjects.len());
                let messages = self.batch.bytes.chunks(records * self.batch.record_bytes);
                let published = subjects
                    .iter()
                    .zip(messages)
                    .map(|(subject, message)| subject.publish(Bytes::copy_from_slice(message)));
                let bare = subjects.first().ok_or("there is no subject")?.bare;
                bare.runtime.block_on(try_join_all(published))?;
            }
        }
        Ok(())
    }
}
