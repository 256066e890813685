//! A disk on which something happens before certain calls.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anabranch::disk::{Disk, DiskFile, EntryKind, LockError, LockGuard, Mapping, OpenMode};
use anabranch::sim::{Operation, SimDisk};

/// Clones are the same disk.
#[derive(Clone)]
pub struct DisturbedDisk {
    disk: SimDisk,
    calls: &'static [Operation],
    disturb: Arc<dyn Fn() + Send + Sync>,
    is_disturbed_within_reads: bool,
}

impl DisturbedDisk {
    /// Does something before each call of these kinds.
    pub fn new(
        disk: SimDisk,
        calls: &'static [Operation],
        disturb: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self {
            disk,
            calls,
            disturb: Arc::new(disturb),
            is_disturbed_within_reads: false,
        }
    }

    /// Does it also between two pages of one read.
    pub fn within_reads(self) -> Self {
        Self {
            is_disturbed_within_reads: true,
            ..self
        }
    }

    fn disturb_before(&self, call: Operation) {
        if self.calls.contains(&call) {
            (self.disturb)();
        }
    }
}

impl fmt::Debug for DisturbedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DisturbedDisk")
    }
}

impl Disk for DisturbedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.disturb_before(Operation::Open);
        Ok(Arc::new(DisturbedFile {
            file: self.disk.open(path, mode)?,
            disk: self.clone(),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disturb_before(Operation::CreateDir);
        self.disk.create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disturb_before(Operation::List);
        self.disk.list(directory)
    }

    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        self.disturb_before(Operation::Kind);
        self.disk.kind(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disturb_before(Operation::Rename);
        self.disk.rename(from, to)
    }

    fn share(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disturb_before(Operation::Share);
        self.disk.share(from, to)
    }

    fn count_names(&self, path: &Path) -> io::Result<u64> {
        self.disturb_before(Operation::CountNames);
        self.disk.count_names(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disturb_before(Operation::RemoveFile);
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disturb_before(Operation::RemoveDir);
        self.disk.remove_dir(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.disturb_before(Operation::SyncDir);
        self.disk.sync_dir(directory)
    }

    fn entropy(&self) -> io::Result<u64> {
        self.disturb_before(Operation::Entropy);
        self.disk.entropy()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        self.disturb_before(Operation::Lock);
        self.disk.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError> {
        self.disturb_before(Operation::Lock);
        self.disk.lock_shared(path)
    }

    fn probe_lock(&self, path: &Path) -> Result<(), LockError> {
        self.disturb_before(Operation::Lock);
        self.disk.probe_lock(path)
    }
}

#[derive(Debug)]
struct DisturbedFile {
    file: Arc<dyn DiskFile>,
    disk: DisturbedDisk,
}

impl DiskFile for DisturbedFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.disturb_before(Operation::Length);
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        const PAGE_BYTES: usize = 4096;
        self.disk.disturb_before(Operation::Read);
        if !self.disk.is_disturbed_within_reads {
            return self.file.read_exact_at(buffer, offset);
        }
        let middle = buffer.len() / 2 / PAGE_BYTES * PAGE_BYTES;
        let (first, second) = buffer.split_at_mut(middle);
        self.file.read_exact_at(first, offset)?;
        (self.disk.disturb)();
        self.file.read_exact_at(second, offset + middle as u64)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.disturb_before(Operation::Write);
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.disturb_before(Operation::SyncData);
        self.file.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.disk.disturb_before(Operation::Allocate);
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.disturb_before(Operation::SetLength);
        self.file.set_len(length)
    }

    fn release(&self, from: u64) -> io::Result<()> {
        self.disk.disturb_before(Operation::Release);
        self.file.release(from)
    }

    fn map(&self, length: u64) -> io::Result<Box<dyn Mapping>> {
        self.disk.disturb_before(Operation::Map);
        self.file.map(length)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.disk.disturb_before(Operation::DropCache);
        self.file.drop_cache()
    }
}
