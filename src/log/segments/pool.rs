//! Files that will be segments: prepared ahead, and recycled.
//!
//! On file systems that overwrite in place, syncing blocks that were written before costs about half of syncing
//! fresh ones, since no metadata has to be committed. So the keeper fills files with zeros ahead of need, and
//! segments behind the trim horizon come back here instead of being removed.
//!
//! A file in the pool means nothing: whatever it holds was written under another salt. So on a full disk the pool gives
//! its files up: to logs that can do with another size, and to whatever else needs room. Others have a use for the
//! disk too, so the pool never keeps more than the disk has free beside.
//!
//! A file that a backup has under another name is not written again. Which files these are is asked once they have a
//! name in the pool: a backup knows segments by their names as segments, so from then on none gets a second name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{
    Disk, DiskFile, EntryKind, OpenMode, Step, is_left_out, kind_if_there, list_if_there, perform,
};
use crate::error::{Error, Result};
use crate::log::format::segment_header::PAGE_BYTES;
use crate::sync::Mutex;

/// Written at a time while a file is filled; larger pieces reach for large page-cache folios, which are slower.
const FILL_BYTES: usize = 256 * 1024;

/// Where there is no room for a segment, one of this part of its size is tried.
const SMALLER: u64 = 8;

/// Files up to this size are filled by the thread that needs one: it takes less than a sync does.
const FILL_AT_ONCE_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct SegmentPool {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    next_name: AtomicU64,
    state: Mutex<PoolState>,
    /// Recycled files beyond this many bytes are removed, and those beyond what the disk has free.
    max_recycled_bytes: u64,
}

#[derive(Debug, Default)]
struct PoolState {
    /// Files whose blocks are written, by size.
    ready: BTreeMap<u64, Vec<PathBuf>>,
    /// Sizes that will be needed soon.
    wanted: Vec<u64>,
    ready_bytes: u64,
}

/// A file that can become a segment; it still has its name in the pool.
#[derive(Debug)]
pub(crate) struct PooledFile {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Whether it was made for this use, and holds only zeros.
    pub(crate) is_new: bool,
}

/// How large a segment should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentSize {
    pub(crate) preferred: u64,
    /// What will do where there is no room.
    pub(crate) least: u64,
}

impl SegmentPool {
    /// Frees the room of all files of a pool that is not open. They mean nothing.
    pub(crate) fn remove_all(disk: &dyn Disk, directory: &Path) -> Result<()> {
        for name in list_if_there(disk, directory)? {
            let path = directory.join(&name);
            if PoolName::parse(&name).is_some() && kind_if_there(disk, &path)? == Some(EntryKind::File) {
                remove_if_there(disk, &path)?;
            }
        }
        Ok(())
    }

    /// Opens the pool. What an earlier owner left half prepared is removed, the rest is used. What no pool makes is left
    /// alone.
    pub(crate) fn open(disk: Arc<dyn Disk>, directory: PathBuf, max_recycled_bytes: u64) -> Result<Self> {
        let mut state = PoolState::default();
        let mut next_name = 0;
        for name in disk
            .list(&directory)
            .map_err(|error| Error::io("list", &directory, error))?
        {
            let path = directory.join(&name);
            let (number, ready_bytes) = match PoolName::parse(&name) {
                Some(PoolName::Ready { number, bytes }) => (number, Some(bytes)),
                Some(PoolName::Preparing { number }) => (number, None),
                None => continue,
            };
            next_name = next_name.max(number.saturating_add(1));
            if kind_if_there(disk.as_ref(), &path)? != Some(EntryKind::File) {
                continue;
            }
            match ready_bytes {
                Some(bytes) if !is_shared(disk.as_ref(), &path) => state.add(bytes, path),
                _ => remove_if_there(disk.as_ref(), &path)?,
            }
        }
        Ok(Self {
            disk,
            directory,
            next_name: AtomicU64::new(next_name),
            state: Mutex::new(state),
            max_recycled_bytes,
        })
    }

    /// A file of the preferred size, written before if one is ready. Where the disk has no room for it: a smaller one, a
    /// larger one that is ready, or one in the place of others that are.
    ///
    /// # Errors
    /// [`Error::StorageFull`] when there is no room for a new one; nothing is harmed then.
    pub(crate) fn take(&self, size: SegmentSize) -> Result<PooledFile> {
        let mut taken = self.take_or_create(size.preferred);
        let mut bytes = size.preferred;
        while is_full(&taken) && bytes > size.least {
            bytes = (bytes / SMALLER).next_multiple_of(PAGE_BYTES).max(size.least);
            taken = self.take_or_create(bytes);
        }
        while is_full(&taken) {
            let larger = self.state.lock().take_at_least(size.least);
            taken = match larger {
                Some((bytes, path)) => self.open_ready(path, bytes),
                None if self.make_room() => self.create_for_use(size.least),
                None => return taken,
            };
        }
        taken
    }

    /// Gives the room of one file back to the disk. False if there is none to give.
    pub(crate) fn make_room(&self) -> bool {
        let largest = self.state.lock().take_largest();
        // One that cannot be removed takes no room that anyone could have.
        largest.is_some_and(|path| self.disk.remove_file(&path).is_ok() || self.make_room())
    }

    /// Gives files back until the disk has at least as much free as the pool keeps.
    pub(crate) fn leave_room(&self) {
        loop {
            let kept = self.state.lock().ready_bytes;
            if self.leaves_room(kept, 0) || !self.make_room() {
                return;
            }
        }
    }

    /// How many files are ready, and their bytes.
    pub(crate) fn ready(&self) -> (u64, u64) {
        let state = self.state.lock();
        let files: usize = state.ready.values().map(Vec::len).sum();
        (files as u64, state.ready_bytes)
    }

    /// Says that a file of `bytes` will be needed soon, for [`prepare_wanted`](Self::prepare_wanted) to make.
    /// True if one has to be made.
    pub(crate) fn want(&self, bytes: u64) -> bool {
        let mut state = self.state.lock();
        let is_ready = state.ready.get(&bytes).is_some_and(|files| !files.is_empty());
        if is_ready || state.wanted.contains(&bytes) {
            return false;
        }
        state.wanted.push(bytes);
        true
    }

    /// Fills one file for every size that is wanted, but none that would leave less free than the pool keeps. Takes its
    /// time: for the keeper.
    ///
    /// # Errors
    /// [`Error::StorageFull`] when there is no room; the need is forgotten until it arises again.
    pub(crate) fn prepare_wanted(&self) -> Result<()> {
        while let Some(bytes) = self.next_wanted() {
            let kept = self.state.lock().ready_bytes + bytes;
            if !self.leaves_room(kept, bytes) {
                continue;
            }
            let prepared = self.create(bytes, Fill::Zeros)?;
            // Synced here, so that the first group in it has only its own bytes to sync.
            if let Err(error) = perform(Step::PreparedSegmentSync, || prepared.file.sync_data()) {
                let _ = self.disk.remove_file(&prepared.path);
                return Err(Error::preparing("sync", &prepared.path, error));
            }
            let ready = self.directory.join(file_name(self.new_number(), bytes));
            if let Err(error) = self.disk.rename(&prepared.path, &ready) {
                let _ = self.disk.remove_file(&prepared.path);
                return Err(Error::preparing("rename", &prepared.path, error));
            }
            self.state.lock().add(bytes, ready);
        }
        Ok(())
    }

    /// Takes a segment's file back. The caller has made sure that it is not read, and syncs the directory it
    /// came from before it tells anyone that the space is free.
    pub(crate) fn recycle(&self, path: &Path, bytes: u64) -> Result<()> {
        let kept = self.state.lock().ready_bytes + bytes;
        if kept > self.max_recycled_bytes || !self.leaves_room(kept, 0) {
            return remove_if_there(self.disk.as_ref(), path);
        }
        let pooled = self.directory.join(file_name(self.new_number(), bytes));
        match self.disk.rename(path, &pooled) {
            Ok(()) if is_shared(self.disk.as_ref(), &pooled) => remove_if_there(self.disk.as_ref(), &pooled),
            Ok(()) => {
                self.state.lock().add(bytes, pooled);
                Ok(())
            }
            // Taken back before, or no room for another name here.
            Err(_) => remove_if_there(self.disk.as_ref(), path),
        }
    }

    /// Whether the disk has as much free as the pool would keep, once it has taken `more` bytes for that. One that cannot
    /// say is taken to have it.
    fn leaves_room(&self, kept: u64, more: u64) -> bool {
        kept == 0
            || match self.disk.space(&self.directory) {
                Ok(Some(space)) => space.available_bytes.saturating_sub(more) >= kept,
                Ok(None) | Err(_) => true,
            }
    }

    fn take_or_create(&self, bytes: u64) -> Result<PooledFile> {
        let ready = self.state.lock().take(bytes);
        match ready {
            Some(path) => self.open_ready(path, bytes),
            None => self.create_for_use(bytes),
        }
    }

    fn open_ready(&self, path: PathBuf, bytes: u64) -> Result<PooledFile> {
        let file = match self.disk.open(&path, OpenMode::Write) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return self.create_for_use(bytes),
            Err(error) => {
                let error = Error::io("open", &path, error);
                self.state.lock().add(bytes, path);
                return Err(error);
            }
        };
        // A file that was cut or grown in between is brought back to the length its name says.
        if file.len().map_err(|error| Error::io("measure", &path, error))? != bytes
            && let Err(error) = file.set_len(bytes)
        {
            let _ = self.disk.remove_file(&path);
            return Err(Error::preparing("resize", &path, error));
        }
        Ok(PooledFile {
            file,
            path,
            bytes,
            is_new: false,
        })
    }

    fn create_for_use(&self, bytes: u64) -> Result<PooledFile> {
        match bytes <= FILL_AT_ONCE_BYTES {
            true => self.create(bytes, Fill::Zeros),
            false => self.create(bytes, Fill::Nothing),
        }
    }

    fn create(&self, bytes: u64, fill: Fill) -> Result<PooledFile> {
        let path = self.directory.join(preparing_name(self.new_number()));
        let file = self
            .disk
            .open(&path, OpenMode::CreateNew)
            .map_err(|error| Error::preparing("create", &path, error))?;
        let reserved = match fill {
            Fill::Nothing => file.allocate(bytes),
            Fill::Zeros => file
                .allocate(bytes)
                .and_then(|()| fill_with_zeros(file.as_ref(), bytes)),
        };
        if let Err(error) = reserved {
            // What was reserved is given back, so that a full disk does not stay full of half-made segments; if
            // even that fails the name is removed when the store is next opened.
            let _ = self.disk.remove_file(&path);
            return Err(Error::preparing("reserve", &path, error));
        }
        Ok(PooledFile {
            file,
            path,
            bytes,
            is_new: true,
        })
    }

    fn next_wanted(&self) -> Option<u64> {
        self.state.lock().wanted.pop()
    }

    fn new_number(&self) -> u64 {
        self.next_name.fetch_add(1, Ordering::Relaxed)
    }
}

#[derive(Clone, Copy)]
enum Fill {
    Nothing,
    Zeros,
}

impl PoolState {
    fn add(&mut self, bytes: u64, path: PathBuf) {
        self.ready.entry(bytes).or_default().push(path);
        self.ready_bytes += bytes;
    }

    fn take(&mut self, bytes: u64) -> Option<PathBuf> {
        let path = self.ready.get_mut(&bytes)?.pop()?;
        self.ready_bytes -= bytes;
        Some(path)
    }

    /// The smallest file that is large enough.
    fn take_at_least(&mut self, bytes: u64) -> Option<(u64, PathBuf)> {
        let (bytes, _) = self.ready.range(bytes..).find(|(_, files)| !files.is_empty())?;
        let bytes = *bytes;
        Some((bytes, self.take(bytes)?))
    }

    fn take_largest(&mut self) -> Option<PathBuf> {
        let (bytes, _) = self.ready.iter().rfind(|(_, files)| !files.is_empty())?;
        let bytes = *bytes;
        self.take(bytes)
    }
}

/// Whether a backup has the file of the pool too, or may have it.
fn is_shared(disk: &dyn Disk, path: &Path) -> bool {
    !is_left_out(Step::SharedIsKept) && !matches!(disk.count_names(path), Ok(1))
}

fn is_full(taken: &Result<PooledFile>) -> bool {
    matches!(taken, Err(Error::StorageFull { .. }))
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, error)),
        _ => Ok(()),
    }
}

fn fill_with_zeros(file: &dyn DiskFile, bytes: u64) -> std::io::Result<()> {
    let zeros = vec![0; FILL_BYTES.min(bytes as usize)];
    let mut offset = 0;
    while offset < bytes {
        let piece = zeros.len().min((bytes - offset) as usize);
        file.write_all_at(&zeros[..piece], offset)?;
        offset += piece as u64;
    }
    Ok(())
}

fn file_name(number: u64, bytes: u64) -> String {
    format!("{number}-{bytes}.ready")
}

fn preparing_name(number: u64) -> String {
    format!("{number}.preparing")
}

/// What a name in the pool's directory says, if a pool made it.
enum PoolName {
    Ready { number: u64, bytes: u64 },
    Preparing { number: u64 },
}

impl PoolName {
    fn parse(name: &str) -> Option<Self> {
        let parsed = match name.strip_suffix(".ready") {
            Some(rest) => {
                let (number, bytes) = rest.split_once('-')?;
                Self::Ready {
                    number: number.parse().ok()?,
                    bytes: bytes.parse().ok()?,
                }
            }
            None => Self::Preparing {
                number: name.strip_suffix(".preparing")?.parse().ok()?,
            },
        };
        let is_ours = match parsed {
            Self::Ready { number, bytes } => name == file_name(number, bytes),
            Self::Preparing { number } => name == preparing_name(number),
        };
        is_ours.then_some(parsed)
    }
}
