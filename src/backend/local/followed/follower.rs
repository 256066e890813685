//! What the followed logs share: the manifest and the commit journal of the other program.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::catalog::manifest::FollowedManifest;
use crate::catalog::{Catalog, CatalogState, LogState};
use crate::error::{Error, Result};
use crate::log::{FollowedJournal, LogContext, LogPosition, Segment, SegmentEntry};
use crate::model::LogName;
use crate::sync::{AtomicU64, Mutex};

/// How often the journal is read again if it was freed while it was read.
const TRIES: usize = 100;

/// Locks are taken in this order: a log's, the journal, the manifest, the catalog's state.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) directory: PathBuf,
    pub(super) catalog: Arc<Catalog>,
    pub(super) context: Arc<LogContext>,
    manifest: Mutex<FollowedManifest>,
    journal: Mutex<FollowedJournal>,
    /// How often the catalog has changed. Changed only while the catalog's state is locked.
    revision: AtomicU64,
}

impl Follower {
    pub(super) fn new(
        directory: PathBuf,
        catalog: Arc<Catalog>,
        manifest: FollowedManifest,
        context: Arc<LogContext>,
    ) -> Self {
        let store = catalog.read().store;
        Self {
            journal: Mutex::new(FollowedJournal::new(store, directory.join("journal"), &context)),
            directory,
            catalog,
            context,
            manifest: Mutex::new(manifest),
            revision: AtomicU64::new(0),
        }
    }

    /// A number that changes with the catalog. A caller that has the catalog's state locked gets the revision of that
    /// state.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Brings the catalog up to date. Returns whether it has changed.
    ///
    /// # Errors
    /// The manifest is missing or damaged, or cannot be read.
    pub(super) fn catch_up(&self) -> Result<bool> {
        let mut manifest = self.manifest.lock();
        let note = || {
            self.revision.fetch_add(1, Ordering::AcqRel);
        };
        match self.catalog.take_over(manifest.look()?, note) {
            Ok(has_changed) => Ok(has_changed),
            Err(_) => {
                let whole = manifest.look_again()?;
                let taken = self.catalog.take_over(whole, note);
                taken.map_err(|reason| Error::corrupt(&self.directory.join("CURRENT"), 0, reason))
            }
        }
    }

    /// Reads what was added to the journal. Frames behind damage in it are seen once they are in their segments. Gives
    /// the number of [drops](FollowedJournal::drops).
    pub(super) fn read_journal(&self) -> Result<u64> {
        let mut journal = self.journal.lock();
        for _ in 0..TRIES {
            // Read before the journal, so that no change is missed.
            let revision = self.revision();
            let LogState { segments, end, .. } = self.catalog.read().journal.clone();
            let look_at_manifest = || self.catch_up().map(drop);
            let find_segment = |log, salt| self.segment_written_to(log, salt);
            match journal.catch_up(&segments, end, &look_at_manifest, &find_segment) {
                Ok(()) => break,
                Err(error @ Error::TooManyOpenFiles { .. }) => return Err(error),
                Err(_) => {
                    self.catch_up()?;
                    // The journal may have been freed, which this thread or another one has seen now. Then its frames
                    // are in their segments.
                    if self.revision() == revision {
                        break;
                    }
                }
            }
        }
        Ok(journal.drops())
    }

    /// The frames of the journal that belong into a segment, from a position on; `None` if frames were dropped since
    /// the number of [drops](FollowedJournal::drops) was read. Those are in their segments, perhaps behind that
    /// position.
    pub(super) fn journaled(&self, segment: &Segment, position: LogPosition, drops: u64) -> Option<Bytes> {
        let journal = self.journal.lock();
        (journal.drops() == drops).then(|| journal.frames_from(segment, position))
    }

    /// The last segment of a log, if it has that salt and the log is written to.
    fn segment_written_to(&self, log: LogName, salt: u64) -> Option<(PathBuf, SegmentEntry)> {
        let state = self.catalog.read();
        let entry = written_to(&state, log).filter(|entry| entry.salt == salt)?;
        Some((self.directory_of(log).join(entry.file_name()), entry))
    }

    pub(super) fn directory_of(&self, log: LogName) -> PathBuf {
        let above = match log.stream() {
            Some(stream) => self.directory.join("streams").join(stream.to_string()),
            None => self.directory.clone(),
        };
        above.join(log.directory_name())
    }
}

fn written_to(state: &CatalogState, log: LogName) -> Option<SegmentEntry> {
    let log = state.log(log).filter(|log| log.end.is_none())?;
    log.segments.last().copied()
}
