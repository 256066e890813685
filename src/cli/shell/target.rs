//! The operations that the commands need at a place with streams.

use std::time::Duration;

use anabranch::{HashKey, HashKeyRange, ShardFilter, ShardId, StartingPosition, StreamStatus, Timestamp};
use bytes::Bytes;

use super::super::Failure;

/// A place with streams: a directory, or an endpoint. A change is done when its call returns.
pub(super) trait Target {
    /// A position in one shard. Reading moves it.
    type Cursor;

    /// How long to wait before reading again if a stream had nothing new.
    const BETWEEN_READS: Duration;

    /// All streams, in the order of their names.
    fn streams(&mut self) -> Result<Vec<StreamRow>, Failure>;

    /// The stream of this name.
    fn stream(&mut self, stream: &str) -> Result<StreamRow, Failure>;

    /// The shards that a filter selects, in the order of their ids.
    fn shards(&mut self, stream: &str, filter: ShardFilter) -> Result<Vec<ShardRow>, Failure>;

    /// Makes a stream.
    fn create(&mut self, stream: &str, shards: u32) -> Result<(), Failure>;

    /// Deletes a stream with all its records.
    fn delete(&mut self, stream: &str) -> Result<(), Failure>;

    /// Closes a shard and opens two.
    fn split(&mut self, stream: &str, shard: ShardId, at: HashKey) -> Result<(), Failure>;

    /// Closes two shards and opens one.
    fn merge(&mut self, stream: &str, first: ShardId, second: ShardId) -> Result<(), Failure>;

    /// Hides the records in front of a position. A sequence number is a position in its shard, a time a position in all
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

    /// Up to `limit` records from a position on. Moves the position behind them. Does not wait for records.
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
}

impl StreamRow {
    /// Whether it has shards that can be read.
    pub(super) fn is_readable(&self) -> bool {
        let is = |status: StreamStatus| self.status == status.to_string();
        is(StreamStatus::Active) || is(StreamStatus::Updating)
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
    pub(super) data: Vec<u8>,
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
    /// With a failure: records that seem not to be taken may be stored nevertheless.
    pub(super) is_doubtful: bool,
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
    /// Whether there are no more records now.
    pub(super) is_at_head: bool,
    /// Whether there will be no more records: the shard is closed, or does not exist any more.
    pub(super) is_drained: bool,
}

impl Page {
    /// The result for a shard that does not exist any more.
    pub(super) fn of_gone_shard() -> Page {
        Page {
            records: Vec::new(),
            is_at_head: true,
            is_drained: true,
        }
    }
}
