//! The limits of connections, their addresses, and how they end.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::time::Duration;

use anabranch::kinesis::{Server, ServerOptions};
use anabranch_harness::http1::{Client, Head};
use anabranch_harness::http2::Http2Client;
use serde_json::json;

use super::test_server::{Backend, TestServer};

const LIST: &str = "Kinesis_20131202.ListStreams";
/// Longer than any test may take.
const AN_HOUR: Duration = Duration::from_secs(3600);

/// A request whose head the server has, while it waits for the rest of the body.
fn half_request(server: &TestServer) -> Client {
    let mut client = server.connect();
    let head = Head::of(LIST).to_text();
    client.write(format!("{head}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n{{").as_bytes());
    assert_eq!(client.read_reply(false).unwrap().status, 100);
    client
}

#[test]
fn for_a_newcomer_beyond_the_limit_the_longest_idle_connection_is_closed() {
    let server = TestServer::with_options(Backend::Directory, |options| options.max_connections(3));
    let mut busy = half_request(&server);
    let (mut first, mut second) = (server.connect(), server.connect());
    for is_first in [true, false, true] {
        let client = if is_first { &mut first } else { &mut second };
        assert_eq!(client.call("ListStreams", &json!({})).status, 200);
        // The order of their last requests is by the clock, which counts milliseconds.
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut newcomer = server.connect();
    assert_eq!(newcomer.call("ListStreams", &json!({})).status, 200);
    assert!(second.is_closed());
    assert_eq!(first.call("ListStreams", &json!({})).status, 200);
    busy.write(b"}");
    assert_eq!(busy.read_reply(false).unwrap().status, 200);
    assert_eq!(server.gauges().closed_idle_connections(), 1);
}

#[test]
fn many_idle_connections_do_not_lock_out_newcomers() {
    let server = TestServer::with_options(Backend::Directory, |options| options.max_connections(16));
    let mut kept = server.connect();
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.extend((0..10).map(|_| TcpStream::connect(server.address).unwrap()));
        assert_eq!(server.call("ListStreams", &json!({})).status, 200);
        // A connection that is sometimes used is not the longest idle one.
        assert_eq!(kept.call("ListStreams", &json!({})).status, 200);
        assert!(server.gauges().connections() <= 16);
    }
}

#[test]
fn a_newcomer_waits_while_all_connections_are_busy() {
    let server = TestServer::with_options(Backend::Directory, |options| options.max_connections(2));
    let (mut first, mut second) = (half_request(&server), half_request(&server));
    let mut third = server.connect();
    third.begin("ListStreams", &json!({}));
    first.write(b"}");
    assert_eq!(first.read_reply(false).unwrap().status, 200);
    assert_eq!(third.read_reply(false).unwrap().status, 200);
    assert!(first.is_closed());
    second.write(b"}");
    assert_eq!(second.read_reply(false).unwrap().status, 200);
}

#[test]
fn a_name_stands_for_all_of_its_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let store = anabranch::Store::open(directory.path().join("data")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime
        .block_on(Server::bind(store, ServerOptions::new("localhost:0")))
        .unwrap();
    let addresses = server.local_addrs().to_vec();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = runtime.spawn(server.run_until(async {
        let _ = stopped.await;
    }));
    let port = addresses[0].port();
    for address in "localhost:0".to_socket_addrs().unwrap() {
        // Even without IPv6, the name may have an IPv6 address.
        if TcpListener::bind(address).is_ok() {
            let address = SocketAddr::new(address.ip(), port);
            assert!(addresses.contains(&address), "{address} is not in {addresses:?}");
            assert_eq!(
                Client::connect(address).call("ListStreams", &json!({})).status,
                200
            );
        }
    }
    stop.send(()).unwrap();
    runtime.block_on(running).unwrap();
}

#[test]
fn heads_have_the_same_limit_in_both_versions() {
    let server = TestServer::start(Backend::Directory);
    let is_answered = |size: usize, count: usize, status: u16| {
        let value = "a".repeat(size);
        let names: Vec<String> = (0..count).map(|n| format!("x-{n}")).collect();
        let mut head = Head::of(LIST);
        for name in &names {
            head = head.header(name, &value);
        }
        assert_eq!(server.connect().send(&head, b"{}").status, status, "{size}");
        let more: Vec<_> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        let mut client = Http2Client::connect(server.address);
        let stream = client.begin_with("POST", "ListStreams", Some(2), &more);
        client.send_data(stream, b"{}");
        client.end(stream);
        // A head that is many times too large ends the connection.
        while !client.reply(stream).has_ended && client.take().is_some() {}
        let of_stream = client.reply(stream).status;
        assert!(
            of_stream == status || (size > 200_000 && client.is_closed()),
            "{size}: {of_stream}"
        );
    };
    is_answered(100_000, 1, 200);
    is_answered(ServerOptions::MAX_HEAD_BYTES, 1, 431);
    is_answered(300_000, 1, 431);
    is_answered(10, 90, 200);
    is_answered(10, 120, 431);
}

#[test]
fn a_stop_closes_idle_connections_and_ends_half_requests_at_once() {
    let mut server = TestServer::with_options(Backend::Directory, |options| options.shutdown_grace(AN_HOUR));
    let mut idle = server.connect();
    assert_eq!(idle.call("ListStreams", &json!({})).status, 200);
    let mut silent = server.connect();
    let mut half_a_head = server.connect();
    half_a_head.write(b"POST / HTTP/1.1\r\nHost");
    let mut half_a_body = half_request(&server);
    let mut newer = Http2Client::connect(server.address);
    let half_a_stream = newer.begin_head("ListStreams", Some(2));
    newer.send_data(half_a_stream, b"{");
    newer.ping();
    let address = server.address;
    let stopping = server.begin_stop();
    server.finish(stopping);
    for client in [&mut idle, &mut silent, &mut half_a_head] {
        assert!(client.is_closed());
    }
    let reply = half_a_body.read_reply(false).unwrap();
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["__type"], "ServiceUnavailable");
    assert!(half_a_body.is_closed());
    while newer.take().is_some() {}
    assert_eq!(newer.reply(half_a_stream).status, 503);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_stop_lets_requests_finish_that_have_come_as_a_whole() {
    let mut server = TestServer::with_options(Backend::Directory, |options| options.shutdown_grace(AN_HOUR));
    server.fill("s", 10);
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let mut reader = server.connect();
    reader.begin("GetRecords", &json!({"ShardIterator": iterator}));
    let mut newer = Http2Client::connect(server.address);
    let stream = newer.begin("GetRecords", &json!({"ShardIterator": iterator}));
    newer.ping();
    while newer.reply(stream).status == 0 {
        newer.take().unwrap();
    }
    // Most of the replies do not fit into the sockets: the requests were taken, and are not done.
    while server.gauges().reply_bytes() < (12 << 20) {
        std::thread::yield_now();
    }
    let stopping = server.begin_stop();
    let reply = reader.read_reply(false).unwrap();
    assert_eq!(reply.ok()["Records"].as_array().unwrap().len(), 10);
    assert!(reader.is_closed());
    let (status, reply) = newer.finish(stream);
    assert_eq!((status, reply["Records"].as_array().unwrap().len()), (200, 10));
    server.finish(stopping);
}

#[test]
fn a_stop_does_not_wait_for_ever() {
    let mut server = TestServer::with_options(Backend::Directory, |options| {
        options.shutdown_grace(Duration::from_millis(200))
    });
    server.fill("s", 10);
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let mut never_reads = server.connect();
    never_reads.begin("GetRecords", &json!({"ShardIterator": iterator}));
    while server.gauges().reply_bytes() < (4 << 20) {
        std::thread::yield_now();
    }
    let stopping = server.begin_stop();
    server.finish(stopping);
}
