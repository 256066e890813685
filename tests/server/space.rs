//! Options of `serve` for small disks.

use std::fs;
use std::path::Path;

use anabranch_harness::files::all_files;
use anabranch_harness::http1::Client;
use serde_json::json;

use crate::PROGRAM;

/// The lengths of the files with this ending.
fn lengths(directory: &Path, ending: &str) -> Vec<u64> {
    all_files(directory)
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == ending))
        .map(|(_, bytes)| bytes.len() as u64)
        .collect()
}

#[test]
fn segments_have_the_size_that_is_asked_for() {
    const RECORDS: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--segment-bytes", "64KiB", "--create-stream", "s:1@eu-west-1"];
    let server = PROGRAM.serve(directory.path(), &arguments);
    let mut client = Client::connect(server.address());
    let data = base64_simd::STANDARD.encode_to_string(vec![7; 30_000]);
    for _ in 0..RECORDS {
        client.ok(
            "PutRecord",
            &json!({"StreamName": "s", "PartitionKey": "k", "Data": data}),
        );
    }
    server.stop("TERM");
    let segments = lengths(&directory.path().join("data/streams"), "log");
    assert!(segments.len() >= RECORDS / 2, "{segments:?}");
    assert!(segments.iter().all(|length| *length <= 64 << 10), "{segments:?}");
}

#[test]
fn without_a_pool_the_files_of_a_deleted_stream_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let arguments = [
        "--segment-bytes",
        "64KiB",
        "--pool-bytes",
        "0",
        "--create-stream",
        "s:1@eu-west-1",
    ];
    let server = PROGRAM.serve(directory.path(), &arguments);
    let mut client = Client::connect(server.address());
    let record = json!({
        "StreamName": "s",
        "PartitionKey": "k",
        "Data": base64_simd::STANDARD.encode_to_string(vec![7; 30_000]),
    });
    for _ in 0..20 {
        client.ok("PutRecord", &record);
    }
    server.stop("TERM");
    let server = PROGRAM.serve(directory.path(), &arguments[2..4]);
    Client::connect(server.address()).ok("DeleteStream", &json!({"StreamName": "s"}));
    server.stop("TERM");
    // Files that were to be removed when the server ended are removed at the latest by the next one's house-keeping.
    let server = PROGRAM.serve(directory.path(), &arguments[2..4]);
    anabranch_harness::wait::wait_until("the deleted stream's files are gone", || {
        !data.join("streams/1").exists()
    });
    server.stop("TERM");
    assert_eq!(lengths(&data.join("streams"), "log"), [0; 0]);
}

#[test]
fn wrong_sizes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    for (option, size) in [
        ("--segment-bytes", "63KiB"),
        ("--segment-bytes", "2GiB"),
        ("--segment-bytes", "a lot"),
        ("--pool-bytes", "1MB"),
        ("--mapped-bytes", "-1"),
    ] {
        let output = PROGRAM
            .command()
            .args(["--data-dir", data.to_str().unwrap(), &format!("{option}={size}")])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{option} {size}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(option));
    }
    assert!(!fs::exists(&data).unwrap());
}
