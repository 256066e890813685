//! Finding the end of a log that was not closed cleanly.
//!
//! Only the last segment can have bytes that were not synced (`log`, invariants), so only that one is read. The walk
//! goes from its first frame to the first place where no frame validates. That place alone proves nothing: a torn
//! write, a block that was never written, bytes of an earlier life and damage look alike. They differ in the evidence
//! that the place had been synced, and every frame has some: the position that was durable when it was written. If any
//! valid frame further on says that the log was durable beyond the place, its bytes were damaged after they were
//! acknowledged, and nothing may be cut. Otherwise they were never acknowledged, and the log ends there.
//!
//! A frame of an unsynced group may survive behind a torn one, so a later frame alone is no evidence.
//!
//! Reading collects what is found. One function without any reading or writing decides what to do ([`decide`]).

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::disk::{DiskFile, Step, is_left_out, perform};
use crate::error::{Error, Result};
use crate::log::commit::local_log::LogContext;
use crate::log::format::frame::{ALIGNMENT, FrameDefect, FrameSeed};
use crate::log::format::frame_cursor::{FrameCursor, SegmentBytes, WalkError};
use crate::log::format::frame_search::search_headers;
use crate::log::format::log_end::{LogEnd, LogPosition};
use crate::log::format::segment_header::SegmentEntry;
use crate::log::segments::open_segments::OpenSegment;
use crate::log::segments::segment::Segment;
use crate::trace::{self, Happening};

#[derive(Debug)]
pub(super) struct RecoveredTail {
    pub(super) end: LogEnd,
    /// The damage at the end, if the log does not simply end there.
    pub(super) damage: Option<Error>,
}

/// Reads the last segment of an interrupted log, and makes what it finds durable before anyone sees it.
///
/// If the disk cannot read it, that is damage of this log, so that the other logs go on.
pub(super) fn recover_tail(segment: &Segment, context: &LogContext) -> Result<RecoveredTail> {
    let doubt = context
        .journal_doubts
        .get()
        .and_then(|doubts| doubts.about(segment.log));
    let Search {
        mut found,
        open,
        error,
    } = Search::of(segment, context)?;
    found.has_journal_doubts = doubt.is_some();
    let mut tail = RecoveredTail {
        end: segment.entry.base(),
        damage: None,
    };
    for action in decide(&found) {
        match action {
            Action::Sync => {
                perform(Step::RecoveredTailSync, || {
                    open.as_ref().map_or(Ok(()), |open| open.file.sync_data())
                })
                .map_err(|error| context.resources.health.poison("sync", &segment.path, error))?;
            }
            Action::EndAt(end) => {
                tail.end = end;
                trace::tell(&Happening::EndFound {
                    log: segment.log.name,
                    path: &segment.path,
                    next_record: end.next_record,
                });
            }
            Action::Refuse(Cause::Met) => tail.damage = error.clone(),
            Action::Refuse(Cause::Doubt) => tail.damage = doubt.cloned(),
            Action::Refuse(Cause::Lost { durable_through }) => {
                tail.damage = Some(found.describe_loss(segment, durable_through));
            }
        }
    }
    Ok(tail)
}

/// What was found of an interrupted log.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// Behind the last frame of the unbroken walk, which begins at the segment's base.
    end: LogEnd,
    /// What the walk found at the end.
    met: Met,
    /// The highest durable position that a valid frame behind the end attests.
    attested_behind: Option<LogPosition>,
    /// Whether the commit journal may have had frames that could not be put back.
    has_journal_doubts: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Met {
    /// The file of this segment is missing, cut, another one, or cannot be opened.
    NoSegment,
    /// Bytes that the disk cannot read.
    Unreadable,
    /// A place where no frame follows.
    Defect(FrameDefect),
    /// The end of the file.
    EndOfFile,
}

/// What has to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Sync what was found: what a killed process wrote may still be in the page cache alone.
    Sync,
    /// Serve the records before this end.
    EndAt(LogEnd),
    /// Report damage behind the end, and take no records.
    Refuse(Cause),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// What the walk found is itself an error.
    Met,
    /// Bytes behind the end had been made durable, and are lost.
    Lost { durable_through: LogPosition },
    /// The end depends on a journal that could not be put back completely.
    Doubt,
}

/// Decides without any reading or writing.
fn decide(found: &Found) -> Vec<Action> {
    let end = Action::EndAt(found.end);
    let is_evidence = |position: &LogPosition| *position > found.end.position;
    match (found.met, found.attested_behind.filter(is_evidence)) {
        (Met::NoSegment | Met::Unreadable, _) => vec![end, Action::Refuse(Cause::Met)],
        (Met::Defect(_) | Met::EndOfFile, Some(durable_through))
            // Frames that could not be put back are not lost: the journal has them.
            if !found.has_journal_doubts && !is_left_out(Step::DurabilityEvidence) =>
        {
            vec![end, Action::Refuse(Cause::Lost { durable_through })]
        }
        _ if found.has_journal_doubts => vec![Action::Sync, end, Action::Refuse(Cause::Doubt)],
        _ => vec![Action::Sync, end],
    }
}

impl Found {
    fn describe_loss(&self, segment: &Segment, durable_through: LogPosition) -> Error {
        let what = match self.met {
            Met::Defect(defect) => defect.to_string(),
            _ => "the frames end here".to_owned(),
        };
        let reason = format!(
            "{what}, although the log was durable through position {}",
            durable_through.0
        );
        let offset = segment.entry.offset_of(self.end.position);
        Error::corrupt(&segment.path, offset, reason)
    }
}

/// What was found by reading the segment.
struct Search {
    found: Found,
    open: Option<Arc<OpenSegment>>,
    /// What the walk found, if that is an error.
    error: Option<Error>,
}

impl Search {
    fn of(segment: &Segment, context: &LogContext) -> Result<Self> {
        let mut search = Self {
            found: Found {
                end: segment.entry.base(),
                met: Met::EndOfFile,
                attested_behind: None,
                has_journal_doubts: false,
            },
            open: None,
            error: None,
        };
        let open = match context.resources.open_segments.get_readable(segment) {
            Ok(open) => open,
            Err(error @ (Error::Corrupt { .. } | Error::Io { .. } | Error::Unreadable { .. })) => {
                search.found.met = Met::NoSegment;
                search.error = Some(error);
                return Ok(search);
            }
            Err(error) => return Err(error),
        };
        // Pages that the kernel marked clean after a failed write-back must not be believed.
        if let Err(error) = perform(Step::SegmentCacheDrop, || open.file.drop_cache()) {
            search.found.met = Met::Unreadable;
            search.error = Some(Error::io("drop the cache of", &segment.path, error));
            return Ok(search);
        }
        let mut bytes = SegmentBytes::of_file(open.file.clone(), segment.entry.bytes);
        search.open = Some(open);
        if let Err(error) = search.walk(&mut bytes, &segment.seed, &segment.entry) {
            search.found.met = Met::Unreadable;
            search.error = Some(Error::io("read", &segment.path, error));
        }
        Ok(search)
    }

    /// Walks over all whole frames, then looks for evidence behind them.
    fn walk(
        &mut self,
        bytes: &mut SegmentBytes,
        seed: &FrameSeed,
        entry: &SegmentEntry,
    ) -> std::io::Result<()> {
        let mut cursor = FrameCursor::at_start(bytes.clone(), seed, entry);
        while !cursor.is_at_end() {
            match cursor.next().and_then(|frame| cursor.body(&frame)) {
                Ok(_) => self.found.end = cursor.end().unwrap_or(self.found.end),
                Err(WalkError::Defect { defect, .. }) => {
                    self.found.met = Met::Defect(defect);
                    break;
                }
                Err(WalkError::Unreadable { error, .. }) => return Err(error),
            }
        }
        self.found.attested_behind = attested_behind(bytes, seed, entry, self.found.end)?;
        Ok(())
    }
}

/// The highest durable position that valid headers behind the end attest.
fn attested_behind(
    bytes: &mut SegmentBytes,
    seed: &FrameSeed,
    entry: &SegmentEntry,
    end: LogEnd,
) -> std::io::Result<Option<LogPosition>> {
    let mut attested = None;
    let from = entry.offset_of(end.position) + ALIGNMENT as u64;
    search_headers(bytes, seed, entry, from, |_, header| {
        attested = attested.max(Some(header.durable_through));
        ControlFlow::Continue(())
    })?;
    Ok(attested)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordNumber;

    const END: LogEnd = LogEnd {
        position: LogPosition(1_000),
        next_record: RecordNumber::new(5),
        ..LogEnd::EMPTY
    };

    /// Everything that a walk can find.
    const MET: [Met; 11] = [
        Met::NoSegment,
        Met::Unreadable,
        Met::EndOfFile,
        Met::Defect(FrameDefect::NoMagic),
        Met::Defect(FrameDefect::HeaderChecksum),
        Met::Defect(FrameDefect::Position),
        Met::Defect(FrameDefect::BodyChecksum),
        Met::Defect(FrameDefect::Length),
        Met::Defect(FrameDefect::Chain),
        Met::Defect(FrameDefect::RecordNumber),
        Met::Defect(FrameDefect::Body),
    ];

    /// No frame behind the end, and frames that attest less than, as much as, and more than there is.
    const ATTESTED: [Option<u64>; 6] = [None, Some(0), Some(999), Some(1_000), Some(1_001), Some(u64::MAX)];

    #[test]
    fn every_combination_of_findings_has_its_actions() {
        let (sync, end) = (Action::Sync, Action::EndAt(END));
        for (met, attested, has_journal_doubts) in combinations() {
            let found = Found {
                end: END,
                met,
                attested_behind: attested.map(LogPosition),
                has_journal_doubts,
            };
            let lost = |position| {
                Action::Refuse(Cause::Lost {
                    durable_through: LogPosition(position),
                })
            };
            let expected = match (met, attested, has_journal_doubts) {
                (Met::NoSegment | Met::Unreadable, _, _) => vec![end, Action::Refuse(Cause::Met)],
                (_, _, true) => vec![sync, end, Action::Refuse(Cause::Doubt)],
                (_, Some(position @ 1_001..), false) => vec![end, lost(position)],
                (_, None | Some(0..=1_000), false) => vec![sync, end],
            };
            assert_eq!(decide(&found), expected, "{found:?}");
        }
    }

    fn combinations() -> impl Iterator<Item = (Met, Option<u64>, bool)> {
        MET.into_iter().flat_map(|met| {
            ATTESTED
                .into_iter()
                .flat_map(move |attested| [false, true].map(|doubts| (met, attested, doubts)))
        })
    }
}
