//! Anabranch, through the library.

use std::path::{Path, PathBuf};

use anabranch::bench::Outcome;
use anabranch::bench::batch::{Batch, Ledger};
use anabranch::bench::run::{Figures, Limits, Writer, run};
use anabranch::{PutRecord, ReadLimit, ShardFilter, StartingPosition, Store, StoreOptions, Stream};

use super::BenchArguments;

const STREAM: &str = "bench";
const REPLY: ReadLimit = ReadLimit {
    records: 10_000,
    bytes: 16 << 20,
};

/// A store that is made, written to, opened again and read.
#[derive(Debug)]
pub(super) struct LibrarySide {
    directory: PathBuf,
    store: Store,
    writers: Vec<LibraryWriter>,
    record_bytes: usize,
    shards: u32,
}

impl LibrarySide {
    pub(super) fn open(directory: &Path, arguments: &BenchArguments) -> Outcome<Self> {
        let store = StoreOptions::new()
            .durability(arguments.durability.into())
            .open(directory)?;
        let stream = store.create_stream(STREAM, arguments.shards)?;
        let record_bytes = arguments.record_bytes as usize;
        let writers = (0..arguments.writers)
            .map(|writer| LibraryWriter {
                stream: stream.clone(),
                batch: Batch::new(u64::from(writer), arguments.batch as usize, record_bytes),
                keys: keys(writer, arguments.batch),
            })
            .collect();
        Ok(Self {
            directory: directory.to_owned(),
            store,
            writers,
            record_bytes,
            shards: arguments.shards,
        })
    }

    pub(super) fn run(&mut self, limits: Limits) -> Outcome<Figures> {
        run(&mut self.writers, limits)
    }

    /// How many records were acknowledged, if all of them can be read after the store has been closed and opened again.
    pub(super) fn read_back(&mut self) -> Outcome<u64> {
        let acknowledged = self.writers.drain(..).map(|writer| writer.batch.next);
        let mut ledger = Ledger::new(acknowledged, self.record_bytes, self.shards == 1);
        self.store.close()?;
        self.store = Store::open(&self.directory)?;
        let stream = self.store.stream(STREAM)?;
        for shard in stream.shards(&ShardFilter::FromTrimHorizon)? {
            let mut from = stream.shard_iterator(shard.id, StartingPosition::TrimHorizon)?;
            loop {
                let read = stream.get_records(&from, &REPLY)?;
                for record in &read.records {
                    ledger.read(&record.data)?;
                }
                match read.next {
                    Some(next) if !read.records.is_empty() => from = next,
                    _ => break,
                }
            }
        }
        let records = ledger.close()?;
        self.store.close()?;
        Ok(records)
    }
}

/// Puts to a stream.
#[derive(Debug)]
struct LibraryWriter {
    stream: Stream,
    batch: Batch,
    /// Many more than a call has records, so that different calls use different shards.
    keys: Vec<String>,
}

impl Writer for LibraryWriter {
    fn write(&mut self) -> Outcome<()> {
        let first = self.batch.next as usize;
        self.batch.advance();
        let keys = self.keys.iter().cycle().skip(first % self.keys.len());
        let mut records = keys
            .zip(self.batch.records())
            .map(|(key, data)| PutRecord::new(key, data));
        if self.batch.bytes.len() == self.batch.record_bytes {
            if let Some(record) = records.next() {
                self.stream.put_record(&record)?;
            }
        } else {
            self.stream.put_records(&records.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// Partition keys, all different.
pub(super) fn keys(writer: u32, batch: u32) -> Vec<String> {
    const CALLS: u32 = 16;
    (0..(batch * CALLS).max(1000))
        .map(|number| format!("key-{writer:04}-{number:06}"))
        .collect()
}
