//! The frames in a commit journal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::open::LogStart;
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
        mut take: impl FnMut(&Self) -> Result<()>,
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

    /// Takes in a record of a journal.
    pub(crate) fn add(&mut self, name: &str, frame: Bytes) {
        self.add_if(name, frame, |_, _, _| true);
    }

    /// Takes in a record of a journal if the callback, which gets its log and its segment's salt, accepts it.
    pub(crate) fn add_if(
        &mut self,
        name: &str,
        frame: Bytes,
        is_wanted: impl FnOnce(LogName, u64, &[u8]) -> bool,
    ) {
        let home = FrameHome::parse(name);
        if let Some(home) = home.filter(|home| is_wanted(home.log, home.salt, &frame)) {
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

    /// The frames whose segments have none of the known salts of their logs, and how many records those of one segment
    /// have that begin at a position or behind it.
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
}

/// The position in its log of a frame in the journal, if it belongs to the segment with this salt.
pub(crate) fn position_of_frame(log: LogIdentity, salt: u64, frame: &[u8]) -> Option<LogPosition> {
    let header = FrameHeader::decode_anywhere(frame, &FrameSeed::new(log, salt));
    header.map(|header| header.position)
}
