//! The console: the answers of its paths, who may send requests, and their cost. What a person sees is tested in a
//! browser (`tests/clients/console.rs`).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anabranch::kinesis::{Credentials, Server, ServerOptions};
use anabranch::{KeyRing, Memory, QueueOptions, StartingPosition, StoreOptions};
use anabranch_harness::http1::{Client, Head, Reply};
use anabranch_harness::wait::{PATIENCE, wait_until};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::test_server::{ACCOUNT, Backend, REGION, Setup, TestServer, on_each_backend, text};

on_each_backend!(
    streams_are_shown_with_what_went_in_and_out,
    a_stream_is_shown_with_the_lineage_of_its_shards,
    a_stream_that_has_changed_its_shards_by_itself_is_shown_so,
    records_are_found_from_every_kind_of_place,
    a_key_is_searched_for_in_pieces,
    a_large_record_is_cut_and_says_so,
    records_in_one_are_taken_apart,
    expired_records_are_skipped_and_that_is_said,
    readers_are_shown_with_how_far_they_are,
);

/// The header that every browser sends for a page.
const PAGE: (&str, &str) = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");

const FIRST: &str = "shardId-000000000000";

fn head<'a>(uri: &'a str, headers: &[(&'a str, &'a str)]) -> Head<'a> {
    Head {
        method: "GET",
        uri,
        headers: headers.to_vec(),
    }
}

fn get(address: SocketAddr, uri: &str, headers: &[(&str, &str)]) -> Reply {
    Client::connect(address).send(&head(uri, headers), b"")
}

/// A path below `/console/api/`, for streams in the region that the tests' clients sign for.
fn asked(server: &TestServer, path: &str) -> Reply {
    let sign = if path.contains('?') { '&' } else { '?' };
    get(
        server.address,
        &format!("/console/api/{path}{sign}namespace={ACCOUNT}/{REGION}"),
        &[],
    )
}

#[track_caller]
fn shown(server: &TestServer, path: &str) -> Value {
    let reply = asked(server, path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_guarded(&reply);
    reply.json()
}

#[track_caller]
fn problem(server: &TestServer, path: &str) -> (u16, String) {
    let reply = asked(server, path);
    assert_guarded(&reply);
    (reply.status, text(&reply.json()["error"]))
}

/// Checks that no other page can show it, or read it.
#[track_caller]
fn assert_guarded(reply: &Reply) {
    let policy = reply.header("content-security-policy").unwrap_or_default();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    let allows_others = |name: &str| name.starts_with("access-control");
    assert!(!reply.headers.iter().any(|(name, _)| allows_others(name)));
}

#[test]
fn a_browser_gets_the_page_and_a_client_what_it_always_got() {
    let server = TestServer::start(Backend::Memory);
    for uri in ["/", "/console", "/console/", "/console/index.html"] {
        let reply = get(server.address, uri, &[PAGE]);
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("text/html; charset=utf-8"))
        );
        assert!(reply.text().contains("<title>anabranch</title>"), "{uri}");
        assert_guarded(&reply);
    }
    let reply = get(server.address, "/", &[("Accept", "*/*")]);
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("Unable to determine service"));
    // A request that calls an operation is a call, whatever it accepts and whatever its path.
    let call = Head::of("Kinesis_20131202.ListStreams");
    let call = call.header("Accept", "text/html").uri("/console/");
    assert_eq!(server.connect().send(&call, b"{}").ok()["StreamNames"], json!([]));
}

#[test]
fn each_file_of_the_page_is_there_once_for_a_browser_that_keeps_it() {
    let server = TestServer::start(Backend::Memory);
    let page = get(server.address, "/", &[PAGE]);
    let page = page.text();
    let mut waiting: Vec<String> = attributes(page, "=\"/console/").collect();
    let mut seen = Vec::new();
    while let Some(name) = waiting.pop() {
        if seen.contains(&name) {
            continue;
        }
        let uri = format!("/console/{name}");
        let reply = get(server.address, &uri, &[]);
        assert_eq!(reply.status, 200, "{uri}");
        assert_guarded(&reply);
        let content_type = match name.rsplit('.').next() {
            Some("mjs") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            _ => "image/svg+xml",
        };
        assert_eq!(reply.header("content-type"), Some(content_type), "{uri}");
        let tag = reply.header("etag").unwrap();
        for known in [tag.to_owned(), format!("\"other\", W/{tag}")] {
            let again = get(server.address, &uri, &[("If-None-Match", &known)]);
            assert_eq!((again.status, again.body.len()), (304, 0), "{uri}");
        }
        let changed = get(server.address, &uri, &[("If-None-Match", "\"other\"")]);
        assert_eq!(changed.status, 200);
        let body = reply.text();
        assert!(
            !body.contains("http://") || body.contains("http://www.w3.org/"),
            "{uri} is of elsewhere"
        );
        assert!(body.lines().count() < 400, "{uri} is long");
        waiting.extend(attributes(body, "from \"./"));
        seen.push(name);
    }
    assert!(seen.len() > 15, "{seen:?}");
    // Its policy allows neither scripts nor styles in the page itself.
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("<script>"));
}

fn attributes(text: &str, before: &str) -> impl Iterator<Item = String> {
    let found: Vec<_> = text.split(before).skip(1).collect();
    found
        .into_iter()
        .map(|rest| rest.split('"').next().unwrap_or_default().to_owned())
}

#[test]
fn the_console_can_only_be_read() {
    let server = TestServer::start(Backend::Memory);
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let reply = server
            .connect()
            .send(&head("/console/api/streams", &[]).method(method), b"");
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some("GET, HEAD")),
            "{method}"
        );
        assert_guarded(&reply);
    }
    for uri in [
        "/",
        "/console/main.mjs",
        "/console/api/streams",
        "/console/api/events",
    ] {
        let reply = server.connect().send(&head(uri, &[PAGE]).method("HEAD"), b"");
        assert_eq!(reply.status, 200, "{uri}");
        assert_guarded(&reply);
    }
}

#[test]
fn other_web_pages_and_other_hosts_are_refused() {
    let server = TestServer::with_options(Backend::Memory, |options| {
        options.allow_origin("https://app.example")
    });
    let own = format!("127.0.0.1:{}", server.address.port());
    let own_origin = format!("http://{own}");
    let uris = [
        "/",
        "/console/main.mjs",
        "/console/api/streams",
        "/console/api/events",
    ];
    for uri in uris {
        let refused: [&[(&str, &str)]; 8] = [
            &[("Host", "evil.example")],
            &[("Host", "evil.example"), ("Origin", "http://evil.example")],
            &[("Origin", "https://evil.example")],
            // Not even pages that may use the API.
            &[("Origin", "https://app.example")],
            &[("Origin", "http://localhost:3000")],
            &[("Origin", "null")],
            &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")],
            // In a frame.
            &[
                ("Sec-Fetch-Site", "same-site"),
                ("Sec-Fetch-Mode", "navigate"),
                ("Sec-Fetch-Dest", "iframe"),
            ],
        ];
        for headers in refused {
            let headers = [&[PAGE], headers].concat();
            let reply = get(server.address, uri, &headers);
            assert_eq!(reply.status, 403, "{uri} {headers:?}");
            assert!(
                !reply
                    .headers
                    .iter()
                    .any(|(name, _)| name.starts_with("access-control"))
            );
        }
    }
    let let_in: [&[(&str, &str)]; 5] = [
        &[],
        &[
            ("Host", &own),
            ("Origin", &own_origin),
            ("Sec-Fetch-Site", "same-origin"),
        ],
        &[("Sec-Fetch-Site", "none")],
        &[("Host", "kinesis.localhost")],
        // A person has followed a link.
        &[
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "document"),
        ],
    ];
    for headers in let_in {
        let headers = [&[PAGE], headers].concat();
        assert_eq!(get(server.address, "/", &headers).status, 200, "{headers:?}");
    }
}

#[test]
fn it_can_be_switched_off_and_is_not_where_clients_have_to_sign() {
    let without: [fn(ServerOptions) -> ServerOptions; 4] = [
        |options| options.console(false),
        |options| options.admin(false),
        |options| options.credentials(credentials()),
        |options| options.admin_listen("127.0.0.1:0"),
    ];
    for options in without {
        let server = TestServer::with_options(Backend::Memory, options);
        for uri in ["/", "/console/", "/console/api/streams"] {
            let reply = get(server.address, uri, &[PAGE]);
            assert_eq!(reply.status, 403, "{uri}");
            assert!(reply.text().contains("Unable to determine service"), "{uri}");
        }
    }
}

fn credentials() -> Credentials {
    let text = "[alice]\naws_access_key_id = AKIDALICE\naws_secret_access_key = secret\n";
    Credentials::parse(text).unwrap()
}

#[test]
fn it_is_at_the_address_of_those_who_run_the_server_also_with_credentials() {
    let runtime = Runtime::new().unwrap();
    let store = StoreOptions::new().open_in_memory(&Memory::new()).unwrap();
    let options = ServerOptions::new("127.0.0.1:0")
        .admin_listen("127.0.0.1:0")
        .credentials(credentials());
    let server = runtime.block_on(Server::bind(store, options)).unwrap();
    let address = server.admin_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = runtime.spawn(server.run_until(async { drop(stopped.await) }));
    assert_guarded(&get(address, "/", &[PAGE]));
    let reply = get(address, "/console/api/streams", &[]);
    assert_eq!((reply.status, &reply.json()["streams"]), (200, &json!([])));
    let reply = get(
        address,
        "/console/api/streams",
        &[("Origin", "http://localhost:3000")],
    );
    assert_eq!(reply.status, 403);
    let mut events = Events::listen(address);
    events.next();
    stop.send(()).unwrap();
    runtime.block_on(running).unwrap();
}

fn streams_are_shown_with_what_went_in_and_out(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 2);
    server.store.create_stream("own", 1).unwrap();
    server.put("clicks", "k", "0123456789");
    let reply = get(server.address, "/console/api/streams", &[]);
    let all = reply.json();
    assert_eq!(all["home"], format!("{ACCOUNT}/us-east-1"));
    assert_eq!(
        (&all["store"]["putRecords"], &all["store"]["putBytes"]),
        (&json!(1), &json!(11))
    );
    assert_eq!(
        (&all["store"]["openShards"], &all["streamsLeftOut"]),
        (&json!(3), &json!(0))
    );
    assert!(all["store"]["failure"].is_null());
    let [clicks, own] = all["streams"].as_array().unwrap().as_slice() else {
        panic!("{all}");
    };
    assert_eq!(
        (&clicks["namespace"], &clicks["name"]),
        (&json!(format!("{ACCOUNT}/{REGION}")), &json!("clicks"))
    );
    assert_eq!(
        (&clicks["putRecords"], &clicks["openShards"], &clicks["status"]),
        (&json!(1), &json!(2), &json!("ACTIVE"))
    );
    assert_eq!((&own["namespace"], &own["putRecords"]), (&json!(""), &json!(0)));
    // Streams made by the library have no namespace.
    let reply = get(server.address, "/console/api/streams/own?namespace=", &[]);
    assert_eq!(reply.json()["name"], "own");
    let reply = get(server.address, "/console/api/streams/own", &[]);
    assert_eq!(reply.status, 404);
}

fn a_stream_is_shown_with_the_lineage_of_its_shards(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 1);
    server.put("clicks", "k", "data");
    server.ok(
        "SplitShard",
        &json!({"StreamName": "clicks", "ShardToSplit": FIRST, "NewStartingHashKey": (1_u128 << 127).to_string()}),
    );
    let stream = shown(&server, "streams/clicks");
    assert_eq!(
        (&stream["status"], &stream["retentionMillis"]),
        (&json!("ACTIVE"), &json!(86_400_000))
    );
    let shards = stream["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 3);
    assert_eq!(
        (&shards[0]["id"], &shards[0]["parents"]),
        (&json!(FIRST), &json!([]))
    );
    assert!(shards[0]["closed"].is_u64() && shards[1]["closed"].is_null());
    assert_eq!(shards[1]["parents"], json!([FIRST]));
    assert_eq!(
        (&shards[1]["start"], &shards[2]["start"]),
        (&json!("0"), &json!((1_u128 << 127).to_string()))
    );
    let stats = &shards[0]["stats"];
    assert_eq!(
        stats["nextRecord"].as_u64().unwrap() - stats["firstRecord"].as_u64().unwrap(),
        1
    );
    assert_eq!(stats["oldestArrival"], stats["lastArrival"]);
    assert!(stats["bytes"].as_u64().unwrap() > 0);
    assert!(shards[1]["stats"]["oldestArrival"].is_null());

    assert_eq!(
        problem(&server, "streams/none"),
        (404, "stream none not found".to_owned())
    );
    let (status, message) = problem(&server, "streams/clicks?shard=7");
    assert_eq!(status, 400, "{message}");
    for path in [
        "nonsense",
        "streams/clicks/nonsense",
        "streams/clicks/records/more",
        "",
    ] {
        let reply = get(server.address, &format!("/console/api/{path}"), &[]);
        assert_eq!(reply.status, 404, "{path}");
    }
    let reply = get(server.address, "/console/api/streams/clicks?namespace=a//b", &[]);
    assert_eq!(reply.status, 400, "{}", reply.text());
}

fn a_stream_that_has_changed_its_shards_by_itself_is_shown_so(backend: Backend) {
    let server = TestServer::start(backend);
    let on_demand = json!({"StreamName": "clicks", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    server.ok("CreateStream", &on_demand);
    let commitment = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    server.ok("UpdateAccountSettings", &commitment);
    let warm = json!({"StreamName": "clicks", "WarmThroughputMiBps": 8});
    server.ok("UpdateStreamWarmThroughput", &warm);
    server.advance(Duration::from_secs(60));
    let stream = shown(&server, "streams/clicks");
    assert_eq!(stream["mode"], "ON_DEMAND");
    let shards = stream["shards"].as_array().unwrap();
    let (closed, open): (Vec<_>, Vec<_>) = shards.iter().partition(|shard| shard["closed"].is_u64());
    assert_eq!((closed.len(), open.len()), (4, 8));
    for shard in open {
        let parents = shard["parents"].as_array().unwrap();
        let names_one = closed
            .iter()
            .filter(|shard| parents.contains(&shard["id"]))
            .count();
        assert_eq!((parents.len(), names_one), (1, 1), "{shard}");
    }
}

fn datas(answer: &Value) -> Vec<String> {
    let records = answer["records"].as_array().unwrap().iter();
    let data = |record: &Value| {
        base64_simd::STANDARD
            .decode_to_vec(text(&record["data"]))
            .unwrap()
    };
    records
        .map(|record| String::from_utf8(data(record)).unwrap())
        .collect()
}

fn records_are_found_from_every_kind_of_place(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 1);
    let mut numbers = Vec::new();
    let mut times = Vec::new();
    for data in ["a", "b", "c", "d"] {
        times.push(server.store.now().as_millis());
        numbers.push(text(
            &server.put("clicks", &format!("key-{data}"), data)["SequenceNumber"],
        ));
        server.advance(Duration::from_secs(1));
    }
    let records = |query: String| shown(&server, &format!("streams/clicks/records?{query}"));
    let of_shard = |from: &str, limit: usize| records(format!("shard={FIRST}&from={from}&limit={limit}"));
    assert_eq!(datas(&of_shard("oldest", 50)), ["a", "b", "c", "d"]);
    assert_eq!(datas(&of_shard("latest", 50)), [""; 0]);
    // The position is this many numbers back, and numbers have gaps in memory.
    assert_eq!(datas(&of_shard("tail", 2)).last().unwrap(), "d");
    assert_eq!(datas(&of_shard(&format!("time:{}", times[1]), 2)), ["b", "c"]);
    // A sequence number determines its shard.
    assert_eq!(datas(&records(format!("from=number:{}", numbers[2]))), ["c", "d"]);
    assert_eq!(datas(&records(format!("from=after:{}", numbers[2]))), ["d"]);
    // A key determines a shard too.
    assert_eq!(datas(&records("key=key-b&from=oldest".to_owned())), ["b"]);
    // The next request continues at the position in the answer.
    let first = of_shard("oldest", 3);
    assert_eq!(first["millisBehind"].as_u64().unwrap(), 2_000);
    let next = of_shard(&text(&first["next"]), 3);
    assert_eq!(
        (datas(&next), &next["millisBehind"]),
        (vec!["d".to_owned()], &json!(0))
    );
    let record = &first["records"][0];
    assert_eq!(
        (&record["number"], &record["key"]),
        (&json!(numbers[0]), &json!("key-a"))
    );
    assert_eq!(
        (&record["arrival"], &record["bytes"]),
        (&json!(times[0]), &json!(1))
    );

    // A closed shard ends, and its answer names the shards that follow.
    server.ok(
        "SplitShard",
        &json!({"StreamName": "clicks", "ShardToSplit": FIRST, "NewStartingHashKey": "1000"}),
    );
    let last = of_shard("tail", 1);
    assert_eq!(
        (datas(&last), &last["next"]),
        (vec!["d".to_owned()], &Value::Null)
    );
    assert_eq!(last["children"].as_array().unwrap().len(), 2);

    let other = &numbers[0];
    for (query, expected) in [
        ("", 400),
        ("shard=shardId-000000000009", 404),
        ("shard=nonsense", 400),
        ("shard=shardId-000000000001&limit=0", 400),
        ("shard=shardId-000000000001&limit=501", 400),
        ("shard=shardId-000000000001&limit=-1", 400),
        ("shard=shardId-000000000001&from=nonsense", 400),
        ("shard=shardId-000000000001&from=time:soon", 400),
        ("shard=shardId-000000000001&from=number:12", 400),
        ("shard=shardId-000000000001&from=record:x", 400),
        ("shard=shardId-000000000001&shard=shardId-000000000002", 400),
        ("shard=shardId-000000000001&colour=red", 400),
        (&format!("shard=shardId-000000000001&from=number:{other}"), 400),
    ] {
        let (status, message) = problem(&server, &format!("streams/clicks/records?{query}"));
        assert_eq!(
            (status, message.is_empty()),
            (expected, false),
            "{query}: {message}"
        );
        if query.ends_with("time:soon") || query.ends_with("record:x") {
            assert!(message.starts_with("from: expected "), "{message}");
        }
    }
}

/// A search stops after some megabytes, and gives the position to continue at.
fn a_key_is_searched_for_in_pieces(backend: Backend) {
    let server = TestServer::start(backend);
    server.fill("large", 6);
    server.put("large", "wanted", "found");
    let mut from = "oldest".to_owned();
    for answers in 1.. {
        let path = format!("streams/large/records?shard={FIRST}&key=wanted&from={from}");
        let answer = shown(&server, &path);
        assert!(answer["searchedBytes"].as_u64().unwrap() <= 6_000_000, "{answer}");
        if datas(&answer) == ["found"] {
            assert!(answers > 1, "it was searched in one piece");
            return;
        }
        from = text(&answer["next"]);
        assert!(answers < 10, "it is never found");
    }
}

fn a_large_record_is_cut_and_says_so(backend: Backend) {
    let server = TestServer::start(backend);
    server.fill("large", 3);
    let answer = shown(
        &server,
        &format!("streams/large/records?shard={FIRST}&from=oldest"),
    );
    let records = answer["records"].as_array().unwrap();
    assert_eq!(records[0]["bytes"], 900_000);
    assert_eq!(text(&records[0]["data"]).len(), (64_usize << 10).div_ceil(3) * 4);
    // No more was read than its share of the memory for replies.
    assert_eq!(records.len(), 1);
    wait_until("its memory is given back", || server.gauges().reply_bytes() == 0);
}

fn expired_records_are_skipped_and_that_is_said(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 1);
    server.put("clicks", "k", "old");
    for _ in 0..30 {
        server.advance(Duration::from_secs(3600));
    }
    server.put("clicks", "k", "new");
    let answer = shown(
        &server,
        &format!("streams/clicks/records?shard={FIRST}&from=record:1"),
    );
    assert_eq!(
        (datas(&answer), &answer["hasSkippedExpired"]),
        (vec!["new".to_owned()], &json!(true))
    );
    let stream = shown(&server, "streams/clicks");
    assert!(stream["shards"][0]["stats"]["firstRecord"].as_u64().unwrap() > 1);
}

fn readers_are_shown_with_how_far_they_are(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 1);
    let stream = server.streams().stream("clicks").unwrap();
    stream.register_consumer("billing").unwrap();
    let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    server.put("clicks", "k", "first");
    reader.next().unwrap().unwrap();
    reader.save_checkpoint("archive").unwrap();
    server.put("clicks", "k", "second");
    server.advance(Duration::from_secs(7));
    let options = QueueOptions {
        start: StartingPosition::TrimHorizon,
        ..QueueOptions::default()
    };
    let queue = stream.create_queue("jobs", &options).unwrap();
    let received = queue.receive(&Default::default()).unwrap();
    assert_eq!(received.len(), 2);
    server.put("clicks", "k", "third");

    let readers = shown(&server, "streams/clicks/readers");
    let [consumer] = readers["consumers"].as_array().unwrap().as_slice() else {
        panic!("{readers}");
    };
    assert_eq!(
        (&consumer["name"], &consumer["status"]),
        (&json!("billing"), &json!("ACTIVE"))
    );
    assert_eq!(
        consumer["lag"],
        json!({"shards": 0, "shardsLeftOut": 0, "records": 0, "bytes": 0, "millis": 0})
    );
    let [checkpoint] = readers["checkpoints"].as_array().unwrap().as_slice() else {
        panic!("{readers}");
    };
    let lag = &checkpoint["lag"];
    assert_eq!(
        (&checkpoint["name"], &lag["shards"], &lag["millis"]),
        (&json!("archive"), &json!(1), &json!(7_000))
    );
    assert_eq!(
        (&lag["records"], &lag["shardsLeftOut"]),
        (&json!(2), &json!(0)),
        "{readers}"
    );
    // The data, the keys, and the bytes stored around them.
    assert!(lag["bytes"].as_u64().unwrap() > 13, "{readers}");
    assert_eq!(readers["queues"][0]["name"], "jobs");
    assert_eq!(
        readers["queues"][0]["counts"],
        json!({"available": 1, "inFlight": 2, "toRedeliver": 0, "deadLetters": 0, "deadLettersInFlight": 0})
    );
    assert_eq!(readers["channels"], json!([]));
    assert_eq!(problem(&server, "streams/none/readers").0, 404);
}

/// A record of the Kinesis Producer Library with this many records in it, all of the same key.
fn aggregate_of(records: usize, key: &str, data: &[u8]) -> Vec<u8> {
    use md5::{Digest, Md5};
    let field = |number: u8, bytes: &[u8]| {
        let mut length = bytes.len();
        let mut field = vec![(number << 3) | 2];
        while length >= 0x80 {
            field.push(length as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        [field, bytes.to_vec()].concat()
    };
    let record = field(3, &[vec![8, 0], field(3, data)].concat());
    let message = [field(1, key.as_bytes()), record.repeat(records)].concat();
    [
        &[0xf3, 0x89, 0x9a, 0xc2],
        &message[..],
        &Md5::digest(&message)[..],
    ]
    .concat()
}

fn records_in_one_are_taken_apart(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("clicks", 1);
    let stream = server.streams().stream("clicks").unwrap();
    let put = |data: &[u8]| {
        stream.put("outer", data).unwrap();
    };
    put(&aggregate_of(2, "inner", b"data"));
    put(&aggregate_of(101, "many", b""));
    put(&aggregate_of(70, "large", &[b'x'; 1_000]));
    let mut broken = aggregate_of(2, "inner", b"data");
    *broken.last_mut().unwrap() ^= 1;
    put(&broken);
    let answer = shown(
        &server,
        &format!("streams/clicks/records?shard={FIRST}&from=oldest"),
    );
    let records = answer["records"].as_array().unwrap();
    let one = json!({"key": "inner", "hashKey": null, "data": "ZGF0YQ=="});
    assert_eq!(
        records[0]["aggregate"],
        json!({"records": [one.clone(), one], "count": 2})
    );
    assert_eq!(
        (&records[0]["key"], &records[0]["data"]),
        (&json!("outer"), &Value::Null)
    );
    for (record, count, shown) in [(1, 101, 100), (2, 70, 65)] {
        let aggregate = &records[record]["aggregate"];
        assert_eq!(aggregate["count"], count);
        assert_eq!(aggregate["records"].as_array().unwrap().len(), shown);
    }
    assert_eq!(records[3]["aggregate"], Value::Null);
    assert!(text(&records[3]["data"]).len() > 40);
}

#[test]
fn records_whose_key_is_missing_are_told_of() {
    let keys = KeyRing::new();
    keys.insert("alias/mine", [7; 32]);
    let setup = Setup {
        keys: Some(keys.clone()),
        ..Setup::default()
    };
    let server = TestServer::with(Backend::Directory, setup);
    server.create("secret", 1);
    let stream = server.streams().stream("secret").unwrap();
    stream.start_encryption("alias/mine").unwrap();
    server.put("secret", "k", "hidden");
    let path = format!("streams/secret/records?shard={FIRST}&from=oldest");
    let answer = shown(&server, &path);
    assert_eq!(
        (datas(&answer), &answer["isEncrypted"]),
        (vec!["hidden".to_owned()], &json!(true))
    );
    keys.remove("alias/mine");
    let (status, message) = problem(&server, &path);
    assert_eq!(status, 409, "{message}");
    // The rest of the page is shown.
    let stream = shown(&server, "streams/secret");
    assert_eq!(stream["encryptionKey"], "alias/mine");
    assert!(stream["shards"][0]["stats"]["error"].is_string(), "{stream}");
}

/// A page that listens.
struct Events {
    stream: BufReader<TcpStream>,
    text: String,
}

impl Events {
    /// The status and the head of the answer.
    fn begin(address: SocketAddr) -> (u16, BufReader<TcpStream>) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(b"GET /console/api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).unwrap().parse().unwrap();
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "the head has no end");
        }
        (status, stream)
    }

    fn listen(address: SocketAddr) -> Events {
        let (status, stream) = Events::begin(address);
        assert_eq!(status, 200);
        Events {
            stream,
            text: String::new(),
        }
    }

    /// The next summary.
    fn next(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event.strip_prefix("event: summary\ndata: ").map(str::to_owned);
                self.text = rest.to_owned();
                match data {
                    Some(data) => return serde_json::from_str(&data).unwrap(),
                    None => continue,
                }
            }
            let mut size = String::new();
            self.stream.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk).unwrap();
            self.text += std::str::from_utf8(&chunk[..size]).unwrap();
        }
    }

    /// The first summary for which this is true.
    fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        loop {
            let summary = self.next();
            if is_it(&summary) {
                return summary;
            }
        }
    }
}

#[test]
fn events_tell_what_is_new_and_nothing_else() {
    let server = TestServer::start(Backend::Memory);
    let mut events = Events::listen(server.address);
    assert_eq!(events.next()["streams"], json!([]));
    server.create("clicks", 1);
    events.until(|summary| {
        summary["streams"]
            .as_array()
            .is_some_and(|streams| streams.len() == 1)
    });
    server.put("clicks", "k", "data");
    let is_put = |summary: &Value| {
        [&summary["store"], &summary["streams"][0]].map(|of| of["putRecords"].clone()) == [1, 1]
    };
    events.until(is_put);
    // An event in between would come before this one.
    server.put("clicks", "k", "data");
    assert_eq!(events.next()["store"]["putRecords"], 2);
}

#[test]
fn only_so_many_pages_listen_and_one_that_leaves_makes_room() {
    const MOST: usize = 8;
    let mut server = TestServer::start(Backend::Memory);
    let mut all: Vec<_> = (0..MOST).map(|_| Events::listen(server.address)).collect();
    let (status, mut reply) = Events::begin(server.address);
    assert_eq!(status, 503);
    let mut body = vec![0; 1];
    reply.read_exact(&mut body).unwrap();
    all.pop();
    let began = std::time::Instant::now();
    while Events::begin(server.address).0 != 200 {
        assert!(began.elapsed() < PATIENCE, "no room was made");
    }
    // The others go on, and a server that stops waits for none of them.
    for events in &mut all {
        events.next();
    }
    server.stop();
}
