//! The files of one open log, and how far they may be read.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::left_off::LeftOff;
use super::open_segments::{OpenSegment, OpenSegments};
use super::segment::Segment;
use crate::error::{Error, Result};
use crate::log::format::identity::LogIdentity;
use crate::log::format::log_end::LogEnd;
use crate::log::format::segment_header::SegmentEntry;
use crate::model::RecordNumber;
use crate::sync::{AtomicBool, AtomicU64, Mutex, OnceLock, RwLock};
use crate::trace::{self, Happening};

/// What a log's writer and its readers share.
#[derive(Debug)]
pub(crate) struct LogFiles {
    pub(crate) identity: LogIdentity,
    pub(crate) directory: PathBuf,
    /// Oldest first.
    pub(crate) segments: RwLock<Vec<Arc<Segment>>>,
    /// Where readers stop: the end of what is committed and in the segment's file.
    pub(crate) published: Mutex<LogEnd>,
    /// The number behind the last acknowledged record, if some are committed that the writer still has to write to the
    /// file.
    pub(crate) acknowledged_through: AtomicU64,
    /// Whether more is committed, which the writer still has to write to the file.
    pub(crate) has_deferred: AtomicBool,
    /// Whether the ledger knows where the next group goes, if the group fits there. The choice of how to commit depends
    /// on it.
    pub(crate) has_place: AtomicBool,
    /// Whether the ledger knows that the commit journal may have frames that the segments lack.
    pub(crate) is_known_journaled: AtomicBool,
    /// Frames of the last segment that could not be written to its file after the store failed, or that another program
    /// still has to write there.
    pub(crate) stranded: RwLock<Option<LaidOver>>,
    pub(crate) left_off: Mutex<LeftOff>,
    damage: OnceLock<Error>,
    /// Whether another program writes to the log. Then apparent damage may be a freed file, so it is not latched.
    is_followed: bool,
}

/// Frames that are read as if they were in the file of a segment.
#[derive(Clone, Debug)]
pub(crate) struct LaidOver {
    /// The handle of the segment.
    pub(crate) segment: u64,
    /// Their offset in its file.
    pub(crate) offset: u64,
    pub(crate) bytes: Bytes,
}

impl LogFiles {
    pub(crate) fn new(identity: LogIdentity, directory: PathBuf, entries: &[SegmentEntry]) -> Self {
        let segments = entries
            .iter()
            .map(|entry| Arc::new(Segment::inherited(identity, *entry, &directory)));
        Self {
            segments: RwLock::new(segments.collect()),
            identity,
            directory,
            published: Mutex::new(LogEnd::EMPTY),
            acknowledged_through: AtomicU64::new(0),
            has_deferred: AtomicBool::new(false),
            has_place: AtomicBool::new(false),
            is_known_journaled: AtomicBool::new(false),
            stranded: RwLock::default(),
            left_off: Mutex::default(),
            damage: OnceLock::new(),
            is_followed: false,
        }
    }

    /// The files of a log that another program writes to.
    pub(crate) fn of_followed(identity: LogIdentity, directory: PathBuf) -> Self {
        Self {
            is_followed: true,
            ..Self::new(identity, directory, &[])
        }
    }

    pub(crate) fn last(&self) -> Option<Arc<Segment>> {
        self.segments.read().last().cloned()
    }

    /// Forgets the oldest segments up to the one that begins at `first`. The caller becomes the owner of their files.
    pub(crate) fn forget_before(
        &self,
        first: RecordNumber,
        open_segments: &OpenSegments,
    ) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.write();
        let kept = segments.partition_point(|segment| segment.entry.first_record < first);
        let forgotten: Vec<_> = segments.drain(..kept).collect();
        // Done under the lock: a reader that cannot hold one of them does not find it in the list again.
        forgotten.iter().for_each(|segment| segment.forget());
        drop(segments);
        for segment in &forgotten {
            open_segments.close(segment);
        }
        forgotten
    }

    /// Opens a segment's file for reading. If the file is not that segment, the log is damaged.
    pub(crate) fn open(&self, segment: &Segment, open_segments: &OpenSegments) -> Result<Arc<OpenSegment>> {
        open_segments.get_readable(segment).map_err(|error| match error {
            Error::Corrupt { .. } => self.note_damage_of(segment, error),
            error => error,
        })
    }

    /// The first damage that was found.
    pub(crate) fn damage(&self) -> Option<&Error> {
        self.damage.get()
    }

    /// Keeps the first damage that was found. Nothing more is written to a damaged log.
    pub(crate) fn note_damage(&self, damage: Error) -> Error {
        match self.is_followed {
            true => damage,
            false => self.damage.get_or_init(|| damage).clone(),
        }
    }

    /// Keeps damage that was found in a segment, if the segment is still part of this log.
    pub(crate) fn note_damage_of(&self, segment: &Segment, damage: Error) -> Error {
        match segment.is_forgotten() {
            true => damage,
            false => {
                if self.damage().is_none() {
                    trace::tell(&Happening::DamageMet {
                        log: self.identity.name,
                        error: &damage,
                    });
                }
                self.note_damage(damage)
            }
        }
    }
}
