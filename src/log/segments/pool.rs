//! Files that will be segments: prepared ahead, or recycled.
//!
//! On file systems that overwrite in place, syncing blocks that were written before costs about half of syncing fresh
//! ones, since no metadata has to be committed. So the keeper fills files with zeros ahead of need, and segments behind
//! the trim horizon return here instead of being removed.
//!
//! A file in the pool has no meaning: its bytes were written under another salt. So on a full disk the pool gives up
//! files: to logs that accept another size, and to everything else that needs room. Other programs use the disk too, so
//! the pool never keeps more than the disk has free beside it.
//!
//! A file that a backup has under another name is not written again. The pool counts a file's names after it gave it a
//! name in the pool: a backup knows segments by their names as segments, so from then on no file gets a second name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::pool_name::PoolName;
use crate::disk::{
    Disk, DiskFile, EntryKind, OpenMode, Step, is_left_out, kind_if_there, list_if_there, perform,
};
use crate::error::{Error, Result};
use crate::log::format::segment_header::PAGE_BYTES;
use crate::sync::Mutex;

/// The bytes of one write while a file is filled. Larger writes use large page-cache folios, which are slower.
const FILL_BYTES: usize = 256 * 1024;

/// If there is no room for a segment, one of this fraction of its size is tried.
const SMALLER: u64 = 8;

/// Files up to this size are filled by the thread that needs one, which takes less than a sync does.
const FILL_AT_ONCE_BYTES: u64 = 64 * 1024;

/// How long a size for which there was no room is not prepared again.
const REFUSED_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct SegmentPool {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    next_name: AtomicU64,
    state: Mutex<PoolState>,
    /// Recycled files beyond this many bytes, or beyond what the disk has free, are removed.
    max_recycled_bytes: u64,
}

#[derive(Debug, Default)]
struct PoolState {
    /// Files whose blocks are written, by size.
    ready: BTreeMap<u64, Vec<PathBuf>>,
    /// Sizes that will be needed soon.
    wanted: Vec<u64>,
    /// Sizes for which there was no room, with the time of the round that found out.
    refused: BTreeMap<u64, Duration>,
    ready_bytes: u64,
}

/// A file that can become a segment; its present name is the one in the pool.
#[derive(Debug)]
pub(crate) struct PooledFile {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Whether it was made for this use, and has only zeros.
    pub(crate) is_new: bool,
}

/// The size of a new segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentSize {
    pub(crate) preferred: u64,
    /// The size that is enough if there is no room.
    pub(crate) least: u64,
}

impl SegmentPool {
    /// Removes all files of a pool that is not open. They have no meaning.
    pub(crate) fn remove_all(disk: &dyn Disk, directory: &Path) -> Result<()> {
        for name in list_if_there(disk, directory)? {
            let path = directory.join(&name);
            if PoolName::parse(&name).is_some() && kind_if_there(disk, &path)? == Some(EntryKind::File) {
                remove_if_there(disk, &path)?;
            }
        }
        Ok(())
    }

    /// Opens the pool. Removes what an earlier owner left half prepared, and uses the other files. Leaves alone what no
    /// pool makes.
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

    /// A pool that gives no file, for logs that are only read.
    pub(crate) fn unused(disk: Arc<dyn Disk>, directory: PathBuf) -> Self {
        Self {
            disk,
            directory,
            next_name: AtomicU64::new(0),
            state: Mutex::default(),
            max_recycled_bytes: 0,
        }
    }

    /// A file of the preferred size; one with written blocks if one is ready. If the disk has no room for it: a smaller
    /// one, a larger one that is ready, or a new one after ready ones are removed.
    ///
    /// # Errors
    /// [`Error::StorageFull`] if there is no room for a new one. The store goes on after it.
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

    /// Removes one file to free room on the disk. False if there is none.
    pub(crate) fn make_room(&self) -> bool {
        self.give_back_largest().is_some()
    }

    /// Removes files so that the disk has about as much free as the pool keeps. A file system may free their room
    /// later, so this looks only once; the next call removes more if necessary.
    pub(crate) fn leave_room(&self) {
        let mut left = self.too_much();
        while left > 0
            && let Some(bytes) = self.give_back_largest()
        {
            left = left.saturating_sub(bytes);
        }
    }

    /// How many files are ready, and their bytes.
    pub(crate) fn ready(&self) -> (u64, u64) {
        let state = self.state.lock();
        let files: usize = state.ready.values().map(Vec::len).sum();
        (files as u64, state.ready_bytes)
    }

    /// Notes that a file of `bytes` will be needed soon, so that [`prepare_wanted`](Self::prepare_wanted) makes it.
    /// True if one has to be made. False if there was no room for one just now.
    pub(crate) fn want(&self, bytes: u64) -> bool {
        let mut state = self.state.lock();
        let is_ready = state.ready.get(&bytes).is_some_and(|files| !files.is_empty());
        if is_ready || state.wanted.contains(&bytes) || state.refused.contains_key(&bytes) {
            return false;
        }
        state.wanted.push(bytes);
        true
    }

    /// Fills one file for every size that is wanted, unless less would be free then than the pool keeps. Takes its
    /// time: for the keeper, at `now` on a clock that is never set back. A size without room is forgotten, and is not
    /// wanted again for a second.
    ///
    /// # Errors
    /// [`Error::StorageFull`] when there is no room.
    pub(crate) fn prepare_wanted(&self, now: Duration) -> Result<()> {
        self.state.lock().forget_refused(now);
        let mut result = Ok(());
        while let Some(bytes) = self.next_wanted() {
            let prepared = match self.may_prepare(bytes) {
                true => self.prepare(bytes),
                false => {
                    self.state.lock().refused.insert(bytes, now);
                    continue;
                }
            };
            if let Err(error) = prepared {
                self.state.lock().refused.insert(bytes, now);
                result = result.and(Err(error));
            }
        }
        result
    }

    fn may_prepare(&self, bytes: u64) -> bool {
        let kept = self.state.lock().ready_bytes + bytes;
        self.leaves_room(kept, bytes)
    }

    fn prepare(&self, bytes: u64) -> Result<()> {
        let prepared = self.create(bytes, Fill::Zeros)?;
        // Synced here, so that the first group in it only has to sync its own bytes.
        if let Err(error) = perform(Step::PreparedSegmentSync, || prepared.file.sync_data()) {
            let _ = self.disk.remove_file(&prepared.path);
            return Err(Error::preparing("sync", &prepared.path, error));
        }
        let ready = self.directory.join(self.new_ready_name(bytes));
        if let Err(error) = self.disk.rename(&prepared.path, &ready) {
            let _ = self.disk.remove_file(&prepared.path);
            return Err(Error::preparing("rename", &prepared.path, error));
        }
        self.state.lock().add(bytes, ready);
        Ok(())
    }

    /// Takes a segment's file back. The caller has made sure that no reader has it, and syncs the directory it came
    /// from before it reports the space as free.
    pub(crate) fn recycle(&self, path: &Path, bytes: u64) -> Result<()> {
        let kept = self.state.lock().ready_bytes + bytes;
        if kept > self.max_recycled_bytes || !self.leaves_room(kept, 0) {
            return remove_if_there(self.disk.as_ref(), path);
        }
        let pooled = self.directory.join(self.new_ready_name(bytes));
        match self.disk.rename(path, &pooled) {
            Ok(()) if is_shared(self.disk.as_ref(), &pooled) => remove_if_there(self.disk.as_ref(), &pooled),
            Ok(()) => {
                self.state.lock().add(bytes, pooled);
                Ok(())
            }
            // It was taken back before, or there is no room for another name here.
            Err(_) => remove_if_there(self.disk.as_ref(), path),
        }
    }

    /// Whether the disk has as much free as the pool would keep, after the pool has taken `more` bytes for that.
    /// Assumed if the disk cannot say.
    fn leaves_room(&self, kept: u64, more: u64) -> bool {
        kept == 0
            || match self.disk.space(&self.directory) {
                Ok(Some(space)) => space.available_bytes.saturating_sub(more) >= kept,
                Ok(None) | Err(_) => true,
            }
    }

    /// How much the pool has to remove, so that the disk has as much free as the pool keeps. Each removed byte counts
    /// for both sides.
    fn too_much(&self) -> u64 {
        let kept = self.state.lock().ready_bytes;
        if kept == 0 {
            return 0;
        }
        match self.disk.space(&self.directory) {
            Ok(Some(space)) => kept.saturating_sub(space.available_bytes).div_ceil(2),
            Ok(None) | Err(_) => 0,
        }
    }

    /// The bytes of the removed file; `None` if there is no file.
    fn give_back_largest(&self) -> Option<u64> {
        loop {
            let (bytes, path) = self.state.lock().take_largest()?;
            // A file that cannot be removed is dropped from the list.
            if self.disk.remove_file(&path).is_ok() {
                return Some(bytes);
            }
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
        // A file that was cut or grown in between gets the length that its name says.
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
        let path = self.directory.join(self.new_preparing_name());
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
            // The reserved room is freed, so that a full disk does not stay full of half-made segments. If that fails
            // too, the next opener of the store removes the name.
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

    fn new_ready_name(&self, bytes: u64) -> String {
        let number = self.new_number();
        PoolName::Ready { number, bytes }.name()
    }

    fn new_preparing_name(&self) -> String {
        let number = self.new_number();
        PoolName::Preparing { number }.name()
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

    fn take_largest(&mut self) -> Option<(u64, PathBuf)> {
        let (bytes, _) = self.ready.iter().rfind(|(_, files)| !files.is_empty())?;
        let bytes = *bytes;
        Some((bytes, self.take(bytes)?))
    }

    fn forget_refused(&mut self, now: Duration) {
        self.refused
            .retain(|_, refused_at| now.saturating_sub(*refused_at) < REFUSED_FOR);
    }
}

/// Whether a backup has this file too, or may have it.
fn is_shared(disk: &dyn Disk, path: &Path) -> bool {
    !is_left_out(Step::SharedIsKept) && !matches!(disk.count_names(path), Ok(1))
}

fn is_full(taken: &Result<PooledFile>) -> bool {
    matches!(taken, Err(Error::StorageFull { .. }))
}

/// Removes a file that may not exist.
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::SegmentPool;
    use crate::disk::sim::SimDisk;
    use crate::disk::{Disk, OpenMode};

    const FILE: u64 = 64 << 10;

    fn pool_on(disk: &SimDisk) -> SegmentPool {
        disk.create_dir(Path::new("pool")).unwrap();
        SegmentPool::open(Arc::new(disk.clone()), "pool".into(), u64::MAX).unwrap()
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_size_without_room_is_not_wanted_again_for_a_second() {
        let disk = SimDisk::new(1);
        let pool = pool_on(&disk);
        disk.set_capacity(FILE + FILE / 2);
        assert!(pool.want(FILE));
        assert!(!pool.want(FILE), "it is wanted already");
        pool.prepare_wanted(seconds(10.0)).unwrap();
        assert_eq!(pool.ready(), (0, 0));
        for at in [10.0, 10.5, 10.9] {
            assert!(!pool.want(FILE));
            pool.prepare_wanted(seconds(at)).unwrap();
        }
        disk.set_capacity(10 * FILE);
        pool.prepare_wanted(seconds(11.0)).unwrap();
        assert!(pool.want(FILE));
        pool.prepare_wanted(seconds(11.0)).unwrap();
        assert_eq!(pool.ready(), (1, FILE));
    }

    /// Eight files, and room for four more.
    fn crowded() -> (SimDisk, SegmentPool) {
        let disk = SimDisk::new(1);
        let pool = pool_on(&disk);
        (0..8).for_each(|_| pool.prepare(FILE).unwrap());
        disk.set_capacity(disk.used_bytes() + 4 * FILE);
        (disk, pool)
    }

    #[test]
    fn the_pool_gives_back_what_it_keeps_beyond_what_is_free() {
        let (_disk, pool) = crowded();
        pool.leave_room();
        assert_eq!(pool.ready(), (6, 6 * FILE), "six are kept, and six are free");
        pool.leave_room();
        assert_eq!(pool.ready(), (6, 6 * FILE));
    }

    #[test]
    fn a_disk_that_frees_files_later_does_not_cost_the_whole_pool() {
        let (disk, pool) = crowded();
        let names = disk.list(Path::new("pool")).unwrap();
        let open = |name: &String| disk.open(&Path::new("pool").join(name), OpenMode::Read);
        let held: Vec<_> = names.iter().map(|name| open(name).unwrap()).collect();
        pool.leave_room();
        assert_eq!(pool.ready(), (6, 6 * FILE));
        drop(held);
        pool.leave_room();
        assert_eq!(pool.ready(), (6, 6 * FILE));
    }
}
