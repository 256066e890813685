//! The bytes of logs: frames in segments, the sparse index, group commit, reading and recovery.
//!
//! Its folders import only those before them: [`format`], [`segments`], [`commit`], [`read`], [`recover`], [`follow`].
//!
//! This floor knows positions and record numbers. It knows no streams, no lineage and no Kinesis. A log has a
//! [`LogIdentity`], so that bytes of another log can never pass for its own, and it reports new segments to a
//! [`SegmentLedger`] without knowing the implementation.
//!
//! # How a record becomes durable
//! Callers copy their records into the shard's pending group under one short lock ([`LocalLog::append`]). The first
//! caller that waits while no commit is in flight leads: it takes the whole group, writes it as one frame with one
//! `pwrite`, syncs, publishes the new end to readers and wakes all in the group ([`commit`]). Groups form while a sync
//! is in flight; there is no timer.
//!
//! # Invariants
//! - A record is visible to readers only below [`LocalLog::readable_end`], which moves after the commit that covers it.
//! - A segment is named by the ledger before a frame is written to it, and every earlier segment is synced before
//!   that, so only the last segment can hold bytes that a crash could take back.
//! - A log that was not closed cleanly is never appended to in place: the next group opens a new segment, whose salt
//!   makes every byte behind the old end meaningless.
//! - A value that has a segment's file, its mapping or bytes of the mapping holds the segment. The file of a held
//!   segment is neither recycled, cut nor removed ([`segments::hold`]).

mod commit;
mod follow;
mod format;
mod read;
mod recover;
mod segments;

pub use commit::durability::Durability;

pub(crate) use commit::announce::announce_all;
pub(crate) use commit::cut::LogCut;
pub(crate) use commit::flushers::Flushers;
pub(crate) use commit::journal::CommitJournal;
pub(crate) use commit::journal_doubts::JournalDoubts;
pub(crate) use commit::local_log::{LocalLog, LogContext};
pub(crate) use commit::resources::{LogOptions, LogResources};
pub(crate) use commit::rest::Resting;
pub(crate) use commit::spare_buffers::SpareBuffers;
pub(crate) use follow::followed_log::FollowedLog;
pub(crate) use follow::journal::FollowedJournal;
pub(crate) use format::identity::LogIdentity;
pub(crate) use format::index::SparseIndex;
pub(crate) use format::log_end::{LogEnd, LogPosition};
pub(crate) use format::segment_header::{
    HeaderDefect, INTERRUPTION_GAP, PAGE_BYTES, SegmentEntry, SegmentKey, number_of_segment,
};
pub(crate) use recover::frames_in_journal::{FramesInJournal, JournaledPieces, JournaledSegment};
pub(crate) use recover::journaled_frames::JournaledFrames;
pub(crate) use recover::mend::Mend;
pub(crate) use recover::open::LogStart;
pub(crate) use recover::put_back::PutBack;
pub(crate) use recover::survey::{
    DamagedStretch, SegmentSurvey, SurveyedFrame, holds_frame, is_continued, survey_segment,
};
pub(crate) use recover::unnamed::{UnnamedFile, examine_unnamed};
pub(crate) use segments::directories::make_directory as make_log_directory;
pub(crate) use segments::ledger::{LogChange, SegmentLedger};
pub(crate) use segments::open_segments::OpenSegments;
pub(crate) use segments::pieces::pieces_of;
pub(crate) use segments::pool::{SegmentPool, remove_if_there};
pub(crate) use segments::segment::Segment;
pub(crate) use segments::segment_keys::SegmentKeys;
