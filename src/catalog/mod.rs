//! Which streams and shards exist, in what state, and the manifest that makes it durable.
//!
//! The catalog is a value, [`CatalogState`], that changes only by [`Edit`]s. An edit is planned against the state,
//! written to the manifest, synced, and applied, in this order and one at a time: what the catalog shows has
//! happened durably. A split or a merge is one edit, so no crash leaves half of it.
//!
//! This floor knows the list of each log's segments as the log reports them. It reads no segment, and touches no
//! file but the manifest's.

mod codec;
mod copies;
mod edit;
mod gone;
mod manifest;
mod state;
mod survey;

pub(crate) use edit::{Edit, PlannedReshard};
pub(crate) use state::{AgeMark, CatalogState, Due, Lifecycle, LogState, StreamState};
pub(crate) use survey::{
    ManifestSurvey, manifest_name, parse_current, parse_manifest_name, survey_manifest, write_manifest,
};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) use manifest::COMPACTION_BYTES;
use manifest::Manifest;

use crate::disk::{Disk, Health};
use crate::error::{Error, Result};
use crate::sync::{AtomicBool, Mutex, OnceLock, RwLock, RwLockReadGuard};

/// The durable truth of a store.
#[derive(Debug)]
pub(crate) struct Catalog {
    state: RwLock<CatalogState>,
    manifest: Mutex<Manifest>,
    health: Health,
    is_closed: AtomicBool,
    is_read_only: AtomicBool,
    compaction_bytes: u64,
    /// Asked for room where something failed for want of it; says whether it gave some.
    make_room: OnceLock<RoomMaker>,
}

struct RoomMaker(Box<dyn Fn(&Error) -> bool + Send + Sync>);

impl std::fmt::Debug for RoomMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoomMaker")
    }
}

impl Catalog {
    /// Opens the catalog in a directory, or makes a new one where nothing was stored yet, after `before_new`.
    ///
    /// `find_later_frame` looks for a file that shows that an edit is missing; it is told whether the manifest ends in a
    /// frame that is not whole.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        directory: &Path,
        health: Health,
        compaction_bytes: u64,
        before_new: impl FnOnce() -> Result<()>,
        find_later_frame: impl FnOnce(&CatalogState, bool) -> Result<Option<PathBuf>>,
    ) -> Result<Self> {
        let (manifest, state) = Manifest::open(disk, directory, before_new, find_later_frame)?;
        Ok(Self {
            state: RwLock::new(state),
            manifest: Mutex::new(manifest),
            health,
            is_closed: AtomicBool::new(false),
            is_read_only: AtomicBool::new(false),
            compaction_bytes,
            make_room: OnceLock::new(),
        })
    }

    /// Has `make_room` asked before an edit is refused for want of room.
    pub(crate) fn make_room_by(&self, make_room: impl Fn(&Error) -> bool + Send + Sync + 'static) {
        self.make_room.get_or_init(|| RoomMaker(Box::new(make_room)));
    }

    /// Takes no more edits: once this returns the manifest is somebody else's.
    pub(crate) fn close(&self) {
        let _no_edit_is_under_way = self.manifest.lock();
        self.is_closed.store(true, Ordering::Release);
    }

    /// Takes no more edits, of a store that is only read.
    pub(crate) fn make_read_only(&self) {
        self.is_read_only.store(true, Ordering::Release);
    }

    /// The state as it is now. No edit is applied while the guard is held.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, CatalogState> {
        self.state.read()
    }

    /// Plans edits, makes them durable all together or not at all, and applies them. No other edit comes between.
    ///
    /// # Errors
    /// The plan's, before anything is written; [`Error::StorageFull`], where nothing has changed either;
    /// [`Error::Poisoned`], [`Error::ReadOnly`].
    pub(crate) fn commit(&self, plan: impl FnOnce(&CatalogState) -> Result<Vec<Edit>>) -> Result<()> {
        let mut manifest = self.manifest.lock();
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if self.is_read_only.load(Ordering::Acquire) {
            return Err(Error::ReadOnly);
        }
        self.health.check()?;
        let edits = plan(&self.state.read())?;
        if edits.is_empty() {
            return Ok(());
        }
        loop {
            match manifest.append(&edits, &self.health) {
                Err(error) if error.is_want_of_room() && self.can_make_room_for(&error) => {}
                appended => break appended?,
            }
        }
        let mut state = self.state.write();
        for edit in &edits {
            // A plan made against this very state applies to it; an edit that does not is a defect in this crate,
            // and going on from it would be worse than stopping.
            if let Err(reason) = state.apply(edit) {
                let defect = std::io::Error::other(reason);
                return Err(self.health.poison("apply an edit of", manifest.path(), defect));
            }
        }
        drop(state);
        manifest.compact_if_large(&self.state.read(), self.compaction_bytes, &self.health)
    }

    fn can_make_room_for(&self, failed: &Error) -> bool {
        let make_room = self.make_room.get();
        make_room.is_some_and(|RoomMaker(make_room)| make_room(failed))
    }
}

impl Error {
    fn bad_manifest(path: &Path, offset: u64, reason: impl std::fmt::Display) -> Self {
        Self::corrupt(path, offset, reason.to_string())
    }
}
