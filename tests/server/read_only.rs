//! The program serves a store that must not be changed.

use std::path::Path;

use anabranch_harness::files::{set_modes, tree};
use anabranch_harness::http1::{CallError, Client};
use serde_json::{Value, json};

use crate::PROGRAM;

#[track_caller]
fn assert_refused(connection: &mut Client, operation: &str, members: &Value) {
    match connection.try_call(operation, members) {
        Err(CallError::Refused(reply)) => {
            let (exception, message) = reply.refusal();
            assert_eq!(exception, "AccessDeniedException", "{operation}: {message}");
            assert!(message.contains("read-only"), "{operation}: {message}");
        }
        Err(error) => panic!("{operation}: {error}"),
        Ok(answer) => panic!("{operation}: {answer}"),
    }
}

/// The data of all records, from an iterator on.
fn read(connection: &mut Client, mut iterator: Value) -> Vec<Value> {
    let mut found = Vec::new();
    loop {
        let read = connection.ok("GetRecords", &json!({"ShardIterator": iterator}));
        let records = read["Records"].as_array().unwrap();
        if records.is_empty() {
            return found;
        }
        found.extend(records.iter().map(|record| record["Data"].clone()));
        iterator = read["NextShardIterator"].clone();
    }
}

#[test]
fn a_store_is_served_read_only_and_nothing_in_it_changes() {
    for is_killed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let server = PROGRAM.serve(directory.path(), &[]);
        let mut connection = Client::connect(server.address());
        let stream = json!({"StreamName": "clicks"});
        connection.ok("CreateStream", &json!({"StreamName": "clicks", "ShardCount": 1}));
        let put = json!({"StreamName": "clicks", "PartitionKey": "key", "Data": "b25l"});
        connection.ok("PutRecord", &put);
        let from_start = json!({
            "StreamName": "clicks", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON",
        });
        let iterator = connection.ok("GetShardIterator", &from_start)["ShardIterator"].clone();
        let shards = connection.ok("ListShards", &stream);
        match is_killed {
            true => server.kill(),
            false => server.stop("TERM"),
        }
        set_modes(&data, 0o500, 0o400);
        let before = tree(&data);

        let server = PROGRAM.serve(directory.path(), &["--read-only"]);
        let mut connection = Client::connect(server.address());
        // The iterator of the first server works here.
        assert_eq!(read(&mut connection, iterator), ["b25l"]);
        let again = connection.ok("GetShardIterator", &from_start)["ShardIterator"].clone();
        assert_eq!(read(&mut connection, again), ["b25l"]);
        assert_eq!(connection.ok("ListShards", &stream), shards);
        let described = connection.ok("DescribeStream", &stream);
        assert_eq!(described["StreamDescription"]["StreamStatus"], "ACTIVE");
        assert_eq!(
            connection.ok("ListStreams", &json!({}))["StreamNames"],
            json!(["clicks"])
        );
        for (operation, members) in [
            ("PutRecord", put),
            (
                "PutRecords",
                json!({"StreamName": "clicks", "Records": [{"PartitionKey": "key", "Data": "b25l"}]}),
            ),
            ("CreateStream", json!({"StreamName": "another", "ShardCount": 1})),
            ("DeleteStream", stream.clone()),
            (
                "SplitShard",
                json!({
                    "StreamName": "clicks", "ShardToSplit": "shardId-000000000000",
                    "NewStartingHashKey": "170141183460469231731687303715884105728",
                }),
            ),
            (
                "IncreaseStreamRetentionPeriod",
                json!({"StreamName": "clicks", "RetentionPeriodHours": 48}),
            ),
        ] {
            assert_refused(&mut connection, operation, &members);
        }
        let log = server.log();
        assert!(log.contains("read_only=true"), "{log}");
        server.stop("TERM");
        assert!(tree(&data) == before, "the directory has changed");
        set_modes(&data, 0o700, 0o600);

        // The store can be served for writing again.
        let server = PROGRAM.serve(directory.path(), &[]);
        let mut connection = Client::connect(server.address());
        let put = json!({"StreamName": "clicks", "PartitionKey": "key", "Data": "dHdv"});
        connection.ok("PutRecord", &put);
    }
}

#[test]
fn what_cannot_be_served_read_only_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let serve = |data: &Path| {
        let output = PROGRAM
            .command()
            .args(["serve", "--read-only", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, said) = serve(&directory.path().join("missing"));
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("missing") && said.contains("--data-dir"), "{said}");
    assert!(!directory.path().join("missing").exists());

    let server = PROGRAM.serve(directory.path(), &[]);
    let (status, said) = serve(&directory.path().join("data"));
    assert_eq!(status, Some(3), "{said}");
    assert!(
        said.contains(&format!("locked by process {}", server.id())),
        "{said}"
    );
}
