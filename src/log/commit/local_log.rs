//! A log, as long as it is open.
//!
//! This file has the parts of a log. The files that import it have its operations: [`turn`](super::turn),
//! [`round`](super::round), [`lead`](super::lead), [`announce`](super::announce), [`append`](super::append),
//! [`rest`](super::rest) and [`cut`](super::cut). The folder `read` reads it.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use super::context::CommitContext;
use super::durability::Durability;
use super::tail::Tail;
use super::writer::{Placement, Writer};
use crate::error::{Error, Result};
use crate::log::format::log_end::LogEnd;
use crate::log::segments::index_file::save_index;
use crate::log::segments::log_files::LogFiles;
use crate::log::segments::pieces::pieces_of;
use crate::log::segments::segment::Segment;
use crate::model::RecordNumber;
use crate::seam::{LogChanges, LogPiece, ShardCounters, ShownEnd};
use crate::sync::{AtomicBool, Condvar, Mutex};

pub(crate) type LogContext = CommitContext<LocalLog>;

/// An open log: a shard's, a queue's, or the commit journal.
#[derive(Debug)]
pub(crate) struct LocalLog {
    /// For handing this log to the flushers.
    this: Weak<LocalLog>,
    pub(crate) files: Arc<LogFiles>,
    pub(crate) context: Arc<LogContext>,
    pub(super) tail: Mutex<Tail>,
    /// One for each parity of the group that is waited for.
    pub(super) committed: [Condvar; 2],
    pub(super) writer: Mutex<Writer>,
    /// Whether a flusher has been asked to commit. Changed with the flushers' queue locked.
    pub(super) is_queued: AtomicBool,
    /// Signalled at every change of what readers may see.
    pub(super) changes: LogChanges,
    pub(super) is_removed: AtomicBool,
    /// The damage behind the end, if recovery found that the log once went on there.
    pub(crate) lost_tail: Option<Error>,
    /// Counts what is committed. Only a shard's log has it.
    pub(super) counters: Option<ShardCounters>,
}

/// How a log goes on when it is opened.
pub(crate) struct StartingPoint {
    pub(crate) end: LogEnd,
    /// Where the next group goes.
    pub(crate) placement: Placement,
    /// The number that the next record gets.
    pub(crate) next_record: RecordNumber,
    pub(crate) is_sealed: bool,
    pub(crate) lost_tail: Option<Error>,
}

impl LocalLog {
    pub(crate) fn new(
        files: LogFiles,
        state: StartingPoint,
        context: Arc<LogContext>,
        counters: Option<ShardCounters>,
    ) -> Arc<Self> {
        let StartingPoint {
            end,
            placement,
            next_record,
            is_sealed,
            lost_tail,
        } = state;
        let files = Arc::new(files);
        let writer = Writer::new(files.clone(), context.resources.clone(), end, placement);
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            files,
            tail: Mutex::new(Tail::new(next_record, end.last_arrival, is_sealed)),
            committed: [Condvar::new(), Condvar::new()],
            writer: Mutex::new(writer),
            is_queued: AtomicBool::new(false),
            changes: LogChanges::default(),
            is_removed: AtomicBool::new(false),
            lost_tail,
            counters,
            context,
        })
    }

    /// This log, unless its last owner is dropping it.
    pub(super) fn shared(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    /// The signals for waiting at the end.
    pub(crate) fn changes(&self) -> &LogChanges {
        &self.changes
    }

    /// The present end of the log. Writes nothing, so some of the records before it may not be readable yet.
    pub(crate) fn shown_end(&self) -> ShownEnd {
        let tail = self.tail.lock();
        let next_record = match self.is_acknowledged_from_memory() && !tail.is_quiet() {
            true => tail.next_record,
            false => self.acknowledged_through(),
        };
        ShownEnd {
            next_record,
            last_arrival: tail.last_arrival,
        }
    }

    /// The number behind the last acknowledged record, also if only the journal has it.
    fn acknowledged_through(&self) -> RecordNumber {
        let deferred = self.files.acknowledged_through.load(Ordering::Acquire);
        let published = self.files.published.lock().next_record;
        published.max(RecordNumber::new(deferred))
    }

    /// The number behind the last record that was given one. It shows whether anything was appended since an earlier
    /// call.
    pub(crate) fn appended_through(&self) -> RecordNumber {
        self.tail.lock().next_record
    }

    /// Refuses if damage was found in this log.
    pub(crate) fn check_undamaged(&self) -> Result<()> {
        self.files.damage().map_or(Ok(()), |damage| Err(damage.clone()))
    }

    /// Keeps the first damage that was found. Nothing more is written to a damaged log.
    pub(crate) fn note_damage(&self, damage: Error) -> Error {
        self.files.note_damage(damage)
    }

    /// Whether the next commit will have to tell the ledger where it writes to.
    pub(crate) fn lacks_place(&self) -> bool {
        !self.files.has_place.load(Ordering::Relaxed)
    }

    /// Whether the catalog no longer has this log, so that nothing of it has to become durable.
    pub(crate) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::Acquire)
    }

    /// Forgets the oldest segments up to the one that begins at `first`. The caller becomes the owner of their files.
    pub(crate) fn forget_segments_before(&self, first: RecordNumber) -> Vec<Arc<Segment>> {
        let open_segments = &self.context.resources.open_segments;
        self.files.forget_before(first, open_segments)
    }

    /// Whether a file in this log's directory is one of its own.
    pub(crate) fn names_file(&self, name: &str) -> bool {
        let is_named =
            |segment: &Arc<Segment>| name == segment.entry.file_name() || name == segment.entry.index_name();
        self.files.segments.read().iter().any(is_named)
    }

    /// The segments that have records from a number on, each with the bytes of its frames from there.
    pub(crate) fn pieces(&self, from: RecordNumber) -> Vec<LogPiece> {
        let end = *self.files.published.lock();
        let segments = self.files.segments.read();
        let entries: Vec<_> = segments.iter().map(|segment| segment.entry).collect();
        pieces_of(&entries, end, from)
    }

    /// The first number of the oldest segment in the list.
    pub(crate) fn first_record(&self) -> RecordNumber {
        let segments = self.files.segments.read();
        segments
            .first()
            .map_or(RecordNumber::FIRST, |first| first.entry.first_record)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.files.directory
    }

    /// Saves the index of the last segment, so that the next opener need not build it again.
    pub(crate) fn save_live_index(&self) {
        if let Some(last) = self.files.last() {
            let covered_through = self.files.published.lock().position;
            save_index(&last, covered_through, self.context.resources.disk.as_ref());
        }
    }

    /// Whether records are acknowledged before they are written, so that they cannot be given up.
    pub(crate) fn is_acknowledged_from_memory(&self) -> bool {
        self.context.resources.options.durability == Durability::Buffered
    }
}
