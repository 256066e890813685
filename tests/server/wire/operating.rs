//! The pages for people who run a server: health, metrics and version; beside the API, at a separate address, and
//! switched off.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anabranch::kinesis::{BindError, Credentials, Fault, Server, ServerOptions};
use anabranch::{Memory, StartingPosition, Store, StoreOptions};
use anabranch_harness::http1::{Client, Head, Reply};
use anabranch_harness::http2::Http2Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::test_server::{Backend, TestServer, on_each_backend};

on_each_backend!(
    health_and_version_are_told_in_json,
    metrics_are_text_that_prometheus_reads,
    metrics_count_what_was_put_and_read,
    metrics_tell_how_far_readers_are_behind,
    calls_are_counted_by_operation_and_error,
    a_page_can_only_be_read,
    a_path_says_nothing_where_an_operation_is_called,
    web_pages_and_hosts_are_let_in_as_for_the_api,
    with_credentials_metrics_are_not_beside_the_api,
    without_pages_their_paths_are_answered_like_all_others,
);

const PAGES: [&str; 3] = ["/health", "/metrics", "/version"];

fn head<'a>(method: &'a str, uri: &'a str) -> Head<'a> {
    Head {
        method,
        uri,
        headers: Vec::new(),
    }
}

fn get(address: SocketAddr, uri: &str) -> Reply {
    Client::connect(address).send(&head("GET", uri), b"")
}

/// The answer of AWS, and of this server, to everything that is not a call.
#[track_caller]
fn assert_no_page(reply: &Reply) {
    assert_eq!(reply.status, 403, "{}", reply.text());
    assert!(
        reply.text().contains("Unable to determine service"),
        "{}",
        reply.text()
    );
}

/// The value of each series, and the type of each metric.
struct Metrics {
    series: BTreeMap<String, f64>,
    types: BTreeMap<String, String>,
}

impl Metrics {
    #[track_caller]
    fn of(server: &TestServer) -> Metrics {
        Metrics::at(server.address)
    }

    #[track_caller]
    fn at(address: SocketAddr) -> Metrics {
        let reply = get(address, "/metrics");
        assert_eq!(reply.status, 200, "{}", reply.text());
        Metrics::parse(reply.text())
    }

    /// The text format has a line for each series, behind the lines with its metric's meaning and type.
    #[track_caller]
    fn parse(text: &str) -> Metrics {
        let mut metrics = Metrics {
            series: BTreeMap::new(),
            types: BTreeMap::new(),
        };
        let mut current = "";
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(name.starts_with("anabranch_") && help.ends_with('.'), "{line}");
                current = name;
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, current, "a type stands behind its metric's help");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                let known = metrics.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(known, None, "{name} is there twice");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                let name = series.split('{').next().unwrap();
                let of_histogram = ["_bucket", "_sum", "_count"];
                let metric = of_histogram.iter().find_map(|part| name.strip_suffix(part));
                assert!(
                    name == current || metric == Some(current),
                    "{line} is not of {current}"
                );
                let known = metrics.series.insert(series.to_owned(), value.parse().unwrap());
                assert_eq!(known, None, "{series} is there twice");
            }
        }
        metrics
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        let value = self.series.get(series);
        *value.unwrap_or_else(|| panic!("{series} is not in {:?}", self.series.keys()))
    }

    /// The streams that have a series of this metric.
    fn streams(&self, metric: &str) -> BTreeSet<String> {
        let of_metric = self.series.keys().filter_map(|series| {
            let labels = series.strip_prefix(metric)?.strip_prefix('{')?;
            let name = labels.split_once("stream=\"")?.1.split('"').next()?;
            Some(name.to_owned())
        });
        of_metric.collect()
    }
}

fn of_stream(metric: &str, stream: &str) -> String {
    format!("{metric}{{namespace=\"000000000000/eu-west-1\",stream=\"{stream}\"}}")
}

fn others(metric: &str) -> String {
    format!("{metric}{{namespace=\"\",stream=\"(others)\"}}")
}

fn health_and_version_are_told_in_json(backend: Backend) {
    let server = TestServer::start(backend);
    for (page, expected) in [
        ("/health", json!({"status": "ok", "reasons": []})),
        (
            "/version",
            json!({"version": env!("CARGO_PKG_VERSION"), "api": "Kinesis_20131202"}),
        ),
    ] {
        let reply = get(server.address, page);
        assert_eq!((reply.status, reply.json()), (200, expected), "{page}");
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    assert_eq!(get(server.address, "/health?verbose=1").status, 200);
    for other in ["/", "/health/", "/healthz", "/Health", "//health", "/metrics/x"] {
        assert_no_page(&get(server.address, other));
    }
    server.store.close().unwrap();
    let reply = get(server.address, "/health");
    assert_eq!(
        (reply.status, reply.json()),
        (503, json!({"status": "failing", "reasons": ["closed"]}))
    );
    assert_eq!(get(server.address, "/metrics").status, 503);
    assert_eq!(get(server.address, "/version").status, 200);
}

fn metrics_are_text_that_prometheus_reads(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 2);
    server.put("clicks", "k", "data");
    let reply = get(server.address, "/metrics");
    assert_eq!(
        reply.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(reply.text().ends_with('\n'));
    let metrics = Metrics::parse(reply.text());
    // The buckets of a histogram count up to all of its values.
    for histogram in [
        "anabranch_commit_duration_seconds",
        "anabranch_sync_duration_seconds",
        "anabranch_group_records",
    ] {
        assert_eq!(metrics.types[histogram], "histogram");
        let begin = format!("{histogram}_bucket{{le=\"");
        let mut buckets: Vec<(f64, f64)> = metrics
            .series
            .iter()
            .filter_map(|(series, values)| {
                let bound = series.strip_prefix(&begin)?.strip_suffix("\"}")?;
                Some((bound.parse().unwrap(), *values))
            })
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.len() > 10 && buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        let (last, all) = buckets[buckets.len() - 1];
        assert_eq!(
            (last, all),
            (f64::INFINITY, metrics.value(&format!("{histogram}_count")))
        );
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        metrics.value(&format!("anabranch_build_info{{version=\"{version}\"}}")),
        1.0
    );
}

fn metrics_tell_how_far_readers_are_behind(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 1);
    let stream = server.streams().stream("clicks").unwrap();
    stream.register_consumer("billing").unwrap();
    for data in ["first", "second", "third"] {
        server.put("clicks", "k", data);
    }
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.next().unwrap().unwrap();
    reader.save_checkpoint("archive").unwrap();
    server.advance(std::time::Duration::from_secs(7));
    let series = |metric: &str| {
        let namespace = stream.namespace();
        format!(r#"{metric}{{namespace="{namespace}",stream="clicks",kind="checkpoint",reader="archive"}}"#)
    };
    let metrics = Metrics::of(&server);
    assert_eq!(metrics.value(&series("anabranch_stream_reader_lag_records")), 2.0);
    assert!(metrics.value(&series("anabranch_stream_reader_lag_bytes")) > 13.0);
    assert_eq!(metrics.value(&series("anabranch_stream_reader_lag_seconds")), 7.0);
    // The position of a consumer to which nothing is pushed is unknown.
    assert!(!metrics.series.keys().any(|series| series.contains("billing")));

    assert_eq!(reader.by_ref().count(), 2);
    reader.save_checkpoint("archive").unwrap();
    let metrics = Metrics::of(&server);
    assert_eq!(metrics.value(&series("anabranch_stream_reader_lag_records")), 0.0);
    assert_eq!(metrics.value(&series("anabranch_stream_reader_lag_seconds")), 0.0);
    stream.remove_checkpoint("archive").unwrap();
    let metrics = Metrics::of(&server);
    assert!(!metrics.series.keys().any(|series| series.contains("archive")));

    // At most a hundred readers have series.
    for number in 0..101 {
        reader.save_checkpoint(&format!("reader-{number:03}")).unwrap();
    }
    let metrics = Metrics::of(&server);
    let records = metrics
        .series
        .keys()
        .filter(|series| series.starts_with("anabranch_stream_reader_lag_records"));
    assert_eq!(records.count(), 100);
}

fn metrics_count_what_was_put_and_read(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 2);
    server.create("orders", 1);
    for _ in 0..3 {
        server.put("clicks", "user-1", "12345");
    }
    assert_eq!(server.count_records("clicks"), 3);
    let metrics = Metrics::of(&server);
    for (series, value) in [
        ("anabranch_put_records_total", 3.0),
        ("anabranch_put_bytes_total", 33.0),
        ("anabranch_read_records_total", 3.0),
        ("anabranch_read_bytes_total", 33.0),
        ("anabranch_commits_total", 3.0),
        ("anabranch_commit_duration_seconds_count", 3.0),
        ("anabranch_group_records_sum", 3.0),
        ("anabranch_group_records_bucket{le=\"1\"}", 3.0),
        ("anabranch_streams", 2.0),
        ("anabranch_open_shards", 3.0),
        ("anabranch_damaged_shards", 0.0),
        ("anabranch_poisoned", 0.0),
        ("anabranch_pool_files", 0.0),
        ("anabranch_connections_closed_idle_total", 0.0),
        ("anabranch_throttled_records_total", 0.0),
    ] {
        assert_eq!(metrics.value(series), value, "{series}");
    }
    for (metric, clicks, orders) in [
        ("anabranch_stream_put_records_total", 3.0, 0.0),
        ("anabranch_stream_put_bytes_total", 33.0, 0.0),
        ("anabranch_stream_read_records_total", 3.0, 0.0),
        ("anabranch_stream_read_bytes_total", 33.0, 0.0),
        ("anabranch_stream_open_shards", 2.0, 1.0),
    ] {
        assert_eq!(metrics.value(&of_stream(metric, "clicks")), clicks, "{metric}");
        assert_eq!(metrics.value(&of_stream(metric, "orders")), orders, "{metric}");
    }
    let oldest = "anabranch_stream_oldest_record_timestamp_seconds";
    assert_eq!(metrics.value(&of_stream(oldest, "clicks")), 1_421_889_722.0);
    assert_eq!(metrics.streams(oldest), BTreeSet::from(["clicks".to_owned()]));
    assert!(metrics.value("anabranch_segment_bytes") > 0.0);
    assert!(metrics.value("anabranch_connections") >= 1.0);
    assert!(metrics.value("anabranch_disk_size_bytes") >= metrics.value("anabranch_disk_available_bytes"));
    // The counts of a deleted stream stay in the totals.
    server.ok("DeleteStream", &json!({"StreamName": "clicks"}));
    let metrics = Metrics::of(&server);
    assert_eq!(metrics.value("anabranch_put_records_total"), 3.0);
    let puts = "anabranch_stream_put_records_total";
    assert_eq!(metrics.value(&others(puts)), 0.0);
    assert!(!metrics.streams(puts).contains("clicks"));
}

fn calls_are_counted_by_operation_and_error(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        let faults = ["PutRecord:throttle:2", "PutRecords:throttle:100%"];
        options.faults(faults.map(|fault| fault.parse::<Fault>().unwrap()), 1)
    });
    server.create("clicks", 1);
    let put = json!({"StreamName": "clicks", "PartitionKey": "k", "Data": "aGk="});
    for _ in 0..2 {
        server.refusal("PutRecord", &put);
    }
    server.ok("PutRecord", &put);
    let record = json!({"PartitionKey": "k", "Data": "aGk="});
    server.ok(
        "PutRecords",
        &json!({"StreamName": "clicks", "Records": [record, record]}),
    );
    server.refusal("DescribeStream", &json!({"StreamName": "nothing"}));
    assert_no_page(&get(server.address, "/"));
    assert_eq!(get(server.address, "/health").status, 200);
    let evil = Head::of("Kinesis_20131202.ListStreams").header("Host", "evil.example");
    assert_eq!(server.connect().send(&evil, b"{}").status, 403);

    let metrics = Metrics::of(&server);
    let requests =
        |operation: &str| metrics.value(&format!("anabranch_requests_total{{operation=\"{operation}\"}}"));
    assert_eq!(
        [
            "PutRecord",
            "PutRecords",
            "DescribeStream",
            "ListStreams",
            "(none)"
        ]
        .map(requests),
        [3.0, 1.0, 1.0, 1.0, 1.0]
    );
    let errors: BTreeMap<_, _> = metrics
        .series
        .iter()
        .filter_map(|(series, count)| {
            let labels = series.strip_prefix("anabranch_request_errors_total{operation=\"")?;
            let (operation, error) = labels.strip_suffix("\"}")?.split_once("\",error=\"")?;
            Some(((operation, error), *count))
        })
        .collect();
    let expected = BTreeMap::from([
        (("(none)", "(none)"), 1.0),
        (("DescribeStream", "ResourceNotFoundException"), 1.0),
        (("ListStreams", "AccessDeniedException"), 1.0),
        (("PutRecord", "ProvisionedThroughputExceededException"), 2.0),
    ]);
    assert_eq!(errors, expected);
    assert_eq!(metrics.value("anabranch_throttled_records_total"), 2.0);
}

fn a_page_can_only_be_read(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 1);
    for page in PAGES {
        let mut client = server.connect();
        let whole = client.send(&head("GET", page), b"");
        let without_body = client.send(&head("HEAD", page), b"");
        assert_eq!(without_body.status, 200, "{page}");
        assert_eq!(without_body.header("content-type"), whole.header("content-type"));
        assert!(
            without_body
                .header("content-length")
                .unwrap()
                .parse::<usize>()
                .unwrap()
                > 10
        );
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let reply = client.send(&head(method, page), b"{}");
            assert_eq!(
                (reply.status, reply.header("allow")),
                (405, Some("GET, HEAD")),
                "{method}"
            );
        }
        // A body is ignored.
        assert_eq!(client.send(&head("GET", page), b"{}").status, 200);
    }
}

fn a_path_says_nothing_where_an_operation_is_called(backend: Backend) {
    let server = TestServer::start(backend);
    for page in PAGES {
        let call = Head::of("Kinesis_20131202.ListStreams").uri(page);
        let reply = server.connect().send(&call, b"{}");
        assert_eq!(reply.ok()["HasMoreStreams"], false, "{page}");
    }
}

fn web_pages_and_hosts_are_let_in_as_for_the_api(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.allow_origin("https://app.example"));
    for page in PAGES {
        for (name, value) in [("Host", "evil.example"), ("Origin", "https://evil.example")] {
            let reply = server.connect().send(&head("GET", page).header(name, value), b"");
            assert_eq!(reply.status, 403, "{page} {value}");
            assert!(reply.header("access-control-allow-origin").is_none());
            assert!(!reply.text().contains("anabranch_"), "{}", reply.text());
        }
        let from = head("GET", page).header("Origin", "https://app.example");
        let reply = server.connect().send(&from, b"");
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some("https://app.example")
        );
    }
}

fn with_credentials_metrics_are_not_beside_the_api(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.credentials(credentials()));
    assert_eq!(get(server.address, "/health").status, 200);
    assert_eq!(get(server.address, "/version").status, 200);
    assert_no_page(&get(server.address, "/metrics"));
}

fn credentials() -> Credentials {
    Credentials::parse("[a]\naws_access_key_id = AKID\naws_secret_access_key = secret\n").unwrap()
}

fn without_pages_their_paths_are_answered_like_all_others(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.admin(false));
    for page in PAGES {
        assert_no_page(&get(server.address, page));
    }
}

/// Streams beyond the first hundred have no series.
#[test]
fn so_many_streams_have_numbers_of_their_own_and_the_others_have_them_together() {
    let server = TestServer::start(Backend::Memory);
    let streams = server.streams();
    for number in 0..110 {
        let stream = streams.create_stream(&format!("stream-{number:03}"), 1).unwrap();
        stream.put("k", b"data").unwrap();
    }
    let metrics = Metrics::of(&server);
    let puts = "anabranch_stream_put_records_total";
    let names = metrics.streams(puts);
    assert_eq!(names.len(), 101);
    assert!(names.contains("stream-000") && names.contains("stream-099"));
    assert!(names.contains("(others)") && !names.contains("stream-100"));
    assert_eq!(metrics.value(&of_stream(puts, "stream-007")), 1.0);
    assert_eq!(metrics.value(&others(puts)), 10.0);
    assert_eq!(metrics.streams("anabranch_stream_open_shards").len(), 100);
    assert!(metrics.series.len() < 1_000, "{}", metrics.series.len());
}

/// So each series is a counter, whatever happens to streams.
#[test]
fn the_numbers_of_the_others_only_grow() {
    let server = TestServer::start(Backend::Memory);
    let streams = server.streams();
    let puts = "anabranch_stream_put_records_total";
    for number in 0..110 {
        let stream = streams.create_stream(&format!("stream-{number:03}"), 1).unwrap();
        stream.put("k", b"data").unwrap();
    }
    assert_eq!(Metrics::of(&server).value(&others(puts)), 10.0);
    // The counts of a deleted stream that had series do not move to the others, and none of these gets its place.
    streams.stream("stream-007").unwrap().delete().unwrap();
    streams.stream("stream-105").unwrap().delete().unwrap();
    streams.stream("stream-106").unwrap().put("k", b"data").unwrap();
    let metrics = Metrics::of(&server);
    assert_eq!(metrics.value(&others(puts)), 11.0);
    assert_eq!(metrics.streams(puts).len(), 100);
    assert!(!metrics.streams(puts).contains("stream-100"));
    // A new stream gets the place, and is never counted elsewhere.
    for name in ["new", "one-too-many"] {
        streams.create_stream(name, 1).unwrap().put("k", b"data").unwrap();
    }
    let metrics = Metrics::of(&server);
    assert_eq!(metrics.value(&of_stream(puts, "new")), 1.0);
    assert!(!metrics.streams(puts).contains("one-too-many"));
    assert_eq!(metrics.value(&others(puts)), 12.0);
    assert_eq!(metrics.value("anabranch_put_records_total"), 113.0);
}

/// The oldest record of the stream with the most shards is not looked up.
#[test]
fn the_oldest_record_of_a_stream_of_many_shards_is_not_looked_for() {
    let server = TestServer::start(Backend::Memory);
    let streams = server.streams();
    for (name, shards) in [("many", 65), ("few", 64)] {
        streams
            .create_stream(name, shards)
            .unwrap()
            .put("k", b"data")
            .unwrap();
    }
    let oldest = Metrics::of(&server).streams("anabranch_stream_oldest_record_timestamp_seconds");
    assert_eq!(oldest, BTreeSet::from(["few".to_owned()]));
}

/// A page and its names in the documentation must not differ.
#[test]
fn the_documentation_has_each_metric_with_its_type() {
    let server = TestServer::start(Backend::Directory);
    server.create("clicks", 1);
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md")).unwrap();
    let documented: BTreeMap<_, _> = page
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `anabranch_")?.split_once('`')?;
            let kind = rest.split('|').nth(1)?.trim();
            Some((format!("anabranch_{name}"), kind.to_owned()))
        })
        .collect();
    assert_eq!(Metrics::of(&server).types, documented);
}

/// A server on a store in memory, with an address for its pages.
struct WithAdminAddress {
    runtime: Runtime,
    api: SocketAddr,
    admin: SocketAddr,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl WithAdminAddress {
    fn start(change: fn(ServerOptions) -> ServerOptions) -> WithAdminAddress {
        let store = StoreOptions::new().keeper(false).open_in_memory(&Memory::new());
        WithAdminAddress::on(store.unwrap(), change)
    }

    fn on(store: Store, change: fn(ServerOptions) -> ServerOptions) -> WithAdminAddress {
        let runtime = Runtime::new().unwrap();
        let options = change(ServerOptions::new("127.0.0.1:0").admin_listen("127.0.0.1:0"));
        let server = runtime.block_on(Server::bind(store, options)).unwrap();
        let (api, admin) = (server.local_addr(), server.admin_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = runtime.spawn(server.run_until(async {
            let _ = stopped.await;
        }));
        WithAdminAddress {
            runtime,
            api,
            admin,
            running: Some((stop, running)),
        }
    }

    fn stop(&mut self) {
        if let Some((stop, running)) = self.running.take() {
            stop.send(()).unwrap();
            self.runtime.block_on(running).unwrap();
        }
    }
}

impl Drop for WithAdminAddress {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn an_address_of_their_own_has_the_pages_and_the_one_of_the_api_has_not() {
    let mut server = WithAdminAddress::start(|options| options.credentials(credentials()));
    assert_ne!(server.api, server.admin);
    for page in PAGES {
        assert_eq!(get(server.admin, page).status, 200, "{page}");
        assert_no_page(&get(server.api, page));
        let post = Client::connect(server.admin).send(&head("POST", page), b"{}");
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    }
    // It serves nothing else.
    let call = Head::of("Kinesis_20131202.ListStreams");
    let mut client = Client::connect(server.admin);
    assert_eq!(client.send(&call, b"{}").status, 404);
    assert_eq!(client.send(&head("GET", "/"), b"").status, 404);
    // Nor does it answer web pages, or requests for another host.
    for (name, value) in [("Host", "evil.example"), ("Origin", "https://evil.example")] {
        let reply = Client::connect(server.admin).send(&head("GET", "/metrics").header(name, value), b"");
        assert_eq!(reply.status, 403);
        assert!(reply.text().contains("evil.example") && !reply.text().contains("anabranch_"));
    }
    // Over HTTP/2 too.
    let mut client = Http2Client::connect(server.admin);
    let stream = client.begin_with("GET", "ListStreams", None, &[(":path", "/health")]);
    client.end(stream);
    let health = (200, json!({"status": "ok", "reasons": []}));
    assert_eq!(client.finish(stream), health);
    server.stop();
    assert!(Client::try_connect(server.admin).is_err());
}

#[test]
fn a_web_page_that_is_allowed_may_read_the_pages_at_their_own_address() {
    let server = WithAdminAddress::start(|options| options.allow_origin("https://app.example"));
    let preflight = head("OPTIONS", "/metrics")
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "GET");
    let get = head("GET", "/metrics").header("Origin", "https://app.example");
    for asked in [preflight, get] {
        let reply = Client::connect(server.admin).send(&asked, b"");
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some("https://app.example")
        );
    }
}

/// If there are more connections than places, the longest idle one is closed, as at the API.
#[test]
fn clients_that_keep_connections_do_not_lock_others_out_of_the_pages() {
    let server = WithAdminAddress::start(|options| options);
    let _idle: Vec<_> = (0..40).map(|_| Client::connect(server.admin)).collect();
    assert_eq!(get(server.admin, "/health").status, 200);
    assert_eq!(
        Client::connect(server.api).call("ListStreams", &json!({})).status,
        200
    );
}

fn refused(options: ServerOptions) -> BindError {
    let store = Store::in_memory().unwrap();
    let runtime = Runtime::new().unwrap();
    let bound = runtime.block_on(Server::bind(store, options));
    bound.expect_err("the address is refused")
}

#[test]
fn an_address_for_the_pages_that_makes_no_sense_is_refused() {
    let beyond = || ServerOptions::new("127.0.0.1:0").admin_listen("0.0.0.0:0");
    let error = refused(beyond());
    assert!(matches!(error, BindError::AdminBeyondLoopback { .. }), "{error}");
    // Then signatures are required only at the other address.
    let error = refused(beyond().credentials(credentials()));
    assert!(matches!(error, BindError::AdminBeyondLoopback { .. }), "{error}");
    let error = refused(ServerOptions::new("127.0.0.1:0").admin_listen("nonsense"));
    assert!(matches!(&error, BindError::Admin { .. }), "{error}");
    assert!(error.to_string().contains("nonsense"), "{error}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let error = refused(ServerOptions::new("127.0.0.1:0").admin_listen(&taken));
    assert!(
        error.to_string().contains(&format!("{taken} is taken")),
        "{error}"
    );

    let runtime = Runtime::new().unwrap();
    let meant = beyond().allow_unsigned_beyond_loopback(true);
    let server = runtime.block_on(Server::bind(Store::in_memory().unwrap(), meant));
    assert!(server.unwrap().admin_addr().unwrap().ip().is_unspecified());
}

#[cfg(feature = "sim")]
mod on_a_simulated_disk {
    use std::io::ErrorKind;

    use std::time::Duration;

    use anabranch::sim::{Calls, Operation, SimDisk};
    use anabranch::{ManualClock, Timestamp};
    use anabranch_harness::wait::wait_until;

    use super::*;

    fn start() -> (SimDisk, Store, WithAdminAddress) {
        let disk = SimDisk::new(1);
        let options = StoreOptions::new().keeper(false).disk(disk.clone());
        let store = options.open("store").unwrap();
        let server = WithAdminAddress::on(store.clone(), |options| options);
        (disk, store, server)
    }

    #[track_caller]
    fn assert_failing(server: &WithAdminAddress, reason: &str) {
        let reply = get(server.admin, "/health");
        let expected: Value = json!({"status": "failing", "reasons": [reason]});
        assert_eq!((reply.status, reply.json()), (503, expected));
        let head = Client::connect(server.admin).send(&head("HEAD", "/health"), b"");
        assert_eq!((head.status, head.body.len()), (503, 0));
    }

    #[test]
    fn a_poisoned_store_fails_its_health_and_tells_its_numbers() {
        let (disk, store, server) = start();
        let stream = store.create_stream("clicks", 1).unwrap();
        stream.put("k", b"data").unwrap();
        assert_eq!(get(server.admin, "/health").status, 200);
        disk.faults().fail_nth(Operation::SyncData, 1, ErrorKind::Other);
        stream.put("k", b"data").unwrap_err();
        assert_failing(&server, "poisoned");
        let metrics = Metrics::at(server.admin);
        assert_eq!(metrics.value("anabranch_poisoned"), 1.0);
        assert_eq!(metrics.value("anabranch_put_records_total"), 1.0);
    }

    #[test]
    fn a_disk_that_is_nearly_full_fails_the_health_until_there_is_room() {
        let (disk, store, server) = start();
        store
            .create_stream("clicks", 1)
            .unwrap()
            .put("k", b"data")
            .unwrap();
        assert!(
            !Metrics::at(server.admin)
                .types
                .contains_key("anabranch_disk_size_bytes"),
            "a disk without a size has none to tell"
        );
        disk.set_capacity(disk.used_bytes() + 100);
        assert_failing(&server, "nearly full");
        let metrics = Metrics::at(server.admin);
        assert_eq!(metrics.value("anabranch_disk_available_bytes"), 100.0);
        disk.set_capacity(100 << 20);
        assert_eq!(get(server.admin, "/health").status, 200);
    }

    fn start_by(clock: &ManualClock, options: StoreOptions) -> (SimDisk, Store, WithAdminAddress) {
        let disk = SimDisk::new(1);
        let options = options.keeper(false).clock(clock.clone()).disk(disk.clone());
        let store = options.open("store").unwrap();
        let server = WithAdminAddress::on(store.clone(), |options| options);
        (disk, store, server)
    }

    fn clock() -> ManualClock {
        ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000))
    }

    #[test]
    fn a_sync_that_hangs_fails_the_health_until_it_ends_and_the_numbers_are_told() {
        let clock = clock();
        let (disk, store, server) = start_by(&clock, StoreOptions::new());
        let stream = store.create_stream("clicks", 1).unwrap();
        stream.put("k", b"data").unwrap();
        let stall = disk.stall_next(Operation::SyncData, "");
        let putting = std::thread::spawn(move || stream.put("k", b"data"));
        stall.wait_until_reached();
        clock.advance(Duration::from_millis(9_999));
        assert_eq!(get(server.admin, "/health").status, 200);
        clock.advance(Duration::from_millis(1));
        assert_failing(&server, "stuck");
        assert_eq!(
            Metrics::at(server.admin).value("anabranch_put_records_total"),
            1.0
        );
        drop(stall);
        putting.join().unwrap().unwrap();
        assert_eq!(get(server.admin, "/health").status, 200);
        assert_eq!(
            Metrics::at(server.admin).value("anabranch_put_records_total"),
            2.0
        );
    }

    #[test]
    fn numbers_do_not_wait_for_a_change_that_hangs() {
        let clock = clock();
        let options = StoreOptions::new().transition_delay(Duration::from_secs(1));
        let (disk, store, server) = start_by(&clock, options);
        store.create_stream("clicks", 1).unwrap();
        clock.advance(Duration::from_secs(2));
        let stall = disk.stall_next(Operation::SyncData, "MANIFEST");
        // Changes that are due are not made by the pages.
        assert_eq!(Metrics::at(server.admin).value("anabranch_streams"), 1.0);
        let settling = std::thread::spawn(move || store.streams(None, 10).map(drop));
        stall.wait_until_reached();
        assert_eq!(Metrics::at(server.admin).value("anabranch_streams"), 1.0);
        clock.advance(Duration::from_secs(10));
        assert_failing(&server, "stuck");
        drop(stall);
        settling.join().unwrap().unwrap();
    }

    #[test]
    fn numbers_do_not_wait_for_a_log_that_cannot_be_opened() {
        const OLDEST: &str = "anabranch_stream_oldest_record_timestamp_seconds";
        let clock = clock();
        let disk = SimDisk::new(1);
        let options = StoreOptions::new()
            .keeper(false)
            .clock(clock.clone())
            .disk(disk.clone());
        let store = options.open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        stream.put("k", b"data").unwrap();
        store.close().unwrap();
        let store = options.open("store").unwrap();
        let server = WithAdminAddress::on(store, |options| options);
        let stall = disk.stall_next(Calls::READING | Operation::Open, "shardId");
        for _ in 0..2 {
            let metrics = Metrics::at(server.admin);
            assert_eq!(metrics.value("anabranch_streams"), 1.0);
            assert!(!metrics.types.contains_key(OLDEST) || metrics.streams(OLDEST).is_empty());
        }
        stall.wait_until_reached();
        drop(stall);
        wait_until("the oldest record is known", || {
            Metrics::at(server.admin).streams(OLDEST).len() == 1
        });
    }

    #[test]
    fn health_does_not_wait_for_the_room_to_be_told() {
        let clock = clock();
        let (disk, _store, server) = start_by(&clock, StoreOptions::new());
        disk.set_capacity(disk.used_bytes() + 100);
        assert_failing(&server, "nearly full");
        disk.set_capacity(100 << 20);
        let stall = disk.stall_space();
        // The last known facts are shown.
        for _ in 0..3 {
            assert_failing(&server, "nearly full");
            assert_eq!(
                Metrics::at(server.admin).value("anabranch_disk_available_bytes"),
                100.0
            );
        }
        stall.wait_until_reached();
        drop(stall);
        wait_until("there is room", || get(server.admin, "/health").status == 200);
    }

    #[test]
    fn a_store_that_is_only_read_needs_no_room() {
        let disk = SimDisk::new(1);
        let options = StoreOptions::new().keeper(false).disk(disk.clone());
        options.open("store").unwrap().close().unwrap();
        disk.set_capacity(disk.used_bytes());
        let store = options.read_only(true).open("store").unwrap();
        let server = WithAdminAddress::on(store, |options| options);
        assert_eq!(get(server.admin, "/health").status, 200);
        assert_eq!(
            Metrics::at(server.admin).value("anabranch_disk_available_bytes"),
            0.0
        );
    }
}
