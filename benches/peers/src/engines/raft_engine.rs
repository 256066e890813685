use std::path::Path;
use std::time::{Duration, Instant};

use anabranch::bench::batch::stamp_of;
use measure::Outcome;
use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, LogBatch, MessageExt, ReadableSize};

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "raft-engine",
    synced: "write(batch, true): pwrite and fdatasync of the shared log, one for all that waited; files prefilled",
    written: "write(batch, false): pwrite",
    reading: "fetch_entries_to, an index in memory; CRC-32 of every batch checked",
    verifies: true,
    can_be_read_twice: true,
    open,
    read,
};

type RaftEngine = raft_engine::Engine;

/// The settings that are no defaults: no compression, and files that are prefilled and small enough to be used in a
/// short turn, which is its fastest way.
fn configuration(directory: &Path) -> Config {
    Config {
        dir: directory.display().to_string(),
        batch_compression_threshold: ReadableSize(0),
        target_file_size: ReadableSize::mb(16),
        prefill_for_recycle: true,
        prefill_limit: Some(ReadableSize::mb(320)),
        ..Config::default()
    }
}

fn open(directory: &Path, _: Level) -> Outcome<Box<dyn Peer>> {
    Ok(Box::new(RaftEngine::open(configuration(directory))?))
}

/// A writer is a raft group, and a record's number its index.
struct Records;

impl MessageExt for Records {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        stamp_of(&entry.value).1 + 1
    }
}

impl Peer for RaftEngine {
    fn append(&self, records: &[&[u8]], level: Level) -> Outcome<()> {
        let entries: Vec<_> = records
            .iter()
            .map(|record| {
                let mut entry = BytesValue::new();
                entry.set_value(record.to_vec());
                entry
            })
            .collect();
        let mut batch = LogBatch::with_capacity(1);
        batch.add_entries::<Records>(stamp_of(records[0]).0 + 1, &entries)?;
        self.write(&mut batch, level == Level::Synced)?;
        Ok(())
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    let engine = RaftEngine::open(configuration(directory))?;
    let begun = Instant::now();
    let mut entries = Vec::new();
    for group in engine.raft_groups() {
        let (Some(mut next), Some(last)) = (engine.first_index(group), engine.last_index(group)) else {
            continue;
        };
        while next <= last {
            entries.clear();
            let to = (next + 1000).min(last + 1);
            engine.fetch_entries_to::<Records>(group, next, to, None, &mut entries)?;
            for entry in &entries {
                each(&entry.value)?;
            }
            next = to;
        }
    }
    Ok(begun.elapsed())
}
