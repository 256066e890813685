//! A disk that another program writes to, and this one only reads.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile, EntryKind, LockError, LockGuard, Mapping, OpenMode};
use crate::model::Space;

/// Reads from another disk, and refuses every call that would change something there or exclude others. It caches
/// nothing, and maps no file: the bytes may be written while they are read.
#[derive(Debug)]
pub(crate) struct UnwrittenDisk {
    below: Arc<dyn Disk>,
}

impl UnwrittenDisk {
    pub(crate) fn new(below: Arc<dyn Disk>) -> Self {
        Self { below }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for UnwrittenDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        match mode {
            OpenMode::Read => Ok(Arc::new(UnwrittenFile(self.below.open(path, mode)?))),
            OpenMode::Write | OpenMode::CreateNew | OpenMode::Truncate => refused(),
        }
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.below.list(directory)
    }

    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        self.below.kind(path)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.below.resolve(path)
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn space(&self, directory: &Path) -> io::Result<Option<Space>> {
        self.below.space(directory)
    }

    fn entropy(&self) -> io::Result<u64> {
        self.below.entropy()
    }

    fn lock(&self, _: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        refused().map_err(LockError::Io)
    }

    fn lock_shared(&self, _: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError> {
        refused().map_err(LockError::Io)
    }

    fn probe_lock(&self, _: &Path) -> Result<(), LockError> {
        refused().map_err(LockError::Io)
    }
}

#[derive(Debug)]
struct UnwrittenFile(Arc<dyn DiskFile>);

impl DiskFile for UnwrittenFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn release(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn map(&self, _: u64) -> io::Result<Box<dyn Mapping>> {
        refused()
    }

    fn drop_cache(&self) -> io::Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::SimDisk;

    #[test]
    fn what_is_below_is_read_as_it_is_now_and_nothing_is_changed() {
        let below = SimDisk::new(1);
        let path = Path::new("file");
        let written = below.open(path, OpenMode::CreateNew).unwrap();
        written.write_all_at(b"one", 0).unwrap();
        let disk = UnwrittenDisk::new(Arc::new(below.clone()));
        let read = disk.open(path, OpenMode::Read).unwrap();
        written.write_all_at(b"two and more", 0).unwrap();
        let mut bytes = [0; 12];
        read.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!((&bytes, read.len().unwrap()), (b"two and more", 12));
        assert_eq!(
            disk.list(Path::new("")).unwrap(),
            below.list(Path::new("")).unwrap()
        );
        assert_eq!(disk.kind(path).unwrap(), EntryKind::File);

        let other = Path::new("other");
        let refusals = [
            disk.open(path, OpenMode::Write).map(drop),
            disk.open(path, OpenMode::Truncate).map(drop),
            disk.open(other, OpenMode::CreateNew).map(drop),
            disk.create_dir(other),
            disk.rename(path, other),
            disk.remove_file(path),
            disk.remove_dir(path),
            disk.sync_dir(Path::new("")),
            read.write_all_at(b"three", 0),
            read.sync_data(),
            read.allocate(100),
            read.set_len(0),
            read.release(0),
            read.map(1).map(drop),
            read.drop_cache(),
        ];
        for refused in refusals {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        }
        assert!(
            disk.lock(other).is_err() && disk.lock_shared(other).is_err() && disk.probe_lock(other).is_err()
        );
        assert_eq!(below.list(Path::new("")).unwrap(), ["file"]);
    }
}
