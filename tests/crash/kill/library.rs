//! A process that uses the library, killed.

use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anabranch::{
    Error, HashKey, PutRecord, ReadLimit, ShardFilter, ShardId, StartingPosition, Store, Stream,
};

use super::history::{History, Message, Moments, RECORDS_PER_PUT, Receipt, Stored, WRITERS};

const STREAM: &str = "messages";
const STORE_VARIABLE: &str = "ANABRANCH_KILL_STORE";
const LIFE_VARIABLE: &str = "ANABRANCH_KILL_LIFE";

#[test]
fn a_process_killed_twenty_times_keeps_every_acknowledged_record_once_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("data");
    let mut history = History::default();
    let mut moments = Moments(0xA11C_E5ED);
    for life in 0..20 {
        // Recovery can be killed as well, and is then repeated.
        if life % 3 == 2 {
            let mut opening = WritingProcess::start(&store, life);
            opening.wait_for("opening");
            opening.kill(&mut history);
        }
        let mut writing = WritingProcess::start(&store, life);
        writing.read_receipts(&mut history, moments.next(400));
        writing.kill(&mut history);
        check(&store, &history);
    }
    assert!(history.len() > 1000, "only {} records", history.len());
}

fn check(directory: &Path, history: &History) {
    let store = Store::open(directory).unwrap();
    let stream = store.stream(STREAM).unwrap();
    let shards = stream.shards(&ShardFilter::FromTrimHorizon).unwrap();
    let closed: BTreeSet<ShardId> = shards
        .iter()
        .filter(|shard| !shard.is_open())
        .map(|shard| shard.id)
        .collect();
    let stored: Vec<Stored> = shards.iter().flat_map(|shard| read(&stream, shard.id)).collect();
    history.check(&stored, &closed);
    store.close().unwrap();
}

fn read(stream: &Stream, shard: ShardId) -> Vec<Stored> {
    let limit = ReadLimit {
        records: 100,
        bytes: 1 << 20,
    };
    let mut stored = Vec::new();
    let mut next = Some(
        stream
            .shard_iterator(shard, StartingPosition::TrimHorizon)
            .unwrap(),
    );
    while let Some(from) = next {
        let read = stream.get_records(&from, &limit).unwrap();
        next = read.next.filter(|_| !read.records.is_empty());
        stored.extend(read.records.into_iter().map(|record| Stored {
            shard,
            number: record.sequence_number,
            partition_key: record.partition_key.to_string(),
            data: record.data.to_vec(),
        }));
    }
    stored
}

/// This test program, started again as a program that writes. It prints every acknowledgement on its standard error,
/// one line in one write each. Lines written before a kill can still be read.
struct WritingProcess {
    child: Child,
    said: BufReader<std::process::ChildStderr>,
    /// Lines that are no acknowledgements: the error, if it failed.
    rest: String,
}

impl WritingProcess {
    fn start(store: &Path, life: u64) -> WritingProcess {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["eight_writers_until_they_are_killed", "--ignored", "--nocapture"])
            .env(STORE_VARIABLE, store)
            .env(LIFE_VARIABLE, life.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        WritingProcess {
            child,
            said,
            rest: String::new(),
        }
    }

    /// The next line, without its end; `None` once the process has ended.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.strip_suffix('\n').map(str::to_owned)
    }

    fn wait_for(&mut self, line: &str) {
        while let Some(said) = self.line() {
            if said == line {
                return;
            }
        }
        panic!("the process ended without having said {line:?}");
    }

    fn read_receipts(&mut self, history: &mut History, count: u64) {
        for _ in 0..count {
            let Some(line) = self.line() else {
                panic!("the process ended by itself:\n{}", self.rest);
            };
            self.acknowledge(&line, history);
        }
    }

    fn kill(mut self, history: &mut History) {
        const SIGKILL: i32 = 9;
        self.child.kill().unwrap();
        while let Some(line) = self.line() {
            self.acknowledge(&line, history);
        }
        let status = self.child.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(SIGKILL),
            "the process ended by itself:\n{}",
            self.rest
        );
    }

    fn acknowledge(&mut self, line: &str, history: &mut History) {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["put", message, shard, number] => history.acknowledge(Receipt {
                message: Message(message.parse().unwrap()),
                shard: shard.parse().unwrap(),
                number: number.parse().unwrap(),
            }),
            ["closed", shard] => history.acknowledge_closed(shard.parse().unwrap()),
            _ => {
                self.rest += line;
                self.rest.push('\n');
            }
        }
    }
}

impl Drop for WritingProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "the process that another test starts and kills"]
fn eight_writers_until_they_are_killed() {
    let (Some(directory), Ok(life)) = (env::var_os(STORE_VARIABLE), env::var(LIFE_VARIABLE)) else {
        return;
    };
    let life: u64 = life.parse().unwrap();
    say("opening");
    let store = Store::open(directory).unwrap();
    let stream = match store.stream(STREAM) {
        Err(Error::StreamNotFound { .. }) => store.create_stream(STREAM, 4).unwrap(),
        stream => stream.unwrap(),
    };
    std::thread::scope(|threads| {
        for writer in 0..WRITERS {
            let stream = &stream;
            threads.spawn(move || write(stream, Message::first(life, writer)));
        }
        reshard(&stream, life);
    });
}

/// Puts one record, then several at once, in turn, for ever.
fn write(stream: &Stream, first: Message) {
    let mut next = first.0;
    loop {
        let count = if next.is_multiple_of(2) {
            1
        } else {
            RECORDS_PER_PUT
        };
        let messages: Vec<Message> = (next..next + count).map(Message).collect();
        let contents: Vec<_> = messages
            .iter()
            .map(|message| (message.partition_key(), message.data()))
            .collect();
        let records: Vec<_> = contents
            .iter()
            .map(|(key, data)| PutRecord::new(key, data))
            .collect();
        let puts = stream.put_records(&records).unwrap();
        assert_eq!(puts.len(), messages.len());
        for (message, put) in messages.iter().zip(puts) {
            say(&format!(
                "put {} {} {}",
                message.0, put.shard_id, put.sequence_number
            ));
        }
        next += count;
    }
}

/// Splits a shard in one life, and merges two in the next.
fn reshard(stream: &Stream, life: u64) {
    let mut open = stream.shards(&ShardFilter::AtLatest).unwrap();
    open.sort_by_key(|shard| shard.hash_key_range.start());
    if life.is_multiple_of(2) {
        let shard = &open[life as usize % open.len()];
        let (start, end) = (
            shard.hash_key_range.start().value(),
            shard.hash_key_range.end().value(),
        );
        stream
            .split_shard(shard.id, HashKey::new(start + (end - start) / 2))
            .unwrap();
        say(&format!("closed {}", shard.id));
    } else {
        stream.merge_shards(open[0].id, open[1].id).unwrap();
        say(&format!("closed {}", open[0].id));
        say(&format!("closed {}", open[1].id));
    }
}

fn say(line: &str) {
    std::io::stderr()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}
