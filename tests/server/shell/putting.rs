//! How lines become records, with which keys, and what happens if one cannot.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::process::Stdio;

use anabranch_harness::wait::wait_until;
use serde_json::Value;

use super::{Ran, Shell, data, rows, signal, texts};

#[test]
fn a_key_is_given_taken_from_the_line_or_random() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        shell.put("1\n", &["clicks", "--key", "same"]);
        shell.put(
            "{\"id\":\"u1\"}\n{\"id\":42}\n{\"id\":false}\n",
            &["clicks", "--key-field", "id"],
        );
        shell.put("x\n".repeat(20).as_str(), &["clicks"]);
        let read = shell.rows(&["get", "clicks"]);
        let keys: Vec<_> = read
            .iter()
            .map(|row| row["partition_key"].as_str().unwrap())
            .collect();
        assert_eq!(keys[..4], ["same", "u1", "42", "false"]);
        let random: BTreeSet<_> = keys[4..].iter().collect();
        assert_eq!(random.len(), 20);
    }
}

#[test]
fn many_lines_and_large_ones_are_put_in_their_order() {
    for shell in Shell::each() {
        shell.ok(&["create", "small", "--shards", "1"]);
        let lines: Vec<_> = (0..5_000).map(|number| number.to_string()).collect();
        shell.put(&lines.join("\n"), &["small"]);
        assert_eq!(texts(&shell.rows(&["get", "small"])), lines);

        shell.ok(&["create", "large", "--shards", "1"]);
        // Eight of them are more than one call takes.
        let lines: Vec<_> = ('a'..='z')
            .map(|letter| letter.to_string().repeat(700_000))
            .collect();
        shell.put(&lines.join("\n"), &["large", "--key", "k"]);
        assert!(texts(&shell.rows(&["get", "large"])) == lines);
    }
}

#[test]
fn a_line_that_cannot_be_a_record_ends_it_behind_those_before() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        let good = "{\"id\":1}\n{\"id\":2}\n";
        for (bad, part) in [
            ("{\"name\":\"x\"}", "line 3: there is no member \"id\""),
            ("", "line 3: the line is not JSON"),
            ("[1]", "line 3: the line is not a JSON object"),
            (
                "{\"id\":{}}",
                "line 3: the member \"id\" is not a text, a number or a boolean",
            ),
            (
                "{\"id\":\"\"}",
                "line 3: a partition key has at least one character",
            ),
        ] {
            let input = format!("{good}{bad}\n{good}");
            let Ran { status, out, error } =
                shell.feed(input.as_bytes(), &["put", "clicks", "--key-field", "id"]);
            assert_eq!((status, out.as_str()), (1, ""), "{bad}");
            assert!(
                error.contains(part) && error.contains("\n2 records were put before."),
                "{error}"
            );
        }
        let Ran { status, error, .. } = shell.feed(b"x\n", &["put", "clicks", "--key-field", "id"]);
        assert_eq!(status, 1);
        assert!(
            error.contains("line 1: ") && error.contains("\nNo record was put."),
            "{error}"
        );
        assert_eq!(shell.rows(&["get", "clicks"]).len(), 10);
    }
}

#[test]
fn a_line_that_is_too_long_ends_it_too() {
    const MOST: usize = 1 << 20;
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        let longest = "x".repeat(MOST - 1);
        shell.put(&longest, &["clicks", "--key", "k"]);
        for bytes in [MOST, MOST + 1, 5 * MOST] {
            let input = format!("short\n{}\nbehind\n", "x".repeat(bytes));
            let Ran { status, error, .. } = shell.feed(input.as_bytes(), &["put", "clicks", "--key", "k"]);
            assert_eq!(status, 1, "{bytes}");
            assert!(
                error.contains("line 2: longer than the stream takes: 1048576 bytes"),
                "{error}"
            );
            assert!(error.contains("\n1 record was put before."), "{error}");
        }
        let read = data(&shell.rows(&["get", "clicks"]));
        let lengths: Vec<_> = read.iter().map(Vec::len).collect();
        assert_eq!(lengths, [MOST - 1, 5, 5, 5]);
    }
}

#[test]
fn no_lines_are_no_records() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks"]);
        let Ran { status, out, .. } = shell.feed(b"", &["put", "clicks"]);
        assert_eq!(status, 0);
        assert_eq!(rows(&out)[0]["records"], 0);
        let table = shell.feed(b"a\nb\n", &["put", "clicks", "--output", "table"]);
        assert_eq!((table.status, table.error.as_str()), (0, ""));
        assert!(table.out.starts_with("2 records, "), "{}", table.out);
        let Ran { status, error, .. } = shell.feed(b"a\n", &["put", "nothing"]);
        assert_eq!(status, 1);
        assert!(error.contains("stream nothing not found"), "{error}");
    }
}

#[test]
fn what_a_server_refuses_for_a_while_is_put_again() {
    for faults in [
        "PutRecords:throttle:40%",
        "PutRecords:fail:2",
        "*:error=ProvisionedThroughputExceededException:2",
    ] {
        let shell = Shell::at_server(&["--fault", faults]);
        shell.ok(&["create", "clicks", "--shards", "1"]);
        let lines: Vec<_> = (0..1_200).map(|number| number.to_string()).collect();
        shell.put(&lines.join("\n"), &["clicks"]);
        let mut read = texts(&shell.rows(&["get", "clicks"]));
        read.sort_by_key(|line| line.parse::<u32>().unwrap());
        assert_eq!(read, lines, "{faults}");
    }
}

#[test]
fn a_stream_that_goes_away_ends_it_with_what_was_put() {
    let shell = Shell::at_server(&[]);
    shell.ok(&["create", "clicks", "--shards", "1"]);
    let mut child = shell.start(&["put", "clicks"], Stdio::piped());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\n").unwrap();
    wait_until("the record is there", || {
        shell.rows(&["get", "clicks"]).len() == 1
    });
    shell.ok(&["delete", "clicks", "--yes"]);
    stdin.write_all(b"2\n").unwrap();
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(error.contains("ResourceNotFoundException"), "{error}");
    let done = "\n1 record was put. The first line that was not put is 2, and none behind it was.";
    assert!(error.contains(done), "{error}");
}

#[test]
fn a_line_is_put_without_waiting_for_another_and_a_signal_ends_it() {
    for name in ["INT", "TERM"] {
        let shell = Shell::at_server(&[]);
        shell.ok(&["create", "clicks", "--shards", "1"]);
        let mut child = shell.start(&["put", "clicks"], Stdio::piped());
        let mut stdin = child.stdin.take().unwrap();
        for count in 1..=2 {
            stdin.write_all(b"line\n").unwrap();
            let is_there = || shell.rows(&["get", "clicks"]).len() == count;
            wait_until("the record is there", is_there);
        }
        signal(&child, name);
        let mut error = String::new();
        child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(1), "{error}");
        assert!(
            error.contains("interrupted") && error.contains("\n2 records were put before."),
            "{error}"
        );
    }
}

#[test]
fn a_directory_is_whole_after_a_put_that_was_stopped() {
    let shell = Shell::in_directory();
    shell.ok(&["create", "clicks", "--shards", "1"]);
    let mut child = shell.start(&["put", "clicks"], Stdio::piped());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"1\n").unwrap();
    let data_dir = shell.data_dir();
    let dumped = || {
        let mut command = crate::PROGRAM.command();
        let dump = command
            .arg("dump")
            .arg(&data_dir)
            .args(["--what", "records", "--json"]);
        super::ran(dump).out.contains("\"type\":\"record\"")
    };
    wait_until("the record is there", dumped);
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(texts(&shell.rows(&["get", "clicks"])), ["1"]);
    let read: Vec<Value> = shell.rows(&["streams"]);
    assert_eq!(read[0]["stream"], "clicks");
}

#[test]
fn lines_of_which_nothing_is_known_are_named() {
    let shell = Shell::at_server(&["--fault", "PutRecords:lose:1"]);
    shell.ok(&["create", "clicks", "--shards", "1"]);
    let Ran { status, error, .. } = shell.feed(b"1\n", &["put", "clicks"]);
    assert_eq!(status, 5, "{error}");
    assert!(
        error.contains("\nNo record was put. Of line 1 it is not known."),
        "{error}"
    );
    assert_eq!(texts(&shell.rows(&["get", "clicks"])), ["1"]);
}

#[test]
fn records_of_one_key_are_in_their_order_across_calls_that_are_throttled() {
    let shell = Shell::at_server(&["--fault", "PutRecords:throttle:30%"]);
    shell.ok(&["create", "clicks", "--shards", "1"]);
    let lines: Vec<_> = (0..1_500).map(|number| number.to_string()).collect();
    shell.put(&lines.join("\n"), &["clicks", "--key", "k"]);
    let read = texts(&shell.rows(&["get", "clicks"]));
    // A call takes up to 500 lines. Where it begins depends on how many lines could be read.
    let numbers: Vec<i64> = read.iter().map(|line| line.parse().unwrap()).collect();
    for (place, number) in numbers.iter().enumerate() {
        assert!((place as i64 - number).abs() < 500, "{number} is at {place}");
    }
    assert_eq!(numbers.len(), lines.len());
}
