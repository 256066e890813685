use std::path::Path;
use std::time::{Duration, Instant};

use anabranch::{
    Durability, PutRecord, ReadLimit, ShardFilter, StartingPosition, Store, StoreOptions, Stream,
};
use measure::Outcome;

use crate::engine::{Each, Engine, Level, Peer};

pub const ENGINE: Engine = Engine {
    name: "anabranch",
    synced: "Stream::put, Durability::Synced: pwrite and fdatasync of the shard's segment, one for all that waited",
    written: "Stream::put, Durability::Written: pwrite",
    reading: "Stream::get_records, 10 MiB a reply; CRC-32 of every frame checked",
    verifies: true,
    can_be_read_twice: true,
    open,
    read,
};

struct Anabranch {
    store: Store,
    stream: Stream,
}

fn open(directory: &Path, level: Level) -> Outcome<Box<dyn Peer>> {
    let store = StoreOptions::new()
        .durability(match level {
            Level::Synced => Durability::Synced,
            Level::Written => Durability::Written,
        })
        .open(directory)?;
    let stream = store.create_stream("records", 1)?;
    Ok(Box::new(Anabranch { store, stream }))
}

impl Peer for Anabranch {
    fn append(&self, records: &[&[u8]], _: Level) -> Outcome<()> {
        if let [data] = records {
            self.stream.put("partition-key", data)?;
        } else {
            let records: Vec<_> = records
                .iter()
                .map(|data| PutRecord::new("partition-key", data))
                .collect();
            self.stream.put_records(&records)?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(self.store.close()?)
    }
}

fn read(directory: &Path, each: Each<'_>) -> Outcome<Duration> {
    const REPLY: ReadLimit = ReadLimit {
        records: 10_000,
        bytes: 10 << 20,
    };
    let store = Store::open(directory)?;
    let stream = store.stream("records")?;
    let begun = Instant::now();
    for shard in stream.shards(&ShardFilter::FromTrimHorizon)? {
        let mut from = stream.shard_iterator(shard.id, StartingPosition::TrimHorizon)?;
        loop {
            let read = stream.get_records(&from, &REPLY)?;
            for record in &read.records {
                each(&record.data)?;
            }
            match read.next {
                Some(next) if !read.records.is_empty() => from = next,
                _ => break,
            }
        }
    }
    let took = begun.elapsed();
    store.close()?;
    Ok(took)
}
