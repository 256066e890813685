//! Damage to bytes on the device.

use std::io;
use std::path::{Path, PathBuf};

use super::SimDisk;
use super::contents::{Contents, FileState};
use super::names::{NameEdit, NodeId, ROOT};
use super::state::{State, error, open_file, walk_files};

/// Edits the bytes of a [`SimDisk`] behind the back of its users.
///
/// It is meant for a disk at rest. Each edit first makes everything unsynced durable; the edit itself is durable at
/// once, and open files see it. Edits are neither counted nor traced, and neither faults nor the capacity nor a frozen
/// disk stop them.
///
/// ```
/// # use std::io;
/// # use anabranch::sim::SimDisk;
/// let disk = SimDisk::new(1);
/// disk.rot().put("a", b"some bytes")?;
/// disk.rot().flip_bit("a", 0, 2)?;
/// assert_eq!(disk.rot().read("a")?, b"wome bytes");
/// # Ok::<(), io::Error>(())
/// ```
///
/// # Errors
/// Every verb: `NotFound` for a missing file or directory, `IsADirectory` where a file is needed.
#[derive(Clone, Debug)]
pub struct Rot {
    disk: SimDisk,
}

impl Rot {
    pub(super) fn new(disk: SimDisk) -> Self {
        Self { disk }
    }

    /// All files and their lengths in bytes, in the order of their paths.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = self.disk.state();
        let mut found = Vec::new();
        walk_files(state.names.live(), &state.files, ROOT, Path::new(""), &mut found);
        found
            .into_iter()
            .map(|(path, node)| (path, state.files[&node].live().len()))
            .collect()
    }

    /// A file's bytes, as a reader sees them; this edits nothing.
    pub fn read(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let state = self.disk.state();
        let node = state.file(path.as_ref())?;
        let contents = state.files[&node].live();
        Ok(contents.to_vec(contents.len() as usize))
    }

    /// Flips one bit of the byte at `offset`; bit 0 is the lowest.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    pub fn flip_bit(&self, path: impl AsRef<Path>, offset: u64, bit: u32) -> io::Result<()> {
        self.edit(path.as_ref(), |contents| {
            if offset >= contents.len() {
                return Err(error(io::ErrorKind::UnexpectedEof, path.as_ref()));
            }
            let mut byte = [0];
            contents.read(&mut byte, offset);
            contents.write(&[byte[0] ^ 1_u8.rotate_left(bit)], offset);
            Ok(())
        })
    }

    /// Overwrites the bytes at `offset`, and extends the file if necessary.
    pub fn overwrite(&self, path: impl AsRef<Path>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.edit(path.as_ref(), |contents| {
            contents.write(bytes, offset);
            Ok(())
        })
    }

    /// Cuts the file to `length` bytes, or extends it to that with zeros.
    pub fn set_len(&self, path: impl AsRef<Path>, length: u64) -> io::Result<()> {
        self.edit(path.as_ref(), |contents| {
            contents.set_len(length);
            Ok(())
        })
    }

    /// From now on the sector of 512 bytes that holds `offset` cannot be read, until it is written or mended, or power
    /// is lost. A mapping of it fails at once, where a real one would end the process at the first access.
    pub fn spoil_sector(&self, path: impl AsRef<Path>, offset: u64) -> io::Result<()> {
        self.with_file(path.as_ref(), |file| file.spoil_sector(offset))
    }

    /// All sectors of a file can be read again.
    pub fn mend_sectors(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.with_file(path.as_ref(), FileState::mend_sectors)
    }

    /// Swaps the bytes of two files.
    pub fn swap(&self, a: impl AsRef<Path>, b: impl AsRef<Path>) -> io::Result<()> {
        let (bytes_of_a, bytes_of_b) = (self.contents(a.as_ref())?, self.contents(b.as_ref())?);
        self.put_contents(a.as_ref(), bytes_of_b)?;
        self.put_contents(b.as_ref(), bytes_of_a)
    }

    /// Removes a file.
    pub fn remove(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let (entry, node) = (state.entry(path.as_ref())?, state.file(path.as_ref())?);
        state.settle();
        state.names.edit_at_rest(&NameEdit::Remove { entry, node });
        Ok(())
    }

    /// Gives `to` the bytes of `from`, making it if it is missing; its directory must exist.
    pub fn duplicate(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
        let contents = self.contents(from.as_ref())?;
        self.put_contents(to.as_ref(), contents)
    }

    /// Gives `path` these bytes, making it if it is missing; its directory must exist.
    pub fn put(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let mut contents = Contents::default();
        contents.write(bytes, 0);
        self.put_contents(path.as_ref(), contents)
    }

    fn with_file(&self, path: &Path, run: impl FnOnce(&mut FileState)) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let node = state.file(path)?;
        open_file(&mut state.files, node).map(run)
    }

    fn contents(&self, path: &Path) -> io::Result<Contents> {
        let state = self.disk.state();
        let node = state.file(path)?;
        Ok(state.files[&node].live().clone())
    }

    fn put_contents(&self, path: &Path, contents: Contents) -> io::Result<()> {
        let state = &mut *self.disk.state();
        let entry = state.entry(path)?;
        if state.names.live().get(&entry).is_none() {
            state.settle();
            state.last_node += 1;
            let node = NodeId(state.last_node);
            state.files.insert(node, FileState::default());
            state.names.edit_at_rest(&NameEdit::Create { entry, node });
        }
        state.edit_file(path, |old| {
            *old = contents;
            Ok(())
        })
    }

    fn edit(&self, path: &Path, edit: impl FnOnce(&mut Contents) -> io::Result<()>) -> io::Result<()> {
        self.disk.state().edit_file(path, edit)
    }
}

impl State {
    fn edit_file(
        &mut self,
        path: &Path,
        edit: impl FnOnce(&mut Contents) -> io::Result<()>,
    ) -> io::Result<()> {
        let node = self.file(path)?;
        self.settle();
        match self.files.get_mut(&node) {
            Some(file) => file.edit_at_rest(edit),
            None => Err(error(io::ErrorKind::NotFound, path)),
        }
    }

    fn settle(&mut self) {
        self.names.settle_live();
        self.files.values_mut().for_each(FileState::settle_live);
    }
}
