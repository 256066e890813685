//! Where reading begins.

use crate::model::{SequenceNumber, Timestamp};

/// Where in a shard, or in a stream, reading begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartingPosition {
    /// At the oldest record within the retention period.
    TrimHorizon,
    /// After the present records.
    Latest,
    /// At the first record whose number is not less than this one.
    AtSequenceNumber(SequenceNumber),
    /// At the first record whose number is greater than this one.
    AfterSequenceNumber(SequenceNumber),
    /// At the first record that arrived at or after this moment.
    AtTimestamp(Timestamp),
}
