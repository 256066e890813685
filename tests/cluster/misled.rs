//! Servers that are told a wrong address of the owner: calls fail with an error that can be tried again, and go nowhere.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use anabranch_harness::http1::{Client, Head, Reply};
use anabranch_harness::ports::free_address;
use serde_json::json;

use crate::Cluster;
use crate::process::Served;

fn unavailable(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert_eq!(reply.header("x-amzn-errortype"), Some("ServiceUnavailable"));
    assert!(reply.header("x-amzn-requestid").is_some());
}

/// An owner that says of itself that it is there, and another server.
fn misled(cluster: &Cluster, address: SocketAddr) -> [Served; 2] {
    let owner = Served::begin(cluster, &["--advertise", &format!("http://{address}")]);
    let other = Served::begin(cluster, &[]);
    assert_eq!(other.health()["owner"], format!("http://{address}"));
    [owner, other]
}

#[test]
fn an_owner_that_is_not_where_it_says_is_not_reached_and_keeps_the_store() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let [owner, other] = misled(&cluster, free_address());
    unavailable(&other.client().call("ListStreams", &json!({})));
    assert!(
        other.log().contains("calls cannot be passed on"),
        "{}",
        other.log()
    );
    owner.client().ok("ListStreams", &json!({}));
    assert!(owner.is_owner() && !other.is_owner());
}

/// Its answer is not taken for the owner's.
#[test]
fn another_server_at_the_owners_address_is_not_believed() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"{}") {
            let mut bytes = [0; 1 << 10];
            let more = socket.read(&mut bytes).unwrap();
            asked.extend_from_slice(&bytes[..more]);
        }
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n{\"StreamNames\":[]}");
    });
    let [_owner, other] = misled(&cluster, address);
    unavailable(&other.client().call("ListStreams", &json!({})));
    assert!(other.log().contains("is another server"), "{}", other.log());
    answering.join().unwrap();
}

/// The owner says that it is where the other server is, which then would pass calls on to itself for ever.
#[test]
fn calls_do_not_go_round() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let address = free_address();
    let _owner = Served::begin(&cluster, &["--advertise", &format!("http://{address}")]);
    let other = Served::begin_at(&cluster, &address.to_string(), &[]);
    unavailable(&other.client().call("ListStreams", &json!({})));
    assert!(other.log().contains("does not have the store"), "{}", other.log());
}

/// Who claims that a call was passed on to it has to know the owner's token.
#[test]
fn a_call_that_claims_to_be_passed_on_is_not_carried_out() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let servers = [(); 2].map(|()| Served::begin(&cluster, &[]));
    for server in &servers {
        for token in ["", "0123456789abcdef0123456789abcdef"] {
            let mut client = Client::connect(server.address);
            let mut head = Head::of("Kinesis_20131202.ListStreams").header("Host", "elsewhere.example");
            head.headers.push(("X-Anabranch-Forwarded", token));
            let reply = client.send(&head, b"{}");
            assert_eq!(reply.status, 503, "{}", reply.text());
            assert_eq!(reply.header("x-anabranch-owner"), Some("no"));
        }
    }
}
