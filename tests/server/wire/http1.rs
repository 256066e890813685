//! HTTP/1.1: connections that stay open, bodies in pieces, and clients that stop sending.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use anabranch_harness::http1::{Client, Head};
use serde_json::json;

use super::test_server::{Backend, TestServer, on_each_backend};

const LIST: &str = "Kinesis_20131202.ListStreams";

on_each_backend!(
    a_connection_takes_one_request_after_another,
    requests_can_be_sent_ahead,
    a_request_may_come_byte_by_byte,
    a_body_may_be_chunked,
    a_client_that_waits_for_leave_to_send_gets_it,
    only_the_target_says_what_is_meant,
    half_open_clients_do_not_keep_others_from_being_served,
    a_silent_connection_is_closed_after_its_time,
    a_body_that_stops_coming_is_given_up,
    a_body_has_to_end_at_some_time,
    a_body_that_says_it_is_too_long_is_refused_at_once,
    a_body_that_becomes_too_long_is_cut_off,
    a_client_that_sends_all_of_a_refused_body_still_gets_the_answer,
    a_client_that_has_closed_its_side_still_gets_its_answer,
    what_is_not_http_is_turned_away,
);

fn a_connection_takes_one_request_after_another(backend: Backend) {
    let server = TestServer::start(backend);
    let mut client = server.connect();
    assert_eq!(
        client
            .call("CreateStream", &json!({"StreamName": "s", "ShardCount": 1}))
            .status,
        200
    );
    for _ in 0..3 {
        assert_eq!(
            client.call("ListStreams", &json!({})).ok()["StreamNames"],
            json!(["s"])
        );
        assert_eq!(
            client.call("DescribeStream", &json!({"StreamName": "x"})).status,
            400
        );
        assert_eq!(client.send(&Head::of(LIST).method("GET"), b"").status, 403);
        assert_eq!(
            client
                .send(&Head::of("x").header("Content-Type", ""), b"x")
                .status,
            403
        );
    }
    assert_eq!(
        client
            .send(&Head::of(LIST).header("Connection", "close"), b"{}")
            .status,
        200
    );
    assert!(client.is_closed());
}

fn requests_can_be_sent_ahead(backend: Backend) {
    let server = TestServer::start(backend);
    let mut client = server.connect();
    let request = format!("{}Content-Length: 2\r\n\r\n{{}}", Head::of(LIST).to_text());
    client.write(request.repeat(5).as_bytes());
    for _ in 0..5 {
        assert_eq!(client.read_reply(false).unwrap().status, 200);
    }
}

fn a_request_may_come_byte_by_byte(backend: Backend) {
    let server = TestServer::start(backend);
    let mut client = server.connect();
    let request = format!("{}Content-Length: 2\r\n\r\n{{}}", Head::of(LIST).to_text());
    for byte in request.as_bytes() {
        client.write(&[*byte]);
    }
    assert_eq!(client.read_reply(false).unwrap().status, 200);
}

fn a_body_may_be_chunked(backend: Backend) {
    let server = TestServer::start(backend);
    let mut client = server.connect();
    let head = Head::of(LIST).header("Transfer-Encoding", "chunked").to_text();
    client.write(format!("{head}\r\n1\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n").as_bytes());
    assert_eq!(client.read_reply(false).unwrap().status, 200);
}

fn a_client_that_waits_for_leave_to_send_gets_it(backend: Backend) {
    let server = TestServer::start(backend);
    let mut client = server.connect();
    let head = Head::of(LIST).header("Expect", "100-continue").to_text();
    client.write(format!("{head}Content-Length: 2\r\n\r\n").as_bytes());
    assert_eq!(client.read_reply(false).unwrap().status, 100);
    client.write(b"{}");
    assert_eq!(client.read_reply(false).unwrap().status, 200);
}

fn only_the_target_says_what_is_meant(backend: Backend) {
    let server = TestServer::start(backend);
    for uri in [
        "/",
        "/any/path?a=b",
        "http://kinesis.eu-west-1.amazonaws.com/",
        "http://kinesis.eu-west-1.amazonaws.com",
    ] {
        assert_eq!(
            server.connect().send(&Head::of(LIST).uri(uri), b"{}").status,
            200,
            "{uri}"
        );
    }
}

fn half_open_clients_do_not_keep_others_from_being_served(backend: Backend) {
    let server = TestServer::start(backend);
    let head = Head::of("Kinesis_20131202.PutRecords").to_text();
    let mut waiting = Vec::new();
    for _ in 0..60 {
        waiting.push(server.connect());
        let mut half_a_head = server.connect();
        half_a_head.write(&head.as_bytes()[..40]);
        let mut head_only = server.connect();
        head_only.write(format!("{head}Content-Length: 20000000\r\n\r\n").as_bytes());
        waiting.extend([half_a_head, head_only]);
    }
    server.create("s", 1);
    server.put("s", "k", "data");
    assert_eq!(server.count_records("s"), 1);
    drop(waiting);
}

fn a_silent_connection_is_closed_after_its_time(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        options.idle_timeout(Duration::from_millis(300))
    });
    let mut silent = server.connect();
    let mut half_a_head = server.connect();
    half_a_head.write(b"POST / HTTP/1.1\r\nHost");
    let mut idle = server.connect();
    assert_eq!(idle.call("ListStreams", &json!({})).status, 200);
    assert!(silent.is_closed());
    assert!(half_a_head.is_closed());
    assert!(idle.is_closed());
}

fn a_body_that_stops_coming_is_given_up(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        options.body_timeouts(Duration::from_millis(200), Duration::from_secs(60))
    });
    let mut client = server.connect();
    client.write(format!("{}Content-Length: 10\r\n\r\n{{", Head::of(LIST).to_text()).as_bytes());
    let reply = client.read_reply(false).unwrap();
    assert_eq!(reply.status, 408);
    assert_eq!(reply.json()["__type"], "RequestTimeoutException");
    assert!(client.is_closed());
}

fn a_body_has_to_end_at_some_time(backend: Backend) {
    let server = TestServer::with_options(backend, |options| {
        options.body_timeouts(Duration::from_secs(60), Duration::from_millis(500))
    });
    let mut client = server.connect();
    client.write(format!("{}Content-Length: 100000000\r\n\r\n", Head::of(LIST).to_text()).as_bytes());
    assert_eq!(client.read_reply(false).unwrap().status, 413);

    let mut client = server.connect();
    client.write(format!("{}Content-Length: 1000000\r\n\r\n", Head::of(LIST).to_text()).as_bytes());
    let mut other = TcpStream::try_clone(client.socket()).unwrap();
    let dribbling = std::thread::spawn(move || while other.write_all(b" ").is_ok() {});
    assert_eq!(client.read_reply(false).unwrap().status, 408);
    let _ = client.socket().shutdown(Shutdown::Both);
    dribbling.join().unwrap();
}

fn a_body_that_says_it_is_too_long_is_refused_at_once(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.max_request_bytes(1000));
    let mut client = server.connect();
    client.write(format!("{}Content-Length: 1001\r\n\r\n", Head::of(LIST).to_text()).as_bytes());
    let reply = client.read_reply(false).unwrap();
    assert_eq!(reply.status, 413);
    assert_eq!(
        reply.header("x-amzn-errortype"),
        Some("RequestEntityTooLargeException")
    );
    assert_eq!(
        reply.json()["message"],
        "The request body is larger than 1000 bytes."
    );
    // The body can still be sent, and the connection goes on.
    client.write(&[b' '; 1001]);
    assert_eq!(client.call("ListStreams", &json!({})).status, 200);
}

fn a_body_that_becomes_too_long_is_cut_off(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.max_request_bytes(1000));
    let mut client = server.connect();
    let head = Head::of(LIST).header("Transfer-Encoding", "chunked").to_text();
    client.write(format!("{head}\r\n").as_bytes());
    let chunk = format!("190\r\n{}\r\n", " ".repeat(0x190));
    for _ in 0..3 {
        client.write(chunk.as_bytes());
    }
    let reply = client.read_reply(false).unwrap();
    assert_eq!(reply.status, 413);
    assert_eq!(reply.json()["__type"], "RequestEntityTooLargeException");
}

fn a_client_that_sends_all_of_a_refused_body_still_gets_the_answer(backend: Backend) {
    let server = TestServer::start(backend);
    let mut client = server.connect();
    let reply = client.send(&Head::of(LIST), &vec![b' '; 30 << 20]);
    assert_eq!(reply.status, 413);
    assert_eq!(client.call("ListStreams", &json!({})).status, 200);
}

fn a_client_that_has_closed_its_side_still_gets_its_answer(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for _ in 0..100 {
        let mut client = server.connect();
        client.begin(
            "PutRecord",
            &json!({"StreamName": "s", "PartitionKey": "k", "Data": ""}),
        );
        client.socket().shutdown(Shutdown::Write).unwrap();
        assert_eq!(client.read_reply(false).expect("an answer").status, 200);
        assert!(client.is_closed());
    }
    assert_eq!(server.count_records("s"), 100);
}

fn what_is_not_http_is_turned_away(backend: Backend) {
    let server = TestServer::start(backend);
    let mut client = server.connect();
    client.write(b"hello\r\n\r\n");
    assert_eq!(client.read_reply(false).unwrap().status, 400);
    assert!(client.is_closed());
    let mut gone = Client::connect(server.address);
    gone.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnonsense that is no frame");
    while !gone.is_closed() {
        gone.skip();
    }
    assert_eq!(server.call("ListStreams", &json!({})).status, 200);
}
