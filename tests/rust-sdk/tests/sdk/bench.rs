//! A server and a client of it, and a clock that only moves when a test moves it.

use std::time::Duration;

use anabranch::kinesis::{Server, ServerOptions};
use anabranch::{ManualClock, Store, StoreOptions, Timestamp};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{Record, Shard, ShardIteratorType};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The name of the stream in tests that need only one.
pub const STREAM: &str = "clicks";

/// When the clock starts, in seconds.
pub const START: i64 = 1_800_000_000;

pub struct Bench {
    pub client: Client,
    clock: ManualClock,
    store: Store,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    _directory: TempDir,
}

impl Bench {
    pub async fn new() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::starting_at(Timestamp::from_millis(START as u64 * 1000));
        let store = StoreOptions::new()
            .clock(clock.clone())
            .open(directory.path().join("data"))
            .unwrap();
        let server = Server::bind(store.clone(), ServerOptions::new("127.0.0.1:0"))
            .await
            .unwrap();
        let url = format!("http://{}", server.local_addr());
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.run_until(async {
            let _ = stopped.await;
        }));
        Bench {
            client: client(url),
            clock,
            store,
            stop,
            serving,
            _directory: directory,
        }
    }

    /// With a stream of that many shards.
    pub async fn with_stream(shards: i32) -> Bench {
        let bench = Bench::new().await;
        bench.create(STREAM, shards).await;
        bench
    }

    pub async fn create(&self, name: &str, shards: i32) {
        let create = self.client.create_stream().stream_name(name);
        create.shard_count(shards).send().await.unwrap();
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// That many seconds after the clock's start.
    pub fn at(seconds: i64) -> DateTime {
        DateTime::from_secs(START + seconds)
    }

    /// Puts a record, and gives its shard and sequence number.
    pub async fn put(&self, key: &str, data: &str) -> (String, String) {
        let put = self.client.put_record().stream_name(STREAM).partition_key(key);
        let put = put.data(Blob::new(data)).send().await.unwrap();
        (put.shard_id, put.sequence_number)
    }

    /// All shards that are listed, without a filter.
    pub async fn shards(&self) -> Vec<Shard> {
        let listed = self.client.list_shards().stream_name(STREAM).send().await;
        listed.unwrap().shards.unwrap()
    }

    pub async fn iterator(&self, shard: &str, kind: ShardIteratorType) -> String {
        let iterator = self.client.get_shard_iterator().stream_name(STREAM);
        let iterator = iterator.shard_id(shard).shard_iterator_type(kind).send().await;
        iterator.unwrap().shard_iterator.unwrap()
    }

    /// The records from an iterator on, as text, up to the shard's head or end.
    pub async fn read(&self, iterator: String) -> Vec<String> {
        let mut texts = Vec::new();
        let mut next = Some(iterator);
        while let Some(iterator) = next {
            let reply = self.client.get_records().shard_iterator(iterator).limit(2);
            let reply = reply.send().await.unwrap();
            texts.extend(reply.records.iter().map(text));
            next = reply.next_shard_iterator.filter(|_| !reply.records.is_empty());
        }
        texts
    }

    pub async fn read_shard(&self, shard: &str) -> Vec<String> {
        self.read(self.iterator(shard, ShardIteratorType::TrimHorizon).await)
            .await
    }

    pub async fn split(&self, shard: &str, at: u128) {
        let split = self
            .client
            .split_shard()
            .stream_name(STREAM)
            .shard_to_split(shard);
        split.new_starting_hash_key(at.to_string()).send().await.unwrap();
    }

    pub async fn merge(&self, shard: &str, with: &str) {
        let merge = self
            .client
            .merge_shards()
            .stream_name(STREAM)
            .shard_to_merge(shard);
        merge.adjacent_shard_to_merge(with).send().await.unwrap();
    }

    /// Stops the server and closes the store, both in order.
    pub async fn close(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
        self.store.close().unwrap();
    }
}

pub fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

pub fn text(record: &Record) -> String {
    String::from_utf8(record.data.as_ref().to_vec()).unwrap()
}

fn client(url: String) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("any", "any", None, None, "tests"))
        // A wrong answer shows at once.
        .retry_config(RetryConfig::disabled())
        .http_client(HttpClientBuilder::new().build_http())
        .build();
    Client::from_conf(config)
}
