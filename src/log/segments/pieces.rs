//! What of a log can be freed apart from the rest: its segments.

use crate::log::format::log_end::LogEnd;
use crate::log::format::segment_header::SegmentEntry;
use crate::seam::LogPiece;

/// The segments of a log that ends there, with the bytes of their frames.
pub(crate) fn pieces_of(entries: &[SegmentEntry], end: LogEnd) -> Vec<LogPiece> {
    let ends = entries
        .iter()
        .skip(1)
        .map(|next| (next.base_position, next.base_arrival))
        .chain([(end.position, end.last_arrival)]);
    entries
        .iter()
        .zip(ends)
        .map(|(entry, (position, last_arrival))| LogPiece {
            follows: entry.follows,
            bytes: position.0.saturating_sub(entry.base_position.0),
            last_arrival,
        })
        .collect()
}
