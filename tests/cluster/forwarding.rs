//! Every kind of call through a server that does not have the store.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use anabranch::Timestamp;
use anabranch_harness::http1::{CBOR, Client, Head};
use anabranch_harness::http2::Http2Client;
use anabranch_harness::sigv4::Signer;
use anabranch_harness::wait::wait_until;
use serde_json::{Value, json};

use crate::Cluster;
use crate::http_load::base64;
use crate::process::Served;

const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000";
const FIRST: &str = "shardId-000000000000";

/// A subscription of SubscribeToShard to the first shard of `clicks`, over HTTP/1.1.
pub struct Subscription {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Subscription {
    /// Registers the consumer if it is not there, and subscribes to all records.
    pub fn begin(server: &Served, consumer: &str) -> Subscription {
        let mut client = server.client();
        let stream = format!("{ARN}:stream/clicks");
        let named = json!({ "StreamARN": stream, "ConsumerName": consumer });
        client.call("RegisterStreamConsumer", &named);
        let described = client.ok("DescribeStreamConsumer", &named);
        let subscribe = json!({
            "ConsumerARN": described["ConsumerDescription"]["ConsumerARN"],
            "ShardId": FIRST,
            "StartingPosition": { "Type": "TRIM_HORIZON" },
        });
        client.begin("SubscribeToShard", &subscribe);
        Subscription {
            socket: client.socket().try_clone().unwrap(),
            read: Vec::new(),
        }
    }

    /// Waits until this text has come.
    pub fn wait_for(&mut self, text: &str) {
        while !self.has(text) {
            let more = self.read_more().unwrap();
            assert!(more > 0, "it ends: {}", String::from_utf8_lossy(&self.read));
        }
    }

    fn has(&self, text: &str) -> bool {
        self.read
            .windows(text.len())
            .any(|bytes| bytes == text.as_bytes())
    }

    /// Waits for the end, and says whether it is that of a reply.
    pub fn ends_in_order(mut self) -> bool {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        while !self.read.ends_with(END) && matches!(self.read_more(), Ok(1..)) {}
        self.read.ends_with(END)
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let mut bytes = [0; 16 << 10];
        let more = self.socket.read(&mut bytes)?;
        self.read.extend_from_slice(&bytes[..more]);
        Ok(more)
    }
}

fn put(key: &str, data: &[u8]) -> Value {
    json!({ "StreamName": "clicks", "PartitionKey": key, "Data": base64(data) })
}

fn iterator(client: &mut Client) -> Value {
    let shard = json!({ "StreamName": "clicks", "ShardId": FIRST, "ShardIteratorType": "TRIM_HORIZON" });
    client.ok("GetShardIterator", &shard)["ShardIterator"].clone()
}

#[test]
fn iterators_tokens_and_receipts_of_one_server_are_good_on_the_other() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let servers = [(); 2].map(|()| Served::begin(&cluster, &[]));
    let [mut owner, mut other] = [&servers[0], &servers[1]].map(Served::client);
    for name in ["clicks", "orders"] {
        other.ok("CreateStream", &json!({ "StreamName": name, "ShardCount": 1 }));
    }
    let number = other.ok("PutRecord", &put("user-42", b"first"))["SequenceNumber"].clone();
    let records =
        [b"second", b"third!"].map(|data| json!({ "PartitionKey": "user-42", "Data": base64(data) }));
    let batch = owner.ok(
        "PutRecords",
        &json!({ "StreamName": "clicks", "Records": records }),
    );
    assert_eq!(batch["FailedRecordCount"], 0);

    for (from, with) in [(&mut owner, &mut other)] {
        for (a, b) in [(0, 1), (1, 0)] {
            let clients = [&mut *from, &mut *with];
            let iterator = iterator(&mut servers[a].client());
            let read = servers[b]
                .client()
                .ok("GetRecords", &json!({ "ShardIterator": iterator }));
            assert_eq!(read["Records"].as_array().unwrap().len(), 3);
            assert_eq!(read["Records"][0]["SequenceNumber"], number);
            let next = json!({ "ShardIterator": read["NextShardIterator"] });
            for client in clients {
                assert_eq!(client.ok("GetRecords", &next)["Records"], json!([]));
            }
        }
    }
    let page = other.ok("ListStreams", &json!({ "Limit": 1 }));
    assert_eq!(page["StreamNames"], json!(["clicks"]));
    let page = owner.ok("ListStreams", &json!({ "NextToken": page["NextToken"] }));
    assert_eq!(page["StreamNames"], json!(["orders"]));

    let mode = json!({ "StreamARN": format!("{ARN}:stream/clicks"), "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    other.ok("UpdateStreamMode", &mode);
    let queue = json!({ "QueueName": "work", "StreamConfigurationList": [{
        "StreamARN": format!("{ARN}:stream/clicks"), "StartingPosition": { "Type": "TRIM_HORIZON" },
    }] });
    let queue = other.ok("CreateQueue", &queue)["QueueDescription"]["QueueARN"].clone();
    let receive = json!({ "QueueARN": queue, "WaitTimeSeconds": 1 });
    let received = other.ok("ReceiveQueueRecords", &receive)["QueueRecords"].clone();
    assert!(!received.as_array().unwrap().is_empty(), "{received}");
    let done: Vec<_> = received
        .as_array()
        .unwrap()
        .iter()
        .map(|record| json!({ "ReceiptHandle": record["ReceiptHandle"] }))
        .collect();
    let done = json!({ "QueueARN": queue, "Entries": done });
    assert_eq!(owner.ok("AcknowledgeQueueRecords", &done)["Failed"], json!([]));
    other.ok("DeleteStream", &json!({ "StreamName": "orders" }));
    wait_until("the stream is gone", || {
        owner.ok("ListStreams", &json!({}))["StreamNames"] == json!(["clicks"])
    });
}

#[test]
fn records_are_pushed_through_another_server_as_they_come_and_to_one_client() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let servers = [(); 2].map(|()| Served::begin(&cluster, &[]));
    let mut owner = servers[0].client();
    owner.ok(
        "CreateStream",
        &json!({ "StreamName": "clicks", "ShardCount": 1 }),
    );
    let mut subscription = Subscription::begin(&servers[1], "app");
    subscription.wait_for("initial-response");
    for text in [&b"pushed"[..], b"pushed again"] {
        owner.ok("PutRecord", &put("user-42", text));
        subscription.wait_for(&base64(text));
    }
    // One subscriber to a shard, whichever server it came by.
    let consumer = json!({ "StreamARN": format!("{ARN}:stream/clicks"), "ConsumerName": "app" });
    let consumer = owner.ok("DescribeStreamConsumer", &consumer);
    let again = json!({
        "ConsumerARN": consumer["ConsumerDescription"]["ConsumerARN"],
        "ShardId": FIRST,
        "StartingPosition": { "Type": "LATEST" },
    });
    let (kind, _) = owner.call("SubscribeToShard", &again).refusal();
    assert_eq!(kind, "ResourceInUseException");
    owner.ok(
        "DeregisterStreamConsumer",
        &json!({ "ConsumerARN": again["ConsumerARN"] }),
    );
    assert!(subscription.ends_in_order());

    let [_owner, other] = servers;
    let mut subscription = Subscription::begin(&other, "another");
    subscription.wait_for("initial-response");
    other.stop();
    assert!(subscription.ends_in_order());
}

#[test]
fn what_a_client_says_and_hears_is_the_same_through_another_server() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let servers = [(); 2].map(|()| Served::begin(&cluster, &[]));
    let mut clients = [&servers[0], &servers[1]].map(Served::client);
    clients[1].ok(
        "CreateStream",
        &json!({ "StreamName": "clicks", "ShardCount": 1 }),
    );

    let calls: [(Head<'_>, &[u8]); 7] = [
        (Head::of("Kinesis_20131202.ListStreams"), b"{}"),
        (
            Head::of("Kinesis_20131202.ListStreams").header("Content-Type", CBOR),
            b"\xa0",
        ),
        (Head::of("Kinesis_20131202.Nonsense"), b"{}"),
        (
            Head::of("Kinesis_20131202.DescribeStream"),
            b"{\"StreamName\":\"nothing\"}",
        ),
        (Head::of("Kinesis_20131202.PutRecord"), b"{"),
        (
            Head::of("").header("X-Amz-Target", "").method("GET").uri("/else"),
            b"",
        ),
        (
            Head::of("Kinesis_20131202.ListStreams").header("Host", "elsewhere.example"),
            b"{}",
        ),
    ];
    for (head, body) in calls {
        let [direct, passed] = clients.each_mut().map(|client| client.send(&head, body));
        assert_eq!(direct.status, passed.status, "{}", head.to_text());
        assert_eq!(direct.body, passed.body, "{}", head.to_text());
        let names = |reply: &anabranch_harness::http1::Reply| {
            let mut names: Vec<_> = reply.headers.iter().map(|(name, _)| name.clone()).collect();
            names.retain(|name| name != "x-amz-id-2");
            names.sort();
            names
        };
        assert_eq!(names(&direct), names(&passed), "{}", head.to_text());
        assert!(passed.header("x-amzn-requestid").is_some());
        assert!(passed.header("x-anabranch-owner").is_none());
    }

    let mut over_http2 = Http2Client::connect(servers[1].address);
    let (status, put_over_http2) = over_http2.call("PutRecord", &put("user-42", b"over http2"));
    assert_eq!(status, 200, "{put_over_http2}");
    let read = json!({ "ShardIterator": iterator(&mut clients[0]) });
    let (status, read) = over_http2.call("GetRecords", &read);
    assert_eq!((status, read["Records"].as_array().unwrap().len()), (200, 1));

    let health = servers[1].health();
    assert_eq!(
        (&health["status"], &health["role"]),
        (&json!("ok"), &json!("forwarding"))
    );
    assert_eq!(health["owner"], servers[0].url());
    assert_eq!(servers[0].health()["owner"], servers[0].url());
    assert_eq!(servers[1].page("/version"), servers[0].page("/version"));
    let metrics = Head::of("")
        .header("X-Amz-Target", "")
        .method("GET")
        .uri("/metrics");
    let [of_owner, of_other] = clients
        .each_mut()
        .map(|client| client.send(&metrics, b"").text().to_owned());
    assert!(of_owner.contains("\nanabranch_owner 1\n"), "{of_owner}");
    assert!(of_other.contains("\nanabranch_owner 0\n"), "{of_other}");
    assert!(
        of_other.contains("\nanabranch_forwarded_requests_total "),
        "{of_other}"
    );
    assert!(
        of_other.contains("anabranch_requests_total{operation=\"ListStreams\"}"),
        "{of_other}"
    );
    let console = Head::of("")
        .header("X-Amz-Target", "")
        .method("GET")
        .uri("/console");
    let console = clients[1].send(&console, b"");
    assert_eq!(console.status, 503);
    assert!(console.text().contains(&servers[0].url()), "{}", console.text());
}

#[test]
fn the_largest_batch_and_the_largest_reply_go_through_another_server() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let servers = [(); 2].map(|()| Served::begin(&cluster, &[]));
    let mut client = servers[1].client();
    client.ok(
        "CreateStream",
        &json!({ "StreamName": "clicks", "ShardCount": 4 }),
    );
    let large = base64(&vec![7; (1 << 20) - 16]);
    let records: Vec<_> = (0..10)
        .map(|key| json!({ "PartitionKey": format!("key-{key}"), "Data": large }))
        .collect();
    let batch = client.ok(
        "PutRecords",
        &json!({ "StreamName": "clicks", "Records": records }),
    );
    assert_eq!(batch["FailedRecordCount"], 0, "{batch}");
    let mut found = 0;
    for shard in 0..4 {
        let shard = json!({
            "StreamName": "clicks",
            "ShardId": format!("shardId-{shard:012}"),
            "ShardIteratorType": "TRIM_HORIZON",
        });
        let mut at = client.ok("GetShardIterator", &shard)["ShardIterator"].clone();
        loop {
            let read = client.ok("GetRecords", &json!({ "ShardIterator": at }));
            let records = read["Records"].as_array().unwrap();
            assert!(records.iter().all(|record| record["Data"] == large));
            found += records.len();
            if records.is_empty() {
                break;
            }
            at = read["NextShardIterator"].clone();
        }
    }
    assert_eq!(found, 10);
}

/// The signature is over the host that the client has asked, and the owner verifies it.
#[test]
fn signatures_are_verified_by_the_owner() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("credentials");
    fs::write(
        &file,
        "[a]\naws_access_key_id = AKID\naws_secret_access_key = s\n",
    )
    .unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let arguments = ["--credentials", file.to_str().unwrap()];
    let servers = [(); 2].map(|()| Served::begin(&cluster, &arguments));
    let mut client = servers[1].client();
    let date = amz_date();
    for (secret, status) in [("s", 200), ("guessed", 400)] {
        let signer = Signer {
            key_id: "AKID",
            secret,
            session_token: None,
            region: "eu-west-1",
            date: &date,
        };
        let signed = signer.sign("Kinesis_20131202.ListStreams", b"{}");
        let reply = client.send(&signed.head(), b"{}");
        assert_eq!(reply.status, status, "{}", reply.text());
    }
}

fn amz_date() -> String {
    let now = Timestamp::from(SystemTime::now()).to_string();
    let digits: String = now.chars().filter(|c| c.is_ascii_digit() || *c == 'T').collect();
    format!("{}Z", &digits[..15])
}

#[test]
fn calls_go_to_an_owner_that_speaks_tls_and_to_no_other_certificate() {
    let Some(cluster) = Cluster::of_one() else {
        return;
    };
    let directories = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let arguments = |place: usize| {
        let directory = directories[place].path().to_str().unwrap().to_owned();
        ["--tls-self-signed".to_owned(), "--tls-dir".to_owned(), directory]
    };
    let servers = [0, 1].map(|place| {
        let arguments = arguments(place);
        Served::begin(&cluster, &arguments.each_ref().map(String::as_str))
    });
    let certificate =
        |place: usize| fs::read_to_string(directories[place].path().join("tls-certificate.pem")).unwrap();
    assert_ne!(certificate(0), certificate(1));
    let mut client = Client::connect_tls(servers[1].address, "localhost", &certificate(1));
    client.ok(
        "CreateStream",
        &json!({ "StreamName": "clicks", "ShardCount": 1 }),
    );
    let health = Head::of("")
        .header("X-Amz-Target", "")
        .method("GET")
        .uri("/health");
    let health = client.send(&health, b"").json();
    assert_eq!(health["owner"], format!("https://{}", servers[0].address));
    let mut owner = Client::connect_tls(servers[0].address, "localhost", &certificate(0));
    assert_eq!(
        owner.ok("ListStreams", &json!({}))["StreamNames"],
        json!(["clicks"])
    );
}
