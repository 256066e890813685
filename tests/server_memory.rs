//! What a server keeps of the memory that a burst took.
#![cfg(all(feature = "server", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

mod server_process;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use server_process::ServerProcess;

fn call(address: SocketAddr, operation: &str, body: &str) -> Vec<u8> {
    let mut connection = BufReader::new(TcpStream::connect(address).unwrap());
    write!(
        connection.get_mut(),
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1\r\n\
         X-Amz-Target: Kinesis_20131202.{operation}\r\nX-Amz-Date: 1\r\n\
         Authorization: X Credential=a,SignedHeaders=b,Signature=c\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(
            connection.read_line(&mut head).unwrap(),
            0,
            "no answer, but {head:?}"
        );
    }
    assert!(head.starts_with("HTTP/1.1 200"), "{operation}: {head}");
    let mut body = Vec::new();
    connection.read_to_end(&mut body).unwrap();
    body
}

/// Memory of the process that no file is behind.
fn anonymous_mebibytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes >> 10
}

#[test]
fn a_burst_of_large_requests_and_replies_leaves_little_behind() {
    const CLIENTS: usize = 16;
    const SHARDS: usize = 8;
    const MOST_MEBIBYTES: u64 = 160;
    const PATIENCE: Duration = Duration::from_secs(300);
    let directory = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(directory.path(), "127.0.0.1:0", &[]);
    let address = server.address();
    let create = json!({"StreamName": "s", "ShardCount": SHARDS});
    call(address, "CreateStream", &create.to_string());
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; 20_000]);
    let records: Vec<_> = (0..450)
        .map(|number| json!({"PartitionKey": number.to_string(), "Data": data}))
        .collect();
    let batch = json!({"StreamName": "s", "Records": records}).to_string();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let batch = &batch;
            scope.spawn(move || {
                for _ in 0..3 {
                    call(address, "PutRecords", batch);
                }
                let shard = (client % SHARDS).to_string();
                let from = json!({"StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
                let iterator = call(address, "GetShardIterator", &from.to_string());
                let iterator: Value = serde_json::from_slice(&iterator).unwrap();
                call(address, "GetRecords", &iterator.to_string());
            });
        }
    });
    let after_the_burst = anonymous_mebibytes(server.id());
    let started = Instant::now();
    while anonymous_mebibytes(server.id()) > MOST_MEBIBYTES {
        assert!(
            started.elapsed() < PATIENCE,
            "{after_the_burst} MiB after the burst, and still {} MiB",
            anonymous_mebibytes(server.id())
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    server.stop("TERM");
}
