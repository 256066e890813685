//! The ledger: the durable list of the segments of each log.

use crate::error::Result;
use crate::log::format::identity::LogIdentity;
use crate::log::format::segment_header::SegmentEntry;

/// Keeps the durable list of every log's segments.
pub(crate) trait SegmentLedger: Send + Sync {
    /// Notes what several logs are about to do, in one step. It is durable on return; the logs write no frame before.
    /// Gives the outcome of each change, in their order: a log that was removed does not hold up the others.
    fn record(&self, changes: &[(LogIdentity, LogChange)]) -> Vec<Result<()>>;
}

/// What a log is about to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogChange {
    /// It writes to a segment that was added behind the others.
    SegmentAdded(SegmentEntry),
    /// It writes behind the known end at which it rested.
    Resumed,
    /// It has frames in the commit journal that its segments may lack.
    Journaled,
}
