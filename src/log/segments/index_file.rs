//! The index files of segments that are not written to. None is needed: a missing or wrong index is built again from
//! its segment.

use super::open_segments::OpenSegment;
use super::segment::Segment;
use crate::disk::{Disk, OpenMode, read_whole};
use crate::log::format::frame_cursor::{FrameCursor, SegmentBytes};
use crate::log::format::index::{IndexEntry, SparseIndex};
use crate::log::format::log_end::LogPosition;

/// The index of a segment that is not written to, from its file or from its frames.
pub(crate) fn index_of<'a>(
    segment: &Segment,
    open: &'a OpenSegment,
    end: LogPosition,
    disk: &dyn Disk,
) -> &'a SparseIndex {
    if let Some(index) = open.index.get() {
        return index;
    }
    let index = match load(segment, end, disk) {
        Some(index) => index,
        None => build(segment, open, end, disk),
    };
    open.index.get_or_init(|| index)
}

/// Writes the index file of a segment whose index is in memory.
pub(crate) fn save_index(segment: &Segment, covered_through: LogPosition, disk: &dyn Disk) {
    // A forgotten segment gets no index file: its directory may be empty by now, and about to be removed.
    let hold = segment.hold();
    if let Some(index) = segment.live_index.read().as_ref().filter(|_| hold.is_some()) {
        write(segment, index, covered_through, disk);
    }
}

/// The saved index of a segment that another program may be writing to, and the last frame that it notes in front of
/// the position through which it was made. All frames in front of that one were durable then.
pub(crate) fn partial_index_of(segment: &Segment, disk: &dyn Disk) -> Option<(SparseIndex, IndexEntry)> {
    let bytes = read_whole(disk, &segment.index_path).ok()?;
    let (mut index, covered_through) = SparseIndex::decode_partial(&bytes, segment.entry.salt)?;
    let is_of_segment = covered_through > segment.entry.base_position;
    let last = index.cut_before(segment.entry.offset_of(covered_through));
    Some((index, last.filter(|_| is_of_segment)?))
}

fn load(segment: &Segment, end: LogPosition, disk: &dyn Disk) -> Option<SparseIndex> {
    let bytes = read_whole(disk, &segment.index_path).ok()?;
    SparseIndex::decode(&bytes, segment.entry.salt, end)
}

fn build(segment: &Segment, open: &OpenSegment, end: LogPosition, disk: &dyn Disk) -> SparseIndex {
    let bytes = SegmentBytes::of_file(open.file.clone(), segment.entry.offset_of(end));
    let mut cursor = FrameCursor::at_start(bytes, &segment.seed, &segment.entry);
    let mut index = SparseIndex::default();
    while !cursor.is_at_end() {
        // The index covers the frames before damage, or before an unreadable place. A reader that gets there finds the
        // damage.
        let Ok(frame) = cursor.next() else {
            return index;
        };
        index.note(IndexEntry {
            first_record: frame.header.first_record,
            first_arrival: frame.header.first_arrival,
            offset: frame.offset,
        });
    }
    write(segment, &index, end, disk);
    index
}

/// Not synced; errors are ignored.
fn write(segment: &Segment, index: &SparseIndex, covered_through: LogPosition, disk: &dyn Disk) {
    if let Ok(file) = disk.open(&segment.index_path, OpenMode::Truncate) {
        let _ = file.write_all_at(&index.encode(segment.entry.salt, covered_through), 0);
    }
}
