//! The frames of a commit journal, some at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::open::LogStart;
use crate::error::{Error, Result};
use crate::log::commit::local_log::{LocalLog, LogContext};
use crate::log::format::frame::FrameHeader;
use crate::log::format::frame_home::FrameHome;
use crate::log::format::identity::LogIdentity;
use crate::log::format::segment_header::{PAGE_BYTES, SegmentEntry};
use crate::log::segments::segment::Segment;
use crate::model::{RecordNumber, Timestamp};
use crate::seam::ReadLimit;

/// How much of a journal an opener has in memory at a time, in addition to one commit of the journal.
const STEP: ReadLimit = ReadLimit {
    records: 10_000,
    bytes: 4 * 1024 * 1024,
};

/// Frames of a journal, by their segments.
#[derive(Debug, Default)]
pub(crate) struct JournaledFrames {
    frames: HashMap<FrameHome, Vec<Bytes>>,
}

impl JournaledFrames {
    /// Reads a journal up to its end or to damage, and passes its frames on in steps, so that few of them are in memory
    /// at a time. Gives the damage at which it stopped.
    pub(crate) fn read_in_steps(
        context: &Arc<LogContext>,
        store: u128,
        directory: PathBuf,
        segments: &[SegmentEntry],
        take: impl FnMut(&Self) -> Result<()>,
    ) -> Result<Option<Error>> {
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
        let damage = Self::hand_over(&log, take);
        // They are not read again, and would stay open until another file needs their place.
        drop(log.forget_segments_before(RecordNumber::END));
        damage
    }

    fn hand_over(log: &LocalLog, mut take: impl FnMut(&Self) -> Result<()>) -> Result<Option<Error>> {
        let mut from = RecordNumber::FIRST;
        loop {
            let mut records = Vec::new();
            match log.read(from, Timestamp::EPOCH, &STEP, &mut records) {
                Ok(_) if records.is_empty() => return Ok(None),
                Ok(read) => {
                    let mut frames = Self::default();
                    for record in records {
                        frames.add(record.partition_key.as_str(), record.data);
                    }
                    take(&frames)?;
                    from = read.next;
                }
                Err(error @ Error::TooManyOpenFiles { .. }) => return Err(error),
                Err(damage) => return Ok(Some(damage)),
            }
        }
    }

    fn add(&mut self, name: &str, frame: Bytes) {
        if let Some(home) = FrameHome::parse(name) {
            self.frames.entry(home).or_default().push(frame);
        }
    }

    /// The whole frames of a segment, each with its offset there.
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
}
