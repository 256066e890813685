//! The process that the blow hits: it writes, reads, reshards and trims as fast as it can, and reports each
//! acknowledgement as soon as it has it.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anabranch::{
    Clock, Durability, Error, HashKey, ManualClock, PutRecord, PutResult, Queue, QueueOptions, QueueSettings,
    ReceiveOptions, Result, ShardFilter, StartingPosition, Store, StoreOptions, Stream, Timestamp,
};

use crate::record::{Name, Numbered};

/// The writer's task, in one environment variable.
const TASK: &str = "ANABRANCH_WRITING_PROCESS";

const STREAM: &str = "clicks";
const QUEUE: &str = "work";
const SHARDS: u32 = 3;
const PUTTING_THREADS: u32 = 3;
const APPENDING_THREADS: u32 = 2;
const CONSUMING_THREADS: usize = 2;

#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) level: Durability,
    pub(crate) directory: PathBuf,
    pub(crate) round: u32,
    pub(crate) time: Timestamp,
}

/// The level that is shown so.
pub(crate) fn level_of(name: &str) -> Durability {
    match name {
        "Synced" => Durability::Synced,
        "Written" => Durability::Written,
        _ => Durability::Buffered,
    }
}

impl Task {
    /// A command that runs this test binary as the writer.
    pub(crate) fn command(&self) -> Command {
        let (level, time) = (self.level, self.time.as_millis());
        let mut command = Command::new(std::env::current_exe().expect("a running program has a file"));
        command
            .args(["the_writing_process", "--exact", "--nocapture"])
            .env(
                TASK,
                format!("{level:?} {} {time} {}", self.round, self.directory.display()),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command
    }

    fn parse(text: &str) -> Self {
        let mut words = text.splitn(4, ' ');
        let mut word = || words.next().expect("a task has four words");
        Self {
            level: level_of(word()),
            round: word().parse().expect("a round is a number"),
            time: Timestamp::from_millis(word().parse().expect("a time is a number")),
            directory: PathBuf::from(word()),
        }
    }
}

/// Segments of the smallest size, so that a round rolls over many times. Some commits go through the journal and some
/// do not, depending on the timing.
pub(crate) fn options(level: Durability, clock: ManualClock) -> StoreOptions {
    StoreOptions::new()
        .durability(level)
        .segment_bytes(64 << 10)
        .max_recycled_bytes(2 << 20)
        .max_open_segments(6)
        .compaction_bytes(4 << 10)
        .min_journaled_shards(2)
        .clock(clock)
}

/// The stream, if it was ever made.
pub(crate) fn stream(store: &Store) -> Option<Stream> {
    match store.stream(STREAM) {
        Ok(stream) => Some(stream),
        Err(Error::StreamNotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The stream's queue, if it was ever made. It has all records of the stream.
pub(crate) fn queue(stream: &Stream) -> Option<Queue> {
    match stream.queue(QUEUE) {
        Ok(queue) => Some(queue),
        Err(Error::QueueNotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn run_if_asked() {
    let Ok(task) = std::env::var(TASK) else { return };
    // The test harness has begun a line.
    say("");
    let stopped = match Writer::open(&Task::parse(&task)) {
        Ok(writer) => writer.run(),
        Err(error) => error.to_string(),
    };
    say(&format!("stopped {stopped}"));
}

fn say(line: &str) {
    // In one write. If the reader is gone, there is no reason to go on.
    if std::io::stdout()
        .lock()
        .write_all(format!("{line}\n").as_bytes())
        .is_err()
    {
        std::process::exit(1);
    }
}

struct Writer {
    store: Store,
    stream: Stream,
    queue: Queue,
    clock: ManualClock,
    round: u32,
    /// How many records were acknowledged.
    records: AtomicU64,
    is_stopped: AtomicBool,
}

impl Writer {
    fn open(task: &Task) -> Result<Self> {
        let clock = ManualClock::starting_at(task.time);
        let store = options(task.level, clock.clone()).open(&task.directory)?;
        let stream = match stream(&store) {
            Some(stream) => stream,
            None => store.create_stream(STREAM, SHARDS)?,
        };
        let queue = match queue(&stream) {
            Some(queue) => queue,
            None => stream.create_queue(QUEUE, &queue_options())?,
        };
        Ok(Self {
            store,
            stream,
            queue,
            clock,
            round: task.round,
            records: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
        })
    }

    /// Runs until something fails, and gives the error.
    fn run(&self) -> String {
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for thread in 0..PUTTING_THREADS {
                threads.push(scope.spawn(move || self.until_stopped(|| self.put_for_ever(thread))));
            }
            for thread in 0..APPENDING_THREADS {
                threads.push(scope.spawn(move || self.until_stopped(|| self.append_for_ever(thread))));
            }
            for _ in 0..CONSUMING_THREADS {
                threads.push(scope.spawn(|| self.until_stopped(|| self.consume_for_ever())));
            }
            threads.push(scope.spawn(|| self.until_stopped(|| self.reshard_for_ever())));
            threads.push(scope.spawn(|| self.until_stopped(|| self.read_for_ever())));
            threads.push(scope.spawn(|| self.until_stopped(|| self.age_for_ever())));
            let reasons = threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| "a panic".to_owned()));
            reasons.collect::<Vec<_>>().join(" | ")
        })
    }

    /// The first thread that cannot go on stops the others.
    fn until_stopped(&self, work: impl FnOnce() -> Result<()>) -> String {
        let result = work();
        self.is_stopped.store(true, Ordering::SeqCst);
        result.map_or_else(|error| error.to_string(), |()| "stopped".to_owned())
    }

    /// Puts one record after the other, each after the one before is acknowledged.
    fn put_for_ever(&self, thread: u32) -> Result<()> {
        let key = format!("r{}-put{thread}", self.round);
        for count in 0.. {
            let name = Name {
                key: key.clone(),
                count,
            };
            let arrival = self.clock.now();
            let put = self.stream.put(&name.key, &name.data())?;
            self.acknowledge(&put, name, arrival);
        }
        Ok(())
    }

    /// Puts several batches at a time, over keys of several shards.
    fn append_for_ever(&self, thread: u32) -> Result<()> {
        let mut counts: Vec<_> = (0..3)
            .map(|key| (format!("r{}-append{thread}-{key}", self.round), 0))
            .collect();
        loop {
            let mut appends = Vec::new();
            for records in [4, 5, 6, 1] {
                let names = next_names(&mut counts, records);
                let data: Vec<_> = names.iter().map(Name::data).collect();
                let named_data = names.iter().zip(&data);
                let records: Vec<_> = named_data
                    .map(|(name, data)| PutRecord::new(&name.key, data))
                    .collect();
                let arrival = self.clock.now();
                appends.push((self.stream.append(&records)?, names, arrival));
            }
            for (append, names, arrival) in appends {
                for (put, name) in append.wait()?.iter().zip(names) {
                    self.acknowledge(put, name, arrival);
                }
            }
        }
    }

    fn acknowledge(&self, put: &PutResult, name: Name, arrival: Timestamp) {
        let number = put.sequence_number;
        say(&format!(
            "ack {}",
            Numbered {
                name,
                number,
                arrival
            }
        ));
        self.records.fetch_add(1, Ordering::SeqCst);
    }

    /// Records that a reader sees are reported like acknowledgements.
    fn read_for_ever(&self) -> Result<()> {
        let mut reader = self.stream.reader(StartingPosition::Latest)?;
        while !self.is_stopped.load(Ordering::SeqCst) {
            if let Some(record) = reader.next_within(Duration::from_millis(20))? {
                say(&format!("saw {}", Numbered::of(&record)));
            }
        }
        Ok(())
    }

    /// Acknowledges most of the queue's records. Reports each acknowledgement before and after the call.
    fn consume_for_ever(&self) -> Result<()> {
        while !self.is_stopped.load(Ordering::SeqCst) {
            let wait = Duration::from_millis(20);
            let mut received = self.queue.receive_within(&ReceiveOptions::default(), wait)?;
            // The others come back when they are due.
            received.retain(|record| record.record.sequence_number.record_number().value() % 4 != 0);
            for record in &received {
                say(&format!("asked {}", Numbered::of(&record.record)));
            }
            let receipts: Vec<_> = received.iter().map(|record| record.receipt).collect();
            let outcomes = self.queue.acknowledge(&receipts)?;
            for (record, outcome) in received.iter().zip(outcomes) {
                // It may have been due meanwhile, and be given out again.
                if outcome.is_ok() {
                    say(&format!("done {}", Numbered::of(&record.record)));
                }
            }
        }
        Ok(())
    }

    /// Splits a shard, merges two, and so on.
    fn reshard_for_ever(&self) -> Result<()> {
        while self.wait_for_records(60) {
            let mut open = self.stream.shards(&ShardFilter::AtLatest)?;
            open.sort_by_key(|shard| shard.hash_key_range.start());
            match open.as_slice() {
                [first, second, _, _, ..] => {
                    self.stream.merge_shards(first.id, second.id)?;
                    say(&format!("closed {}", first.id));
                    say(&format!("closed {}", second.id));
                }
                [.., last] => {
                    let range = last.hash_key_range;
                    let middle = (range.start().value() >> 1) + (range.end().value() >> 1);
                    self.stream.split_shard(last.id, HashKey::new(middle))?;
                    say(&format!("closed {}", last.id));
                }
                [] => {}
            }
        }
        Ok(())
    }

    /// Lets time pass, so that segments expire and are reused. The time is reported before it is set, so that the other
    /// side knows every time by which records have expired.
    fn age_for_ever(&self) -> Result<()> {
        while self.wait_for_records(20) {
            let then = self.clock.now().saturating_add(Duration::from_secs(2 * 3600));
            say(&format!("clock {}", then.as_millis()));
            self.clock.set(then);
            self.store.maintain()?;
        }
        Ok(())
    }

    /// False if they will not come.
    fn wait_for_records(&self, records: u64) -> bool {
        let until = self.records.load(Ordering::SeqCst) + records;
        while self.records.load(Ordering::SeqCst) < until {
            if self.is_stopped.load(Ordering::SeqCst) {
                return false;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        true
    }
}

fn queue_options() -> QueueOptions {
    QueueOptions {
        start: StartingPosition::TrimHorizon,
        settings: QueueSettings {
            visibility_seconds: 3_600,
            max_receive_count: None,
        },
        ..QueueOptions::default()
    }
}

/// Names that take turns over keys, each with the next count of its key.
fn next_names(counts: &mut [(String, u64)], records: usize) -> Vec<Name> {
    let keys = counts.len();
    (0..records)
        .map(|record| {
            let (key, count) = &mut counts[record % keys];
            *count += 1;
            Name {
                key: key.clone(),
                count: *count - 1,
            }
        })
        .collect()
}
