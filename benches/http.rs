//! The server beside a bare one: hyper with the same parsers, which keeps nothing and gives the same answers.
//!
//! `cargo bench -p anabranch-benches --bench http`, or with `-- PutRecords` for the cases whose names contain that.
//!
//! Each server is a separate process. The client is this process, on the same processors, with a thread and a
//! connection for each caller.

use std::convert::Infallible;
use std::path::Path;

use anabranch::StoreOptions;
use anabranch::bench::batch::{Batch, Ledger};
use anabranch::bench::http_client::HttpClient;
use anabranch::bench::put_request::PutRequest;
use anabranch::bench::run::{Limits, Writer};
use anabranch::kinesis::{Server, ServerOptions};
use base64_simd::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use measure::Outcome;
use measure::load::keys;
use measure::pace::{Comparison, Run, interleave, run};
use measure::process::processor_micros_of;
use measure::report::{Cell, Report};
use measure::scratch::Scratch;
use measure::served::{PutCaller, ServerProcess, announce, when_told_to_end};
use measure::settings::Settings;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Set for the processes that serve.
const SERVE: &str = "ANABRANCH_BENCH_SERVE";
const DIRECTORY: &str = "ANABRANCH_BENCH_SERVE_DIR";
/// The bare server's answer to GetRecords.
const PAGE: &str = "page.json";

fn main() -> Outcome<()> {
    if let Ok(which) = std::env::var(SERVE) {
        let directory = std::env::var_os(DIRECTORY).ok_or("a directory is missing")?;
        return serve(&which, Path::new(&directory));
    }
    let settings = Settings::read();
    let scratch = Scratch::new(&settings.directory, "http")?;
    let mut report = Report::new("http");
    report.section(
        "HTTP, JSON, 1 KiB records, durable: beside bare hyper with the same parsers and answers, on the same processors",
        &[
            "case",
            "bare requests/s",
            "anabranch requests/s",
            "ratio",
            "ratio low-high",
            "anabranch records/s",
            "bare p50 us",
            "anabranch p50 us",
            "bare p99 us",
            "anabranch p99 us",
            "bare server CPU us/request",
            "anabranch CPU us/request",
            "others' CPU %",
        ],
    );
    for (name, connections, records) in [
        ("PutRecords/500/8-connections", 8, 500),
        ("PutRecord/64-connections", 64, 1),
        ("PutRecord/1-connection", 1, 1),
    ] {
        if settings.selects(name) {
            let figures = puts(&settings, &scratch, connections, records)
                .map_err(|error| format!("{name}: {error}"))?;
            report.row(row(name, &figures.0, &figures.1, records));
        }
    }
    const PAGES: &str = "GetRecords/10MiB/4-connections";
    if settings.selects(PAGES) {
        let (figures, cpu, records) =
            pages(&settings, &scratch, 4).map_err(|error| format!("{PAGES}: {error}"))?;
        report.row(row(PAGES, &figures, &cpu, records));
    }
    report.save()
}

/// Processor time of both servers, and the requests that they answered in that time.
#[derive(Debug, Default)]
struct ServerCpu {
    bare: Spent,
    anabranch: Spent,
}

#[derive(Debug, Default)]
struct Spent {
    micros: f64,
    requests: u64,
}

impl Spent {
    /// Runs callers against a server.
    fn while_running(&mut self, server: &ServerProcess, run: impl FnOnce() -> Outcome<Run>) -> Outcome<Run> {
        let before = processor_micros_of(server.id());
        let ran = run()?;
        self.micros += processor_micros_of(server.id()) - before;
        self.requests += ran.operations;
        Ok(ran)
    }

    fn per_request(&self) -> f64 {
        self.micros / self.requests as f64
    }
}

fn row(name: &str, figures: &Comparison, cpu: &ServerCpu, records: usize) -> Vec<Cell> {
    let (low, ratio, high) = figures.ratio(|run| run.per_second);
    vec![
        Cell::text(name),
        Cell::number(figures.raw(|run| run.per_second)),
        Cell::number(figures.store(|run| run.per_second)),
        Cell::number(ratio),
        Cell::text(format!("{low:.2}-{high:.2}")),
        Cell::number(figures.store(|run| run.per_second) * records as f64),
        Cell::number(figures.raw(|run| run.p50_micros)),
        Cell::number(figures.store(|run| run.p50_micros)),
        Cell::number(figures.raw(|run| run.p99_micros)),
        Cell::number(figures.store(|run| run.p99_micros)),
        Cell::number(cpu.bare.per_request()),
        Cell::number(cpu.anabranch.per_request()),
        Cell::number(figures.others() * 100.0),
    ]
}

/// PutRecord, or PutRecords of several. Every round puts into a new stream, which is read back and deleted.
fn puts(
    settings: &Settings,
    scratch: &Scratch,
    connections: usize,
    records: usize,
) -> Outcome<(Comparison, ServerCpu)> {
    let bare = start("bare", &scratch.fresh("bare")?)?;
    let anabranch = start("anabranch", &scratch.fresh("anabranch")?)?;
    let window = settings.window * 2;
    let mut round = 0;
    let mut cpu = ServerCpu::default();
    let put = |server: &ServerProcess, spent: &mut Spent, stream: &str| -> Outcome<(Run, Vec<u64>)> {
        let mut callers = Vec::new();
        for caller in 0..connections {
            callers.push(PutCaller::connect(&server.url, stream, caller, records)?);
        }
        let ran = spent.while_running(server, || run(&mut callers, Limits::window(window)))?;
        Ok((ran, callers.iter().map(PutCaller::records).collect()))
    };
    let comparison = interleave(
        settings,
        || put(&bare, &mut cpu.bare, "round-0").map(|(ran, _)| ran),
        || {
            let stream = format!("round-{round}");
            round += 1;
            let mut client = HttpClient::connect(&anabranch.url)?;
            call(
                &mut client,
                "CreateStream",
                &json!({"StreamName": stream, "ShardCount": 1}),
            )?;
            warm_up(&anabranch.url, &stream)?;
            let (ran, acknowledged) = put(&anabranch, &mut cpu.anabranch, &stream)?;
            read_back(&mut client, &stream, acknowledged)?;
            call(&mut client, "DeleteStream", &json!({"StreamName": stream}))?;
            Ok(ran)
        },
    )?;
    bare.stop()?;
    anabranch.stop()?;
    Ok((comparison, cpu))
}

/// The writer number of the warm-up.
const NOBODY: u64 = u64::MAX;

/// Brings the stream's segments near the size that they keep.
fn warm_up(url: &str, stream: &str) -> Outcome<()> {
    let mut client = HttpClient::connect(url)?;
    let batch = Batch::new(NOBODY, 100, 16 << 10);
    let mut request = PutRequest::new(&client, stream, batch, keys(0, 100));
    for _ in 0..40 {
        client.send(request.next_bytes())?;
    }
    Ok(())
}

fn read_back(client: &mut HttpClient, stream: &str, acknowledged: Vec<u64>) -> Outcome<()> {
    let mut ledger = Ledger::new(acknowledged, 1 << 10, true);
    let mut iterator = trim_horizon(client, stream)?;
    let mut data = Vec::new();
    loop {
        let request = json!({"ShardIterator": iterator}).to_string();
        let page: Page<'_> = serde_json::from_slice(client.call("GetRecords", &request)?)?;
        for record in &page.records {
            data.clear();
            STANDARD.decode_append(record.data, &mut data)?;
            if anabranch::bench::batch::stamp_of(&data).0 != NOBODY {
                ledger.read(&data)?;
            }
        }
        if page.millis_behind_latest == 0 {
            break;
        }
        iterator = page.next_shard_iterator.ok_or("the shard ended")?.to_owned();
    }
    ledger.close()?;
    Ok(())
}

fn trim_horizon(client: &mut HttpClient, stream: &str) -> Outcome<String> {
    let from = json!({
        "StreamName": stream,
        "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON",
    });
    let reply = call(client, "GetShardIterator", &from)?;
    Ok(reply["ShardIterator"]
        .as_str()
        .ok_or("there is no iterator")?
        .to_owned())
}

/// Reads the largest page repeatedly.
fn pages(
    settings: &Settings,
    scratch: &Scratch,
    connections: usize,
) -> Outcome<(Comparison, ServerCpu, usize)> {
    let anabranch = start("anabranch", &scratch.fresh("anabranch")?)?;
    let mut client = HttpClient::connect(&anabranch.url)?;
    call(
        &mut client,
        "CreateStream",
        &json!({"StreamName": "pages", "ShardCount": 1}),
    )?;
    warm_up(&anabranch.url, "pages")?;
    let mut request = PutRequest::new(&client, "pages", Batch::new(0, 500, 1 << 10), keys(0, 500));
    for _ in 0..100 {
        client.send(request.next_bytes())?;
    }
    let from = json!({
        "StreamName": "pages",
        "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON",
    });
    let mut iterator = call(&mut client, "GetShardIterator", &from)?["ShardIterator"].take();
    // Behind the records of the warm-up: records of 1 KiB.
    let (page, records) = loop {
        let body = json!({"ShardIterator": iterator}).to_string();
        let page = client.call("GetRecords", &body)?.to_vec();
        let parsed: Page<'_> = serde_json::from_slice(&page)?;
        if parsed.records.len() > 5_000 {
            let records = parsed.records.len();
            break (page, records);
        }
        iterator = parsed.next_shard_iterator.ok_or("the shard ended")?.into();
    };
    let bare_directory = scratch.fresh("bare")?;
    std::fs::create_dir_all(&bare_directory)?;
    std::fs::write(bare_directory.join(PAGE), &page)?;
    let bare = start("bare", &bare_directory)?;

    let window = settings.window * 2;
    let body = json!({"ShardIterator": iterator}).to_string();
    let mut cpu = ServerCpu::default();
    let get = |server: &ServerProcess, spent: &mut Spent| -> Outcome<Run> {
        let mut callers = Vec::new();
        for _ in 0..connections {
            let client = HttpClient::connect(&server.url)?;
            let request = (client.head("GetRecords", body.len()) + &body).into_bytes();
            callers.push(PageCaller {
                client,
                request,
                at_least: page.len() - 100,
            });
        }
        spent.while_running(server, || run(&mut callers, Limits::window(window)))
    };
    let comparison = interleave(
        settings,
        || get(&bare, &mut cpu.bare),
        || get(&anabranch, &mut cpu.anabranch),
    )?;
    bare.stop()?;
    anabranch.stop()?;
    Ok((comparison, cpu, records))
}

fn call(client: &mut HttpClient, operation: &str, body: &Value) -> Outcome<Value> {
    let reply = client.call(operation, &body.to_string())?;
    Ok(match reply.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(reply)?,
    })
}

struct PageCaller {
    client: HttpClient,
    request: Vec<u8>,
    at_least: usize,
}

impl Writer for PageCaller {
    fn write(&mut self) -> Outcome<()> {
        match self.client.send(&self.request)?.len() {
            length if length >= self.at_least => Ok(()),
            length => Err(format!("LOST: a page of {} bytes has {length}", self.at_least).into()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page<'a> {
    #[serde(borrow)]
    records: Vec<PageRecord<'a>>,
    next_shard_iterator: Option<&'a str>,
    millis_behind_latest: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PageRecord<'a> {
    data: &'a str,
}

/// Starts one of the two servers.
fn start(which: &str, directory: &Path) -> Outcome<ServerProcess> {
    ServerProcess::start(&[(SERVE, which.as_ref()), (DIRECTORY, directory.as_os_str())])
}

/// Serves until standard input is closed.
fn serve(which: &str, directory: &Path) -> Outcome<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let (closed, until_closed) = tokio::sync::oneshot::channel::<()>();
    when_told_to_end(move || {
        let _ = closed.send(());
    });
    if which == "bare" {
        let page = Bytes::from(std::fs::read(directory.join(PAGE)).unwrap_or_default());
        return runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            announce(listener.local_addr()?)?;
            tokio::select! {
                _ = until_closed => Ok(()),
                served = serve_bare(listener, page) => served,
            }
        });
    }
    let store = StoreOptions::new().max_recycled_bytes(4 << 30).open(directory)?;
    runtime.block_on(async {
        let server = Server::bind(store.clone(), ServerOptions::new("127.0.0.1:0")).await?;
        announce(server.local_addr())?;
        server
            .run_until(async {
                let _ = until_closed.await;
            })
            .await;
        Outcome::Ok(())
    })?;
    Ok(store.close()?)
}

async fn serve_bare(listener: TcpListener, page: Bytes) -> Outcome<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let page = page.clone();
        let service = service_fn(move |request| answer_bare(request, page.clone()));
        tokio::spawn(async move {
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsBody<'a> {
    stream_name: &'a str,
    #[serde(borrow)]
    records: Vec<EntryBody<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordBody<'a> {
    stream_name: &'a str,
    data: &'a str,
    partition_key: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EntryBody<'a> {
    data: &'a str,
    partition_key: &'a str,
}

async fn answer_bare(request: Request<Incoming>, page: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    const RESULT: &str = "{\"ShardId\":\"shardId-000000000000\",\
                          \"SequenceNumber\":\"49671203948576098347509834750983475098347509834750983745\"}";
    let target = request.headers().get("x-amz-target").cloned();
    let body = match request.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let reply = match target.as_ref().map_or(&b""[..], |target| target.as_bytes()) {
        b"Kinesis_20131202.GetRecords" => page,
        b"Kinesis_20131202.PutRecords" => {
            let body: PutRecordsBody<'_> = serde_json::from_slice(&body).expect("our client sends JSON");
            let mut data = Vec::with_capacity(body.records.len() << 10);
            let mut reply = Vec::with_capacity(64 + body.records.len() * 128);
            reply.extend_from_slice(b"{\"FailedRecordCount\":0,\"Records\":[");
            for (at, record) in body.records.iter().enumerate() {
                STANDARD
                    .decode_append(record.data, &mut data)
                    .expect("our client sends base64");
                std::hint::black_box(record.partition_key);
                if at > 0 {
                    reply.push(b',');
                }
                reply.extend_from_slice(RESULT.as_bytes());
            }
            reply.extend_from_slice(b"]}");
            std::hint::black_box((body.stream_name, data));
            reply.into()
        }
        _ => {
            let body: PutRecordBody<'_> = serde_json::from_slice(&body).expect("our client sends JSON");
            let data = STANDARD
                .decode_to_vec(body.data)
                .expect("our client sends base64");
            std::hint::black_box((body.stream_name, body.partition_key, data));
            Bytes::from_static(RESULT.as_bytes())
        }
    };
    let reply = Response::builder()
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amzn-requestid", "a3d2b1c0-0000-4000-8000-000000000000")
        .header(
            "x-amz-id-2",
            "c2FtZSBsZW5ndGggYXMgdGhlIHNlcnZlcidzIG93biBvbmVzIGhhdmUgaGVyZQ==",
        )
        .body(Full::new(reply));
    Ok(reply.expect("the headers are in order"))
}
