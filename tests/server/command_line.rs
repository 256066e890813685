//! The program as a person starts it: what it prints, how it stops, and how it fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anabranch_harness::http1::{Client, Head, Reply};
use tempfile::TempDir;

use crate::PROGRAM;

fn program(arguments: &[&str]) -> Command {
    let mut command = PROGRAM.command();
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A running server, and its output when it began to serve.
struct Running {
    child: Child,
    greeting: String,
    address: String,
}

impl Running {
    fn start(data_dir: &Path, arguments: &[&str]) -> Running {
        let mut command = program(&["--data-dir", data_dir.to_str().unwrap()]);
        command.args(arguments);
        Running::of(command)
    }

    fn of(mut command: Command) -> Running {
        let mut child = command
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut greeting = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // A program gets only the URL, or JSON; a person gets more.
        let is_whole = |greeting: &str| {
            let is_for_programs = greeting.starts_with("http") || greeting.starts_with('{');
            is_for_programs || greeting.contains("Ctrl-C")
        };
        while !is_whole(&greeting) {
            assert_ne!(
                out.read_line(&mut greeting).unwrap(),
                0,
                "it stopped after saying {greeting:?}"
            );
        }
        let address = greeting.split_once("://").unwrap().1;
        let address = address.split(['"', ' ', '\n']).next().unwrap().to_owned();
        Running {
            child,
            greeting,
            address,
        }
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-s", name, &process])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The status and the log, once it has ended.
    fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (self.child.wait().unwrap().code(), log)
    }

    /// The body of the answer to a request that succeeds. It is signed for no region.
    #[track_caller]
    fn request(&self, operation: &str, body: &str) -> String {
        let reply = self.answer(operation, body);
        assert_eq!(reply.status, 200, "{operation}: {}", reply.text());
        reply.text().to_owned()
    }

    fn answer(&self, operation: &str, body: &str) -> Reply {
        let target = format!("Kinesis_20131202.{operation}");
        let mut client = Client::connect(self.address.parse().unwrap());
        let head = Head::of(&target).header("Authorization", "X Credential=a,SignedHeaders=b,Signature=c");
        client.send(&head, body.as_bytes())
    }
}

fn data_dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_help_has_an_example_and_the_exit_codes() {
    for arguments in [["--help"].as_slice(), &["serve", "--help"]] {
        let output = run(arguments);
        assert!(output.status.success());
        let help = text(&output.stdout);
        for part in [
            "--data-dir",
            "./anabranch-data",
            "127.0.0.1:4567",
            "ANABRANCH_LISTEN",
            "boto3.client",
            "AWS_ENDPOINT_URL_KINESIS",
            "Exit status:",
        ] {
            assert!(help.contains(part), "{part} is not in {help}");
        }
    }
    assert!(text(&run(&["--version"]).stdout).starts_with("anabranch "));
}

#[test]
fn a_start_says_where_the_data_is_and_what_to_type() {
    let data_dir = data_dir();
    let running = Running::start(&data_dir.path().join("deep"), &["--region", "eu-west-1"]);
    let shown = data_dir.path().canonicalize().unwrap().join("deep");
    assert!(
        running.greeting.contains(shown.to_str().unwrap()),
        "{}",
        running.greeting
    );
    assert!(running.greeting.contains("\n    import boto3\n"));
    let client = format!(
        "\n    kinesis = boto3.client(\"kinesis\", endpoint_url=\"http://{}\", region_name=\"eu-west-1\", \
         aws_access_key_id=\"any\", aws_secret_access_key=\"any\")\n",
        running.address
    );
    assert!(running.greeting.contains(&client), "{}", running.greeting);
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn an_ephemeral_server_says_its_url_and_leaves_nothing() {
    let empty = data_dir();
    for _ in 0..2 {
        let mut command = program(&["--ephemeral"]);
        command.current_dir(empty.path());
        let running = Running::of(command);
        assert_eq!(running.greeting, format!("http://{}\n", running.address));
        running.request("CreateStream", r#"{"StreamName":"s","ShardCount":1}"#);
        let put = running.request("PutRecord", r#"{"StreamName":"s","PartitionKey":"k","Data":""}"#);
        assert!(put.contains("SequenceNumber"), "{put}");
        running.signal("TERM");
        let (status, log) = running.end();
        assert_eq!(status, Some(0));
        assert!(log.contains("durability=\"none\""), "{log}");
    }
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0);
    let refused = run(&["--ephemeral", "--data-dir", empty.path().to_str().unwrap()]);
    assert!(!refused.status.success());
    assert!(
        text(&refused.stderr).contains("cannot be used with"),
        "{refused:?}"
    );
}

/// The processor time of a process, summed over its threads.
fn processor_time(process: u32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let nanos = threads.filter_map(|thread| {
        let statistics = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        statistics.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// On an idle machine this is the elapsed time, since the server waits for no disk.
#[test]
fn an_ephemeral_server_is_ready_within_50_ms_of_processor_time() {
    let empty = data_dir();
    let taken = (0..5).map(|_| {
        let mut command = program(&["--ephemeral"]);
        command.current_dir(empty.path());
        let running = Running::of(command);
        let taken = processor_time(running.child.id());
        running.signal("TERM");
        assert_eq!(running.end().0, Some(0));
        taken
    });
    let least = taken.min().unwrap();
    assert!(least < Duration::from_millis(50), "{least:?}");
}

#[test]
fn an_ephemeral_server_takes_a_free_port_of_its_own_accord() {
    let start = || {
        let mut command = program(&["--ephemeral", "--exit-with-stdin"]);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.stderr(Stdio::null()).spawn().unwrap();
        let mut url = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut url).unwrap();
        (child, url)
    };
    let (mut first, url) = start();
    let (mut second, other) = start();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert_ne!(url, other);
    for server in [&mut first, &mut second] {
        drop(server.stdin.take());
        assert!(server.wait().unwrap().success());
    }
}

#[test]
fn a_server_ends_with_its_standard_input_if_asked_to() {
    let data_dir = data_dir();
    let mut running = Running::start(data_dir.path(), &["--exit-with-stdin"]);
    // Input is ignored.
    let mut stdin = running.child.stdin.take().unwrap();
    stdin.write_all(b"any\n").unwrap();
    running.request("ListStreams", "{}");
    drop(stdin);
    let (status, log) = running.end();
    assert_eq!(status, Some(0), "{log}");
    assert!(
        log.contains("standard input has ended") && log.contains("the store is closed"),
        "{log}"
    );

    let mut running = Running::start(data_dir.path(), &[]);
    drop(running.child.stdin.take());
    running.request("ListStreams", "{}");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_file_of_the_url_is_there_while_the_server_takes_requests() {
    let data_dir = data_dir();
    let file = data_dir.path().join("url");
    let arguments = ["--url-file", file.to_str().unwrap()];
    for signal in ["TERM", "KILL", "TERM"] {
        let running = Running::start(&data_dir.path().join("data"), &arguments);
        let url = std::fs::read_to_string(&file).unwrap();
        assert_eq!(url, format!("http://{}\n", running.address));
        running.signal(signal);
        running.end();
        assert_eq!(file.exists(), signal == "KILL");
    }
    std::fs::write(&file, "precious").unwrap();
    let refused = run(&["--ephemeral", "--url-file", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("name another"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn three_signals_stop_it_and_what_was_stored_is_there_again() {
    let data_dir = data_dir();
    for (round, signal) in ["INT", "TERM", "HUP"].into_iter().enumerate() {
        let running = Running::start(data_dir.path(), &["--durability", "buffered"]);
        if round == 0 {
            running.request("CreateStream", r#"{"StreamName":"s","ShardCount":1}"#);
        }
        running.request("PutRecord", r#"{"StreamName":"s","PartitionKey":"k","Data":""}"#);
        running.signal(signal);
        let (status, log) = running.end();
        assert_eq!(status, Some(0), "{log}");
        assert!(
            log.contains("serving") && log.contains("the store is closed"),
            "{log}"
        );
    }
    let store = anabranch::Store::open(data_dir.path()).unwrap();
    let stream = in_default_region(&store).stream("s").unwrap();
    assert_eq!(
        stream
            .reader(anabranch::StartingPosition::TrimHorizon)
            .unwrap()
            .take(4)
            .count(),
        3
    );
}

#[test]
fn a_log_for_machines_has_one_object_a_line() {
    let data_dir = data_dir();
    let running = Running::start(data_dir.path(), &["--log-format", "json", "--log", "debug"]);
    let greeting: serde_json::Value = serde_json::from_str(&running.greeting).expect(&running.greeting);
    assert_eq!(greeting["url"], format!("http://{}", running.address));
    running.request("ListStreams", "{}");
    running.signal("TERM");
    let (_, log) = running.end();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let serving = lines
        .iter()
        .find(|line| line["message"] == "serving")
        .expect("a line for the start");
    for fact in [
        "version",
        "addresses",
        "data_dir",
        "durability",
        "region",
        "account_id",
        "open_shards",
    ] {
        assert!(!serving[fact].is_null(), "no {fact} in {serving}");
    }
    let answered = lines
        .iter()
        .find(|line| line["message"] == "request answered")
        .expect("a line for a request");
    assert_eq!(answered["status"], 200);
}

#[test]
fn a_directory_in_use_names_the_process_that_has_it() {
    let data_dir = data_dir();
    let running = Running::start(data_dir.path(), &[]);
    let output = run(&[
        "--data-dir",
        data_dir.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(3));
    let message = text(&output.stderr);
    assert!(message.contains(&running.child.id().to_string()), "{message}");
    assert!(message.contains("--data-dir"), "{message}");
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn a_taken_port_is_said_to_be_taken() {
    let data_dir = data_dir();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let arguments = [
        "--data-dir",
        data_dir.path().to_str().unwrap(),
        "--listen",
        &address,
    ];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(5));
    let message = text(&output.stderr);
    assert!(message.contains(&format!("{address} is taken")), "{message}");
    assert!(message.contains("--listen"), "{message}");
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let data_dir = data_dir();
    std::fs::write(data_dir.path().join("letter.txt"), "dear").unwrap();
    let output = run(&[
        "--data-dir",
        data_dir.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("--data-dir"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(
        std::fs::read(data_dir.path().join("letter.txt")).unwrap(),
        b"dear"
    );

    let file = data_dir.path().join("letter.txt");
    let output = run(&["--data-dir", file.to_str().unwrap(), "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}

#[test]
fn a_wrong_command_line_says_what_is_expected() {
    let data_dir = data_dir();
    let path = data_dir.path().join("data");
    let path = path.to_str().unwrap();
    for (arguments, part) in [
        (["--transition-delay", "5"], "ms, s, m, h or d"),
        (["--durability", "maybe"], "synced"),
        (["--emulate", "all"], "throughput"),
        (["--fault", "PutRecords"], "OPERATION:KIND:AMOUNT"),
        (["--fault", "PutRecords:break:1"], "throttle, fail"),
        (["--account-id", "1"], "twelve digits"),
        (["--region", "here"], "us-east-1"),
        (["--log", "a=b=c"], "--log"),
        (["--listen", "4567"], "127.0.0.1:4567"),
    ] {
        let mut command = program(&["--data-dir", path]);
        let output = command.args(arguments).output().unwrap();
        let status = if arguments[0] == "--listen" { 5 } else { 2 };
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
        assert!(
            text(&output.stderr).contains(part),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn what_is_emulated_of_aws_is_said_at_the_start() {
    for (arguments, emulated) in [
        (
            &["--emulate", "aws"][..],
            Some("delays of 10s, throughput, call-rates, changes"),
        ),
        (&["--emulate", "changes,call-rates"], Some("call-rates, changes")),
        (
            &["--emulate", "delays,throughput", "--transition-delay", "2s"],
            Some("delays of 2s, throughput"),
        ),
        (&["--transition-delay", "300ms"], Some("delays of 300ms")),
        (&["--emulate", "delays", "--transition-delay", "0s"], None),
        (&[], None),
    ] {
        let data_dir = data_dir();
        let running = Running::start(data_dir.path(), arguments);
        let greeting = running.greeting.clone();
        running.signal("TERM");
        let (code, log) = running.end();
        assert_eq!(code, Some(0), "{log}");
        match emulated {
            Some(emulated) => {
                let line = format!("\nIt emulates AWS: {emulated}\n");
                assert!(greeting.contains(&line), "{arguments:?}: {greeting}");
                let field = format!("emulated=\"{emulated}\"");
                assert!(
                    log.contains(" WARN ") && log.contains(&field),
                    "{arguments:?}: {log}"
                );
            }
            None => {
                assert!(!greeting.contains("emulates"), "{arguments:?}: {greeting}");
                assert!(!log.contains(" WARN "), "{arguments:?}: {log}");
            }
        }
    }
}

/// Whether the process maps any file of the store's streams.
fn maps_segments(running: &Running) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", running.child.id())).unwrap();
    maps.lines().any(|line| line.ends_with(".log"))
}

#[test]
fn segments_are_mapped_only_if_that_is_asked_for_since_a_bad_page_would_end_the_server() {
    for (arguments, is_mapped) in [([].as_slice(), false), (&["--map-segments"], true)] {
        let directory = data_dir();
        let running = Running::start(directory.path(), arguments);
        running.request("CreateStream", r#"{"StreamName":"a","ShardCount":1}"#);
        // More than the first segment holds.
        let data = "QUFB".repeat(10_000);
        for _ in 0..4 {
            let put = format!(r#"{{"StreamName":"a","PartitionKey":"k","Data":"{data}"}}"#);
            assert!(running.request("PutRecord", &put).contains("SequenceNumber"));
        }
        let iterator = running.request(
            "GetShardIterator",
            r#"{"StreamName":"a","ShardId":"shardId-000000000000","ShardIteratorType":"TRIM_HORIZON"}"#,
        );
        let iterator = iterator.split_once("ShardIterator\":\"").unwrap().1;
        let iterator = iterator.split('"').next().unwrap();
        let read = running.request("GetRecords", &format!(r#"{{"ShardIterator":"{iterator}"}}"#));
        assert!(read.contains("SequenceNumber"), "{read}");
        assert_eq!(maps_segments(&running), is_mapped);
        running.signal("TERM");
        assert_eq!(running.end().0, Some(0));
    }
}

#[test]
fn streams_of_the_command_line_are_there_at_the_first_request_and_stay_as_they_are() {
    let data_dir = data_dir();
    let limits = |running: &Running| running.request("DescribeLimits", "{}");
    let list = |running: &Running| running.request("ListStreams", "{}");
    let arguments = [
        "--create-stream",
        "b:2",
        "--create-stream",
        "a",
        "--create-stream",
        "b:2",
    ];
    let running = Running::start(data_dir.path(), &arguments);
    assert!(list(&running).contains(r#""StreamNames":["a","b"]"#));
    assert!(limits(&running).contains(r#""OpenShardCount":6"#));
    running.request("PutRecord", r#"{"StreamName":"b","PartitionKey":"k","Data":""}"#);
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));

    let running = Running::start(data_dir.path(), &["--create-stream", "b:7,c:1,a:1@eu-west-1"]);
    assert!(list(&running).contains(r#""StreamNames":["a","b","c"]"#));
    assert!(limits(&running).contains(r#""OpenShardCount":7"#));
    running.signal("TERM");
    let (status, log) = running.end();
    assert_eq!(status, Some(0));
    assert!(log.contains("the stream is there already"), "{log}");
    let store = anabranch::Store::open(data_dir.path()).unwrap();
    let stream = in_default_region(&store).stream("b").unwrap();
    let mut reader = stream.reader(anabranch::StartingPosition::TrimHorizon).unwrap();
    assert!(reader.next().is_some());
    let in_europe = store.namespace("000000000000/eu-west-1").unwrap();
    let names = in_europe.streams(None, 10).unwrap();
    assert_eq!(
        names.iter().map(|stream| &*stream.name).collect::<Vec<_>>(),
        ["a"]
    );
}

/// The streams of requests that are not signed for a region.
fn in_default_region(store: &anabranch::Store) -> anabranch::Namespace {
    store.namespace("000000000000/us-east-1").unwrap()
}

#[test]
fn streams_are_named_in_the_environment_too() {
    let data_dir = data_dir();
    let mut command = program(&[
        "--data-dir",
        data_dir.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1",
    ]);
    // It ends because it gets no port, after it has made the streams.
    let output = command
        .env("ANABRANCH_CREATE_STREAM", "a:1,b:3")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let store = anabranch::Store::open(data_dir.path()).unwrap();
    assert_eq!(store.open_shard_count().unwrap(), 4);
}

#[test]
fn wrong_streams_are_refused_before_anything_is_made() {
    for (arguments, part) in [
        (["--create-stream", "a:0"].as_slice(), "number of shards"),
        (&["--create-stream", "a b"], "name of a stream"),
        (&["--create-stream", "a:1@here"], "name of a region"),
        (&["--create-stream", "a", "--region", "here"], "name of a region"),
        (
            &["--create-stream", "a", "--create-stream", "a:2"],
            "give it once",
        ),
        (
            &[
                "--create-stream",
                "a:2",
                "--create-stream",
                "b:3",
                "--shard-limit",
                "4",
            ],
            "--shard-limit 4",
        ),
    ] {
        let data_dir = data_dir();
        let directory = data_dir.path().to_str().unwrap();
        let output = run(&[&["--data-dir", directory, "--listen", "127.0.0.1:0"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
        assert!(output.stdout.is_empty());
        let store = anabranch::Store::open(data_dir.path()).unwrap();
        assert_eq!(store.open_shard_count().unwrap(), 0);
    }
}

/// A file that only its owner may read.
fn write_private(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new);
    file.unwrap().write_all(text.as_bytes()).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn records_are_encrypted_with_a_file_of_keys_which_is_read_again_when_it_changes() {
    let directory = data_dir();
    let (data, file) = (directory.path().join("data"), directory.path().join("keys"));
    let keys = file.to_str().unwrap();
    let both = format!("a = {}\nb = {}\n", "0a".repeat(32), "0b".repeat(32));
    write_private(&file, &both);
    let running = Running::start(&data, &["--keys", keys, "--create-stream", "s:1"]);
    let start = r#"{"StreamName":"s","EncryptionType":"KMS","KeyId":"a"}"#;
    running.request("StartStreamEncryption", start);
    let put = r#"{"StreamName":"s","PartitionKey":"k","Data":"c2VjcmV0"}"#;
    assert!(
        running
            .request("PutRecord", put)
            .contains(r#""EncryptionType":"KMS""#)
    );

    // A file that cannot be used changes nothing; a file without the key removes the key.
    write_private(&file, "a = 1\n");
    running.request("PutRecord", put);
    write_private(&file, &both[both.find("b =").unwrap()..]);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let refused = loop {
        let answer = running.answer("PutRecord", put);
        if answer.status != 200 {
            break answer.text().to_owned();
        }
        assert!(std::time::Instant::now() < deadline, "the file is not read again");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(refused.contains("KMSNotFoundException"), "{refused}");
    running.signal("TERM");
    let (code, log) = running.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("the file of keys has changed"), "{log}");
    assert!(!log.contains("0a0a") && !log.contains("0b0b"), "{log}");

    let shown = |arguments: &[&str]| {
        let mut all = vec!["dump", data.to_str().unwrap(), "--what", "records"];
        all.extend(arguments);
        text(&run(&all).stdout).to_owned()
    };
    assert!(shown(&[]).contains("encrypted; to show them, give --keys with the key of fingerprint "));
    assert!(shown(&["--keys", keys]).contains("encrypted; "));
    write_private(&file, &both);
    assert!(shown(&["--keys", keys]).contains("data \"secret\""));
}

#[test]
fn a_file_of_keys_that_cannot_be_used_is_refused_with_the_reason() {
    let directory = data_dir();
    let file = directory.path().join("keys");
    let keys = file.to_str().unwrap();
    let refusal = || {
        let data = directory.path().join("data");
        let output = run(&[
            "--data-dir",
            data.to_str().unwrap(),
            "--listen",
            "127.0.0.1:0",
            "--keys",
            keys,
        ]);
        assert_eq!(output.status.code(), Some(2));
        assert!(!data.exists());
        text(&output.stderr).to_owned()
    };
    assert!(refusal().contains(&format!("--keys: {keys} does not exist")));
    write_private(&file, "a = 01\n");
    assert!(refusal().contains(&format!("--keys: {keys}: line 1: a key is 64 hexadecimal digits")));
    write_private(&file, &format!("a = {}\n", "01".repeat(32)));
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    assert!(refusal().contains("chmod 600"));
}

#[test]
fn without_a_file_of_keys_the_log_says_that_nothing_is_encrypted() {
    let directory = data_dir();
    let running = Running::start(&directory.path().join("data"), &[]);
    let said = "without --keys, StartStreamEncryption notes a key and encrypts nothing";
    let log = log_of(running);
    assert!(log.contains(said), "{log}");
}

/// A server with these variables and arguments, on a free port.
fn with_variables(variables: &[(&str, &str)], arguments: &[&str]) -> Running {
    let mut command = program(arguments);
    command.envs(variables.iter().copied());
    Running::of(command)
}

/// Ends it, and gives its log.
fn log_of(running: Running) -> String {
    running.signal("TERM");
    let (status, log) = running.end();
    assert_eq!(status, Some(0), "{log}");
    log
}

#[test]
fn the_command_line_wins_over_variables_that_exclude_it() {
    let directory = data_dir();
    let directory = directory.path().join("data");
    let directory = directory.to_str().unwrap();
    let in_memory = "durability=\"none\"";

    // As in the image.
    let of_image = [("ANABRANCH_DATA_DIR", directory)];
    for arguments in [&["--ephemeral"][..], &["serve", "--ephemeral"]] {
        assert!(log_of(with_variables(&of_image, arguments)).contains(in_memory));
    }
    assert!(!Path::new(directory).exists());
    let read_only = [("ANABRANCH_READ_ONLY", "true")];
    assert!(log_of(with_variables(&read_only, &["--ephemeral"])).contains(in_memory));

    let ephemeral = [("ANABRANCH_EPHEMERAL", "true")];
    let log = log_of(with_variables(&ephemeral, &["--data-dir", directory]));
    assert!(log.contains("durability=\"synced\""), "{log}");

    let listen = ["--ephemeral", "--admin-listen", "127.0.0.1:0"];
    let log = log_of(with_variables(&[("ANABRANCH_NO_ADMIN", "true")], &listen));
    assert!(log.contains("admin_address=127.0.0.1:"), "{log}");
    let listening = [("ANABRANCH_ADMIN_LISTEN", "127.0.0.1:0")];
    let log = log_of(with_variables(&listening, &["--ephemeral", "--no-admin"]));
    assert!(!log.contains("admin_address"), "{log}");

    let certificate = [
        ("ANABRANCH_TLS_CERT", "/nowhere"),
        ("ANABRANCH_TLS_KEY", "/nowhere"),
    ];
    let log = log_of(with_variables(
        &certificate,
        &["--data-dir", directory, "--tls-self-signed"],
    ));
    assert!(log.contains("tls=true"), "{log}");
}

#[test]
fn what_excludes_each_other_is_refused_where_it_is_given_in_the_same_way() {
    let refused = |variables: &[(&str, &str)], arguments: &[&str]| {
        let output = program(arguments)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        text(&output.stderr).to_owned()
    };
    for (arguments, said) in [
        (
            &["--ephemeral", "--data-dir", "d"][..],
            "'--ephemeral' cannot be used with '--data-dir'",
        ),
        (
            &["serve", "--ephemeral", "--read-only"],
            "'--ephemeral' cannot be used with '--read-only'",
        ),
        (
            &["--no-admin", "--admin-listen", "127.0.0.1:0"],
            "'--no-admin' cannot be used with '--admin-listen'",
        ),
        (
            &["--tls-self-signed", "--tls-cert", "c", "--tls-key", "k"],
            "'--tls-self-signed' cannot be used with '--tls-cert'",
        ),
    ] {
        let error = refused(&[], arguments);
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let both = [("ANABRANCH_EPHEMERAL", "true"), ("ANABRANCH_DATA_DIR", "d")];
    let error = refused(&both, &[]);
    assert!(
        error.contains("'ANABRANCH_EPHEMERAL' cannot be used with 'ANABRANCH_DATA_DIR'"),
        "{error}"
    );
    // An option that is off excludes no other.
    let off = [("ANABRANCH_EPHEMERAL", "false"), ("ANABRANCH_NO_ADMIN", "false")];
    let directory = data_dir();
    let directory = directory.path().to_str().unwrap();
    let both = ["--data-dir", directory, "--admin-listen", "127.0.0.1:0"];
    assert!(log_of(with_variables(&off, &both)).contains("admin_address="));
}
