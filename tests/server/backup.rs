//! The program makes a backup of the store of a running server, and a store from a backup.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use anabranch_harness::http1::Client;
use serde_json::{Value, json};

use crate::PROGRAM;

fn run(arguments: &[&str], paths: &[&Path]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = PROGRAM.command().args(arguments).args(paths).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// Puts a record for each of four keys; gives their numbers.
fn put(connection: &mut Client) -> Vec<String> {
    let records: Vec<_> = ["0", "1", "2", "3"]
        .map(|part| {
            let key = (part.parse::<u128>().unwrap() << 126).to_string();
            json!({"PartitionKey": "key", "ExplicitHashKey": key, "Data": "AAAA".repeat(500)})
        })
        .into();
    let put = connection.ok("PutRecords", &json!({"StreamName": "clicks", "Records": records}));
    let put = put["Records"].as_array().unwrap().iter();
    put.map(|put| put["SequenceNumber"].as_str().unwrap().to_owned())
        .collect()
}

fn read(connection: &mut Client) -> BTreeSet<String> {
    let shards = connection.ok("ListShards", &json!({"StreamName": "clicks"}));
    let mut found = BTreeSet::new();
    for shard in shards["Shards"].as_array().unwrap() {
        let from_start = json!({
            "StreamName": "clicks", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON",
        });
        let mut iterator = connection.ok("GetShardIterator", &from_start)["ShardIterator"].clone();
        loop {
            let read = connection.ok("GetRecords", &json!({"ShardIterator": iterator}));
            let records = read["Records"].as_array().unwrap();
            if records.is_empty() {
                break;
            }
            found.extend(
                records
                    .iter()
                    .map(|record| record["SequenceNumber"].as_str().unwrap().to_owned()),
            );
            iterator = read["NextShardIterator"].clone();
        }
    }
    found
}

#[test]
fn a_backup_beside_a_server_under_load_is_restored_with_all_that_was_acknowledged_before() {
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve(directory.path(), &[]);
    let mut connection = Client::connect(server.address());
    connection.ok("CreateStream", &json!({"StreamName": "clicks", "ShardCount": 4}));
    let mut acknowledged: BTreeSet<_> = (0..50).flat_map(|_| put(&mut connection)).collect();
    let data = directory.path().join("data");
    let is_over = AtomicBool::new(false);
    for (at, options) in [&["backup", "--json"][..], &["backup", "--json", "--copy"]]
        .into_iter()
        .enumerate()
    {
        let [backup, other] =
            ["backup", "other"].map(|name| directory.path().join(format!("{name}-{at}/data")));
        is_over.store(false, Ordering::Relaxed);
        let put_meanwhile = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut connection = Client::connect(server.address());
                        let mut put_here = Vec::new();
                        while !is_over.load(Ordering::Relaxed) {
                            put_here.extend(put(&mut connection));
                        }
                        put_here
                    })
                })
                .collect();
            let (status, out, error) = run(options, &[&data, &backup]);
            is_over.store(true, Ordering::Relaxed);
            let put: Vec<_> = writers
                .into_iter()
                .flat_map(|writer| writer.join().unwrap())
                .collect();
            assert_eq!((status, error.as_str()), (0, ""), "{out}");
            let told: Value = serde_json::from_str(&out).unwrap();
            assert_eq!((&told["sound"], &told["streams"]), (&json!(true), &json!(1)));
            put
        });
        let (status, out, _) = run(&["verify"], &[&backup]);
        assert_eq!(status, 0, "{out}");

        let (status, out, error) = run(&["restore"], &[&backup, &other]);
        assert_eq!((status, error.as_str()), (0, ""), "{out}");
        assert!(
            out.contains("1 stream in ") && out.contains("The copy is sound."),
            "{out}"
        );
        let restored = PROGRAM.serve(other.parent().unwrap(), &[]);
        let mut of_restored = Client::connect(restored.address());
        let found = read(&mut of_restored);
        let missing: Vec<_> = acknowledged.difference(&found).collect();
        assert!(
            missing.is_empty(),
            "{} of {} are missing",
            missing.len(),
            acknowledged.len()
        );
        acknowledged.extend(put_meanwhile);
        assert!(
            found.is_subset(&acknowledged),
            "there are records that were not put"
        );
        assert!(
            put(&mut of_restored)
                .iter()
                .all(|number| !acknowledged.contains(number))
        );
        restored.stop("TERM");
    }
    assert_eq!(read(&mut connection), acknowledged);
    server.stop("TERM");
    let (status, out, _) = run(&["verify"], &[&data]);
    assert_eq!(status, 0, "{out}");
}

#[test]
fn the_exit_status_of_backup_and_restore_tells_done_damaged_and_impossible_apart() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let server = PROGRAM.serve(directory.path(), &["--create-stream", "clicks:1@eu-west-1"]);
    put(&mut Client::connect(server.address()));
    server.stop("TERM");
    let [data, backup] = ["data", "backup"].map(path);
    for command in ["backup", "restore"] {
        let (status, _, error) = run(&[command], &[&path("missing"), &backup]);
        assert_eq!(status, 2, "{error}");
        assert!(error.contains("missing"), "{error}");
        assert!(!backup.exists());
    }
    assert_eq!(run(&["backup"], &[&data, &backup]).0, 0);
    let (status, _, error) = run(&["backup"], &[&data, &backup]);
    assert_eq!(status, 2);
    assert!(error.contains("is not empty"), "{error}");
    let (status, _, error) = run(&["restore"], &[&backup, &data]);
    assert_eq!(status, 2);
    assert!(error.contains("is not empty"), "{error}");

    let segment = backup.join("streams/1/shardId-000000000000/00000000000000000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096 + 100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (status, _, error) = run(&["restore"], &[&backup, &path("restored")]);
    assert_eq!(status, 1);
    assert!(error.contains("00000000000000000001.log is damaged"), "{error}");
    assert!(!path("restored").exists());
}

#[test]
fn a_backup_inside_its_store_or_around_it_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve(directory.path(), &[]);
    let data = directory.path().join("data");
    let inside = data.join("inside");
    for destination in [inside.as_path(), directory.path()] {
        let (status, out, error) = run(&["backup"], &[&data, destination]);
        assert_eq!((status, out.as_str()), (2, ""), "{error}");
        let said = format!(
            "anabranch: the store in {} cannot be copied into {}, since one of the two is inside the other; choose a directory \
             beside it\n",
            data.display(),
            destination.display()
        );
        assert_eq!(error, said);
    }
    assert!(!inside.exists());
    server.stop("TERM");
}
