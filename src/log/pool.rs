//! Files that will be segments: prepared ahead, and recycled.
//!
//! On file systems that overwrite in place, syncing blocks that were written before costs about half of syncing
//! fresh ones, since no metadata has to be committed. So the keeper fills files with zeros ahead of need, and
//! segments behind the trim horizon come back here instead of being removed.
//!
//! A file in the pool means nothing: whatever it holds was written under another salt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{Disk, DiskFile, OpenMode, Step, perform};
use crate::error::{Error, Result};
use crate::sync::Mutex;

/// Written at a time while a file is filled; larger pieces reach for large page-cache folios, which are slower.
const FILL_BYTES: usize = 256 * 1024;

/// Files up to this size are filled by whoever needs one: it takes less than a sync does.
const FILL_AT_ONCE_BYTES: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct SegmentPool {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    next_name: AtomicU64,
    state: Mutex<PoolState>,
    /// Recycled files beyond this many bytes are removed.
    max_recycled_bytes: u64,
}

#[derive(Debug, Default)]
struct PoolState {
    /// Files whose blocks are written, by size.
    ready: BTreeMap<u64, Vec<PathBuf>>,
    /// Sizes that somebody will need soon.
    wanted: Vec<u64>,
    ready_bytes: u64,
}

/// A file that can become a segment; it still has its name in the pool.
pub(super) struct PooledFile {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) path: PathBuf,
}

impl SegmentPool {
    /// Opens the pool. What an earlier owner left half prepared is removed, the rest is used.
    pub(crate) fn open(disk: Arc<dyn Disk>, directory: PathBuf, max_recycled_bytes: u64) -> Result<Self> {
        let mut state = PoolState::default();
        let mut next_name = 0;
        for name in disk
            .list(&directory)
            .map_err(|error| Error::io("list", &directory, error))?
        {
            let path = directory.join(&name);
            let Some((number, size)) = parse_name(&name) else {
                disk.remove_file(&path)
                    .map_err(|error| Error::io("remove", &path, error))?;
                continue;
            };
            next_name = next_name.max(number + 1);
            state.add(size, path);
        }
        Ok(Self {
            disk,
            directory,
            next_name: AtomicU64::new(next_name),
            state: Mutex::new(state),
            max_recycled_bytes,
        })
    }

    /// A file of `bytes`, written before if one is ready.
    ///
    /// # Errors
    /// [`Error::StorageFull`] when there is no room for a new one; nothing is harmed then.
    pub(super) fn take(&self, bytes: u64) -> Result<PooledFile> {
        let ready = self.state.lock().take(bytes);
        match ready {
            Some(path) => {
                let file = self
                    .disk
                    .open(&path, OpenMode::Write)
                    .map_err(|error| Error::io("open", &path, error))?;
                // A file that was cut or grown while nobody looked is brought back to the length its name says.
                if file.len().map_err(|error| Error::io("measure", &path, error))? != bytes {
                    file.set_len(bytes)
                        .map_err(|error| Error::preparing("resize", &path, error))?;
                }
                Ok(PooledFile { file, path })
            }
            None if bytes <= FILL_AT_ONCE_BYTES => self.create(bytes, Fill::Zeros),
            None => self.create(bytes, Fill::Nothing),
        }
    }

    /// Says that a file of `bytes` will be needed soon, for [`prepare_wanted`](Self::prepare_wanted) to make.
    /// True if one has to be made.
    pub(super) fn want(&self, bytes: u64) -> bool {
        let mut state = self.state.lock();
        let is_ready = state.ready.get(&bytes).is_some_and(|files| !files.is_empty());
        if is_ready || state.wanted.contains(&bytes) {
            return false;
        }
        state.wanted.push(bytes);
        true
    }

    /// Fills one file for every size that is wanted. Takes its time: for the keeper.
    ///
    /// # Errors
    /// [`Error::StorageFull`] when there is no room; the need is forgotten until somebody has it again.
    pub(crate) fn prepare_wanted(&self) -> Result<()> {
        while let Some(bytes) = self.next_wanted() {
            let prepared = self.create(bytes, Fill::Zeros)?;
            // Synced here, so that the first group in it has only its own bytes to sync.
            if let Err(error) = perform(Step::PreparedSegmentSync, || prepared.file.sync_data()) {
                let _ = self.disk.remove_file(&prepared.path);
                return Err(Error::preparing("sync", &prepared.path, error));
            }
            let ready = self.directory.join(file_name(self.new_number(), bytes));
            self.disk
                .rename(&prepared.path, &ready)
                .map_err(|error| Error::preparing("rename", &prepared.path, error))?;
            self.state.lock().add(bytes, ready);
        }
        Ok(())
    }

    /// Takes a segment's file back. The caller has made sure that nobody reads it, and syncs the directory it
    /// came from before it tells anyone that the space is free.
    pub(crate) fn recycle(&self, path: &Path, bytes: u64) -> Result<()> {
        let is_full = self.state.lock().ready_bytes + bytes > self.max_recycled_bytes;
        if is_full {
            return remove_if_there(self.disk.as_ref(), path);
        }
        let pooled = self.directory.join(file_name(self.new_number(), bytes));
        self.disk
            .rename(path, &pooled)
            .map_err(|error| Error::io("recycle", path, error))?;
        self.state.lock().add(bytes, pooled);
        Ok(())
    }

    fn create(&self, bytes: u64, fill: Fill) -> Result<PooledFile> {
        let path = self.directory.join(format!("{}.preparing", self.new_number()));
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
        Ok(PooledFile { file, path })
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

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (number, bytes) = name.strip_suffix(".ready")?.split_once('-')?;
    Some((number.parse().ok()?, bytes.parse().ok()?))
}
