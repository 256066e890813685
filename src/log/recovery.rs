//! Finding the end of a log that was not closed cleanly.
//!
//! Only the last segment can hold bytes that were not synced (`log`, invariants), so only that one is read. The walk
//! goes from its first frame to the first place where no frame validates. That place proves nothing by itself: a
//! torn write, a block that was never written, bytes of an earlier life and rot all look alike. What tells them
//! apart is evidence that the place had been synced, and every frame carries some: the position that was durable
//! when it was written. If any valid frame further on says that the log was durable beyond the place, what is there
//! was damaged after it was acknowledged, and nothing may be cut; else it was never acknowledged, and the log ends.
//!
//! A frame of an unsynced group may survive behind a torn one, which is why a later frame alone is no evidence.

use std::ops::ControlFlow;

use super::frame::{ALIGNMENT, FrameDefect, FrameSeed};
use super::frame_cursor::{FrameCursor, SegmentBytes, WalkError};
use super::frame_search::search_headers;
use super::segment::{Segment, SegmentEntry};
use super::shard_log::LogContext;
use super::{LogEnd, LogPosition};
use crate::disk::{Step, is_left_out, perform};
use crate::error::{Error, Result};

#[derive(Debug)]
pub(super) struct RecoveredTail {
    pub(super) end: LogEnd,
    /// What lies at the end, if it is not simply the end.
    pub(super) damage: Option<Error>,
}

/// Reads the last segment of an interrupted log, and makes sure that what it finds is durable before anyone sees it.
///
/// A disk that cannot be read is damage of this log, which keeps the others going.
pub(super) fn recover_tail(segment: &Segment, context: &LogContext) -> Result<RecoveredTail> {
    let damaged = |end, error| {
        Ok(RecoveredTail {
            end,
            damage: Some(error),
        })
    };
    let open = match context.open_segments.get(segment) {
        Ok(open) => open,
        Err(error @ (Error::Corrupt { .. } | Error::Io { .. })) => {
            return damaged(segment.entry.base(), error);
        }
        Err(error) => return Err(error),
    };
    // Pages that the kernel marked clean after a failed write-back must not be believed. Where the cache cannot be
    // dropped (a simulated disk, an exotic file system) there is nothing better to read.
    let _ = perform(Step::SegmentCacheDrop, || open.file.drop_cache());

    let mut bytes = SegmentBytes::of_file(open.file.clone(), segment.entry.bytes);
    let findings = match survey(&mut bytes, &segment.seed, &segment.entry) {
        Ok(findings) => findings,
        Err((end, error)) => return damaged(end, Error::io("read", &segment.path, error)),
    };
    match decide(&findings) {
        Verdict::EndsHere => {
            // What a killed process wrote may still be in the page cache alone.
            perform(Step::RecoveredTailSync, || open.file.sync_data())
                .map_err(|error| context.health.poison("sync", &segment.path, error))?;
            // The end is only as good as the journal that frames were put back from.
            let doubts = context.journal_doubts.get();
            Ok(RecoveredTail {
                end: findings.end,
                damage: doubts.and_then(|doubts| doubts.about(segment.log)).cloned(),
            })
        }
        Verdict::Damaged { attested_through } => {
            let offset = segment.entry.offset_of(findings.end.position);
            let reason = format!(
                "{}, although the log was durable through position {}",
                findings
                    .defect
                    .map_or_else(String::new, |defect| defect.to_string()),
                attested_through.0
            );
            damaged(findings.end, Error::corrupt(&segment.path, offset, reason))
        }
    }
}

/// What the last segment holds.
#[derive(Clone, Copy, Debug)]
struct Findings {
    /// Behind the last frame of the unbroken walk.
    end: LogEnd,
    /// Why the walk did not go on; `None` if it came to the end of the file.
    defect: Option<FrameDefect>,
    /// The highest position that a valid frame behind the end says was durable.
    attested_behind: Option<LogPosition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// All that was ever acknowledged lies before the end.
    EndsHere,
    /// Bytes behind the end had been made durable, and are gone.
    Damaged { attested_through: LogPosition },
}

/// The decision, apart from all reading and writing.
fn decide(findings: &Findings) -> Verdict {
    match findings.attested_behind {
        Some(attested_through)
            if attested_through > findings.end.position && !is_left_out(Step::DurabilityEvidence) =>
        {
            Verdict::Damaged { attested_through }
        }
        _ => Verdict::EndsHere,
    }
}

/// Walks over all whole frames, then looks for evidence behind them. An error comes with the end of what was read.
fn survey(
    bytes: &mut SegmentBytes,
    seed: &FrameSeed,
    entry: &SegmentEntry,
) -> std::result::Result<Findings, (LogEnd, std::io::Error)> {
    let mut cursor = FrameCursor::at_start(bytes.clone(), seed, entry);
    let mut end = entry.base();
    let defect = loop {
        if cursor.is_at_end() {
            break None;
        }
        match cursor.next().and_then(|frame| cursor.body(&frame)) {
            Ok(_) => end = cursor.end().unwrap_or(end),
            Err(WalkError::Defect { defect, .. }) => break Some(defect),
            Err(WalkError::Io(error)) => return Err((end, error)),
        }
    };
    let attested_behind = attested_behind(bytes, seed, entry, end).map_err(|error| (end, error))?;
    Ok(Findings {
        end,
        defect,
        attested_behind,
    })
}

/// What valid headers behind the end say about how far the log had been durable.
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

    fn findings(defect: Option<FrameDefect>, attested_behind: Option<u64>) -> Findings {
        let end = LogEnd {
            position: LogPosition(1_000),
            next_record: RecordNumber::new(5),
            ..LogEnd::EMPTY
        };
        Findings {
            end,
            defect,
            attested_behind: attested_behind.map(LogPosition),
        }
    }

    #[test]
    fn only_evidence_of_durability_behind_the_end_makes_a_defect_damage() {
        let defects = [
            None,
            Some(FrameDefect::NoMagic),
            Some(FrameDefect::HeaderChecksum),
            Some(FrameDefect::Position),
            Some(FrameDefect::BodyChecksum),
            Some(FrameDefect::Length),
            Some(FrameDefect::Chain),
            Some(FrameDefect::RecordNumber),
            Some(FrameDefect::NumbersBeyond),
        ];
        for defect in defects {
            for (attested, verdict) in [
                (None, Verdict::EndsHere),
                (Some(0), Verdict::EndsHere),
                (Some(1_000), Verdict::EndsHere),
                (
                    Some(1_001),
                    Verdict::Damaged {
                        attested_through: LogPosition(1_001),
                    },
                ),
            ] {
                assert_eq!(
                    decide(&findings(defect, attested)),
                    verdict,
                    "{defect:?}, {attested:?}"
                );
            }
        }
    }
}
