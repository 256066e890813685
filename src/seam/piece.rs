//! What of a log can be freed apart from the rest.

use crate::model::{RecordNumber, Timestamp};

/// A part of a log that can be freed while what follows stays. Those of a log follow each other, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPiece {
    /// The number behind the last record before it.
    pub(crate) follows: RecordNumber,
    /// How many records there are from the number on that was asked for.
    pub(crate) records: u64,
    /// How many bytes those take.
    pub(crate) bytes: u64,
    /// When its last record arrived.
    pub(crate) last_arrival: Timestamp,
}
