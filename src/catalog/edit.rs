//! Everything that can happen to a catalog.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::CatalogState;
use crate::log::{LogEnd, SegmentEntry};
use crate::model::{
    Checkpoint, HashKey, Lineage, RecordNumber, Reshard, ShardId, StreamId, StreamMode, Timestamp,
};

/// One change. Variants are only ever added at the end, and a variant's fields never change: a new shape is a new
/// variant. The bytes are pinned by golden tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Edit {
    /// The whole state: the first edit of every manifest.
    Snapshot(Box<CatalogState>),
    /// A stream has a name; its shards come with its activation.
    StreamCreated {
        stream: StreamId,
        name: String,
        created: Timestamp,
        due: Timestamp,
        shard_count: u32,
        mode: StreamMode,
        max_record_bytes: u32,
        tags: BTreeMap<String, String>,
    },
    StreamActivated {
        stream: StreamId,
        lineage: Lineage,
    },
    /// A split or a merge will happen when it is due.
    ReshardBegun {
        stream: StreamId,
        due: Timestamp,
        reshard: PlannedReshard,
    },
    /// A split or a merge has happened: the parents' logs end here, and the children take records from now on.
    Resharded {
        stream: StreamId,
        reshard: Reshard,
        ends: Vec<(ShardId, LogEnd)>,
    },
    /// Records that arrived before the floor stay hidden, however long the retention becomes.
    RetentionChanged {
        stream: StreamId,
        hours: u32,
        horizon_floor: Timestamp,
    },
    DeletionBegun {
        stream: StreamId,
        due: Timestamp,
    },
    StreamDeleted {
        stream: StreamId,
    },
    SegmentAdded {
        stream: StreamId,
        shard: ShardId,
        segment: SegmentEntry,
    },
    /// A log that rested is written to again, so its end is no longer known here.
    LogResumed {
        stream: StreamId,
        shard: ShardId,
    },
    /// Nothing was written behind these ends, and nothing will be before the log is resumed.
    LogsRested {
        ends: Vec<(StreamId, ShardId, LogEnd)>,
    },
    /// The segments before this one's first record are no longer part of the log.
    LogTrimmed {
        stream: StreamId,
        shard: ShardId,
        first_record: RecordNumber,
    },
    ShardExpired {
        stream: StreamId,
        shard: ShardId,
    },
    CheckpointSaved {
        stream: StreamId,
        name: String,
        checkpoint: Checkpoint,
    },
    CheckpointRemoved {
        stream: StreamId,
        name: String,
    },
}

/// A reshard that was asked for and is not due yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PlannedReshard {
    Split {
        shard: ShardId,
        new_starting_hash_key: HashKey,
    },
    Merge {
        first: ShardId,
        second: ShardId,
    },
}
