//! How far a reader of a whole stream has come.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RecordNumber, ShardId, StreamId};

/// How far a reader of a stream has come in each of its shards.
///
/// Only shards that are being read, or will be next, are listed. Their ancestors are drained; their descendants have
/// not been begun.
///
/// It is of one stream of one store, and of no other that has the same name: a stream that is made again begins at its first record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The store of the stream.
    #[serde(with = "crate::model::wide")]
    pub(crate) store: u128,
    pub(crate) stream: StreamId,
    /// The number of the next record to read, by shard.
    pub(crate) next: BTreeMap<ShardId, RecordNumber>,
}

impl Checkpoint {
    /// The stream that was read.
    pub fn stream_id(&self) -> StreamId {
        self.stream
    }

    /// The number of the next record to read in each shard that is being read, by shard id.
    pub fn positions(&self) -> impl ExactSizeIterator<Item = (ShardId, RecordNumber)> {
        self.next.iter().map(|(shard, next)| (*shard, *next))
    }
}
