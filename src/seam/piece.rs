//! Pieces: the parts of a log that can be freed separately.

use crate::model::{RecordNumber, Timestamp};

/// A part of a log that can be freed while later parts stay. Those of a log follow each other, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogPiece {
    /// The number behind the last record before it.
    pub(crate) follows: RecordNumber,
    /// How many records there are from the requested number on.
    pub(crate) records: u64,
    /// How many bytes those records take.
    pub(crate) bytes: u64,
    /// When its last record arrived.
    pub(crate) last_arrival: Timestamp,
}
