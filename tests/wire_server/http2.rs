//! HTTP/2 with prior knowledge on the same port, spoken by a client of a hundred lines.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64_simd::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::support::{AUTHORIZATION, JSON, TestServer};

mod frame {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Http2Client {
    socket: TcpStream,
    next_stream: u32,
    replies: HashMap<u32, (u16, Vec<u8>)>,
}

impl Http2Client {
    fn connect(address: SocketAddr) -> Http2Client {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Http2Client {
            socket,
            next_stream: 1,
            replies: HashMap::new(),
        };
        client
            .socket
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .unwrap();
        // Replies of any length may be sent without waiting for us: INITIAL_WINDOW_SIZE, and the connection's window.
        client.write(
            frame::SETTINGS,
            0,
            0,
            &[&[0, 4][..], &(1u32 << 30).to_be_bytes()].concat(),
        );
        client.write(frame::WINDOW_UPDATE, 0, 0, &(1u32 << 30).to_be_bytes());
        // Until the server has widened the connection's window, no more than 65,535 bytes may be sent.
        let mut seen = Vec::new();
        while !(seen.contains(&frame::SETTINGS) && seen.contains(&frame::WINDOW_UPDATE)) {
            let frame = client.read();
            if frame.kind == frame::SETTINGS && frame.flags & frame::ACK == 0 {
                client.write(frame::SETTINGS, frame::ACK, 0, b"");
            }
            seen.push(frame.kind);
        }
        client
    }

    fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        self.socket.write_all(&bytes).unwrap();
    }

    fn begin(&mut self, operation: &str, input: &Value) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let body = input.to_string();
        let mut headers = Vec::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/"),
            (":authority", "kinesis.test"),
            ("content-type", JSON),
            ("x-amz-target", &format!("Kinesis_20131202.{operation}")),
            ("x-amz-date", "20150122T012202Z"),
            ("authorization", AUTHORIZATION),
            ("content-length", &body.len().to_string()),
        ] {
            headers.push(0);
            for text in [name, value] {
                push_length(&mut headers, text.len());
                headers.extend(text.as_bytes());
            }
        }
        self.write(frame::HEADERS, frame::END_HEADERS, stream, &headers);
        for chunk in body.as_bytes().chunks(16_384) {
            self.write(frame::DATA, 0, stream, chunk);
        }
        self.write(frame::DATA, frame::END_STREAM, stream, b"");
        stream
    }

    fn read(&mut self) -> Frame {
        let mut head = [0; 9];
        self.socket.read_exact(&mut head).unwrap();
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; len];
        self.socket.read_exact(&mut payload).unwrap();
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Frame {
            kind: head[3],
            flags: head[4],
            stream,
            payload,
        }
    }

    /// Takes in one frame, and says which stream it ended.
    fn take(&mut self) -> Option<u32> {
        let frame = self.read();
        let reply = self.replies.entry(frame.stream).or_default();
        match frame.kind {
            frame::HEADERS => {
                // Static table: 8 is status 200, 12 is status 400.
                reply.0 = match frame.payload[0] {
                    0x88 => 200,
                    0x8c => 400,
                    other => panic!("a status that no test expects: {other:x}"),
                };
            }
            frame::DATA => reply.1.extend(frame.payload),
            frame::SETTINGS if frame.flags & frame::ACK == 0 => {
                self.write(frame::SETTINGS, frame::ACK, 0, b"");
                return None;
            }
            frame::SETTINGS | frame::PING | frame::GOAWAY | frame::WINDOW_UPDATE => return None,
            other => panic!("a frame that no test expects: {other}"),
        }
        (frame.flags & frame::END_STREAM != 0).then_some(frame.stream)
    }

    fn finish(&mut self, stream: u32) -> (u16, Value) {
        while self.take() != Some(stream) {}
        let (status, body) = self.replies.remove(&stream).unwrap();
        let body = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap()
        };
        (status, body)
    }

    fn call(&mut self, operation: &str, input: &Value) -> (u16, Value) {
        let stream = self.begin(operation, input);
        self.finish(stream)
    }
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn push_length(out: &mut Vec<u8>, len: usize) {
    match len.checked_sub(127) {
        None => out.push(len as u8),
        Some(mut rest) => {
            out.push(127);
            while rest >= 128 {
                out.push(rest as u8 | 128);
                rest >>= 7;
            }
            out.push(rest as u8);
        }
    }
}

#[test]
fn both_versions_share_the_port() {
    let server = TestServer::start();
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

#[test]
fn many_requests_share_a_connection() {
    let server = TestServer::start();
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
    let mut finished = 0;
    while finished < streams.len() {
        finished += usize::from(client.take().is_some());
    }
    for stream in streams {
        assert_eq!(client.replies[&stream].0, 200);
    }
    assert_eq!(server.count_records("s"), 50);
}

#[test]
fn large_bodies_go_both_ways() {
    let server = TestServer::start();
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

/// SDKs that make a session for each request say goodbye before the reply is there.
#[test]
fn a_reply_is_finished_after_the_client_has_said_goodbye() {
    let server = TestServer::start();
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
