//! `anabranch mirror`, between directories and servers.

#[cfg(feature = "mirror")]
mod aws;
mod faults;
mod kills;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anabranch::{
    HashKey, HashKeyRange, Namespace, PutRecord, Retention, ShardFilter, StreamMode, StreamOptions,
};
use anabranch_harness::program::ServerProcess;
use serde_json::{Value, json};

use super::{Ran, Shell, ran, rows, signal, texts};
use crate::PROGRAM;

const NAMESPACE: &str = "000000000000/us-east-1";

/// A directory or a server as `mirror` takes it.
fn place(shell: &Shell) -> String {
    match &shell.server {
        Some(server) => server.url(),
        None => shell.data_dir().to_str().unwrap().to_owned(),
    }
}

/// The checkpoint, beside the target.
fn checkpoint(target: &Shell) -> PathBuf {
    target.directory.path().join("checkpoint")
}

fn command(source: &str, target: &Shell, arguments: &[&str]) -> Command {
    let mut command = PROGRAM.command();
    command.args(["mirror", source, "clicks", &place(target)]);
    command
        .arg("--checkpoint")
        .arg(checkpoint(target))
        .args(arguments);
    command
}

/// The events of a mirror of `clicks` that does what it was asked.
#[track_caller]
fn mirror(source: &Shell, target: &Shell, arguments: &[&str]) -> Vec<Value> {
    let Ran { status, out, error } = ran(&mut command(&place(source), target, arguments));
    assert_eq!((status, error.as_str()), (0, ""), "{out}");
    rows(&out)
}

/// What fails with this status, and why.
#[track_caller]
fn refusal(status: i32, source: &Shell, target: &Shell, arguments: &[&str]) -> String {
    let ran = ran(&mut command(&place(source), target, arguments));
    assert_eq!(ran.status, status, "{}", ran.error);
    ran.error
}

fn last(events: &[Value]) -> &Value {
    let last = events.last().unwrap();
    assert_eq!(last["event"], "ended");
    last
}

/// A directory whose stream `clicks` is filled through the library.
fn filled(fill: impl Fn(&Namespace)) -> Shell {
    let shell = Shell::in_directory();
    let store = anabranch::Store::open(shell.data_dir()).unwrap();
    fill(&store.namespace(NAMESPACE).unwrap());
    store.close().unwrap();
    shell
}

/// Puts records `from..to`, of twenty keys, whose data are their numbers.
fn put_numbers(streams: &Namespace, numbers: std::ops::Range<u32>) {
    let stream = streams.stream("clicks").unwrap();
    let numbers: Vec<_> = numbers
        .map(|number| (format!("key-{}", number % 20), number.to_string()))
        .collect();
    let records: Vec<_> = numbers
        .iter()
        .map(|(key, number)| PutRecord::new(key, number.as_bytes()))
        .collect();
    for records in records.chunks(500) {
        stream.put_records(records).unwrap();
    }
}

/// The numbers of each key, in the order in which all shards have them.
fn numbers(shell: &Shell, stream: &str) -> BTreeMap<String, Vec<u32>> {
    let read = shell.rows(&["get", stream]);
    let mut numbers = BTreeMap::<_, Vec<_>>::new();
    for (row, text) in read.iter().zip(texts(&read)) {
        let key = row["partition_key"].as_str().unwrap().to_owned();
        numbers.entry(key).or_default().push(text.parse().unwrap());
    }
    numbers
}

/// That `0..count` are there once each, and those of a key in their order.
#[track_caller]
fn assert_is_whole(shell: &Shell, stream: &str, count: u32) {
    let numbers = numbers(shell, stream);
    for (key, numbers) in &numbers {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
    let mut all: Vec<_> = numbers.into_values().flatten().collect();
    all.sort_unstable();
    assert_eq!(all, (0..count).collect::<Vec<_>>());
}

/// The hash keys of the shards, and of the parents of each.
fn lineage(shell: &Shell, stream: &str) -> BTreeSet<(String, String, BTreeSet<String>)> {
    let shards = shell.rows(&["streams", stream]);
    let start = |row: &Value| row["starting_hash_key"].as_str().unwrap().to_owned();
    let ids: BTreeMap<_, _> = shards
        .iter()
        .map(|row| (row["shard"].to_string(), start(row)))
        .collect();
    let parents = |row: &Value| {
        let parents = row["parents"].as_array().unwrap().iter();
        parents.map(|parent| ids[&parent.to_string()].clone()).collect()
    };
    let shown = |row: &Value| {
        let end = row["ending_hash_key"].as_str().unwrap().to_owned();
        (start(row), end, parents(row))
    };
    shards.iter().map(shown).collect()
}

/// A mirror that goes on.
struct Mirror {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Mirror {
    fn start(mut command: Command) -> Mirror {
        let pipes = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Mirror { child, out }
    }

    /// The next event of a kind.
    #[track_caller]
    fn wait_for(&mut self, event: &str) -> Value {
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).unwrap() == 0 {
                let mut error = String::new();
                let mut stderr = self.child.stderr.take().unwrap();
                stderr.read_to_string(&mut error).unwrap();
                panic!("it has ended before {event}: {error}");
            }
            let row: Value = serde_json::from_str(&line).expect(&line);
            if row["event"] == event {
                return row;
            }
        }
    }

    /// What it says at its end, after a signal.
    fn interrupt(mut self) -> Value {
        signal(&self.child, "INT");
        let ended = self.wait_for("ended");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        ended
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_stream_with_its_lineage_and_settings_comes_to_a_directory_and_a_server() {
    let source = filled(|streams| {
        let options = StreamOptions {
            shard_count: 2,
            retention: Retention::hours(48),
            max_record_bytes: 2 << 20,
            tags: [("owner".to_owned(), "billing".to_owned())].into(),
            ..StreamOptions::default()
        };
        let stream = streams.create_stream_with("clicks", options).unwrap();
        put_numbers(streams, 0..1_000);
        let first = stream.shards(&ShardFilter::AtLatest).unwrap()[0].id;
        stream.split_shard(first, HashKey::MAX / 8).unwrap();
        put_numbers(streams, 1_000..2_000);
        let shards = stream.shards(&ShardFilter::AtLatest).unwrap();
        stream.merge_shards(shards[2].id, shards[0].id).unwrap();
        put_numbers(streams, 2_000..3_000);
    });
    for target in Shell::each() {
        let events = mirror(&source, &target, &[]);
        let ended = last(&events);
        assert_eq!(
            (&ended["records"], &ended["complete"]),
            (&json!(3_000), &json!(true))
        );
        assert_eq!(
            (&ended["behind_ms"], &ended["behind_records"]),
            (&json!(0), &json!(0))
        );
        let resharded = events.iter().filter(|event| event["event"] == "resharded");
        assert_eq!(
            resharded
                .map(|event| event["changes"].as_u64().unwrap())
                .sum::<u64>(),
            2
        );
        assert_is_whole(&target, "clicks", 3_000);
        assert_eq!(lineage(&target, "clicks"), lineage(&source, "clicks"));
        let row = &target.rows(&["streams"])[0];
        assert_eq!(row["retention_seconds"], 48 * 3600);
        drop(target.server);
        let store = anabranch::Store::follow(target.directory.path().join("data")).unwrap();
        let made = store.namespace(NAMESPACE).unwrap().stream("clicks").unwrap();
        let summary = made.summary().unwrap();
        assert_eq!(summary.max_record_bytes, 2 << 20);
        assert_eq!(summary.tags["owner"], "billing");
    }
}

#[test]
fn a_stream_comes_back_from_a_server_under_another_name() {
    let source = Shell::at_server(&["--create-stream", "clicks:3"]);
    let lines: Vec<_> = (0..2_000).map(|number| number.to_string()).collect();
    source.put(&lines.join("\n"), &["clicks", "--key", "k"]);
    let target = Shell::in_directory();
    let events = mirror(&source, &target, &["--to", "copy"]);
    assert_eq!(last(&events)["behind_records"], Value::Null);
    assert_eq!(texts(&target.rows(&["get", "copy"])), lines);
    // It goes on from the checkpoint, and finds nothing.
    assert_eq!(
        last(&mirror(&source, &target, &["--to", "copy"]))["records"],
        2_000
    );
    source.put("new\n", &["clicks", "--key", "k"]);
    let events = mirror(&source, &target, &["--to", "copy"]);
    assert_eq!(
        (&events[0]["resumed"], &last(&events)["records"]),
        (&json!(true), &json!(2_001))
    );
    assert_eq!(target.rows(&["get", "copy"]).len(), 2_001);
}

#[test]
fn records_with_hash_keys_of_their_own_get_into_the_shards_that_they_were_in() {
    let source = filled(|streams| {
        let stream = streams.create_stream("clicks", 4).unwrap();
        let ranges = HashKeyRange::divide(4);
        for number in 0..40_usize {
            let text = number.to_string();
            let record = PutRecord::new("k", text.as_bytes()).explicit_hash_key(ranges[number % 4].end());
            stream.put_record(&record).unwrap();
        }
    });
    for target in Shell::each() {
        mirror(&source, &target, &[]);
        for shard in 0..4 {
            let shard = shard.to_string();
            let of = |shell: &Shell| texts(&shell.rows(&["get", "clicks", "--shard", &shard]));
            assert_eq!((of(&target).len(), of(&target)), (10, of(&source)));
        }
    }
    let flat = Shell::in_directory();
    mirror(&source, &flat, &["--lineage", "flatten"]);
    let shards: BTreeSet<_> = flat
        .rows(&["get", "clicks"])
        .iter()
        .map(|row| row["shard"].to_string())
        .collect();
    assert_eq!(shards.len(), 1);
}

#[test]
fn a_flattened_stream_has_shards_of_its_own_and_the_order_of_each_key() {
    let source = filled(|streams| {
        let stream = streams.create_stream("clicks", 2).unwrap();
        put_numbers(streams, 0..500);
        stream.update_shard_count(4).unwrap();
        put_numbers(streams, 500..1_000);
        stream.update_shard_count(1).unwrap();
        put_numbers(streams, 1_000..1_500);
        stream.set_mode(StreamMode::OnDemand).unwrap();
    });
    for target in Shell::each() {
        mirror(&source, &target, &["--lineage", "flatten", "--shards", "3"]);
        assert_is_whole(&target, "clicks", 1_500);
        assert_eq!(target.rows(&["streams", "clicks"]).len(), 3);
        assert_eq!(target.rows(&["streams"])[0]["mode"], "PROVISIONED");
    }
    for target in Shell::each() {
        mirror(&source, &target, &["--lineage", "flatten"]);
        assert_eq!(target.rows(&["streams"])[0]["mode"], "ON_DEMAND");
        assert_is_whole(&target, "clicks", 1_500);
    }
}

#[test]
fn a_mirror_begins_where_it_is_told() {
    let source = filled(|streams| {
        streams.create_stream("clicks", 2).unwrap();
        put_numbers(streams, 0..10);
    });
    for (from, records) in [("latest", 0), ("-1h", 10), ("2100-01-01T00:00:00Z", 0)] {
        let target = Shell::in_directory();
        let events = mirror(&source, &target, &["--from", from]);
        assert_eq!(last(&events)["records"], records, "{from}");
    }
}

#[test]
fn splits_and_merges_are_followed_while_it_is_written() {
    let source = Shell::at_server(&["--create-stream", "clicks:1"]);
    let target = Shell::at_server(&[]);
    let mut mirror = Mirror::start(command(&place(&source), &target, &["--follow"]));
    mirror.wait_for("caught_up");
    let lines = |from: u32| {
        (from..from + 300)
            .map(|number| format!("{number}\n"))
            .collect::<String>()
    };
    source.put(&lines(0), &["clicks", "--key", "k"]);
    source.ok(&["split", "clicks", "0"]);
    source.put(&lines(300), &["clicks", "--key", "k"]);
    mirror.wait_for("resharded");
    source.ok(&["merge", "clicks", "1", "2"]);
    source.put(&lines(600), &["clicks", "--key", "k"]);
    mirror.wait_for("resharded");
    source.ok(&["split", "clicks", "3", "--at", "1000"]);
    mirror.wait_for("resharded");
    let ended = mirror.interrupt();
    // It may have been interrupted before it had looked at the new shards.
    assert_eq!(ended["records"], 900);
    assert_is_whole(&target, "clicks", 900);
    assert_eq!(lineage(&target, "clicks"), lineage(&source, "clicks"));
}

#[test]
fn the_cut_over_is_said_once_the_writers_are_silent() {
    let source = Shell::at_server(&["--create-stream", "clicks:2"]);
    source.put("0\n1\n", &["clicks"]);
    let target = Shell::in_directory();
    let mut mirror = Mirror::start(command(
        &place(&source),
        &target,
        &["--until-drained", "--quiet", "1s"],
    ));
    assert_eq!(mirror.wait_for("caught_up")["records"], 2);
    source.put("2\n3\n4\n", &["clicks"]);
    let ended = mirror.wait_for("ended");
    assert_eq!((&ended["records"], &ended["complete"]), (&json!(5), &json!(true)));
    let arrivals = source.rows(&["get", "clicks"]);
    let newest = arrivals
        .iter()
        .map(|row| row["arrival"].as_str().unwrap())
        .max()
        .unwrap();
    assert_eq!(ended["up_to"], newest);
    assert_eq!(mirror.child.wait().unwrap().code(), Some(0));

    let arguments = ["--until-drained", "--quiet", "0", "--output", "table"];
    let told = ran(&mut command(&place(&source), &target, &arguments));
    assert_eq!((told.status, told.error.as_str()), (0, ""));
    let end = format!(
        "All 5 records up to {newest} are at the target, and none has come for 0 ms. Writers and readers can go there.\n"
    );
    assert!(
        told.out.contains("Stop the writers now.\n") && told.out.ends_with(&end),
        "{}",
        told.out
    );
}

#[test]
fn a_signal_ends_it_in_order_and_it_says_whether_the_target_has_all() {
    let source = filled(|streams| {
        streams.create_stream("clicks", 1).unwrap();
        put_numbers(streams, 0..100);
    });
    let target = Shell::in_directory();
    let mut mirror = Mirror::start(command(&place(&source), &target, &["--follow"]));
    mirror.wait_for("caught_up");
    let ended = mirror.interrupt();
    assert_eq!(
        (&ended["records"], &ended["complete"]),
        (&json!(100), &json!(true))
    );
}

#[test]
fn records_do_not_go_faster_than_they_may() {
    let source = filled(|streams| {
        streams.create_stream("clicks", 1).unwrap();
        put_numbers(streams, 0..100);
    });
    let target = Shell::in_directory();
    let begun = std::time::Instant::now();
    mirror(&source, &target, &["--rate", "100"]);
    assert!(begun.elapsed() > Duration::from_millis(900));
    assert_is_whole(&target, "clicks", 100);
}

/// Starts a server again where another one was.
fn restarted(shell: &Shell, listen: &str) -> ServerProcess {
    PROGRAM.serve_at(listen, shell.directory.path(), &[])
}
