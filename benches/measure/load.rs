//! The records that are written, their writers, and the check that all of them can be read afterwards.

use anabranch::bench::batch::{Batch, Ledger, stamp_of};
use anabranch::bench::run::Writer;
use anabranch::{
    HashKey, PutRecord, PutResult, ReadLimit, ShardFilter, ShardId, StartingPosition, Store, Stream,
};

use crate::Outcome;

/// The writer number of the warm-up.
const NOBODY: u64 = u64::MAX;

/// Puts to a stream.
#[derive(Debug)]
pub struct StoreWriter {
    stream: Stream,
    batch: Batch,
    keys: Vec<String>,
    last: Option<PutResult>,
}

impl StoreWriter {
    /// A writer of batches, with one record for each key.
    pub fn new(stream: Stream, writer: usize, keys: Vec<String>, record_bytes: usize) -> Self {
        Self {
            stream,
            batch: Batch::new(writer as u64, keys.len(), record_bytes),
            keys,
            last: None,
        }
    }
}

impl Writer for StoreWriter {
    fn write(&mut self) -> Outcome<()> {
        self.batch.advance();
        self.last = if let [key] = self.keys.as_slice() {
            Some(self.stream.put(key, &self.batch.bytes)?)
        } else {
            let records: Vec<_> = self
                .keys
                .iter()
                .zip(self.batch.records())
                .map(|(key, data)| PutRecord::new(key, data))
                .collect();
            self.stream.put_records(&records)?.last().copied()
        };
        Ok(())
    }
}

/// Partition keys of some length, all different.
pub fn keys(writer: usize, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key-{writer:04}-{n:06}")).collect()
}

/// Partition keys that go to the stream's open shards in turn.
pub fn keys_in_turn(stream: &Stream, writer: usize, count: usize) -> Outcome<Vec<String>> {
    let mut shards = stream.shards(&ShardFilter::AtLatest)?;
    shards.sort_by_key(|shard| shard.hash_key_range.start());
    let mut found: Vec<Vec<String>> = vec![Vec::new(); shards.len()];
    let wanted = count.div_ceil(shards.len());
    let mut left = wanted * shards.len();
    for number in 0.. {
        if left == 0 {
            break;
        }
        let key = format!("key-{writer:04}-{number:06}");
        let hash = HashKey::of_partition_key(&key);
        let shard = shards.partition_point(|shard| shard.hash_key_range.start() <= hash);
        let found = &mut found[shard - 1];
        if found.len() < wanted {
            found.push(key);
            left -= 1;
        }
    }
    let turns = (0..wanted).flat_map(|turn| found.iter().map(move |keys| keys[turn].clone()));
    Ok(turns.take(count).collect())
}

/// Brings a stream's segments near the size that they keep: 40 MiB for few shards, at least 640 KiB for each of many.
pub fn warm_up(stream: &Stream, shards: usize) -> Outcome<()> {
    const RECORDS: usize = 256;
    const RECORD_BYTES: usize = 16 << 10;
    let mut batch = Batch::new(NOBODY, RECORDS, RECORD_BYTES);
    let keys = keys_in_turn(stream, 0, RECORDS)?;
    let bytes = (40 << 20).max(shards * (640 << 10));
    for _ in 0..bytes.div_ceil(RECORDS * RECORD_BYTES) {
        batch.advance();
        let records: Vec<_> = keys
            .iter()
            .zip(batch.records())
            .map(|(key, data)| PutRecord::new(key, data))
            .collect();
        stream.put_records(&records)?;
    }
    Ok(())
}

/// Checks that all acknowledged records can be read: every writer's records up to its last, each once, in order if one
/// shard has them all, whole, and under the number that was given.
pub fn verify(stream: &Stream, writers: &[StoreWriter]) -> Outcome<()> {
    let shards = stream.shards(&ShardFilter::FromTrimHorizon)?;
    let record_bytes = writers.first().map_or(0, |writer| writer.batch.record_bytes);
    let mut ledger = Ledger::new(
        writers.iter().map(|writer| writer.batch.next),
        record_bytes,
        shards.len() == 1,
    );
    for shard in &shards {
        let mut from = stream.shard_iterator(shard.id, StartingPosition::TrimHorizon)?;
        loop {
            let read = stream.get_records(&from, &VERIFY_LIMIT)?;
            for record in &read.records {
                if stamp_of(&record.data).0 == NOBODY {
                    continue;
                }
                let (at, number) = ledger.read(&record.data)?;
                let last = &writers[at].last;
                let is_last = number + 1 == writers[at].batch.next;
                if is_last && last.is_some_and(|put| put.sequence_number != record.sequence_number) {
                    return Err(
                        format!("writer {at}'s last record has another number than it was given").into(),
                    );
                }
            }
            match read.next {
                Some(next) if !read.records.is_empty() => from = next,
                _ => break,
            }
        }
    }
    ledger.close()?;
    Ok(())
}

const VERIFY_LIMIT: ReadLimit = ReadLimit {
    records: 100_000,
    bytes: 16 << 20,
};

/// Deletes a stream, and has the store reuse its room.
pub fn delete(store: &Store, stream: Stream) -> Outcome<()> {
    stream.delete()?;
    drop(stream);
    Ok(store.maintain()?)
}

/// Reads the only shard of a stream as a server reads: up to 10,000 records and 10 MiB at a time. Gives the number of
/// bytes of data.
pub fn read_all(stream: &Stream) -> Outcome<u64> {
    const REPLY: ReadLimit = ReadLimit {
        records: 10_000,
        bytes: 10 << 20,
    };
    let mut from = stream.shard_iterator(ShardId::new(0)?, StartingPosition::TrimHorizon)?;
    let mut bytes = 0;
    loop {
        let read = stream.get_records(&from, &REPLY)?;
        if read.records.is_empty() {
            return Ok(bytes);
        }
        bytes += read
            .records
            .iter()
            .map(|record| record.data.len() as u64)
            .sum::<u64>();
        from = read.next.ok_or("the shard is closed")?;
    }
}

/// The one stream of a store that has just been opened again.
pub fn only_stream(store: &Store) -> Outcome<Stream> {
    let summary = store.streams(None, 1)?.pop().ok_or("the stream is gone")?;
    Ok(store.stream(&summary.name)?)
}
