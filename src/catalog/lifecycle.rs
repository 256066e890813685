//! What a stream or a consumer is doing.

use serde::{Deserialize, Serialize};

use crate::model::{ConsumerStatus, HashKey, ShardId, StreamStatus, Timestamp};

/// What a stream is doing, and when it will be done. Variants are only added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Lifecycle {
    Creating { due: Due, shard_count: u32 },
    Active,
    Updating { due: Due, change: Change },
    Deleting { due: Due },
}

/// A change of a stream that was asked for and is not due yet. Variants are only added at the end: what takes many steps,
/// such as another number of shards, is one change that holds those that are left, and after each step the edit of that
/// step comes in one list with the lifecycle that holds the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Change {
    Split {
        shard: ShardId,
        new_starting_hash_key: HashKey,
    },
    Merge {
        first: ShardId,
        second: ShardId,
    },
}

/// What a registered consumer is doing, and when it will be done. Variants are only added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ConsumerLifecycle {
    Creating { due: Due },
    Active,
    Deleting { due: Due },
}

/// When a change that takes time is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Due {
    /// By the wall clock, as it was when the change was asked for.
    pub(crate) at: Timestamp,
    /// How long the change takes. A later opener waits no longer than that, whatever has become of the clock.
    pub(crate) delay_millis: u64,
}

impl Lifecycle {
    /// The state in Kinesis' words.
    pub(crate) fn status(&self) -> StreamStatus {
        match self {
            Self::Creating { .. } => StreamStatus::Creating,
            Self::Active => StreamStatus::Active,
            Self::Updating { .. } => StreamStatus::Updating,
            Self::Deleting { .. } => StreamStatus::Deleting,
        }
    }

    pub(crate) fn due(&self) -> Option<Due> {
        match self {
            Self::Creating { due, .. } | Self::Updating { due, .. } | Self::Deleting { due } => Some(*due),
            Self::Active => None,
        }
    }
}

impl ConsumerLifecycle {
    /// The state in Kinesis' words.
    pub(crate) fn status(self) -> ConsumerStatus {
        match self {
            Self::Creating { .. } => ConsumerStatus::Creating,
            Self::Active => ConsumerStatus::Active,
            Self::Deleting { .. } => ConsumerStatus::Deleting,
        }
    }

    pub(crate) fn due(self) -> Option<Due> {
        match self {
            Self::Creating { due } | Self::Deleting { due } => Some(due),
            Self::Active => None,
        }
    }
}
