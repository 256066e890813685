//! Bytes that were written to a segment's file and are not synced yet.

use std::sync::atomic::Ordering;

use crate::sync::{AtomicU64, Mutex};

/// Belongs to a segment, and to each of its open files in turn: a file is closed only when everything written is
/// synced.
#[derive(Debug, Default)]
pub(crate) struct WriteBack {
    /// Writes that have ended.
    written: AtomicU64,
    /// How many of them are synced.
    synced: AtomicU64,
    syncing: Mutex<()>,
}

impl WriteBack {
    /// Notes that a write has ended. The writer still has the file open.
    pub(crate) fn note_written(&self) {
        self.written.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether all that was written is synced.
    pub(crate) fn is_done(&self) -> bool {
        self.synced.load(Ordering::Acquire) >= self.written.load(Ordering::Acquire)
    }

    /// Syncs what was written before, if it is not synced. A failed write-back is reported to one sync of a file only,
    /// so syncs run one at a time, and `check` tells the second one of the failure.
    pub(crate) fn sync<E>(
        &self,
        check: impl FnOnce() -> Result<(), E>,
        sync: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let _one_at_a_time = self.syncing.lock();
        check()?;
        let written = self.written.load(Ordering::Acquire);
        if self.synced.load(Ordering::Acquire) < written {
            sync()?;
            self.synced.store(written, Ordering::Release);
        }
        Ok(())
    }
}
