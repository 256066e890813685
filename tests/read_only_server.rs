//! The program serves a store that must not be changed.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used)]

#[path = "kill/http.rs"]
mod http;
mod server_process;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use http::{CallError, KinesisConnection};
use serde_json::{Value, json};
use server_process::ServerProcess;

/// What is in a directory: bytes, and when each file and directory was last changed.
fn tree(directory: &Path) -> BTreeMap<PathBuf, (Option<Vec<u8>>, SystemTime)> {
    let mut tree = BTreeMap::new();
    let mut paths = vec![directory.to_owned()];
    while let Some(path) = paths.pop() {
        let modified = path.metadata().unwrap().modified().unwrap();
        let bytes = if path.is_dir() {
            paths.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            None
        } else {
            Some(fs::read(&path).unwrap())
        };
        tree.insert(path, (bytes, modified));
    }
    tree
}

fn set_modes(directory: &Path, of_directories: u32, of_files: u32) {
    for path in tree(directory).keys() {
        let mode = if path.is_dir() { of_directories } else { of_files };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

fn connect(server: &ServerProcess) -> KinesisConnection {
    KinesisConnection::open(server.address()).unwrap()
}

#[track_caller]
fn ok(connection: &mut KinesisConnection, operation: &str, members: &Value) -> Value {
    match connection.call(operation, members) {
        Ok(answer) => answer,
        Err(error) => panic!("{operation}: {error}"),
    }
}

#[track_caller]
fn assert_refused(connection: &mut KinesisConnection, operation: &str, members: &Value) {
    match connection.call(operation, members) {
        Err(CallError::Refused { status: 400, body }) => {
            let error: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(error["__type"], "AccessDeniedException", "{operation}: {body}");
            let message = error["message"].as_str().unwrap();
            assert!(message.contains("read-only"), "{operation}: {message}");
        }
        Err(error) => panic!("{operation}: {error}"),
        Ok(answer) => panic!("{operation}: {answer}"),
    }
}

/// The data of all records, from an iterator on.
fn read(connection: &mut KinesisConnection, mut iterator: Value) -> Vec<Value> {
    let mut found = Vec::new();
    loop {
        let read = ok(connection, "GetRecords", &json!({"ShardIterator": iterator}));
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
        let server = ServerProcess::start(directory.path(), "127.0.0.1:0", &[]);
        let mut connection = connect(&server);
        let stream = json!({"StreamName": "clicks"});
        ok(
            &mut connection,
            "CreateStream",
            &json!({"StreamName": "clicks", "ShardCount": 1}),
        );
        let put = json!({"StreamName": "clicks", "PartitionKey": "key", "Data": "b25l"});
        ok(&mut connection, "PutRecord", &put);
        let from_start = json!({
            "StreamName": "clicks", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON",
        });
        let iterator = ok(&mut connection, "GetShardIterator", &from_start)["ShardIterator"].clone();
        let shards = ok(&mut connection, "ListShards", &stream);
        match is_killed {
            true => server.kill(),
            false => server.stop("TERM"),
        }
        set_modes(&data, 0o500, 0o400);
        let before = tree(&data);

        let server = ServerProcess::start(directory.path(), "127.0.0.1:0", &["--read-only"]);
        let mut connection = connect(&server);
        // The iterator of the first server works here.
        assert_eq!(read(&mut connection, iterator), ["b25l"]);
        let again = ok(&mut connection, "GetShardIterator", &from_start)["ShardIterator"].clone();
        assert_eq!(read(&mut connection, again), ["b25l"]);
        assert_eq!(ok(&mut connection, "ListShards", &stream), shards);
        let described = ok(&mut connection, "DescribeStream", &stream);
        assert_eq!(described["StreamDescription"]["StreamStatus"], "ACTIVE");
        assert_eq!(
            ok(&mut connection, "ListStreams", &json!({}))["StreamNames"],
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

        // And it is served again to write.
        let server = ServerProcess::start(directory.path(), "127.0.0.1:0", &[]);
        let mut connection = connect(&server);
        let put = json!({"StreamName": "clicks", "PartitionKey": "key", "Data": "dHdv"});
        ok(&mut connection, "PutRecord", &put);
    }
}

#[test]
fn what_cannot_be_served_read_only_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let serve = |data: &Path| {
        let output = Command::new(env!("CARGO_BIN_EXE_anabranch"))
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

    let server = ServerProcess::start(directory.path(), "127.0.0.1:0", &[]);
    let (status, said) = serve(&directory.path().join("data"));
    assert_eq!(status, Some(3), "{said}");
    assert!(
        said.contains(&format!("locked by process {}", server.id())),
        "{said}"
    );
}
