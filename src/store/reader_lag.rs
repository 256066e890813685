//! How far a reader of several shards is behind, as one value.

use std::time::Duration;

use super::stream::Stream;
use crate::error::Result;
use crate::model::{RecordNumber, ShardId};

/// How far a reader is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReaderLag {
    /// The shards that it has come to, or that follow them, and has not read to their ends.
    pub(crate) shards: usize,
    /// Those of them that were left out of the measurement.
    pub(crate) shards_left_out: usize,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// How long ago the oldest record arrived that it has not read.
    pub(crate) time: Duration,
}

impl Stream {
    /// How far a reader at these positions is behind. Looks at no more than `most_shards` shards.
    pub(crate) fn reader_lag(
        &self,
        positions: &[(ShardId, RecordNumber)],
        most_shards: usize,
    ) -> Result<ReaderLag> {
        let mut lag = ReaderLag {
            shards: positions.len(),
            shards_left_out: positions.len().saturating_sub(most_shards),
            ..ReaderLag::default()
        };
        for of_shard in self.lag_from(positions.iter().copied().take(most_shards))? {
            lag.records += of_shard.records;
            lag.bytes += of_shard.bytes;
            lag.time = lag.time.max(of_shard.time.unwrap_or_default());
        }
        Ok(lag)
    }

    /// The same for a stored checkpoint, which consumer groups have too. Zero if there is none of this name.
    pub(crate) fn checkpoint_lag(&self, name: &str, most_shards: usize) -> Result<ReaderLag> {
        let unread = match self.checkpoint(name)? {
            Some(checkpoint) => self.unread_shards(&checkpoint)?,
            None => Vec::new(),
        };
        self.reader_lag(&unread, most_shards)
    }
}
