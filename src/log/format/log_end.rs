//! Places in a log.

use serde::{Deserialize, Serialize};

use crate::model::{RecordNumber, Timestamp};

/// A count of frame bytes since the log began: dense over all segments, and a multiple of eight between frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LogPosition(pub(crate) u64);

/// Where a log ends, with everything that is needed to go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogEnd {
    /// The position behind the last frame.
    pub(crate) position: LogPosition,
    /// The number that the next record may have; greater than that of every record so far.
    pub(crate) next_record: RecordNumber,
    /// When the last record arrived; no later record has an earlier time.
    pub(crate) last_arrival: Timestamp,
    /// The header checksum of the last frame, which the next frame repeats.
    pub(crate) chain: u32,
    /// Whether the log was interrupted here. Part of a frame may then follow the end, so the next frame goes into a new
    /// segment.
    pub(crate) is_interrupted: bool,
}

impl LogEnd {
    /// The end of a log that has no record yet.
    pub(crate) const EMPTY: Self = Self {
        position: LogPosition(0),
        next_record: RecordNumber::FIRST,
        last_arrival: Timestamp::from_millis(0),
        chain: 0,
        is_interrupted: false,
    };
}
