//! The commit journal: a log of other logs' frames, some of which may not be in their segments yet.
//!
//! Whoever opens a store that was not closed puts them back first. To look at such a store as it will be then, the
//! frames are laid over what is read of the segments.

use std::ops::ControlFlow;

use super::Inspection;
use super::contents::Contents;
use super::finding::{Consequence, Finding, LogName};
use super::named_log::NamedLog;
use crate::catalog::CatalogState;
use crate::log::{COMMIT_JOURNAL, JournaledFrames, LogIdentity};

impl NamedLog {
    /// The commit journal, if it has segments.
    pub(super) fn journal(inspection: &Inspection, state: &CatalogState) -> Option<Self> {
        let (stream, shard) = COMMIT_JOURNAL;
        let journal = &state.journal;
        (!journal.segments.is_empty()).then(|| Self {
            identity: LogIdentity::commit_journal(state.store),
            name: LogName {
                stream,
                stream_name: None,
                shard,
            },
            directory: inspection.directory.join("journal"),
            segments: journal.segments.clone(),
            end: journal.end,
            shard: None,
            journaled: Vec::new(),
        })
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
        let mut frames = JournaledFrames::default();
        for at in 0..journal.segments.len() {
            self.check_segment(&journal, at, contents.is_held, &mut |frame| {
                for record in frame.records() {
                    frames.add(record.partition_key.as_str(), record.data);
                }
                ControlFlow::Continue(())
            });
        }
        for log in logs.iter_mut().filter(|log| log.end.is_none()) {
            if let Some(last) = log.segments.last() {
                log.journaled = frames.of_segment(log.identity, last);
            }
        }
    }
}

/// What damage of the journal means: records of other logs, if anything.
pub(super) fn of_journal(mut finding: Finding, journal: &NamedLog) -> Finding {
    if finding.is_damage() {
        finding.consequence = match journal.end {
            Some(_) => Consequence::Harmless {
                reason: "all that the journal has is in its segments",
            },
            None => Consequence::LastMayBeMissing,
        };
    }
    finding
}
