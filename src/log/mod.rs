//! One shard's bytes: frames in segments, the sparse index, group commit, recovery and reading.
//!
//! This floor knows positions and record numbers. It knows no streams, no lineage and no Kinesis: a log is told its
//! [`LogIdentity`] so that bytes of another log can never pass for its own, and it reports new segments to a
//! [`SegmentLedger`] without knowing who keeps it.
//!
//! # How a record becomes durable
//! Callers copy their records into the shard's pending group under one short lock ([`ShardLog::append`]). Whoever
//! waits first while no commit is in flight leads: it takes the whole group, writes it as one frame with one
//! `pwrite`, syncs, publishes the new end to readers and wakes everyone in the group ([`commit`]). Groups form by
//! themselves while a sync is in flight; there is no timer.
//!
//! # Invariants
//! - A record is visible to readers only below [`ShardLog::end`], which moves after the commit that covers it.
//! - A segment is named by the ledger before a frame is written to it, and every earlier segment is synced before
//!   that, so only the last segment can hold bytes that a crash could take back.
//! - A log that was not closed cleanly is never appended to in place: the next group opens a new segment, whose salt
//!   makes every byte behind the old end meaningless.
//! - Whatever has a segment's file, its mapping or bytes of that holds the segment, and a held segment's file is
//!   neither recycled, cut nor removed ([`hold`]).

mod announce;
mod changes;
mod commit;
mod context;
#[cfg(test)]
mod explored;
mod flusher;
mod frame;
mod frame_cursor;
mod frame_search;
mod hold;
mod index;
mod journal;
mod left_off;
mod mend;
mod open_segments;
mod place;
mod pool;
mod read_buffers;
mod reader;
mod record_codec;
mod recovery;
mod round;
mod segment;
mod shard_log;
mod spare_buffers;
mod survey;
mod turn;
mod write_back;
mod writer;

pub use commit::Durability;
pub use reader::ReadLimit;

pub(crate) use announce::announce_all;
pub(crate) use changes::Signal;
pub(crate) use commit::Ticket;
pub(crate) use context::{LogContext, LogOptions};
pub(crate) use flusher::Flushers;
pub(crate) use index::SparseIndex;
pub(crate) use journal::{CommitJournal, JournalDoubts, JournaledFrames};
pub(crate) use mend::Mend;
pub(crate) use open_segments::OpenSegments;
pub(crate) use place::make_directory as make_log_directory;
pub(crate) use pool::{SegmentPool, remove_if_there};
pub(crate) use reader::{LogRead, ReadRecord};
pub(crate) use record_codec::{check_batch_bytes, encoded_bytes};
pub(crate) use round::wait_for_all;
pub(crate) use segment::{HeaderDefect, PAGE_BYTES, Segment, SegmentEntry};
pub(crate) use shard_log::{Appended, LogStart, Reservation, Resting, ShardLog};
pub(crate) use spare_buffers::SpareBuffers;
pub(crate) use survey::{DamagedStretch, SegmentSurvey, SurveyedFrame, is_continued, survey_segment};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{LogName, RecordNumber, ShardId, StreamId, Timestamp};

/// Whose bytes these are. Part of every checksum, so that bytes of another store, stream or shard never validate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogIdentity {
    pub(crate) store: u128,
    pub(crate) name: LogName,
}

impl LogIdentity {
    pub(crate) fn of_shard(store: u128, stream: StreamId, shard: ShardId) -> Self {
        let name = LogName::Shard(stream, shard);
        Self { store, name }
    }

    /// The log whose records are other logs' frames.
    pub(crate) fn commit_journal(store: u128) -> Self {
        let name = LogName::CommitJournal;
        Self { store, name }
    }

    pub(crate) fn is_commit_journal(&self) -> bool {
        self.name == LogName::CommitJournal
    }

    /// The name as header pages and checksums have it: the kind of log, and two numbers that mean what the kind says.
    fn name_in_numbers(&self) -> (u16, u64, u32) {
        match self.name {
            LogName::Shard(stream, shard) => (SHARD, stream.value(), shard.index()),
            LogName::CommitJournal => (JOURNAL, 0, 0),
        }
    }

    fn of_numbers(store: u128, kind: u16, first: u64, second: u32) -> Option<Self> {
        let name = match (kind, first, second) {
            (SHARD, stream, shard) => LogName::Shard(StreamId::new(stream), ShardId::new(shard).ok()?),
            (JOURNAL, 0, 0) => LogName::CommitJournal,
            _ => return None,
        };
        Some(Self { store, name })
    }
}

/// The kinds of logs as they are stored. Another kind gets the next number.
const SHARD: u16 = 1;
const JOURNAL: u16 = 2;

/// A count of frame bytes since the log began: dense over all segments, and a multiple of eight between frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LogPosition(pub(crate) u64);

/// Where a log ends, and all that is needed to go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEnd {
    /// The position behind the last frame.
    pub(crate) position: LogPosition,
    /// The number that the next record may have; greater than that of every record so far.
    pub(crate) next_record: RecordNumber,
    /// When the last record arrived; no later record has an earlier time.
    pub(crate) last_arrival: Timestamp,
    /// The header checksum of the last frame, which the next frame repeats.
    pub(crate) chain: u32,
    /// Whether the log was interrupted here. What lies behind the end may be part of a frame then, so the next one goes
    /// into a new segment.
    pub(crate) is_interrupted: bool,
}

impl LogEnd {
    /// The end of a log that has no record yet.
    pub(crate) const EMPTY: Self = Self {
        position: LogPosition(0),
        next_record: RecordNumber::FIRST,
        last_arrival: Timestamp::from_millis(0),
        chain: 0,
        is_interrupted: false,
    };
}

/// Keeps the durable list of every log's segments.
pub(crate) trait SegmentLedger: Send + Sync {
    /// Takes note of what several logs are about to do, all at once. Durable on return; until then no frame is written.
    /// Gives what became of each change, in their order: a log that is gone does not keep the others from going on.
    fn record(&self, changes: &[(LogIdentity, LogChange)]) -> Vec<Result<()>>;
}

/// What a log is about to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogChange {
    /// To write to a segment that has been added behind the others.
    SegmentAdded(SegmentEntry),
    /// To write behind the known end at which it rested.
    Resumed,
    /// To have frames in the commit journal that its segments may lack.
    Journaled,
}
