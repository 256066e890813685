//! What is known of a stream's oldest records.

use std::collections::BTreeMap;

use crate::model::{RecordNumber, ShardId, Timestamp};

/// The oldest record that could be seen of each shard, when that was last looked for.
#[derive(Debug, Default)]
pub(super) struct OldestRecords {
    /// A shard that had none has none here. Of one that is not here nothing is known.
    pub(super) by_shard: BTreeMap<ShardId, Option<(RecordNumber, Timestamp)>>,
    /// The arrival of the oldest of all, when all were known.
    pub(super) of_all: Option<Timestamp>,
}
