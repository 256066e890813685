//! State that survives a restart of the server.

use serde_json::json;

use super::test_server::{Backend, TestServer, all, on_each_backend, text};

on_each_backend!(
    streams_records_and_tokens_are_still_good_after_a_restart,
    a_token_of_another_store_is_worthless,
);

fn streams_records_and_tokens_are_still_good_after_a_restart(backend: Backend) {
    let mut server = TestServer::start(backend);
    server.create("a", 3);
    server.create("b", 1);
    for n in 0..20 {
        server.put("a", &n.to_string(), "data");
    }
    let before = server.ok("DescribeStream", &json!({"StreamName": "a"}));
    let first = server.put("b", "k", "first");
    server.put("b", "k", "second");
    let iterator = server.iterator("b", "0", "LATEST");
    let shards = text(&server.ok("ListShards", &json!({"StreamName": "a", "MaxResults": 1}))["NextToken"]);
    let streams = text(&server.ok("ListStreams", &json!({"Limit": 1}))["NextToken"]);

    server.restart();
    assert_eq!(server.ok("DescribeStream", &json!({"StreamName": "a"})), before);
    let counts = (0..3).map(|shard| count_in_pieces(&server, "a", &shard.to_string()));
    assert_eq!(counts.sum::<usize>(), 20);
    server.put("b", "k", "third");
    let read = server.get(&iterator);
    assert_eq!(read["Records"].as_array().unwrap().len(), 1);
    assert!(text(&read["Records"][0]["SequenceNumber"]) > text(&first["SequenceNumber"]));
    let rest = server.ok("ListShards", &json!({"NextToken": shards}));
    assert_eq!(
        all(&rest["Shards"], "ShardId"),
        ["shardId-000000000001", "shardId-000000000002"]
    );
    assert_eq!(
        server.ok("ListStreams", &json!({"NextToken": streams}))["StreamNames"],
        json!(["b"])
    );
}

/// The number of records of a shard. Records that are not in memory yet come in more than one call.
fn count_in_pieces(server: &TestServer, stream: &str, shard: &str) -> usize {
    let mut iterator = server.iterator(stream, shard, "TRIM_HORIZON");
    let mut count = 0;
    loop {
        let read = server.get(&iterator);
        match read["Records"].as_array().unwrap().len() {
            0 => return count,
            more => count += more,
        }
        iterator = text(&read["NextShardIterator"]);
    }
}

fn a_token_of_another_store_is_worthless(backend: Backend) {
    let (here, there) = (TestServer::start(backend), TestServer::start(backend));
    for server in [&here, &there] {
        server.create("s", 2);
        server.create("t", 1);
    }
    let iterator = there.iterator("s", "0", "LATEST");
    let refusal = here.refusal("GetRecords", &json!({"ShardIterator": iterator}));
    assert_eq!(
        refusal,
        ("InvalidArgumentException".into(), "Invalid ShardIterator.".into())
    );
    let token = there.ok("ListShards", &json!({"StreamName": "s", "MaxResults": 1}))["NextToken"].clone();
    let refusal = here.refusal("ListShards", &json!({"NextToken": token}));
    assert_eq!(
        refusal,
        ("InvalidArgumentException".into(), "Invalid NextToken.".into())
    );
}
