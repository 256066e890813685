//! Rounds of writing and crashing, over one store at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anabranch::{Durability, ManualClock, Timestamp};
use anabranch_harness::image::Image;
use anabranch_harness::process;
use tempfile::TempDir;

use crate::ledger::{Ledger, Told};
use crate::record::mix;
use crate::writer::{self, Task};

/// The number of rounds with one store. Then another is made, so that blows hit the making of a store too.
const ROUNDS_OF_A_STORE: u32 = 20;

/// A writer without a line for this long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// The blow to the writer.
#[derive(Debug)]
pub(crate) enum Blow {
    PowerCut(Image),
    Kill(TempDir),
}

impl Blow {
    fn root(&self) -> &Path {
        match self {
            Self::PowerCut(image) => image.path(),
            Self::Kill(directory) => directory.path(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Rounds {
    level: Durability,
    blow: Blow,
    ledger: Ledger,
    round: u32,
    time: Timestamp,
    random: u64,
    durable: usize,
    checks: usize,
    checked: usize,
}

impl Rounds {
    pub(crate) fn new(level: Durability, blow: Blow) -> Self {
        Self {
            level,
            blow,
            ledger: Ledger::default(),
            round: 0,
            time: Timestamp::from_seconds(1_700_000_000),
            random: 0,
            durable: 0,
            checks: 0,
            checked: 0,
        }
    }

    pub(crate) fn run(&mut self, rounds: u32) {
        for round in 0..rounds {
            self.round = round;
            if round % ROUNDS_OF_A_STORE == 0 {
                self.begin_store();
            }
            self.write_until_the_blow();
            // If this round is not checked, the next writer recovers the store, and a blow may hit that.
            let is_last = round + 1 == rounds || (round + 1) % ROUNDS_OF_A_STORE == 0;
            if is_last || self.draw(3) > 0 {
                self.check();
            }
        }
    }

    fn begin_store(&mut self) {
        self.ledger = Ledger::default();
        self.remove_store();
    }

    /// Removes the store before so durably that no blow brings it back: the new ledger does not know it.
    fn remove_store(&self) {
        match std::fs::remove_dir_all(self.directory()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            removed => removed.expect("the store of an earlier round is removed"),
        }
        let root = File::open(self.blow.root()).expect("the store's root opens");
        root.sync_all().expect("a removal is synced");
    }

    fn directory(&self) -> PathBuf {
        self.blow.root().join("store")
    }

    fn write_until_the_blow(&mut self) {
        let task = Task {
            level: self.level,
            directory: self.directory(),
            round: self.round,
            time: self.time,
        };
        // Often while it writes, sometimes while it opens the store.
        let (from_the_start, delay) = match self.draw(4) {
            0 => (true, Duration::from_micros(self.draw(40_000))),
            _ => (false, Duration::from_micros(self.draw(250_000))),
        };
        let mut process = WritingProcess::start(&task);
        let mut told = process.listen(from_the_start, delay, &mut self.time);
        // Reported before the blow: an answer that raced with it proves nothing.
        let before = told.len();
        match &self.blow {
            Blow::PowerCut(image) => {
                image.switch().cut();
                told.extend(process.end(&mut self.time));
                image.mount_again();
            }
            Blow::Kill(_) => told.extend(process.end(&mut self.time)),
        }
        let durable = match (&self.blow, self.level) {
            (Blow::PowerCut(_), Durability::Synced) => before,
            (Blow::Kill(_), Durability::Synced | Durability::Written) => told.len(),
            _ => 0,
        };
        self.durable += durable;
        let (durable, others) = told.split_at(durable);
        self.ledger.note_round(durable, others);
    }

    fn check(&mut self) {
        let _no_children = process::no_children();
        let clock = ManualClock::starting_at(self.time);
        let store = writer::options(self.level, clock)
            .open(self.directory())
            .expect("a crash leaves a store that opens");
        match writer::stream(&store) {
            Some(stream) => {
                self.checked += self.ledger.check(&stream, self.time);
                self.ledger
                    .check_queue(writer::queue(&stream).as_ref(), self.time);
            }
            None => assert!(self.ledger.is_empty(), "the stream is gone"),
        }
        self.checks += 1;
        store.close().expect("a recovered store closes");
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.random = mix(self.random);
        self.random % below
    }
}

impl std::fmt::Display for Rounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            round,
            durable,
            checks,
            checked,
            ..
        } = self;
        write!(
            f,
            "{} rounds; {durable} things were told that had to survive; {checks} times the store was read, {checked} \
             records in all",
            round + 1
        )
    }
}

/// The child, killed at the latest when this is dropped.
struct WritingProcess {
    child: Child,
    lines: Receiver<String>,
}

impl WritingProcess {
    fn start(task: &Task) -> Self {
        let mut child = process::spawn(&mut task.command()).expect("a test binary runs again");
        let stdout = child.stdout.take().expect("the writer's output is a pipe");
        Self {
            child,
            lines: lines_of(stdout),
        }
    }

    /// Reads lines until the moment of the blow, which is counted from the first acknowledgement or from the start.
    fn listen(&mut self, from_the_start: bool, delay: Duration, time: &mut Timestamp) -> Vec<Told> {
        let start = Instant::now();
        let mut until = from_the_start.then_some(start + delay);
        let mut told = Vec::new();
        while let Some(left) = until
            .unwrap_or(start + PATIENCE)
            .checked_duration_since(Instant::now())
        {
            match self.lines.recv_timeout(left) {
                Ok(line) => told.extend(parse(&line, time, |reason| {
                    panic!("the writer stopped by itself: {reason}")
                })),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the writer ended by itself"),
            }
            if !told.is_empty() {
                until = until.or(Some(Instant::now() + delay));
            }
        }
        assert!(until.is_some(), "the writer says nothing");
        told
    }

    /// Kills the process, and gives its remaining lines.
    fn end(mut self, time: &mut Timestamp) -> Vec<Told> {
        self.kill();
        let lines = std::mem::replace(&mut self.lines, channel().1);
        lines.iter().flat_map(|line| parse(&line, time, |_| ())).collect()
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for WritingProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whole lines only: the last one may have been cut by the kill.
fn lines_of(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        while stdout.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
            if sender.send(line.trim_end().to_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
    lines
}

fn parse(line: &str, time: &mut Timestamp, on_stop: impl Fn(&str)) -> Option<Told> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "ack" => Some(Told::Acknowledged(
            rest.parse().expect("the writer prints records"),
        )),
        "saw" => Some(Told::Seen(rest.parse().expect("the writer prints records"))),
        "asked" => Some(Told::Asked(rest.parse().expect("the writer prints records"))),
        "done" => Some(Told::Done(rest.parse().expect("the writer prints records"))),
        "closed" => Some(Told::Closed(rest.parse().expect("the writer prints shard ids"))),
        "clock" => {
            *time = Timestamp::from_millis(rest.parse().expect("the writer prints times"));
            None
        }
        "stopped" => {
            on_stop(rest);
            None
        }
        // Output of the test harness.
        _ => None,
    }
}

#[test]
fn a_store_that_was_removed_does_not_come_back_with_a_power_cut() {
    let Some(image) = crate::image(16 << 20) else {
        return;
    };
    let rounds = Rounds::new(Durability::Synced, Blow::PowerCut(image));
    std::fs::create_dir(rounds.directory()).unwrap();
    File::open(rounds.blow.root()).unwrap().sync_all().unwrap();
    rounds.remove_store();
    let Blow::PowerCut(image) = &rounds.blow else {
        unreachable!("it was made above");
    };
    image.switch().cut();
    image.mount_again();
    assert!(!rounds.directory().exists());
}
