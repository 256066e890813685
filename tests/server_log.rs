//! What a running server logs, at every level, and what it tells its log and not its clients.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

mod server_process;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server_process::ServerProcess;

const HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/x-amz-json-1.1"),
    ("x-amz-date", "20150122T012202Z"),
    ("authorization", "X Credential=a,SignedHeaders=b,Signature=c"),
];
const PATIENCE: Duration = Duration::from_secs(300);

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(socket)
}

/// One request of a connection that stays open, and its status and body.
fn call(connection: &mut BufReader<TcpStream>, operation: &str, input: &Value) -> (u16, String) {
    let body = input.to_string();
    let mut request = format!("POST / HTTP/1.1\r\nhost: a\r\nx-amz-target: Kinesis_20131202.{operation}\r\n");
    for (name, value) in HEADERS {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            connection.read_line(&mut head).unwrap(),
            0,
            "no answer, but {head:?}"
        );
    }
    let length = head.lines().find_map(|line| {
        line.to_ascii_lowercase()
            .strip_prefix("content-length: ")?
            .parse()
            .ok()
    });
    let mut body = vec![0; length.unwrap()];
    connection.read_exact(&mut body).unwrap();
    (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
}

/// The output of a request that succeeds, on a connection of its own.
#[track_caller]
fn ok(server: &ServerProcess, operation: &str, input: &Value) -> Value {
    let (status, body) = call(&mut connect(server.address()), operation, input);
    assert_eq!(status, 200, "{operation}: {body}");
    serde_json::from_str(&body).unwrap_or_default()
}

/// That many ListStreams over one connection of HTTP/2, one after the other.
fn call_over_http2(address: SocketAddr, requests: u32) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const END_STREAM: u8 = 1;
    let mut connection = connect(address);
    let mut greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    greeting.extend(SETTINGS);
    connection.get_mut().write_all(&greeting).unwrap();
    for stream in (1u32..).step_by(2).take(requests as usize) {
        let target = ("x-amz-target", "Kinesis_20131202.ListStreams");
        let pseudo = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "a"),
        ];
        let mut head = Vec::new();
        for (name, value) in pseudo.into_iter().chain([target]).chain(HEADERS) {
            // A literal that is not indexed, with a name of its own.
            head.push(0);
            for text in [name, value] {
                head.push(
                    u8::try_from(text.len())
                        .ok()
                        .filter(|length| *length < 127)
                        .unwrap(),
                );
                head.extend(text.as_bytes());
            }
        }
        let mut frames = Vec::new();
        for (kind, flags, payload) in [(1, 4, &head[..]), (0, END_STREAM, b"{}")] {
            frames.extend(&(payload.len() as u32).to_be_bytes()[1..]);
            frames.extend([kind, flags]);
            frames.extend(stream.to_be_bytes());
            frames.extend(payload);
        }
        connection.get_mut().write_all(&frames).unwrap();
        loop {
            let mut head = [0; 9];
            connection.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            connection.read_exact(&mut vec![0; length as usize]).unwrap();
            let is_of_stream = head[5..] == stream.to_be_bytes();
            if is_of_stream && head[3] <= 1 && head[4] & END_STREAM != 0 {
                break;
            }
        }
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
        let server = ServerProcess::start(directory.path(), "127.0.0.1:0", &["--log", filter]);
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
    let server = ServerProcess::start(directory.path(), "127.0.0.1:0", &["--log", "debug"]);
    let mut connection = connect(server.address());
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
    // The start, the stop, and how connections end.
    let is_expected = |line: &&str| line.contains(" INFO ") || line.contains(" anabranch::kinesis::server");
    let most = 10 + 2 + REQUESTS as usize;
    assert!(
        others.iter().all(is_expected) && others.len() <= most,
        "{others:#?}"
    );
}

#[test]
fn a_library_that_is_named_says_more_than_a_line_for_each_request() {
    let directory = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(directory.path(), "127.0.0.1:0", &["--log", "debug,h2=trace"]);
    call_over_http2(server.address(), 1);
    server.stop("TERM");
    let log = fs::read_to_string(directory.path().join("server.log")).unwrap();
    assert!(log.contains(" h2::") && log.contains("request answered"), "{log}");
}

/// A server on a stream of two shards, one of which has a record whose bytes have changed on the disk.
fn server_with_a_damaged_shard(directory: &Path) -> ServerProcess {
    const DATA: &str = "these bytes are going to change";
    let server = ServerProcess::start(directory, "127.0.0.1:0", &[]);
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
    for path in files_in(&directory.join("data")) {
        let mut bytes = fs::read(&path).unwrap();
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
    ServerProcess::start(directory, "127.0.0.1:0", &[])
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// What reads the damaged shard, and fails.
fn damaged_iterator() -> Value {
    json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"})
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
    let mut connection = connect(server.address());
    let put = json!({"StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": "0", "Data": ""});
    for (operation, input) in [("GetShardIterator", damaged_iterator()), ("PutRecord", put)] {
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
    let is_of_the_shard =
        |line: &&str| line.contains("request failed") && line.contains("shardId-000000000000/");
    assert!(log.lines().any(|line| is_of_the_shard(&line)), "{log}");
    server.stop("TERM");
}

#[test]
fn failures_of_many_records_and_requests_are_a_line_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let server = server_with_a_damaged_shard(directory.path());
    let mut connection = connect(server.address());
    assert_eq!(
        call(&mut connection, "GetShardIterator", &damaged_iterator()).0,
        500
    );
    let lines_before = server.log().lines().count();
    let started = Instant::now();
    for _ in 0..20 {
        let (status, body) = call(&mut connection, "PutRecords", &batch(500));
        assert_eq!(status, 200);
        assert!(body.contains(r#""FailedRecordCount":250"#), "{body}");
        assert_eq!(
            call(&mut connection, "GetShardIterator", &damaged_iterator()).0,
            500
        );
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
