//! `anabranch tail --follow`, until it is interrupted.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use super::{Shell, signal, texts};

/// A tail that goes on.
struct Tail {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Tail {
    fn start(shell: &Shell, arguments: &[&str]) -> Tail {
        let mut child = shell.start(&[&["tail", "--follow"], arguments].concat(), Stdio::null());
        let out = BufReader::new(child.stdout.take().unwrap());
        Tail { child, out }
    }

    /// The data of the next records, which come once they are there.
    fn next(&mut self, count: usize) -> Vec<String> {
        let mut rows = Vec::new();
        for _ in 0..count {
            let mut line = String::new();
            assert_ne!(
                self.out.read_line(&mut line).unwrap(),
                0,
                "it has ended behind {rows:?}"
            );
            rows.push(serde_json::from_str::<Value>(&line).unwrap());
        }
        texts(&rows)
    }

    /// The status, and what else was said, once it has ended.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

#[test]
fn a_tail_follows_splits_and_merges_and_ends_in_order_by_a_signal() {
    for name in ["INT", "TERM"] {
        let shell = Shell::at_server(&[]);
        shell.ok(&["create", "clicks", "--shards", "1"]);
        shell.put("1\n", &["clicks", "--key", "k"]);
        let mut tail = Tail::start(&shell, &["clicks", "--from", "-1h"]);
        assert_eq!(tail.next(1), ["1"]);
        shell.put("2\n3\n", &["clicks", "--key", "k"]);
        assert_eq!(tail.next(2), ["2", "3"]);
        shell.ok(&["split", "clicks", "0"]);
        shell.put("4\n", &["clicks", "--key", "k"]);
        shell.ok(&["merge", "clicks", "1", "2"]);
        shell.put("5\n", &["clicks", "--key", "k"]);
        assert_eq!(tail.next(2), ["4", "5"]);
        signal(&tail.child, name);
        assert_eq!(tail.end(), (Some(0), String::new()));
    }
}

#[test]
fn a_tail_begins_with_what_comes() {
    let shell = Shell::at_server(&[]);
    shell.ok(&["create", "clicks", "--shards", "1"]);
    shell.put("old\n", &["clicks"]);
    let mut tail = Tail::start(&shell, &["clicks", "--limit", "1"]);
    // Nothing says when it has begun.
    while tail.child.try_wait().unwrap().is_none() {
        shell.put("new\n", &["clicks"]);
    }
    assert_eq!(tail.next(1), ["new"]);
    assert_eq!(tail.end(), (Some(0), String::new()));
}

#[test]
fn a_tail_whose_output_is_closed_ends_at_the_next_record() {
    let shell = Shell::at_server(&[]);
    shell.ok(&["create", "clicks", "--shards", "1"]);
    shell.put("1\n", &["clicks"]);
    let mut tail = Tail::start(&shell, &["clicks", "--from", "trim-horizon"]);
    assert_eq!(tail.next(1), ["1"]);
    let Tail { mut child, out } = tail;
    drop(out);
    shell.put("2\n", &["clicks"]);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_tail_of_a_stream_that_is_deleted_fails() {
    let shell = Shell::at_server(&[]);
    shell.ok(&["create", "clicks", "--shards", "2"]);
    shell.put("1\n", &["clicks"]);
    let mut tail = Tail::start(&shell, &["clicks", "--from", "trim-horizon"]);
    assert_eq!(tail.next(1), ["1"]);
    shell.ok(&["delete", "clicks", "--yes"]);
    let (status, said) = tail.end();
    assert_eq!(status, Some(1));
    assert!(said.contains("ResourceNotFoundException"), "{said}");
}

#[test]
fn a_position_that_has_become_too_old_and_calls_that_fail_are_got_over() {
    for fault in [
        "GetRecords:error=ExpiredIteratorException:3",
        "GetRecords:throttle:3",
        "*:fail:3",
    ] {
        let shell = Shell::at_server(&["--fault", fault]);
        shell.ok(&["create", "clicks", "--shards", "1"]);
        shell.put("1\n2\n", &["clicks", "--key", "k"]);
        let mut tail = Tail::start(&shell, &["clicks", "--from", "trim-horizon"]);
        assert_eq!(tail.next(2), ["1", "2"], "{fault}");
        shell.put("3\n", &["clicks", "--key", "k"]);
        assert_eq!(tail.next(1), ["3"]);
        signal(&tail.child, "INT");
        assert_eq!(tail.end().0, Some(0));
    }
}

#[test]
fn nothing_comes_in_a_directory_that_this_program_has() {
    let shell = Shell::in_directory();
    shell.ok(&["create", "clicks"]);
    let error = shell.refusal(2, &["tail", "clicks", "--follow"]);
    assert!(
        error.contains("'--follow' cannot be used with '--data-dir <DIR>'"),
        "{error}"
    );
}

#[test]
fn a_number_is_no_position_in_all_shards() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        shell.put("1\n", &["clicks"]);
        let number = shell.rows(&["get", "clicks"])[0]["sequence_number"].clone();
        let error = shell.refusal(2, &["tail", "clicks", "--from", number.as_str().unwrap()]);
        assert!(error.contains("a position in one shard"), "{error}");
    }
}
