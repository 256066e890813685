//! The commit journal: a log whose records are other logs' frames.
//!
//! A frame that the journal has is durable, although its segment is not synced yet. So the journal keeps it until
//! that has happened ([`CommitJournal::sync_segments`]), and whoever opens a store that was not closed puts the frames
//! of its journal back into their segments before anything else is recovered ([`JournaledFrames`]). A frame names its
//! segment, its place in it and the frame before, and is checksummed with all of that, so putting it back twice, or
//! when it is there, changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::commit::Ticket;
use super::context::LogContext;
use super::frame::{FrameHeader, FrameSeed};
use super::segment::{PAGE_BYTES, Segment, SegmentEntry};
use super::shard_log::{Appended, LogStart, ShardLog};
use super::{LogChange, LogIdentity, LogPosition, ReadLimit};
use crate::disk::{DiskFile, Step, is_left_out, perform};
use crate::error::{Error, Result};
use crate::model::{LogName, PutRecord, RecordNumber, ShardId, StreamId, Timestamp};
use crate::sync::{AtomicBool, Mutex};

/// When the journal's finished files have as many bytes as this many of the largest segments, its logs' segments are
/// synced: the more there is to sync in each, the less it costs.
const SYNCED_FROM_SEGMENTS: u64 = 1;

/// While they have more than this, its logs' segments being synced too slowly, commits do without the journal.
const MAX_SEGMENTS: u64 = 4;

/// Where the frames of rounds go.
#[derive(Debug)]
pub(crate) struct CommitJournal {
    log: Arc<ShardLog>,
    /// Logs that have frames in the journal and not yet durably in their segments. A log is here before the journal has
    /// its frame.
    unsynced: Mutex<BTreeMap<LogName, Arc<ShardLog>>>,
    /// Each of them keeps frames in memory.
    max_unsynced: usize,
    is_sync_asked: AtomicBool,
}

impl CommitJournal {
    pub(crate) fn open(
        context: &Arc<LogContext>,
        store: u128,
        directory: PathBuf,
        segments: &[SegmentEntry],
        start: LogStart,
        max_unsynced: usize,
    ) -> Result<Self> {
        let identity = LogIdentity::commit_journal(store);
        Ok(Self {
            log: ShardLog::open(identity, directory, segments, start, context.clone())?,
            unsynced: Mutex::default(),
            max_unsynced,
            is_sync_asked: AtomicBool::new(false),
        })
    }

    pub(crate) fn log(&self) -> &Arc<ShardLog> {
        &self.log
    }

    /// Takes the frames of a round, each with its log and its segment. They are durable when the ticket is done.
    /// `None` if the segments had better be synced themselves.
    pub(super) fn append<'a>(
        &self,
        frames: impl Iterator<Item = (&'a ShardLog, &'a Segment, &'a [u8])> + Clone,
    ) -> Option<Ticket> {
        let logs = frames.clone().map(|(log, _, _)| log);
        if !self.has_room_for(logs.clone()) || !self.are_known(logs) {
            return None;
        }
        let records: Vec<_> = frames
            .map(|(_, segment, frame)| PutRecord::new(home_name(segment), frame))
            .collect();
        debug_assert!(!records.is_empty(), "a round without frames needs no journal");
        match self.log.append(&records, Timestamp::EPOCH) {
            Ok(Appended::Ticket(ticket)) => Some(ticket),
            Ok(Appended::Sealed) | Err(_) => None,
        }
    }

    /// Has the ledger know which logs have frames here, once for each time that they are written to: if the journal is
    /// damaged, only these may lack something.
    fn are_known<'a>(&self, logs: impl Iterator<Item = &'a ShardLog> + Clone) -> bool {
        let is_unknown = |log: &&ShardLog| !log.is_known_journaled.load(Ordering::Relaxed);
        if !logs.clone().any(|log| is_unknown(&log)) {
            return true;
        }
        let unknown = logs.filter(is_unknown);
        let changes: Vec<_> = unknown
            .clone()
            .map(|log| (log.identity, LogChange::Journaled))
            .collect();
        let recorded = perform(Step::JournaledInLedger, || {
            self.log.context.ledger.record(&changes).into_iter().collect()
        });
        let is_recorded: Result<()> = recorded;
        if is_recorded.is_ok() {
            unknown.for_each(|log| log.is_known_journaled.store(true, Ordering::Relaxed));
        }
        is_recorded.is_ok()
    }

    /// Takes note of logs that are about to have frames here.
    fn has_room_for<'a>(&self, logs: impl Iterator<Item = &'a ShardLog>) -> bool {
        let finished = self.finished_bytes();
        let mut unsynced = self.unsynced.lock();
        for log in logs {
            if let Some(log) = log.shared().filter(|_| !is_left_out(Step::NotedBeforeJournaled)) {
                unsynced.insert(log.identity.name, log);
            }
        }
        if self.is_filled_by(finished, unsynced.len()) && !self.is_sync_asked.swap(true, Ordering::Relaxed) {
            (self.log.context.on_want)();
        }
        finished <= MAX_SEGMENTS * self.segment_bytes() && unsynced.len() <= self.max_unsynced
    }

    /// Whether all frames here are durably in their segments.
    pub(crate) fn is_spent(&self) -> bool {
        self.unsynced.lock().is_empty()
    }

    /// Whether segments should be synced, so that the journal can drop some of its own.
    pub(crate) fn is_filling(&self) -> bool {
        let unsynced = self.unsynced.lock().len();
        self.is_filled_by(self.finished_bytes(), unsynced)
    }

    fn is_filled_by(&self, finished: u64, unsynced: usize) -> bool {
        finished >= SYNCED_FROM_SEGMENTS * self.segment_bytes()
            || unsynced > self.max_unsynced - self.max_unsynced / 8
    }

    /// The files in front of the last, which alone is kept when the logs' segments have been synced.
    fn finished_bytes(&self) -> u64 {
        let segments = self.log.segments.read();
        segments
            .iter()
            .rev()
            .skip(1)
            .map(|segment| segment.entry.bytes)
            .sum()
    }

    fn segment_bytes(&self) -> u64 {
        self.log.context.options.segment_bytes
    }

    /// Syncs the segments of all logs that have frames here. Gives the number of the journal's first record that may
    /// still be needed.
    pub(crate) fn sync_segments(&self) -> Result<RecordNumber> {
        self.is_sync_asked.store(false, Ordering::Relaxed);
        let last_segment = self.log.segments.read().last().cloned();
        let first_kept = last_segment.map_or(RecordNumber::FIRST, |segment| segment.entry.first_record);
        let mut unsynced = std::mem::take(&mut *self.unsynced.lock());
        while let Some((name, log)) = unsynced.pop_first() {
            // Whoever had put a frame in front of `first_kept` before this has also noted its log, and is in its turn
            // until the frame is in its segment.
            if let Err(error) = perform(Step::JournaledSegmentsSync, || log.sync_in_turn()) {
                unsynced.insert(name, log);
                self.unsynced.lock().append(&mut unsynced);
                return Err(error);
            }
        }
        Ok(first_kept)
    }
}

/// What could not be had of a commit journal, and so may be missing in logs that were being written to.
#[derive(Debug, Default)]
pub(crate) struct JournalDoubts {
    /// Logs of which the journal may have had frames where it is damaged, or whose frames could not be put back.
    pub(crate) about: BTreeMap<LogName, Error>,
}

impl JournalDoubts {
    pub(crate) fn is_empty(&self) -> bool {
        self.about.is_empty()
    }

    pub(super) fn about(&self, log: LogIdentity) -> Option<&Error> {
        self.about
            .get(&log.name)
            .filter(|_| !log.is_commit_journal() && !is_left_out(Step::JournalDoubts))
    }
}

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
        let log = ShardLog::open(
            identity,
            directory,
            segments,
            LogStart::Interrupted,
            context.clone(),
        )?;
        let mut journaled = Self::default();
        let mut from = RecordNumber::FIRST;
        loop {
            match log.read(from, Timestamp::EPOCH, &STEP) {
                Ok(read) if read.records.is_empty() => return Ok((journaled, None)),
                Ok(read) => {
                    for record in read.records {
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
        let segment = Segment::inherited(log, *entry, directory);
        let mut open = context.open_segments.get_readable(&segment)?;
        context.open_segments.close(&segment);
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
            open = context.open_segments.get_writable(&segment)?;
            context.open_segments.close(&segment);
        }
        for (offset, frame) in missing {
            open.file
                .write_all_at(frame, offset)
                .map_err(|error| context.health.poison("write to", &segment.path, error))?;
        }
        perform(Step::PutBackSync, || open.file.sync_data())
            .map_err(|error| context.health.poison("sync", &segment.path, error))
    }
}

/// The segment that a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FrameHome {
    log: LogName,
    salt: u64,
}

/// The name of the home of a segment's frames, which every round asks for.
fn home_name(segment: &Segment) -> &str {
    segment
        .frame_home
        .get_or_init(|| FrameHome::of(segment.log, segment.entry.salt).to_string())
}

impl FrameHome {
    fn of(log: LogIdentity, salt: u64) -> Self {
        let log = log.name;
        Self { log, salt }
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('/');
        let stream = StreamId::new(parts.next()?.parse().ok()?);
        let shard = ShardId::new(parts.next()?.parse().ok()?).ok()?;
        let home = Self {
            log: LogName::Shard(stream, shard),
            salt: u64::from_str_radix(parts.next()?, 16).ok()?,
        };
        (home.to_string() == name).then_some(home)
    }
}

impl std::fmt::Display for FrameHome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.log {
            LogName::Shard(stream, shard) => write!(f, "{stream}/{}/{:016x}", shard.index(), self.salt),
            // No journal has frames of a journal: no text reads back as this one.
            LogName::CommitJournal => write!(f, "journal/{:016x}", self.salt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_frames_home_reads_back_and_nothing_else_does() {
        let home = FrameHome {
            log: LogName::Shard(StreamId::new(12), ShardId::new(7).unwrap()),
            salt: 0xab,
        };
        assert_eq!(home.to_string(), "12/7/00000000000000ab");
        assert_eq!(FrameHome::parse("12/7/00000000000000ab"), Some(home));
        for other in [
            "",
            "12/7",
            "12/7/ab",
            "12/7/00000000000000ab/",
            "+12/7/00000000000000ab",
        ] {
            assert_eq!(FrameHome::parse(other), None, "{other}");
        }
    }
}
