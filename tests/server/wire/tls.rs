//! TLS on the port: handshakes, and clients without TLS. The backend makes no difference.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use anabranch::kinesis::{ServerOptions, TlsIdentity};
use anabranch_harness::http1::{Client, Head};
use anabranch_harness::tls;
use anabranch_harness::wait::{PATIENCE, wait_until};
use serde_json::{Value, json};

use super::test_server::{Backend, TestServer};

/// A certificate, and its path.
static SELF_SIGNED: LazyLock<(TlsIdentity, PathBuf)> = LazyLock::new(made);

fn made() -> (TlsIdentity, PathBuf) {
    let directory = tempfile::tempdir().unwrap().keep();
    let made = TlsIdentity::self_signed(&directory, &[]).unwrap();
    (made.identity, made.certificate)
}

fn certificate() -> String {
    std::fs::read_to_string(&SELF_SIGNED.1).unwrap()
}

fn with_tls(options: ServerOptions) -> ServerOptions {
    options.tls(SELF_SIGNED.0.clone())
}

fn start() -> TestServer {
    TestServer::with_options(Backend::Memory, with_tls)
}

fn connect(server: &TestServer) -> Client {
    Client::connect_tls(server.address, "localhost", &certificate())
}

#[test]
fn a_client_that_trusts_the_certificate_is_served() {
    let server = start();
    let mut client = connect(&server);
    client.ok("CreateStream", &json!({"StreamName": "s", "ShardCount": 1}));
    // More bytes than all buffers on the way hold, in both directions.
    let data = "QUFB".repeat(300_000);
    client.ok(
        "PutRecord",
        &json!({"StreamName": "s", "PartitionKey": "k", "Data": data}),
    );
    let position = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = client.ok("GetShardIterator", &position);
    let read = client.ok("GetRecords", &iterator);
    assert_eq!(read["Records"][0]["Data"], json!(data));
    for name in ["127.0.0.1", "::1"] {
        let mut client = Client::connect_tls(server.address, name, &certificate());
        assert_eq!(client.ok("ListStreams", &json!({}))["StreamNames"], json!(["s"]));
    }
}

#[test]
fn the_handshake_agrees_on_the_version_of_http() {
    let server = start();
    let agreed = |protocols: &[&[u8]]| {
        let stream = tls::connect(server.address, "localhost", &certificate(), protocols).unwrap();
        stream.conn.alpn_protocol().map(<[u8]>::to_vec)
    };
    assert_eq!(agreed(&[b"http/1.1", b"h2"]), Some(b"h2".to_vec()));
    assert_eq!(agreed(&[b"http/1.1"]), Some(b"http/1.1".to_vec()));
    assert_eq!(agreed(&[]), None);
    // HTTP/2 begins directly, with the server's first frame, SETTINGS.
    let mut stream = tls::connect(server.address, "localhost", &certificate(), &[b"h2"]).unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4);
}

#[test]
fn a_client_without_tls_is_told_so_and_costs_nothing() {
    let server = start();
    let head = Head::of("Kinesis_20131202.ListStreams");
    let mut client = server.connect();
    let reply = client.send(&head, b"{}");
    assert_eq!(reply.status, 400);
    let message: Value = reply.json();
    assert_eq!(
        message["message"],
        "This port speaks TLS: the URL has to begin with https://"
    );
    assert!(client.is_closed());
    drop(client);
    wait_until("the connection is gone", || server.gauges().connections() == 0);
}

#[test]
fn a_handshake_that_does_not_end_is_given_up() {
    let server = TestServer::with_options(Backend::Memory, |options| {
        with_tls(options).tls_handshake_timeout(Duration::from_millis(50))
    });
    // No bytes, and the beginning of a handshake.
    for sent in [&b""[..], b"\x16\x03\x01"] {
        let mut client = TcpStream::connect(server.address).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(sent).unwrap();
        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
        wait_until("the connection is gone", || server.gauges().connections() == 0);
    }
}

#[test]
fn a_client_that_trusts_another_certificate_is_not_served() {
    let server = start();
    let other = std::fs::read_to_string(made().1).unwrap();
    let refused = tls::connect(server.address, "localhost", &other, &[]);
    assert!(refused.is_err());
    let refused = tls::connect(server.address, "kinesis.example", &certificate(), &[]);
    assert!(refused.is_err());
    // The server goes on.
    connect(&server).ok("ListStreams", &json!({}));
}

#[test]
fn a_connection_in_its_handshake_gives_its_place_to_others() {
    let server = TestServer::with_options(Backend::Memory, |options| with_tls(options).max_connections(1));
    let mut silent = TcpStream::connect(server.address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    wait_until("the connection counts", || server.gauges().connections() == 1);
    connect(&server).ok("ListStreams", &json!({}));
    assert!(matches!(silent.read(&mut [0]), Ok(0) | Err(_)));
}

#[test]
fn a_stop_does_not_wait_for_a_handshake() {
    let mut server = TestServer::with_options(Backend::Memory, |options| {
        // Longer than any test may take.
        with_tls(options)
            .tls_handshake_timeout(Duration::from_secs(3600))
            .shutdown_grace(Duration::from_secs(3600))
    });
    let _silent = TcpStream::connect(server.address).unwrap();
    wait_until("the connection counts", || server.gauges().connections() == 1);
    let running = server.begin_stop();
    server.finish(running);
}
