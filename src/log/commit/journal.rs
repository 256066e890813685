//! The commit journal: a log whose records are other logs' frames.
//!
//! A frame in the journal is durable before its segment is synced. The journal keeps the frame until that sync
//! ([`CommitJournal::sync_segments`]). After a crash, the opener of the store puts the frames of the journal back into
//! their segments before it recovers anything else ([`JournaledFrames`]). A frame names its segment, its place in it
//! and the frame before, and its checksum covers all of these. So putting it back twice, or over itself, changes
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::context::{FrameOf, TakesFrames};
use super::local_log::LocalLog;
use crate::disk::{Step, is_left_out, perform};
use crate::error::Result;
use crate::log::format::frame_home::FrameHome;
use crate::log::segments::ledger::LogChange;
use crate::log::segments::segment::Segment;
use crate::model::{LogName, PutRecord, RecordNumber, Timestamp};
use crate::seam::{Appended, Ticket, Waiting};
use crate::sync::{AtomicBool, Mutex};

/// When the journal's finished files have as many bytes as this many of the largest segments, the segments of its logs
/// are synced. One sync costs less per byte if it covers more.
const SYNCED_FROM_SEGMENTS: u64 = 1;

/// While they have more than this, because the segments are synced too slowly, commits do not use the journal.
const MAX_SEGMENTS: u64 = 4;

/// Takes the frames of rounds.
#[derive(Debug)]
pub(crate) struct CommitJournal {
    log: Arc<LocalLog>,
    /// Logs that have frames in the journal and not yet durably in their segments. A log is noted here before the
    /// journal gets its frame.
    unsynced: Mutex<BTreeMap<LogName, Arc<LocalLog>>>,
    /// The most logs in `unsynced`: each keeps frames in memory.
    max_unsynced: usize,
    is_sync_asked: AtomicBool,
}

impl CommitJournal {
    /// Makes the journal of the log that holds it.
    pub(crate) fn new(log: Arc<LocalLog>, max_unsynced: usize) -> Self {
        Self {
            log,
            unsynced: Mutex::default(),
            max_unsynced,
            is_sync_asked: AtomicBool::new(false),
        }
    }

    pub(crate) fn log(&self) -> &Arc<LocalLog> {
        &self.log
    }

    /// Tells the ledger which logs have frames here, once for each time that they are written to. If the journal is
    /// damaged, only these logs may lack something.
    fn are_known<'a>(&self, logs: impl Iterator<Item = &'a LocalLog> + Clone) -> bool {
        let is_unknown = |log: &&LocalLog| !log.files.is_known_journaled.load(Ordering::Relaxed);
        if !logs.clone().any(|log| is_unknown(&log)) {
            return true;
        }
        let unknown = logs.filter(is_unknown);
        let changes: Vec<_> = unknown
            .clone()
            .map(|log| (log.files.identity, LogChange::Journaled))
            .collect();
        let recorded = perform(Step::JournaledInLedger, || {
            self.log
                .context
                .resources
                .ledger
                .record(&changes)
                .into_iter()
                .collect()
        });
        let is_recorded: Result<()> = recorded;
        if is_recorded.is_ok() {
            unknown.for_each(|log| log.files.is_known_journaled.store(true, Ordering::Relaxed));
        }
        is_recorded.is_ok()
    }

    /// Whether there is room for the frames of these logs. Notes the logs before, and wakes the keeper if the journal
    /// is filling.
    fn has_room_for<'a>(&self, logs: impl Iterator<Item = &'a LocalLog>) -> bool {
        let finished = self.finished_bytes();
        let mut unsynced = self.unsynced.lock();
        for log in logs {
            if let Some(log) = log.shared().filter(|_| !is_left_out(Step::NotedBeforeJournaled)) {
                unsynced.insert(log.files.identity.name, log);
            }
        }
        if self.is_filled_by(finished, unsynced.len()) && !self.is_sync_asked.swap(true, Ordering::Relaxed) {
            (self.log.context.resources.on_want)();
        }
        finished <= MAX_SEGMENTS * self.segment_bytes() && unsynced.len() <= self.max_unsynced
    }

    /// Whether all frames here are durable in their segments.
    pub(crate) fn is_spent(&self) -> bool {
        self.unsynced.lock().is_empty()
    }

    /// Whether segments should be synced, so that the journal can drop some of its own segments.
    pub(crate) fn is_filling(&self) -> bool {
        let unsynced = self.unsynced.lock().len();
        self.is_filled_by(self.finished_bytes(), unsynced)
    }

    fn is_filled_by(&self, finished: u64, unsynced: usize) -> bool {
        finished >= SYNCED_FROM_SEGMENTS * self.segment_bytes()
            || unsynced > self.max_unsynced - self.max_unsynced / 8
    }

    /// The bytes of all files but the last, which is the only one to stay once the logs' segments are synced.
    fn finished_bytes(&self) -> u64 {
        let segments = self.log.files.segments.read();
        segments
            .iter()
            .rev()
            .skip(1)
            .map(|segment| segment.entry.bytes)
            .sum()
    }

    fn segment_bytes(&self) -> u64 {
        self.log.context.resources.options.segment_bytes
    }

    /// Syncs the segments of all logs that have frames here. Gives the number of the first record of the journal that
    /// may still be needed.
    pub(crate) fn sync_segments(&self) -> Result<RecordNumber> {
        self.is_sync_asked.store(false, Ordering::Relaxed);
        let last_segment = self.log.files.last();
        let first_kept = last_segment.map_or(RecordNumber::FIRST, |segment| segment.entry.first_record);
        let mut unsynced = std::mem::take(&mut *self.unsynced.lock());
        while let Some((name, log)) = unsynced.pop_first() {
            // A round that had put a frame in front of `first_kept` before this has also noted its log, and has its
            // turn until the frame is in its segment.
            if let Err(error) = perform(Step::JournaledSegmentsSync, || log.sync_in_turn()) {
                if log.is_removed() {
                    continue;
                }
                unsynced.insert(name, log);
                self.unsynced.lock().append(&mut unsynced);
                return Err(error);
            }
        }
        Ok(first_kept)
    }
}

impl TakesFrames<LocalLog> for CommitJournal {
    fn append(&self, frames: &[FrameOf<'_, LocalLog>]) -> Option<Ticket> {
        let logs = frames.iter().map(|frame| frame.log);
        if !self.has_room_for(logs.clone()) || !self.are_known(logs) {
            return None;
        }
        let records: Vec<_> = frames
            .iter()
            .map(|frame| PutRecord::new(home_name(frame.segment), frame.bytes))
            .collect();
        debug_assert!(!records.is_empty(), "a round without frames needs no journal");
        match self.log.append(&records, Timestamp::EPOCH, Waiting::Allowed) {
            Ok(Appended::Taken(ticket)) => Some(ticket),
            Ok(Appended::Sealed | Appended::WouldWait) | Err(_) => None,
        }
    }
}

/// The name of the home of a segment's frames. Every round needs it.
fn home_name(segment: &Segment) -> &str {
    segment
        .frame_home
        .get_or_init(|| FrameHome::of(segment.log, segment.entry.salt).to_string())
}
