//! Repairing a damaged segment so that it can be read and the log can go on, without the lost records.
//!
//! A log's positions are dense, its segments join without a gap, and within a segment numbers and chain have none
//! either. So a damaged stretch is filled with frames without records, which stand for its bytes, and the frames behind
//! it get a segment of their own: between segments numbers may have a gap, and the manifest has the chain of the first
//! frame. These frames are copied unchanged, under the same salt.
//!
//! The damaged file keeps its damage until the manifest names the segments behind it. The frames that fill the stretch
//! have another chain than the frames that the damaged file still has behind them, and than the end in the manifest.
//! Without that order, an opener would take the first of those frames for the torn end of the log, or put a frame there
//! that does not follow.

use std::path::Path;
use std::sync::Arc;

use super::survey::{DamagedStretch, SegmentSurvey};
use crate::disk::{Disk, DiskFile, OpenMode, Step, is_left_out, perform};
use crate::error::{Error, Result};
use crate::log::format::frame::{FrameHeader, FrameSeed, HEADER_BYTES};
use crate::log::format::identity::LogIdentity;
use crate::log::format::log_end::{LogEnd, LogPosition};
use crate::log::format::segment_header::{PAGE_BYTES, SegmentEntry};
use crate::log::segments::directories::make_directory;
use crate::log::segments::pool::remove_if_there;

/// The most bytes that one frame stands for, so that no reader needs a larger buffer for it.
const GAP_FRAME_BYTES: u64 = 1024 * 1024;

/// A lost segment that a repair replaces has at most eight times the bytes of the segment before it, and this many
/// more. Segments grow by a factor of eight, and the rest is room for one large commit. A manifest that says more is
/// not believed.
const MOST_MISSING_BYTES: u64 = 128 * 1024 * 1024;

/// The bytes of one step of copying.
const COPY_BYTES: u64 = 1024 * 1024;

/// The repair of one damaged segment.
#[derive(Clone, Debug)]
pub(crate) struct Mend {
    original: SegmentEntry,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
struct Piece {
    entry: SegmentEntry,
    /// The offset of its frames in the damaged file.
    from: u64,
    frame_bytes: u64,
    /// Behind these frames: the end that they lead to, and how many bytes frames without records stand for there.
    gap: Option<(LogEnd, u64)>,
}

impl Mend {
    /// The repair of a segment whose damage is known, including its header page and its length. If the log goes on at
    /// `through`, behind the room of the file, the segment between is lost, and this one stands for it.
    ///
    /// `None` if the damage leaves no room for a frame that stands for it.
    pub(crate) fn plan(
        entry: SegmentEntry,
        survey: &SegmentSurvey,
        through: Option<LogPosition>,
    ) -> Option<Self> {
        let mut pieces = vec![Piece {
            entry,
            from: PAGE_BYTES,
            frame_bytes: survey.end.position.0.saturating_sub(entry.base_position.0),
            gap: None,
        }];
        for stretch in &survey.damage {
            if stretch.bytes > 0 && stretch.bytes < HEADER_BYTES as u64 {
                return None;
            }
            let piece = pieces.last_mut()?;
            piece.frame_bytes = stretch.offset - piece.from;
            piece.gap = (stretch.bytes > 0).then_some((stretch.before, stretch.bytes));
            if let Some(resumed) = &stretch.resumes {
                pieces.push(Piece::behind(entry, stretch, resumed, survey));
            }
        }
        if let (Some(through), Some(last)) = (through, pieces.last_mut()) {
            let missing = through.0.saturating_sub(last.end().0);
            if missing > entry.bytes.saturating_mul(8).saturating_add(MOST_MISSING_BYTES) {
                return None;
            }
            let (before, bytes) = last.gap.unwrap_or((survey.end, 0));
            if missing > 0 {
                last.gap = Some((before, bytes + missing));
            }
            if last.gap.is_some_and(|(_, bytes)| bytes < HEADER_BYTES as u64) {
                return None;
            }
        }
        for (at, piece) in pieces.iter_mut().enumerate() {
            let bytes =
                PAGE_BYTES + (piece.end().0 - piece.entry.base_position.0).next_multiple_of(PAGE_BYTES);
            piece.entry.bytes = match at {
                0 => bytes.max(entry.bytes),
                _ => bytes,
            };
        }
        Some(Self {
            original: entry,
            pieces,
        })
    }

    /// The segments that the manifest has to name in place of the damaged one.
    pub(crate) fn entries(&self) -> impl Iterator<Item = SegmentEntry> {
        self.pieces.iter().map(|piece| piece.entry)
    }

    /// Writes the segments behind the damage, durably. The manifest may name them only after that. Can be repeated
    /// after an interruption.
    pub(crate) fn prepare(&self, disk: &dyn Disk, log: LogIdentity, directory: &Path) -> Result<()> {
        if is_left_out(Step::MendedBehindManifest) {
            self.finish(disk, log, directory)?;
        }
        // The last one first, and each gets its name only when it is whole. So an interruption leaves a segment with
        // everything that follows it in the log, or nothing.
        for piece in self.pieces.iter().skip(1).rev() {
            let damaged = self.open_damaged(disk, directory)?;
            let path = directory.join(piece.entry.file_name());
            let unfinished = path.with_extension("mending");
            piece
                .write_new(disk, &unfinished, log, &damaged)
                .and_then(|()| disk.rename(&unfinished, &path))
                .and_then(|()| perform(Step::MendedPieceNameSync, || disk.sync_dir(directory)))
                .map_err(|error| Error::preparing("write", &path, error))?;
        }
        Ok(())
    }

    /// Repairs the damaged segment, durably, once the manifest names those behind it and has no recorded end for a log
    /// that goes on. After an interruption the segment is as damaged as before.
    pub(crate) fn finish(&self, disk: &dyn Disk, log: LogIdentity, directory: &Path) -> Result<()> {
        let file = self.open_damaged(disk, directory)?;
        if let Some(piece) = self.pieces.first() {
            piece.put_right(&file, log).map_err(|error| {
                Error::preparing("write", &directory.join(piece.entry.file_name()), error)
            })?;
        }
        for piece in &self.pieces {
            // The old index is wrong now, and is built again.
            remove_if_there(disk, &directory.join(piece.entry.index_name()))?;
        }
        perform(Step::MendedNameSync, || disk.sync_dir(directory))
            .map_err(|error| Error::io("sync the directory", directory, error))
    }

    fn open_damaged(&self, disk: &dyn Disk, directory: &Path) -> Result<Arc<dyn DiskFile>> {
        let path = directory.join(self.original.file_name());
        let file = match disk.open(&path, OpenMode::Write) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                make_directory(disk, directory)?;
                disk.open(&path, OpenMode::CreateNew)
            }
            other => other,
        };
        file.map_err(|error| Error::io("open", &path, error))
    }
}

impl Piece {
    /// The position behind everything that it has or stands for.
    fn end(&self) -> LogPosition {
        let gap_bytes = self.gap.map_or(0, |(_, bytes)| bytes);
        LogPosition(self.entry.base_position.0 + self.frame_bytes + gap_bytes)
    }

    fn behind(
        damaged: SegmentEntry,
        stretch: &DamagedStretch,
        resumed: &FrameHeader,
        survey: &SegmentSurvey,
    ) -> Self {
        let entry = SegmentEntry {
            first_record: resumed.first_record,
            // The records in front of it are lost or hidden.
            follows: resumed.first_record,
            base_position: resumed.position,
            base_arrival: stretch.before.last_arrival,
            base_chain: resumed.chain,
            ..damaged
        };
        Self {
            entry,
            from: damaged.offset_of(resumed.position),
            // Unless there is another stretch.
            frame_bytes: survey.end.position.0.saturating_sub(resumed.position.0),
            gap: None,
        }
    }

    fn write_new(
        &self,
        disk: &dyn Disk,
        path: &Path,
        log: LogIdentity,
        damaged: &Arc<dyn DiskFile>,
    ) -> std::io::Result<()> {
        let file = disk.open(path, OpenMode::Truncate)?;
        file.allocate(self.entry.bytes)?;
        file.write_all_at(&self.entry.encode_header(log), 0)?;
        let mut done = 0;
        while done < self.frame_bytes {
            let mut buffer = vec![0; COPY_BYTES.min(self.frame_bytes - done) as usize];
            damaged.read_exact_at(&mut buffer, self.from + done)?;
            file.write_all_at(&buffer, PAGE_BYTES + done)?;
            done += buffer.len() as u64;
        }
        self.write_gap(file.as_ref(), log)?;
        perform(Step::MendedPieceSync, || file.sync_data())
    }

    fn put_right(&self, file: &Arc<dyn DiskFile>, log: LogIdentity) -> std::io::Result<()> {
        if file.len()? < self.entry.bytes {
            file.allocate(self.entry.bytes)?;
        }
        file.write_all_at(&self.entry.encode_header(log), 0)?;
        self.write_gap(file.as_ref(), log)?;
        perform(Step::MendedSync, || file.sync_data())
    }

    fn write_gap(&self, file: &dyn DiskFile, log: LogIdentity) -> std::io::Result<()> {
        let Some((before, bytes)) = self.gap else {
            return Ok(());
        };
        let seed = FrameSeed::new(log, self.entry.salt);
        let mut end = before;
        let mut left = bytes;
        while left > 0 {
            // Leaves room for a header in the last frame.
            let frame_bytes = match left <= GAP_FRAME_BYTES {
                true => left,
                false => GAP_FRAME_BYTES.min(left - HEADER_BYTES as u64),
            };
            let frame = gap_frame(&seed, &mut end, frame_bytes);
            file.write_all_at(&frame, self.entry.offset_of(before.position) + (bytes - left))?;
            left -= frame_bytes;
        }
        Ok(())
    }
}

/// A frame without records, of the given length.
fn gap_frame(seed: &FrameSeed, end: &mut LogEnd, frame_bytes: u64) -> Vec<u8> {
    let mut frame = vec![0; frame_bytes as usize];
    let (header_space, body) = frame.split_at_mut(HEADER_BYTES);
    let header = FrameHeader {
        // No longer than `GAP_FRAME_BYTES`.
        body_length: body.len() as u32,
        body_checksum: seed.body_checksum(end.position, body),
        position: end.position,
        first_record: end.next_record,
        count: 0,
        chain: end.chain,
        durable_through: end.position,
        first_arrival: end.last_arrival,
        last_arrival: end.last_arrival,
    };
    let (bytes, checksum) = header.encode(seed);
    header_space.copy_from_slice(&bytes);
    *end = LogEnd {
        position: LogPosition(end.position.0 + frame_bytes),
        chain: checksum,
        ..*end
    };
    frame
}
