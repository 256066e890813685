//! Opening logs.

use std::path::PathBuf;
use std::sync::Arc;

use super::recovery::{self, RecoveredTail};
use crate::disk::{Step, is_left_out};
use crate::error::Result;
use crate::log::commit::journal::CommitJournal;
use crate::log::commit::local_log::{LocalLog, LogContext, StartingPoint};
use crate::log::commit::writer::Placement;
use crate::log::format::identity::LogIdentity;
use crate::log::format::log_end::LogEnd;
use crate::log::format::segment_header::{INTERRUPTION_GAP, SegmentEntry};
use crate::log::segments::log_files::LogFiles;
use crate::log::segments::segment::Segment;
use crate::model::RecordNumber;
use crate::seam::ShardCounters;

/// How a log was left by its last writer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogStart {
    /// At a known end, with nothing written since.
    Rested(LogEnd),
    /// Sealed for ever, at a known end.
    Sealed(LogEnd),
    /// Perhaps in the middle of a write; the last segment shows where it ends.
    Interrupted,
}

impl LocalLog {
    /// Opens a log. Reads only the last segment, and only if the log was interrupted.
    ///
    /// No new record gets a number before `numbers_from`. `counters`, if given, count what is committed.
    pub(crate) fn open(
        identity: LogIdentity,
        directory: PathBuf,
        entries: &[SegmentEntry],
        start: LogStart,
        numbers_from: Option<RecordNumber>,
        context: Arc<LogContext>,
        counters: Option<ShardCounters>,
    ) -> Result<Arc<Self>> {
        let files = LogFiles::new(identity, directory, entries);
        let last = files.last();
        let in_last = |place: fn(Arc<Segment>) -> Placement| last.clone().map_or(Placement::New, place);
        let (mut end, damage) = match (start, &last) {
            (LogStart::Rested(end) | LogStart::Sealed(end), _) => (end, None),
            (LogStart::Interrupted, None) => (LogEnd::EMPTY, None),
            (LogStart::Interrupted, Some(last)) => {
                let RecoveredTail { mut end, damage } = recovery::recover_tail(last, &context)?;
                end.is_interrupted = true;
                (end, damage)
            }
        };
        // Numbers are left out only between segments.
        let numbers_from = numbers_from.filter(|from| *from > end.next_record);
        end.is_interrupted |= numbers_from.is_some();
        let placement = match start {
            LogStart::Sealed(_) => Placement::New,
            _ if !end.is_interrupted => in_last(Placement::Resume),
            _ if is_left_out(Step::NewSegmentAfterInterruption) => in_last(Placement::InPlace),
            _ => Placement::New,
        };
        let leaves_numbers_out = end.is_interrupted
            && !is_left_out(Step::NumberGap)
            && !is_left_out(Step::NewSegmentAfterInterruption);
        // A segment may have been begun behind the end and have stayed empty.
        let begun = last
            .as_ref()
            .map_or(RecordNumber::FIRST, |last| last.entry.first_record);
        let is_last_empty = last
            .as_ref()
            .is_some_and(|last| last.entry.base_position == end.position);
        let next_record = match (leaves_numbers_out, is_last_empty) {
            (true, _) => end.next_record.max(begun).saturating_add(INTERRUPTION_GAP),
            // It reserves its first number, so that another segment can follow it.
            (false, true) => end.next_record.max(begun.next()),
            (false, false) => end.next_record,
        };
        let next_record = numbers_from.map_or(next_record, |from| next_record.max(from));
        *files.published.lock() = end;
        if let Some(damage) = &damage {
            files.note_damage(damage.clone());
        }
        let state = StartingPoint {
            end,
            placement,
            next_record,
            is_sealed: matches!(start, LogStart::Sealed(_)),
            lost_tail: damage,
        };
        Ok(Self::new(files, state, context, counters))
    }
}

impl CommitJournal {
    pub(crate) fn open(
        context: &Arc<LogContext>,
        store: u128,
        directory: PathBuf,
        segments: &[SegmentEntry],
        start: LogStart,
        numbers_from: Option<RecordNumber>,
        max_unsynced: usize,
    ) -> Result<Self> {
        let identity = LogIdentity::commit_journal(store);
        let log = LocalLog::open(
            identity,
            directory,
            segments,
            start,
            numbers_from,
            context.clone(),
            None,
        )?;
        Ok(Self::new(log, max_unsynced))
    }
}
