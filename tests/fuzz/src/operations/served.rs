//! A new server for each input. Its connections and its store are in memory. Its clock is that of the runtime, which
//! moves when all tasks wait: so no call takes long, even one that waits for records.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anabranch::kinesis::{Listener, Server, ServerOptions};
use anabranch::{ManualClock, Memory, Store, StoreOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::encoding::Encoding;
use super::input::Made;
use crate::base::NOW;

const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:";
const FIRST: &str = "shardId-000000000000";

pub(super) struct Served {
    runtime: Runtime,
    connections: UnboundedSender<DuplexStream>,
    store: Store,
    pub(super) known: Known,
}

/// The resources on the server, by the names that requests use for them.
#[derive(Default)]
pub(super) struct Known {
    consumer: String,
    queue: String,
    channel: String,
    iterator: String,
    receipt_handle: String,
}

/// The source of the server's connections.
struct Connections(UnboundedReceiver<DuplexStream>);

impl Listener for Connections {
    type Connection = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(connection) => Ok((connection, SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))),
            None => pending().await,
        }
    }
}

impl Served {
    /// Runs `work` with a new server.
    pub(super) fn with<T>(work: impl FnOnce(&Served) -> T) -> T {
        let mut served = Served::start();
        served.known = served.prepare();
        let done = work(&served);
        let Served { runtime, store, .. } = served;
        drop(runtime);
        store.close().expect("a store in memory closes");
        done
    }

    fn start() -> Served {
        let clock = ManualClock::starting_at(NOW);
        let store = StoreOptions::new()
            .keeper(false)
            .clock(clock.clone())
            .open_in_memory(&Memory::new())
            .expect("there is memory");
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("it takes nothing of the system");
        let (connections, taken) = unbounded_channel();
        let options = ServerOptions::new("").simulated(1).shard_limit(40);
        let guard = runtime.enter();
        let server =
            Server::over(Connections(taken), store.clone(), options).expect("the options make sense");
        runtime.spawn(server.run_until(pending()));
        runtime.spawn(async move {
            const STEP: Duration = Duration::from_secs(1);
            loop {
                tokio::time::sleep(STEP).await;
                clock.advance(STEP);
            }
        });
        drop(guard);
        Served {
            runtime,
            connections,
            store,
            known: Known::default(),
        }
    }

    /// Makes one resource of every kind.
    fn prepare(&self) -> Known {
        let on_demand = json!({"StreamMode": "ON_DEMAND"});
        for input in [
            json!({"StreamName": "clicks", "ShardCount": 2}),
            json!({"StreamName": "spare", "ShardCount": 1}),
            json!({"StreamName": "jobs", "StreamModeDetails": on_demand}),
            json!({"StreamName": "feed", "StreamModeDetails": on_demand}),
        ] {
            self.ok("CreateStream", &input);
        }
        for stream in ["clicks", "jobs"] {
            let record = json!({"PartitionKey": "key", "Data": "ZGF0YQ=="});
            let input = json!({"StreamName": stream, "Records": vec![record; 2]});
            self.ok("PutRecords", &input);
        }
        let stream = |name: &str| format!("{ARN}stream/{name}");
        let consumer = json!({"StreamARN": stream("clicks"), "ConsumerName": "app"});
        let consumer = self.ok("RegisterStreamConsumer", &consumer);
        let from_start = json!({"Type": "TRIM_HORIZON"});
        let of_jobs = json!({"StreamARN": stream("jobs"), "StartingPosition": from_start});
        let queue = json!({"QueueName": "work", "StreamConfigurationList": [of_jobs]});
        let queue = text(&self.ok("CreateQueue", &queue)["QueueDescription"]["QueueARN"]);
        let storage = json!({
            "BucketARN": BUCKET, "ExpectedBucketOwner": OWNER, "CompressionType": "NONE",
        });
        let of_jobs =
            json!({"StreamARN": stream("jobs"), "RecordConfiguration": {"RecordFormatType": "JSON"}});
        let channel = json!({
            "ChannelName": "out",
            "ServiceExecutionRoleARN": ROLE,
            "StreamConfigurationList": [of_jobs],
            "S3DestinationConfiguration": {"StorageConfiguration": storage},
        });
        let channel = self.ok("CreateChannel", &channel);
        let iterator = json!({"StreamName": "clicks", "ShardId": FIRST, "ShardIteratorType": "TRIM_HORIZON"});
        let received = self.ok("ReceiveQueueRecords", &json!({"QueueARN": queue, "Limit": 1}));
        Known {
            consumer: text(&consumer["Consumer"]["ConsumerARN"]),
            channel: text(&channel["ChannelDescription"]["ChannelARN"]),
            iterator: text(&self.ok("GetShardIterator", &iterator)["ShardIterator"]),
            receipt_handle: text(&received["QueueRecords"][0]["ReceiptHandle"]),
            queue,
        }
    }

    fn ok(&self, operation: &str, input: &Value) -> Value {
        let reply = self.call(
            operation,
            Encoding::Json.content_type(),
            input.to_string().as_bytes(),
        );
        assert_eq!(
            reply.status,
            200,
            "{operation}: {}",
            String::from_utf8_lossy(&reply.body)
        );
        match reply.body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&reply.body).expect("the body is JSON"),
        }
    }

    /// The reply to a request that is valid except for its body.
    pub(super) fn call(&self, operation: &str, content_type: &str, body: &[u8]) -> Reply {
        const BUFFERED: usize = 64 << 10;
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n\
             Content-Type: {content_type}\r\nX-Amz-Date: 20150122T000000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=AKID/20150122/eu-west-1/kinesis/aws4_request, \
             SignedHeaders=host, Signature=80e8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (mut client, connection) = duplex(BUFFERED);
        self.connections.send(connection).expect("the server runs");
        let bytes = self.runtime.block_on(async {
            let mut bytes = Vec::new();
            // The server may have closed before it has read all.
            let _ = client.write_all(&[head.as_bytes(), body].concat()).await;
            let _ = client.read_to_end(&mut bytes).await;
            bytes
        });
        Reply::of(&bytes).unwrap_or_else(|| {
            panic!("{operation} is not answered: {}", String::from_utf8_lossy(&bytes));
        })
    }
}

const ROLE: &str = "arn:aws:iam::000000000000:role/any";
const BUCKET: &str = "arn:aws:s3:::any";
const OWNER: &str = "000000000000";

impl Known {
    /// A value for a member of this name with which the operation can succeed. `None` if any value will do.
    pub(super) fn usual(&self, operation: &str, name: &str) -> Option<Made> {
        let number = match name {
            "RetentionPeriodHours" => 24,
            "TargetShardCount" => 2,
            "DataFreshnessInSeconds" => 300,
            "MaxRecordSizeInKiB" => 1_024,
            _ => 0,
        };
        if number != 0 {
            return Some(Made::Number(number));
        }
        let stream = match operation {
            "DeleteStream" => "spare",
            "CreateChannel" => "feed",
            "CreateQueue" | "UpdateStreamRecordDistributionStrategy" | "UpdateStreamWarmThroughput" => "jobs",
            _ => "clicks",
        };
        let text = match name {
            "StreamName" if operation == "CreateStream" => "new",
            "StreamName" => stream,
            "StreamARN" | "ResourceARN" => return Some(Made::Text(format!("{ARN}stream/{stream}"))),
            "ConsumerARN" => &self.consumer,
            "QueueARN" => &self.queue,
            "ChannelARN" => &self.channel,
            "ShardIterator" => &self.iterator,
            "ReceiptHandle" => &self.receipt_handle,
            "ConsumerName" | "QueueName" | "ChannelName" => "new",
            "ShardId" | "ShardToSplit" | "ShardToMerge" => FIRST,
            "AdjacentShardToMerge" => "shardId-000000000001",
            "NewStartingHashKey" | "ExplicitHashKey" => "42",
            "EncryptionType" => "KMS",
            "ShardIteratorType" | "Type" => "TRIM_HORIZON",
            "Policy" => "{}",
            "RecordFormatType" => "JSON",
            "ServiceExecutionRoleARN" => ROLE,
            "BucketARN" => BUCKET,
            "ExpectedBucketOwner" => OWNER,
            _ => return None,
        };
        Some(Made::Text(text.to_owned()))
    }

    /// Texts that have a meaning for this server, or look as if they had.
    pub(super) fn texts(&self) -> Vec<String> {
        let resources = [
            "stream/clicks",
            "stream/jobs",
            "stream/missing",
            "queue/1-1-0",
            "channel/1-1-0",
        ];
        let others = [
            "",
            "clicks",
            "missing",
            FIRST,
            "0",
            "shardId-4294967296",
            "340282366920938463463374607431768211455",
            "49590338271490256608559692538361571095921575989136588898",
            "LATEST",
            "AT_TIMESTAMP",
            "AFTER_SEQUENCE_NUMBER",
            "AFTER_SHARD_ID",
            "AUTO",
            "GSR_JSON",
            "{\"Statement\":[{\"Effect\":\"Deny\",\"Principal\":\"*\",\"Action\":\"*\"}]}",
            "\"",
            "\u{1f40b}",
        ];
        let own = [
            &self.consumer,
            &self.queue,
            &self.channel,
            &self.iterator,
            &self.receipt_handle,
        ];
        let resources = resources.iter().map(|resource| format!("{ARN}{resource}"));
        let others = others.iter().map(|text| (*text).to_owned());
        own.into_iter().cloned().chain(resources).chain(others).collect()
    }
}

/// An answer over HTTP/1.1.
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    fn of(bytes: &[u8]) -> Option<Reply> {
        const BLANK_LINE: &[u8] = b"\r\n\r\n";
        let end = bytes
            .windows(BLANK_LINE.len())
            .position(|line| line == BLANK_LINE)?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let body = &bytes[end + BLANK_LINE.len()..];
        let reply = Reply {
            status,
            head: head.to_owned(),
            body: Vec::new(),
        };
        let body = match reply.field("transfer-encoding") {
            Some("chunked") => of_chunks(body)?,
            _ => body.to_vec(),
        };
        Some(Reply { body, ..reply })
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    pub(super) fn is_event_stream(&self) -> bool {
        self.field("content-type") == Some("application/vnd.amazon.eventstream")
    }

    /// The exception of a refusal.
    pub(super) fn exception(&self) -> &str {
        self.field("x-amzn-errortype")
            .expect("a refusal names its exception")
    }
}

/// The contents of chunks, up to the last one, which is empty.
fn of_chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    const END: &[u8] = b"\r\n";
    let mut body = Vec::new();
    loop {
        let at = bytes.windows(END.len()).position(|line| line == END)?;
        let length = std::str::from_utf8(&bytes[..at]).ok()?;
        let length = usize::from_str_radix(length, 16).ok()?;
        bytes = &bytes[at + END.len()..];
        if length == 0 {
            return (bytes == END).then_some(body);
        }
        body.extend_from_slice(bytes.get(..length)?);
        bytes = bytes.get(length..)?.strip_prefix(END)?;
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
