//! The commit journal: a log of other logs' frames, some of which may not be in their segments yet.
//!
//! When a store was not closed, its next opener first writes these frames back to their segments. To read the store as
//! it will be then, an inspection lays the frames over the bytes read of the segments.

use std::ops::ControlFlow;

use super::Inspection;
use super::contents::Contents;
use super::finding::Finding;
use super::named_log::NamedLog;
use crate::disk::OpenMode;
use crate::error::Result;
use crate::log::{FramesInJournal, SegmentEntry};

impl NamedLog {
    /// Whether the journal has frames behind the end of the log that the manifest records.
    pub(super) fn goes_on_in(&self, frames: &FramesInJournal) -> bool {
        let (Some(end), Some(last)) = (&self.end, self.segments.last()) else {
            return false;
        };
        let journaled = frames.of_segment(self.identity, last);
        journaled.is_some_and(|journaled| journaled.reaches_behind(last.offset_of(end.position)))
    }

    /// Takes the journal's frames of the last segment, if the next opener puts them back.
    pub(super) fn take_journaled(&mut self, frames: &FramesInJournal) {
        if let (None, Some(last)) = (&self.end, self.segments.last().copied()) {
            self.take_journaled_of(&last, frames);
        }
    }

    /// Takes the journal's frames of all segments.
    pub(super) fn take_all_journaled(&mut self, frames: &FramesInJournal) {
        for segment in self.segments.clone() {
            self.take_journaled_of(&segment, frames);
        }
    }

    fn take_journaled_of(&mut self, segment: &SegmentEntry, frames: &FramesInJournal) {
        if let Some(journaled) = frames.of_segment(self.identity, segment) {
            self.journaled.insert(segment.first_record, journaled);
        }
    }
}

impl Inspection {
    /// The logs to read, with the findings on the way.
    pub(super) fn logs(&self, contents: &Contents, findings: &mut Vec<Finding>) -> Result<Vec<NamedLog>> {
        match contents.state() {
            Some(state) => {
                let mut logs = NamedLog::all_of(self, state);
                // A caller that wants the damage of the journal checks the journal as one of the logs.
                drop(self.lay_over_journaled(contents, &mut logs));
                Ok(logs)
            }
            None => NamedLog::all_by_header(self, findings),
        }
    }

    /// Gives logs the journal's frames of their last segments. A program that has the store writes them there itself,
    /// but later. Gives the findings in the journal: where it is damaged, the logs may lack frames.
    pub(super) fn lay_over_journaled(&self, contents: &Contents, logs: &mut [NamedLog]) -> Vec<Finding> {
        let journal = contents.state().and_then(|state| NamedLog::journal(self, state));
        let Some(journal) = journal.filter(|journal| journal.end.is_none()) else {
            return Vec::new();
        };
        let (frames, findings) = self.read_journal(&journal, contents.is_held);
        logs.iter_mut().for_each(|log| log.take_journaled(&frames));
        findings
    }

    /// The places of all whole frames of a journal, and the findings of the same reading.
    pub(super) fn read_journal(&self, journal: &NamedLog, is_held: bool) -> (FramesInJournal, Vec<Finding>) {
        let mut frames = FramesInJournal::new(journal.identity.store);
        let mut findings = Vec::new();
        for (at, entry) in journal.segments.iter().enumerate() {
            let path = journal.directory.join(entry.file_name());
            // If only the check can open it, its frames are known, and reading them fails.
            frames.begin_file(&path, self.disk.open(&path, OpenMode::Read).ok());
            let check = self.check_segment(journal, at, is_held, &mut |frame| {
                frames.take_in(frame, |_, _, _| true);
                ControlFlow::Continue(())
            });
            findings.extend(check.iter().flat_map(|check| check.findings(journal, is_held)));
        }
        (frames, findings)
    }
}
