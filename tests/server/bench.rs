//! `anabranch bench`, as a new user runs it.

use std::path::Path;
use std::process::Output;

use anabranch_harness::program::ServerProcess;
use serde_json::Value;

use crate::PROGRAM;

/// Short, and small enough for any disk.
fn bench(directory: &Path, more_arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = PROGRAM
        .command()
        .arg("bench")
        .arg(directory)
        .args(["--seconds", "0.2", "--writers", "3"])
        .args(more_arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn bench_shows_the_raw_limit_beside_anabranch_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let (status, out, error) = bench(directory.path(), &[]);
    assert_eq!(status, 0, "{error}");
    for line in [
        "Disk",
        "Load",
        "records/s",
        "MB/s",
        "p50 us",
        "p99 us",
        "Read back: all",
    ] {
        assert!(out.contains(line), "{line} is missing in:\n{out}");
    }
    assert!(
        out.contains("3 writers, 1 record of 1024 bytes a call, 1 shard, synced, through the library"),
        "{out}"
    );
    assert!(is_empty(directory.path()));
}

#[test]
fn bench_speaks_json_for_every_kind_of_load() {
    let directory = tempfile::tempdir().unwrap();
    for load in [
        ["--batch", "100", "--shards", "5", "--durability", "written"],
        ["--batch", "1", "--shards", "3", "--durability", "buffered"],
        ["--batch", "7", "--record-bytes", "18", "--durability", "synced"],
    ] {
        let (status, out, error) = bench(directory.path(), &[&load[..], &["--json"]].concat());
        assert_eq!(status, 0, "{error}");
        let told: Value = serde_json::from_str(&out).unwrap();
        let calls = told["anabranch"]["calls"].as_u64().unwrap();
        let read_back = told["read_back_records"].as_u64().unwrap();
        assert!(
            calls > 0 && read_back >= calls * told["batch"].as_u64().unwrap(),
            "{out}"
        );
        let ratio = told["ratio"].as_f64().unwrap();
        assert!(
            told["ratio_lowest"].as_f64().unwrap() <= ratio && told["raw"]["p99_us"].is_number(),
            "{out}"
        );
    }
    assert!(is_empty(directory.path()));
}

#[test]
fn bench_measures_a_server_and_takes_its_stream_away() {
    let directory = tempfile::tempdir().unwrap();
    let server = PROGRAM.serve(directory.path(), &[]);
    let scratch = directory.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let endpoint = server.url();
    for batch in ["1", "20"] {
        let load = ["--endpoint", &endpoint, "--batch", batch, "--shards", "3"];
        let (status, out, error) = bench(&scratch, &load);
        assert_eq!(status, 0, "{error}");
        assert!(
            out.contains(&format!("through {endpoint}")) && out.contains("Read back: all"),
            "{out}"
        );
    }
    assert!(is_empty(&scratch));
    assert_eq!(streams_left(&directory.path().join("data"), server), [""; 0]);
}

fn streams_left(data: &Path, server: ServerProcess) -> Vec<String> {
    server.kill();
    let store = anabranch::Store::open(data).unwrap();
    let streams = store.streams(None, usize::MAX).unwrap();
    streams.into_iter().map(|stream| stream.name).collect()
}

#[test]
fn bench_without_a_server_or_a_directory_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (status, _, error) = bench(directory.path(), &["--endpoint", "http://127.0.0.1:9"]);
    assert_eq!(status, 1);
    assert!(error.contains("cannot connect to http://127.0.0.1:9"), "{error}");
    assert!(is_empty(directory.path()));

    let (status, _, error) = bench(&directory.path().join("missing"), &[]);
    assert_eq!(status, 1);
    assert!(error.contains("missing"), "{error}");

    let (status, _, _) = bench(directory.path(), &["--seconds", "0"]);
    assert_eq!(status, 2);
}
