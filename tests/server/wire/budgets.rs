//! The limits on the memory of requests and replies, and on the time without progress.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anabranch::kinesis::ServerOptions;
use anabranch_harness::http1::{Client, Head, Reply};
use anabranch_harness::http2::Http2Client;
use anabranch_harness::wait::wait_until;
use serde_json::json;

use super::test_server::{Backend, Setup, TestServer};

const LIST: &str = "Kinesis_20131202.ListStreams";
const NO_ERROR: u32 = 0;
const CANCEL: u32 = 8;

/// A request with a body of `announced` bytes, of which `sent` are sent.
fn begin_body(server: &TestServer, announced: usize, sent: usize) -> Client {
    let mut client = server.connect();
    client.write(format!("{}Content-Length: {announced}\r\n\r\n", Head::of(LIST).to_text()).as_bytes());
    client.write(&vec![b' '; sent]);
    client
}

/// A body of this many bytes for a request that the server reads to its end.
fn large_body(bytes: usize) -> Vec<u8> {
    let mut body = vec![b' '; bytes];
    body[0] = b'{';
    body[bytes - 1] = b'}';
    body
}

fn large_request(address: SocketAddr, bytes: usize) -> Reply {
    Client::connect(address).send(&Head::of(LIST), &large_body(bytes))
}

#[test]
fn bodies_that_are_announced_and_do_not_come_hold_nothing() {
    let server = TestServer::start(Backend::Directory);
    let slow: Vec<_> = (0..30).map(|_| begin_body(&server, 20 << 20, 1)).collect();
    let mut newer = Http2Client::connect(server.address);
    for _ in 0..30 {
        let stream = newer.begin_head("ListStreams", Some(20 << 20));
        newer.send_data(stream, b" ");
    }
    newer.ping();
    wait_until("the bytes are there", || {
        server.gauges().request_bytes() >= 60 << 10
    });
    assert!(server.gauges().request_bytes() < 1 << 20);
    assert_eq!(server.call("ListStreams", &json!({})).status, 200);
    assert_eq!(large_request(server.address, 15 << 20).status, 200);
    assert_eq!(newer.call("ListStreams", &json!({})).0, 200);
    drop(slow);
    drop(newer);
    wait_until("all is given back", || server.gauges().request_bytes() == 0);
}

#[test]
fn large_bodies_that_stop_coming_leave_room_for_small_requests() {
    let server = TestServer::with_options(Backend::Directory, |options| {
        options
            .max_request_bytes(1 << 20)
            .max_buffered_request_bytes(4 << 20)
            .body_timeouts(Duration::from_secs(3600), Duration::from_secs(3600))
    });
    let mut slow: Vec<_> = (0..8).map(|_| begin_body(&server, 1 << 20, 900_000)).collect();
    wait_until("all large memory is taken", || {
        server.gauges().request_bytes() >= 2 << 20
    });
    for _ in 0..20 {
        assert_eq!(server.call("ListStreams", &json!({})).status, 200);
        assert!(server.gauges().request_bytes() <= 4 << 20);
    }
    for client in &mut slow {
        client.socket().shutdown(Shutdown::Both).unwrap();
    }
    wait_until("all is given back", || server.gauges().request_bytes() == 0);
    assert_eq!(large_request(server.address, 1 << 20).status, 200);
}

/// A megabyte is for small bodies, of which each connection has 64 KiB.
#[test]
fn small_bodies_of_a_few_connections_leave_room_for_those_of_others() {
    const HOGS: usize = 9;
    let server = TestServer::with_options(Backend::Directory, |options| {
        options
            .max_buffered_request_bytes(4 << 20)
            .body_timeouts(Duration::from_secs(20), Duration::from_secs(3600))
    });
    let begin = || {
        let mut hog = Http2Client::connect(server.address);
        for _ in 0..100 {
            let stream = hog.begin_head("ListStreams", Some(60_000));
            hog.send_data(stream, &[b' '; 10_000]);
        }
        hog.flush();
        hog
    };
    let hogs: Vec<_> = (0..HOGS).map(|_| begin()).collect();
    wait_until("each holds what it may", || {
        server.gauges().request_bytes() >= HOGS * (50 << 10)
    });
    for _ in 0..20 {
        assert_eq!(server.call("ListStreams", &json!({})).status, 200);
        assert!(server.gauges().request_bytes() <= (HOGS + 1) * (64 << 10));
    }
    drop(hogs);
    wait_until("all is given back", || server.gauges().request_bytes() == 0);
}

/// Each holds a part of the memory that the others wait for.
#[test]
fn large_bodies_that_all_wait_for_each_other_do_not_wait_for_ever() {
    let server = TestServer::with_options(Backend::Directory, |options| {
        options
            .max_request_bytes(2 << 20)
            .max_buffered_request_bytes(4 << 20)
            .body_timeouts(Duration::from_secs(3600), Duration::from_secs(3600))
    });
    let mut clients: Vec<_> = (0..8).map(|_| begin_body(&server, 2 << 20, 1 << 20)).collect();
    let sockets: Vec<TcpStream> = clients
        .iter()
        .map(|client| client.socket().try_clone().unwrap())
        .collect();
    let statuses: Vec<u16> = std::thread::scope(|threads| {
        for mut socket in sockets {
            threads.spawn(move || {
                let _ = socket.write_all(&[vec![b' '; (1 << 20) - 2], b"{}".to_vec()].concat());
            });
        }
        let readers: Vec<_> = clients
            .iter_mut()
            .map(|client| threads.spawn(|| client.read_reply(false).map_or(0, |reply| reply.status)))
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [0, 200, 503].contains(status)),
        "{statuses:?}"
    );
}

/// They wait for the memory, are not read, and fill their part of the connection's window.
#[test]
fn bodies_of_http2_that_wait_do_not_keep_back_the_rest_of_one_that_has_the_memory() {
    const LARGEST: usize = 4 << 20;
    const FIRST_PART: usize = 3 << 20;
    let server = TestServer::with_options(Backend::Directory, |options| {
        options
            .max_request_bytes(LARGEST)
            .max_connection_request_bytes(LARGEST)
            .body_timeouts(Duration::from_secs(3600), Duration::from_secs(3600))
    });
    let mut client = Http2Client::connect(server.address);
    let (large, smaller) = (large_body(LARGEST), large_body(2 << 20));
    let holder = client.begin_head("ListStreams", Some(LARGEST));
    client.send_data(holder, &large[..FIRST_PART]);
    client.flush();
    wait_until("it has its memory", || {
        server.gauges().request_bytes() >= FIRST_PART
    });
    let mut bodies: Vec<_> = (0..16)
        .map(|_| {
            (
                client.begin_head("ListStreams", Some(smaller.len())),
                &smaller[..],
            )
        })
        .collect();
    // It gets only memory that the others leave.
    bodies.push((holder, &large[FIRST_PART..]));
    let began = Instant::now();
    while bodies.iter().any(|(stream, _)| !client.reply(*stream).has_ended) {
        assert!(began.elapsed() < Duration::from_secs(60), "they stand still");
        let mut has_sent = false;
        for (stream, left) in bodies.iter_mut().filter(|(_, left)| !left.is_empty()) {
            let sent = client.send_what_fits(*stream, left);
            *left = &left[sent..];
            has_sent |= sent > 0;
            if left.is_empty() {
                client.end(*stream);
            }
        }
        if !has_sent {
            client.take().expect("the connection stays open");
        }
    }
    // Each holds a part of the memory that the others need, so some get an error that asks for a retry.
    let statuses: Vec<u16> = bodies
        .iter()
        .map(|(stream, _)| client.reply(*stream).status)
        .collect();
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    assert_eq!((client.resets(), client.goaways()), (vec![], &[][..]));
    wait_until("all is given back", || server.gauges().request_bytes() == 0);
}

#[test]
fn the_largest_request_fits_into_the_least_memory() {
    /// The server's limit.
    const LARGEST: usize = 20 << 20;
    let least: [fn(ServerOptions) -> ServerOptions; 3] = [
        |options| options.max_buffered_request_bytes(1),
        |options| options.max_connection_request_bytes(1),
        |options| {
            options
                .max_buffered_request_bytes(1)
                .max_connection_request_bytes(1)
        },
    ];
    let padding = "x".repeat(100_000);
    for options in least {
        let setup = Setup {
            options: Some(options),
            ..Setup::default()
        };
        let server = TestServer::with(Backend::Memory, setup);
        for bytes in [LARGEST, LARGEST - 10_000] {
            for head in [Head::of(LIST), Head::of(LIST).header("X-Padding", &padding)] {
                let reply = server.connect().send(&head, &large_body(bytes));
                assert_eq!(reply.status, 200, "{bytes} bytes");
            }
        }
    }
}

#[test]
fn a_body_for_which_no_memory_gets_free_is_told_to_come_again() {
    const IDLE: Duration = Duration::from_secs(6);
    let server = TestServer::with_options(Backend::Directory, |options| {
        options
            .max_request_bytes(4 << 20)
            .max_buffered_request_bytes(1)
            .body_timeouts(IDLE, Duration::from_secs(600))
    });
    let hoarder = begin_body(&server, 4 << 20, (4 << 20) - 1_000_000);
    wait_until("the memory is taken", || {
        server.gauges().request_bytes() > 3 << 20
    });
    let mut other = begin_body(&server, 2 << 20, 2 << 20);
    let mut socket = hoarder.socket().try_clone().unwrap();
    // A byte now and then, so that it keeps its memory. The other has waited longer than it when its time is over.
    let dribbling = std::thread::spawn(move || {
        loop {
            std::thread::sleep(IDLE / 3);
            if socket.write_all(b" ").is_err() {
                break;
            }
        }
    });
    let reply = other.read_reply(false).unwrap();
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["__type"], "ServiceUnavailable");
    assert_eq!(server.call("ListStreams", &json!({})).status, 200);
    hoarder.socket().shutdown(Shutdown::Both).unwrap();
    dribbling.join().unwrap();
    wait_until("the memory is free", || {
        large_request(server.address, 2 << 20).status == 200
    });
}

#[test]
fn a_body_of_http2_that_stops_coming_is_given_up() {
    let server = TestServer::with_options(Backend::Directory, |options| {
        options.body_timeouts(Duration::from_millis(200), Duration::from_secs(60))
    });
    let mut client = Http2Client::connect(server.address);
    let stopped = client.begin_head("ListStreams", Some(10));
    client.send_data(stopped, b"{");
    let without_end = client.begin_head("ListStreams", Some(2));
    client.send_data(without_end, b"{}");
    for stream in [stopped, without_end] {
        while client.reply(stream).reset.is_none() {
            client.take().unwrap();
        }
        let reply = client.reply(stream);
        assert_eq!((reply.status, reply.reset), (408, Some(NO_ERROR)));
    }
    assert_eq!(client.call("ListStreams", &json!({})).0, 200);
}

/// A connection whose window is closed, with more replies than it may hold.
#[test]
fn replies_that_a_closed_window_keeps_back_are_few_and_are_reset() {
    const REQUESTS: usize = 30;
    /// Of 13 MB each, in 64 MiB.
    const AT_ONCE: usize = 5;
    let server = TestServer::with_options(Backend::Directory, |options| {
        options
            .stall_timeout(Duration::from_millis(400))
            .body_timeouts(Duration::from_secs(600), Duration::from_secs(600))
    });
    server.fill("s", 12);
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let mut hog = Http2Client::with_window(server.address, 0);
    for _ in 0..REQUESTS {
        hog.begin("GetRecords", &json!({"ShardIterator": iterator}));
    }
    let mut served_beside = 0;
    while hog.resets().len() < REQUESTS {
        hog.take().expect("the connection stays open");
        let held_back = hog.count_of_status(200) - hog.resets().len();
        assert!(held_back <= AT_ONCE, "{held_back} replies at once");
        assert!(server.gauges().reply_bytes() <= 64 << 20);
        if served_beside < 3 {
            let records = server.get(&iterator)["Records"].as_array().unwrap().len();
            assert!(records > 0);
            served_beside += 1;
        }
    }
    assert_eq!(hog.resets(), [CANCEL; REQUESTS]);
    assert!(hog.goaways().is_empty());
    wait_until("all is given back", || server.gauges().reply_bytes() == 0);
}

/// Such a reply is in the connection's buffer as a whole: its stream cannot be reset behind it.
#[test]
fn a_connection_is_closed_whose_small_replies_are_not_read() {
    let server = TestServer::with_options(Backend::Directory, |options| {
        options.stall_timeout(Duration::from_millis(200))
    });
    let mut hog = Http2Client::with_window(server.address, 1);
    for _ in 0..20 {
        hog.begin("ListStreams", &json!({}));
    }
    let started = Instant::now();
    while hog.take().is_some() {
        assert!(started.elapsed() < Duration::from_secs(60), "it stays open");
    }
    wait_until("all is given back", || server.gauges().reply_bytes() == 0);
}

/// A megabyte is for small replies, of which each connection has 64 KiB.
#[test]
fn small_replies_that_a_few_connections_do_not_read_leave_room_for_those_of_others() {
    let server = TestServer::with_options(Backend::Directory, |options| {
        options
            .max_buffered_reply_bytes(8 << 20)
            .body_timeouts(Duration::from_secs(20), Duration::from_secs(3600))
            .stall_timeout(Duration::from_secs(3600))
    });
    server.streams().create_stream("wide", 200).unwrap();
    let begin = || {
        let mut hog = Http2Client::with_window(server.address, 0);
        for _ in 0..20 {
            hog.begin("ListShards", &json!({"StreamName": "wide"}));
        }
        // They fit where those do not.
        for _ in 0..100 {
            hog.begin("ListStreams", &json!({}));
        }
        hog.flush();
        hog
    };
    let hogs: Vec<_> = (0..4).map(|_| begin()).collect();
    wait_until("more than a megabyte is not read", || {
        server.gauges().reply_bytes() > 2 << 20
    });
    for _ in 0..20 {
        assert_eq!(server.call("ListStreams", &json!({})).status, 200);
    }
    drop(hogs);
    wait_until("all is given back", || server.gauges().reply_bytes() == 0);
}

#[test]
fn a_reply_of_http1_that_is_not_read_is_given_up() {
    let server = TestServer::with_options(Backend::Directory, |options| {
        options.stall_timeout(Duration::from_millis(200))
    });
    server.fill("s", 12);
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let mut never_reads = server.connect();
    never_reads.begin("GetRecords", &json!({"ShardIterator": iterator}));
    wait_until("it is made", || server.gauges().reply_bytes() > 1 << 20);
    wait_until("it is given up", || server.gauges().reply_bytes() == 0);
    wait_until("its connection is closed", || server.gauges().connections() == 0);
}

#[test]
fn reads_are_smaller_while_other_replies_hold_the_memory() {
    let server = TestServer::with_options(Backend::Directory, |options| {
        options.max_buffered_reply_bytes(4 << 20)
    });
    server.fill("large", 12);
    let stream = server.streams().create_stream("many", 1).unwrap();
    for _ in 0..100 {
        stream.put("k", &[7; 20_000]).unwrap();
    }
    let many = server.iterator("many", "0", "TRIM_HORIZON");
    let count = || server.get(&many)["Records"].as_array().unwrap().len();
    assert_eq!(count(), 100);
    let large = server.iterator("large", "0", "TRIM_HORIZON");
    let mut never_reads = server.connect();
    never_reads.begin("GetRecords", &json!({"ShardIterator": large}));
    wait_until("it is made", || server.gauges().reply_bytes() > 8 << 20);
    for _ in 0..3 {
        assert!((1..20).contains(&count()));
        assert_eq!(server.call("ListStreams", &json!({})).status, 200);
    }
    drop(never_reads);
    wait_until("all is given back", || server.gauges().reply_bytes() == 0);
    assert_eq!(count(), 100);
}

#[test]
fn small_requests_are_answered_beside_reduced_replies_that_are_not_read() {
    let server = TestServer::with_options(Backend::Directory, |options| {
        options
            .max_buffered_reply_bytes(4 << 20)
            .body_timeouts(Duration::from_secs(600), Duration::from_secs(600))
            .stall_timeout(Duration::from_secs(600))
    });
    server.fill("s", 12);
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let mut hogs: Vec<_> = (0..2)
        .map(|_| Http2Client::with_window(server.address, 0))
        .collect();
    hogs[0].begin("GetRecords", &json!({"ShardIterator": iterator}));
    while hogs[0].count_of_status(200) == 0 {
        hogs[0].take().unwrap();
    }
    let stream = server.streams().create_stream("many", 1).unwrap();
    for _ in 0..100 {
        stream.put("k", &[7; 20_000]).unwrap();
    }
    let many = server.iterator("many", "0", "TRIM_HORIZON");
    let before = server.gauges().reply_bytes();
    for _ in 0..20 {
        hogs[1].begin("GetRecords", &json!({"ShardIterator": many}));
    }
    while hogs[1].count_of_status(200) == 0 {
        hogs[1].take().unwrap();
    }
    let reduced = before + (256 << 10)..before + (512 << 10);
    wait_until("a reduced reply waits for its client", || {
        reduced.contains(&server.gauges().reply_bytes())
    });
    let batch: Vec<_> = (0..100)
        .map(|number| json!({"PartitionKey": number.to_string(), "Data": "YQ=="}))
        .collect();
    for _ in 0..20 {
        assert_eq!(server.call("ListStreams", &json!({})).status, 200);
        let put = server.ok("PutRecords", &json!({"StreamName": "many", "Records": batch}));
        assert_eq!(put["FailedRecordCount"], 0);
    }
}

/// The system would take more than a megabyte at a time, and then nothing until that is read.
#[test]
fn a_client_that_reads_slowly_gets_its_reply_to_the_end() {
    const STALL: Duration = Duration::from_secs(2);
    const PAUSE: Duration = Duration::from_millis(50);
    let server = TestServer::with_options(Backend::Directory, |options| options.stall_timeout(STALL));
    server.fill("s", 12);
    let iterator = server.iterator("s", "0", "TRIM_HORIZON");
    let mut client = server.connect();
    client.begin("GetRecords", &json!({"ShardIterator": iterator}));
    let mut socket = client.socket();
    let mut read = Vec::new();
    let started = Instant::now();
    while started.elapsed() < 4 * STALL {
        let mut some = vec![0; 10_000];
        let len = socket.read(&mut some).expect("the connection is not cut");
        read.extend(&some[..len]);
        std::thread::sleep(PAUSE);
    }
    let head_end = read.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&read[..head_end]).to_ascii_lowercase();
    let len = head.split_once("content-length: ").unwrap().1;
    let len: usize = len.split_once('\r').unwrap().0.parse().unwrap();
    let mut rest = vec![0; head_end + len - read.len()];
    socket.read_exact(&mut rest).expect("the whole reply");
}
