//! What a log is called in its store.

use serde::{Deserialize, Serialize};

use super::{ShardId, StreamId};

/// The name of a log, unique in its store for ever. Variants are only added at the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum LogName {
    /// The records of a shard.
    Shard(StreamId, ShardId),
    /// Frames of other logs, which are durable here before they are in their segments.
    CommitJournal,
}

impl LogName {
    /// The stream that the log belongs to, if it belongs to one.
    pub fn stream(self) -> Option<StreamId> {
        match self {
            Self::Shard(stream, _) => Some(stream),
            Self::CommitJournal => None,
        }
    }

    /// The shard whose records the log has, if it is a shard's.
    pub fn shard(self) -> Option<ShardId> {
        match self {
            Self::Shard(_, shard) => Some(shard),
            Self::CommitJournal => None,
        }
    }
}
