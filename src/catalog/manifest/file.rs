//! The manifest as a file that is opened, appended to and replaced.

use std::path::PathBuf;
use std::sync::Arc;

use crc32fast::Hasher;

use super::copies::{Copies, WhichCopy, file_length, file_offset, write_both};
use super::current::{
    manifest_name, parse_current, parse_manifest_name, prepare_current, replace_current, sync_current,
};
use super::format::{HEADER_BYTES, RESERVE_BYTES, decode_headers, encode_frame, encode_header, seed};
use super::new_store::{check_nothing_is_stored, forget_copying};
use super::walk::replay;
use crate::catalog::codec;
use crate::catalog::edit::{Edit, Freeing};
use crate::catalog::edit_log::{EditLog, Revision};
use crate::catalog::state::CatalogState;
use crate::disk::{Disk, DiskFile, Health, OpenMode, Step, is_left_out, new_identity, perform, read_whole};
use crate::error::{Error, Result};

/// A manifest is replaced when it is larger than this and than twice its snapshot.
pub(crate) const COMPACTION_BYTES: u64 = 1024 * 1024;

/// The place of a manifest, and what it shares with the rest of the store.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) health: Health,
    /// A manifest with fewer bytes is not compacted.
    pub(crate) compaction_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Manifest {
    home: Home,
    /// The state that the edits lead to, until the catalog takes it.
    loaded: Option<CatalogState>,
    revision: Revision,
    number: u64,
    pub(super) path: PathBuf,
    file: Arc<dyn DiskFile>,
    seed: Hasher,
    next_sequence: u64,
    /// The offset of the next frame, in each copy.
    length: u64,
    /// The reserved length of each copy.
    reserved: u64,
    snapshot_bytes: u64,
    /// Whether bytes other than zeros follow the last whole frame. Then nothing is appended to this manifest.
    has_torn_tail: bool,
    /// Whether `CURRENT` durably names this manifest. If not, a crash may bring the previous one back, which has the
    /// same edits until another is appended.
    is_named_durably: bool,
    /// Whether one copy is damaged somewhere. The other is whole there.
    has_damaged_copy: bool,
}

impl Manifest {
    /// Opens the manifest in force, or makes the first one if nothing was stored yet.
    ///
    /// `make_room` frees room on the disk if there is too little to open the manifest. `before_new` runs before a first
    /// one is made. `find_later_frame` looks for a file that shows that an edit is missing; its argument is whether the
    /// manifest ends in an incomplete frame.
    pub(crate) fn open(
        home: &Home,
        before_new: impl FnOnce() -> Result<()>,
        make_room: impl FnOnce() -> Result<()>,
        find_later_frame: impl FnOnce(&CatalogState, bool) -> Result<Option<PathBuf>>,
    ) -> Result<Self> {
        let Home { disk, directory, .. } = home;
        // An earlier opener may have been killed between a change and its sync. Everything from now on builds on what
        // is read here, so it is made durable first.
        perform(Step::StoreDirectorySyncAtOpen, || disk.sync_dir(directory))
            .map_err(|error| Error::io("sync the directory", directory, error))?;
        let current_path = directory.join("CURRENT");
        match read_whole(disk.as_ref(), &current_path) {
            Ok(bytes) => {
                let number = parse_current(&bytes)
                    .ok_or_else(|| Error::bad_manifest(&current_path, 0, "it does not name a manifest"))?;
                let (mut manifest, state) = Self::load(home, number)?;
                perform(Step::ManifestSyncAtOpen, || manifest.file.sync_data())
                    .map_err(|error| Error::io("sync", &manifest.path, error))?;
                forget_copying(disk.as_ref(), directory)?;
                if !is_left_out(Step::LaterFrames)
                    && let Some(later) = find_later_frame(&state, manifest.has_torn_tail)?
                {
                    let reason = format!(
                        "an edit is damaged or missing that was made before {}",
                        later.display()
                    );
                    let offset = file_offset(WhichCopy::First, manifest.length);
                    return Err(Error::bad_manifest(&manifest.path, offset, reason));
                }
                manifest.remove_others();
                if manifest.has_torn_tail && !is_left_out(Step::TornManifestRewrite) {
                    manifest = match manifest.rewritten(&state) {
                        Err(error) if error.is_want_of_room() => {
                            perform(Step::RoomFromPool, make_room)?;
                            manifest.rewritten(&state)?
                        }
                        other => other?,
                    };
                } else if manifest.has_damaged_copy {
                    manifest = match manifest.rewritten(&state) {
                        // If one copy is damaged, the manifest goes on with the other until there is room.
                        Err(error) if error.is_want_of_room() => manifest,
                        other => other?,
                    };
                }
                manifest.loaded = Some(state);
                Ok(manifest)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                check_nothing_is_stored(disk.as_ref(), directory, || {
                    Self::load(home, 1).map_or(true, |(_, state)| state.streams().len() == 0)
                })?;
                before_new()?;
                Self::create_first(home)
            }
            Err(error) => Err(Error::io("read", &current_path, error)),
        }
    }

    fn replace(&mut self, state: &CatalogState) -> Result<()> {
        let Home {
            disk,
            directory,
            health,
            ..
        } = &self.home;
        let next = self
            .prepare_next(state)
            .map_err(|error| health.latch_unless_harmless(error))?;
        replace_current(disk.as_ref(), directory).map_err(|error| health.latch_unless_harmless(error))?;
        *self = Self {
            revision: self.revision,
            ..next
        };
        self.sync_current()
    }

    /// Writes everything that has to exist before `CURRENT` can be replaced. If that fails it leaves nothing.
    fn prepare_next(&self, state: &CatalogState) -> Result<Self> {
        let Home { disk, directory, .. } = &self.home;
        let number = self.number + 1;
        let prepared = Self::write_new(&self.home, number, state)
            .and_then(|next| prepare_current(disk.as_ref(), directory, number).map(|()| next));
        if prepared.is_err() {
            let _ = disk.remove_file(&directory.join(manifest_name(number)));
        }
        prepared
    }

    /// Makes sure that no crash brings the previous manifest back. `CURRENT` is written again for that: after a failed
    /// sync, only a sync of newly written bytes proves anything.
    fn name_durably(&mut self) -> Result<()> {
        if self.is_named_durably {
            return Ok(());
        }
        let Home {
            disk,
            directory,
            health,
            ..
        } = &self.home;
        prepare_current(disk.as_ref(), directory, self.number)
            .and_then(|()| replace_current(disk.as_ref(), directory))
            .map_err(|error| health.latch_unless_harmless(error))?;
        self.sync_current()
    }

    fn sync_current(&mut self) -> Result<()> {
        let synced = sync_current(self.home.disk.as_ref(), &self.home.directory);
        synced.map_err(|error| self.home.health.latch_unless_harmless(error))?;
        self.is_named_durably = true;
        self.remove_others();
        Ok(())
    }

    fn create_first(home: &Home) -> Result<Self> {
        let Home { disk, directory, .. } = home;
        let (store, secret) = new_identity(disk.as_ref())
            .map_err(|error| Error::io("draw an identity for", directory, error))?;
        let state = CatalogState::new(store, secret);
        let mut manifest = Self::put_in_force(home, 1, &state)?;
        manifest.loaded = Some(state);
        Ok(manifest)
    }

    /// A manifest with the next number and just this state, which is in force on return.
    fn rewritten(&self, state: &CatalogState) -> Result<Self> {
        Self::put_in_force(&self.home, self.number + 1, state)
    }

    /// Writes a manifest with just this state, and makes `CURRENT` name it.
    pub(super) fn put_in_force(home: &Home, number: u64, state: &CatalogState) -> Result<Self> {
        let Home { disk, directory, .. } = home;
        let manifest = Self::write_new(home, number, state)?;
        prepare_current(disk.as_ref(), directory, number)?;
        replace_current(disk.as_ref(), directory)?;
        sync_current(disk.as_ref(), directory)?;
        Ok(Self {
            is_named_durably: true,
            ..manifest
        })
    }

    /// Writes a manifest that has no effect until `CURRENT` names it.
    pub(super) fn write_new(home: &Home, number: u64, state: &CatalogState) -> Result<Self> {
        let Home { disk, directory, .. } = home;
        let store = state.store;
        let path = directory.join(manifest_name(number));
        let cannot = |operation| {
            let path = path.clone();
            move |error| Error::preparing(operation, &path, error)
        };
        let salt = disk.entropy().map_err(cannot("draw a salt for"))?;
        let seed = seed(store, number, salt);
        let snapshot: Vec<_> = state.snapshot().collect();
        let body = codec::encode(&snapshot)
            .map_err(|reason| Error::bad_change(format!("the catalog cannot be stored: {reason}")))?;
        let frame = encode_frame(&seed, 0, &body);
        let length = (HEADER_BYTES + frame.len()) as u64;
        let reserved = length.next_multiple_of(RESERVE_BYTES) + RESERVE_BYTES;

        let file = disk.open(&path, OpenMode::Truncate).map_err(cannot("create"))?;
        file.allocate(file_length(reserved)).map_err(cannot("reserve"))?;
        let mut header_and_frame = encode_header(store, number, salt).to_vec();
        header_and_frame.extend_from_slice(&frame);
        write_both(file.as_ref(), &header_and_frame, 0).map_err(cannot("write"))?;
        perform(Step::ManifestSnapshotSync, || file.sync_data()).map_err(cannot("sync"))?;
        perform(Step::ManifestNameSync, || disk.sync_dir(directory))
            .map_err(cannot("sync the directory of"))?;
        Ok(Self {
            home: home.clone(),
            loaded: None,
            revision: Revision(1),
            number,
            path: path.clone(),
            file,
            seed,
            next_sequence: 1,
            length,
            reserved,
            snapshot_bytes: length,
            has_torn_tail: false,
            is_named_durably: false,
            has_damaged_copy: false,
        })
    }

    fn load(home: &Home, number: u64) -> Result<(Self, CatalogState)> {
        let Home { disk, directory, .. } = home;
        let path = directory.join(manifest_name(number));
        let file = disk
            .open(&path, OpenMode::Write)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::bad_manifest(&path, 0, "the file is missing"),
                _ => Error::io("open", &path, error),
            })?;
        // Pages that the kernel marked clean after a failed write-back must not be believed.
        perform(Step::ManifestCacheDrop, || file.drop_cache())
            .map_err(|error| Error::io("drop the cache of", &path, error))?;
        file.read_ahead();
        let copies = Copies::read(file.clone()).map_err(|error| Error::io("read", &path, error))?;
        let header = decode_headers(&copies, number, &path)?;
        let (walk, state) = replay(&copies, &header, &path)?;
        let manifest = Self {
            home: home.clone(),
            loaded: None,
            revision: Revision(walk.frames),
            number,
            path,
            file,
            seed: header.seed,
            next_sequence: walk.frames,
            length: walk.end,
            reserved: copies.second().len() as u64,
            snapshot_bytes: walk.snapshot_end,
            has_torn_tail: walk.has_torn_tail,
            // The directory was synced before `CURRENT` was read.
            is_named_durably: true,
            has_damaged_copy: header.damaged.is_some()
                || !walk.damaged.is_empty()
                || copies.first().len() != copies.second().len(),
        };
        Ok((manifest, state))
    }

    /// Makes sure that a frame fits in the reserved room, and that more is reserved behind it if the disk has room. If
    /// it has none, the last of the reserve is for edits that free room: without them the disk would stay full.
    fn reserve(&mut self, frame_bytes: u64, freeing: Freeing) -> Result<()> {
        let needed = self.length + frame_bytes;
        if needed + RESERVE_BYTES / 2 <= self.reserved {
            return Ok(());
        }
        let wanted = needed.next_multiple_of(RESERVE_BYTES) + RESERVE_BYTES;
        let fits = needed <= self.reserved;
        let kept = match freeing {
            Freeing::Later => RESERVE_BYTES / 4,
            Freeing::Nothing if !is_left_out(Step::RoomForFreeing) => RESERVE_BYTES / 2,
            Freeing::Nothing | Freeing::Room => 0,
        };
        match self.file.allocate(file_length(wanted)) {
            Ok(()) if fits => {}
            // A frame that runs past the file's end shows that the file was cut. So the new length must be durable if a
            // torn frame could need it. Otherwise the frame's sync comes before the new room is needed.
            Ok(()) => perform(Step::ManifestRoomSync, || self.file.sync_data())
                .map_err(|error| self.home.health.poison("sync", &self.path, error))?,
            Err(_) if needed + kept <= self.reserved => return Ok(()),
            Err(error) => return Err(Error::preparing("extend", &self.path, error)),
        }
        self.reserved = wanted;
        Ok(())
    }

    /// Removes manifests that are not in force. They have no effect, so a failure is harmless.
    fn remove_others(&self) {
        let Home { disk, directory, .. } = &self.home;
        for name in disk.list(directory).unwrap_or_default() {
            let is_other = parse_manifest_name(&name).is_some_and(|number| number != self.number);
            if is_other || name == "CURRENT.new" {
                let _ = disk.remove_file(&directory.join(name));
            }
        }
    }
}

impl EditLog for Manifest {
    fn load(&mut self) -> Result<(CatalogState, Revision)> {
        let state = self.loaded.take().ok_or(Error::Closed)?;
        Ok((state, self.revision))
    }

    fn check(&self) -> Result<()> {
        self.home.health.check()
    }

    fn append(&mut self, edits: &[Edit], expected: Revision) -> Result<Revision> {
        if self.revision != expected {
            return Err(self.stop("the catalog is not at the manifest's revision"));
        }
        self.name_durably()?;
        let cannot_encode =
            |reason: String| Error::bad_change(format!("the change cannot be stored: {reason}"));
        let body = codec::encode(edits).map_err(cannot_encode)?;
        let frame = encode_frame(&self.seed, self.next_sequence, &body);
        let freeing = edits.iter().map(Edit::freeing).max();
        self.reserve(frame.len() as u64, freeing.unwrap_or(Freeing::Nothing))?;
        let health = &self.home.health;
        write_both(self.file.as_ref(), &frame, self.length)
            .map_err(|error| health.poison("write to", &self.path, error))?;
        perform(Step::ManifestEditSync, || {
            health.watch_sync(|| self.file.sync_data())
        })
        .map_err(|error| health.poison("sync", &self.path, error))?;
        self.length += frame.len() as u64;
        self.next_sequence += 1;
        self.revision = expected.next();
        Ok(self.revision)
    }

    /// Replaces the manifest once edits outweigh the state, and there are enough of them.
    ///
    /// Only a final failure is an error. Without room the old manifest goes on, until `CURRENT` names the new one. From
    /// then on the next edit waits until `CURRENT` names it durably: an edit that only the new manifest had would be
    /// lost with its name.
    fn offer_snapshot(&mut self, state: &CatalogState) -> Result<()> {
        if self.length < self.home.compaction_bytes.max(2 * self.snapshot_bytes) {
            return Ok(());
        }
        match self.replace(state) {
            Err(error @ Error::Poisoned { .. }) => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn stop(&mut self, reason: &'static str) -> Error {
        let defect = std::io::Error::other(reason);
        self.home.health.poison("apply an edit of", &self.path, defect)
    }
}
