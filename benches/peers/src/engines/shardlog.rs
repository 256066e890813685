use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use measure::Outcome;
use shardlog::{ShardLog, ShardLogConfig};

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "shardlog",
    synced: "append_group(.., true): writev and fdatasync of a growing file, behind our mutex",
    written: "append_group(.., false): writev",
    reading: "read_from, pread by an index in memory; checksums only checked at opening",
    verifies: false,
    can_be_read_twice: true,
    open,
    read,
};

struct Shared(Mutex<(ShardLog, u64)>);

fn open(directory: &Path, _: Level) -> Outcome<Box<dyn Peer>> {
    let log = ShardLog::open(ShardLogConfig::new(directory))?;
    Ok(Box::new(Shared(Mutex::new((log, 0)))))
}

impl Peer for Shared {
    fn append(&self, records: &[&[u8]], level: Level) -> Outcome<()> {
        let records: Vec<_> = records
            .iter()
            .map(|record| Bytes::copy_from_slice(record))
            .collect();
        let mut shared = self.0.lock().map_err(|_| "a writer panicked")?;
        let (log, next) = &mut *shared;
        log.append_group(*next, &records, level == Level::Synced)?;
        *next += records.len() as u64;
        Ok(())
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    let mut log = ShardLog::open(ShardLogConfig::new(directory))?;
    let begun = Instant::now();
    let mut next = 0;
    loop {
        let records = log.read_from(next, 1 << 20, 1000)?;
        let Some(last) = records.last() else { break };
        next = last.sequence + 1;
        for record in &records {
            each(&record.payload)?;
        }
    }
    Ok(begun.elapsed())
}
