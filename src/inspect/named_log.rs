//! The logs of a store: as the manifest names them, or else as the header pages of their files do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Inspection;
use super::contents::damage_of;
use super::finding::{Consequence, Damage, Finding, InspectedLog};
use crate::catalog::{CatalogState, LogState};
use crate::disk::DiskFile;
use crate::error::Result;
use crate::log::{
    HeaderDefect, JournaledSegment, LogEnd, LogIdentity, PAGE_BYTES, SegmentEntry, number_of_segment,
};
use crate::model::{LogName, RecordNumber, Shard, StreamId};

/// A log and its parts.
#[derive(Clone, Debug)]
pub(super) struct NamedLog {
    pub(super) identity: LogIdentity,
    pub(super) name: InspectedLog,
    pub(super) directory: PathBuf,
    pub(super) segments: Vec<SegmentEntry>,
    /// Where it ends, if that is known without reading it.
    pub(super) end: Option<LogEnd>,
    /// The shard, where the manifest can be read.
    pub(super) shard: Option<Shard>,
    /// The commit journal's frames of segments, by the segment's first record.
    pub(super) journaled: BTreeMap<RecordNumber, Arc<JournaledSegment>>,
    /// For the commit journal: whether it may have frames that the segments of other logs lack.
    pub(super) is_needed: bool,
}

impl NamedLog {
    /// Every log that the manifest names.
    pub(super) fn all_of(inspection: &Inspection, state: &CatalogState) -> Vec<Self> {
        let logs = state.logs();
        logs.filter_map(|(name, _)| Self::of(inspection, state, name))
            .collect()
    }

    /// One log, if the manifest names it.
    pub(super) fn of(inspection: &Inspection, state: &CatalogState, name: LogName) -> Option<Self> {
        let Some(id) = name.stream() else {
            return Self::journal(inspection, state);
        };
        let stream = state.stream(id)?;
        let LogState { segments, end, .. } = stream.log(name)?;
        let lineage = stream.lineage.as_ref();
        Some(Self {
            identity: LogIdentity {
                store: state.store,
                name,
            },
            name: InspectedLog {
                name,
                stream_name: Some(stream.name.to_string()),
            },
            directory: inspection.log_directory(name),
            segments: segments.clone(),
            end: *end,
            shard: name.shard().and_then(|shard| lineage?.shard(shard)).cloned(),
            journaled: BTreeMap::new(),
            is_needed: true,
        })
    }

    /// The commit journal, if it has segments.
    pub(super) fn journal(inspection: &Inspection, state: &CatalogState) -> Option<Self> {
        let journal = Self::journal_even_if_empty(inspection, state);
        (!journal.segments.is_empty()).then_some(journal)
    }

    pub(super) fn journal_even_if_empty(inspection: &Inspection, state: &CatalogState) -> Self {
        let journal = &state.journal;
        Self {
            identity: LogIdentity::commit_journal(state.store),
            name: InspectedLog::unnamed(LogName::CommitJournal),
            directory: inspection.log_directory(LogName::CommitJournal),
            segments: journal.segments.clone(),
            end: journal.end,
            shard: None,
            journaled: BTreeMap::new(),
            is_needed: journal.end.is_none() && state.needs_journal(),
        }
    }

    /// The logs that the header pages name, for a store without a manifest. Files whose pages do not hold are reported.
    pub(super) fn all_by_header(inspection: &Inspection, findings: &mut Vec<Finding>) -> Result<Vec<Self>> {
        let mut logs: Vec<Self> = Vec::new();
        for path in inspection.segment_files()? {
            match inspection.read_header(&path) {
                Ok((identity, entry)) => match logs.iter_mut().find(|log| log.identity == identity) {
                    Some(log) => log.segments.push(entry),
                    None => logs.push(Self::by_header(inspection, identity, entry)),
                },
                Err(damage) => findings.push(Finding::new(path, 0, damage, Consequence::DoesNotOpen)),
            }
        }
        for log in &mut logs {
            log.segments.sort_by_key(|segment| segment.first_record);
            // Positions only rise: an entry that does not fit is from another life of the file, and not part of the
            // log.
            let mut base = None;
            log.segments.retain(|segment| {
                let fits = base.is_none_or(|base| base <= segment.base_position);
                base = base.max(Some(segment.base_position));
                fits
            });
        }
        Ok(logs)
    }

    fn by_header(inspection: &Inspection, identity: LogIdentity, entry: SegmentEntry) -> Self {
        Self {
            identity,
            name: InspectedLog::unnamed(identity.name),
            directory: inspection.log_directory(identity.name),
            segments: vec![entry],
            end: None,
            shard: None,
            journaled: BTreeMap::new(),
            is_needed: true,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.shard.as_ref().is_none_or(Shard::is_open)
    }

    /// Whether two readings of the catalog gave the same log.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.segments == other.segments && self.end == other.end
    }

    pub(super) fn names_file(&self, name: &str) -> bool {
        let is_named = |entry: &SegmentEntry| name == entry.file_name() || name == entry.index_name();
        self.segments.iter().any(is_named)
    }
}

impl Inspection {
    pub(super) fn log_directory(&self, log: LogName) -> PathBuf {
        let above = match log.stream() {
            Some(stream) => self.directory.join("streams").join(stream.to_string()),
            None => self.directory.clone(),
        };
        above.join(log.directory_name())
    }

    pub(super) fn segment_files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let streams = self.directory.join("streams");
        for stream in self.list_if_there(&streams)? {
            let stream = streams.join(stream);
            for shard in self.list_if_there(&stream)? {
                let shard = stream.join(shard);
                let names = self.list_if_there(&shard)?;
                let segments = names.iter().filter(|name| name.ends_with(".log"));
                files.extend(segments.map(|name| shard.join(name)));
            }
        }
        Ok(files)
    }

    /// The log that a file belongs to by its place, and the number in its name.
    pub(super) fn log_of_file(&self, path: &Path) -> Option<(LogName, RecordNumber)> {
        let first = number_of_segment(path.file_name()?.to_str()?)?;
        let mut parts = path.strip_prefix(self.directory.join("streams")).ok()?.iter();
        let stream = StreamId::new(parts.next()?.to_str()?.parse().ok()?);
        let log = LogName::in_stream(stream, parts.next()?.to_str()?)?;
        Some((log, first))
    }

    /// The header page of a file that may be a segment.
    pub(super) fn read_header(&self, path: &Path) -> Result<(LogIdentity, SegmentEntry), Damage> {
        let file = self.open(path).map_err(|error| damage_of(&error))?;
        let mut page = vec![0; PAGE_BYTES as usize];
        file.read_exact_at(&mut page, 0)
            .map_err(|error| damage_of(&error))?;
        SegmentEntry::decode_header(&page).map_err(|defect| match defect {
            HeaderDefect::NotASegment => Damage::Header {
                reason: "the header page does not hold".to_owned(),
            },
            HeaderDefect::UnknownEncoding { codec, key } => Damage::UnknownEncoding { codec, key },
        })
    }
}
