//! A log that another program writes to.
//!
//! The manifest says which segments it has and where it rests. If the log does not rest, its end is found by a walk
//! from the previous end: the log ends in front of the first bytes that are not a whole frame of that place.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{Disk, DiskFile, Overlaid};
use crate::error::{Error, Result};
use crate::log::commit::local_log::{LocalLog, LogContext, StartingPoint};
use crate::log::commit::writer::Placement;
use crate::log::format::frame::{FrameHeader, HEADER_BYTES};
use crate::log::format::frame_cursor::{FrameCursor, SegmentBytes, WalkError};
use crate::log::format::identity::LogIdentity;
use crate::log::format::index::{IndexEntry, SparseIndex};
use crate::log::format::log_end::{LogEnd, LogPosition};
use crate::log::format::segment_header::SegmentEntry;
use crate::log::segments::index_file::partial_index_of;
use crate::log::segments::log_files::{LaidOver, LogFiles};
use crate::log::segments::segment::Segment;
use crate::model::RecordNumber;
use crate::seam::ShownEnd;
use crate::sync::Mutex;

/// A log that another program writes to, as far as it is known.
#[derive(Debug)]
pub(crate) struct FollowedLog {
    /// Used for reading. Nothing is ever appended to it.
    log: Arc<LocalLog>,
    place: Mutex<Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// The end at which the manifest says that the log rests.
    rested: Option<LogEnd>,
    /// Behind the last frame that was found in the file of the last segment.
    in_file: Option<LogEnd>,
}

impl FollowedLog {
    /// A log without segments, until [`take_over`](Self::take_over).
    pub(crate) fn new(identity: LogIdentity, directory: PathBuf, context: Arc<LogContext>) -> Self {
        let files = LogFiles::of_followed(identity, directory);
        let state = StartingPoint {
            end: LogEnd::EMPTY,
            placement: Placement::New,
            next_record: RecordNumber::FIRST,
            is_sealed: true,
            lost_tail: None,
        };
        Self {
            log: LocalLog::new(files, state, context, None),
            place: Mutex::default(),
        }
    }

    /// The log as far as it is known, for reading.
    pub(crate) fn log(&self) -> &LocalLog {
        &self.log
    }

    /// The end that was last found.
    pub(crate) fn end(&self) -> ShownEnd {
        let end = *self.log.files.published.lock();
        ShownEnd {
            next_record: end.next_record,
            last_arrival: end.last_arrival,
        }
    }

    /// Whether the manifest says where it ends.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.place.lock().rested.is_some()
    }

    /// Takes over the segments and the recorded end from the manifest. Returns whether the segments are others than
    /// before.
    pub(crate) fn take_over(&self, entries: &[SegmentEntry], rested: Option<LogEnd>) -> bool {
        let mut place = self.place.lock();
        place.rested = rested;
        let files = &self.log.files;
        let forgotten = {
            let mut segments = files.segments.write();
            let is_same = segments.len() == entries.len()
                && segments
                    .iter()
                    .zip(entries)
                    .all(|(known, entry)| known.entry == *entry);
            if is_same {
                return false;
            }
            let last = segments.last().map(|last| last.handle);
            let mut forgotten = Vec::new();
            let mut known: HashMap<_, _> = segments
                .drain(..)
                .map(|segment| (segment.entry.first_record, segment))
                .collect();
            segments.extend(
                (entries.iter()).map(|entry| match known.remove(&entry.first_record) {
                    Some(segment) if segment.entry == *entry => segment,
                    other => {
                        forgotten.extend(other);
                        Arc::new(Segment::inherited(files.identity, *entry, &files.directory))
                    }
                }),
            );
            forgotten.extend(known.into_values());
            // Done under the lock: a reader that cannot hold one of them does not find it in the list again.
            forgotten.iter().for_each(|segment| segment.forget());
            if segments.last().map(|last| last.handle) != last {
                place.in_file = None;
                let others = segments.iter().rev().skip(1);
                others
                    .filter(|other| Some(other.handle) == last)
                    .for_each(|other| *other.live_index.write() = None);
            }
            forgotten
        };
        for segment in &forgotten {
            self.log.context.resources.open_segments.close(segment);
        }
        self.forget_places();
        true
    }

    /// Forgets where reads left off: these places may be behind frames that no longer exist.
    pub(crate) fn forget_places(&self) {
        *self.log.files.left_off.lock() = Default::default();
    }

    /// Moves the end to where the log ends now, and returns whether it moved. `journaled` gives the consecutive frames
    /// that the commit journal has of a segment from a position on. If the journal no longer knows them, nothing
    /// changes, and the result is `None`.
    ///
    /// # Errors
    /// The last segment does not exist, or cannot be read. It may have been freed since the manifest was read.
    pub(crate) fn advance(
        &self,
        journaled: impl FnOnce(&Segment, LogPosition) -> Option<Bytes>,
    ) -> Result<Option<bool>> {
        let mut place = self.place.lock();
        let Some(last) = self.log.files.last() else {
            return Ok(Some(place.rested.is_some_and(|end| self.publish(end, None))));
        };
        if let Some(end) = place.rested {
            place.in_file = Some(end);
            return Ok(Some(self.publish(end, None)));
        }
        let base = last.entry.base();
        let from = place.in_file.filter(|end| end.position >= base.position);
        let open = self
            .log
            .files
            .open(&last, &self.log.context.resources.open_segments)?;
        let file: Arc<dyn DiskFile> = open.file.clone();
        let disk = self.log.context.resources.disk.as_ref();
        let noted = match from {
            Some(_) => None,
            None => walk_behind_noted(&last, file.clone(), disk)?,
        };
        let end = match noted {
            Some(end) => end,
            None => walk(&last, file.clone(), last.entry.bytes, from.unwrap_or(base))?,
        };
        place.in_file = Some(end);
        // The end must not move back to that of the file, since others may be reading.
        let Some(frames) = journaled(&last, end.position) else {
            return Ok(None);
        };
        if frames.is_empty() {
            return Ok(Some(self.publish(end, None)));
        }
        let offset = last.entry.offset_of(end.position);
        let length = offset + frames.len() as u64;
        let laid_over = Arc::new(Overlaid::new(file, offset, frames.clone()));
        let end = walk(&last, laid_over, length, end)?;
        let laid_over = LaidOver {
            segment: last.handle,
            offset,
            bytes: frames,
        };
        Ok(Some(self.publish(end, Some(laid_over))))
    }

    /// The frames that are laid over the file are stored first: readers go as far as the end says.
    fn publish(&self, end: LogEnd, laid_over: Option<LaidOver>) -> bool {
        *self.log.files.stranded.write() = laid_over;
        let mut published = self.log.files.published.lock();
        std::mem::replace(&mut *published, end) != end
    }
}

/// Walks over the whole frames of a segment from a place on, and notes them in its index.
fn walk(segment: &Segment, file: Arc<dyn DiskFile>, length: u64, from: LogEnd) -> Result<LogEnd> {
    let offset = segment.entry.offset_of(from.position);
    let unreadable = |offset, error| Error::unreadable(&segment.path, offset, error);
    if !has_header(file.as_ref(), segment, length, from).map_err(|error| unreadable(offset, error))? {
        return Ok(from);
    }
    let bytes = SegmentBytes::of_file(file, length);
    let is_whole_segment = from.position == segment.entry.base_position;
    let cursor = match is_whole_segment {
        true => FrameCursor::at_start(bytes, &segment.seed, &segment.entry),
        false => FrameCursor::behind(bytes, &segment.seed, &segment.entry, from),
    };
    let mut index = segment.live_index.read().clone();
    if is_whole_segment {
        index = Some(SparseIndex::default());
    }
    let end = walk_on(segment, cursor, &mut index)?;
    *segment.live_index.write() = index;
    Ok(end.unwrap_or(from))
}

/// The first walk over a segment whose program has saved an index of it: from the last frame that the index notes.
/// `None` if there is no such index, or no such frame.
fn walk_behind_noted(segment: &Segment, file: Arc<dyn DiskFile>, disk: &dyn Disk) -> Result<Option<LogEnd>> {
    let Some((index, last)) = partial_index_of(segment, disk) else {
        return Ok(None);
    };
    let bytes = SegmentBytes::of_file(file, segment.entry.bytes);
    let cursor = FrameCursor::at_entry(bytes, &segment.seed, &segment.entry, Some(last));
    if cursor.end().is_some() {
        // It would begin at the first frame, since there is none where the index notes one.
        return Ok(None);
    }
    let mut index = Some(index);
    let end = walk_on(segment, cursor, &mut index)?;
    if end.is_some() {
        *segment.live_index.write() = index;
    }
    Ok(end)
}

/// Walks over whole frames, and notes them in the index. Gives the end of the last one.
fn walk_on(
    segment: &Segment,
    mut cursor: FrameCursor<'_>,
    index: &mut Option<SparseIndex>,
) -> Result<Option<LogEnd>> {
    let mut end = None;
    while !cursor.is_at_end() {
        match cursor.next().and_then(|frame| cursor.body(&frame).map(|_| frame)) {
            Ok(frame) => {
                end = cursor.end();
                if let Some(index) = index {
                    index.note(IndexEntry {
                        first_record: frame.header.first_record,
                        first_arrival: frame.header.first_arrival,
                        offset: frame.offset,
                    });
                }
            }
            // No frame yet, or not all of it.
            Err(WalkError::Defect { .. }) => break,
            Err(WalkError::Unreadable { offset, error }) => {
                return Err(Error::unreadable(&segment.path, offset, error));
            }
        }
    }
    Ok(end)
}

/// Whether there may be a frame. Mostly there is none, and reading a header finds that out.
fn has_header(file: &dyn DiskFile, segment: &Segment, length: u64, from: LogEnd) -> std::io::Result<bool> {
    let offset = segment.entry.offset_of(from.position);
    if offset.saturating_add(HEADER_BYTES as u64) > length {
        return Ok(false);
    }
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, offset)?;
    Ok(FrameHeader::decode(&header, &segment.seed, from.position).is_ok())
}
