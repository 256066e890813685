//! The server, killed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use anabranch::ShardId;
use anabranch_harness::http1::{CallError, Client};
use anabranch_harness::program::Program;
use anabranch_harness::wait::wait_until;
use serde_json::{Value, json};

use super::history::{History, Message, Moments, RECORDS_PER_PUT, Receipt, Stored, WRITERS};

const PROGRAM: Program = Program(env!("CARGO_BIN_EXE_anabranch"));
const STREAM: &str = "messages";

#[test]
fn a_server_killed_twenty_times_keeps_every_acknowledged_record_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut history = History::default();
    let mut moments = Moments(0xB0B5_1ED5);
    let start = || PROGRAM.serve(directory.path(), &[]);
    let mut server = start();
    let mut connection = Client::connect(server.address());
    connection.ok("CreateStream", &json!({"StreamName": STREAM, "ShardCount": 4}));
    for life in 0..20 {
        let address = server.address();
        let acknowledged = AtomicU64::new(0);
        let moment = moments.next(400);
        std::thread::scope(|threads| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let acknowledged = &acknowledged;
                    threads.spawn(move || write(address, Message::first(life, writer), acknowledged))
                })
                .collect();
            let resharder = threads.spawn(move || reshard(address, life));
            wait_until("the writers get that far", || {
                acknowledged.load(Ordering::Relaxed) >= moment
            });
            server.kill();
            for writer in writers {
                writer
                    .join()
                    .unwrap()
                    .into_iter()
                    .for_each(|receipt| history.acknowledge(receipt));
            }
            for shard in resharder.join().unwrap() {
                history.acknowledge_closed(shard);
            }
        });
        server = start();
        check(server.address(), &history);
    }
    server.stop("INT");
    let server = start();
    check(server.address(), &history);
    server.stop("TERM");
    assert!(history.len() > 1000, "only {} records", history.len());
}

/// Puts one record, then several at once, in turn, until the connection is lost.
fn write(address: SocketAddr, first: Message, acknowledged: &AtomicU64) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    let Ok(mut connection) = Client::try_connect(address) else {
        return receipts;
    };
    let mut next = first.0;
    loop {
        let puts = if next.is_multiple_of(2) {
            let message = Message(next);
            let mut members = record_members(message);
            members["StreamName"] = json!(STREAM);
            connection
                .try_call("PutRecord", &members)
                .map(|put| vec![(message, put)])
        } else {
            let messages = (next..next + RECORDS_PER_PUT).map(Message);
            let records: Vec<Value> = messages.clone().map(record_members).collect();
            let members = json!({"StreamName": STREAM, "Records": records});
            connection.try_call("PutRecords", &members).map(|mut reply| {
                assert_eq!(reply["FailedRecordCount"], 0, "{reply}");
                let Value::Array(puts) = reply["Records"].take() else {
                    panic!("no list of results: {reply}");
                };
                assert_eq!(puts.len(), RECORDS_PER_PUT as usize);
                messages.zip(puts).collect()
            })
        };
        let puts = match puts {
            Ok(puts) => puts,
            Err(CallError::Lost(_)) => return receipts,
            Err(refused) => panic!("a put was answered with {refused}"),
        };
        next += puts.len() as u64;
        acknowledged.fetch_add(puts.len() as u64, Ordering::Relaxed);
        receipts.extend(puts.into_iter().map(|(message, put)| Receipt {
            message,
            shard: text(&put["ShardId"]).parse().unwrap(),
            number: text(&put["SequenceNumber"]).parse().unwrap(),
        }));
    }
}

fn record_members(message: Message) -> Value {
    let data = base64_simd::STANDARD.encode_to_string(message.data());
    json!({"PartitionKey": message.partition_key(), "Data": data})
}

/// Splits a shard in one life, merges two in the next, and changes the number of shards in the third. Returns the
/// shards that the server reports as closed.
fn reshard(address: SocketAddr, life: u64) -> Vec<ShardId> {
    let attempt = || -> Result<Vec<ShardId>, CallError> {
        let mut connection = Client::try_connect(address).map_err(CallError::Lost)?;
        // A change begun in the life before ends first.
        let named = json!({"StreamName": STREAM});
        let summary = |connection: &mut Client| connection.try_call("DescribeStreamSummary", &named);
        while summary(&mut connection)?["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE" {}
        let of_open = json!({"StreamName": STREAM, "ShardFilter": {"Type": "AT_LATEST"}});
        let reply = connection.try_call("ListShards", &of_open)?;
        let open = sorted_by_keys(list(&reply["Shards"]));
        if life % 3 == 2 {
            let target = match open.len() {
                few @ 0..6 => 2 * few - 1,
                many => many.div_ceil(2),
            };
            let count = json!({
                "StreamName": STREAM, "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING",
            });
            connection.try_call("UpdateShardCount", &count)?;
            // The server closes shards after its answer, so the answer names none.
            return Ok(Vec::new());
        }
        if life.is_multiple_of(3) || open.len() < 3 {
            let (start, end, shard) = &open[life as usize % open.len()];
            let middle = start + (end - start) / 2;
            let split = json!({
                "StreamName": STREAM, "ShardToSplit": shard, "NewStartingHashKey": middle.to_string(),
            });
            connection.try_call("SplitShard", &split)?;
            Ok(vec![shard.parse().unwrap()])
        } else {
            let (low, high) = (&open[0].2, &open[1].2);
            let merge = json!({"StreamName": STREAM, "ShardToMerge": low, "AdjacentShardToMerge": high});
            connection.try_call("MergeShards", &merge)?;
            Ok(vec![low.parse().unwrap(), high.parse().unwrap()])
        }
    };
    match attempt() {
        Ok(closed) => closed,
        Err(CallError::Lost(_)) => Vec::new(),
        Err(refused) => panic!("a reshard was answered with {refused}"),
    }
}

/// First and last hash key, and id.
fn sorted_by_keys<'a>(shards: impl IntoIterator<Item = &'a Value>) -> Vec<(u128, u128, String)> {
    let shards = shards.into_iter().map(|shard| {
        let range = &shard["HashKeyRange"];
        let start = text(&range["StartingHashKey"]).parse().unwrap();
        let end = text(&range["EndingHashKey"]).parse().unwrap();
        (start, end, text(&shard["ShardId"]).to_owned())
    });
    let mut shards: Vec<_> = shards.collect();
    shards.sort();
    shards
}

/// Checks that each hash key belongs to exactly one open shard, also in the middle of a change.
fn check_open(shards: &[Value]) {
    let is_open = |shard: &&Value| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null();
    let open = sorted_by_keys(shards.iter().filter(is_open));
    let (first, last) = (open.first().unwrap(), open.last().unwrap());
    assert_eq!((first.0, last.1), (0, u128::MAX), "{open:?}");
    assert!(open.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{open:?}");
}

fn check(address: SocketAddr, history: &History) {
    let mut connection = Client::connect(address);
    let shards = connection.ok("ListShards", &json!({"StreamName": STREAM}));
    check_open(list(&shards["Shards"]));
    let mut stored = Vec::new();
    let mut closed = BTreeSet::new();
    for shard in list(&shards["Shards"]) {
        let id = text(&shard["ShardId"]);
        if shard["SequenceNumberRange"]["EndingSequenceNumber"].is_string() {
            closed.insert(id.parse().unwrap());
        }
        stored.extend(read(&mut connection, id));
    }
    history.check(&stored, &closed);
}

fn read(connection: &mut Client, shard: &str) -> Vec<Stored> {
    let mut stored = Vec::new();
    let position = json!({"StreamName": STREAM, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
    let mut next = connection.ok("GetShardIterator", &position)["ShardIterator"].take();
    while next.is_string() {
        let mut reply = connection.ok("GetRecords", &json!({"ShardIterator": next}));
        let records = list(&reply["Records"]);
        let is_at_head = records.is_empty() && reply["MillisBehindLatest"] == 0;
        stored.extend(records.iter().map(|record| {
            Stored {
                shard: shard.parse().unwrap(),
                number: text(&record["SequenceNumber"]).parse().unwrap(),
                partition_key: text(&record["PartitionKey"]).to_owned(),
                data: base64_simd::STANDARD
                    .decode_to_vec(text(&record["Data"]))
                    .unwrap(),
            }
        }));
        if is_at_head {
            break;
        }
        next = reply["NextShardIterator"].take();
    }
    stored
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("expected a string, found {value}"))
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("expected a list, found {value}"))
}
