//! A disk on which something happens around the calls of one of its users.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anabranch::Space;
use anabranch::disk::{Disk, DiskFile, EntryKind, LockError, LockGuard, Mapping, OpenMode};

/// Runs something before each call, and between two halves of each read or write. It does not run within itself.
#[derive(Clone)]
pub struct Between {
    disk: Arc<dyn Disk>,
    run: Arc<Mutex<Box<dyn FnMut() + Send>>>,
}

impl Between {
    pub fn calls_of(disk: impl Disk, run: impl FnMut() + Send + 'static) -> Self {
        Self {
            disk: Arc::new(disk),
            run: Arc::new(Mutex::new(Box::new(run))),
        }
    }

    fn run(&self) {
        // Another thread, or this one in an outer call, is running it.
        if let Ok(mut run) = self.run.try_lock() {
            run();
        }
    }
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Between")
    }
}

impl Disk for Between {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.run();
        Ok(Arc::new(BetweenFile {
            file: self.disk.open(path, mode)?,
            disk: self.clone(),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.run();
        self.disk.create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.run();
        self.disk.list(directory)
    }

    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        self.run();
        self.disk.kind(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run();
        self.disk.rename(from, to)
    }

    fn share(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run();
        self.disk.share(from, to)
    }

    fn count_names(&self, path: &Path) -> io::Result<u64> {
        self.disk.count_names(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.run();
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.run();
        self.disk.remove_dir(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.run();
        self.disk.sync_dir(directory)
    }

    fn space(&self, directory: &Path) -> io::Result<Option<Space>> {
        self.disk.space(directory)
    }

    fn entropy(&self) -> io::Result<u64> {
        self.disk.entropy()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        self.disk.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError> {
        self.disk.lock_shared(path)
    }

    fn probe_lock(&self, path: &Path) -> Result<(), LockError> {
        self.disk.probe_lock(path)
    }
}

#[derive(Debug)]
struct BetweenFile {
    file: Arc<dyn DiskFile>,
    disk: Between,
}

/// Where a call is split: between two pages.
fn middle(bytes: usize) -> usize {
    bytes / 2 / 4096 * 4096
}

impl DiskFile for BetweenFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.run();
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.run();
        let middle = middle(buffer.len());
        let (first, second) = buffer.split_at_mut(middle);
        self.file.read_exact_at(first, offset)?;
        self.disk.run();
        self.file.read_exact_at(second, offset + middle as u64)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.run();
        let middle = middle(bytes.len());
        let (first, second) = bytes.split_at(middle);
        self.file.write_all_at(first, offset)?;
        self.disk.run();
        self.file.write_all_at(second, offset + middle as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.run();
        self.file.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.disk.run();
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.run();
        self.file.set_len(length)
    }

    fn release(&self, from: u64) -> io::Result<()> {
        self.disk.run();
        self.file.release(from)
    }

    fn map(&self, length: u64) -> io::Result<Box<dyn Mapping>> {
        self.file.map(length)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}
