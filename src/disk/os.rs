//! The real disk.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};
use rustix::fs::{Advice, FallocateFlags, OFlags};
use rustix::rand::GetRandomFlags;

use super::{Disk, DiskFile, EntryKind, LockError, LockGuard, Mapping, OpenMode};
use crate::model::Space;

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

/// Blocks are at least this large on nearly all file systems; freeing less is not worth a call.
const RELEASED_BLOCK_BYTES: u64 = 4096;

impl Disk for OsDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => for_owner(&mut options),
            OpenMode::CreateNew => for_owner(&mut options).create_new(true),
            OpenMode::Truncate => for_owner(&mut options).create(true).truncate(true),
        };
        Ok(Arc::new(OsFile {
            file: options.open(path)?,
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            // A store makes no name that is not UTF-8.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        let file_type = std::fs::symlink_metadata(path)?.file_type();
        Ok(match () {
            () if file_type.is_file() => EntryKind::File,
            () if file_type.is_dir() => EntryKind::Directory,
            () => EntryKind::Other,
        })
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        std::fs::canonicalize(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn share(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Never a clone: that is a separate file, whose shared blocks cannot be detected, and a write in place would
        // need room that its writer takes for allocated. A second name is detected, and such a file is not written
        // again.
        std::fs::hard_link(from, to)
    }

    fn count_names(&self, path: &Path) -> io::Result<u64> {
        Ok(std::fs::symlink_metadata(path)?.nlink())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn space(&self, directory: &Path) -> io::Result<Option<Space>> {
        let file_system = rustix::fs::statvfs(directory)?;
        // Some network file systems do not report it.
        if file_system.f_blocks == 0 {
            return Ok(None);
        }
        let bytes = |blocks: u64| blocks.saturating_mul(file_system.f_frsize);
        Ok(Some(Space {
            total_bytes: bytes(file_system.f_blocks),
            available_bytes: bytes(file_system.f_bavail),
        }))
    }

    fn entropy(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        // Eight bytes are never partial: the kernel guarantees it for up to 256.
        rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        let mut file = for_owner(OpenOptions::new().read(true))
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder_of(&mut file))),
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        write_holder(&file).map_err(LockError::Io)?;
        Ok(Box::new(OsLock { file }))
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LockError::Io(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Box::new(OsLock { file }))),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(read_holder(&mut file))),
            Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
        }
    }

    fn probe_lock(&self, path: &Path) -> Result<(), LockError> {
        // Released at once: an owner that opens at this very moment is told that the lock is held, and tries again.
        self.lock_shared(path).map(drop)
    }
}

/// Opens an existing file for writing, never through a symbolic link, or creates one that only its owner can read: a
/// store's files have its secret, and records.
fn for_owner(options: &mut OpenOptions) -> &mut OpenOptions {
    options
        .write(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
}

/// The lock belongs to the open file description, so it ends with the process in any case. The text in the file is only
/// for people.
#[derive(Debug)]
struct OsLock {
    file: File,
}

impl LockGuard for OsLock {}

impl Drop for OsLock {
    fn drop(&mut self) {
        // Closing is not enough: a child that another thread is just starting has a copy of the descriptor until it
        // runs its own program. If the unlock fails, the lock ends with the last copy.
        let _ = self.file.unlock();
    }
}

/// The owner of a lock that could not be taken. The file names the last writer, which is not among the readers who
/// share the lock now.
fn holder_of(file: &mut File) -> Option<u32> {
    match file.try_lock_shared() {
        Ok(()) => None,
        Err(_) => read_holder(file),
    }
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.lines().next()?.parse().ok()
}

/// Writes over the last owner's line, which needs no room on a full disk. Most are as long, and then nothing is cut: that
/// would take as long as a sync.
fn write_holder(file: &File) -> io::Result<()> {
    let line = format!("{}\n", std::process::id());
    file.write_all_at(line.as_bytes(), 0)?;
    match file.metadata()?.len() == line.len() as u64 {
        true => Ok(()),
        false => file.set_len(line.len() as u64),
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
}

impl DiskFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, length) {
            // Not every file system can reserve. Without that the blocks are allocated when they are written.
            Err(rustix::io::Errno::OPNOTSUPP) => self.file.set_len(length),
            other => Ok(other?),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn release(&self, from: u64) -> io::Result<()> {
        let from = from.next_multiple_of(RELEASED_BLOCK_BYTES);
        let length = self.file.metadata()?.len().saturating_sub(from);
        if length == 0 {
            return Ok(());
        }
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, hole, from, length) {
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => Ok(other?),
        }
    }

    fn map(&self, length: u64) -> io::Result<Box<dyn Mapping>> {
        let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        if self.file.metadata()?.len() < length as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        #[allow(unsafe_code)]
        // SAFETY: the pages of a file mapping may be used as a `&[u8]` only while nothing writes to the file within
        // `length` or cuts it there; a cut would also end the process with SIGBUS. These are all the ways in which that
        // could happen, and what prevents each:
        // - This process maps a segment only through `log::segments::hold::HeldFile`, so a mapping has a `SegmentHold`,
        //   which ends after the mapping does. Only sealed segments are mapped (`LocalLog::open_at`), and the writer of
        //   a log writes to its last segment alone, so nothing writes to a mapped one while its log names it.
        // - A file that a log has forgotten is renamed into the pool, where it will be written to, only by
        //   `Segment::retire`, and only if `Holds::are_over`: no hold is left, and none can begin any more.
        // - Segments from before the store was opened are removed instead, since the mappings of an earlier opener, in
        //   this process or another, are not counted. The bytes of a removed file stay until its last mapping is gone.
        // - A file that has a second name, in a backup, is not written to through either: a file with a second name
        //   that returns to the pool is removed (`SegmentPool::recycle`), and a backup shares none of the segments that
        //   its store writes to.
        // - The store's lock keeps other processes that use this library from writing. An opener that only reads shares
        //   it, and maps nothing if there is no lock file (`OverlayDisk`). A process that does not use this library,
        //   and a disk that fails (SIGBUS), cannot be excluded; for them there is `StoreOptions::map_sealed_segments`.
        // The check above keeps every mapped page within the file.
        let map: Mmap = unsafe { MmapOptions::new().len(length).map(&self.file)? };
        Ok(Box::new(map))
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed)?)
    }

    fn read_ahead(&self) {
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::WillNeed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_owner_although_a_child_has_a_copy_of_the_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("LOCK");
        let file = File::create(&path).unwrap();
        file.try_lock().unwrap();
        let _copy_of_a_child = file.try_clone().unwrap();
        let lock = OsLock { file };
        assert!(matches!(OsDisk.lock(&path), Err(LockError::Held(_))));
        drop(lock);
        assert!(OsDisk.lock(&path).is_ok());
    }

    #[test]
    fn readers_share_a_lock_with_each_other_and_with_no_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("LOCK");
        assert!(OsDisk.lock_shared(&path).unwrap().is_none());
        assert!(!path.exists());
        let writer = OsDisk.lock(&path).unwrap();
        let process = std::process::id();
        assert!(matches!(OsDisk.lock_shared(&path), Err(LockError::Held(Some(id))) if id == process));
        drop(writer);
        let readers = [(); 2].map(|()| OsDisk.lock_shared(&path).unwrap().unwrap());
        // The file still names this process, which is not the owner now.
        assert!(matches!(OsDisk.lock(&path), Err(LockError::Held(None))));
        OsDisk.probe_lock(&path).unwrap();
        drop(readers);
        assert!(OsDisk.lock(&path).is_ok());
    }

    #[test]
    fn a_shared_file_has_the_bytes_of_the_other_and_outlives_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to, missing] = ["from", "to", "missing"].map(|name| directory.path().join(name));
        std::fs::write(&from, b"bytes").unwrap();
        assert_eq!(OsDisk.count_names(&from).unwrap(), 1);
        let not_found = OsDisk.share(&missing, &to).unwrap_err();
        assert_eq!(not_found.kind(), io::ErrorKind::NotFound);
        assert!(!to.exists());
        OsDisk.share(&from, &to).unwrap();
        // The same file, even if the file system can clone: a clone would share blocks without a sign of it.
        assert_eq!(OsDisk.count_names(&from).unwrap(), 2);
        let taken = OsDisk.share(&from, &to).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        OsDisk.remove_file(&from).unwrap();
        assert_eq!(OsDisk.count_names(&to).unwrap(), 1);
        assert_eq!(std::fs::read(&to).unwrap(), b"bytes");
    }

    #[test]
    fn what_a_file_releases_is_zeros_and_its_length_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = OsDisk
            .open(&directory.path().join("file"), OpenMode::CreateNew)
            .unwrap();
        file.write_all_at(&[7; 20_000], 0).unwrap();
        file.release(5_000).unwrap();
        file.release(30_000).unwrap();
        assert_eq!(file.len().unwrap(), 20_000);
        let mut bytes = vec![1; 20_000];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert!(bytes[..8_192].iter().all(|byte| *byte == 7));
        // A file system that cannot release keeps the bytes.
        assert!(bytes[8_192..].iter().all(|byte| *byte == bytes[8_192]));
    }
}
