//! Verifying: reading everything, and reporting the findings.

use std::ops::ControlFlow;
use std::path::PathBuf;

use super::Inspection;
use super::contents::{Contents, Use};
use super::finding::{Damage, Finding};
use super::named_log::NamedLog;
use super::segment_check::SegmentCheck;
use crate::disk::{Step, is_left_out};
use crate::error::Result;
use crate::log::PAGE_BYTES;
use crate::model::LogName;

/// The result of a verification.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verification {
    /// The store's number, where the manifest can be read.
    pub store: Option<u128>,
    /// The program that had the store meanwhile.
    pub holder: Option<Holder>,
    /// How much was checked.
    pub checked: Checked,
    /// Everything that is not as it was written, and files that are superfluous.
    pub findings: Vec<Finding>,
}

/// A program that has a store open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Its process number, if it could be read.
    pub process: Option<u32>,
}

/// How much was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// Streams that the manifest names.
    pub streams: u64,
    /// Shards, open and closed.
    pub shards: u64,
    /// Segment files of shards and queues. Those of the commit journal are not counted: they have copies of frames.
    pub segments: u64,
    /// Frames in them that hold.
    pub frames: u64,
    /// Records of shards in these frames.
    pub records: u64,
    /// Bytes of manifest, segments and commit journal that hold or should hold.
    pub bytes: u64,
}

/// How far a verification has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Bytes that were checked.
    pub bytes_done: u64,
    /// An upper bound of the bytes to check.
    pub bytes_total: u64,
    /// The file that is being checked.
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

/// A log with the checks of its segments.
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

/// Verifies. If a program opens a store that was not in use, the store is verified again as one in use.
pub(super) fn verify(
    inspection: &Inspection,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<Verification> {
    let contents = Contents::read(inspection)?;
    let verification = verify_contents(inspection, &contents, on_progress)?;
    if contents.is_held || verification.is_sound() {
        return Ok(verification);
    }
    let now = Contents::read(inspection)?;
    if !now.is_held && now.revision() == contents.revision() {
        return Ok(verification);
    }
    let contents = Contents::read_as(inspection, Use::Shared)?;
    verify_contents(inspection, &contents, on_progress)
}

/// Verifies a store that the caller has locked.
pub(super) fn verify_while_locked(
    inspection: &Inspection,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<Verification> {
    let contents = Contents::read_as(inspection, Use::Alone)?;
    verify_contents(inspection, &contents, on_progress)
}

fn verify_contents(
    inspection: &Inspection,
    contents: &Contents,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<Verification> {
    let mut checked = Checked::default();
    let mut findings = contents.findings.clone();
    let mut logs = inspection.logs(contents, &mut findings)?;
    logs.extend(
        contents
            .state()
            .and_then(|state| NamedLog::journal(inspection, state)),
    );
    checked.bytes = contents.manifest.as_ref().map_or(0, |manifest| manifest.bytes);
    checked.streams = contents.state().map_or(0, |state| state.streams().len() as u64);
    let mut progress = Progress {
        bytes_done: checked.bytes,
        bytes_total: checked.bytes + logs.iter().map(bytes_of).sum::<u64>(),
        path: inspection.directory.clone(),
    };
    for log in &logs {
        let end = progress.bytes_done + bytes_of(log);
        if contents.is_held {
            let settled = check_log_in_use(inspection, log, &mut progress, on_progress)?;
            if let Some((log, of_log)) = settled {
                checked.add(&log);
                findings.extend(of_log);
            }
        } else {
            let log = check_log(inspection, log, false, &mut progress, on_progress);
            checked.add(&log);
            findings.extend(log.findings(false));
        }
        progress.bytes_done = end;
    }

    // Files are listed before the catalog is read again: a file that it names by then is no leftover.
    if contents.is_held {
        findings.retain(|finding| !matches!(finding.damage, Damage::Index));
    } else {
        findings.extend(inspection.unnamed_files(contents, &logs)?);
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

/// Checks a log of a store that a program has, and gives the findings. Damage is believed if it is found twice in a
/// row, and the catalog gives the same log before and after. A frame that was being written is whole the second time,
/// and a file gets another use only after the catalog has stopped naming it. The result is `None` if the log is gone.
pub(super) fn check_log_in_use(
    inspection: &Inspection,
    log: &NamedLog,
    progress: &mut Progress,
    on_progress: &mut dyn FnMut(&Progress),
) -> Result<Option<(CheckedLog, Vec<Finding>)>> {
    const TRIES: usize = 50;
    let begun = progress.bytes_done;
    let mut log = log.clone();
    let mut seen: Option<Vec<Finding>> = None;
    for tries_left in (0..TRIES).rev() {
        progress.bytes_done = begun;
        let checked = check_log(inspection, &log, true, progress, on_progress);
        let mut findings = checked.findings(true);
        let damage: Vec<_> = findings
            .iter()
            .filter(|finding| finding.is_damage())
            .cloned()
            .collect();
        if damage.is_empty() || is_left_out(Step::DamageSeenTwice) {
            return Ok(Some((checked, findings)));
        }
        let contents = Contents::read_as(inspection, Use::Shared)?;
        let Some(state) = contents.state() else {
            return Ok(Some((checked, findings)));
        };
        let Some(mut now) = NamedLog::of(inspection, state, log.identity.name) else {
            return Ok(None);
        };
        if now.is_same(&log) && seen.as_ref() == Some(&damage) {
            return Ok(Some((checked, findings)));
        }
        if tries_left == 0 {
            // It was never the same twice, so no damage is certain.
            findings.retain(|finding| !finding.is_damage());
            return Ok(Some((checked, findings)));
        }
        seen = now.is_same(&log).then_some(damage);
        drop(inspection.lay_over_journaled(&contents, std::slice::from_mut(&mut now)));
        log = now;
    }
    Ok(None)
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
        let name = log.log.identity.name;
        // The journal's frames are copies of frames that the segments get.
        let is_copy = matches!(name, LogName::CommitJournal);
        let is_shard = name.shard().is_some();
        self.shards += u64::from(is_shard);
        for check in &log.segments {
            if !is_copy {
                self.segments += 1;
                self.frames += check.survey.frames;
            }
            if is_shard {
                self.records += check.survey.records;
            }
            self.bytes += PAGE_BYTES + (check.survey.end.position.0 - check.entry.base_position.0);
        }
    }
}

fn bytes_of(log: &NamedLog) -> u64 {
    log.segments.iter().map(|segment| segment.bytes).sum()
}
