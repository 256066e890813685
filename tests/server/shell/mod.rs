//! The commands for streams, as they are typed at a shell: on a directory, and on a server.

mod following;
mod mirroring;
mod places;
mod positions;
mod putting;
mod records;
mod streams;
mod watched;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use anabranch::{ManualClock, Namespace, StoreOptions, Timestamp};
use anabranch_harness::program::ServerProcess;
use base64_simd::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use crate::PROGRAM;

/// A place with streams, and the program that works on it.
struct Shell {
    directory: TempDir,
    server: Option<ServerProcess>,
}

/// The result of a command.
#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    error: String,
}

impl Shell {
    /// A directory, and a server.
    fn each() -> [Shell; 2] {
        [Shell::in_directory(), Shell::at_server(&[])]
    }

    /// The same, with streams that were filled on a manual clock.
    fn each_filled(fill: impl Fn(&Namespace, &ManualClock)) -> [Shell; 2] {
        let begin = Timestamp::from_seconds(1_700_000_000);
        [false, true].map(|has_server| {
            let directory = tempfile::tempdir().unwrap();
            let clock = ManualClock::starting_at(begin);
            let options = StoreOptions::new().clock(clock.clone()).keeper(false);
            let store = options.open(directory.path().join("data")).unwrap();
            fill(&store.namespace("000000000000/us-east-1").unwrap(), &clock);
            store.close().unwrap();
            let server = has_server.then(|| PROGRAM.serve(directory.path(), &[]));
            Shell { directory, server }
        })
    }

    fn in_directory() -> Shell {
        Shell {
            directory: tempfile::tempdir().unwrap(),
            server: None,
        }
    }

    fn at_server(arguments: &[&str]) -> Shell {
        let directory = tempfile::tempdir().unwrap();
        let server = PROGRAM.serve(directory.path(), arguments);
        Shell {
            directory,
            server: Some(server),
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = PROGRAM.command();
        command.args(arguments);
        match &self.server {
            Some(server) => command.args(["--endpoint", &server.url()]),
            None => command.arg("--data-dir").arg(self.data_dir()),
        };
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        ran(&mut self.command(arguments))
    }

    /// With standard input.
    fn feed(&self, input: &[u8], arguments: &[&str]) -> Ran {
        fed(self.command(arguments), input)
    }

    /// The standard output of a command that succeeds and writes no error.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let Ran { status, out, error } = self.run(arguments);
        assert_eq!((status, error.as_str()), (0, ""), "{arguments:?}: {out}");
        out
    }

    /// The same as JSON lines.
    #[track_caller]
    fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        rows(&self.ok(arguments))
    }

    /// Puts lines, and checks that all were taken.
    #[track_caller]
    fn put(&self, lines: &str, arguments: &[&str]) {
        let Ran { status, out, error } = self.feed(lines.as_bytes(), &[&["put"], arguments].concat());
        assert_eq!((status, error.as_str()), (0, ""), "{out}");
        assert_eq!(rows(&out)[0]["records"], lines.lines().count());
    }

    /// The standard error of a command that fails with this status.
    #[track_caller]
    fn refusal(&self, status: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (status, ""),
            "{arguments:?}: {}",
            ran.error
        );
        ran.error
    }

    /// Starts a command, whose standard output, and input if requested, the test reads and writes while it runs.
    fn start(&self, arguments: &[&str], stdin: Stdio) -> Child {
        let mut command = self.command(arguments);
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

fn ran(command: &mut Command) -> Ran {
    Ran::of(command.output().unwrap())
}

fn fed(mut command: Command, input: &[u8]) -> Ran {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that fails does not read all of it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran::of(output)
}

impl Ran {
    fn of(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran {
            status: output.status.code().unwrap(),
            out: text(output.stdout),
            error: text(output.stderr),
        }
    }
}

fn rows(out: &str) -> Vec<Value> {
    out.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

/// The data of records, from base64.
fn data(rows: &[Value]) -> Vec<Vec<u8>> {
    let decode = |row: &Value| STANDARD.decode_to_vec(row["data"].as_str().unwrap()).unwrap();
    rows.iter().map(decode).collect()
}

/// The same as text.
fn texts(rows: &[Value]) -> Vec<String> {
    data(rows)
        .into_iter()
        .map(|data| String::from_utf8(data).unwrap())
        .collect()
}

fn signal(child: &Child, name: &str) {
    signal_process(child.id(), name);
}

fn signal_process(process: u32, name: &str) {
    let process = process.to_string();
    let sent = Command::new("kill")
        .args(["-s", name, &process])
        .status()
        .unwrap();
    assert!(sent.success());
}
