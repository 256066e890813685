//! Every call that reaches the operating system's files.
//!
//! This floor knows paths, bytes and syncs; it knows nothing of frames, segments or streams. No other floor touches
//! `std::fs`, `rustix` or `memmap2`, and all of the crate's `unsafe` is here.
//!
//! [`Disk`] covers everything that matters to a crash, including the syncing of directories, so that a simulated disk
//! can find a missing sync: a file that was created, renamed or removed is durably so only after [`Disk::sync_dir`] of
//! the directory that has its name, and bytes only after [`DiskFile::sync_data`].

mod ancestors;
mod file_limit;
mod health;
#[cfg(feature = "server")]
mod left_to_read;
mod omission;
mod os;
mod overlaid;
mod overlay;
#[cfg(feature = "encryption")]
mod private_file;
mod readable;
// Its public path is `anabranch::sim` alone.
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod sim;
mod syncs_under_way;
mod unwritten;

pub(crate) use ancestors::{make_directory, parent_of, sync_ancestors};
pub use file_limit::{open_file_limit, raise_open_file_limit};
pub(crate) use health::Health;
#[cfg(feature = "server")]
pub use left_to_read::left_to_read;
pub(crate) use omission::{Inherited, Step, is_left_out, passes, perform};
pub use os::OsDisk;
pub(crate) use overlaid::{Overlaid, Pieces};
pub(crate) use overlay::OverlayDisk;
#[cfg(feature = "encryption")]
pub(crate) use private_file::read_private;
#[cfg(feature = "encryption")]
pub use private_file::{FileVersion, PrivateFileError};
#[cfg(feature = "server")]
pub(crate) use private_file::{
    create_directory, lock_by, read_kept_private, read_public, write_private, write_public,
};
pub(crate) use readable::ReadablePages;
pub(crate) use unwritten::UnwrittenDisk;

use std::fmt::Debug;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::Space;

/// A place for files: the operating system's, or a simulated one.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens a file. A symbolic link is followed only to read. A created file can be read by its owner only.
    ///
    /// # Errors
    /// `NotFound` unless `mode` creates; `AlreadyExists` if `mode` is [`OpenMode::CreateNew`] and the name is taken.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes one directory, which only its owner can enter; its parent must exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no particular order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// What kind of entry has this name. A symbolic link is not followed.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn kind(&self, path: &Path) -> io::Result<EntryKind>;

    /// The path that this one leads to, without symbolic links, `.` and `..`. The default uses the path alone, as on a
    /// disk without symbolic links.
    ///
    /// # Errors
    /// `NotFound` if there is no such file or directory.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut resolved = PathBuf::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir if resolved.file_name().is_some() => drop(resolved.pop()),
                component => resolved.push(component),
            }
        }
        Ok(resolved)
    }

    /// Renames a file, and replaces a file that has the new name. A crash leaves one of the two names.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives the file at `from`, which is no longer written to, the second name `to`, which must not exist.
    /// [`count_names`](Self::count_names) counts both. The file at `from` must be durable.
    ///
    /// # Errors
    /// `NotFound` if there is no such file; any other error if the file system cannot do that, for example between two
    /// file systems. No file has the name `to` then. The default is `Unsupported`.
    fn share(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// How many names a file has. A file that has, or may have, more than one is not written again.
    ///
    /// # Errors
    /// If it is not known. The default is `Unsupported`, with which no file is used for another segment: a disk that
    /// passes [`share`](Self::share) on to another one must pass this on too.
    fn count_names(&self, path: &Path) -> io::Result<u64> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes a file's name.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in the directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;

    /// The room of the file system of a directory; `None` if it is not known. Room that is reserved for other users is
    /// not available.
    fn space(&self, directory: &Path) -> io::Result<Option<Space>> {
        let _ = directory;
        Ok(None)
    }

    /// A random number that cannot be guessed, for salts, secrets and keys. A simulated disk draws it from its seed.
    fn entropy(&self) -> io::Result<u64>;

    /// Takes the lock file at `path`, which is created if missing, and holds it until the guard is dropped.
    ///
    /// # Errors
    /// [`LockError::Held`] if another owner has it, with that owner's process number if it can be read.
    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError>;

    /// Locks the file at `path` together with other readers, until the guard is dropped, without changing anything. A
    /// caller of [`lock`](Self::lock) is refused meanwhile. `None` if the file is missing.
    ///
    /// # Errors
    /// [`LockError::Held`] if an owner has it who may write.
    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError>;

    /// Finds out whether the lock file at `path` is held, without locking it and without changing anything. A missing
    /// file is not held.
    ///
    /// # Errors
    /// As for [`lock`](Self::lock).
    fn probe_lock(&self, path: &Path) -> Result<(), LockError>;
}

/// An open file. Reads and writes carry their position, so one handle serves any number of threads.
#[allow(clippy::len_without_is_empty)] // Asking a file is a call that may fail, and emptiness is never asked for.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before the buffer is full.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, and extends the file if necessary.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file's bytes and its length durable. After an error nothing is known of the bytes written since the
    /// last success, and no later success may be believed.
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves blocks for `length` bytes and makes the file that long; the new bytes read as zeros.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts or extends the file to `length` bytes.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Frees the blocks from `from` on, rounded up to whole blocks: they read as zeros, and the length stays. A disk
    /// that cannot do so does nothing. Must not be called while the file is mapped that far.
    fn release(&self, from: u64) -> io::Result<()>;

    /// The first `length` bytes, for reading. As long as the mapping lives the file must not be cut or written to
    /// within that length. The log guarantees it: it maps only sealed segments, and recycles none that is held
    /// (`log::segments::hold`).
    fn map(&self, length: u64) -> io::Result<Box<dyn Mapping>>;

    /// Drops the operating system's cache of this file's clean pages, so that the next read comes from the device.
    fn drop_cache(&self) -> io::Result<()>;

    /// Asks the operating system to begin reading the whole file, because all of it is read next. This is a hint: a disk
    /// may do nothing, as it does by default.
    fn read_ahead(&self) {}
}

/// Bytes of a file, which stay valid as long as this value lives.
pub trait Mapping: AsRef<[u8]> + Send + Sync + 'static {}

impl<T: AsRef<[u8]> + Send + Sync + 'static> Mapping for T {}

/// Holds a lock until it is dropped.
pub trait LockGuard: Debug + Send + Sync + 'static {}

/// How [`Disk::open`] opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A file that must not exist yet, for reading and writing.
    CreateNew,
    /// A file that is emptied if it exists, for reading and writing.
    Truncate,
}

/// The kind of a directory's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a socket, a device: nothing that a store makes.
    Other,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another owner has it; its process number, if it could be read. Readers who share it have none.
    Held(Option<u32>),
    /// The lock file could not be opened or locked.
    Io(io::Error),
}

/// The names in a directory; none if it does not exist or is not a directory.
pub(crate) fn list_if_there(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>> {
    match disk.list(directory) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        other => other.map_err(|error| Error::io("list", directory, error)),
    }
}

/// The kind of the entry with this name, if there is one.
pub(crate) fn kind_if_there(disk: &dyn Disk, path: &Path) -> Result<Option<EntryKind>> {
    match disk.kind(path) {
        Ok(kind) => Ok(Some(kind)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("look at", path, error)),
    }
}

/// All bytes of a small file.
pub(crate) fn read_whole(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let length = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A random number and a secret for a new store.
pub(crate) fn new_identity(disk: &dyn Disk) -> io::Result<(u128, [u8; 32])> {
    let store = (u128::from(disk.entropy()?) << 64) | u128::from(disk.entropy()?);
    let mut secret = [0; 32];
    for bytes in secret.chunks_exact_mut(8) {
        bytes.copy_from_slice(&disk.entropy()?.to_le_bytes());
    }
    Ok((store, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of another program, written before files could have two names.
    #[derive(Debug)]
    struct Plain;

    impl Disk for Plain {
        fn open(&self, _: &Path, _: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn create_dir(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn list(&self, _: &Path) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }

        fn kind(&self, _: &Path) -> io::Result<EntryKind> {
            Ok(EntryKind::File)
        }

        fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn remove_file(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn remove_dir(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn sync_dir(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }

        fn entropy(&self) -> io::Result<u64> {
            Ok(0)
        }

        fn lock(&self, _: &Path) -> Result<Box<dyn LockGuard>, LockError> {
            Err(LockError::Held(None))
        }

        fn lock_shared(&self, _: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError> {
            Ok(None)
        }

        fn probe_lock(&self, _: &Path) -> Result<(), LockError> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_does_not_count_names_shares_nothing_and_says_of_no_file_that_it_has_one() {
        let path = Path::new("file");
        let unsupported = |error: io::Error| error.kind() == io::ErrorKind::Unsupported;
        assert!(Plain.share(path, Path::new("other")).is_err_and(unsupported));
        assert!(Plain.count_names(path).is_err_and(unsupported));
    }
}
