//! HTTP/2 with prior knowledge on the same port.

use anabranch_harness::http2::{Http2Client, frame};
use base64_simd::STANDARD as BASE64;
use serde_json::{Value, json};

use super::test_server::{Backend, TestServer, on_each_backend};

on_each_backend!(
    both_versions_share_the_port,
    many_requests_share_a_connection,
    large_bodies_go_both_ways,
    a_reply_is_finished_after_the_client_has_said_goodbye,
    ten_thousand_requests_whose_end_comes_later_see_no_reset_and_no_farewell,
    a_refused_request_too_is_read_to_its_end,
);

fn both_versions_share_the_port(backend: Backend) {
    let server = TestServer::start(backend);
    let mut newer = Http2Client::connect(server.address);
    assert_eq!(
        newer.call("CreateStream", &json!({"StreamName": "s", "ShardCount": 1})),
        (200, Value::Null)
    );
    assert_eq!(server.ok("ListStreams", &json!({}))["StreamNames"], json!(["s"]));
    let (status, error) = newer.call("DescribeStream", &json!({"StreamName": "x"}));
    assert_eq!(
        (status, &error["__type"]),
        (400, &json!("ResourceNotFoundException"))
    );
    assert_eq!(
        newer.call("ListStreams", &json!({})).1["StreamNames"],
        json!(["s"])
    );
}

fn many_requests_share_a_connection(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 4);
    let mut client = Http2Client::connect(server.address);
    let streams: Vec<u32> = (0..50)
        .map(|n| {
            client.begin(
                "PutRecord",
                &json!({"StreamName": "s", "PartitionKey": n.to_string(), "Data": "AAAA"}),
            )
        })
        .collect();
    for stream in streams {
        assert_eq!(client.finish(stream).0, 200);
    }
    assert_eq!(server.count_records("s"), 50);
}

fn large_bodies_go_both_ways(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    let mut client = Http2Client::connect(server.address);
    let data = BASE64.encode_to_string(vec![7; 500_000]);
    let (status, _) = client.call(
        "PutRecord",
        &json!({"StreamName": "s", "PartitionKey": "k", "Data": data}),
    );
    assert_eq!(status, 200);
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let (status, reply) = client.call("GetRecords", &json!({"ShardIterator": iterator}));
    assert_eq!((status, &reply["Records"][0]["Data"]), (200, &json!(data)));
}

/// SDKs that make a session for each request send GOAWAY before the reply is there.
fn a_reply_is_finished_after_the_client_has_said_goodbye(backend: Backend) {
    let server = TestServer::start(backend);
    server.create("s", 1);
    for _ in 0..4 {
        server.put("s", "k", &"x".repeat(200_000));
    }
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let mut client = Http2Client::connect(server.address);
    let stream = client.begin("GetRecords", &json!({"ShardIterator": iterator}));
    client.write(frame::GOAWAY, 0, 0, &[0; 8]);
    let (status, reply) = client.finish(stream);
    assert_eq!((status, reply["Records"].as_array().unwrap().len()), (200, 4));
}

/// The ways in which the end of a request may come.
const ENDINGS: [fn(&mut Http2Client, &[u8]) -> u32; 4] = [
    |client, body| {
        let stream = client.begin_head("PutRecord", Some(body.len()));
        client.send_data(stream, body);
        stream
    },
    |client, body| {
        let stream = client.begin_head("PutRecord", None);
        client.send_data(stream, body);
        stream
    },
    |client, body| {
        let stream = client.begin_head("PutRecord", Some(body.len()));
        client.send_data(stream, &body[..10]);
        client.send_data(stream, &body[10..]);
        stream
    },
    |client, body| {
        let stream = client.begin_head("PutRecord", None);
        client.send_data(stream, &body[..10]);
        client.send_data(stream, &body[10..]);
        stream
    },
];

/// The SDK for Java sends the end of each request in a separate, empty DATA frame.
fn ten_thousand_requests_whose_end_comes_later_see_no_reset_and_no_farewell(backend: Backend) {
    const AT_ONCE: usize = 100;
    let server = TestServer::start(backend);
    server.create("s", 4);
    let mut client = Http2Client::connect(server.address);
    let body = br#"{"StreamName":"s","PartitionKey":"k","Data":"AAAA"}"#;
    for _ in 0..100 {
        let streams: Vec<u32> = (0..AT_ONCE)
            .map(|n| ENDINGS[n % ENDINGS.len()](&mut client, body))
            .collect();
        // The server has seen all bytes of all bodies.
        client.ping();
        client.ping();
        for (n, stream) in streams.iter().enumerate() {
            let early = client.reply(*stream);
            assert_eq!((early.status, early.reset), (0, None), "answered before its end");
            if n % 3 == 0 {
                client.end_with_trailers(*stream);
            } else {
                client.end(*stream);
            }
        }
        for stream in streams {
            assert_eq!(client.finish(stream).0, 200);
        }
    }
    client.ping();
    assert_eq!((client.resets(), client.goaways()), (vec![], &[][..]));
    assert_eq!(server.count_records("s"), 10_000);
}

fn a_refused_request_too_is_read_to_its_end(backend: Backend) {
    let server = TestServer::with_options(backend, |options| options.max_request_bytes(1_000_000));
    let mut client = Http2Client::connect(server.address);
    let too_long = vec![b' '; 3_000_000];
    for _ in 0..4 {
        let announced = client.begin_head("ListStreams", Some(too_long.len()));
        client.send_data(announced, &too_long);
        let unannounced = client.begin_head("ListStreams", None);
        client.send_data(unannounced, &too_long);
        let no_post = client.begin_with("PUT", "ListStreams", None, &[]);
        client.send_data(no_post, b"{}");
        let preflight = client.begin_with("OPTIONS", "ListStreams", None, &[("origin", "http://localhost")]);
        client.send_data(preflight, b"{}");
        let unknown = client.begin_with("POST", "ListStreams", None, &[("content-type", "text/plain")]);
        client.send_data(unknown, b"{}");
        client.ping();
        client.ping();
        for (stream, status) in [
            (announced, 413),
            (unannounced, 413),
            (no_post, 403),
            (preflight, 200),
            (unknown, 200),
        ] {
            assert_eq!(client.reply(stream).status, 0, "answered before its end");
            client.end(stream);
            while !client.reply(stream).has_ended {
                client.take().unwrap();
            }
            assert_eq!(client.reply(stream).status, status);
        }
    }
    client.ping();
    assert_eq!((client.resets(), client.goaways()), (vec![], &[][..]));
}
