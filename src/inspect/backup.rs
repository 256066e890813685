//! Copying a store that a program may have open: a backup, and what is restored from one.
//!
//! Files are read beside the program, as for a verification, one after the other. That what they give together is a
//! state of the store follows from the order in which they are read; `docs/design.md` has the argument.
//!
//! 1. The manifest. It says which logs and segments are copied, whatever is added later.
//! 2. The commit journal, once. What only it has is laid over what is read of the segments, and if some of it does not
//!    hold, nothing is copied.
//! 3. The last segment of each log that may be written to: the logs of queues first, then those of shards. Each is
//!    copied up to the last frame that is whole.
//! 4. The manifest again, to see that no shard came into being before the logs of queues were read.
//! 5. All other segments, to which nothing is written any more.
//!
//! A segment that is gone by the time that it is read was freed. Then all of it is done again, but for the segments
//! that were copied and are still named. So is it where something looks damaged, which is believed if it is there
//! twice.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::SystemTime;

use super::Inspection;
use super::contents::{Contents, Revision, Use};
use super::finding::{Consequence, Finding};
use super::named_log::NamedLog;
use super::segment_check::SegmentCheck;
use super::verify::{Progress, verify_while_locked};
use crate::backup::{Copied, Destination, SegmentSource, Sharing, check_is_apart};
use crate::catalog::CatalogState;
use crate::catalog::manifest::MANIFEST_OF_COPY;
use crate::disk::OpenMode;
use crate::error::{Error, Result};
use crate::log::{LogEnd, SurveyedFrame};
use crate::model::LogName;

/// So often a copy is tried of a store that changes under it. Each time less is left to be copied.
const TRIES: usize = 100;

impl Inspection {
    /// Copies the store into another directory, which is empty or not there yet, while a program may have it open and
    /// go on changing it; verifies the copy; and only then makes it one that opens.
    ///
    /// All that was durable and acknowledged before the call is in the copy, what was put meanwhile may be; of each
    /// shard there is a prefix, and of a child only something if the copy has all of its parents. What a program has
    /// acknowledged from memory ([`Durability::Buffered`](crate::Durability::Buffered)) and not written is not in it.
    /// The copy is a store: the next record of each shard leaves out at least 2^40 numbers. Keys are no part of it.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("data");
    /// use anabranch::inspect::{Inspection, Sharing};
    ///
    /// let store = anabranch::Store::open(&path)?;
    /// store.create_stream("clicks", 1)?.put("user-42", b"{}")?;
    /// let backup = directory.path().join("backup");
    /// Inspection::of(&path).back_up(&backup, Sharing::WherePossible, &mut |_| {})?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Corrupt`] if the store is damaged, or the copy is not as it was written; [`Error::NotEmpty`],
    /// [`Error::Locked`] if another copy is being made there; [`Error::StorageFull`]; [`Error::InvalidArgument`] if one of
    /// the two directories is inside the other; otherwise as for [`verify`](Self::verify).
    pub fn back_up(
        &self,
        destination: impl AsRef<Path>,
        sharing: Sharing,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<Copied> {
        copy(self, destination.as_ref(), sharing, on_progress)
    }

    /// Verifies a backup, copies it into a directory that is empty or not there yet, and verifies that. The copy shares
    /// nothing with the backup. It is the same store, with its number and its secret, and leaves out the same numbers.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("data");
    /// # let store = anabranch::Store::open(&path)?;
    /// # store.create_stream("clicks", 1)?.put("user-42", b"{}")?;
    /// # store.close()?;
    /// # use anabranch::inspect::Inspection;
    /// # use anabranch::inspect::Sharing;
    /// let (backup, restored) = (directory.path().join("backup"), directory.path().join("restored"));
    /// Inspection::of(&path).back_up(&backup, Sharing::WherePossible, &mut |_| {})?;
    /// Inspection::of(&backup).restore(&restored, &mut |_| {})?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`back_up`](Self::back_up).
    pub fn restore(
        &self,
        directory: impl AsRef<Path>,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<Copied> {
        let verification = self.verify(on_progress)?;
        if let Some(damage) = verification.damage().find(|damage| prevents_copying(damage)) {
            return Err(damaged(damage));
        }
        copy(self, directory.as_ref(), Sharing::Nothing, on_progress)
    }
}

fn copy(
    inspection: &Inspection,
    directory: &Path,
    sharing: Sharing,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<Copied> {
    // Looked at first, so that what is no store is told before a directory is made.
    let contents = Contents::read(inspection)?;
    contents
        .state()
        .ok_or_else(|| no_manifest(inspection, &contents))?;
    check_is_apart(inspection.disk.as_ref(), &inspection.directory, directory)?;
    let mut destination = Destination::begin(&inspection.disk, directory, sharing)?;
    let state = copy_logs(inspection, &mut destination, on_progress)?;
    destination.write_manifest(&state)?;
    let copied = Inspection {
        directory: destination.directory().to_owned(),
        disk: inspection.disk.clone(),
        manifest: Some(MANIFEST_OF_COPY),
    };
    let verification = verify_while_locked(&copied, on_progress)?;
    match verification.damage().next() {
        Some(damage) => Err(damaged(damage)),
        None => destination.finish(&state),
    }
}

/// Copies all segments. Gives the state that the copy has.
fn copy_logs(
    inspection: &Inspection,
    destination: &mut Destination,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<CatalogState> {
    let mut seen: Option<(Option<Revision>, String)> = None;
    let mut last = None;
    for _ in 0..TRIES {
        let attempt = Attempt::begin(inspection)?;
        let revision = attempt.contents.revision();
        match attempt.run(destination, on_progress)? {
            Outcome::Copied(state) => return Ok(*state),
            Outcome::Unsettled(error) => {
                let found = (revision, error.to_string());
                if seen.as_ref() == Some(&found) {
                    return Err(error);
                }
                (seen, last) = (Some(found), Some(error));
            }
        }
    }
    Err(last.unwrap_or(Error::Closed))
}

enum Outcome {
    Copied(Box<CatalogState>),
    /// Something is not as the manifest says. That may be since the store has changed.
    Unsettled(Error),
}

/// One time through all files.
struct Attempt<'a> {
    inspection: &'a Inspection,
    contents: Contents,
    state: CatalogState,
    logs: Vec<NamedLog>,
    /// What was found when the journal was read whose frames the logs have.
    found_in_journal: Vec<Finding>,
    progress: Progress,
}

impl<'a> Attempt<'a> {
    fn begin(inspection: &'a Inspection) -> Result<Self> {
        let contents = Contents::read_as(inspection, Use::Shared)?;
        if let Some(damage) = contents.findings.iter().find(|found| prevents_copying(found)) {
            return Err(damaged(damage));
        }
        let state = contents
            .state()
            .ok_or_else(|| no_manifest(inspection, &contents))?
            .clone();
        let mut logs = NamedLog::all_of(inspection, &state);
        let found_in_journal = inspection.lay_over_journaled(&contents, &mut logs);
        // What a queue says of records is said behind them, so its log is read before theirs.
        logs.sort_by_key(|log| log.identity.name.queue().is_none());
        let bytes = logs.iter().flat_map(|log| &log.segments).map(|entry| entry.bytes);
        let progress = Progress {
            bytes_done: 0,
            bytes_total: bytes.sum(),
            path: inspection.directory.clone(),
        };
        Ok(Self {
            inspection,
            contents,
            state,
            logs,
            found_in_journal,
            progress,
        })
    }

    fn run(
        mut self,
        destination: &mut Destination,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<Outcome> {
        if let Some(damage) = self.damage_of_journal()? {
            return Ok(Outcome::Unsettled(damaged(damage)));
        }
        let logs = std::mem::take(&mut self.logs);
        let mut ends = Vec::with_capacity(logs.len());
        for log in &logs {
            match self.copy_tail(log, destination, on_progress) {
                Ok(end) => ends.push(end),
                Err(error) => return unsettled(error),
            }
        }
        if self.has_other_logs()? {
            return Ok(Outcome::Unsettled(Error::io(
                "copy",
                &self.inspection.directory,
                std::io::Error::other("its shards change all the time"),
            )));
        }
        for log in &logs {
            if let Err(error) = self.copy_others(log, destination, on_progress) {
                return unsettled(error);
            }
        }
        let now = SystemTime::now().into();
        for (log, end) in logs.iter().zip(ends) {
            let segments = log.segments.clone();
            self.state
                .settle_copied_log(log.identity.name, segments, end, now);
        }
        self.state.drop_copied_journal();
        self.state.leave_out_ids(now);
        Ok(Outcome::Copied(Box::new(self.state)))
    }

    /// What only the journal has is missing in the logs where it could not be read. But a segment of it that the manifest
    /// does not name any more was freed: what that had is in the logs' own segments, which are read from now on.
    fn damage_of_journal(&self) -> Result<Option<&Finding>> {
        let mut damage = self
            .found_in_journal
            .iter()
            .filter(|found| found.is_damage())
            .peekable();
        if damage.peek().is_none() {
            return Ok(None);
        }
        let contents = Contents::read_as(self.inspection, Use::Shared)?;
        let state = contents.state();
        let journal = state.map(|state| NamedLog::journal_even_if_empty(self.inspection, state));
        let is_named = |path: &Path| match (&journal, path.file_name().and_then(|name| name.to_str())) {
            (Some(journal), Some(name)) => journal.names_file(name),
            _ => true,
        };
        Ok(damage.find(|found| is_named(&found.path)))
    }

    /// Whether there are other shards or queues now than when the manifest was read.
    fn has_other_logs(&self) -> Result<bool> {
        let contents = Contents::read_as(self.inspection, Use::Shared)?;
        let names = |state: &CatalogState| state.logs().map(|(name, _)| name).collect::<Vec<LogName>>();
        Ok(contents.state().map(names) != Some(names(&self.state)))
    }

    /// Copies the last segment of a log that may be written to. Gives where the log ends in the copy.
    fn copy_tail(
        &mut self,
        log: &NamedLog,
        destination: &mut Destination,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<LogEnd> {
        let Some(at) = log.segments.len().checked_sub(1) else {
            return Ok(log.end.unwrap_or(LogEnd::EMPTY));
        };
        let name = log.identity.name;
        if let (false, Some(end)) = (self.state.may_go_on(name), log.end) {
            // It is one of the others.
            return Ok(end);
        }
        let check = self.check_tail(log, at)?;
        let end = log.end.unwrap_or(check.survey.end);
        let source = SegmentSource {
            log: log.identity,
            entry: check.entry,
            path: &check.path,
            end: end.position,
        };
        let journaled = log.journaled.get(&check.entry.first_record);
        let (file, _) = (self.inspection.open_with(&check.path, journaled))
            .map_err(|error| Error::io("open", &check.path, error))?;
        destination.copy(&source, file.as_ref())?;
        self.check_is_still(&source)?;
        self.note_done(&source, on_progress);
        Ok(end)
    }

    /// Finds the end of a log that may be written to. What looks like damage because it was being written is something
    /// else the next time.
    fn check_tail(&self, log: &NamedLog, at: usize) -> Result<SegmentCheck> {
        let mut seen = Vec::new();
        for _ in 0..TRIES {
            let go_on = &mut |_: &SurveyedFrame| ControlFlow::Continue(());
            let check = self.inspection.check_segment(log, at, true, go_on);
            let check = check.ok_or(Error::Closed)?;
            let mut damage = check.findings(log, true);
            damage.retain(Finding::is_damage);
            match damage.first() {
                None => return Ok(check),
                Some(first) if damage == seen => return Err(damaged(first)),
                Some(_) => seen = damage,
            }
        }
        // It never was the same twice.
        let first = seen.first();
        Err(first.map_or(Error::Closed, damaged))
    }

    /// Copies the segments to which nothing is written any more.
    fn copy_others(
        &mut self,
        log: &NamedLog,
        destination: &mut Destination,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<()> {
        let name = log.identity.name;
        let is_last_one_of_them = !self.state.may_go_on(name) && log.end.is_some();
        let others = log.segments.len() - usize::from(!is_last_one_of_them && !log.segments.is_empty());
        for (at, entry) in log.segments.iter().enumerate().take(others) {
            let path = log.directory.join(entry.file_name());
            let next = log.segments.get(at + 1).map(|next| next.base_position);
            let Some(end) = next.or(log.end.map(|end| end.position)) else {
                continue;
            };
            let source = SegmentSource {
                log: log.identity,
                entry: *entry,
                path: &path,
                end,
            };
            if !destination.has(&source) {
                if !destination.share(&source)? {
                    let file = (self.inspection.disk.open(&path, OpenMode::Read))
                        .map_err(|error| Error::io("open", &path, error))?;
                    destination.copy(&source, file.as_ref())?;
                }
                self.check_is_still(&source)?;
            }
            self.note_done(&source, on_progress);
        }
        Ok(())
    }

    /// Checks that the file of this name is the segment, also after it was read: a file that becomes another segment
    /// loses its name before it is written to, and gets no such name again.
    fn check_is_still(&self, source: &SegmentSource<'_>) -> Result<()> {
        let file = (self.inspection.disk.open(source.path, OpenMode::Read))
            .map_err(|error| Error::io("open", source.path, error))?;
        (source.entry).verify_file(source.log, file.as_ref(), source.path)
    }

    fn note_done(&mut self, source: &SegmentSource<'_>, on_progress: &mut dyn FnMut(&Progress)) {
        self.progress.bytes_done += source.entry.bytes;
        source.path.clone_into(&mut self.progress.path);
        on_progress(&self.progress);
    }
}

/// Whether there is damage of which the copy would have less than the original. What one copy of the manifest lacks is
/// in the other, and a new manifest is written.
fn prevents_copying(finding: &Finding) -> bool {
    finding.is_damage() && !matches!(finding.consequence, Consequence::HeldByOtherCopy)
}

/// A file that is not there, or not what it should be, may have been freed. All else fails.
fn unsettled(error: Error) -> Result<Outcome> {
    match error {
        Error::Corrupt { .. } => Ok(Outcome::Unsettled(error)),
        Error::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Ok(Outcome::Unsettled(error))
        }
        error => Err(error),
    }
}

fn damaged(finding: &Finding) -> Error {
    let reason = match &finding.log {
        Some(log) => format!("{}; {log}: {}", finding.damage, finding.consequence),
        None => format!("{}; {}", finding.damage, finding.consequence),
    };
    Error::corrupt(&finding.path, finding.offset, reason)
}

/// There is none that can be read, or none yet.
fn no_manifest(inspection: &Inspection, contents: &Contents) -> Error {
    match contents.findings.iter().find(|finding| finding.is_damage()) {
        Some(damage) => damaged(damage),
        None => Error::NotAStore {
            path: inspection.directory.clone(),
        },
    }
}
