//! Processor time without waits for a disk: hashing, numbers, putting, reading, and the API.
//!
//! `cargo bench -p anabranch-benches --bench cpu`, or with `-- put` for the cases whose names contain that.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anabranch::bench::batch::Batch;
use anabranch::bench::http_client::HttpClient;
use anabranch::bench::put_request::PutRequest;
use anabranch::kinesis::{Server, ServerOptions};
use anabranch::{
    Durability, HashKey, Namespace, PutRecord, ReadLimit, SequenceNumber, ShardId, StartingPosition, Store,
    StoreOptions,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use measure::Outcome;
use measure::load::keys;
use measure::scratch::Scratch;
use measure::settings::Settings;

criterion_main!(cpu);
criterion_group!(
    name = cpu;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = names, puts, reads, api
);

fn names(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash key of a partition key");
    for length in [8, 36, 64, 256] {
        let key = "k".repeat(length);
        group.bench_with_input(BenchmarkId::from_parameter(length), &key, |bencher, key| {
            bencher.iter(|| HashKey::of_partition_key(black_box(key)));
        });
    }
    group.finish();

    let number = SequenceNumber::new(
        1_700_000_000,
        ShardId::new(7).expect("a shard of that number is allowed"),
        anabranch::RecordNumber::new(1_234_567),
        1_700_000_100,
    );
    let text = number.to_string();
    criterion.bench_function("sequence number to text", |bencher| {
        bencher.iter(|| black_box(&number).to_string());
    });
    criterion.bench_function("sequence number from text", |bencher| {
        bencher.iter(|| black_box(&text).parse::<SequenceNumber>());
    });
}

/// Encoding, checksums, and one copy to the operating system.
fn puts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("put, written");
    for (records, record_bytes) in [(1, 1 << 10), (100, 1 << 10), (100, 100), (500, 1 << 10)] {
        group.throughput(Throughput::Elements(records as u64));
        let name = format!("{records} of {record_bytes} B");
        let keys = keys(0, records);
        let mut batch = Batch::new(0, records, record_bytes);
        let mut scratch = Streams::new().expect("a scratch directory");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let calls = (STREAM_BYTES / (records * record_bytes)) as u64;
                in_parts(iterations, calls, |iterations| {
                    let stream = scratch.stream().expect("a stream");
                    let begun = Instant::now();
                    for _ in 0..iterations {
                        batch.advance();
                        let records: Vec<_> = keys
                            .iter()
                            .zip(batch.records())
                            .map(|(key, data)| PutRecord::new(key, data))
                            .collect();
                        black_box(stream.put_records(&records).expect("a put"));
                    }
                    begun.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// Look-up, checksums and slicing; the pages are in memory.
fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("get_records, 10 MiB");
    for record_bytes in [100, 1 << 10, 16 << 10] {
        let mut scratch = Streams::new().expect("a scratch directory");
        let stream = scratch.stream().expect("a stream");
        let mut batch = Batch::new(0, 100, record_bytes);
        let keys = keys(0, 100);
        for _ in 0..STREAM_BYTES / (100 * record_bytes) {
            batch.advance();
            let records: Vec<_> = keys
                .iter()
                .zip(batch.records())
                .map(|(key, data)| PutRecord::new(key, data))
                .collect();
            stream.put_records(&records).expect("a put");
        }
        let limit = ReadLimit {
            records: usize::MAX,
            bytes: 10 << 20,
        };
        let shard = ShardId::new(0).expect("the first shard");
        let from = stream
            .shard_iterator(shard, StartingPosition::TrimHorizon)
            .expect("an iterator");
        let page = stream.get_records(&from, &limit).expect("a page");
        group.throughput(Throughput::Elements(page.records.len() as u64));
        group.bench_function(format!("of {record_bytes} B"), |bencher| {
            bencher.iter(|| stream.get_records(black_box(&from), &limit).expect("a page"));
        });
    }
    group.finish();
}

/// HTTP, JSON and base64 in both directions, client and server together, on one connection.
fn api(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let mut scratch = Streams::new().expect("a scratch directory");
    let server = runtime
        .block_on(Server::bind(
            scratch.store.clone(),
            ServerOptions::new("127.0.0.1:0"),
        ))
        .expect("a server");
    let url = format!("http://{}", server.local_addr());
    runtime.spawn(server.run_until(std::future::pending::<()>()));

    let mut group = criterion.benchmark_group("API, JSON");
    for records in [1, 500] {
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(format!("put {records} of 1 KiB"), |bencher| {
            bencher.iter_custom(|iterations| {
                let calls = (STREAM_BYTES / (records << 10)) as u64;
                in_parts(iterations, calls, |iterations| {
                    let stream = scratch.stream().expect("a stream");
                    let mut client = HttpClient::connect(&url).expect("a connection");
                    let batch = Batch::new(0, records, 1 << 10);
                    let mut request = PutRequest::new(&client, stream.name(), batch, keys(0, records));
                    let begun = Instant::now();
                    for _ in 0..iterations {
                        client.send(request.next_bytes()).expect("an answer");
                    }
                    begun.elapsed()
                })
            });
        });
    }
    group.finish();
}

/// The bytes put to one stream before the next one gets its segments: no more than stays in memory.
const STREAM_BYTES: usize = 64 << 20;

/// Sums the time of parts of at most `most` iterations.
fn in_parts(iterations: u64, most: u64, mut part: impl FnMut(u64) -> Duration) -> Duration {
    let mut left = iterations;
    let mut took = Duration::ZERO;
    while left > 0 {
        let now = left.min(most.max(1));
        took += part(now);
        left -= now;
    }
    took
}

/// A store with one stream after another.
struct Streams {
    store: Store,
    /// Where the server looks for the streams of the requests.
    namespace: Namespace,
    number: u32,
    _scratch: Scratch,
}

impl Streams {
    fn new() -> Outcome<Self> {
        let scratch = Scratch::new(&Settings::read().directory, "cpu")?;
        let store = StoreOptions::new()
            .durability(Durability::Written)
            .max_recycled_bytes(1 << 30)
            .open(scratch.path().join("store"))?;
        let (account, region) = (ServerOptions::DEFAULT_ACCOUNT_ID, ServerOptions::DEFAULT_REGION);
        Ok(Self {
            namespace: store.namespace(&format!("{account}/{region}"))?,
            store,
            number: 0,
            _scratch: scratch,
        })
    }

    fn stream(&mut self) -> Outcome<anabranch::Stream> {
        if let Some(last) = self.number.checked_sub(1) {
            self.namespace
                .stream(&format!("stream-{last}"))
                .and_then(|stream| stream.delete())?;
            self.store.maintain()?;
        }
        let stream = self
            .namespace
            .create_stream(&format!("stream-{}", self.number), 1)?;
        self.number += 1;
        Ok(stream)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        let _ = self.store.close();
    }
}
