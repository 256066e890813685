//! Evidence that a manifest lacks an edit that had been durable.
//!
//! A manifest whose last frame was torn by a crash looks like one whose last frame was damaged later, and like an older
//! copy. But an edit is durable before anything is built on it: a frame is written to a segment, of a shard or of the
//! commit journal, or behind the end at which a log rested, only after the manifest says so. So a frame that the rest
//! of the manifest does not account for shows that an edit had been durable, and nothing may be dropped. So does a file
//! with a segment's name and a damaged header page: no crash leaves one, and frames may be in it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::catalog::{CatalogState, LogState};
use crate::disk::{Disk, EntryKind, OpenMode, Pieces, ReadablePages, kind_if_there, list_if_there};
use crate::error::{Error, Result};
use crate::log::{
    FramesInJournal, JournaledPieces, JournaledSegment, LogEnd, LogIdentity, LogPosition, SegmentEntry,
    SurveyedFrame, UnnamedFile, examine_unnamed, holds_frame, is_continued, number_of_segment,
    survey_segment,
};
use crate::model::{LogName, RecordNumber, StreamId};

/// The streams' directory, and the state that the whole frames of the manifest lead to.
pub(crate) struct Evidence<'a> {
    pub(crate) disk: &'a Arc<dyn Disk>,
    pub(crate) streams: &'a Path,
    pub(crate) journal: &'a Path,
    pub(crate) state: &'a CatalogState,
}

impl Evidence<'_> {
    /// A segment with a frame, in its file or in the commit journal, that can only have been written after a later
    /// edit. `in_streams` are the names in the streams' directory.
    pub(crate) fn find_later_frame(&self, in_streams: &[String]) -> Result<Option<PathBuf>> {
        let search = Search {
            evidence: self,
            journaled: self.read_journal()?,
        };
        search.find_later_frame(in_streams)
    }

    /// A segment with a frame of a stream whose number no stream has had yet. Without such a stream's directory the
    /// search takes no time, so each opener of a store does it, even if the manifest is whole.
    pub(crate) fn find_unknown_stream(&self, in_streams: &[String]) -> Result<Option<PathBuf>> {
        let is_unknown = |id: &StreamId| *id >= self.state.next_stream();
        self.segments_alone().find_in_streams(in_streams, is_unknown)
    }

    /// A segment with a frame, or with a damaged header page, behind all segments of a log that the manifest names.
    pub(crate) fn find_later_segment(&self, name: LogName) -> Result<Option<PathBuf>> {
        let log = self.state.log(name);
        let search = self.segments_alone();
        let directory = search.log_directory(name);
        search.find_in_segments_behind(search.identity(name), &directory, named_through(log))
    }

    fn segments_alone(&self) -> Search<'_> {
        Search {
            evidence: self,
            journaled: FramesInJournal::new(self.state.store),
        }
    }

    fn read_journal(&self) -> Result<FramesInJournal> {
        let mut journaled = FramesInJournal::new(self.state.store);
        let LogState {
            segments, end: None, ..
        } = &self.state.journal
        else {
            return Ok(journaled);
        };
        let identity = LogIdentity::commit_journal(self.state.store);
        for entry in segments {
            let path = self.journal.join(entry.file_name());
            if let Some(file) = self.open(&path, None)? {
                journaled.begin_file(&path, Some(file.clone()));
                let take_in = |frame: &SurveyedFrame| {
                    journaled.take_in(frame, |log, salt, position| {
                        self.may_be_evidence(log, salt, position)
                    });
                    ControlFlow::Continue(())
                };
                survey_segment(&file, identity, entry, None, take_in)
                    .map_err(|error| Error::io("read", &path, error))?;
            }
        }
        Ok(journaled)
    }

    /// Whether a frame of the journal can prove anything. Most frames cannot: their log is being written to, they are
    /// from before its last rest, or it was deleted.
    fn may_be_evidence(&self, name: LogName, salt: u64, position: LogPosition) -> bool {
        let stream = name.stream().and_then(|id| self.state.stream(id));
        let was_there = match stream {
            Some(stream) => stream.has_had(name),
            None => name.stream().is_some_and(|id| id < self.state.next_stream()),
        };
        let log = self.state.log(name);
        if log.is_none() && was_there {
            return false;
        }
        let is_named = log.is_some_and(|log| log.segments.iter().any(|segment| segment.salt == salt));
        match log.and_then(|log| log.end).filter(|_| is_named) {
            Some(end) => position >= end.position,
            None => !is_named,
        }
    }

    /// Parts of the file that cannot be read are zeros, and no evidence.
    fn open(
        &self,
        path: &Path,
        journaled: Option<Arc<JournaledSegment>>,
    ) -> Result<Option<Arc<ReadablePages>>> {
        match self.disk.open(path, OpenMode::Read) {
            Ok(file) => {
                let pieces =
                    journaled.map(|segment| Box::new(JournaledPieces::of(segment)) as Box<dyn Pieces>);
                Ok(Some(Arc::new(ReadablePages::with_pieces(Some(file), pieces))))
            }
            Err(error) => match error.kind() {
                // Something that no store makes is no evidence either.
                std::io::ErrorKind::NotFound
                | std::io::ErrorKind::NotADirectory
                | std::io::ErrorKind::IsADirectory => Ok(None),
                _ => Err(Error::io("open", path, error)),
            },
        }
    }
}

/// A search, with the frames in the journal.
struct Search<'a> {
    evidence: &'a Evidence<'a>,
    journaled: FramesInJournal,
}

impl Search<'_> {
    fn find_later_frame(&self, in_streams: &[String]) -> Result<Option<PathBuf>> {
        let Evidence { journal, state, .. } = self.evidence;
        let identity = LogIdentity::commit_journal(state.store);
        if let Some(path) = self.find_behind_rest(identity, &state.journal, journal)? {
            return Ok(Some(path));
        }
        let named_through = named_through(Some(&state.journal));
        if let Some(path) = self.find_in_segments_behind(identity, journal, named_through)? {
            return Ok(Some(path));
        }
        for (name, log) in state.logs() {
            let directory = self.log_directory(name);
            if let Some(path) = self.find_behind_rest(self.identity(name), log, &directory)? {
                return Ok(Some(path));
            }
        }
        // A stream with a lower number that is not there was deleted.
        let is_wanted = |id: &StreamId| state.stream(*id).is_some() || *id >= state.next_stream();
        match self.find_in_streams(in_streams, is_wanted)? {
            Some(path) => Ok(Some(path)),
            None => Ok(self
                .has_frames_of_unnamed_segments()?
                .then(|| journal.to_path_buf())),
        }
    }

    /// Whether the journal has frames of a segment that the manifest does not name. Its file may be missing or damaged.
    fn has_frames_of_unnamed_segments(&self) -> Result<bool> {
        let state = self.evidence.state;
        let elsewhere = self.journaled.records_elsewhere(|name, salt| {
            let id = name.stream()?;
            let Some(stream) = state.stream(id) else {
                return (id >= state.next_stream()).then_some(LogPosition(0));
            };
            match stream.log(name) {
                Some(log) if log.segments.iter().any(|segment| segment.salt == salt) => None,
                // A segment is durable before the next one is begun.
                Some(log) => Some(
                    log.segments
                        .last()
                        .map_or(LogPosition(0), |last| last.base_position),
                ),
                None => (!stream.has_had(name)).then_some(LogPosition(0)),
            }
        })?;
        Ok(!elsewhere.is_empty())
    }

    fn find_in_streams(
        &self,
        names: &[String],
        is_wanted: impl Fn(&StreamId) -> bool,
    ) -> Result<Option<PathBuf>> {
        for name in names {
            let id: Option<StreamId> = name.parse().map(StreamId::new).ok();
            if let Some(id) = id.filter(|id| is_wanted(id) && id.to_string() == *name)
                && let Some(path) = self.find_in_unnamed_segments(id)?
            {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    fn find_behind_rest(
        &self,
        identity: LogIdentity,
        log: &LogState,
        directory: &Path,
    ) -> Result<Option<PathBuf>> {
        if let (Some(end), Some(last)) = (&log.end, log.segments.last()) {
            let path = directory.join(last.file_name());
            if self.holds_frame_at(&path, identity, last, end)? {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    fn find_in_unnamed_segments(&self, id: StreamId) -> Result<Option<PathBuf>> {
        let stream = self.evidence.state.stream(id);
        for directory_name in list_if_there(
            self.evidence.disk.as_ref(),
            &self.evidence.streams.join(id.to_string()),
        )? {
            let Some(name) = LogName::in_stream(id, &directory_name) else {
                continue;
            };
            let log = stream.and_then(|stream| stream.log(name));
            // A log that existed once has expired, or was deleted.
            if log.is_some() || !stream.is_some_and(|stream| stream.has_had(name)) {
                let identity = self.identity(name);
                let directory = self.log_directory(name);
                let found = self.find_in_segments_behind(identity, &directory, named_through(log))?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    fn find_in_segments_behind(
        &self,
        identity: LogIdentity,
        directory: &Path,
        named_through: Option<RecordNumber>,
    ) -> Result<Option<PathBuf>> {
        for name in list_if_there(self.evidence.disk.as_ref(), directory)? {
            let path = directory.join(&name);
            let Some(number) = number_of_segment(&name) else {
                continue;
            };
            if Some(number) <= named_through {
                continue;
            }
            let is_evidence = match self.examine(&path)? {
                Some(UnnamedFile::Segment(found, entry)) => {
                    found == identity
                        && entry.first_record == number
                        && self.holds_frame(&path, identity, &entry)?
                }
                Some(UnnamedFile::Damaged) => true,
                Some(UnnamedFile::UnknownEncoding { codec, key }) => {
                    return Err(Error::UnknownEncoding { path, codec, key });
                }
                Some(UnnamedFile::Unbegun) | None => false,
            };
            if is_evidence {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// `None` if it is not a file, or no longer exists.
    fn examine(&self, path: &Path) -> Result<Option<UnnamedFile>> {
        if kind_if_there(self.evidence.disk.as_ref(), path)? != Some(EntryKind::File) {
            return Ok(None);
        }
        let Some(file) = self.evidence.open(path, None)? else {
            return Ok(None);
        };
        let examined = examine_unnamed(&file).map_err(|error| Error::io("measure", path, error))?;
        Ok(Some(examined))
    }

    fn holds_frame(&self, path: &Path, identity: LogIdentity, entry: &SegmentEntry) -> Result<bool> {
        let journaled = self.journaled.of_segment(identity, entry);
        match self.evidence.open(path, journaled)? {
            Some(file) => holds_frame(&file, identity, entry).map_err(|error| Error::io("read", path, error)),
            None => Ok(false),
        }
    }

    fn holds_frame_at(
        &self,
        path: &Path,
        identity: LogIdentity,
        entry: &SegmentEntry,
        end: &LogEnd,
    ) -> Result<bool> {
        let file = self
            .evidence
            .open(path, self.journaled.of_segment(identity, entry))?;
        Ok(file.is_some_and(|file| is_continued(&file, identity, entry, end)))
    }

    fn identity(&self, name: LogName) -> LogIdentity {
        let store = self.evidence.state.store;
        LogIdentity { store, name }
    }

    /// The directory of a stream's log.
    fn log_directory(&self, name: LogName) -> PathBuf {
        let stream = name.stream().map(|stream| stream.to_string());
        self.evidence
            .streams
            .join(stream.unwrap_or_default())
            .join(name.directory_name())
    }
}

/// The highest number at which a segment can begin that the manifest names, or named before it was dropped.
fn named_through(log: Option<&LogState>) -> Option<RecordNumber> {
    let log = log?;
    match (log.segments.last(), &log.end) {
        (Some(last), _) => Some(last.first_record),
        (None, Some(end)) if end.next_record > RecordNumber::FIRST => {
            Some(RecordNumber::new(end.next_record.value() - 1))
        }
        (None, _) => None,
    }
}
