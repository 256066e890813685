//! Any bytes on a connection to the server.
//!
//! ```text
//! byte 0   what the others are, see `Kind`
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anabranch::kinesis::{Server, ServerOptions};
use anabranch::sim::SimDisk;
use anabranch::{ManualClock, Store, StoreOptions};
use base64_simd::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::runtime::Runtime;

use super::api::{byte_of, operation_of};
use super::base::{self, NOW};
use super::program::Program;

/// A server without an answer for this long hangs.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// All bytes of the connection.
    Raw,
    /// The JSON body of a request; one more byte chooses the operation.
    Json,
    /// The CBOR body of a request.
    Cbor,
    /// The contents of a token with a seal that holds; one more byte chooses the kind of token.
    SealedToken,
    /// The text of a shard iterator.
    Iterator,
}

const KINDS: [Kind; 5] = [
    Kind::Raw,
    Kind::Json,
    Kind::Cbor,
    Kind::SealedToken,
    Kind::Iterator,
];

pub fn run(input: &[u8]) {
    let served = Served::get();
    let mut program = Program(input);
    match KINDS[usize::from(program.byte()) % KINDS.len()] {
        Kind::Raw => drop(served.exchange(program.rest(), Then::HangsUp)),
        Kind::Json => {
            let operation = operation_of(program.byte());
            served.call(&operation.name, "json", program.rest());
        }
        Kind::Cbor => {
            let operation = operation_of(program.byte());
            served.call(&operation.name, "cbor", program.rest());
        }
        Kind::SealedToken => {
            let kind = program.byte() % 3;
            let token = served.seal(kind + 1, program.rest());
            let (operation, member) = [
                ("GetRecords", "ShardIterator"),
                ("ListShards", "NextToken"),
                ("ListStreams", "NextToken"),
            ][usize::from(kind)];
            served.call(
                operation,
                "json",
                format!("{{\"{member}\":\"{token}\"}}").as_bytes(),
            );
        }
        Kind::Iterator => {
            let token = String::from_utf8_lossy(program.rest());
            let body = serde_json::json!({ "ShardIterator": token }).to_string();
            served.call("GetRecords", "json", body.as_bytes());
        }
    }
    check_panics();
}

pub(super) fn check_panics() {
    let panics = PANICS.load(Ordering::SeqCst);
    assert_eq!(panics, 0, "the server panicked");
}

/// What a client does once it has sent its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Listens,
    HangsUp,
}

/// Panics of the server's threads, which are not seen otherwise.
static PANICS: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Served {
    store: Store,
    address: SocketAddr,
    _runtime: Runtime,
}

impl Served {
    /// One server for all inputs.
    fn get() -> &'static Self {
        static SERVED: OnceLock<Served> = OnceLock::new();
        SERVED.get_or_init(|| Self::start(|options| options.shard_limit(40).allow_host("x")))
    }

    pub(super) fn start(change: impl FnOnce(ServerOptions) -> ServerOptions) -> Self {
        const THREADS: &str = "fuzzed-server";
        let known = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some(THREADS) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            known(panic);
        }));
        let disk = SimDisk::new(1);
        disk.set_capacity(64 << 20);
        let store = StoreOptions::new()
            .segment_bytes(64 << 10)
            .flusher_threads(1)
            .keeper(false)
            .clock(ManualClock::starting_at(NOW))
            .disk(disk)
            .open(base::DIRECTORY)
            .expect("an empty disk takes a store");
        // The region that requests are signed for.
        let stream = store
            .namespace("000000000000/eu-west-1")
            .and_then(|streams| streams.create_stream("clicks", 2))
            .expect("a new store has no streams");
        stream.put("key", b"data").expect("there is room");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(THREADS)
            .enable_all()
            .build()
            .expect("the system gives a thread");
        // Nothing waits for the end of a subscription.
        let options = change(ServerOptions::new("127.0.0.1:0").subscription_life(Duration::ZERO));
        let server = runtime
            .block_on(Server::bind(store.clone(), options))
            .expect("a port is free");
        let address = server.local_addr();
        runtime.spawn(server.run_until(std::future::pending()));
        Self {
            store,
            address,
            _runtime: runtime,
        }
    }

    /// Sends a request that is valid except for its body, and checks that it is answered.
    fn call(&self, operation: &str, protocol: &str, body: &[u8]) {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n\
             Content-Type: application/x-amz-{protocol}-1.1\r\nX-Amz-Date: 20150122T000000Z\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=AKID/20150122/eu-west-1/kinesis/aws4_request, \
             SignedHeaders=host, Signature=80e8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let reply = self.exchange(&[head.as_bytes(), body].concat(), Then::Listens);
        let status = reply
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|reply| reply.first_chunk::<3>())
            .unwrap_or_else(|| panic!("{operation} is not answered: {}", String::from_utf8_lossy(&reply)));
        assert!(
            matches!(status[0], b'2' | b'4'),
            "{operation} is answered {}",
            String::from_utf8_lossy(&reply)
        );
    }

    /// Sends bytes, and gives the answer. Checks that the server closes the connection.
    pub(super) fn exchange(&self, bytes: &[u8], then: Then) -> Vec<u8> {
        let mut connection = TcpStream::connect(self.address).expect("the server listens");
        connection
            .set_read_timeout(Some(PATIENCE))
            .expect("the time is not zero");
        connection
            .set_write_timeout(Some(PATIENCE))
            .expect("the time is not zero");
        // The server may have closed before it has read all.
        let _ = connection.write_all(bytes);
        if then == Then::HangsUp {
            let _ = connection.shutdown(Shutdown::Write);
        }
        let mut reply = Vec::new();
        if let Err(error) = connection.read_to_end(&mut reply) {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "the server hangs");
        }
        reply
    }

    /// A token as the server would have made it.
    fn seal(&self, kind: u8, contents: &[u8]) -> String {
        let mut token = vec![kind];
        token.extend_from_slice(&NOW.as_millis().to_be_bytes());
        token.extend_from_slice(&[0; 8]);
        token.extend_from_slice(contents);
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.store.secret()).expect("any key will do");
        mac.update(&token);
        token.extend_from_slice(&mac.finalize().into_bytes()[..16]);
        BASE64.encode_to_string(&token)
    }
}

/// Inputs with a meaning.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let raw = |text: &str| [&[0], text.as_bytes()].concat();
    let json = |operation: &str, body: &str| [&[1, byte_of(operation)], body.as_bytes()].concat();
    let mut seeds = vec![
        (
            "raw-get",
            raw("GET /?Action=ListStreams HTTP/1.1\r\nHost: x\r\nOrigin: y\r\n\r\n"),
        ),
        (
            "raw-post",
            raw(
                "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\nContent-Type: \
                 application/x-amz-json-1.1\r\nX-Amz-Date: 20150122T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
                 Credential=A/20150122/eu-west-1/kinesis/aws4_request, SignedHeaders=host, Signature=8\r\n\
                 Content-Length: 2\r\n\r\n{}",
            ),
        ),
        (
            "raw-chunked",
            raw(
                "POST /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20150122%2Feu-west-1&X-Amz-Signature=8\
                 &X-Amz-SignedHeaders=host&X-Amz-Date=20150122T000000Z HTTP/1.1\r\nHost: x\r\nX-Amz-Target: \
                 Kinesis_20131202.ListStreams\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
                 1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
            ),
        ),
        (
            "raw-http2",
            [
                &[0][..],
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                // SETTINGS; HEADERS of `POST /` on stream 1, which goes on; DATA that ends it; PING; GOAWAY.
                &[0, 0, 0, 4, 0, 0, 0, 0, 0],
                &[0, 0, 3, 1, 4, 0, 0, 0, 1, 0x83, 0x84, 0x86],
                &[0, 0, 2, 0, 1, 0, 0, 0, 1, b'{', b'}'],
                &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
                &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
            ]
            .concat(),
        ),
        (
            "iterator",
            [
                &[4][..],
                b"AAAAAAAAAAHSywljv0zEgPX4NyKdZ5wryMzP9yALs8NeKbUjp1IxtZs1Sp",
            ]
            .concat(),
        ),
        (
            "token-iterator",
            [
                &[3, 0][..],
                &0_u64.to_be_bytes(),
                &0_u32.to_be_bytes(),
                &1_u64.to_be_bytes(),
                b"clicks",
            ]
            .concat(),
        ),
        (
            "token-shards",
            [
                &[3, 1][..],
                &0_u64.to_be_bytes(),
                &0_u32.to_be_bytes(),
                &[5],
                &0_u64.to_be_bytes(),
                b"clicks",
            ]
            .concat(),
        ),
        ("token-streams", [&[3, 2][..], b"a"].concat()),
        (
            "cbor-put-record",
            [
                &[2, byte_of("PutRecord"), 0xa3][..],
                b"\x6aStreamName\x66clicks",
                b"\x6cPartitionKey\x63key",
                b"\x64Data\x44data",
            ]
            .concat(),
        ),
        (
            "cbor-get-shard-iterator",
            [
                &[2, byte_of("GetShardIterator"), 0xbf][..],
                b"\x6aStreamName\x66clicks",
                b"\x67ShardId\x74shardId-000000000000",
                b"\x71ShardIteratorType\x6cAT_TIMESTAMP",
                b"\x69Timestamp\xc1\x1b\0\0\x01\x84\0\0\0\0\xff",
            ]
            .concat(),
        ),
    ];
    let shard = r#""ShardId":"shardId-000000000000""#;
    for (name, operation, members) in [
        ("json-create", "CreateStream", r#""ShardCount":2,"Tags":{"a":"b"},"StreamModeDetails":{"StreamMode":"PROVISIONED"}"#.to_owned()),
        ("json-describe", "DescribeStream", r#""Limit":3,"ExclusiveStartShardId":"shardId-000000000000""#.to_owned()),
        ("json-iterator", "GetShardIterator", format!(r#"{shard},"ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"49590338271490256608559692538361571095921575989136588898""#)),
        ("json-list-shards", "ListShards", r#""MaxResults":5,"ShardFilter":{"Type":"AT_TIMESTAMP","Timestamp":1.5e9}"#.to_owned()),
        ("json-put", "PutRecord", r#""Data":"ZGF0YQ==","PartitionKey":"k\u00e9","ExplicitHashKey":"0","SequenceNumberForOrdering":"1""#.to_owned()),
        ("json-put-records", "PutRecords", r#""Records":[{"Data":"","PartitionKey":"a"},{"Data":"ZGF0YQ==","PartitionKey":"b","ExplicitHashKey":"340282366920938463463374607431768211455"}]"#.to_owned()),
        ("json-split", "SplitShard", r#""ShardToSplit":"shardId-000000000000","NewStartingHashKey":"85070591730234615865843651857942052864""#.to_owned()),
        ("json-merge", "MergeShards", r#""ShardToMerge":"shardId-000000000000","AdjacentShardToMerge":"shardId-000000000001""#.to_owned()),
        ("json-tags", "AddTagsToStream", r#""Tags":{"owner":"me","Ünï":"\ud83d\udc0b"}"#.to_owned()),
    ] {
        seeds.push((name, json(operation, &format!(r#"{{"StreamName":"clicks",{members}}}"#))));
    }
    seeds
        .into_iter()
        .map(|(name, input)| (name.to_owned(), input))
        .collect()
}
