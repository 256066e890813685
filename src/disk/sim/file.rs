//! The open file and the lock of a simulated disk.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::SimDisk;
use super::calls::Operation;
use super::contents::Contents;
use super::holders::HandleId;
use super::names::NodeId;
use super::state::{Course, State, Target, error, open_file};
use crate::disk::{DiskFile, LockGuard, Mapping};

pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) node: NodeId,
    pub(super) handle: HandleId,
    /// The name it was opened by.
    pub(super) path: PathBuf,
    pub(super) writable: bool,
}

impl SimFile {
    fn call<T>(
        &self,
        operation: Operation,
        detail: fmt::Arguments<'_>,
        run: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.disk.stalls.pass(operation, &self.path);
        self.disk.state().call(operation, self.target(), detail, run)
    }

    /// A call that handles each fault itself.
    fn traced<T>(
        &self,
        operation: Operation,
        detail: fmt::Arguments<'_>,
        run: impl FnOnce(&mut State, Course) -> io::Result<T>,
    ) -> io::Result<T> {
        self.disk.stalls.pass(operation, &self.path);
        self.disk.state().traced(operation, self.target(), detail, run)
    }

    fn target(&self) -> Target<'_> {
        Target::Open {
            node: self.node,
            opened: &self.path,
        }
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(error(io::ErrorKind::PermissionDenied, &self.path))
        }
    }

    /// Checks that the bytes from `offset` on may be changed through this handle.
    fn check_change(&self, state: &mut State, offset: u64) -> io::Result<()> {
        let names = &state.names;
        let holders = &mut open_file(&mut state.files, self.node)?.holders;
        holders.note_use(self.handle);
        holders.check_change(self.handle, offset, || {
            self.target().path(names).display().to_string()
        });
        Ok(())
    }

    /// The bytes that a reader sees, if `length` bytes at `offset` can be read.
    fn readable<'a>(&self, state: &'a mut State, length: usize, offset: u64) -> io::Result<&'a Contents> {
        let file = open_file(&mut state.files, self.node)?;
        let contents = file.live();
        let end = offset.checked_add(length as u64);
        if end.is_none_or(|end| end > contents.len()) {
            return Err(error(io::ErrorKind::UnexpectedEof, &self.path));
        }
        if !file.can_be_read(offset, length) {
            return Err(io::Error::other(format!(
                "bad sector in {length} bytes at {offset} of {} on the simulated disk",
                self.path.display()
            )));
        }
        Ok(contents)
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.call(Operation::Length, format_args!(""), |state| {
            Ok(open_file(&mut state.files, self.node)?.live().len())
        })
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let detail = format_args!("{} bytes at {offset}", buffer.len());
        self.call(Operation::Read, detail, |state| {
            self.readable(state, buffer.len(), offset)?.read(buffer, offset);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let detail = format_args!("{} bytes at {offset}", bytes.len());
        self.traced(Operation::Write, detail, |state, course| {
            self.check_writable()?;
            let (written, outcome) = match course {
                Course::Normal => (bytes.len(), Ok(())),
                Course::Fail(error) => (0, Err(error)),
                Course::Short(error) => (state.random.below(bytes.len()), Err(error)),
                Course::InFlight(error) => (state.random.below(bytes.len() + 1), Err(error)),
            };
            self.check_change(state, offset)?;
            state.check_has_one_name(self.node, &self.path);
            let result = state.write(self.node, &self.path, &bytes[..written], offset);
            outcome.and(result)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.traced(
            Operation::SyncData,
            format_args!(""),
            |state, course| match course {
                Course::Normal => {
                    let file = open_file(&mut state.files, self.node)?;
                    file.holders.note_use(self.handle);
                    file.sync();
                    Ok(())
                }
                Course::Fail(error) | Course::Short(error) => {
                    state.fail_sync(self.node)?;
                    Err(error)
                }
                Course::InFlight(error) => {
                    if state.random.coin() {
                        open_file(&mut state.files, self.node)?.sync();
                    }
                    Err(error)
                }
            },
        )
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.call(Operation::Allocate, format_args!("to {length}"), |state| {
            self.check_writable()?;
            if length == 0 {
                return Err(error(io::ErrorKind::InvalidInput, &self.path));
            }
            let current = open_file(&mut state.files, self.node)?.live().len();
            state.allocate(self.node, &self.path, length.max(current))
        })
    }

    fn release(&self, from: u64) -> io::Result<()> {
        self.call(Operation::Release, format_args!("from {from}"), |state| {
            self.check_writable()?;
            self.check_change(state, from)?;
            state.release(self.node, from)
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.call(Operation::SetLength, format_args!("to {length}"), |state| {
            self.check_writable()?;
            self.check_change(state, length)?;
            state.check_has_one_name(self.node, &self.path);
            state.set_len(self.node, &self.path, length)
        })
    }

    fn map(&self, length: u64) -> io::Result<Box<dyn Mapping>> {
        let bytes = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let bytes = self.call(Operation::Map, format_args!("{length} bytes"), |state| {
            let bytes = self.readable(state, bytes, 0)?.to_vec(bytes);
            open_file(&mut state.files, self.node)?.holders.map(length);
            Ok(bytes)
        })?;
        Ok(Box::new(SimMapping {
            disk: self.disk.clone(),
            node: self.node,
            bytes,
        }))
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.call(Operation::DropCache, format_args!(""), |state| {
            open_file(&mut state.files, self.node)?.drop_cache();
            Ok(())
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.state().close(self.node, self.handle);
    }
}

/// A copy of the mapped bytes. The disk ensures that the file still has the same bytes.
struct SimMapping {
    disk: SimDisk,
    node: NodeId,
    bytes: Vec<u8>,
}

impl AsRef<[u8]> for SimMapping {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SimMapping {
    fn drop(&mut self) {
        let length = self.bytes.len() as u64;
        self.disk.state().unmap(self.node, length);
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

pub(super) struct SimLock {
    pub(super) disk: SimDisk,
    pub(super) node: NodeId,
    pub(super) path: PathBuf,
    pub(super) is_shared: bool,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let state = &mut *self.disk.state();
        match self.is_shared {
            true => state.unlock_shared(self.node),
            false => drop(state.locked.remove(&self.node)),
        }
    }
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimLock")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
