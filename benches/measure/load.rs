//! What is written, by whom, and the check that it is all there afterwards.

use anabranch::{
    HashKey, Put, PutRecord, ReadLimit, SequenceNumber, ShardFilter, StartingPosition, Store, Stream,
};

use super::Outcome;
use super::pace::Writer;
use super::raw::{RawFile, RawQueue};

/// Who wrote a record, and the how-manieth of that writer it is: the first bytes of its data.
const STAMP_BYTES: usize = 16;

/// The writer of what only warms up.
const NOBODY: u64 = u64::MAX;

/// One operation's records, one behind the other; the bytes behind the stamps are noise that stays the same.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    record_bytes: usize,
    writer: u64,
    /// The number of the next record.
    next: u64,
}

impl Batch {
    pub fn new(writer: u64, records: usize, record_bytes: usize) -> Self {
        let noise = noise(record_bytes);
        let mut bytes = Vec::with_capacity(records * record_bytes + 4096);
        for _ in 0..records {
            bytes.extend_from_slice(&noise);
        }
        Self {
            bytes,
            record_bytes,
            writer,
            next: 0,
        }
    }

    /// Stamps the records with the next numbers.
    pub fn advance(&mut self) {
        for record in self.bytes.chunks_exact_mut(self.record_bytes) {
            record[0..8].copy_from_slice(&self.writer.to_le_bytes());
            record[8..16].copy_from_slice(&self.next.to_le_bytes());
            self.next += 1;
        }
    }

    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.record_bytes)
    }
}

/// Puts to a stream.
#[derive(Debug)]
pub struct StoreWriter {
    stream: Stream,
    batch: Batch,
    keys: Vec<String>,
    last: Option<Put>,
}

impl StoreWriter {
    /// A writer of batches of so many records as there are keys.
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

/// Writes the same bytes to a raw file, durably or not, alone or through a queue.
pub struct RawWriter<'a> {
    batch: Batch,
    path: RawPath<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum RawPath<'a> {
    /// `pwrite`.
    Written(&'a RawFile),
    /// `pwrite` of whole pages and `fdatasync`.
    Synced(&'a RawFile),
    /// The same, for all that has gathered meanwhile.
    Queued(&'a RawQueue<'a>),
}

impl<'a> RawWriter<'a> {
    pub fn new(path: RawPath<'a>, writer: usize, records: usize, record_bytes: usize) -> Self {
        Self {
            batch: Batch::new(writer as u64, records, record_bytes),
            path,
        }
    }
}

impl Writer for RawWriter<'_> {
    fn write(&mut self) -> Outcome<()> {
        self.batch.advance();
        match self.path {
            RawPath::Written(file) => file.write(&self.batch.bytes)?,
            RawPath::Synced(file) => {
                let length = self.batch.bytes.len();
                file.write_durably(&mut self.batch.bytes)?;
                self.batch.bytes.truncate(length);
            }
            RawPath::Queued(queue) => queue.write_durably(&self.batch.bytes)?,
        }
        Ok(())
    }
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

/// Checks that all that was acknowledged can be read: every writer's records up to its last, each once, in order where
/// one shard has them all, whole, and under the number that was given.
pub fn verify(stream: &Stream, writers: &[StoreWriter]) -> Outcome<()> {
    let mut seen = vec![Vec::new(); writers.len()];
    let mut last_numbers: Vec<Option<SequenceNumber>> = vec![None; writers.len()];
    let shards = stream.shards(&ShardFilter::FromTrimHorizon)?;
    let noise = noise(
        writers
            .first()
            .map_or(STAMP_BYTES, |writer| writer.batch.record_bytes),
    );
    for shard in &shards {
        let mut from = stream.shard_iterator(shard.id, StartingPosition::TrimHorizon)?;
        loop {
            let read = stream.get_records(&from, &VERIFY_LIMIT)?;
            for record in &read.records {
                let (writer, number) = stamp_of(&record.data);
                if writer == NOBODY {
                    continue;
                }
                let at = usize::try_from(writer)?;
                let known: &mut Vec<u64> = seen.get_mut(at).ok_or("a record of nobody's")?;
                if record.data.get(STAMP_BYTES..) != noise.get(STAMP_BYTES..) {
                    return Err(format!("writer {writer}'s record {number} is not what was put").into());
                }
                known.push(number);
                let acknowledged = &writers[at].last;
                if acknowledged.is_some_and(|put| put.sequence_number == record.sequence_number) {
                    last_numbers[at] =
                        (number + 1 == writers[at].batch.next).then_some(record.sequence_number);
                }
            }
            match read.next {
                Some(next) if !read.records.is_empty() => from = next,
                _ => break,
            }
        }
    }
    for (at, (writer, mut numbers)) in writers.iter().zip(seen).enumerate() {
        if shards.len() > 1 {
            numbers.sort_unstable();
        }
        let is_whole = numbers.iter().copied().eq(0..writer.batch.next);
        let is_last_there = writer.last.is_none() || last_numbers[at].is_some();
        if !is_whole || !is_last_there {
            return Err(format!(
                "LOST: writer {at} had {} records acknowledged and {} can be read",
                writer.batch.next,
                numbers.len()
            )
            .into());
        }
    }
    Ok(())
}

const VERIFY_LIMIT: ReadLimit = ReadLimit {
    records: 100_000,
    bytes: 16 << 20,
};

/// The one stream of a store that has just been opened again.
pub fn only_stream(store: &Store) -> Outcome<Stream> {
    let summary = store.streams(None, 1)?.pop().ok_or("the stream is gone")?;
    Ok(store.stream(&summary.name)?)
}

fn stamp_of(data: &[u8]) -> (u64, u64) {
    let field =
        |at: usize| u64::from_le_bytes(std::array::from_fn(|i| data.get(at + i).copied().unwrap_or(0)));
    (field(0), field(8))
}

/// Bytes that do not compress, so that no engine and no disk gains by trying.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}
