//! `anabranch tail --follow`, until it is interrupted.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use super::{Shell, signal, signal_process, texts};
use crate::PROGRAM;

/// A tail that is running.
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

    /// The same in the directory of the shell, even if a server has it.
    fn start_in_directory(shell: &Shell, arguments: &[&str]) -> Tail {
        let mut command = PROGRAM.command();
        command.args(["tail", "--follow"]).args(arguments);
        command.arg("--data-dir").arg(shell.data_dir());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Tail { child, out }
    }

    /// The data of the next records, after waiting for them.
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

    /// The status, and its other output, once it has ended.
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
    // There is no sign that it has begun.
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
    let record = &shell.rows(&["get", "clicks"])[0];
    let [shard, number] = ["shard", "sequence_number"].map(|name| record[name].as_str().unwrap());
    let mut tail = Tail::start(&shell, &["clicks", "--from", "trim-horizon"]);
    assert_eq!(tail.next(1), ["1"]);
    shell.ok(&["delete", "clicks", "--yes"]);
    let (status, said) = tail.end();
    assert_eq!(status, Some(1));
    assert!(said.contains("ResourceNotFoundException"), "{said}");
    let last = format!("The last record of each shard that was read before:\n  {shard} {number}");
    assert!(said.contains(&last), "{said}");
}

#[test]
fn a_tail_goes_on_when_its_server_is_started_again() {
    let mut shell = Shell::at_server(&[]);
    shell.ok(&["create", "clicks", "--shards", "1"]);
    shell.put("1\n", &["clicks"]);
    let mut tail = Tail::start(&shell, &["clicks", "--from", "trim-horizon"]);
    assert_eq!(tail.next(1), ["1"]);
    let server = shell.server.take().unwrap();
    let listen = server.address().to_string();
    server.stop("TERM");
    let mut said = BufReader::new(tail.child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(
        line.contains("no answer from http://") && line.ends_with("; trying again\n"),
        "{line}"
    );
    shell.server = Some(PROGRAM.serve_at(&listen, shell.directory.path(), &[]));
    shell.put("2\n", &["clicks"]);
    assert_eq!(tail.next(1), ["2"]);
    signal(&tail.child, "INT");
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!((tail.child.wait().unwrap().code(), rest.as_str()), (Some(0), ""));
}

#[test]
fn a_tail_goes_on_when_its_server_that_was_stopped_goes_on() {
    let shell = Shell::at_server(&[]);
    shell.ok(&["create", "clicks", "--shards", "1"]);
    shell.put("1\n", &["clicks"]);
    let mut tail = Tail::start(&shell, &["clicks", "--from", "trim-horizon"]);
    assert_eq!(tail.next(1), ["1"]);
    let server = shell.server.as_ref().unwrap().id();
    signal_process(server, "STOP");
    let mut said = BufReader::new(tail.child.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(
        line.contains("no answer has begun after 30 s") && line.ends_with("; trying again\n"),
        "{line}"
    );
    signal_process(server, "CONT");
    shell.put("2\n", &["clicks"]);
    assert_eq!(tail.next(1), ["2"]);
    signal(&tail.child, "INT");
    assert_eq!(tail.child.wait().unwrap().code(), Some(0));
}

/// `get`, and `tail` without `--follow`, end although records come faster than they are shown.
#[test]
fn what_is_there_has_an_end_while_more_comes() {
    let shell = Shell::at_server(&[]);
    shell.ok(&["create", "clicks", "--shards", "1"]);
    shell.put(&"x\n".repeat(2_000), &["clicks"]);
    let mut putting = shell.start(&["put", "clicks"], Stdio::piped());
    let mut stdin = putting.stdin.take().unwrap();
    let writing = std::thread::spawn(move || while stdin.write_all(&b"y\n".repeat(1_000)).is_ok() {});
    for command in ["get", "tail"] {
        let read = shell.rows(&[command, "clicks"]);
        assert!(read.len() >= 2_000, "{}", read.len());
        let shard = ["get", "clicks", "--shard", "0"];
        assert!(shell.rows(&shard).len() >= 2_000);
    }
    signal(&putting, "KILL");
    putting.wait().unwrap();
    writing.join().unwrap();
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

/// By files alone, while the server takes records, reshards, is killed, and is started again.
#[test]
fn a_tail_follows_the_directory_of_a_server() {
    let mut shell = Shell::at_server(&[]);
    shell.ok(&["create", "clicks", "--shards", "1"]);
    shell.put("1\n", &["clicks", "--key", "k"]);
    let mut tail = Tail::start_in_directory(&shell, &["clicks", "--from", "trim-horizon"]);
    assert_eq!(tail.next(1), ["1"]);
    shell.put("2\n3\n", &["clicks", "--key", "k"]);
    assert_eq!(tail.next(2), ["2", "3"]);
    shell.ok(&["split", "clicks", "0"]);
    shell.put("4\n", &["clicks", "--key", "k"]);
    shell.ok(&["merge", "clicks", "1", "2"]);
    shell.put("5\n", &["clicks", "--key", "k"]);
    assert_eq!(tail.next(2), ["4", "5"]);
    for (number, is_killed) in [("6", true), ("7", false)] {
        let server = shell.server.take().unwrap();
        match is_killed {
            true => server.kill(),
            false => server.stop("TERM"),
        }
        shell.server = Some(PROGRAM.serve(shell.directory.path(), &[]));
        shell.put(&format!("{number}\n"), &["clicks", "--key", "k"]);
        assert_eq!(tail.next(1), [number]);
    }
    signal(&tail.child, "INT");
    assert_eq!(tail.end(), (Some(0), String::new()));
}

#[test]
fn a_tail_of_a_directory_ends_with_its_stream() {
    let shell = Shell::at_server(&[]);
    shell.ok(&["create", "clicks", "--shards", "2"]);
    shell.put("1\n", &["clicks"]);
    let mut tail = Tail::start_in_directory(&shell, &["clicks", "--from", "trim-horizon"]);
    assert_eq!(tail.next(1), ["1"]);
    shell.ok(&["delete", "clicks", "--yes"]);
    let (status, said) = tail.end();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("stream clicks not found"), "{said}");
    assert!(
        said.contains("The last record of each shard that was read before:"),
        "{said}"
    );
}

/// A directory that no program has open is followed too, and does not keep one from opening it.
#[test]
fn a_tail_of_a_directory_keeps_no_server_out() {
    let mut shell = Shell::in_directory();
    shell.ok(&["create", "clicks", "--shards", "1"]);
    shell.put("1\n", &["clicks"]);
    let mut tail = Tail::start_in_directory(&shell, &["clicks", "--from", "trim-horizon", "--limit", "2"]);
    assert_eq!(tail.next(1), ["1"]);
    shell.server = Some(PROGRAM.serve(shell.directory.path(), &[]));
    shell.put("2\n", &["clicks"]);
    assert_eq!(tail.next(1), ["2"]);
    assert_eq!(tail.end(), (Some(0), String::new()));
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
