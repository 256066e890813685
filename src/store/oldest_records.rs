//! The known oldest records of a stream.

use std::collections::BTreeMap;

use crate::model::{RecordNumber, ShardId, Timestamp};

/// The oldest visible record of each shard at the last look.
#[derive(Debug, Default)]
pub(super) struct OldestRecords {
    /// `None` for a shard that had none. Nothing is known of a shard that is not listed.
    pub(super) by_shard: BTreeMap<ShardId, Option<(RecordNumber, Timestamp)>>,
    /// The arrival of the oldest of all, at the last time when all shards were known.
    pub(super) of_all: Option<Timestamp>,
}
