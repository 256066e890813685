//! Where a log ends.

use crate::model::{RecordNumber, Timestamp};

/// Where a log ends, as its readers and writers may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShownEnd {
    /// Behind every record that was acknowledged.
    pub(crate) next_record: RecordNumber,
    /// When the last record arrived that was taken in: no later one arrives earlier.
    pub(crate) last_arrival: Timestamp,
}
