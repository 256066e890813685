//! The places of other logs' frames in a commit journal. The frames stay in the journal's files, so an inspection of a
//! store has only those frames of a journal in memory that it is reading.
//!
//! A program that has the store may drop a segment of the journal meanwhile, and reuse its file. It does so only when
//! all frames of the segment are in their own segments. So a frame that is no longer in its place need not be laid over
//! its segment.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::survey::SurveyedFrame;
use crate::disk::{DiskFile, Pieces};
use crate::error::{Error, Result};
use crate::log::format::frame::{FrameHeader, FrameSeed};
use crate::log::format::frame_home::FrameHome;
use crate::log::format::identity::LogIdentity;
use crate::log::format::log_end::LogPosition;
use crate::log::format::segment_header::{PAGE_BYTES, SegmentEntry};
use crate::model::{LogName, RecordNumber};
use crate::sync::Mutex;

/// The places of frames in a journal, by the segment that the frames belong to. A frame takes some thirty bytes here.
#[derive(Debug)]
pub(crate) struct FramesInJournal {
    store: u128,
    files: Vec<JournalFile>,
    homes: HashMap<FrameHome, (FrameSeed, Vec<FramePlace>)>,
}

/// The journal's frames of one segment.
#[derive(Debug)]
pub(crate) struct JournaledSegment {
    files: Vec<JournalFile>,
    seed: FrameSeed,
    base: LogPosition,
    /// In the order of their positions.
    frames: Vec<FramePlace>,
}

/// A segment of the journal.
#[derive(Clone, Debug)]
struct JournalFile {
    path: PathBuf,
    /// `None` if it could not be opened.
    file: Option<Arc<dyn DiskFile>>,
}

#[derive(Clone, Copy, Debug)]
struct FramePlace {
    /// In its log.
    position: LogPosition,
    /// In the file of the journal's segment.
    offset: u64,
    bytes: u32,
    file: u32,
}

impl FramesInJournal {
    /// No frames, for a store's journal.
    pub(crate) fn new(store: u128) -> Self {
        Self {
            store,
            files: Vec::new(),
            homes: HashMap::new(),
        }
    }

    /// Says that the next frames are in this file. Reading them fails if it could not be opened.
    pub(crate) fn begin_file(&mut self, path: &Path, file: Option<Arc<dyn DiskFile>>) {
        let path = path.to_owned();
        self.files.push(JournalFile { path, file });
    }

    /// Adds the places of the frames that a frame of the journal has, as far as they are whole and wanted. `is_wanted`
    /// gets the log, the segment's salt and the position.
    pub(crate) fn take_in(
        &mut self,
        of_journal: &SurveyedFrame,
        is_wanted: impl Fn(LogName, u64, LogPosition) -> bool,
    ) {
        let Some(file) = self.files.len().checked_sub(1) else {
            return;
        };
        for (offset, record) in of_journal.placed_records() {
            let Some(home) = FrameHome::parse(record.partition_key.as_str()) else {
                continue;
            };
            let identity = LogIdentity {
                store: self.store,
                name: home.log,
            };
            let seed = FrameSeed::new(identity, home.salt);
            let header = FrameHeader::decode_anywhere(&record.data, &seed);
            let Some(FrameHeader { position, .. }) =
                header.filter(|header| is_wanted(home.log, home.salt, header.position))
            else {
                continue;
            };
            let (_, frames) = self.homes.entry(home).or_insert_with(|| (seed, Vec::new()));
            frames.push(FramePlace {
                position,
                offset,
                bytes: record.data.len() as u32,
                file: file as u32,
            });
        }
    }

    /// The frames of a segment; `None` if there are none.
    pub(crate) fn of_segment(&self, log: LogIdentity, entry: &SegmentEntry) -> Option<Arc<JournaledSegment>> {
        let (seed, frames) = self.homes.get(&FrameHome::of(log, entry.salt))?;
        let base = entry.base_position;
        let is_inside = |frame: &&FramePlace| {
            let end = offset_in_segment(base, frame).and_then(|at| at.checked_add(frame.bytes.into()));
            end.is_some_and(|end| end <= entry.bytes)
        };
        let mut frames: Vec<_> = frames.iter().filter(is_inside).copied().collect();
        // If a frame was written twice, the later one counts.
        frames.reverse();
        frames.sort_by_key(|frame| frame.position);
        frames.dedup_by_key(|frame| frame.position);
        let segment = JournaledSegment {
            files: self.files.clone(),
            seed: seed.clone(),
            base,
            frames,
        };
        (!segment.frames.is_empty()).then(|| Arc::new(segment))
    }

    /// For each segment that is asked for: its log, and the first number and the count of the records that the journal
    /// has of it. `from` gets a log and a salt. It gives the position from which on the segment's frames count, or
    /// `None` if they do not.
    ///
    /// # Errors
    /// [`Error::Io`]: a frame cannot be read.
    pub(crate) fn records_elsewhere(
        &self,
        from: impl Fn(LogName, u64) -> Option<LogPosition>,
    ) -> Result<Vec<(LogName, RecordNumber, u64)>> {
        let mut elsewhere = Vec::new();
        for (&FrameHome { log: name, salt }, (seed, frames)) in &self.homes {
            let Some(from) = from(name, salt) else {
                continue;
            };
            let wanted = frames.iter().filter(|frame| frame.position >= from);
            let mut all: Option<(RecordNumber, u64)> = None;
            for frame in wanted {
                let bytes = frame.read_whole(&self.files, seed)?;
                let header = bytes.and_then(|bytes| FrameHeader::decode_anywhere(&bytes, seed));
                if let Some(header) = header {
                    let (first, count) = all.unwrap_or((header.first_record, 0));
                    all = Some((first.min(header.first_record), count + u64::from(header.count)));
                }
            }
            elsewhere.extend(all.map(|(first, records)| (name, first, records)));
        }
        elsewhere.sort_unstable();
        Ok(elsewhere)
    }
}

impl JournaledSegment {
    /// Whether it has frames at an offset of the segment's file, or behind it.
    pub(crate) fn reaches_behind(&self, offset: u64) -> bool {
        let last = self.frames.last();
        last.and_then(|last| offset_in_segment(self.base, last)) >= Some(offset)
    }

    /// The frames, each with its offset in the segment's file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a frame that is no longer in the journal, or has changed; [`Error::Io`].
    pub(crate) fn frames(&self) -> impl Iterator<Item = Result<(u64, Bytes)>> {
        self.frames.iter().map(|frame| {
            let bytes = frame.read_whole(&self.files, &self.seed)?;
            let offset = offset_in_segment(self.base, frame);
            offset.zip(bytes).ok_or_else(|| frame.is_gone(&self.files))
        })
    }

    /// The same without unwanted frames. `is_wanted` gets the offset in the segment's file.
    ///
    /// # Errors
    /// As for [`frames`](Self::frames).
    pub(crate) fn filtered(&self, is_wanted: impl Fn(u64, &Bytes) -> bool) -> Result<Option<Self>> {
        let mut frames = Vec::new();
        for (place, frame) in self.frames.iter().zip(self.frames()) {
            let (offset, bytes) = frame?;
            frames.extend(is_wanted(offset, &bytes).then_some(*place));
        }
        let segment = Self {
            files: self.files.clone(),
            seed: self.seed.clone(),
            base: self.base,
            frames,
        };
        Ok((!segment.frames.is_empty()).then_some(segment))
    }
}

/// The frames of a segment, to be laid over its file.
#[derive(Debug)]
pub(crate) struct JournaledPieces {
    segment: Arc<JournaledSegment>,
    /// The frame that was read last. A frame longer than one read is asked for repeatedly.
    last: Mutex<Option<(u64, Bytes)>>,
}

impl JournaledPieces {
    pub(crate) fn of(segment: Arc<JournaledSegment>) -> Self {
        Self {
            segment,
            last: Mutex::default(),
        }
    }

    fn read(&self, at: u64, frame: &FramePlace) -> io::Result<Option<Bytes>> {
        let mut last = self.last.lock();
        if let Some((_, bytes)) = last.as_ref().filter(|(offset, _)| *offset == at) {
            return Ok(Some(bytes.clone()));
        }
        // It is dropped before the next one is read.
        *last = None;
        let bytes = frame.read(&self.segment.files, &self.segment.seed)?;
        *last = bytes.clone().map(|bytes| (at, bytes));
        Ok(bytes)
    }
}

impl Pieces for JournaledPieces {
    fn end(&self) -> u64 {
        let last = self.segment.frames.last();
        let end = last.and_then(|last| {
            let offset = offset_in_segment(self.segment.base, last)?;
            offset.checked_add(last.bytes.into())
        });
        end.unwrap_or(0)
    }

    fn within(&self, from: u64, to: u64) -> io::Result<Vec<(u64, Bytes)>> {
        let base = self.segment.base;
        let frames = &self.segment.frames;
        let begins = |frame: &FramePlace| offset_in_segment(base, frame).unwrap_or(u64::MAX);
        let first = frames.partition_point(|frame| begins(frame).saturating_add(frame.bytes.into()) <= from);
        let within = frames[first..].iter().take_while(|frame| begins(frame) < to);
        let pieces = within.map(|frame| {
            let piece = self.read(begins(frame), frame)?;
            Ok(piece.map(|bytes| (begins(frame), bytes)))
        });
        pieces.filter_map(io::Result::transpose).collect()
    }
}

impl FramePlace {
    /// The frame, if it still exists: its file may be shorter, or another segment, by now.
    ///
    /// # Errors
    /// It cannot be read, so it may exist.
    fn read(&self, files: &[JournalFile], seed: &FrameSeed) -> io::Result<Option<Bytes>> {
        let Some(JournalFile { file: Some(file), .. }) = files.get(self.file as usize) else {
            return Err(io::Error::other("the file could not be opened"));
        };
        let mut bytes = vec![0; self.bytes as usize];
        match file.read_exact_at(&mut bytes, self.offset) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let header = FrameHeader::decode_anywhere(&bytes, seed);
        let is_it = header.is_some_and(|header| header.position == self.position);
        Ok(is_it.then(|| bytes.into()))
    }

    /// The same as errors of the store.
    fn read_whole(&self, files: &[JournalFile], seed: &FrameSeed) -> Result<Option<Bytes>> {
        self.read(files, seed)
            .map_err(|error| Error::io("read", self.path(files), error))
    }

    fn path<'a>(&self, files: &'a [JournalFile]) -> &'a Path {
        let file = files.get(self.file as usize);
        file.map_or(Path::new(""), |file| file.path.as_path())
    }

    fn is_gone(&self, files: &[JournalFile]) -> Error {
        let reason = "a frame that the journal had is not there any more";
        Error::corrupt(self.path(files), self.offset, reason)
    }
}

fn offset_in_segment(base: LogPosition, frame: &FramePlace) -> Option<u64> {
    PAGE_BYTES.checked_add(frame.position.0.checked_sub(base.0)?)
}
