use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use measure::Outcome;

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "fjall",
    synced: "batch with PersistMode::SyncData: write and fdatasync of the journal under its lock, one for each call",
    written: "batch with PersistMode::Buffer: write",
    reading: "Keyspace::iter; checksum of every block checked",
    verifies: true,
    can_be_read_twice: true,
    open,
    read,
};

struct Fjall {
    database: Database,
    records: Keyspace,
    next: AtomicU64,
}

fn open(directory: &Path, _: Level) -> Outcome<Box<dyn Peer>> {
    let database = Database::builder(directory).open()?;
    let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
    Ok(Box::new(Fjall {
        database,
        records,
        next: AtomicU64::new(0),
    }))
}

impl Peer for Fjall {
    fn append(&self, records: &[&[u8]], level: Level) -> Outcome<()> {
        let mut batch = self.database.batch().durability(Some(match level {
            Level::Synced => PersistMode::SyncData,
            Level::Written => PersistMode::Buffer,
        }));
        let first = self.next.fetch_add(records.len() as u64, Ordering::Relaxed);
        for (number, record) in (first..).zip(records) {
            batch.insert(&self.records, number.to_be_bytes(), *record);
        }
        Ok(batch.commit()?)
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    let database = Database::builder(directory).open()?;
    let records = database.keyspace("records", KeyspaceCreateOptions::default)?;
    let begun = Instant::now();
    for record in records.iter() {
        each(&record.value()?)?;
    }
    Ok(begun.elapsed())
}
