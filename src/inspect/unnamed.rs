//! Files that the manifest does not name.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Inspection;
use super::contents::Contents;
use super::finding::{Consequence, Damage, Finding, InspectedLog};
use super::named_log::NamedLog;
use crate::catalog::manifest::{ManifestSurvey, parse_manifest_name};
use crate::disk::{EntryKind, ReadablePages, kind_if_there};
use crate::error::Result;
use crate::log::{
    FramesInJournal, LogIdentity, SegmentEntry, UnnamedFile, examine_unnamed, number_of_segment,
    survey_segment,
};
use crate::model::{LogName, RecordNumber, StreamId};

/// A file with a segment's name that has whole records, or may have some, and that the manifest neither names nor
/// accounts for: its stream was not deleted, its shard has not expired, and its log was not trimmed that far.
#[derive(Clone, Debug)]
pub(super) struct ForgottenSegment {
    pub(super) path: PathBuf,
    /// The log, by the directory that the file is in.
    pub(super) identity: LogIdentity,
    /// The number in the file's name.
    pub(super) first_record: RecordNumber,
    /// The entry in its header page, and the number of whole records behind it. `None` where the page does not hold:
    /// then nothing is known of the rest.
    pub(super) found: Option<(SegmentEntry, u64)>,
}

impl ForgottenSegment {
    pub(super) fn entry(&self) -> Option<SegmentEntry> {
        self.found.map(|(entry, _)| entry)
    }

    pub(super) fn records(&self) -> Option<u64> {
        self.found.map(|(_, records)| records)
    }

    pub(super) fn finding(&self) -> Finding {
        let (damage, consequence) = match self.records() {
            Some(records) => (
                Damage::Forgotten { records },
                Consequence::Unavailable {
                    from: self.first_record,
                    to: self.first_record.saturating_add(records),
                },
            ),
            None => (
                Damage::Header {
                    reason: "the header page does not hold, and the manifest does not name the file"
                        .to_owned(),
                },
                Consequence::MayHoldRecords {
                    from: self.first_record,
                },
            ),
        };
        Finding::new(&self.path, 0, damage, consequence).of_log(&InspectedLog::unnamed(self.identity.name))
    }
}

/// The owner of a directory that is examined, as far as it is known.
enum Owner<'a> {
    Log(&'a NamedLog),
    /// The log is gone, and the manifest explains why.
    Gone,
    /// The manifest does not explain the directory.
    Unknown,
}

impl Inspection {
    /// All files and directories that are not named, except those that a program may be working on.
    pub(super) fn unnamed_files(&self, contents: &Contents, logs: &[NamedLog]) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let mut add = |path: PathBuf, reason| findings.push(harmless(path, reason));
        let in_force = contents.manifest.as_ref().map(|manifest| manifest.number);
        for name in &contents.names {
            match name.as_str() {
                "LOCK" | "CURRENT" | "streams" | "pool" | "journal" | "damaged" => {}
                "CURRENT.new" => add(
                    self.directory.join(name),
                    "a change of CURRENT that was not finished",
                ),
                _ => match parse_manifest_name(name) {
                    Some(number) if Some(number) == in_force => {}
                    Some(_) => add(self.directory.join(name), "a manifest that is not in force"),
                    None => add(self.directory.join(name), "not of this store"),
                },
            }
        }
        let Some(manifest) = contents
            .manifest
            .as_ref()
            .filter(|manifest| manifest.state.is_some())
        else {
            return Ok(findings);
        };
        let forgotten = self.forgotten_segments(manifest, logs, &FramesInJournal::new(manifest.store))?;
        self.unnamed_files_of_journal(manifest, &mut findings)?;
        let streams = self.directory.join("streams");
        for stream in self.list_if_there(&streams)? {
            let id = stream.parse().map(StreamId::new).ok();
            let path = streams.join(&stream);
            let is_known = |id: &StreamId| {
                manifest
                    .state
                    .as_ref()
                    .is_some_and(|state| state.stream(*id).is_some())
            };
            match id.filter(is_known) {
                Some(id) => self.unnamed_files_of_stream(&path, id, logs, &forgotten, &mut findings)?,
                None => findings.push(harmless(path, "of no stream that there is")),
            }
        }
        findings.extend(forgotten.iter().map(ForgottenSegment::finding));
        Ok(findings)
    }

    fn unnamed_files_of_stream(
        &self,
        directory: &Path,
        id: StreamId,
        logs: &[NamedLog],
        forgotten: &[ForgottenSegment],
        findings: &mut Vec<Finding>,
    ) -> Result<()> {
        for name in self.list_if_there(directory)? {
            let path = directory.join(&name);
            let named = LogName::in_stream(id, &name);
            let is_of = |log: &&NamedLog| Some(log.identity.name) == named;
            let Some(log) = logs.iter().find(is_of) else {
                let reason = match named {
                    Some(LogName::Queue(..)) => "of no queue that there is",
                    _ => "of no shard that there is",
                };
                findings.push(harmless(path, reason));
                continue;
            };
            for name in self.list_if_there(&path)? {
                let path = path.join(&name);
                if !log.names_file(&name) && forgotten.iter().all(|segment| segment.path != path) {
                    let reason = "left over; the next opener removes it";
                    findings.push(harmless(path, reason).of_log(&log.name));
                }
            }
        }
        Ok(())
    }

    fn unnamed_files_of_journal(&self, manifest: &ManifestSurvey, findings: &mut Vec<Finding>) -> Result<()> {
        let Some(state) = &manifest.state else {
            return Ok(());
        };
        let journal = NamedLog::journal_even_if_empty(self, state);
        let forgotten = self.forgotten_journal_segments(manifest, &journal)?;
        for name in self.list_if_there(&journal.directory)? {
            let path = journal.directory.join(&name);
            if !journal.names_file(&name) && forgotten.iter().all(|segment| segment.path != path) {
                let reason = "left over; the next opener removes it";
                findings.push(harmless(path, reason));
            }
        }
        findings.extend(forgotten.iter().map(ForgottenSegment::finding));
        Ok(())
    }

    /// Segments that have whole records, or may have some, and that the manifest neither names nor explains: it lost
    /// durable edits.
    pub(super) fn forgotten_segments(
        &self,
        manifest: &ManifestSurvey,
        logs: &[NamedLog],
        journaled: &FramesInJournal,
    ) -> Result<Vec<ForgottenSegment>> {
        let mut forgotten = Vec::new();
        let streams = self.directory.join("streams");
        for stream in self.list_if_there(&streams)? {
            let Ok(id) = stream.parse().map(StreamId::new) else {
                continue;
            };
            let is_known = manifest
                .state
                .as_ref()
                .is_some_and(|state| state.stream(id).is_some());
            for directory in self.list_if_there(&streams.join(&stream))? {
                let Some(name) = LogName::in_stream(id, &directory) else {
                    continue;
                };
                let store = manifest.store;
                let identity = LogIdentity { store, name };
                let is_of = |log: &&NamedLog| log.identity == identity;
                let owner = match logs.iter().find(is_of) {
                    Some(log) => Owner::Log(log),
                    None if is_known && manifest.is_gone(name) => Owner::Gone,
                    None if !is_known && manifest.is_deleted(id) => Owner::Gone,
                    None => Owner::Unknown,
                };
                let directory = self.log_directory(identity.name);
                forgotten.extend(self.forgotten_in(&directory, identity, &owner, manifest, journaled)?);
            }
        }
        Ok(forgotten)
    }

    /// Segments of the commit journal that the manifest does not name although they follow all that it names.
    pub(super) fn forgotten_journal_segments(
        &self,
        manifest: &ManifestSurvey,
        journal: &NamedLog,
    ) -> Result<Vec<ForgottenSegment>> {
        let frames = FramesInJournal::new(manifest.store);
        let owner = Owner::Log(journal);
        self.forgotten_in(&journal.directory, journal.identity, &owner, manifest, &frames)
    }

    fn forgotten_in(
        &self,
        directory: &Path,
        identity: LogIdentity,
        owner: &Owner<'_>,
        manifest: &ManifestSurvey,
        journaled: &FramesInJournal,
    ) -> Result<Vec<ForgottenSegment>> {
        let mut forgotten = Vec::new();
        if matches!(owner, Owner::Gone) {
            return Ok(forgotten);
        }
        for name in self.list_if_there(directory)? {
            let path = directory.join(&name);
            let Some(first_record) = number_of_segment(&name) else {
                continue;
            };
            if matches!(owner, Owner::Log(log) if log.names_file(&name)) {
                continue;
            }
            let found = match self.examine_unnamed(&path) {
                Some(UnnamedFile::Segment(found, entry)) => {
                    let is_in_place = found == identity && first_record == entry.first_record;
                    let is_wanted = match owner {
                        Owner::Log(log) => log.may_have_lost(&entry, manifest),
                        Owner::Unknown | Owner::Gone => true,
                    };
                    if !is_in_place || !is_wanted {
                        continue;
                    }
                    match self.records_in(&path, identity, &entry, journaled) {
                        0 => continue,
                        records => Some((entry, records)),
                    }
                }
                Some(UnnamedFile::Damaged) => {
                    let is_dropped =
                        matches!(owner, Owner::Log(log) if log.has_dropped(first_record, manifest));
                    if is_dropped {
                        continue;
                    }
                    None
                }
                Some(UnnamedFile::Unbegun | UnnamedFile::UnknownEncoding { .. }) | None => continue,
            };
            forgotten.push(ForgottenSegment {
                path,
                identity,
                first_record,
                found,
            });
        }
        forgotten.sort_by_key(|segment| segment.first_record);
        Ok(forgotten)
    }

    /// Examines a file. `None` if it is no file, or the system gives an error for it.
    fn examine_unnamed(&self, path: &Path) -> Option<UnnamedFile> {
        let kind = kind_if_there(self.disk.as_ref(), path).ok()?;
        let file = self.open(path).ok().filter(|_| kind == Some(EntryKind::File))?;
        examine_unnamed(&file).ok()
    }

    /// The records of a segment that are whole, in its file or in the commit journal.
    fn records_in(
        &self,
        path: &Path,
        identity: LogIdentity,
        entry: &SegmentEntry,
        journaled: &FramesInJournal,
    ) -> u64 {
        let survey = self
            .open_with(path, journaled.of_segment(identity, entry).as_ref())
            .and_then(|(file, _): (Arc<ReadablePages>, _)| {
                survey_segment(&file, identity, entry, None, |_| ControlFlow::Continue(()))
            });
        survey.map_or(0, |survey| survey.records)
    }

    /// The highest number of a stream that has or had a directory.
    pub(super) fn highest_stream_directory(&self) -> Result<Option<StreamId>> {
        let names = self.list_if_there(&self.directory.join("streams"))?;
        let numbers = names.iter().filter_map(|name| name.parse().ok());
        Ok(numbers.max().map(StreamId::new))
    }
}

impl NamedLog {
    /// Whether a segment that is not named can have been part of the log without having been trimmed: it lies behind
    /// all that are named, or, where edits are lost, anywhere between or before them.
    fn may_have_lost(&self, entry: &SegmentEntry, manifest: &ManifestSurvey) -> bool {
        let at = self
            .segments
            .partition_point(|segment| segment.first_record < entry.first_record);
        let (before, behind) = self.segments.split_at(at);
        let follows = before
            .last()
            .is_none_or(|before| before.base_position <= entry.base_position);
        let precedes = behind.first().is_none_or(|behind| {
            entry.base_position <= behind.base_position
                && entry.offset_of(behind.base_position) <= entry.bytes
        });
        let is_before_end = self.is_open() || self.end.is_none_or(|end| entry.base_position < end.position);
        let is_behind_all = behind.is_empty();
        let may_be_lost = is_behind_all
            || manifest.has_lost_edits() && !manifest.is_trimmed(self.identity.name, entry.first_record);
        let was_dropped = self.was_dropped_whole(entry.first_record, manifest);
        follows && precedes && is_before_end && !was_dropped && may_be_lost
    }

    /// Whether the manifest accounts for a file of which only the number in its name is known: it was trimmed.
    fn has_dropped(&self, first_record: RecordNumber, manifest: &ManifestSurvey) -> bool {
        let is_before_all = self
            .segments
            .first()
            .is_some_and(|first| first_record < first.first_record);
        let was_trimmed = !manifest.has_lost_edits() || manifest.is_trimmed(self.identity.name, first_record);
        is_before_all && was_trimmed || self.was_dropped_whole(first_record, manifest)
    }

    /// Whether all segments of the log were dropped. If edits are lost, a shard may have lost those that named its
    /// segments. The frames of a journal without segments are in other segments.
    fn was_dropped_whole(&self, first_record: RecordNumber, manifest: &ManifestSurvey) -> bool {
        (self.identity.is_commit_journal() || !manifest.has_lost_edits())
            && self.segments.is_empty()
            && self.end.is_some_and(|end| first_record < end.next_record)
    }
}

fn harmless(path: PathBuf, reason: &'static str) -> Finding {
    Finding::new(path, 0, Damage::Unnamed, Consequence::Harmless { reason })
}
