//! Files that the manifest does not name.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Inspection;
use super::contents::Contents;
use super::finding::{Consequence, Damage, Finding, InspectedLog};
use super::named_log::NamedLog;
use crate::catalog::manifest::{ManifestSurvey, parse_manifest_name};
use crate::disk::ReadablePages;
use crate::error::Result;
use crate::log::{JournaledFrames, LogIdentity, SegmentEntry, survey_segment};
use crate::model::{LogName, ShardId, StreamId};

/// A segment with whole records that the manifest does not name, and does not account for either: no stream was deleted,
/// no shard has expired, and no log was trimmed that it belonged to.
#[derive(Clone, Debug)]
pub(super) struct ForgottenSegment {
    pub(super) path: PathBuf,
    pub(super) identity: LogIdentity,
    pub(super) entry: SegmentEntry,
    pub(super) records: u64,
}

impl ForgottenSegment {
    pub(super) fn finding(&self) -> Finding {
        let records = self.records;
        let consequence = Consequence::Unavailable {
            from: self.entry.first_record,
            to: self.entry.first_record.saturating_add(records),
        };
        Finding::new(&self.path, 0, Damage::Forgotten { records }, consequence)
            .of_log(&InspectedLog::unnamed(self.identity.name))
    }
}

/// What is known of a log when its directory is looked through.
enum Owner<'a> {
    Log(&'a NamedLog),
    /// It is gone, and the manifest says why.
    Gone,
    /// Nothing explains it.
    Unknown,
}

impl Inspection {
    /// All files and directories that are not named, but for those that a program may be working on.
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
        let forgotten = self.forgotten_segments(manifest, logs, &JournaledFrames::default())?;
        self.unnamed_files_of_journal(logs, &mut findings)?;
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
            let shard: Option<ShardId> = name.parse().ok();
            let is_of =
                |log: &&NamedLog| Some(log.identity.name) == shard.map(|shard| LogName::Shard(id, shard));
            let Some(log) = logs.iter().find(is_of) else {
                findings.push(harmless(path, "of no shard that there is"));
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

    fn unnamed_files_of_journal(&self, logs: &[NamedLog], findings: &mut Vec<Finding>) -> Result<()> {
        let journal = logs.iter().find(|log| log.identity.is_commit_journal());
        let directory = self.directory.join("journal");
        for name in self.list_if_there(&directory)? {
            if !journal.is_some_and(|journal| journal.names_file(&name)) {
                let reason = "left over; the next opener removes it";
                findings.push(harmless(directory.join(name), reason));
            }
        }
        Ok(())
    }

    /// Segments with whole records that nothing names and nothing explains: the manifest lost what was durable.
    pub(super) fn forgotten_segments(
        &self,
        manifest: &ManifestSurvey,
        logs: &[NamedLog],
        journaled: &JournaledFrames,
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
            for shard in self.list_if_there(&streams.join(&stream))? {
                let Ok(shard) = shard.parse::<ShardId>() else {
                    continue;
                };
                let identity = LogIdentity::of_shard(manifest.store, id, shard);
                let is_of = |log: &&NamedLog| log.identity == identity;
                let owner = match logs.iter().find(is_of) {
                    Some(log) => Owner::Log(log),
                    None if is_known && manifest.is_expired(id, shard) => Owner::Gone,
                    None if !is_known && manifest.is_deleted(id) => Owner::Gone,
                    None => Owner::Unknown,
                };
                let directory = self.log_directory(identity.name);
                forgotten.extend(self.forgotten_in(&directory, identity, &owner, manifest, journaled)?);
            }
        }
        Ok(forgotten)
    }

    /// Segments of the commit journal that the manifest does not name although they come behind all that it does.
    pub(super) fn forgotten_journal_segments(
        &self,
        manifest: &ManifestSurvey,
        journal: &NamedLog,
    ) -> Result<Vec<ForgottenSegment>> {
        let frames = JournaledFrames::default();
        let owner = Owner::Log(journal);
        self.forgotten_in(&journal.directory, journal.identity, &owner, manifest, &frames)
    }

    fn forgotten_in(
        &self,
        directory: &Path,
        identity: LogIdentity,
        owner: &Owner<'_>,
        manifest: &ManifestSurvey,
        journaled: &JournaledFrames,
    ) -> Result<Vec<ForgottenSegment>> {
        let mut forgotten = Vec::new();
        if matches!(owner, Owner::Gone) {
            return Ok(forgotten);
        }
        for name in self.list_if_there(directory)? {
            let path = directory.join(&name);
            if !name.ends_with(".log") || matches!(owner, Owner::Log(log) if log.names_file(&name)) {
                continue;
            }
            let Ok((found, entry)) = self.read_header(&path) else {
                continue;
            };
            let is_in_place = found == identity && name == entry.file_name();
            let is_wanted = match owner {
                Owner::Log(log) => log.may_have_lost(&entry, manifest),
                Owner::Unknown => true,
                Owner::Gone => false,
            };
            if !is_in_place || !is_wanted {
                continue;
            }
            let records = self.records_in(&path, identity, &entry, journaled);
            if records > 0 {
                forgotten.push(ForgottenSegment {
                    path,
                    identity,
                    entry,
                    records,
                });
            }
        }
        forgotten.sort_by_key(|segment| segment.entry.first_record);
        Ok(forgotten)
    }

    /// The records of a segment that are whole, in its file or in the commit journal.
    fn records_in(
        &self,
        path: &Path,
        identity: LogIdentity,
        entry: &SegmentEntry,
        journaled: &JournaledFrames,
    ) -> u64 {
        let survey = self
            .open_with(path, &journaled.of_segment(identity, entry))
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
    /// Whether a segment that is not named can have been part of the log, and was not trimmed away: behind all that are
    /// named, or, where edits are lost, anywhere between or before them.
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
        // A shard with an end and without segments has lost the edits that named them. What a journal without segments had
        // is in other segments.
        let was_dropped = (self.identity.is_commit_journal() || !manifest.has_lost_edits())
            && self.segments.is_empty()
            && self.end.is_some_and(|end| entry.first_record < end.next_record);
        let is_behind_all = behind.is_empty();
        let may_be_lost = is_behind_all
            || manifest.has_lost_edits() && !manifest.is_trimmed(self.identity.name, entry.first_record);
        follows && precedes && is_before_end && !was_dropped && may_be_lost
    }
}

fn harmless(path: PathBuf, reason: &'static str) -> Finding {
    Finding::new(path, 0, Damage::Unnamed, Consequence::Harmless { reason })
}
