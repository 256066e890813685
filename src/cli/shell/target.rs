//! The operations that the commands need at a place with streams.

use std::collections::BTreeMap;
use std::time::Duration;

use anabranch::{
    HashKey, HashKeyRange, Retention, ShardFilter, ShardId, StartingPosition, StreamMode, StreamStatus,
    Timestamp,
};
use bytes::Bytes;

use super::super::Failure;

/// A place with streams: a directory, or an endpoint. A change is done when its call returns.
pub(super) trait Target {
    /// A position in one shard. Reading moves it.
    type Cursor;

    /// How long to wait before the next read if a stream had no new records.
    const BETWEEN_READS: Duration;

    /// Whether the records that one call puts into a shard keep their order, even if some of them are not taken.
    const KEEPS_ORDER: bool;

    /// All streams, in the order of their names.
    fn streams(&mut self) -> Result<Vec<StreamRow>, Failure>;

    /// One of them; `None` if it does not exist.
    fn look_up(&mut self, stream: &str) -> Result<Option<StreamRow>, Failure>;

    /// One of them, or the failure if it does not exist.
    fn stream(&mut self, stream: &str) -> Result<StreamRow, Failure> {
        let found = self.look_up(stream)?;
        found.ok_or_else(|| Failure::Refused(format!("stream {stream} not found")))
    }

    /// The shards that a filter selects, in the order of their ids.
    fn shards(&mut self, stream: &str, filter: ShardFilter) -> Result<Vec<ShardRow>, Failure>;

    /// The tags of a stream.
    fn tags(&mut self, stream: &str) -> Result<BTreeMap<String, String>, Failure>;

    /// Makes a stream.
    fn create(&mut self, stream: &str, new: &NewStream) -> Result<(), Failure>;

    /// Deletes a stream with all its records.
    fn delete(&mut self, stream: &str) -> Result<(), Failure>;

    /// Closes a shard and opens two.
    fn split(&mut self, stream: &str, shard: ShardId, at: HashKey) -> Result<(), Failure>;

    /// Closes two shards and opens one.
    fn merge(&mut self, stream: &str, first: ShardId, second: ShardId) -> Result<(), Failure>;

    /// Hides the records before a position. A sequence number is a position in its shard, a time a position in all
    /// shards.
    fn trim(&mut self, stream: &str, to: StartingPosition) -> Result<(), Failure>;

    /// Puts up to 500 records.
    fn put(&mut self, stream: &str, records: &[NewRecord]) -> Result<PutAnswer, Failure>;

    /// A position in a shard; `None` if the shard does not exist any more.
    fn cursor(
        &mut self,
        stream: &str,
        shard: ShardId,
        from: StartingPosition,
    ) -> Result<Option<Self::Cursor>, Failure>;

    /// The position after a record of a shard, by its sequence number; `None` if the shard does not exist any more.
    fn cursor_behind(
        &mut self,
        stream: &str,
        shard: ShardId,
        number: &str,
    ) -> Result<Option<Self::Cursor>, Failure>;

    /// How many records there are from a position on, if that is known.
    fn count_from(&mut self, cursor: &Self::Cursor) -> Result<Option<u64>, Failure>;

    /// Up to `limit` records from a position on, which moves past them. Does not wait for records.
    fn read(&mut self, cursor: &mut Self::Cursor, limit: usize) -> Result<Page, Failure>;

    /// Closes the place.
    fn close(self) -> Result<(), Failure>;
}

/// A stream, as the commands show it.
#[derive(Debug, Clone)]
pub(super) struct StreamRow {
    /// The name that the commands use.
    pub(super) name: String,
    /// As the API has it: `ACTIVE`.
    pub(super) status: String,
    /// As the API has it: `PROVISIONED`.
    pub(super) mode: String,
    pub(super) open_shards: u32,
    /// `None` means for ever.
    pub(super) retention: Option<Duration>,
    pub(super) max_record_bytes: usize,
    pub(super) created: Timestamp,
}

impl StreamRow {
    /// Whether it exists and no change of it is under way.
    pub(super) fn is_active(&self) -> bool {
        self.status == StreamStatus::Active.to_string()
    }

    /// Whether it has shards that can be read.
    pub(super) fn is_readable(&self) -> bool {
        let is = |status: StreamStatus| self.status == status.to_string();
        is(StreamStatus::Active) || is(StreamStatus::Updating)
    }
}

/// The settings of a stream to make.
#[derive(Debug, Clone, Default)]
pub(super) struct NewStream {
    pub(super) shards: u32,
    pub(super) mode: StreamMode,
    /// `None` is the default of the place.
    pub(super) retention: Option<Retention>,
    /// `None` is the default of the place.
    pub(super) max_record_bytes: Option<u32>,
    pub(super) tags: BTreeMap<String, String>,
}

impl NewStream {
    /// One with this many shards, and else with the defaults.
    pub(super) fn of_shards(shards: u32) -> NewStream {
        NewStream {
            shards,
            ..NewStream::default()
        }
    }
}

/// A shard, as the commands show it.
#[derive(Debug, Clone)]
pub(super) struct ShardRow {
    pub(super) id: ShardId,
    pub(super) range: HashKeyRange,
    pub(super) parents: Vec<ShardId>,
    pub(super) is_open: bool,
}

/// A record to put.
#[derive(Debug, Clone)]
pub(super) struct NewRecord {
    /// Its line in the input, from 1.
    pub(super) line: u64,
    pub(super) key: String,
    /// The explicit hash key, if the hash key of the partition key does not apply.
    pub(super) hash_key: Option<HashKey>,
    pub(super) data: Bytes,
}

impl NewRecord {
    /// The bytes that count for limits.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

/// The result for records that were put.
#[derive(Debug, Default)]
pub(super) struct PutAnswer {
    /// The places of the records that were not taken, in order. All others were taken.
    pub(super) untaken: Vec<usize>,
    /// Why the first of them was not taken. It may be taken if it is put again.
    pub(super) reason: String,
    /// Why some of them can never be taken.
    pub(super) failure: Option<Failure>,
    /// With a failure: records that count as not taken may be stored nevertheless.
    pub(super) is_doubtful: bool,
    /// The highest sequence number that each shard gave, for the shards that took something.
    pub(super) last: BTreeMap<ShardId, String>,
}

impl PutAnswer {
    /// Notes where a record is. Sequence numbers are compared as numbers; they have no leading zeros.
    pub(super) fn note_taken(&mut self, shard: ShardId, number: String) {
        let last = self.last.entry(shard).or_default();
        if (number.len(), number.as_str()) > (last.len(), last.as_str()) {
            *last = number;
        }
    }
}

/// A record that was read.
#[derive(Debug, Clone)]
pub(super) struct ReadRecord {
    pub(super) shard: ShardId,
    pub(super) sequence_number: String,
    pub(super) arrival: Timestamp,
    pub(super) key: String,
    pub(super) data: Bytes,
}

/// The result of a read.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) records: Vec<ReadRecord>,
    /// How old the last of them is, in milliseconds, if there are more records.
    pub(super) millis_behind: u64,
    /// There are no more records now.
    pub(super) is_at_head: bool,
    /// Whether there will be no more records: the shard is closed, or does not exist any more.
    pub(super) is_drained: bool,
}

impl Page {
    /// The result for a shard that does not exist any more.
    pub(super) fn of_gone_shard() -> Page {
        Page {
            records: Vec::new(),
            millis_behind: 0,
            is_at_head: true,
            is_drained: true,
        }
    }
}
