//! The visible end of a log.

use crate::model::{RecordNumber, Timestamp};

/// The end of a log, for its readers and writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShownEnd {
    /// The number behind every acknowledged record.
    pub(crate) next_record: RecordNumber,
    /// When the last record arrived that was taken in: later ones never arrive earlier.
    pub(crate) last_arrival: Timestamp,
}
