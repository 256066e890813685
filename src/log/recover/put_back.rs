//! Putting back frames that only the commit journal has.

use std::path::Path;

use super::journaled_frames::JournaledFrames;
use crate::disk::{DiskFile, Step, perform};
use crate::error::{Error, Result};
use crate::log::commit::local_log::LogContext;
use crate::log::format::identity::LogIdentity;
use crate::log::format::segment_header::SegmentEntry;
use crate::log::segments::segment::Segment;
use crate::trace::{self, Happening};

/// A log's last segment, which gets back the frames of a journal that it lacks.
#[derive(Debug)]
pub(crate) struct PutBack {
    segment: Segment,
    /// Whether the journal has frames of it.
    is_begun: bool,
    /// Whether some were missing, and were written.
    has_written: bool,
}

impl PutBack {
    pub(crate) fn new(log: LogIdentity, entry: SegmentEntry, directory: &Path) -> Self {
        Self {
            segment: Segment::inherited(log, entry, directory),
            is_begun: false,
            has_written: false,
        }
    }

    /// Writes those of these frames that the segment lacks.
    ///
    /// # Errors
    /// The segment is missing or damaged, or cannot be read; [`Error::Poisoned`] if it cannot be written.
    pub(crate) fn take(&mut self, context: &LogContext, frames: &JournaledFrames) -> Result<()> {
        let segment = &self.segment;
        let frames = frames.of_segment(segment.log, &segment.entry);
        if frames.is_empty() {
            return Ok(());
        }
        let resources = &context.resources;
        let mut open = resources.open_segments.get_readable(segment)?;
        if !std::mem::replace(&mut self.is_begun, true) {
            // Others may need its place among the open files before it is finished.
            open.note_unsynced();
            // Pages that the kernel marked clean after a failed write-back must not be believed.
            perform(Step::SegmentCacheDrop, || open.file.drop_cache())
                .map_err(|error| Error::io("drop the cache of", &segment.path, error))?;
        }
        let mut missing = Vec::new();
        for (offset, frame) in &frames {
            let mut there = vec![0; frame.len()];
            open.file
                .read_exact_at(&mut there, *offset)
                .map_err(|error| Error::io("read", &segment.path, error))?;
            if there != *frame {
                missing.push((*offset, frame));
            }
        }
        if !missing.is_empty() {
            open = resources.open_segments.get_writable(segment)?;
            self.has_written = true;
        }
        for (offset, frame) in missing {
            open.write_all_at(frame, offset)
                .map_err(|error| resources.health.poison("write to", &segment.path, error))?;
        }
        Ok(())
    }

    /// Syncs the segment. That also makes durable what an earlier process wrote before it was killed.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub(crate) fn finish(&self, context: &LogContext) -> Result<()> {
        if !self.is_begun {
            return Ok(());
        }
        let resources = &context.resources;
        let open = resources.open_segments.get_readable(&self.segment);
        let synced = open.and_then(|open| perform(Step::PutBackSync, || open.sync(&resources.health)));
        resources.open_segments.close(&self.segment);
        synced?;
        if self.has_written {
            let log = self.segment.log.name;
            trace::tell(&Happening::JournalPutBack { log });
        }
        Ok(())
    }
}
