//! Log messages about edits.

use super::edit::Edit;
use super::state::CatalogState;
use crate::model::{LogName, RecordNumber, ShardId, StreamId};
use crate::trace::{self, Happening};

/// The messages about some edits, which are sent once these are durable.
#[derive(Debug, Default)]
pub(super) struct Told(Vec<Fact>);

#[derive(Debug, PartialEq, Eq)]
enum Fact {
    SegmentBegun(LogName, RecordNumber),
    SegmentsFreed(LogName, RecordNumber),
    Trimmed(LogName, RecordNumber),
    StreamCreated(String),
    StreamDeleted(String),
    Resharded {
        stream: String,
        parents: Vec<ShardId>,
        children: Vec<ShardId>,
    },
    ShardExpired(String, ShardId),
}

impl Told {
    /// The messages about edits that are about to change this state, which still has the names of streams that will be
    /// removed.
    pub(super) fn of(edits: &[Edit], state: &CatalogState) -> Self {
        if !trace::IS_ON {
            return Self::default();
        }
        Self(edits.iter().flat_map(|edit| facts(edit, state)).collect())
    }

    pub(super) fn tell(&self) {
        for fact in &self.0 {
            trace::tell(&fact.happening());
        }
    }
}

fn facts(edit: &Edit, state: &CatalogState) -> Vec<Fact> {
    let name = |stream: StreamId| match state.stream(stream) {
        Some(known) => known.name.to_string(),
        None => format!("number {stream}"),
    };
    match edit {
        Edit::SegmentAdded { log, segment } => vec![Fact::SegmentBegun(*log, segment.first_record)],
        Edit::LogTrimmed { log, first_record } => vec![Fact::SegmentsFreed(*log, *first_record)],
        Edit::RecordsHidden { before } => {
            let of_shards = before.iter().filter(|(log, _)| log.shard().is_some());
            of_shards
                .map(|(log, first)| Fact::Trimmed(*log, *first))
                .collect()
        }
        Edit::StreamCreated { name, .. } => vec![Fact::StreamCreated(name.to_string())],
        Edit::StreamDeleted { stream } => vec![Fact::StreamDeleted(name(*stream))],
        Edit::Resharded { stream, reshard, .. } => vec![Fact::Resharded {
            stream: name(*stream),
            parents: reshard.parents.clone(),
            children: reshard.children.iter().map(|child| child.id).collect(),
        }],
        Edit::ShardExpired { stream, shard } => vec![Fact::ShardExpired(name(*stream), *shard)],
        _ => Vec::new(),
    }
}

impl Fact {
    fn happening(&self) -> Happening<'_> {
        match self {
            Self::SegmentBegun(log, first_record) => Happening::SegmentBegun {
                log: *log,
                first_record: *first_record,
            },
            Self::SegmentsFreed(log, first_kept) => Happening::SegmentsFreed {
                log: *log,
                first_kept: *first_kept,
            },
            Self::Trimmed(log, first_kept) => Happening::Trimmed {
                log: *log,
                first_kept: *first_kept,
            },
            Self::StreamCreated(stream) => Happening::StreamCreated { stream },
            Self::StreamDeleted(stream) => Happening::StreamDeleted { stream },
            Self::Resharded {
                stream,
                parents,
                children,
            } => Happening::Resharded {
                stream,
                parents,
                children,
            },
            Self::ShardExpired(stream, shard) => Happening::ShardExpired {
                stream,
                shard: *shard,
            },
        }
    }
}
