//! Verifying: going over everything, and telling what was found.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::Inspection;
use super::contents::Contents;
use super::finding::{Damage, Finding};
use super::named_log::NamedLog;
use super::segment_check::SegmentCheck;
use crate::error::Result;
use crate::log::PAGE_BYTES;

/// What a verification found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verification {
    /// The store's number, where the manifest can be read.
    pub store: Option<u128>,
    /// Who had the store meanwhile.
    pub holder: Option<Holder>,
    /// What was looked at.
    pub checked: Checked,
    /// Everything that is not as it was written, and what merely lies about.
    pub findings: Vec<Finding>,
}

/// A program that has a store open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its process number, if it could be read.
    pub process: Option<u32>,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Streams that the manifest names.
    pub streams: u64,
    /// Shards, open and closed.
    pub shards: u64,
    /// Segment files.
    pub segments: u64,
    /// Frames that hold.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of manifest and segments that hold or should.
    pub bytes: u64,
}

/// How far a verification has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were looked at.
    pub bytes_done: u64,
    /// Bytes that there are to look at, at most.
    pub bytes_total: u64,
    /// The file that is being looked at.
    pub path: PathBuf,
}

impl Verification {
    /// Whether every byte that matters is as it was written.
    pub fn is_sound(&self) -> bool {
        self.damage().next().is_none()
    }

    /// The findings that are damage.
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_damage())
    }
}

/// A log with what its segments are.
#[derive(Debug)]
pub(super) struct CheckedLog {
    pub(super) log: NamedLog,
    pub(super) segments: Vec<SegmentCheck>,
}

impl CheckedLog {
    pub(super) fn findings(&self, is_held: bool) -> Vec<Finding> {
        let checks = self.segments.iter();
        checks
            .flat_map(|check| check.findings(&self.log, is_held))
            .collect()
    }
}

pub(super) fn verify(
    inspection: &Inspection,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<Verification> {
    let mut checked = Checked::default();
    let mut findings = Vec::new();
    let contents = Contents::read(inspection)?;
    let mut total = contents.manifest.as_ref().map_or(0, |manifest| manifest.bytes);
    findings.extend(contents.findings.iter().cloned());
    let mut logs = inspection.logs(&contents, &mut findings)?;
    logs.extend(
        contents
            .state()
            .and_then(|state| NamedLog::journal(inspection, state)),
    );
    total += logs.iter().map(bytes_of).sum::<u64>();

    checked.bytes = contents.manifest.as_ref().map_or(0, |manifest| manifest.bytes);
    checked.streams = contents.state().map_or(0, |state| state.streams().len() as u64);
    let mut progress = Progress {
        bytes_done: checked.bytes,
        bytes_total: total,
        path: inspection.directory.clone(),
    };
    for log in &logs {
        let end = progress.bytes_done + bytes_of(log);
        let Some(log) =
            check_log_that_may_change(inspection, log, contents.is_held, &mut progress, on_progress)
        else {
            continue;
        };
        progress.bytes_done = end;
        checked.add(&log);
        findings.extend(log.findings(contents.is_held));
    }

    // Files are listed before the catalog is read again: what is named by then is nobody's leftover.
    if contents.is_held {
        findings.retain(|finding| !matches!(finding.damage, Damage::Index));
    } else {
        findings.extend(inspection.unnamed_files(&contents, &logs)?);
    }
    Ok(Verification {
        store: contents.manifest.as_ref().map(|manifest| manifest.store),
        holder: contents.is_held.then_some(Holder {
            process: contents.holder,
        }),
        checked,
        findings,
    })
}

/// Checks a log. While a program has the store, what looks like damage is believed only if it is still there when
/// the catalog still says the same; a log that is gone meanwhile is `None`.
fn check_log_that_may_change(
    inspection: &Inspection,
    log: &NamedLog,
    is_held: bool,
    progress: &mut Progress,
    on_progress: &mut dyn FnMut(&Progress),
) -> Option<CheckedLog> {
    const TRIES: usize = 10;
    let begun = progress.bytes_done;
    let mut log = log.clone();
    let mut seen: Option<Vec<Finding>> = None;
    for _ in 0..TRIES {
        progress.bytes_done = begun;
        let checked = check_log(inspection, &log, is_held, progress, on_progress);
        let damage: Vec<_> = checked
            .findings(is_held)
            .into_iter()
            .filter(Finding::is_damage)
            .collect();
        if !is_held || damage.is_empty() {
            return Some(checked);
        }
        let contents = Contents::read(inspection).ok()?;
        let Some(state) = contents.state() else {
            return Some(checked);
        };
        let now = NamedLog::of(inspection, state, log.name.stream, log.name.shard)?;
        if now.is_same(&log) && seen.as_ref() == Some(&damage) {
            return Some(checked);
        }
        seen = Some(damage);
        log = now;
    }
    Some(check_log(inspection, &log, is_held, progress, on_progress))
}

pub(super) fn check_log(
    inspection: &Inspection,
    log: &NamedLog,
    is_held: bool,
    progress: &mut Progress,
    on_progress: &mut dyn FnMut(&Progress),
) -> CheckedLog {
    let mut segments = Vec::new();
    for at in 0..log.segments.len() {
        progress.path = log.directory.join(log.segments[at].file_name());
        on_progress(progress);
        let end = progress.bytes_done + log.segments[at].bytes;
        let mut reported = progress.bytes_done;
        let check = inspection.check_segment(log, at, is_held, &mut |frame| {
            const STEP: u64 = 1 << 20;
            progress.bytes_done += frame.bytes();
            if progress.bytes_done - reported >= STEP {
                reported = progress.bytes_done;
                on_progress(progress);
            }
            ControlFlow::Continue(())
        });
        progress.bytes_done = end;
        segments.extend(check);
    }
    CheckedLog {
        log: log.clone(),
        segments,
    }
}

impl Checked {
    fn add(&mut self, log: &CheckedLog) {
        self.shards += u64::from(!log.log.identity.is_commit_journal());
        for check in &log.segments {
            self.segments += 1;
            self.frames += check.survey.frames;
            self.records += check.survey.records;
            self.bytes += PAGE_BYTES + (check.survey.end.position.0 - check.entry.base_position.0);
        }
    }
}

fn bytes_of(log: &NamedLog) -> u64 {
    log.segments.iter().map(|segment| segment.bytes).sum()
}
