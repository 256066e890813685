use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use commitlog::message::{MessageBuf, MessageSet};
use commitlog::{CommitLog, LogOptions, ReadLimit};
use measure::Outcome;

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "commitlog",
    // `flush` is `Write::flush` of a `File`, which does nothing; there is no fsync in the crate.
    synced: "",
    written: "append: write, behind our mutex",
    reading: "read, 1 MiB at a time; CRC of every message checked by us, as it offers",
    verifies: true,
    can_be_read_twice: true,
    open,
    read,
};

struct Shared(Mutex<CommitLog>);

fn open(directory: &Path, _: Level) -> Outcome<Box<dyn Peer>> {
    Ok(Box::new(Shared(Mutex::new(CommitLog::new(LogOptions::new(
        directory,
    ))?))))
}

impl Peer for Shared {
    fn append(&self, records: &[&[u8]], _: Level) -> Outcome<()> {
        let mut log = self.0.lock().map_err(|_| "a writer panicked")?;
        if let [record] = records {
            log.append_msg(record)?;
        } else {
            let mut messages = MessageBuf::default();
            for record in records {
                messages.push(record).map_err(|error| format!("{error:?}"))?;
            }
            log.append(&mut messages)?;
        }
        Ok(())
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    let log = CommitLog::new(LogOptions::new(directory))?;
    let begun = Instant::now();
    let mut next = 0;
    loop {
        let messages = log.read(next, ReadLimit::max_bytes(1 << 20))?;
        let mut count = 0;
        for message in messages.iter() {
            if !message.verify_hash() {
                return Err("a message does not have its checksum".into());
            }
            each(message.payload())?;
            next = message.offset() + 1;
            count += 1;
        }
        if count == 0 {
            return Ok(begun.elapsed());
        }
    }
}
