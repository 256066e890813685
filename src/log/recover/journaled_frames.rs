//! Bringing back what only the commit journal has.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::open::LogStart;
use crate::disk::{DiskFile, Step, perform};
use crate::error::{Error, Result};
use crate::log::commit::local_log::{LocalLog, LogContext};
use crate::log::format::frame::{FrameHeader, FrameSeed};
use crate::log::format::frame_home::FrameHome;
use crate::log::format::identity::LogIdentity;
use crate::log::format::log_end::LogPosition;
use crate::log::format::segment_header::{PAGE_BYTES, SegmentEntry};
use crate::log::segments::segment::Segment;
use crate::model::{LogName, RecordNumber, Timestamp};
use crate::seam::ReadLimit;
use crate::trace::{self, Happening};

/// The frames of a journal, by the segment that they belong to.
#[derive(Debug, Default)]
pub(crate) struct JournaledFrames {
    frames: HashMap<FrameHome, Vec<Bytes>>,
}

impl JournaledFrames {
    /// Reads a whole journal, or as far as it holds.
    pub(crate) fn read(
        context: &Arc<LogContext>,
        store: u128,
        directory: PathBuf,
        segments: &[SegmentEntry],
    ) -> Result<(Self, Option<Error>)> {
        const STEP: ReadLimit = ReadLimit {
            records: 10_000,
            bytes: 16 * 1024 * 1024,
        };
        let identity = LogIdentity::commit_journal(store);
        let log = LocalLog::open(
            identity,
            directory,
            segments,
            LogStart::Interrupted,
            None,
            context.clone(),
            None,
        )?;
        let mut journaled = Self::default();
        let mut from = RecordNumber::FIRST;
        loop {
            let mut records = Vec::new();
            match log.read(from, Timestamp::EPOCH, &STEP, &mut records) {
                Ok(_) if records.is_empty() => return Ok((journaled, None)),
                Ok(read) => {
                    for record in records {
                        journaled.add(record.partition_key.as_str(), record.data);
                    }
                    from = read.next;
                }
                Err(error @ Error::TooManyOpenFiles { .. }) => return Err(error),
                Err(damage) => return Ok((journaled, Some(damage))),
            }
        }
    }

    /// Takes in a record of a journal.
    pub(crate) fn add(&mut self, name: &str, frame: Bytes) {
        if let Some(home) = FrameHome::parse(name) {
            self.frames.entry(home).or_default().push(frame);
        }
    }

    /// The whole frames that belong to a segment, each with its offset there.
    pub(crate) fn of_segment(&self, log: LogIdentity, entry: &SegmentEntry) -> Vec<(u64, Bytes)> {
        let segment = Segment::new(log, *entry, Path::new(""));
        let frames = self.frames.get(&FrameHome::of(log, entry.salt));
        let placed = frames.into_iter().flatten().filter_map(|frame| {
            let FrameHeader { position, .. } = FrameHeader::decode_anywhere(frame, &segment.seed)?;
            let offset = PAGE_BYTES.checked_add(position.0.checked_sub(entry.base_position.0)?)?;
            let end = offset.checked_add(frame.len() as u64)?;
            (end <= entry.bytes).then(|| (offset, frame.clone()))
        });
        placed.collect()
    }

    /// The frames that belong to segments with none of the salts that are known of their logs, and how many records are
    /// in those of one segment that begin at a position or behind it.
    pub(crate) fn records_elsewhere(
        &self,
        store: u128,
        from: impl Fn(LogName, u64) -> Option<LogPosition>,
    ) -> Vec<(LogName, RecordNumber, u64)> {
        let mut elsewhere = Vec::new();
        for (&FrameHome { log: name, salt }, frames) in &self.frames {
            let Some(from) = from(name, salt) else {
                continue;
            };
            let seed = FrameSeed::new(LogIdentity { store, name }, salt);
            let headers = frames
                .iter()
                .filter_map(|frame| FrameHeader::decode_anywhere(frame, &seed));
            let wanted: Vec<_> = headers.filter(|header| header.position >= from).collect();
            let records = wanted.iter().map(|header| u64::from(header.count)).sum();
            if let Some(first) = wanted.iter().map(|header| header.first_record).min() {
                elsewhere.push((name, first, records));
            }
        }
        elsewhere.sort_unstable();
        elsewhere
    }

    /// Puts the frames of a log's last segment back where they are not, durably.
    ///
    /// # Errors
    /// The segment is missing or damaged, or cannot be read; [`Error::Poisoned`] if it cannot be written.
    pub(crate) fn put_back(
        &self,
        context: &LogContext,
        log: LogIdentity,
        entry: &SegmentEntry,
        directory: &Path,
    ) -> Result<()> {
        let frames = self.of_segment(log, entry);
        if frames.is_empty() {
            return Ok(());
        }
        let resources = &context.resources;
        let segment = Segment::inherited(log, *entry, directory);
        let mut open = resources.open_segments.get_readable(&segment)?;
        resources.open_segments.close(&segment);
        // Pages that the kernel marked clean after a failed write-back must not be believed.
        perform(Step::SegmentCacheDrop, || open.file.drop_cache())
            .map_err(|error| Error::io("drop the cache of", &segment.path, error))?;
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
            open = resources.open_segments.get_writable(&segment)?;
            resources.open_segments.close(&segment);
            trace::tell(&Happening::JournalPutBack { log: log.name });
        }
        for (offset, frame) in missing {
            open.file
                .write_all_at(frame, offset)
                .map_err(|error| resources.health.poison("write to", &segment.path, error))?;
        }
        perform(Step::PutBackSync, || open.file.sync_data())
            .map_err(|error| resources.health.poison("sync", &segment.path, error))
    }
}
