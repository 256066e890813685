//! Looking for frames without a known beginning.

use std::ops::ControlFlow;

use super::frame::{ALIGNMENT, FrameHeader, FrameSeed, HEADER_BYTES};
use super::frame_cursor::SegmentBytes;
use super::log_end::LogPosition;
use super::segment_header::{PAGE_BYTES, SegmentEntry};

/// The bytes of one step of the search; a multiple of the alignment.
const SEARCH_BYTES: u64 = 256 * 1024;

/// Looks at every aligned offset from `from` on, and passes each header that validates at its own position to the
/// callback, until that says to stop.
pub(crate) fn search_headers(
    bytes: &mut SegmentBytes,
    seed: &FrameSeed,
    entry: &SegmentEntry,
    from: u64,
    mut on_header: impl FnMut(u64, &FrameHeader) -> ControlFlow<()>,
) -> std::io::Result<()> {
    let mut offset = from;
    while offset + HEADER_BYTES as u64 <= bytes.length() {
        let window_bytes = SEARCH_BYTES.min(bytes.length() - offset);
        let Some(window) = bytes.slice(offset, window_bytes)? else {
            break;
        };
        let candidates = window
            .windows(HEADER_BYTES)
            .step_by(ALIGNMENT)
            .zip((offset..).step_by(ALIGNMENT));
        for (header_bytes, offset) in candidates {
            let position = LogPosition(entry.base_position.0 + (offset - PAGE_BYTES));
            if let Some(header_bytes) = header_bytes.first_chunk()
                && let Ok((header, _)) = FrameHeader::decode(header_bytes, seed, position)
                && on_header(offset, &header).is_break()
            {
                return Ok(());
            }
        }
        // The next window begins early enough to see a header that this one cuts.
        offset += window_bytes - (HEADER_BYTES - ALIGNMENT) as u64;
    }
    Ok(())
}
