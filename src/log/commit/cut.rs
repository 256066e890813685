//! What a log has at one moment.

use std::path::PathBuf;

use super::local_log::LocalLog;
use crate::error::Result;
use crate::log::format::identity::LogIdentity;
use crate::log::format::log_end::LogEnd;
use crate::log::format::segment_header::SegmentEntry;
use crate::log::segments::hold::SegmentHold;

/// The segments that a log had at one moment, and where it ended. They stay what they were for as long as this is
/// there; behind that end the last one may be written to.
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
    /// Commits all that was taken so far, and writes it to the segment. What the store's level does not ask for is not
    /// synced.
    ///
    /// # Errors
    /// Also where damage was found in the log.
    pub(crate) fn write_out(&self) -> Result<()> {
        self.check_undamaged()?;
        self.drain()?;
        self.write_deferred()
    }

    /// What is in the segments now. What only the commit journal has is not in it.
    pub(crate) fn cut(&self) -> LogCut {
        // Before the segments are looked at: all that has a frame up to here is among them.
        let end = *self.files.published.lock();
        // None of them is forgotten while the list is locked.
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
