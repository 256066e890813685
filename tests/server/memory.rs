//! How much of the memory taken for a burst a server keeps.

use anabranch_harness::http1::{Client, Head};
use anabranch_harness::wait::wait_until;
use serde_json::json;

use crate::PROGRAM;

/// The memory of the process that no file backs.
fn anonymous_mebibytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes: u64 = line.unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes >> 10
}

#[test]
fn a_burst_of_large_requests_and_replies_leaves_little_behind() {
    const CLIENTS: usize = 16;
    const SHARDS: usize = 8;
    const MOST_MEBIBYTES: u64 = 160;
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve(directory.path(), &[]);
    let address = server.address();
    let create = json!({"StreamName": "s", "ShardCount": SHARDS});
    Client::connect(address).ok("CreateStream", &create);
    let data = base64_simd::STANDARD.encode_to_string(vec![b'x'; 20_000]);
    let records: Vec<_> = (0..450)
        .map(|number| json!({"PartitionKey": number.to_string(), "Data": data}))
        .collect();
    let batch = json!({"StreamName": "s", "Records": records}).to_string();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let batch = &batch;
            scope.spawn(move || {
                for _ in 0..3 {
                    let head = Head::of("Kinesis_20131202.PutRecords");
                    Client::connect(address).send(&head, batch.as_bytes()).ok();
                }
                let shard = (client % SHARDS).to_string();
                let from = json!({"StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
                let iterator = Client::connect(address).ok("GetShardIterator", &from);
                Client::connect(address).ok("GetRecords", &iterator);
            });
        }
    });
    wait_until(&format!("less than {MOST_MEBIBYTES} MiB are left"), || {
        anonymous_mebibytes(server.id()) <= MOST_MEBIBYTES
    });
    server.stop("TERM");
}
