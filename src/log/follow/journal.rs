//! The commit journal of another program, as it is written.
//!
//! The writer puts frames of small groups into its journal first, and into their segments only when there are enough of
//! them, or when they are read. So frames that were read from the journal are kept until they are in the segments.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::followed_log::FollowedLog;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::Result;
use crate::log::commit::local_log::LogContext;
use crate::log::format::frame::{FrameHeader, FrameSeed};
use crate::log::format::frame_home::FrameHome;
use crate::log::format::identity::LogIdentity;
use crate::log::format::log_end::{LogEnd, LogPosition};
use crate::log::format::segment_header::SegmentEntry;
use crate::log::segments::segment::Segment;
use crate::model::{LogName, RecordNumber, Timestamp};
use crate::seam::{ReadLimit, ReadRecord};

/// Beyond so many bytes, frames that are in their segments are dropped.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Finds the path and entry of a segment by its log and salt, if it is the last one of a log that is written to.
pub(crate) type FindSegment<'a> = dyn Fn(LogName, u64) -> Option<(PathBuf, SegmentEntry)> + 'a;

/// The journal, and the frames that may not be in their segments yet.
#[derive(Debug)]
pub(crate) struct FollowedJournal {
    store: u128,
    disk: Arc<dyn Disk>,
    journal: FollowedLog,
    /// The next record to read.
    next: RecordNumber,
    /// By their segment and their position.
    frames: HashMap<FrameHome, BTreeMap<u64, Bytes>>,
    kept_bytes: usize,
    /// At this many bytes the frames are compared with their segments again.
    most_bytes: usize,
    /// How often frames were dropped.
    drops: u64,
}

impl FollowedJournal {
    pub(crate) fn new(store: u128, directory: PathBuf, context: &Arc<LogContext>) -> Self {
        let identity = LogIdentity::commit_journal(store);
        Self {
            store,
            disk: context.resources.disk.clone(),
            journal: FollowedLog::new(identity, directory, context.clone()),
            next: RecordNumber::FIRST,
            frames: HashMap::new(),
            kept_bytes: 0,
            most_bytes: KEPT_BYTES,
            drops: 0,
        }
    }

    /// Reads what was added to the journal since the last call. `entries` and `rested` are what the manifest says of
    /// it. After `look_at_manifest`, `find_segment` knows every segment that existed at that time.
    ///
    /// # Errors
    /// The journal is damaged, or was freed since the manifest was read; or an error of `look_at_manifest`. What was
    /// read before is kept.
    pub(crate) fn catch_up(
        &mut self,
        entries: &[SegmentEntry],
        rested: Option<LogEnd>,
        look_at_manifest: &dyn Fn() -> Result<()>,
        find_segment: &FindSegment<'_>,
    ) -> Result<()> {
        const STEP: ReadLimit = ReadLimit {
            records: 10_000,
            bytes: 4 * 1024 * 1024,
        };
        self.journal.take_over(entries, rested);
        if let Some(end) = rested {
            // It rests only once all frames are in their segments.
            self.next = end.next_record;
            self.drop_all();
            return Ok(());
        }
        self.journal.advance(|_, _| Some(Bytes::new()))?;
        if self.journal.end().next_record < self.next {
            // It is another journal, for example of a store that was restored.
            self.next = RecordNumber::FIRST;
            self.drop_all();
        }
        loop {
            let mut records: Vec<ReadRecord> = Vec::new();
            let read = self
                .journal
                .log()
                .read(self.next, Timestamp::EPOCH, &STEP, &mut records)?;
            self.next = read.next;
            if records.is_empty() {
                return Ok(());
            }
            for record in records {
                self.take(record.partition_key.as_str(), &record.data);
            }
            if self.kept_bytes > self.most_bytes {
                // A segment is in the manifest before the journal has a frame of it. So a segment that is unknown after
                // this look is no longer written to.
                look_at_manifest()?;
                self.drop_written(find_segment);
            }
        }
    }

    /// How often frames were dropped because they may be in their segments.
    pub(crate) fn drops(&self) -> u64 {
        self.drops
    }

    /// The consecutive frames of a segment from a position on.
    pub(crate) fn frames_from(&self, segment: &Segment, position: LogPosition) -> Bytes {
        let entry = &segment.entry;
        let Some(frames) = self.frames.get(&FrameHome::of(segment.log, entry.salt)) else {
            return Bytes::new();
        };
        let mut joined = BytesMut::new();
        for (at, frame) in frames.range(position.0..) {
            let follows = position.0 + joined.len() as u64 == *at;
            if !follows || entry.offset_of(LogPosition(*at)) + frame.len() as u64 > entry.bytes {
                break;
            }
            joined.extend_from_slice(frame);
        }
        joined.freeze()
    }

    /// Keeps a copy of a shard's frame.
    fn take(&mut self, name: &str, frame: &[u8]) {
        let Some(home) = FrameHome::parse(name).filter(|home| home.log.shard().is_some()) else {
            return;
        };
        let identity = LogIdentity {
            store: self.store,
            name: home.log,
        };
        let seed = FrameSeed::new(identity, home.salt);
        if let Some(header) = FrameHeader::decode_anywhere(frame, &seed) {
            let frames = self.frames.entry(home).or_default();
            frames.insert(header.position.0, Bytes::copy_from_slice(frame));
            self.kept_bytes += frame.len();
        }
    }

    fn drop_all(&mut self) {
        if self.frames.is_empty() {
            return;
        }
        self.frames = HashMap::new();
        self.kept_bytes = 0;
        self.drops += 1;
    }

    /// Drops the frames that are in their segments. They get there in their order, and before another segment of the
    /// log is begun.
    fn drop_written(&mut self, find_segment: &FindSegment<'_>) {
        let disk = self.disk.clone();
        self.frames.retain(|home, frames| {
            let Some((path, entry)) = find_segment(home.log, home.salt) else {
                return false;
            };
            let Ok(file) = disk.open(&path, OpenMode::Read) else {
                return true;
            };
            let positions: Vec<u64> = frames.keys().copied().collect();
            let is_written = |position: &u64| {
                let offset = entry.offset_of(LogPosition(*position));
                frames
                    .get(position)
                    .is_some_and(|frame| has_bytes(file.as_ref(), offset, frame))
            };
            let kept = positions.get(positions.partition_point(is_written)).copied();
            *frames = kept.map(|kept| frames.split_off(&kept)).unwrap_or_default();
            !frames.is_empty()
        });
        let frames = self.frames.values().flat_map(BTreeMap::values);
        self.kept_bytes = frames.map(Bytes::len).sum();
        self.most_bytes = KEPT_BYTES.max(2 * self.kept_bytes);
        self.drops += 1;
    }
}

fn has_bytes(file: &dyn DiskFile, offset: u64, bytes: &[u8]) -> bool {
    let mut there = vec![0; bytes.len()];
    file.read_exact_at(&mut there, offset).is_ok() && there == bytes
}
