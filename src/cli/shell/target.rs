//! What the commands need of a place with streams.

use std::time::Duration;

use anabranch::{HashKey, HashKeyRange, ShardFilter, ShardId, StartingPosition, StreamStatus, Timestamp};
use bytes::Bytes;

use super::super::Failure;

/// A place with streams: a directory, or an endpoint. A change is done when its call returns.
pub(super) trait Target {
    /// A position in one shard, which reading moves on.
    type Cursor;

    /// How long a stream that has nothing new is left alone.
    const BETWEEN_READS: Duration;

    /// All streams, in the order of their names.
    fn streams(&mut self) -> Result<Vec<StreamRow>, Failure>;

    /// One of them.
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

    /// Hides the records in front of a position. A sequence number is a position in its shard, a time is one in all.
    fn trim(&mut self, stream: &str, to: StartingPosition) -> Result<(), Failure>;

    /// Puts up to 500 records.
    fn put(&mut self, stream: &str, records: &[NewRecord]) -> Result<PutAnswer, Failure>;

    /// A position in a shard; `None` if the shard is not there any more.
    fn cursor(
        &mut self,
        stream: &str,
        shard: ShardId,
        from: StartingPosition,
    ) -> Result<Option<Self::Cursor>, Failure>;

    /// Up to `limit` records from a position on, which is moved behind them. Does not wait for records.
    fn read(&mut self, cursor: &mut Self::Cursor, limit: usize) -> Result<Page, Failure>;

    /// Lets the place go.
    fn close(self) -> Result<(), Failure>;
}

/// What is told of a stream.
#[derive(Debug, Clone)]
pub(super) struct StreamRow {
    /// What the commands know it by.
    pub(super) name: String,
    /// As the API has it: `ACTIVE`.
    pub(super) status: String,
    /// As the API has it: `PROVISIONED`.
    pub(super) mode: String,
    pub(super) open_shards: u32,
    /// `None` is forever.
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

/// What is told of a shard.
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
    /// What counts for limits.
    pub(super) fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

/// What became of records that were put.
#[derive(Debug, Default)]
pub(super) struct PutAnswer {
    /// The places of those that were not taken, in order. All others were.
    pub(super) untaken: Vec<usize>,
    /// Why the first of them was not, and may be if it is put again.
    pub(super) reason: String,
    /// What keeps some of them from being taken for good.
    pub(super) failure: Option<Failure>,
    /// Where there is a failure: those that seem not to be taken may be there nevertheless.
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

/// What a read gave.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) records: Vec<ReadRecord>,
    /// Nothing more is there now.
    pub(super) is_at_head: bool,
    /// Nothing more will come: the shard is closed, or not there any more.
    pub(super) is_drained: bool,
}

impl Page {
    /// Of a shard that is not there any more.
    pub(super) fn of_gone_shard() -> Page {
        Page {
            records: Vec::new(),
            is_at_head: true,
            is_drained: true,
        }
    }
}
