//! Files that the manifest does not name.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::Inspection;
use super::contents::Contents;
use super::finding::{Consequence, Damage, Finding};
use super::named_log::NamedLog;
use crate::catalog::parse_manifest_name;
use crate::error::Result;
use crate::log::{SegmentEntry, survey_segment};
use crate::model::{ShardId, StreamId};

/// A segment that the manifest does not name, although it goes on where one that it names ends.
#[derive(Clone, Debug)]
pub(super) struct ForgottenSegment {
    pub(super) path: PathBuf,
    pub(super) entry: SegmentEntry,
    pub(super) records: u64,
}

impl Inspection {
    /// All files and directories that nobody names, but for those that a program may be working on.
    pub(super) fn unnamed_files(&self, contents: &Contents, logs: &[NamedLog]) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let mut add = |path: PathBuf, reason| {
            findings.push(Finding::new(
                path,
                0,
                Damage::Unnamed,
                Consequence::Harmless { reason },
            ));
        };
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
        if contents.state().is_none() {
            return Ok(findings);
        }
        self.unnamed_files_of_journal(logs, &mut findings)?;
        let streams = self.directory.join("streams");
        for stream in self.list_if_there(&streams)? {
            let id = stream.parse().map(StreamId::new).ok();
            let path = streams.join(&stream);
            match id.filter(|id| contents.state().is_some_and(|state| state.stream(*id).is_some())) {
                Some(id) => self.unnamed_files_of_stream(&path, id, logs, &mut findings)?,
                None => findings.push(Finding::new(
                    path,
                    0,
                    Damage::Unnamed,
                    Consequence::Harmless {
                        reason: "left over from a stream that was deleted",
                    },
                )),
            }
        }
        Ok(findings)
    }

    fn unnamed_files_of_stream(
        &self,
        directory: &Path,
        id: StreamId,
        logs: &[NamedLog],
        findings: &mut Vec<Finding>,
    ) -> Result<()> {
        for name in self.list_if_there(directory)? {
            let path = directory.join(&name);
            let shard: Option<ShardId> = name.parse().ok();
            let is_of = |log: &&NamedLog| log.name.stream == id && Some(log.name.shard) == shard;
            match logs.iter().find(is_of) {
                Some(log) => self.unnamed_files_of_log(log, findings)?,
                None => findings.push(Finding::new(
                    path,
                    0,
                    Damage::Unnamed,
                    Consequence::Harmless {
                        reason: "left over from a shard that has expired",
                    },
                )),
            }
        }
        Ok(())
    }

    fn unnamed_files_of_journal(&self, logs: &[NamedLog], findings: &mut Vec<Finding>) -> Result<()> {
        let journal = logs.iter().find(|log| log.identity.is_commit_journal());
        let directory = self.directory.join("journal");
        for name in self.list_if_there(&directory)? {
            if !journal.is_some_and(|journal| journal.names_file(&name)) {
                let reason = "left over; whoever opens the store removes it";
                let consequence = Consequence::Harmless { reason };
                findings.push(Finding::new(
                    directory.join(name),
                    0,
                    Damage::Unnamed,
                    consequence,
                ));
            }
        }
        Ok(())
    }

    fn unnamed_files_of_log(&self, log: &NamedLog, findings: &mut Vec<Finding>) -> Result<()> {
        let forgotten = self.forgotten_segments(log)?;
        for name in self.list_if_there(&log.directory)? {
            let path = log.directory.join(&name);
            if log.names_file(&name) {
                continue;
            }
            let finding = match forgotten.iter().find(|segment| segment.path == path) {
                Some(segment) => {
                    let consequence = Consequence::Unavailable {
                        from: segment.entry.first_record,
                        to: segment.entry.first_record.saturating_add(segment.records),
                    };
                    let records = segment.records;
                    Finding::new(path, 0, Damage::Forgotten { records }, consequence)
                }
                None => {
                    let reason = "left over; whoever opens the store removes it";
                    Finding::new(path, 0, Damage::Unnamed, Consequence::Harmless { reason })
                }
            };
            findings.push(finding.of_log(&log.name));
        }
        Ok(())
    }

    /// Segments with records that the manifest does not name although they come behind all that it names: the manifest
    /// lost what was durable.
    pub(super) fn forgotten_segments(&self, log: &NamedLog) -> Result<Vec<ForgottenSegment>> {
        if !log.is_open() {
            return Ok(Vec::new());
        }
        let last = log.segments.last();
        let mut forgotten = Vec::new();
        for name in self.list_if_there(&log.directory)? {
            let path = log.directory.join(&name);
            if log.names_file(&name) || !name.ends_with(".log") {
                continue;
            }
            let Ok((identity, entry)) = self.read_header(&path) else {
                continue;
            };
            let follows = last.is_none_or(|last| {
                last.first_record < entry.first_record && last.base_position <= entry.base_position
            });
            if identity != log.identity || !follows || name != entry.file_name() {
                continue;
            }
            let survey = self.open(&path).and_then(|file| {
                survey_segment(&file, identity, &entry, None, |_| ControlFlow::Continue(()))
            });
            if let Ok(survey) = survey
                && survey.records > 0
            {
                forgotten.push(ForgottenSegment {
                    path,
                    entry,
                    records: survey.records,
                });
            }
        }
        forgotten.sort_by_key(|segment| segment.entry.first_record);
        Ok(forgotten)
    }

    /// The highest number of a stream that has or had a directory.
    pub(super) fn highest_stream_directory(&self) -> Result<Option<StreamId>> {
        let names = self.list_if_there(&self.directory.join("streams"))?;
        let numbers = names.iter().filter_map(|name| name.parse().ok());
        Ok(numbers.max().map(StreamId::new))
    }
}
