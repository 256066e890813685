//! A disk in memory that can crash, fail and rot, for tests of what survives.
//!
//! [`SimDisk`] is a [`Disk`] that keeps what was written and what is durable apart, down to the sector and the
//! directory entry. [`SimDisk::crash`] gives the disk that the next opener finds; [`SimDisk::faults`] makes calls
//! fail, cuts writes short, and stops the machine in the n-th call; [`SimDisk::rot`] damages what lies on the device.
//!
//! ```
//! use std::path::Path;
//! use anabranch::disk::{Disk, DiskFile, OpenMode};
//! use anabranch::sim::{LossMode, SimDisk};
//!
//! let disk = SimDisk::new(42);
//! let file = disk.open(Path::new("log"), OpenMode::CreateNew)?;
//! file.write_all_at(b"kept", 0)?;
//! file.sync_data()?;                      // the bytes are durable ...
//! disk.sync_dir(Path::new(""))?;          // ... and so is the name
//! file.write_all_at(b"lost", 4)?;
//!
//! let disk = disk.crash(LossMode::LoseAll);
//! assert!(file.len().is_err(), "the machine that had it open is gone");
//! let file = disk.open(Path::new("log"), OpenMode::Read)?;
//! assert_eq!(file.map(4)?.as_ref().as_ref(), b"kept");
//! assert_eq!(file.len()?, 4);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What a crash may leave
//! - **Bytes.** Every unsynced write may be kept, lost, or torn at sectors of 512 bytes, in any order across sectors. A
//!   sector is old or new as a whole. One that was written several times has one of its states, each of which includes
//!   the earlier writes. So rewriting a sector with the same leading bytes keeps them.
//! - **Lengths** survive apart from the bytes: a file may have its new length but zeros in it, or may have lost its
//!   end. If a length survives, so do the earlier cuts of the file.
//! - **Names.** A created, renamed or removed name is durable after `sync_dir` of its directory, and only once the name
//!   of that directory is durable. Until then each change of a name survives whole or not at all, independently of the
//!   others, except that it brings along the changes it needs: earlier changes of the same name, and the creation of
//!   the directory.
//! - **Renames** between two directories are durable with a `sync_dir` of the new name's directory; a sync of the old
//!   name's directory alone promises nothing. A crash before leaves exactly one of the two names. (Real file systems
//!   promise less where they have no journal, and more where they have one.)
//! - A failed `sync_data` is final for the bytes it was to write: see [`FailedSync`]. After a failed `sync_dir` the
//!   changes are as unsynced as before.
//!
//! # What makes it panic
//! A mapping is a copy, and so does not show writes to the file as a real one does. So a write or a cut within a
//! mapping that exists panics. A write to a file also panics while another handle exists that was opened before the
//! file got its present name: the holder of that handle would read bytes of something else. (A handle that was itself
//! written through or synced since then belongs to the present use.) A write to a file with two names panics as well:
//! the second name was given to keep the bytes.
//!
//! # What it does not do
//! It has no hard links of directories, no renaming of directories, and no `..`. Relative and absolute paths begin at
//! the one root, which always exists. It never sleeps and starts no thread.
//!
//! # Determinism
//! Every choice comes from the seed and the calls made before it. With one thread the same program finds the same disk
//! each time; with several threads the result depends on the order of their calls.

mod calls;
mod contents;
mod crash;
mod faults;
mod file;
mod holders;
mod names;
mod random;
mod rot;
mod stall;
mod state;
#[cfg(test)]
mod tests;

pub use super::omission::{Step, leave_out};
pub use calls::{Call, Calls, Operation};
pub use crash::LossMode;
pub use faults::{FailedSync, Faults};
pub use rot::Rot;
pub use stall::Stall;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use file::{SimFile, SimLock};
use stall::Stalls;
use state::{LockedBy, State, Target};

use super::{Disk, DiskFile, EntryKind, LockError, LockGuard, OpenMode};
use crate::model::Space;
use crate::sync::{Mutex, MutexGuard};

/// A disk in memory, as the [module](self) describes it. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    stalls: Arc<Stalls>,
    is_onlooker: bool,
}

impl SimDisk {
    /// An empty disk without faults and without a limit of capacity.
    pub fn new(seed: u64) -> Self {
        Self::from_state(State::new(seed))
    }

    /// Stops this disk, so that its files, locks and all further calls give errors, and gives the disk that the next
    /// opener finds. The new disk has no faults and no locks, and counts from zero. It keeps the capacity, and whether
    /// calls are traced.
    ///
    /// Crashing a disk again gives another outcome of the same moment.
    pub fn crash(&self, mode: LossMode) -> Self {
        self.freeze();
        self.image(mode)
    }

    /// The disk that [`SimDisk::crash`] would give now, while this disk goes on. With [`LossMode::KeepAll`] it is a
    /// copy.
    pub fn image(&self, mode: LossMode) -> Self {
        let image = self.state().image(mode);
        Self::from_state(image)
    }

    /// The same disk for a program that only looks at files that another program uses. Its handles do not keep a file
    /// from being written again, and it expects the bytes to change.
    pub fn onlooker(&self) -> Self {
        Self {
            is_onlooker: true,
            ..self.clone()
        }
    }

    /// Stops this disk: every call from now on fails and does nothing.
    pub fn freeze(&self) {
        self.state().frozen = true;
    }

    /// From now on the file system refuses every change, as ext4 does after an internal error.
    pub fn make_read_only(&self) {
        self.state().is_read_only = true;
    }

    /// Whether this disk was stopped, by [`SimDisk::freeze`], [`SimDisk::crash`] or a fault.
    pub fn is_frozen(&self) -> bool {
        self.state().frozen
    }

    /// The disk's faults, to add some.
    pub fn faults(&self) -> Faults {
        Faults::new(self.clone())
    }

    /// Direct edits of what lies on the device.
    pub fn rot(&self) -> Rot {
        Rot::new(self.clone())
    }

    /// The next call of these kinds whose path contains `path_part` hangs until the result is dropped.
    pub fn stall_next(&self, calls: impl Into<Calls>, path_part: impl Into<String>) -> Stall {
        self.stalls.plan(calls.into(), path_part.into())
    }

    /// The next question for the free space hangs until the result is dropped.
    pub fn stall_space(&self) -> Stall {
        self.stalls.plan_space()
    }

    /// From now on files and directories can take `bytes` in all, and a call that exceeds it fails with `StorageFull`.
    /// A write first writes the part that fits; all other calls do nothing. A file takes its length; there are no
    /// holes. A directory takes as many blocks of 1 KiB as its names need, so a new name may not fit either.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = Some(bytes);
    }

    /// The bytes that files and directories take. A removed file gives them back when it is no longer open.
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// From now on at most `files` files, locks included, can be open at a time. Opening another one, listing a
    /// directory and syncing a directory then fail as they do when a process has used up its descriptors.
    pub fn set_open_file_limit(&self, files: usize) {
        self.state().open_file_limit = Some(files);
    }

    /// How many files and locks are open.
    pub fn open_files(&self) -> usize {
        self.state().open_files()
    }

    /// How often a call was refused because of [`SimDisk::set_open_file_limit`].
    pub fn refused_for_open_files(&self) -> u64 {
        self.state().out_of_files
    }

    /// How many calls of these kinds were made, failed ones included, but none on a frozen disk.
    pub fn calls(&self, calls: impl Into<Calls>) -> u64 {
        self.state().count(calls.into())
    }

    /// From now on calls are recorded for [`SimDisk::trace`].
    pub fn start_trace(&self) {
        self.state().trace.get_or_insert_default();
    }

    /// The calls since [`SimDisk::start_trace`], for a failing test to print.
    pub fn trace(&self) -> Vec<Call> {
        self.state().trace.clone().unwrap_or_default()
    }

    fn from_state(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
            stalls: Arc::default(),
            is_onlooker: false,
        }
    }

    /// A test that panics elsewhere must not hide behind a poisoned mutex here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn call<T>(
        &self,
        operation: Operation,
        path: &Path,
        detail: fmt::Arguments<'_>,
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.stalls.pass(operation, path);
        self.state().call(operation, Target::Path(path), detail, run)
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let (node, handle) = self.call(Operation::Open, path, format_args!("{mode:?}"), |state| {
            state.open(path, mode, self.is_onlooker)
        })?;
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            node,
            handle,
            path: path.to_owned(),
            writable,
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::CreateDir, path, format_args!(""), |state| {
            state.create_dir(path)
        })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.call(Operation::List, directory, format_args!(""), |state| {
            state.list(directory)
        })
    }

    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        self.call(Operation::Kind, path, format_args!(""), |state| state.kind(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let detail = format_args!("to {}", to.display());
        self.call(Operation::Rename, from, detail, |state| state.rename(from, to))
    }

    fn share(&self, from: &Path, to: &Path) -> io::Result<()> {
        let detail = format_args!("as {}", to.display());
        self.call(Operation::Share, from, detail, |state| state.share(from, to))
    }

    fn count_names(&self, path: &Path) -> io::Result<u64> {
        self.call(Operation::CountNames, path, format_args!(""), |state| {
            state.count_names(path)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::RemoveFile, path, format_args!(""), |state| {
            state.remove_file(path)
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::RemoveDir, path, format_args!(""), |state| {
            state.remove_dir(path)
        })
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.call(Operation::SyncDir, directory, format_args!(""), |state| {
            state.sync_dir(directory)
        })
    }

    /// The space within the [capacity](SimDisk::set_capacity). No fault strikes this call.
    fn space(&self, _: &Path) -> io::Result<Option<Space>> {
        self.stalls.pass_space();
        let state = self.state();
        Ok(state.capacity.map(|capacity| Space {
            total_bytes: capacity,
            available_bytes: capacity.saturating_sub(state.used_bytes()),
        }))
    }

    fn entropy(&self) -> io::Result<u64> {
        self.call(Operation::Entropy, Path::new(""), format_args!(""), |state| {
            Ok(state.random.next())
        })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        let node = self.call(Operation::Lock, path, format_args!(""), |state| state.lock(path));
        let node = node.map_err(LockError::Io)?.map_err(held)?;
        Ok(Box::new(SimLock {
            disk: self.clone(),
            node,
            path: path.to_owned(),
            is_shared: false,
        }))
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError> {
        let node = self.call(Operation::Lock, path, format_args!(" shared"), |state| {
            state.lock_shared(path)
        });
        let Some(node) = node.map_err(LockError::Io)? else {
            return Ok(None);
        };
        Ok(Some(Box::new(SimLock {
            disk: self.clone(),
            node: node.map_err(held)?,
            path: path.to_owned(),
            is_shared: true,
        })))
    }

    fn probe_lock(&self, path: &Path) -> Result<(), LockError> {
        let held = self.call(Operation::Lock, path, format_args!(" probe"), |state| {
            state.is_locked(path)
        });
        match held.map_err(LockError::Io)? {
            true => Err(LockError::Held(Some(std::process::id()))),
            false => Ok(()),
        }
    }
}

fn held(by: LockedBy) -> LockError {
    LockError::Held(match by {
        LockedBy::Writer => Some(std::process::id()),
        LockedBy::Readers => None,
    })
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}
