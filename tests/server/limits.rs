//! The program under small limits of open files, with more connections than they allow.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anabranch_harness::http1::{CallError, Client};
use serde_json::{Value, json};

use crate::PROGRAM;

/// A call on a new connection. If the server has no place for it, it is tried again, as every SDK does.
fn call_anew(address: SocketAddr, operation: &str, members: &Value) -> Value {
    let started = Instant::now();
    loop {
        let reply = Client::try_connect(address)
            .map_err(CallError::Lost)
            .and_then(|mut connection| connection.try_call(operation, members));
        match reply {
            Ok(reply) => return reply,
            Err(error) => assert!(
                started.elapsed() < Duration::from_secs(60),
                "newcomers are locked out: {error}"
            ),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket
}

#[test]
fn more_idle_connections_than_files_lock_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve_with_open_files((160, 160), directory.path(), &[]);
    call_anew(
        server.address(),
        "CreateStream",
        &json!({"StreamName": "s", "ShardCount": 1}),
    );
    let mut kept = Client::connect(server.address());
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": ""});
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.extend((0..20).map(|_| connect(server.address())));
        kept.ok("PutRecord", &put);
        call_anew(server.address(), "PutRecord", &put);
    }
    let log = server.log();
    assert!(log.contains("the longest idle connections are closed"), "{log}");
    assert!(log.contains("closed_idle="), "{log}");
    server.stop("HUP");
}

/// The number of connections is not the limit here; the descriptors are.
#[test]
fn at_the_last_descriptor_an_idle_connection_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let many = ["--max-connections", "10000"];
    let server = PROGRAM.serve_with_open_files((96, 96), directory.path(), &many);
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.extend((0..20).map(|_| connect(server.address())));
        call_anew(server.address(), "ListStreams", &json!({}));
    }
    let log = server.log();
    assert!(log.contains("closed_idle="), "{log}");
}

#[test]
fn without_a_descriptor_and_an_idle_connection_newcomers_are_turned_away_until_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let many = ["--max-connections", "10000"];
    let server = PROGRAM.serve_with_open_files((96, 96), directory.path(), &many);
    // Each has sent half a request, and the server waits for the rest.
    let mut busy: Vec<_> = (0..120)
        .map(|_| {
            let mut socket = connect(server.address());
            let _ = socket.write_all(
                b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
            );
            socket
        })
        .collect();
    busy.retain_mut(|socket| {
        let mut reply = [0; 12];
        socket.read_exact(&mut reply).is_ok() && reply == *b"HTTP/1.1 100"
    });
    assert!((1..96).contains(&busy.len()), "{} are taken", busy.len());
    let is_turned_away = connect(server.address()).read(&mut [0; 1]);
    assert!(matches!(is_turned_away, Ok(0) | Err(_)), "{is_turned_away:?}");
    let log = server.log();
    assert!(log.contains("turned_away="), "{log}");
    drop(busy);
    call_anew(server.address(), "ListStreams", &json!({}));
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve_with_open_files((80, 1024), directory.path(), &[]);
    let mut connections: Vec<_> = (0..300).map(|_| Client::connect(server.address())).collect();
    for connection in &mut connections {
        connection.ok("ListStreams", &json!({}));
    }
    let log = server.log();
    assert!(!log.contains("closed_idle="), "{log}");
}

#[test]
fn half_a_thousand_shards_are_written_beside_as_many_idle_connections() {
    const SHARDS: u32 = 512;
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve_with_open_files((1024, 1024), directory.path(), &[]);
    let create = json!({"StreamName": "s", "ShardCount": SHARDS});
    call_anew(server.address(), "CreateStream", &create);
    let idle: Vec<_> = (0..600).map(|_| connect(server.address())).collect();
    let mut connection = Client::connect(server.address());
    for round in 0..3 {
        for half in 0..2 {
            let records: Vec<Value> = (0..SHARDS / 2)
                .map(|n| u128::from(half * (SHARDS / 2) + n) * (u128::MAX / u128::from(SHARDS) + 1))
                .map(|hash| json!({"PartitionKey": "k", "Data": "", "ExplicitHashKey": hash.to_string()}))
                .collect();
            let put = json!({"StreamName": "s", "Records": records});
            let reply = connection.ok("PutRecords", &put);
            assert_eq!(reply["FailedRecordCount"], 0, "round {round}: {}", server.log());
        }
        call_anew(server.address(), "ListStreams", &json!({}));
    }
    drop(idle);
    server.stop("TERM");
}
