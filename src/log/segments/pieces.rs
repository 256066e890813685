//! The parts of a log that can be freed separately: its segments.

use crate::log::format::log_end::LogEnd;
use crate::log::format::segment_header::SegmentEntry;
use crate::model::RecordNumber;
use crate::seam::LogPiece;

/// The segments of a log with this end that have records from a number on, each with the bytes of its frames.
///
/// Numbers within a segment have no gap, and each segment says how many were left out in front of it, so the records
/// are counted without being read. If the number is inside a segment, its bytes are counted in proportion to its
/// records.
pub(crate) fn pieces_of(entries: &[SegmentEntry], end: LogEnd, from: RecordNumber) -> Vec<LogPiece> {
    let ends = entries
        .iter()
        .skip(1)
        .map(|next| LogEnd {
            position: next.base_position,
            next_record: next.follows,
            last_arrival: next.base_arrival,
            ..end
        })
        .chain([end]);
    let pieces = entries.iter().zip(ends);
    pieces.map(|(entry, end)| piece_of(entry, end, from)).collect()
}

fn piece_of(entry: &SegmentEntry, end: LogEnd, from: RecordNumber) -> LogPiece {
    let count_from = |first: RecordNumber| end.next_record.value().saturating_sub(first.value());
    let all = count_from(entry.first_record);
    let records = count_from(entry.first_record.max(from));
    let bytes = end.position.0.saturating_sub(entry.base_position.0);
    let part = u128::from(bytes) * u128::from(records) / u128::from(all.max(1));
    LogPiece {
        follows: entry.follows,
        records,
        bytes: match from <= entry.first_record {
            // A segment whose frames have no record counts too.
            true => bytes,
            false => u64::try_from(part).unwrap_or(bytes),
        },
        last_arrival: end.last_arrival,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::format::log_end::LogPosition;
    use crate::model::Timestamp;

    fn entry(first: u64, follows: u64, position: u64) -> SegmentEntry {
        SegmentEntry {
            first_record: RecordNumber::new(first),
            follows: RecordNumber::new(follows),
            base_position: LogPosition(position),
            base_arrival: Timestamp::EPOCH,
            salt: 1,
            bytes: 65_536,
            base_chain: 0,
            encryption: None,
        }
    }

    #[test]
    fn records_are_counted_without_the_numbers_that_were_left_out() {
        let entries = [entry(1, 1, 0), entry(1_011, 11, 1_000)];
        let end = LogEnd {
            position: LogPosition(1_500),
            next_record: RecordNumber::new(1_016),
            ..LogEnd::EMPTY
        };
        let counted = |from| {
            let pieces = pieces_of(&entries, end, RecordNumber::new(from));
            pieces
                .iter()
                .map(|piece| (piece.records, piece.bytes))
                .collect::<Vec<_>>()
        };
        assert_eq!(counted(0), [(10, 1_000), (5, 500)]);
        assert_eq!(counted(1), [(10, 1_000), (5, 500)]);
        assert_eq!(counted(4), [(7, 700), (5, 500)]);
        assert_eq!(counted(11), [(0, 0), (5, 500)]);
        assert_eq!(counted(900), [(0, 0), (5, 500)]);
        assert_eq!(counted(1_014), [(0, 0), (2, 200)]);
        assert_eq!(counted(9_999), [(0, 0), (0, 0)]);
    }
}
