//! Walking over the frames of a segment, from its mapping or through the page cache.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{FrameDefect, FrameHeader, FrameSeed, HEADER_BYTES};
use super::index::IndexEntry;
use super::log_end::{LogEnd, LogPosition};
use super::read_buffers::{BUFFER_BYTES, ReadBuffers, read_once};
use super::record_codec::Records;
use super::segment_header::{PAGE_BYTES, SegmentEntry};
use crate::disk::{DiskFile, Step, passes};
use crate::encryption::DataKey;
use crate::model::RecordNumber;

/// The first read of a reader that wants little. Each further one is twice as long.
const LITTLE_BYTES: usize = 8 * 1024;

/// The bytes of a segment up to some length.
#[derive(Clone, Debug)]
pub(crate) enum SegmentBytes {
    Mapped(Bytes),
    File {
        file: Arc<dyn DiskFile>,
        length: u64,
        window: Bytes,
        window_offset: u64,
        /// The most that the next call reads.
        ahead: usize,
        /// The next frames may be as long as this one. So windows end between two frames, and nothing is read twice.
        frame_bytes: u64,
        /// The source of large windows, if that is not the allocator.
        buffers: Option<Arc<ReadBuffers>>,
    },
}

impl SegmentBytes {
    /// For walking over the whole segment.
    pub(crate) fn of_file(file: Arc<dyn DiskFile>, length: u64) -> Self {
        Self::File {
            file,
            length,
            window: Bytes::new(),
            window_offset: 0,
            ahead: BUFFER_BYTES,
            frame_bytes: 1,
            buffers: None,
        }
    }

    /// For reading about this many bytes.
    pub(crate) fn of_lent_buffers(
        file: Arc<dyn DiskFile>,
        length: u64,
        wanted: Wanted,
        buffers: Arc<ReadBuffers>,
    ) -> Self {
        Self::File {
            file,
            length,
            window: Bytes::new(),
            window_offset: 0,
            ahead: match wanted {
                Wanted::Little => LITTLE_BYTES,
                Wanted::Much => BUFFER_BYTES,
            },
            frame_bytes: 1,
            buffers: Some(buffers),
        }
    }

    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Mapped(mapped) => mapped.len() as u64,
            Self::File { length, .. } => *length,
        }
    }

    /// `bytes` from `offset`, or `None` if the segment ends before.
    pub(crate) fn slice(&mut self, offset: u64, bytes: u64) -> std::io::Result<Option<Bytes>> {
        let window = self.window(offset, bytes)?;
        Ok(window.map(|(window, range)| window.slice(range)))
    }

    /// As [`slice`](Self::slice), but borrowed.
    fn view(&mut self, offset: u64, bytes: u64) -> std::io::Result<Option<&[u8]>> {
        let window = self.window(offset, bytes)?;
        Ok(window.map(|(window, range)| &window[range]))
    }

    fn expect_frames_of(&mut self, bytes: u64) {
        if let Self::File { frame_bytes, .. } = self {
            *frame_bytes = bytes;
        }
    }

    fn window(&mut self, offset: u64, bytes: u64) -> std::io::Result<Option<(&Bytes, Range<usize>)>> {
        let Some(end) = offset.checked_add(bytes).filter(|end| *end <= self.length()) else {
            return Ok(None);
        };
        match self {
            Self::Mapped(mapped) => Ok(Some((mapped, offset as usize..end as usize))),
            Self::File {
                file,
                length,
                window,
                window_offset,
                ahead,
                frame_bytes,
                buffers,
            } => {
                let is_inside = offset >= *window_offset && end <= *window_offset + window.len() as u64;
                if !is_inside {
                    let most = *length - offset;
                    let ahead_bytes = *ahead as u64 - *ahead as u64 % *frame_bytes;
                    let wanted = bytes.max(ahead_bytes).min(most) as usize;
                    let read = |bytes| match &*buffers {
                        Some(buffers) => buffers.read(file.as_ref(), offset, bytes),
                        None => read_once(file.as_ref(), offset, bytes),
                    };
                    *window = match read(wanted) {
                        // The disk cannot read all of it. Read only what was asked for, so that records before the bad
                        // place are served. From here on nothing is read ahead: a disk may take seconds to report an
                        // error.
                        Err(_) if wanted > bytes as usize => {
                            *ahead = 0;
                            read(bytes as usize)?
                        }
                        read => read?,
                    };
                    *window_offset = offset;
                    *ahead = (*ahead * 2).min(BUFFER_BYTES);
                }
                let start = (offset - *window_offset) as usize;
                Ok(Some((window, start..start + bytes as usize)))
            }
        }
    }
}

/// How much a read is prepared for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A few records.
    Little,
    /// Many records that follow one another.
    Much,
}

/// A place between two frames of a segment.
#[derive(Debug)]
pub(crate) struct FrameCursor<'a> {
    bytes: SegmentBytes,
    seed: &'a FrameSeed,
    entry: &'a SegmentEntry,
    offset: u64,
    /// The end that the next frame has to follow, if the walk came over the frame before it.
    before: Option<LogEnd>,
    /// The same for the frame that was stepped over last.
    before_last: Option<LogEnd>,
    /// No record in the segment has this number or a higher one.
    next_first: RecordNumber,
}

/// A frame whose header is valid.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) checksum: u32,
    pub(crate) offset: u64,
}

/// Why a walk cannot go on.
#[derive(Debug)]
pub(crate) enum WalkError {
    Unreadable { offset: u64, error: std::io::Error },
    Defect { offset: u64, defect: FrameDefect },
}

impl<'a> FrameCursor<'a> {
    /// At the segment's first frame.
    pub(crate) fn at_start(bytes: SegmentBytes, seed: &'a FrameSeed, entry: &'a SegmentEntry) -> Self {
        Self {
            bytes,
            seed,
            entry,
            offset: PAGE_BYTES,
            before: Some(entry.base()),
            before_last: None,
            next_first: RecordNumber::END,
        }
    }

    /// At a frame that an index notes, whose predecessor is not known. An index is no evidence: if there is another
    /// frame than it says, or none, the walk begins at the first frame instead.
    pub(crate) fn at_entry(
        bytes: SegmentBytes,
        seed: &'a FrameSeed,
        entry: &'a SegmentEntry,
        noted: Option<IndexEntry>,
    ) -> Self {
        let start = Self::at_start(bytes.clone(), seed, entry);
        let Some(noted) = noted.filter(|noted| noted.offset > PAGE_BYTES) else {
            return start;
        };
        let mut cursor = Self::behind_damage(bytes, seed, entry, noted.offset);
        let is_as_noted = cursor.peek().is_ok_and(|frame| {
            frame.header.first_record == noted.first_record
                && frame.header.first_arrival == noted.first_arrival
        });
        match is_as_noted {
            true => cursor,
            false => start,
        }
    }

    /// Behind a frame of this segment that an earlier walk came over.
    pub(crate) fn behind(
        bytes: SegmentBytes,
        seed: &'a FrameSeed,
        entry: &'a SegmentEntry,
        end: LogEnd,
    ) -> Self {
        Self {
            offset: entry.offset_of(end.position),
            before: Some(end),
            ..Self::at_start(bytes, seed, entry)
        }
    }

    /// At a frame behind damage: its predecessor is unknown, so its chain is not checked.
    pub(crate) fn behind_damage(
        bytes: SegmentBytes,
        seed: &'a FrameSeed,
        entry: &'a SegmentEntry,
        offset: u64,
    ) -> Self {
        Self {
            bytes,
            seed,
            entry,
            offset,
            before: None,
            before_last: None,
            next_first: RecordNumber::END,
        }
    }

    /// Sets where the numbers behind this segment begin. A frame that reaches further is damage: skipping the records
    /// in between would lose them silently.
    pub(crate) fn numbered_before(mut self, next_first: RecordNumber) -> Self {
        self.next_first = next_first;
        self
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.offset >= self.bytes.length()
    }

    /// The end of the log if it ends here. Known after a walk over a frame, or from the first frame on.
    pub(crate) fn end(&self) -> Option<LogEnd> {
        self.before
    }

    /// The end of the log before the frame that was stepped over last, if that is known.
    pub(crate) fn end_before_last(&self) -> Option<LogEnd> {
        self.before_last
    }

    /// Steps over the next frame's header. The body is read only if it is asked for.
    pub(crate) fn next(&mut self) -> Result<Frame, WalkError> {
        let frame = self.peek()?;
        self.offset += frame.header.frame_bytes();
        self.bytes.expect_frames_of(frame.header.frame_bytes());
        self.before_last = self.before;
        self.before = Some(frame.header.end(frame.checksum));
        Ok(frame)
    }

    fn peek(&mut self) -> Result<Frame, WalkError> {
        let offset = self.offset;
        let defect = |defect| WalkError::Defect { offset, defect };
        let view = self
            .bytes
            .view(offset, HEADER_BYTES as u64)
            .map_err(|error| WalkError::Unreadable { offset, error })?;
        let view = view.ok_or(defect(FrameDefect::Length))?;
        let header_bytes = view.first_chunk().ok_or(defect(FrameDefect::Length))?;
        let position = LogPosition(self.entry.base_position.0 + (offset - PAGE_BYTES));
        let (header, checksum) = FrameHeader::decode(header_bytes, self.seed, position).map_err(defect)?;
        if offset + header.frame_bytes() > self.bytes.length() {
            return Err(defect(FrameDefect::Length));
        }
        if header.next_record() > self.next_first {
            return Err(defect(FrameDefect::NumbersBeyond));
        }
        if let Some(before) = self.before {
            if !passes(Step::FrameChain, header.chain == before.chain) {
                return Err(defect(FrameDefect::Chain));
            }
            // A segment may begin before its first record (`Writer::place_ahead`).
            let follows = match offset {
                PAGE_BYTES => header.first_record >= before.next_record,
                _ => header.first_record == before.next_record,
            };
            if !passes(Step::FrameNumbers, follows) {
                return Err(defect(FrameDefect::RecordNumber));
            }
        }
        Ok(Frame {
            header,
            checksum,
            offset,
        })
    }

    /// The records of a frame that was stepped over, after its checksum is verified. A record that is kept keeps the
    /// mapping, if there is one, or else a buffer, but never a frame that is larger than a buffer.
    pub(crate) fn records(&mut self, frame: &Frame) -> Result<Records, WalkError> {
        let body = self.body(frame)?;
        let buffers = match &self.bytes {
            SegmentBytes::File { buffers, .. } if body.len() > BUFFER_BYTES => buffers.clone(),
            SegmentBytes::File { .. } | SegmentBytes::Mapped(_) => None,
        };
        Ok(match buffers {
            Some(buffers) => Records::in_pieces(body, frame.header.count, buffers),
            None => Records::new(body, frame.header.count),
        })
    }

    /// The same for a segment with encryption. A record that is kept keeps at most a buffer.
    pub(crate) fn decrypted(
        &mut self,
        frame: &Frame,
        key: &DataKey,
        buffers: &Arc<ReadBuffers>,
    ) -> Result<Records, WalkError> {
        let opened = key.open(&self.body(frame)?, &frame.header.associated());
        let body = Bytes::from(opened.ok_or(WalkError::Defect {
            offset: frame.offset,
            defect: FrameDefect::Encryption,
        })?);
        Ok(match body.len() > BUFFER_BYTES {
            true => Records::in_pieces(body, frame.header.count, buffers.clone()),
            false => Records::new(body, frame.header.count),
        })
    }

    /// The body of a frame that was stepped over, after its checksum is verified.
    pub(crate) fn body(&mut self, frame: &Frame) -> Result<Bytes, WalkError> {
        let defect = |defect| WalkError::Defect {
            offset: frame.offset,
            defect,
        };
        let body = self
            .bytes
            .slice(
                frame.offset + HEADER_BYTES as u64,
                u64::from(frame.header.body_length),
            )
            .map_err(|error| WalkError::Unreadable {
                offset: frame.offset,
                error,
            })?
            .ok_or(defect(FrameDefect::Length))?;
        let checksum = self.seed.body_checksum(frame.header.position, &body);
        if !passes(Step::FrameBodyChecksum, checksum == frame.header.body_checksum) {
            return Err(defect(FrameDefect::BodyChecksum));
        }
        Ok(body)
    }

    /// The first frame, from here on, that reaches to `record` or behind it; `None` at the segment's end.
    pub(crate) fn find_record(&mut self, record: RecordNumber) -> Result<Option<Frame>, WalkError> {
        while !self.is_at_end() {
            let frame = self.next()?;
            if frame.header.next_record() > record {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}
