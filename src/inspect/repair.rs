//! Repairing: a plan of what would be done and lost, and then doing it.
//!
//! # What is done
//! - A manifest that is damaged, or that CURRENT no longer names, is rewritten. Edits that one copy lost are taken from
//!   the other. Edits that neither copy has are lost. Whole edits behind them are applied as far as they fit, and
//!   segments of known logs are named again.
//! - Segments with whole records that belong to no known log are set aside, but only if a person agrees. So are files
//!   with segments' names that no edit accounts for and whose header pages are damaged: they may hold records.
//! - The numbers of files that are set aside stay reserved: no stream, shard or record gets one of them again.
//! - In a damaged segment the records of the damaged frames are given up, and all others are kept
//!   (`log::recover::mend`).
//! - Frames that only the commit journal has are written to the segments. A damaged journal is then given up.
//! - A file for which the operating system gives an error is not changed: it may be readable later.
//! - A log whose last segment was changed is marked as interrupted. So the next opener reads it again and leaves out
//!   numbers as after every crash: no number that a reader may have seen is given out again.
//!
//! # In which order
//! The journal's frames are laid over the bytes read of the segments, so the plan is made for the segments with these
//! frames. Then the files that will change are copied aside and synced, frames of the journal are put back, new
//! segments are written, the new manifest comes into force, and damaged segments are mended. An interrupted repair can
//! be repeated. At the end the store is verified.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Inspection;
use super::aside::Aside;
use super::contents::{Contents, Use};
use super::finding::{Counted, Damage, Finding, InspectedLog, LostRecords};
use super::named_log::NamedLog;
use super::segment_check::SegmentCheck;
use super::unnamed::ForgottenSegment;
use super::verify::{CheckedLog, Progress, Verification, check_log, verify_while_locked};
use crate::catalog::CatalogState;
use crate::catalog::manifest::{ManifestSurvey, parse_manifest_name, write_manifest};
use crate::disk::{DiskFile, LockError, LockGuard, OpenMode, Step, is_left_out, perform};
use crate::error::{Error, InvalidArgument, Result};
use crate::log::{
    FramesInJournal, INTERRUPTION_GAP, JournaledSegment, LogIdentity, LogPosition, Mend, SegmentEntry,
    make_log_directory, remove_if_there,
};
use crate::model::{LogName, RecordNumber, Timestamp};

/// The plan of a repair. The store is locked while this exists.
#[derive(Debug)]
pub struct RepairPlan {
    /// The steps, in order. Empty if there is nothing to repair.
    pub steps: Vec<RepairStep>,
    /// Damage that cannot be repaired, and stays.
    pub hopeless: Vec<Finding>,
    inspection: Inspection,
    changes: Option<Changes>,
    _lock: Box<dyn LockGuard>,
}

/// One step of a repair.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepairStep {
    /// The file that it changes.
    pub path: PathBuf,
    /// The log whose data the file holds, if it holds a log's data.
    pub log: Option<InspectedLog>,
    /// What is done.
    pub action: RepairAction,
    /// The data that is lost for good. It was lost before the repair, which only records this.
    pub loses: Vec<Loss>,
}

/// The change to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairAction {
    /// The manifest is rewritten from its last whole state, and CURRENT names it.
    RewriteManifest,
    /// The segment's header page and length are put right, and its damaged frames are given up.
    MendSegment,
    /// A missing segment is made again, without its records.
    ReplaceSegment,
    /// A segment that belongs to no shard that the manifest knows, or whose header page is damaged so that its log is
    /// unknown, is moved to the copies. Only a person may allow this: [`RepairPlan::apply_and_set_aside`].
    SetAside {
        /// Whole records that will not be served; unknown where the header page is damaged.
        records: Option<u64>,
    },
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

/// Data that a repair cannot bring back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// Records.
    Records(LostRecords),
    /// Edits in a damaged part of the manifest: streams, splits, merges, deletions, retention, checkpoints.
    Edits {
        /// Whole edits behind the damage that do not fit without the lost ones, where they can be counted.
        misfits: Option<u64>,
    },
    /// Perhaps the records that were acknowledged last in shards that were being written to.
    LastRecords,
}

/// The result of a repair.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Repaired {
    /// The directory with copies of the files as they were before, under the names that they have in the store.
    pub aside: PathBuf,
    /// Those files, as they are called in the store.
    pub copied: Vec<PathBuf>,
    /// The verification afterwards.
    pub verification: Verification,
}

/// A segment, and the frames that are to be written to it.
type PutBack<'a> = (&'a NamedLog, SegmentEntry, JournaledSegment);

#[derive(Debug)]
struct Changes {
    number: u64,
    state: CatalogState,
    /// Segments, and the frames that only the journal has of them.
    journaled: Vec<(PathBuf, JournaledSegment)>,
    mends: Vec<(LogIdentity, PathBuf, Mend)>,
    /// Files to be copied aside.
    files: Vec<PathBuf>,
    /// Files to be removed once the manifest is in force.
    set_aside: Vec<PathBuf>,
    /// For each file that the new manifest will not name: its log, and its first record.
    numbers_set_aside: Vec<(LogName, RecordNumber)>,
    /// The arrival of the newest record in the files that are set aside, as far as it is known.
    newest_set_aside: Timestamp,
}

impl Inspection {
    /// Finds out what can be repaired, and what would be lost. Changes nothing; [`RepairPlan::apply`] does.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("data");
    /// # let store = anabranch::Store::open(&path)?;
    /// # store.create_stream("clicks", 1)?.put("user-42", b"{}")?;
    /// # store.close()?;
    /// # use anabranch::inspect::Inspection;
    /// let plan = Inspection::of(&path).plan_repair(&mut |_| {})?;
    /// for step in &plan.steps {
    ///     println!("{}: {:?}", step.path.display(), step.action);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`] while a program has the store; otherwise as for [`verify`](Self::verify).
    pub fn plan_repair(&self, on_progress: &mut dyn FnMut(&Progress)) -> Result<RepairPlan> {
        // Read first, so that a directory that is no store gets no lock file.
        Contents::read(self)?;
        let path = self.directory.join("LOCK");
        let lock = self.disk.lock(&path).map_err(|error| match error {
            LockError::Held(holder) => Error::Locked { path, holder },
            LockError::Io(error) => Error::io("lock", &path, error),
        })?;
        // This plan has the store.
        let contents = Contents::read_as(self, Use::Alone)?;
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
        let mut damage = contents.findings.iter().filter(|finding| finding.is_damage());
        // A file that cannot be read may be readable later, so nothing replaces it.
        let is_unreadable = contents.findings.iter().any(Finding::is_unreadable);
        let usable = contents.manifest.as_ref().filter(|_| !is_unreadable);
        let Some((manifest, state)) = usable.and_then(|manifest| Some((manifest, manifest.state.as_ref()?)))
        else {
            self.hopeless.extend(damage.cloned());
            return Ok(());
        };
        let numbers = contents.names.iter().filter_map(|name| parse_manifest_name(name));
        let mut changes = Changes {
            number: numbers.max().unwrap_or(0) + 1,
            state: state.clone(),
            journaled: Vec::new(),
            mends: Vec::new(),
            files: Vec::new(),
            set_aside: Vec::new(),
            numbers_set_aside: Vec::new(),
            newest_set_aside: Timestamp::EPOCH,
        };
        if damage.next().is_some() {
            self.plan_manifest(contents, manifest);
        }
        // A program may have written to the logs after the last edit that this manifest has.
        let is_cut = !contents.is_in_force || manifest.has_lost_edits();
        let (journal, damaged_in_journal) = self.find_journal(manifest, state, is_cut)?;
        let frames = match journal.end {
            Some(_) => FramesInJournal::new(manifest.store),
            None => self.inspection.read_journal(&journal, false).0,
        };
        let mut logs = NamedLog::all_of(&self.inspection, state);
        let mut forgotten = self.inspection.forgotten_segments(manifest, &logs, &frames)?;
        let mut progress = Progress {
            bytes_done: 0,
            bytes_total: logs
                .iter()
                .flat_map(|log| &log.segments)
                .map(|segment| segment.bytes)
                .sum(),
            path: self.inspection.directory.clone(),
        };
        for log in &mut logs {
            let may_go_on = is_cut && !log.segments.is_empty() || log.goes_on_in(&frames);
            let mut is_changed = log.is_open() && may_go_on && log.end.take().is_some();
            is_changed |= self.take_in_forgotten(log, &mut forgotten);
            if !is_left_out(Step::PlannedWithJournal) {
                log.take_all_journaled(&frames);
            }
            self.plan_log(log, is_changed, &mut changes, &mut progress, on_progress);
        }
        self.plan_set_aside(&forgotten, &[], &mut changes);
        let lost_with_journal: &[_] = match is_cut {
            true => &[Loss::LastRecords],
            false => &[],
        };
        self.plan_set_aside(&damaged_in_journal, lost_with_journal, &mut changes);
        if is_cut {
            self.plan_lost_journaled(manifest, &logs, &forgotten, &frames, &journal, &mut changes)?;
        }
        self.plan_journal(&journal, &logs, &mut changes, &mut progress, on_progress)?;
        if !self.steps.is_empty() {
            if is_cut || !changes.numbers_set_aside.is_empty() {
                self.keep_what_is_not_named(contents, &logs, &mut changes)?;
            }
            if !is_left_out(Step::SetAsideKeepsNumbers) {
                changes.reserve_numbers();
            }
            self.changes = Some(changes);
        }
        Ok(())
    }

    fn plan_manifest(&mut self, contents: &Contents, manifest: &ManifestSurvey) {
        let lost = manifest.defect.as_ref().filter(|defect| !defect.is_torn);
        let is_current_damaged = contents
            .findings
            .iter()
            .any(|finding| finding.path.ends_with("CURRENT"));
        let loses = match lost {
            Some(lost) => vec![Loss::Edits {
                misfits: Some(lost.misfits),
            }],
            // Only the name was lost, or one copy.
            None if contents.is_in_force || is_current_damaged => Vec::new(),
            None => vec![Loss::Edits { misfits: None }],
        };
        self.steps.push(RepairStep {
            path: manifest.path.clone(),
            log: None,
            action: RepairAction::RewriteManifest,
            loses,
        });
    }

    /// The commit journal, with the segments that the manifest may have lost, and files with damaged header pages that
    /// may have been its segments.
    fn find_journal(
        &self,
        manifest: &ManifestSurvey,
        state: &CatalogState,
        is_cut: bool,
    ) -> Result<(NamedLog, Vec<ForgottenSegment>)> {
        let mut journal = NamedLog::journal_even_if_empty(&self.inspection, state);
        let forgotten = self.inspection.forgotten_journal_segments(manifest, &journal)?;
        if is_cut {
            let whole = forgotten.iter().filter_map(ForgottenSegment::entry);
            journal.segments.extend(whole);
            journal.segments.sort_by_key(|segment| segment.first_record);
            journal.end = None;
        }
        let damaged = forgotten.into_iter().filter(|segment| segment.found.is_none());
        Ok((journal, damaged.collect()))
    }

    fn plan_log(
        &mut self,
        log: &mut NamedLog,
        mut is_changed: bool,
        changes: &mut Changes,
        progress: &mut Progress,
        on_progress: &mut dyn FnMut(&Progress),
    ) {
        let checked = check_log(&self.inspection, log, false, progress, on_progress);
        let mut segments = Vec::new();
        let last = log.segments.len().saturating_sub(1);
        for (at, check) in checked.segments.iter().enumerate() {
            let mended = self.plan_segment(&checked, check, changes);
            is_changed |= mended.is_some();
            let has_to_be_read = mended.is_some() || check.forgotten > 0;
            if at == last && has_to_be_read && log.is_open() {
                if log.end.take().is_some() && mended.is_none() {
                    self.steps
                        .push(RepairStep::of(check, log, RepairAction::ForgetEnd, Vec::new()));
                }
                is_changed = true;
            }
            segments.extend(mended.unwrap_or_else(|| vec![check.entry]));
        }
        if is_changed {
            changes
                .state
                .replace_segments(log.identity.name, segments, log.end);
        }
    }

    /// Puts the journal's frames back into their segments. Then the journal is not needed any more.
    fn plan_journal(
        &mut self,
        journal: &NamedLog,
        logs: &[NamedLog],
        changes: &mut Changes,
        progress: &mut Progress,
        on_progress: &mut dyn FnMut(&Progress),
    ) -> Result<()> {
        let Some(last) = journal.segments.last() else {
            return Ok(());
        };
        let checked = check_log(&self.inspection, journal, false, progress, on_progress);
        let damage: Vec<_> = checked
            .findings(false)
            .into_iter()
            .filter(Finding::is_damage)
            .collect();
        if damage.iter().any(Finding::is_unreadable) {
            self.hopeless.extend(damage);
            return Ok(());
        }
        if let Some(damaged) = damage.first() {
            self.steps.push(RepairStep {
                path: damaged.path.clone(),
                log: Some(journal.name.clone()),
                action: RepairAction::ForgetJournal,
                loses: vec![Loss::LastRecords],
            });
        }
        let put_back = self.frames_to_put_back(logs)?;
        // An opener puts back the frames that the last segment of an interrupted log lacks.
        let is_damage =
            |(log, entry, _): &PutBack<'_>| log.end.is_some() || log.segments.last() != Some(entry);
        if self.steps.is_empty() && !put_back.iter().any(is_damage) {
            return Ok(());
        }
        let end = Some(last.end_behind_all());
        changes
            .state
            .replace_segments(journal.identity.name, Vec::new(), end);
        for entry in &journal.segments {
            changes.add_file(journal.directory.join(entry.file_name()));
        }
        for (log, entry, frames) in put_back {
            let path = log.directory.join(entry.file_name());
            self.steps.push(RepairStep {
                path: path.clone(),
                log: Some(log.name.clone()),
                action: RepairAction::PutJournaledBack,
                loses: Vec::new(),
            });
            changes.add_file(path.clone());
            changes.journaled.push((path, frames));
        }
        Ok(())
    }

    /// The journal's frames that are missing or different in their segments.
    fn frames_to_put_back<'a>(&self, logs: &'a [NamedLog]) -> Result<Vec<PutBack<'a>>> {
        let mut put_back = Vec::new();
        for log in logs {
            for entry in &log.segments {
                let Some(journaled) = log.journaled.get(&entry.first_record) else {
                    continue;
                };
                let path = log.directory.join(entry.file_name());
                let file = self.inspection.open(&path).ok();
                let missing = journaled.filtered(|offset, frame| {
                    let mut there = vec![0; frame.len()];
                    file.as_ref()
                        .is_none_or(|file| file.read_exact_at(&mut there, offset).is_err() || there != *frame)
                })?;
                put_back.extend(missing.map(|missing| (log, *entry, missing)));
            }
        }
        Ok(put_back)
    }

    /// Names the segments of a log that the manifest has forgotten, as far as they join the named ones. Removes them
    /// from `forgotten`.
    fn take_in_forgotten(&mut self, log: &mut NamedLog, forgotten: &mut Vec<ForgottenSegment>) -> bool {
        let mut is_changed = false;
        forgotten.retain(|segment| {
            let Some((entry, records)) = segment.found.filter(|_| segment.identity == log.identity) else {
                return true;
            };
            let at = log
                .segments
                .partition_point(|named| named.first_record < entry.first_record);
            // The frames between must have had room in the segment before.
            let joins = log.segments[..at].last().is_none_or(|before| {
                before.base_position <= entry.base_position
                    && before.offset_of(entry.base_position) <= before.bytes
            });
            if !joins {
                return true;
            }
            log.segments.insert(at, entry);
            if log.is_open() {
                log.end = None;
            }
            is_changed = true;
            self.steps.push(RepairStep {
                path: segment.path.clone(),
                log: Some(log.name.clone()),
                action: RepairAction::TakeInSegment { records },
                loses: Vec::new(),
            });
            false
        });
        is_changed
    }

    fn plan_set_aside(&mut self, forgotten: &[ForgottenSegment], loses: &[Loss], changes: &mut Changes) {
        for segment in forgotten {
            self.steps.push(RepairStep {
                path: segment.path.clone(),
                log: segment.finding().log,
                action: RepairAction::SetAside {
                    records: segment.records(),
                },
                loses: loses.to_vec(),
            });
            changes.add_file(segment.path.clone());
            // The repair may make a segment of that name.
            if !changes.mends_file(&segment.path) {
                changes.set_aside.push(segment.path.clone());
            }
            changes.set_numbers_aside(segment.identity.name, segment.first_record);
            let arrival = segment.entry().map(|entry| entry.base_arrival);
            changes.newest_set_aside = changes.newest_set_aside.max(arrival.unwrap_or(Timestamp::EPOCH));
        }
    }

    /// The journal's frames of segments that do not exist.
    fn plan_lost_journaled(
        &mut self,
        manifest: &ManifestSurvey,
        logs: &[NamedLog],
        forgotten: &[ForgottenSegment],
        frames: &FramesInJournal,
        journal: &NamedLog,
        changes: &mut Changes,
    ) -> Result<()> {
        let elsewhere = frames.records_elsewhere(|name, salt| {
            let is_forgotten = |segment: &ForgottenSegment| {
                segment.identity.name == name && segment.entry().is_some_and(|entry| entry.salt == salt)
            };
            if forgotten.iter().any(is_forgotten) {
                return None;
            }
            let is_of = |log: &&NamedLog| log.identity.name == name;
            let is_gone =
                || name.stream().is_some_and(|stream| manifest.is_deleted(stream)) || manifest.is_gone(name);
            match logs.iter().find(is_of) {
                Some(log) if log.segments.iter().any(|segment| segment.salt == salt) => None,
                // A segment is durable before the next one is begun.
                Some(log) => Some(
                    log.segments
                        .last()
                        .map_or(LogPosition(0), |last| last.base_position),
                ),
                None => (!is_gone()).then_some(LogPosition(0)),
            }
        })?;
        for (name, first, records) in elsewhere {
            changes.set_numbers_aside(name, first);
            self.steps.push(RepairStep {
                path: journal.directory.clone(),
                log: Some(InspectedLog::unnamed(name)),
                action: RepairAction::SetAside {
                    records: Some(records),
                },
                loses: Vec::new(),
            });
        }
        Ok(())
    }

    /// Has the segments copied that the new manifest will not name, and reserves their numbers and their streams'.
    fn keep_what_is_not_named(
        &self,
        contents: &Contents,
        logs: &[NamedLog],
        changes: &mut Changes,
    ) -> Result<()> {
        if let Some(highest) = self.inspection.highest_stream_directory()? {
            changes.state.reserve_stream_ids(highest);
        }
        let is_named = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            let of = |log: &NamedLog| {
                path.parent() == Some(&log.directory) && name.is_some_and(|name| log.names_file(name))
            };
            logs.iter().any(of)
        };
        for path in self.inspection.segment_files()? {
            if !is_named(&path) {
                if let Some((log, first)) = self.inspection.log_of_file(&path) {
                    changes.set_numbers_aside(log, first);
                }
                changes.add_file(path);
            }
        }
        debug_assert!(!contents.is_held, "a repair has the store for itself");
        Ok(())
    }

    /// The step for a segment, if it needs one.
    fn plan_segment(
        &mut self,
        checked: &CheckedLog,
        check: &SegmentCheck,
        changes: &mut Changes,
    ) -> Option<Vec<SegmentEntry>> {
        let log = &checked.log;
        let is_damaged =
            check.file_damage.is_some() || !check.survey.damage.is_empty() || check.is_followed_by_a_gap();
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
        let Some(mend) =
            Mend::plan(check.entry, &check.survey, check.expected.position()).filter(|_| !is_unreadable)
        else {
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

    /// Whether segments with whole records will belong to no shard.
    pub fn sets_aside(&self) -> bool {
        let is_set_aside = |step: &RepairStep| matches!(step.action, RepairAction::SetAside { .. });
        self.steps.iter().any(is_set_aside)
    }

    /// Applies the plan: copies aside the files that will change, changes them, and verifies the store. `None` if there
    /// was nothing to do.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("data");
    /// # let store = anabranch::Store::open(&path)?;
    /// # store.create_stream("clicks", 1)?.put("user-42", b"{}")?;
    /// # store.close()?;
    /// # use anabranch::inspect::Inspection;
    /// let plan = Inspection::of(&path).plan_repair(&mut |_| {})?;
    /// if let Some(repaired) = plan.apply()? {
    ///     assert!(repaired.verification.is_sound());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a plan that [sets segments aside](Self::sets_aside); then nothing is changed.
    /// [`Error::Io`], [`Error::StorageFull`]; nothing is lost then that was not lost before: the plan can be made and
    /// applied again.
    pub fn apply(self) -> Result<Option<Repaired>> {
        match self.sets_aside() {
            true => Err(InvalidArgument::SetsAside.into()),
            false => self.apply_and_set_aside(),
        }
    }

    /// Applies the plan, even if it sets segments with whole records aside. They stay among the copies.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::StorageFull`], as for [`apply`](Self::apply).
    pub fn apply_and_set_aside(self) -> Result<Option<Repaired>> {
        let Some(changes) = &self.changes else {
            return Ok(None);
        };
        let (disk, directory) = (&self.inspection.disk, &self.inspection.directory);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut aside = Aside::begin(&self.inspection, now.as_secs())?;
        for path in self.manifest_files()?.iter().chain(&changes.files) {
            aside.copy(path)?;
        }
        aside.finish()?;
        for (path, frames) in &changes.journaled {
            self.put_back(path, frames)?;
        }
        for (identity, directory, mend) in &changes.mends {
            mend.prepare(disk.as_ref(), *identity, directory)?;
        }
        write_manifest(disk, directory, changes.number, &changes.state)?;
        for (identity, directory, mend) in &changes.mends {
            mend.finish(disk.as_ref(), *identity, directory)?;
        }
        self.remove_set_aside(&changes.set_aside)?;
        let verification = verify_while_locked(&self.inspection, &mut |_| {})?;
        let (aside, copied) = aside.into_copies();
        Ok(Some(Repaired {
            aside,
            copied,
            verification,
        }))
    }

    /// Removes them durably: if a crash brought a segment back, it would look like one that the manifest has forgotten.
    fn remove_set_aside(&self, files: &[PathBuf]) -> Result<()> {
        let disk = self.inspection.disk.as_ref();
        for path in files {
            remove_if_there(disk, path)?;
        }
        let directories: BTreeSet<_> = files.iter().filter_map(|path| path.parent()).collect();
        for directory in directories {
            perform(Step::SetAsideRemovalSync, || disk.sync_dir(directory))
                .map_err(|error| Error::io("sync the directory", directory, error))?;
        }
        Ok(())
    }

    fn manifest_files(&self) -> Result<Vec<PathBuf>> {
        let directory = &self.inspection.directory;
        let names = self.inspection.list_if_there(directory)?;
        let is_wanted = |name: &&String| *name == "CURRENT" || parse_manifest_name(name).is_some();
        Ok(names
            .iter()
            .filter(is_wanted)
            .map(|name| directory.join(name))
            .collect())
    }

    fn put_back(&self, path: &Path, journaled: &JournaledSegment) -> Result<()> {
        let disk = self.inspection.disk.as_ref();
        let file = match disk.open(path, OpenMode::Write) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make_log_directory(disk, path.parent().unwrap_or(path))?;
                disk.open(path, OpenMode::CreateNew)
            }
            other => other,
        };
        let file = file.map_err(|error| Error::io("open", path, error))?;
        for frame in journaled.frames() {
            let (offset, frame) = frame?;
            file.write_all_at(&frame, offset)
                .map_err(|error| Error::preparing("write to", path, error))?;
        }
        perform(Step::RepairPutBackSync, || file.sync_data()).map_err(|error| Error::io("sync", path, error))
    }
}

impl Changes {
    fn mends_file(&self, path: &Path) -> bool {
        self.mends.iter().any(|(_, directory, mend)| {
            mend.entries()
                .any(|entry| directory.join(entry.file_name()) == path)
        })
    }

    fn set_numbers_aside(&mut self, log: LogName, first: RecordNumber) {
        self.numbers_set_aside.push((log, first));
    }

    /// Reserves, in the new manifest, the numbers of files that it does not name, so that they are not given out again.
    fn reserve_numbers(&mut self) {
        let now = Timestamp::from(SystemTime::now());
        for (log, first) in &self.numbers_set_aside {
            if let Some(stream) = log.stream() {
                if self.state.stream(stream).is_none() {
                    // The shards were made before their records arrived, and before now.
                    let newest = self.newest_set_aside.max(now);
                    self.state.note_unknown_streams(newest.as_seconds());
                }
                match *log {
                    LogName::Shard(_, shard) => self.state.reserve_shard(stream, shard),
                    LogName::Queue(_, queue) => self.state.reserve_queue(stream, queue),
                    LogName::CommitJournal => {}
                }
            }
            let last = self.state.log(*log).and_then(|known| known.segments.last());
            // A segment that is followed by another has no numbers from the other's first on.
            if last.is_none_or(|last| *first > last.first_record) {
                self.state
                    .reserve_record_numbers(*log, first.saturating_add(INTERRUPTION_GAP));
            }
        }
    }

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
            Self::RewriteManifest => f.write_str("rewrite the manifest from what is whole of it"),
            Self::SetAside {
                records: Some(records),
            } => write!(
                f,
                "set aside what belongs to no shard that the manifest knows; it has {}",
                Counted(*records, "whole record")
            ),
            Self::SetAside { records: None } => f.write_str(
                "set aside what no change of the manifest accounts for; its header page is damaged, and records may be in it",
            ),
            Self::MendSegment => f.write_str("keep what is whole, and give up the rest"),
            Self::ReplaceSegment => f.write_str("put an empty segment in the place of the missing one"),
            Self::TakeInSegment { records } => {
                let records = Counted(*records, "record");
                write!(f, "name it again; it has {records} that the manifest had forgotten")
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
            Self::Edits { misfits: Some(0) } => {
                f.write_str("changes that the manifest held where it is damaged are lost; those behind them are kept")
            }
            Self::Edits { misfits: Some(misfits) } => write!(
                f,
                "changes that the manifest held where it is damaged are lost, and {misfits} behind them that do not fit \
                 without: streams may be missing or be there again, and splits and merges be undone"
            ),
            Self::Edits { misfits: None } => f.write_str(
                "this manifest is an older one; all changes since are lost: streams may be missing or be there again, \
                 and splits and merges be undone",
            ),
        }
    }
}
