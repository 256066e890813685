//! The lifecycles of streams, consumers, queues and channels.

use serde::{Deserialize, Serialize};

use super::setting::Setting;
use crate::model::{
    ConsumerStatus, HashKey, Lineage, ReaderStatus, ReshardStep, ShardId, StreamStatus, Timestamp,
};

/// The lifecycle of a stream. Variants are only added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Lifecycle {
    Creating { due: Due, shard_count: u32 },
    Active,
    Updating { due: Due, change: Change },
    Deleting { due: Due },
}

/// A change of a stream that was asked for and is not done yet. Variants are only added at the end. The edits of the
/// change are in one list with the lifecycle that ends it, except for [`Steps`], each of which has its own edits.
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
    Shards(Steps),
    /// The settings become these.
    Settings(Vec<Setting>),
}

/// A change of shards that takes many splits and merges. The remaining ones follow from the shards, so a change that
/// was interrupted goes on where it stopped. Variants are only added at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Steps {
    /// Another number of open shards. `first_new` is the first shard that was made after the change began.
    Count { target: u32, first_new: ShardId },
    /// These shards are split into halves.
    Halve(Vec<ShardId>),
}

/// The lifecycle of a registered consumer. Variants are only added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ConsumerLifecycle {
    Creating { due: Due },
    Active,
    Deleting { due: Due },
}

/// The lifecycle of a queue or a channel. Variants are only added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReaderLifecycle {
    Creating {
        due: Due,
    },
    Active,
    /// Its settings were changed, and are in force.
    Updating {
        due: Due,
    },
    Deleting {
        due: Due,
    },
}

/// When a change that takes time is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Due {
    /// By the wall clock at the time of the request.
    pub(crate) at: Timestamp,
    /// How long the change takes. A later opener waits no longer than that, whatever its clock shows.
    pub(crate) delay_millis: u64,
}

impl Steps {
    /// The next split or merge, `None` when the change is done.
    pub(crate) fn next(&self, lineage: &Lineage) -> Option<ReshardStep> {
        match self {
            Self::Count { target, first_new } => lineage.next_step(*target, *first_new),
            Self::Halve(shards) => shards.iter().find_map(|shard| lineage.halving(*shard)),
        }
    }
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

impl ReaderLifecycle {
    /// The state in Kinesis' words.
    pub(crate) fn status(self) -> ReaderStatus {
        match self {
            Self::Creating { .. } => ReaderStatus::Creating,
            Self::Active => ReaderStatus::Active,
            Self::Updating { .. } => ReaderStatus::Updating,
            Self::Deleting { .. } => ReaderStatus::Deleting,
        }
    }

    pub(crate) fn due(self) -> Option<Due> {
        match self {
            Self::Creating { due } | Self::Updating { due } | Self::Deleting { due } => Some(due),
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
