//! The memory that a server keeps for an event that it pushes.

use std::io::Read;

use anabranch::kinesis::{Server, ServerOptions};
use anabranch::{StoreOptions, StreamOptions};
use anabranch_harness::allocation;
use anabranch_harness::http1::Client;
use serde_json::json;
use tokio::runtime::Runtime;

const RECORD: usize = 10_000_000;
/// In base64, and the bytes around it.
const MESSAGE: usize = RECORD / 3 * 4 + 1_000;

#[test]
fn an_event_is_in_memory_once_beside_its_records() {
    let _alone = crate::alone();
    let directory = tempfile::tempdir().unwrap();
    let store = StoreOptions::new().keeper(false).open(directory.path()).unwrap();
    let streams = store.namespace("000000000000/eu-west-1").unwrap();
    let options = StreamOptions {
        max_record_bytes: 10 << 20,
        ..StreamOptions::default()
    };
    let stream = streams.create_stream_with("s", options).unwrap();
    stream.put("k", &vec![b'x'; RECORD]).unwrap();
    let consumer = stream.register_consumer("app").unwrap();
    let arn = format!(
        "arn:aws:kinesis:eu-west-1:000000000000:stream/s/consumer/app:{}",
        consumer.created.as_seconds()
    );
    let runtime = Runtime::new().unwrap();
    let server = runtime
        .block_on(Server::bind(store.clone(), ServerOptions::new("127.0.0.1:0")))
        .unwrap();
    let mut client = Client::connect(server.local_addr());
    runtime.spawn(server.run_until(std::future::pending()));
    let input = json!({
        "ConsumerARN": arn,
        "ShardId": "0",
        "StartingPosition": {"Type": "TRIM_HORIZON"},
    });
    let before = allocation::start_peak();
    client.begin("SubscribeToShard", &input);
    let mut socket = client.socket();
    let (mut read, mut some) = (0, vec![0; 64 << 10]);
    while read < MESSAGE {
        match socket.read(&mut some).unwrap() {
            0 => panic!("the reply ends after {read} bytes"),
            len => read += len,
        }
    }
    let most = allocation::peak() - before;
    // Most of the other memory is pieces that wait for the socket.
    assert!(most < RECORD + MESSAGE + (2 << 20), "{most} bytes");
}
