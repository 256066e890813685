//! With `--log-format json`, every line of the log is one JSON object, with no field twice.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use anabranch_harness::http1::{Client, Head};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};

use crate::PROGRAM;

/// The names of an object's fields, each of which it has once.
struct Fields(BTreeSet<String>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeSet::new();
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    if !fields.insert(name.clone()) {
                        return Err(A::Error::custom(format!("{name} comes twice")));
                    }
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// The lines of a log. Checks that each is an object with the fields that every line has.
fn lines(log: &str) -> Vec<Value> {
    let parsed = log.lines().map(|line| {
        let fields: Fields = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "message", "target"] {
            assert!(fields.0.contains(field), "{field}: {line}");
        }
        assert!(!line.contains("Some("), "{line}");
        serde_json::from_str(line).unwrap()
    });
    parsed.collect()
}

#[test]
fn a_line_of_a_request_names_its_operation_its_stream_and_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = [
        "--log-format=json",
        "--log=trace",
        "--create-stream=s:1@eu-west-1",
        "--fault=PutRecords:fail:1",
    ];
    let server = PROGRAM.serve(directory.path(), &arguments);
    let mut client = Client::connect(server.address());
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": ""});
    let batch = json!({"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": ""}]});
    let begin = json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = client.ok("GetShardIterator", &begin);
    let mut asked = Vec::new();
    for (operation, input, status, stream) in [
        ("PutRecord", &put, 200, Some("s")),
        ("GetRecords", &iterator, 200, Some("s")),
        // A fault strikes before the body is parsed.
        ("PutRecords", &batch, 500, None),
        ("ListStreams", &json!({}), 200, None),
        (
            "DescribeStreamSummary",
            &json!({"StreamName": "t"}),
            400,
            Some("t"),
        ),
    ] {
        let reply = client.call(operation, input);
        assert_eq!(reply.status, status, "{operation}: {}", reply.text());
        let id = reply.header("x-amzn-requestid").unwrap().to_owned();
        asked.push((id, operation, status, stream));
    }
    let unknown = client.send(&Head::of("Kinesis_20131202.NoSuchThing"), b"{}");
    let unknown = unknown.header("x-amzn-requestid").unwrap().to_owned();
    server.stop("TERM");
    let log = lines(&fs::read_to_string(directory.path().join("server.log")).unwrap());
    let of = |id: &str, message: &str| {
        let mut found = log
            .iter()
            .filter(|line| line["request_id"] == id && line["message"] == message);
        let line = found.next().unwrap_or_else(|| panic!("{message}: {log:#?}"));
        assert!(found.next().is_none(), "{message}: {log:#?}");
        line
    };
    for (id, operation, status, stream) in &asked {
        let line = of(id, "request answered");
        assert_eq!(line["operation"], *operation);
        assert_eq!(line["status"], *status);
        assert_eq!(line["stream"].as_str(), *stream, "{operation}");
        assert_eq!(line["target"], "anabranch::kinesis::front");
        if *status == 500 {
            let line = of(id, "request failed");
            assert_eq!(line["operation"], *operation);
            assert_eq!(line["kind"], "InternalFailureException");
            assert_eq!(line["not_logged"], 0);
        }
    }
    assert_eq!(of(&unknown, "request answered")["operation"], Value::Null);
}

#[test]
fn the_greeting_is_an_object_also_of_a_server_in_memory() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let mut command = PROGRAM.command();
    command.args(["--ephemeral", "--exit-with-stdin", "--log-format=json"]);
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut greeting = String::new();
    out.read_line(&mut greeting).unwrap();
    let greeting: Value = serde_json::from_str(&greeting).unwrap();
    assert_eq!(greeting["streams"], "memory");
    let url = greeting["url"].as_str().unwrap();
    let address = url.strip_prefix("http://").unwrap().parse().unwrap();
    Client::connect(address).ok("ListStreams", &json!({}));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    out.read_line(&mut rest).unwrap();
    assert_eq!(rest, "");
}

#[test]
fn a_server_that_cannot_start_says_so_in_json() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("letter"), "dear").unwrap();
    let output = PROGRAM
        .command()
        .args(["--log-format=json", "--data-dir"])
        .arg(directory.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(output.stdout.is_empty());
    let log = lines(std::str::from_utf8(&output.stderr).unwrap());
    let last = log.last().unwrap();
    assert_eq!(
        (&last["level"], &last["exit_status"]),
        (&json!("ERROR"), &json!(4))
    );
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("is not an anabranch store"), "{message}");
    assert!(message.contains("an empty or a new directory"), "{message}");
}
