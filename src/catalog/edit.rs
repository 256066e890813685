//! Everything that can happen to a catalog.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::{AgeMark, CatalogState, Due};
use crate::log::{LogEnd, SegmentEntry};
use crate::model::{
    Checkpoint, ClockNote, HashKey, Lineage, RecordNumber, Reshard, ShardId, StreamId, StreamMode, Timestamp,
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
        due: Due,
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
        due: Due,
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
        due: Due,
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
    /// What the clocks showed.
    ClockNoted(ClockNote),
    /// A split or a merge that had begun cannot happen: the stream is active as it was.
    ReshardGivenUp {
        stream: StreamId,
    },
    /// So old the records of these logs are at least, whose arrival times are ahead of the clock.
    AgesMarked {
        marks: Vec<(StreamId, ShardId, AgeMark)>,
    },
    /// The records before these numbers are not to be seen any more, whatever their arrival times say.
    RecordsHidden {
        before: Vec<(StreamId, ShardId, RecordNumber)>,
    },
    /// From now on the commit journal may have frames of this log that its segments lack, until it rests.
    LogJournaled {
        stream: StreamId,
        shard: ShardId,
    },
}

impl Edit {
    /// The variant's name.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Snapshot(_) => "Snapshot",
            Self::StreamCreated { .. } => "StreamCreated",
            Self::StreamActivated { .. } => "StreamActivated",
            Self::ReshardBegun { .. } => "ReshardBegun",
            Self::Resharded { .. } => "Resharded",
            Self::RetentionChanged { .. } => "RetentionChanged",
            Self::DeletionBegun { .. } => "DeletionBegun",
            Self::StreamDeleted { .. } => "StreamDeleted",
            Self::SegmentAdded { .. } => "SegmentAdded",
            Self::LogResumed { .. } => "LogResumed",
            Self::LogsRested { .. } => "LogsRested",
            Self::LogTrimmed { .. } => "LogTrimmed",
            Self::ShardExpired { .. } => "ShardExpired",
            Self::CheckpointSaved { .. } => "CheckpointSaved",
            Self::CheckpointRemoved { .. } => "CheckpointRemoved",
            Self::ClockNoted(_) => "ClockNoted",
            Self::ReshardGivenUp { .. } => "ReshardGivenUp",
            Self::AgesMarked { .. } => "AgesMarked",
            Self::RecordsHidden { .. } => "RecordsHidden",
            Self::LogJournaled { .. } => "LogJournaled",
        }
    }

    /// The streams that it is about, but for a snapshot, which is about all.
    pub(crate) fn streams(&self) -> Option<Vec<StreamId>> {
        match self {
            Self::Snapshot(_) => None,
            Self::ClockNoted(_) => Some(Vec::new()),
            Self::AgesMarked { marks } => Some(marks.iter().map(|(stream, _, _)| *stream).collect()),
            Self::RecordsHidden { before } => Some(before.iter().map(|(stream, _, _)| *stream).collect()),
            Self::LogsRested { ends } => Some(ends.iter().map(|(stream, _, _)| *stream).collect()),
            Self::StreamCreated { stream, .. }
            | Self::StreamActivated { stream, .. }
            | Self::ReshardBegun { stream, .. }
            | Self::Resharded { stream, .. }
            | Self::RetentionChanged { stream, .. }
            | Self::DeletionBegun { stream, .. }
            | Self::StreamDeleted { stream }
            | Self::SegmentAdded { stream, .. }
            | Self::LogResumed { stream, .. }
            | Self::LogTrimmed { stream, .. }
            | Self::ShardExpired { stream, .. }
            | Self::CheckpointSaved { stream, .. }
            | Self::CheckpointRemoved { stream, .. }
            | Self::ReshardGivenUp { stream }
            | Self::LogJournaled { stream, .. } => Some(vec![*stream]),
        }
    }

    /// The same, for showing to people: the store's secret is zeros.
    pub(crate) fn without_secrets(&self) -> Self {
        let mut edit = self.clone();
        if let Self::Snapshot(state) = &mut edit {
            state.token_key = [0; 32];
        }
        edit
    }
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
