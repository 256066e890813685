//! The log of a running server at every level, and the errors that it logs instead of sending them to clients.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Instant;

use anabranch_harness::files::all_files;
use anabranch_harness::http1::{Client, Head};
use anabranch_harness::http2::Http2Client;
use anabranch_harness::image::Image;
use anabranch_harness::program::ServerProcess;
use anabranch_harness::wait::wait_until;
use serde_json::{Value, json};

use crate::PROGRAM;

/// The status and body of one request of a connection that stays open.
fn call(connection: &mut Client, operation: &str, input: &Value) -> (u16, String) {
    let reply = connection.call(operation, input);
    (reply.status, reply.text().to_owned())
}

/// The output of a request that succeeds, on a new connection.
#[track_caller]
fn ok(server: &ServerProcess, operation: &str, input: &Value) -> Value {
    Client::connect(server.address()).ok(operation, input)
}

/// Sends this many ListStreams over one connection of HTTP/2, one after the other.
fn call_over_http2(address: SocketAddr, requests: u32) {
    let mut connection = Http2Client::connect(address);
    for _ in 0..requests {
        assert_eq!(connection.call("ListStreams", &json!({})).0, 200);
    }
}

#[test]
fn at_every_level_it_serves_until_it_is_told_to_stop() {
    for (filter, says_that_it_serves) in [
        ("off", false),
        ("error", false),
        ("warn", false),
        ("info", true),
        ("debug", true),
        ("trace", true),
        ("", true),
        ("hyper=debug", false),
        ("anabranch=error,info", false),
        ("h2=off,debug", true),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let server = PROGRAM.serve(directory.path(), &["--log", filter]);
        ok(
            &server,
            "CreateStream",
            &json!({"StreamName": "s", "ShardCount": 1}),
        );
        assert_eq!(
            ok(&server, "ListStreams", &json!({}))["StreamNames"],
            json!(["s"])
        );
        server.stop("TERM");
        let log = fs::read_to_string(directory.path().join("server.log")).unwrap();
        for line in ["serving", "stopping", "the store is closed"] {
            assert_eq!(
                log.contains(line),
                says_that_it_serves,
                "--log {filter:?}: {line}: {log}"
            );
        }
    }
}

#[test]
fn at_debug_each_request_is_one_line_over_both_protocols() {
    const REQUESTS: u32 = 20;
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve(directory.path(), &["--log", "debug"]);
    let mut connection = Client::connect(server.address());
    for _ in 0..REQUESTS {
        assert_eq!(call(&mut connection, "ListStreams", &json!({})).0, 200);
    }
    for _ in 0..REQUESTS {
        ok(&server, "ListStreams", &json!({}));
    }
    call_over_http2(server.address(), REQUESTS);
    server.stop("TERM");
    let log = fs::read_to_string(directory.path().join("server.log")).unwrap();
    let (answered, others): (Vec<_>, Vec<_>) =
        log.lines().partition(|line| line.contains("request answered"));
    assert_eq!(answered.len(), 3 * REQUESTS as usize, "{log}");
    // The start, the stop, the ends of connections, and the opening and closing of the store.
    let is_expected = |line: &&str| {
        line.contains(" INFO ")
            || line.contains(" anabranch::kinesis::server")
            || line.contains("anabranch::engine: a store is ")
    };
    let most = 10 + 2 + REQUESTS as usize;
    assert!(
        others.iter().all(is_expected) && others.len() <= most,
        "{others:#?}"
    );
}

#[test]
fn a_library_that_is_named_says_more_than_a_line_for_each_request() {
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve(directory.path(), &["--log", "debug,h2=trace"]);
    call_over_http2(server.address(), 1);
    server.stop("TERM");
    let log = fs::read_to_string(directory.path().join("server.log")).unwrap();
    assert!(log.contains(" h2::") && log.contains("request answered"), "{log}");
}

/// A server on a stream of two shards, one of which has a record whose bytes have changed on the disk.
fn server_with_a_damaged_shard(directory: &Path) -> ServerProcess {
    const DATA: &str = "these bytes are going to change";
    let server = PROGRAM.serve(directory, &[]);
    ok(
        &server,
        "CreateStream",
        &json!({"StreamName": "s", "ShardCount": 2}),
    );
    let data = base64_simd::STANDARD.encode_to_string(DATA);
    let record = json!({"StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": "0", "Data": data});
    ok(&server, "PutRecord", &record);
    server.stop("TERM");
    let mut changed = 0;
    for (path, mut bytes) in all_files(&directory.join("data")) {
        let found = bytes
            .windows(DATA.len())
            .position(|window| window == DATA.as_bytes());
        if let Some(at) = found {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0, "the record is in no file");
    PROGRAM.serve(directory, &[])
}

/// The input of a GetRecords that reads the damaged shard, and fails.
fn damaged_read(connection: &mut Client) -> Value {
    let begin = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"});
    let (status, body) = call(connection, "GetShardIterator", &begin);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// A record of each shard.
fn batch(records: u64) -> Value {
    let records: Vec<_> = (0..records)
        .map(|number| {
            let hash_key = if number % 2 == 0 {
                "0".to_owned()
            } else {
                u128::MAX.to_string()
            };
            json!({"PartitionKey": "k", "ExplicitHashKey": hash_key, "Data": ""})
        })
        .collect();
    json!({"StreamName": "s", "Records": records})
}

#[test]
fn a_failure_of_the_disk_tells_the_log_which_file_and_a_client_none() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_with_a_damaged_shard(directory.path());
    let mut connection = Client::connect(server.address());
    let put = json!({"StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": "0", "Data": ""});
    let read = damaged_read(&mut connection);
    for (operation, input) in [("GetRecords", read), ("PutRecord", put)] {
        let (status, body) = call(&mut connection, operation, &input);
        assert_eq!(status, 500, "{operation}: {body}");
        assert!(
            body.contains("InternalFailureException") && body.contains("damaged"),
            "{body}"
        );
        assert!(!body.contains('/'), "{operation}: {body}");
    }
    let (status, body) = call(&mut connection, "PutRecords", &batch(2));
    assert_eq!(status, 200, "{body}");
    assert!(
        body.contains(r#""FailedRecordCount":1"#) && !body.contains('/'),
        "{body}"
    );
    let log = server.log();
    let parts = [
        "request failed",
        "operation=\"GetRecords\"",
        "stream=\"s\"",
        "request_id=",
        "shardId-000000000000/",
    ];
    let is_of_the_shard = |line: &str| parts.iter().all(|part| line.contains(part));
    assert!(log.lines().any(is_of_the_shard), "{log}");
    server.stop("TERM");
}

#[test]
fn a_failure_of_the_console_tells_the_log_which_file_and_a_browser_none() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_with_a_damaged_shard(directory.path());
    let failing = Head {
        method: "GET",
        uri: "/console/api/streams/s/records?shard=shardId-000000000000&from=oldest&limit=10\
              &namespace=000000000000/eu-west-1",
        headers: Vec::new(),
    };
    let started = Instant::now();
    for _ in 0..20 {
        let reply = Client::connect(server.address()).send(&failing, b"");
        assert_eq!(reply.status, 500, "{}", reply.text());
        let told = reply.json()["error"].to_string();
        assert!(told.contains("damaged") && !told.contains('/'), "{told}");
    }
    let most = started.elapsed().as_secs() as usize + 2;
    let log = server.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("the console could not look at the store"));
    let lines: Vec<_> = lines.collect();
    assert!((1..=most).contains(&lines.len()), "{log}");
    assert!(lines[0].contains("shardId-000000000000/"), "{log}");
    server.stop("TERM");
}

#[test]
fn failures_of_many_records_and_requests_are_a_line_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_with_a_damaged_shard(directory.path());
    let mut connection = Client::connect(server.address());
    let read = damaged_read(&mut connection);
    assert_eq!(call(&mut connection, "GetRecords", &read).0, 500);
    let lines_before = server.log().lines().count();
    let started = Instant::now();
    for _ in 0..20 {
        let (status, body) = call(&mut connection, "PutRecords", &batch(500));
        assert_eq!(status, 200);
        assert!(body.contains(r#""FailedRecordCount":250"#), "{body}");
        assert_eq!(call(&mut connection, "GetRecords", &read).0, 500);
    }
    let seconds = started.elapsed().as_secs() as usize;
    let lines = server.log().lines().count() - lines_before;
    assert!(
        lines <= 2 * (seconds + 1),
        "{lines} lines in {seconds} s: {}",
        server.log()
    );
    server.stop("TERM");
}

/// Needs root, for a file system of its own.
#[test]
fn a_full_disk_is_a_line_a_second_with_the_number_of_refused_records() {
    let image = match Image::mount_new(Path::new(env!("CARGO_TARGET_TMPDIR")), 16 << 20) {
        Ok(image) => image,
        Err(reason) => {
            eprintln!("not tested: no file system can be mounted: {reason}");
            return;
        }
    };
    let directory = tempfile::tempdir().unwrap();
    let store = image.path().join("store");
    fs::create_dir(&store).unwrap();
    symlink(&store, directory.path().join("data")).unwrap();
    let arguments = ["--segment-bytes", "64KiB", "--create-stream", "s:2@eu-west-1"];
    let server = PROGRAM.serve(directory.path(), &arguments);
    let mut connection = Client::connect(server.address());
    let data = base64_simd::STANDARD.encode_to_string([7; 1_000]);
    let mut batch = batch(500);
    for record in batch["Records"].as_array_mut().unwrap() {
        record["Data"] = json!(data);
    }
    let mut refused = 0;
    let mut put_in_vain = || {
        let failed = connection.ok("PutRecords", &batch)["FailedRecordCount"].as_u64();
        refused += failed.unwrap();
        refused
    };
    wait_until("the disk is full", || put_in_vain() > 0);
    let started = Instant::now();
    let number = |line: &str, field: &str| {
        let field = line.split(' ').find_map(|word| word.strip_prefix(field));
        field.map_or(0, |number| number.parse::<u64>().unwrap())
    };
    // What lines tell: the records that each is about, and those that have none.
    let told = |log: &str| {
        let numbers = |line| [number(line, "failed="), number(line, "not_logged=")];
        log.lines().flat_map(numbers).sum::<u64>()
    };
    wait_until("lines tell of records that have none", || {
        put_in_vain();
        let log = server.log();
        told(&log) > 1_000 && log.lines().any(|line| number(line, "not_logged=") > 0)
    });
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(" ERROR ")).collect();
    assert!(lines.len() <= started.elapsed().as_secs() as usize + 2, "{log}");
    assert!(lines.iter().all(|line| line.contains("no space left")), "{log}");
    let refused = put_in_vain();
    assert!(told(&log) <= refused, "{} of {refused}: {log}", told(&log));
    server.stop("TERM");
}

/// The second record was put when the first was durable, so the first cannot be a torn write.
#[test]
fn damage_that_is_found_at_opening_is_a_warning_that_names_repair() {
    const DATA: &str = "these bytes are going to change";
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let server = PROGRAM.serve(directory.path(), &["--create-stream", "s:1@eu-west-1"]);
    for text in [DATA, "these stay"] {
        let text = base64_simd::STANDARD.encode_to_string(text);
        let record = json!({"StreamName": "s", "PartitionKey": "k", "Data": text});
        ok(&server, "PutRecord", &record);
    }
    server.kill();
    for (path, mut bytes) in all_files(&data) {
        let found = bytes
            .windows(DATA.len())
            .position(|window| window == DATA.as_bytes());
        if let Some(at) = found {
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let server = PROGRAM.serve(directory.path(), &[]);
    let log = server.log();
    let warnings: Vec<_> = log
        .lines()
        .filter(|line| line.contains(" WARN ") && line.contains("damage was found"))
        .collect();
    let [warning] = warnings[..] else { panic!("{log}") };
    let repair = format!("anabranch repair {}", data.canonicalize().unwrap().display());
    assert!(
        warning.contains("shardId-000000000000/") && warning.contains(&repair),
        "{warning}"
    );
    server.stop("TERM");
}
