//! The contents of a log at one moment.

use std::path::PathBuf;

use super::local_log::LocalLog;
use crate::error::Result;
use crate::log::format::identity::LogIdentity;
use crate::log::format::log_end::LogEnd;
use crate::log::format::segment_header::SegmentEntry;
use crate::log::segments::hold::SegmentHold;

/// The segments of a log at one moment, and the log's end. The segments are held as long as this value lives, so they
/// do not change up to that end. Behind it the last one may be written to.
#[derive(Debug)]
pub(crate) struct LogCut {
    pub(crate) identity: LogIdentity,
    /// Oldest first.
    pub(crate) segments: Vec<CutSegment>,
    pub(crate) end: LogEnd,
}

#[derive(Debug)]
pub(crate) struct CutSegment {
    pub(crate) entry: SegmentEntry,
    pub(crate) path: PathBuf,
    _hold: SegmentHold,
}

impl LocalLog {
    /// Commits everything that was taken in before the call, and writes it to the segment. Syncs only what the store's
    /// durability level asks for.
    ///
    /// # Errors
    /// Also if damage was found in the log.
    pub(crate) fn write_out(&self) -> Result<()> {
        self.check_undamaged()?;
        self.drain()?;
        self.write_deferred()
    }

    /// The present contents of the segments, without frames that only the commit journal has.
    pub(crate) fn cut(&self) -> LogCut {
        // Read before the list of segments, so that every frame up to this end is in one of the segments.
        let end = *self.files.published.lock();
        // No segment is forgotten while the list is locked.
        let segments = self.files.segments.read();
        let held = segments.iter().filter_map(|segment| {
            Some(CutSegment {
                entry: segment.entry,
                path: segment.path.clone(),
                _hold: segment.hold()?,
            })
        });
        LogCut {
            identity: self.files.identity,
            segments: held.collect(),
            end,
        }
    }
}
