//! Repairing: what would be done and lost, and then doing it.
//!
//! # What is done
//! - A manifest that is damaged, or that CURRENT does not name any more, is written anew from its last whole state. What
//!   the edits behind said is forgotten, but segments that go on where a log ends are taken in again.
//! - In a damaged segment the records of the damaged frames are given up, and all others are kept (`log::mend`).
//! - What only the commit journal has is written to the segments; a journal that is damaged is then given up.
//! - A file that the operating system does not hand out is left alone: it may do so another time.
//! - A log whose last segment was touched is left as one that was interrupted, so that whoever opens the store reads it
//!   again and leaves out numbers as it always does then: none that anyone may have seen is given out again.
//!
//! # In which order
//! Everything that will change is copied aside and synced, then frames of the journal are put back, then new segments are written, then damaged ones are put right,
//! and last the new manifest comes into force. Interrupted anywhere, it can be done again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::Inspection;
use super::aside::Aside;
use super::contents::Contents;
use super::finding::{Damage, Finding, LogName, LostRecords};
use super::named_log::NamedLog;
use super::segment_check::SegmentCheck;
use super::verify::{CheckedLog, Progress, check_log};
use crate::catalog::{CatalogState, LogState, parse_manifest_name, write_manifest};
use crate::disk::{LockError, LockGuard, OpenMode};
use crate::error::{Error, Result};
use crate::log::{LogIdentity, Mend, SegmentEntry};

/// What a repair would do. The store is locked for as long as this is there.
#[derive(Debug)]
pub struct RepairPlan {
    /// What would be done, in order. Empty if there is nothing to repair.
    pub steps: Vec<RepairStep>,
    /// What cannot be repaired, and stays as it is.
    pub hopeless: Vec<Finding>,
    inspection: Inspection,
    changes: Option<Changes>,
    _lock: Box<dyn LockGuard>,
}

/// One part of a repair.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepairStep {
    /// The file that is concerned.
    pub path: PathBuf,
    /// Whose data it holds, if it is a shard's.
    pub log: Option<LogName>,
    /// What is done.
    pub action: RepairAction,
    /// What is lost for good. It is lost already; the repair says so.
    pub loses: Vec<Loss>,
}

/// What is done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairAction {
    /// The manifest is written anew from its last whole state, and CURRENT names it.
    RewriteManifest,
    /// The segment's header page and length are put right, and its damaged frames are given up.
    MendSegment,
    /// A missing segment is made again, without its records.
    ReplaceSegment,
    /// A segment that the manifest had forgotten is named again.
    TakeInSegment {
        /// Records that are served again.
        records: u64,
    },
    /// The recorded end of the log is dropped; it is found again by reading.
    ForgetEnd,
    /// Frames that only the commit journal has are written to their segments.
    PutJournaledBack,
    /// The commit journal, from which frames are lost, is given up.
    ForgetJournal,
}

/// What a repair cannot bring back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Records.
    Records(LostRecords),
    /// What the manifest said behind its damage: streams, splits, merges, deletions, retention, checkpoints.
    Edits {
        /// Whole frames of edits behind the damaged one, where they can be counted.
        frames: Option<u64>,
    },
    /// Perhaps the records that were acknowledged last in shards that were being written to.
    LastRecords,
}

/// What a repair did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Repaired {
    /// Where the files are as they were before, under the names that they have in the store.
    pub aside: PathBuf,
    /// Those files, as they are called in the store.
    pub copied: Vec<PathBuf>,
}

#[derive(Debug)]
struct Changes {
    number: u64,
    state: CatalogState,
    /// Segments, and the frames that only the journal has of them.
    journaled: Vec<(PathBuf, Vec<(u64, Bytes)>)>,
    mends: Vec<(LogIdentity, PathBuf, Mend)>,
    /// To be copied aside.
    files: Vec<PathBuf>,
}

impl Inspection {
    /// Finds out what can be repaired, and what would be lost. Nothing is changed before [`RepairPlan::apply`].
    ///
    /// # Errors
    /// [`Error::Locked`] while a program has the store; otherwise as for [`verify`](Self::verify).
    pub fn plan_repair(&self, on_progress: &mut dyn FnMut(&Progress)) -> Result<RepairPlan> {
        // Looked at first, so that a directory that is no store gets no lock file.
        Contents::read(self)?;
        let path = self.directory.join("LOCK");
        let lock = self.disk.lock(&path).map_err(|error| match error {
            LockError::Held(holder) => Error::Locked { path, holder },
            LockError::Io(error) => Error::io("lock", &path, error),
        })?;
        let mut contents = Contents::read(self)?;
        // It is this plan that has the store.
        contents.is_held = false;
        let mut plan = RepairPlan {
            steps: Vec::new(),
            hopeless: Vec::new(),
            inspection: self.clone(),
            changes: None,
            _lock: lock,
        };
        plan.make(&contents, on_progress)?;
        Ok(plan)
    }
}

impl RepairPlan {
    fn make(&mut self, contents: &Contents, on_progress: &mut dyn FnMut(&Progress)) -> Result<()> {
        let findings = contents.findings.iter().filter(|finding| finding.is_damage());
        // What cannot be read may be readable again tomorrow, so nothing is put in its place.
        let is_unreadable = contents.findings.iter().any(Finding::is_unreadable);
        let Some(state) = contents.state().filter(|_| !is_unreadable) else {
            self.hopeless.extend(findings.cloned());
            return Ok(());
        };
        let numbers = contents.names.iter().filter_map(|name| parse_manifest_name(name));
        let mut changes = Changes {
            number: numbers.max().unwrap_or(0) + 1,
            state: state.clone(),
            journaled: Vec::new(),
            mends: Vec::new(),
            files: Vec::new(),
        };
        let is_cut = findings.count() > 0;
        if is_cut {
            self.plan_manifest(contents, &mut changes)?;
        }
        let mut logs = NamedLog::all_of(&self.inspection, state);
        self.inspection.lay_over_journaled(contents, &mut logs);
        let journal = NamedLog::journal(&self.inspection, state);
        let mut progress = Progress {
            bytes_done: 0,
            bytes_total: logs
                .iter()
                .flat_map(|log| &log.segments)
                .map(|segment| segment.bytes)
                .sum(),
            path: self.inspection.directory.clone(),
        };
        for log in &logs {
            self.plan_log(log.clone(), is_cut, &mut changes, &mut progress, on_progress)?;
        }
        if let Some(journal) = journal {
            self.plan_journal(&journal, &logs, &mut changes, &mut progress, on_progress);
        }
        if !self.steps.is_empty() {
            for name in ["CURRENT".to_owned()]
                .into_iter()
                .chain(contents.names.iter().cloned())
            {
                if name == "CURRENT" || parse_manifest_name(&name).is_some() {
                    changes.add_file(self.inspection.directory.join(name));
                }
            }
            self.changes = Some(changes);
        }
        Ok(())
    }

    fn plan_manifest(&mut self, contents: &Contents, changes: &mut Changes) -> Result<()> {
        let defect = contents
            .manifest
            .as_ref()
            .and_then(|manifest| manifest.defect.as_ref());
        let frames = defect
            .filter(|defect| !defect.is_torn)
            .map(|defect| defect.frames_behind);
        let is_current_damaged = contents
            .findings
            .iter()
            .any(|finding| finding.path.ends_with("CURRENT"));
        let loses = match (frames, is_current_damaged) {
            (Some(frames), _) => vec![Loss::Edits { frames: Some(frames) }],
            // The name alone was lost.
            (None, true) => Vec::new(),
            (None, false) => vec![Loss::Edits { frames: None }],
        };
        self.steps.push(RepairStep {
            path: contents.manifest.as_ref().map_or_else(
                || self.inspection.directory.join("CURRENT"),
                |manifest| manifest.path.clone(),
            ),
            log: None,
            action: RepairAction::RewriteManifest,
            loses,
        });
        if let Some(highest) = self.inspection.highest_stream_directory()? {
            changes.state.reserve_stream_ids(highest);
        }
        // What the manifest has forgotten is removed by whoever opens the store.
        for path in self.inspection.unnamed_segment_files(&changes.state)? {
            changes.add_file(path);
        }
        Ok(())
    }

    fn plan_log(
        &mut self,
        mut log: NamedLog,
        is_cut: bool,
        changes: &mut Changes,
        progress: &mut Progress,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<()> {
        let mut is_changed = false;
        if is_cut && log.is_open() && !log.segments.is_empty() && log.end.is_some() {
            // The log may have been gone on with, and the manifest have forgotten it.
            log.end = None;
            is_changed = true;
        }
        is_changed |= self.take_in_forgotten(&mut log)?;
        let checked = check_log(&self.inspection, &log, false, progress, on_progress);
        let mut segments = Vec::new();
        let last = log.segments.len().saturating_sub(1);
        for (at, check) in checked.segments.iter().enumerate() {
            let mended = self.plan_segment(&checked, check, changes);
            is_changed |= mended.is_some();
            let has_to_be_read = mended.is_some() || check.forgotten > 0;
            if at == last && has_to_be_read && log.is_open() {
                if log.end.take().is_some() && mended.is_none() {
                    self.steps
                        .push(RepairStep::of(check, &log, RepairAction::ForgetEnd, Vec::new()));
                }
                is_changed = true;
            }
            segments.extend(mended.unwrap_or_else(|| vec![check.entry]));
        }
        if is_changed {
            let end = log.end;
            let state = LogState {
                segments,
                end,
                ..LogState::default()
            };
            changes.state.replace_log(log.name.stream, log.name.shard, state);
        }
        Ok(())
    }

    /// What the journal has is put where it belongs before anything else is done, and then it is not needed any more.
    fn plan_journal(
        &mut self,
        journal: &NamedLog,
        logs: &[NamedLog],
        changes: &mut Changes,
        progress: &mut Progress,
        on_progress: &mut dyn FnMut(&Progress),
    ) {
        let checked = check_log(&self.inspection, journal, false, progress, on_progress);
        let damage: Vec<_> = checked
            .findings(false)
            .into_iter()
            .filter(Finding::is_damage)
            .collect();
        if damage.iter().any(Finding::is_unreadable) {
            self.hopeless.extend(damage);
            return;
        }
        if let Some(damaged) = damage.first() {
            self.steps.push(RepairStep {
                path: damaged.path.clone(),
                log: Some(journal.name.clone()),
                action: RepairAction::ForgetJournal,
                loses: vec![Loss::LastRecords],
            });
        }
        if self.steps.is_empty() {
            return;
        }
        changes.state.journal = LogState::default();
        for entry in &journal.segments {
            changes.add_file(journal.directory.join(entry.file_name()));
        }
        for log in logs.iter().filter(|log| !log.journaled.is_empty()) {
            let Some(last) = log.segments.last() else { continue };
            let path = log.directory.join(last.file_name());
            self.steps.push(RepairStep {
                path: path.clone(),
                log: Some(log.name.clone()),
                action: RepairAction::PutJournaledBack,
                loses: Vec::new(),
            });
            changes.add_file(path.clone());
            changes.journaled.push((path, log.journaled.clone()));
        }
    }

    /// Names the segments that the manifest has forgotten, as far as they go on where the log ends.
    fn take_in_forgotten(&mut self, log: &mut NamedLog) -> Result<bool> {
        let mut is_changed = false;
        for segment in self.inspection.forgotten_segments(log)? {
            // What lies between must have had room in the segment before.
            let joins = log.segments.last().is_none_or(|last| {
                last.base_position <= segment.entry.base_position
                    && last.offset_of(segment.entry.base_position) <= last.bytes
            });
            if !joins {
                break;
            }
            log.segments.push(segment.entry);
            log.end = None;
            is_changed = true;
            self.steps.push(RepairStep {
                path: segment.path,
                log: Some(log.name.clone()),
                action: RepairAction::TakeInSegment {
                    records: segment.records,
                },
                loses: Vec::new(),
            });
        }
        Ok(is_changed)
    }

    /// What becomes of a segment, if something has to.
    fn plan_segment(
        &mut self,
        checked: &CheckedLog,
        check: &SegmentCheck,
        changes: &mut Changes,
    ) -> Option<Vec<SegmentEntry>> {
        let log = &checked.log;
        let is_damaged = check.file_damage.is_some() || !check.survey.damage.is_empty();
        if !is_damaged {
            let damage = check.findings(log, false).into_iter().filter(Finding::is_damage);
            let hopeless = damage.filter(|finding| !matches!(finding.damage, Damage::Forgotten { .. }));
            self.hopeless.extend(hopeless);
            return None;
        }
        let damage: Vec<_> = check
            .findings(log, false)
            .into_iter()
            .filter(Finding::is_damage)
            .collect();
        let is_unreadable = damage.iter().any(Finding::is_unreadable);
        let Some(mend) = Mend::plan(check.entry, &check.survey).filter(|_| !is_unreadable) else {
            self.hopeless.extend(damage);
            return None;
        };
        let action = match check.file_damage {
            Some((_, Damage::Missing)) => RepairAction::ReplaceSegment,
            _ => RepairAction::MendSegment,
        };
        let loses = check.losses().into_iter().map(Loss::Records).collect();
        self.steps.push(RepairStep::of(check, log, action, loses));
        changes.add_file(check.path.clone());
        let entries: Vec<_> = mend.entries().collect();
        for entry in &entries {
            changes.add_file(log.directory.join(entry.file_name()));
            changes.add_file(log.directory.join(entry.index_name()));
        }
        changes.mends.push((log.identity, log.directory.clone(), mend));
        Some(entries)
    }

    /// Does it: copies aside what will change, then changes it. `None` if there was nothing to do.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::StorageFull`]. Nothing is lost then that was not lost before: the plan can be made and
    /// applied again.
    pub fn apply(self) -> Result<Option<Repaired>> {
        let Some(changes) = &self.changes else {
            return Ok(None);
        };
        let (disk, directory) = (&self.inspection.disk, &self.inspection.directory);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut aside = Aside::begin(&self.inspection, now.as_secs())?;
        for path in &changes.files {
            aside.copy(path)?;
        }
        aside.finish()?;
        for (path, frames) in &changes.journaled {
            self.put_back(path, frames)?;
        }
        for (identity, directory, mend) in &changes.mends {
            mend.apply(disk.as_ref(), *identity, directory)?;
        }
        write_manifest(disk, directory, changes.number, &changes.state)?;
        Ok(Some(aside.into_repaired()))
    }

    fn put_back(&self, path: &Path, frames: &[(u64, Bytes)]) -> Result<()> {
        let file = match self.inspection.disk.open(path, OpenMode::Write) {
            Ok(file) => file,
            // It is made again, without its records.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("open", path, error)),
        };
        for (offset, frame) in frames {
            file.write_all_at(frame, *offset)
                .map_err(|error| Error::preparing("write to", path, error))?;
        }
        file.sync_data().map_err(|error| Error::io("sync", path, error))
    }
}

impl Changes {
    fn add_file(&mut self, path: PathBuf) {
        if !self.files.contains(&path) {
            self.files.push(path);
        }
    }
}

impl RepairStep {
    fn of(check: &SegmentCheck, log: &NamedLog, action: RepairAction, loses: Vec<Loss>) -> Self {
        Self {
            path: check.path.clone(),
            log: Some(log.name.clone()),
            action,
            loses,
        }
    }
}

impl Inspection {
    /// Segments that a catalog does not name.
    fn unnamed_segment_files(&self, state: &CatalogState) -> Result<Vec<PathBuf>> {
        let logs = NamedLog::all_of(self, state);
        let is_named = |path: &Path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let of = |log: &NamedLog| path.parent() == Some(&log.directory) && log.names_file(name);
            logs.iter().any(of)
        };
        let mut files = self.segment_files()?;
        files.retain(|path| !is_named(path));
        Ok(files)
    }
}

impl fmt::Display for RepairStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.action)?;
        if let Some(log) = &self.log {
            write!(f, "\n    {log}")?;
        }
        for loss in &self.loses {
            write!(f, "\n    {loss}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RepairAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RewriteManifest => f.write_str("write the manifest anew from its last whole state"),
            Self::MendSegment => f.write_str("keep what is whole, and give up the rest"),
            Self::ReplaceSegment => f.write_str("put an empty segment in the place of the missing one"),
            Self::TakeInSegment { records } => {
                write!(
                    f,
                    "name it again; it has {records} records that the manifest had forgotten"
                )
            }
            Self::ForgetEnd => {
                f.write_str("find the end of the log again, behind where the manifest says it is")
            }
            Self::PutJournaledBack => f.write_str("write what only the commit journal has of it"),
            Self::ForgetJournal => f.write_str("give up the commit journal, of which not all is whole"),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(lost) => lost.fmt(f),
            Self::LastRecords => f.write_str(
                "what was acknowledged last may be lost in the shards that were being written to",
            ),
            Self::Edits { frames: Some(0) } => f.write_str("the last change that the manifest held is lost"),
            Self::Edits { frames: Some(frames) } => write!(
                f,
                "the manifest's changes from its damage on are lost ({frames} whole ones behind it): streams may be \
                 missing or be there again, and splits and merges be undone"
            ),
            Self::Edits { frames: None } => f.write_str(
                "this manifest is an older one; all changes since are lost: streams may be missing or be there again, \
                 and splits and merges be undone",
            ),
        }
    }
}
