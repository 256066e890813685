//! The commit journal: a log of other logs' frames, some of which may not be in their segments yet.
//!
//! The opener of a store that was not closed puts them back first. To look at such a store as it will be then, the
//! frames are laid over what is read of the segments.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::Inspection;
use super::contents::Contents;
use super::finding::{Consequence, Finding, InspectedLog};
use super::named_log::NamedLog;
use crate::catalog::CatalogState;
use crate::log::{JournaledFrames, LogIdentity, SegmentEntry};
use crate::model::LogName;

impl NamedLog {
    /// The commit journal, if it has segments.
    pub(super) fn journal(inspection: &Inspection, state: &CatalogState) -> Option<Self> {
        let journal = Self::journal_even_if_empty(inspection, state);
        (!journal.segments.is_empty()).then_some(journal)
    }

    pub(super) fn journal_even_if_empty(inspection: &Inspection, state: &CatalogState) -> Self {
        let journal = &state.journal;
        Self {
            identity: LogIdentity::commit_journal(state.store),
            name: InspectedLog::unnamed(LogName::CommitJournal),
            directory: inspection.log_directory(LogName::CommitJournal),
            segments: journal.segments.clone(),
            end: journal.end,
            shard: None,
            journaled: BTreeMap::new(),
            is_needed: journal.end.is_none() && state.needs_journal(),
        }
    }

    /// Whether the journal has frames behind the end at which the log is said to rest.
    pub(super) fn goes_on_in(&self, frames: &JournaledFrames) -> bool {
        let (Some(end), Some(last)) = (&self.end, self.segments.last()) else {
            return false;
        };
        let journaled = frames.of_segment(self.identity, last);
        journaled
            .iter()
            .any(|(offset, _)| *offset >= last.offset_of(end.position))
    }

    /// Takes what the journal has of the last segment, if the next opener puts it back.
    pub(super) fn take_journaled(&mut self, frames: &JournaledFrames) {
        if let (None, Some(last)) = (&self.end, self.segments.last().copied()) {
            self.take_journaled_of(&last, frames);
        }
    }

    /// Takes what the journal has of any segment.
    pub(super) fn take_all_journaled(&mut self, frames: &JournaledFrames) {
        for segment in self.segments.clone() {
            self.take_journaled_of(&segment, frames);
        }
    }

    fn take_journaled_of(&mut self, segment: &SegmentEntry, frames: &JournaledFrames) {
        let journaled = frames.of_segment(self.identity, segment);
        if !journaled.is_empty() {
            self.journaled.insert(segment.first_record, journaled);
        }
    }
}

impl Inspection {
    /// Gives logs what the journal has of their last segments. A program that has the store puts it there itself, but not
    /// at once.
    pub(super) fn lay_over_journaled(&self, contents: &Contents, logs: &mut [NamedLog]) {
        let journal = contents.state().and_then(|state| NamedLog::journal(self, state));
        let Some(journal) = journal.filter(|journal| journal.end.is_none()) else {
            return;
        };
        let frames = self.journaled_frames(&journal, contents.is_held);
        logs.iter_mut().for_each(|log| log.take_journaled(&frames));
    }

    /// All frames that a journal has and that are whole.
    pub(super) fn journaled_frames(&self, journal: &NamedLog, is_held: bool) -> JournaledFrames {
        let mut frames = JournaledFrames::default();
        for at in 0..journal.segments.len() {
            self.check_segment(journal, at, is_held, &mut |frame| {
                for record in frame.records() {
                    frames.add(record.partition_key.as_str(), record.data);
                }
                ControlFlow::Continue(())
            });
        }
        frames
    }
}

/// What damage of the journal means: records of other logs, if anything.
pub(super) fn of_journal(mut finding: Finding, journal: &NamedLog) -> Finding {
    if finding.is_damage() {
        finding.consequence = match journal.is_needed {
            false => Consequence::Harmless {
                reason: "all that the journal has is in its segments",
            },
            true => Consequence::LastMayBeMissing,
        };
    }
    finding
}
