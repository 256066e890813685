//! The store's commit journal: putting its frames back, and dropping those that are in the segments.

use std::sync::Arc;

use super::garbage::{Garbage, remove_unnamed_files};
use super::logs::LocalLogs;
use crate::catalog::{Edit, LogState};
use crate::error::Result;
use crate::log::{
    CommitJournal, JournalDoubts, JournaledFrames, LogEnd, LogIdentity, LogStart, PutBack, Resting,
    SegmentEntry,
};
use crate::model::{LogName, RecordNumber};

/// The most logs with frames that only the journal has. Each keeps up to 128 KiB of them in memory.
const MAX_UNSYNCED_LOGS: usize = 512;

impl LocalLogs {
    /// Puts the frames of an interrupted journal back into the segments of interrupted logs, before anything else is
    /// recovered.
    pub(super) fn put_journaled_back(&self) -> Result<()> {
        let (store, journal, interrupted) = {
            let state = self.catalog.read();
            let interrupted: Vec<_> = state
                .logs()
                .filter(|(_, log)| log.end.is_none())
                .filter_map(|(name, log)| Some((name, *log.segments.last()?, log.is_journaled)))
                .collect();
            (state.store, state.journal.clone(), interrupted)
        };
        if journal.end.is_some() || journal.segments.is_empty() {
            return Ok(());
        }
        let mut logs: Vec<_> = interrupted
            .into_iter()
            .map(|(name, last_segment, is_journaled)| {
                let put_back = PutBack::new(
                    LogIdentity { store, name },
                    last_segment,
                    &self.log_directory(name),
                );
                (name, put_back, is_journaled)
            })
            .collect();
        let mut doubts = JournalDoubts::default();
        let context = &self.context;
        let directory = self.journal_directory();
        let damage =
            JournaledFrames::read_in_steps(context, store, directory, &journal.segments, |frames| {
                for (name, log, _) in &mut logs {
                    if !doubts.about.contains_key(name) {
                        doubts.note(*name, log.take(context, frames))?;
                    }
                }
                Ok(())
            })?;
        for (name, log, is_journaled) in logs {
            doubts.note(name, log.finish(context))?;
            if let Some(damage) = damage.as_ref().filter(|_| is_journaled) {
                doubts.note(name, Err(damage.clone()))?;
            }
        }
        self.context.journal_doubts.get_or_init(|| doubts);
        Ok(())
    }

    /// Begins to use the journal, after the frames that an earlier opener left in it are durable in the segments. If
    /// they are not, the journal is kept unchanged, and not used.
    pub(super) fn begin_journal(&self) -> Result<()> {
        if self
            .context
            .journal_doubts
            .get()
            .is_some_and(|doubts| !doubts.is_empty())
        {
            return Ok(());
        }
        let (
            store,
            LogState {
                segments,
                end,
                numbers_from,
                ..
            },
        ) = {
            let state = self.catalog.read();
            (state.store, state.journal.clone())
        };
        let (segments, start) = match end {
            Some(end) => (segments, LogStart::Rested(end)),
            None => match segments.last() {
                // Numbers go on behind the dropped ones. So a file that a crash brings back differs by its number from
                // files that were begun since.
                Some(last) => (Vec::new(), LogStart::Rested(self.drop_journal(last)?)),
                None => (Vec::new(), LogStart::Interrupted),
            },
        };
        let first_kept = segments.first().map(|segment| segment.first_record);
        let directory = self.journal_directory();
        let journal = CommitJournal::open(
            &self.context,
            store,
            directory,
            &segments,
            start,
            numbers_from,
            MAX_UNSYNCED_LOGS,
        )?;
        let end = || journal.log().known_end().map(|end| end.next_record);
        let dropped_before = first_kept.or_else(end).unwrap_or(RecordNumber::FIRST);
        remove_unnamed_files(&self.disk, journal.log(), dropped_before)?;
        let journal = Arc::new(journal);
        *self.context.journal.write() = Some(journal.clone());
        *self.journal.write() = Some(journal);
        Ok(())
    }

    /// Syncs the segments that have frames in the journal, if that allows to drop a part of it.
    pub(super) fn trim_journal(&self) -> Result<()> {
        match self.commit_journal() {
            Some(journal) if journal.is_filling() => self.sync_journaled(&journal),
            _ => Ok(()),
        }
    }

    /// Brings the journal to rest with no frame in it that is still needed. Gives its end, to be recorded.
    pub(super) fn rest_journal(&self) -> Result<Option<(LogName, LogEnd)>> {
        let Some(journal) = self.commit_journal() else {
            return Ok(None);
        };
        self.sync_journaled(&journal)?;
        journal.log().rest()?;
        let is_recorded = self.catalog.read().journal.end.is_some();
        let end = journal.log().known_end().filter(|_| !is_recorded);
        Ok(end.map(|end| (LogName::CommitJournal, end)))
    }

    fn sync_journaled(&self, journal: &CommitJournal) -> Result<()> {
        let first_kept = journal.sync_segments()?;
        let begins_before = |log: &LogState| {
            log.segments
                .first()
                .is_some_and(|first| first.first_record < first_kept)
        };
        if begins_before(&self.catalog.read().journal) {
            self.drop_journal_before(first_kept)?;
            let dropped = journal.log().forget_segments_before(first_kept);
            self.garbage.lock().push(Garbage::of_segments(dropped));
        }
        Ok(())
    }

    /// Keeps rounds out of the journal while its end is recorded, if no frame in it is needed and no thread writes to
    /// it.
    pub(super) fn begin_journal_rest(&self) -> Result<Option<Resting>> {
        let Some(journal) = self.commit_journal() else {
            return Ok(None);
        };
        self.sync_journaled(&journal)?;
        let resting = journal.log().begin_rest()?;
        // Checked while rounds are kept out. Each of them notes its logs first.
        Ok(resting.filter(|_| journal.is_spent()))
    }

    /// Drops all segments up to `last`. Gives the end behind which the journal begins again.
    ///
    /// The edit distinguishes these segments from later ones: a repair has to find later ones whose own edits are lost.
    fn drop_journal(&self, last: &SegmentEntry) -> Result<LogEnd> {
        let log = LogName::CommitJournal;
        let end = last.end_behind_all();
        self.catalog.commit(|_| {
            Ok(vec![
                Edit::LogTrimmed {
                    log,
                    first_record: end.next_record,
                },
                Edit::LogsRested {
                    ends: vec![(log, end)],
                },
            ])
        })?;
        Ok(end)
    }

    fn drop_journal_before(&self, first_record: RecordNumber) -> Result<()> {
        let log = LogName::CommitJournal;
        self.catalog
            .commit(|_| Ok(vec![Edit::LogTrimmed { log, first_record }]))
    }
}
