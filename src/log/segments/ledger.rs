//! Who keeps the list of the segments of each log.

use crate::error::Result;
use crate::log::format::identity::LogIdentity;
use crate::log::format::segment_header::SegmentEntry;

/// Keeps the durable list of every log's segments.
pub(crate) trait SegmentLedger: Send + Sync {
    /// Takes note of what several logs are about to do, all at once. Durable on return; until then no frame is written.
    /// Gives what became of each change, in their order: a log that is gone does not keep the others from going on.
    fn record(&self, changes: &[(LogIdentity, LogChange)]) -> Vec<Result<()>>;
}

/// What a log is about to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogChange {
    /// To write to a segment that has been added behind the others.
    SegmentAdded(SegmentEntry),
    /// To write behind the known end at which it rested.
    Resumed,
    /// To have frames in the commit journal that its segments may lack.
    Journaled,
}
