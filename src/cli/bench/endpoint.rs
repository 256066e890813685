//! Anabranch, through the API of a server.

use std::time::{Duration, Instant, SystemTime};

use anabranch::bench::Outcome;
use anabranch::bench::batch::{Batch, Ledger};
use anabranch::bench::http_client::HttpClient;
use anabranch::bench::put_request::PutRequest;
use anabranch::bench::run::{Figures, Limits, Writer, run};
use base64_simd::STANDARD;
use serde_json::{Value, json};

use super::BenchArguments;
use super::library::keys;

/// A stream that is made, written to, read, and deleted when this is dropped.
#[derive(Debug)]
pub(super) struct EndpointSide {
    client: HttpClient,
    stream: String,
    writers: Vec<EndpointWriter>,
    record_bytes: usize,
    shards: u32,
}

impl EndpointSide {
    pub(super) fn open(url: &str, arguments: &BenchArguments) -> Outcome<Self> {
        let nanos = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        let stream = format!("anabranch-bench-{}-{nanos}", std::process::id());
        let mut client = HttpClient::connect(url)?;
        let create = json!({"StreamName": stream, "ShardCount": arguments.shards});
        client.call("CreateStream", &create.to_string())?;
        let record_bytes = arguments.record_bytes as usize;
        // From now on there is something to delete.
        let mut side = Self {
            client,
            stream,
            writers: Vec::new(),
            record_bytes,
            shards: arguments.shards,
        };
        side.wait_until_active()?;
        for writer in 0..arguments.writers {
            let client = HttpClient::connect(url)?;
            let batch = Batch::new(u64::from(writer), arguments.batch as usize, record_bytes);
            let request = PutRequest::new(&client, &side.stream, batch, keys(writer, arguments.batch));
            side.writers.push(EndpointWriter { client, request });
        }
        Ok(side)
    }

    fn wait_until_active(&mut self) -> Outcome<()> {
        const PATIENCE: Duration = Duration::from_secs(60);
        let begun = Instant::now();
        let name = json!({"StreamName": self.stream});
        loop {
            let described = self.call("DescribeStreamSummary", &name)?;
            let status = &described["StreamDescriptionSummary"]["StreamStatus"];
            if status == "ACTIVE" {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("the stream is still {status} after {PATIENCE:?}").into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(super) fn run(&mut self, limits: Limits) -> Outcome<Figures> {
        run(&mut self.writers, limits)
    }

    /// How many records were acknowledged, if all of them can be read.
    pub(super) fn read_back(&mut self) -> Outcome<u64> {
        let acknowledged = self.writers.drain(..).map(|writer| writer.request.records());
        let mut ledger = Ledger::new(acknowledged, self.record_bytes, self.shards == 1);
        let mut asked = json!({"StreamName": self.stream});
        loop {
            let listed = self.call("ListShards", &asked)?;
            for shard in listed["Shards"].as_array().into_iter().flatten() {
                self.read_shard(&shard["ShardId"], &mut ledger)?;
            }
            match &listed["NextToken"] {
                Value::String(token) => asked = json!({"NextToken": token}),
                _ => break,
            }
        }
        ledger.close()
    }

    fn read_shard(&mut self, shard: &Value, ledger: &mut Ledger) -> Outcome<()> {
        let asked = json!({"StreamName": self.stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let mut iterator = self.call("GetShardIterator", &asked)?["ShardIterator"].take();
        loop {
            let mut read = self.call("GetRecords", &json!({"ShardIterator": iterator}))?;
            for record in read["Records"].as_array().into_iter().flatten() {
                let data = record["Data"].as_str().ok_or("a record has no data")?;
                ledger.read(&STANDARD.decode_to_vec(data)?)?;
            }
            let is_at_head = read["MillisBehindLatest"] == 0;
            iterator = read["NextShardIterator"].take();
            if is_at_head || iterator.is_null() {
                return Ok(());
            }
        }
    }

    fn call(&mut self, operation: &str, body: &Value) -> Outcome<Value> {
        let reply = self.client.call(operation, &body.to_string())?;
        Ok(match reply.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(reply)?,
        })
    }
}

impl Drop for EndpointSide {
    fn drop(&mut self) {
        let name = json!({"StreamName": self.stream});
        if let Err(error) = self.call("DeleteStream", &name) {
            eprintln!(
                "anabranch bench: cannot delete the stream {}: {error}",
                self.stream
            );
        }
    }
}

/// Puts over its own connection.
#[derive(Debug)]
struct EndpointWriter {
    client: HttpClient,
    request: PutRequest,
}

impl Writer for EndpointWriter {
    fn write(&mut self) -> Outcome<()> {
        let reply = self.client.send(self.request.next_bytes())?;
        check_all_taken(reply)
    }
}

/// PutRecords also succeeds as a request when it has stored only some of its records.
pub fn check_all_taken(reply: &[u8]) -> Outcome<()> {
    const FAILED: &[u8] = b"\"FailedRecordCount\":";
    let failed = reply
        .windows(FAILED.len())
        .position(|window| window == FAILED)
        .map(|at| &reply[at + FAILED.len()..]);
    match failed {
        Some(count) if !count.trim_ascii_start().starts_with(b"0") => {
            Err(format!("records were refused: {}", String::from_utf8_lossy(reply)).into())
        }
        _ => Ok(()),
    }
}
