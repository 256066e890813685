//! Copying a store that a program may have open: backups, and restoring them.
//!
//! Files are read one after the other while the program runs, as for a verification. The order in which they are read
//! makes the copies together a state of the store; `docs/design.md` has the argument.
//!
//! 1. The manifest. It determines the logs and segments that are copied, even if others are added later.
//! 2. The commit journal, once. Frames that only the journal has are laid over the bytes read of the segments. If some
//!    of its frames do not hold, nothing is copied.
//! 3. The last segment of each log that may be written to: the logs of queues first, then those of shards. Each is
//!    copied up to the last frame that is whole.
//! 4. The manifest again, to see that no shard was added before the logs of queues were read.
//! 5. All other segments, to which nothing is written any more.
//!
//! If a segment is missing when it is to be read, it was freed. Then the copy starts again, but keeps the segments that
//! were copied and are still named. It also starts again where a file looks damaged: damage is believed if it is found
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

/// How often a copy of a store that changes meanwhile is tried. Each try has less to copy.
const TRIES: usize = 100;

impl Inspection {
    /// Copies the store into another directory, which is empty or does not exist yet, while a program may have the
    /// store open and go on changing it. Then verifies the copy, and only then makes it a store that opens.
    ///
    /// The copy has all that was durable and acknowledged before the call, and may have records that were put
    /// meanwhile. Of each shard it has a prefix, and of a child only records if it has all records of the parents. It
    /// does not have records that a program acknowledged from memory
    /// ([`Durability::Buffered`](crate::Durability::Buffered)) and has not written. The copy is a store: the next
    /// record of each shard leaves out at least 2^40 numbers. Keys are not copied.
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
    /// [`Error::Locked`] if another copy is being made there; [`Error::StorageFull`]; [`Error::InvalidArgument`] if one
    /// of the two directories is inside the other; otherwise as for [`verify`](Self::verify).
    pub fn back_up(
        &self,
        destination: impl AsRef<Path>,
        sharing: Sharing,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<Copied> {
        copy(self, destination.as_ref(), sharing, on_progress)
    }

    /// Verifies a backup, copies it into a directory that is empty or does not exist yet, and verifies the copy. The
    /// copy shares nothing with the backup. It is the same store, with the same number and secret, and leaves out the
    /// same numbers.
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
    // Read first, so that the error for a directory that is no store comes before a directory is made.
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

/// Copies all segments, and gives the state of the catalog that the copy has.
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
    /// A file is not as the manifest says. The store may have changed since.
    Unsettled(Error),
}

/// One pass over all files.
struct Attempt<'a> {
    inspection: &'a Inspection,
    contents: Contents,
    state: CatalogState,
    logs: Vec<NamedLog>,
    /// Findings from the reading of the journal whose frames the logs have.
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
        // A queue's log refers to records that were written before, so it is read before their logs.
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

    /// Damage of the journal after which the logs may lack frames that only it had. A damaged segment that the manifest
    /// no longer names does not count: it was freed, so its frames are in the logs' own segments, which are read later.
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

    /// Copies the last segment of a log that may be written to. Gives the end of the log in the copy.
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
            // The segment is one of the others.
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

    /// Finds the end of a log that may be written to. A place that looks damaged only because it was being written
    /// looks different the next time.
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
        // It was never the same twice.
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

/// Whether this is damage that the copy would lack. One copy of the manifest has what the other lacks, and a new
/// manifest is written, so damage of one copy does not count.
fn prevents_copying(finding: &Finding) -> bool {
    finding.is_damage() && !matches!(finding.consequence, Consequence::HeldByOtherCopy)
}

/// A file that is missing or different may have been freed. Every other error fails.
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

/// The error for a store without a manifest: none can be read, or there is none yet.
fn no_manifest(inspection: &Inspection, contents: &Contents) -> Error {
    match contents.findings.iter().find(|finding| finding.is_damage()) {
        Some(damage) => damaged(damage),
        None => Error::NotAStore {
            path: inspection.directory.clone(),
        },
    }
}
