//! The output that a person sees on a terminal.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::{Shell, rows};

/// Both ends of a terminal: bytes written to one are read from the other.
struct Terminal {
    ours: File,
    theirs: File,
}

impl Terminal {
    fn open() -> Terminal {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap());
        Terminal {
            ours: ours.into(),
            theirs: theirs.unwrap(),
        }
    }

    fn end(&self) -> Stdio {
        self.theirs.try_clone().unwrap().into()
    }

    /// Runs a command that succeeds. Gives its output to a pipe, and to the terminal.
    fn run(self, mut command: Command) -> (String, String) {
        let mut child = command.spawn().unwrap();
        // Otherwise the terminal would never end.
        drop((command, self.theirs));
        let mut ours = self.ours;
        let reader = std::thread::spawn(move || {
            let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
            // The end of a terminal is an error.
            while let Ok(read @ 1..) = ours.read(&mut buffer) {
                seen.extend_from_slice(&buffer[..read]);
            }
            String::from_utf8(seen).unwrap()
        });
        let mut out = String::new();
        if let Some(mut pipe) = child.stdout.take() {
            pipe.read_to_string(&mut out).unwrap();
        }
        let status = child.wait().unwrap();
        let seen = reader.join().unwrap();
        assert!(status.success(), "{seen}");
        (out, seen)
    }
}

/// A stream with this many records in one shard.
fn filled(shell: &Shell, records: usize) {
    shell.ok(&["create", "clicks", "--shards", "1"]);
    shell.put(&"line\n".repeat(records), &["clicks", "--key", "k"]);
}

#[test]
fn who_puts_a_file_sees_how_much_of_it_is_put_and_how_fast() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        let path = shell.directory.path().join("lines");
        fs::write(&path, "line\n".repeat(500)).unwrap();
        let terminal = Terminal::open();
        let mut command = shell.command(&["put", "clicks"]);
        command
            .stdin(File::open(&path).unwrap())
            .stdout(Stdio::piped())
            .stderr(terminal.end());
        let (out, seen) = terminal.run(command);
        assert_eq!(rows(&out)[0]["records"], 500);
        assert!(seen.contains("%  ") && seen.contains(" records/s, "), "{seen:?}");
        // The line is erased at the end.
        assert!(seen.ends_with("\r\u{1b}[K"), "{seen:?}");
    }
}

#[test]
fn who_reads_into_a_pipe_sees_how_far_that_is() {
    for shell in Shell::each() {
        filled(&shell, 20);
        for (arguments, begins) in [
            (&["get", "clicks"][..], "20 records, "),
            (
                &["get", "clicks", "--limit", "10"],
                "[####################] 100 %  10 records, ",
            ),
            (&["tail", "clicks"], "20 records, "),
        ] {
            let terminal = Terminal::open();
            let mut command = shell.command(arguments);
            command.stdout(Stdio::piped()).stderr(terminal.end());
            let (out, seen) = terminal.run(command);
            assert!(!out.contains('\u{1b}') && rows(&out).len() >= 10);
            assert!(seen.starts_with(&format!("\r\u{1b}[K{begins}")), "{seen:?}");
            assert!(
                seen.contains(", the last of ") && seen.contains(" ago"),
                "{seen:?}"
            );
            assert!(seen.ends_with("\r\u{1b}[K"), "{seen:?}");
        }
    }
}

#[test]
fn a_terminal_that_shows_the_records_shows_nothing_else_and_takes_no_commands_from_them() {
    for shell in Shell::each() {
        shell.ok(&["create", "clicks", "--shards", "1"]);
        shell.feed(b"\x1b[2J\n\xff\x1b[2J\x00\n", &["put", "clicks", "--key", "k"]);
        let terminal = Terminal::open();
        let mut command = shell.command(&["get", "clicks"]);
        command.stdout(terminal.end()).stderr(terminal.end());
        let (_, seen) = terminal.run(command);
        assert!(
            seen.starts_with("ARRIVAL ") && !seen.contains("records/s"),
            "{seen:?}"
        );
        assert!(!seen.contains('\u{1b}') && seen.lines().count() == 3, "{seen:?}");
    }
}
