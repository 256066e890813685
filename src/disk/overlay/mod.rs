//! A disk that keeps writes in memory, over a disk that is not changed.
//!
//! A store that must not be changed is opened over it, so that recovery runs unchanged: frames of the commit journal
//! are put back into segments, a damaged copy of the manifest is rewritten, files that nothing names are removed. Only
//! this opener sees these changes, and they end with it. When recovery is done the overlay is
//! [frozen](OverlayDisk::freeze): from then on it refuses changes as a read-only file system does, so its memory has
//! only the writes of recovery.
//!
//! The disk below gets calls that read, and two more that change no byte and no name. Its lock is shared, if it has a
//! lock file. Bytes that a killed process left in the page cache are synced, so that they are durable before they are
//! served.
//!
//! Written bytes take memory by pages of 4 KiB, changed names by the name. Reserved room takes none.

mod contents;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use contents::Contents;

use super::{Disk, DiskFile, EntryKind, LockError, LockGuard, Mapping, OpenMode};
use crate::model::Space;
use crate::sync::{AtomicBool, Mutex, RwLock};

/// A [`Disk`] over another one, as the [module](self) describes it. Clones are the same disk.
///
/// A file is identified by its path: two paths for one file below, through a link, become two files once one is written
/// to.
#[derive(Clone, Debug)]
pub(crate) struct OverlayDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    below: Arc<dyn Disk>,
    names: Mutex<Names>,
    is_frozen: AtomicBool,
    /// Whether a lock keeps others from writing below.
    is_locked: AtomicBool,
}

/// The names that differ from those below, and the files that are open.
#[derive(Debug, Default)]
struct Names(BTreeMap<PathBuf, Entry>);

#[derive(Debug)]
enum Entry {
    Removed,
    /// Made here: nothing below is visible in it.
    Directory,
    File(Arc<Node>),
}

/// The entry of a path.
enum Found {
    Nothing(ErrorKind),
    Directory,
    File(Arc<Node>),
    /// The same as below.
    Below,
}

#[derive(Debug)]
struct Node {
    /// The path of the file below that it was.
    origin: Option<PathBuf>,
    contents: RwLock<Contents>,
}

/// A file, and the open file below it.
struct Opened {
    node: Arc<Node>,
    below: Option<Arc<dyn DiskFile>>,
}

impl OverlayDisk {
    pub(crate) fn new(below: Arc<dyn Disk>) -> Self {
        Self {
            shared: Arc::new(Shared {
                below,
                names: Mutex::default(),
                is_frozen: AtomicBool::new(false),
                is_locked: AtomicBool::new(false),
            }),
        }
    }

    /// Refuses changes from now on.
    pub(crate) fn freeze(&self) {
        self.shared.is_frozen.store(true, Ordering::Release);
    }

    fn below(&self) -> &dyn Disk {
        self.shared.below.as_ref()
    }

    fn kind_of(&self, names: &Names, path: &Path) -> io::Result<EntryKind> {
        match names.find(path) {
            Found::Nothing(kind) => Err(kind.into()),
            Found::Directory => Ok(EntryKind::Directory),
            Found::File(_) => Ok(EntryKind::File),
            Found::Below => self.below().kind(below_path(path)),
        }
    }

    /// Checks that the parent directory of a name exists.
    fn check_parent(&self, names: &Names, path: &Path) -> io::Result<()> {
        let Some(parent) = path.parent() else {
            return Ok(());
        };
        match self.kind_of(names, parent)? {
            EntryKind::File => Err(ErrorKind::NotADirectory.into()),
            // A link to a directory counts as one.
            EntryKind::Directory | EntryKind::Other => Ok(()),
        }
    }

    /// The file below that has this path, and a node for it.
    fn open_below(&self, path: &Path) -> io::Result<Opened> {
        let below = self.below().open(below_path(path), OpenMode::Read)?;
        let node = Arc::new(Node {
            origin: Some(path.to_owned()),
            contents: RwLock::new(Contents::as_below(below.len()?)),
        });
        let below = Some(below);
        Ok(Opened { node, below })
    }

    /// The file to open, which is created if `mode` says so, and the one below it.
    fn find_or_create(&self, names: &mut Names, path: &Path, mode: OpenMode) -> io::Result<Opened> {
        let missing = match names.find(path) {
            Found::File(_) | Found::Directory if mode == OpenMode::CreateNew => {
                return Err(ErrorKind::AlreadyExists.into());
            }
            Found::Directory => return Err(ErrorKind::IsADirectory.into()),
            Found::File(node) => {
                let origin = node.origin.as_deref();
                let open = |path| self.below().open(below_path(path), OpenMode::Read);
                let below = origin.map(open).transpose()?;
                return Ok(Opened { node, below });
            }
            Found::Nothing(kind) => kind,
            Found::Below => {
                let kind = match mode {
                    OpenMode::Read => Ok(EntryKind::File),
                    _ => self.below().kind(below_path(path)),
                };
                match kind {
                    Err(error) if error.kind() == ErrorKind::NotFound => ErrorKind::NotFound,
                    Err(error) => return Err(error),
                    Ok(_) if mode == OpenMode::CreateNew => return Err(ErrorKind::AlreadyExists.into()),
                    Ok(EntryKind::Directory) => return Err(ErrorKind::IsADirectory.into()),
                    // Links are followed only to read.
                    Ok(EntryKind::Other) => return Err(ErrorKind::InvalidInput.into()),
                    Ok(EntryKind::File) => {
                        let opened = self.open_below(path)?;
                        names.0.insert(path.to_owned(), Entry::File(opened.node.clone()));
                        return Ok(opened);
                    }
                }
            }
        };
        match mode {
            OpenMode::Read | OpenMode::Write => Err(missing.into()),
            OpenMode::CreateNew | OpenMode::Truncate => {
                self.check_parent(names, path)?;
                let node = Arc::new(Node {
                    origin: None,
                    contents: RwLock::new(Contents::empty()),
                });
                names.0.insert(path.to_owned(), Entry::File(node.clone()));
                Ok(Opened { node, below: None })
            }
        }
    }

    fn list_of(&self, names: &Names, directory: &Path) -> io::Result<Vec<String>> {
        let listed = match names.find(directory) {
            Found::Nothing(kind) => return Err(kind.into()),
            Found::File(_) => return Err(ErrorKind::NotADirectory.into()),
            Found::Directory => Vec::new(),
            Found::Below => self.below().list(below_path(directory))?,
        };
        let mut listed: BTreeSet<_> = listed.into_iter().collect();
        for (path, entry) in names.within(directory) {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|_| path.parent() == Some(directory)) else {
                continue;
            };
            match entry {
                Entry::Removed => drop(listed.remove(name)),
                Entry::Directory | Entry::File(_) => drop(listed.insert(name.to_owned())),
            }
        }
        Ok(listed.into_iter().collect())
    }

    /// Removes a name, even if it exists below.
    fn hide(&self, names: &mut Names, path: &Path) {
        names.0.remove(path);
        let is_below = matches!(names.find(path), Found::Below)
            && !matches!(self.below().kind(below_path(path)), Err(error) if error.kind() == ErrorKind::NotFound);
        if is_below {
            names.0.insert(path.to_owned(), Entry::Removed);
        }
    }
}

impl Disk for OverlayDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode != OpenMode::Read {
            self.shared.check_not_frozen()?;
        }
        let path = key(path);
        let mut names = self.shared.names.lock();
        let Opened { node, below } = self.find_or_create(&mut names, &path, mode)?;
        if mode == OpenMode::Truncate {
            node.contents.write().set_len(0);
        }
        Ok(Arc::new(OverlayFile {
            shared: self.shared.clone(),
            path,
            node,
            below,
            is_writable: mode != OpenMode::Read,
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let path = key(path);
        let mut names = self.shared.names.lock();
        match self.kind_of(&names, &path) {
            Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.shared.check_not_frozen()?;
        self.check_parent(&names, &path)?;
        names.0.insert(path, Entry::Directory);
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.list_of(&self.shared.names.lock(), &key(directory))
    }

    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        self.kind_of(&self.shared.names.lock(), &key(path))
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.shared.below.resolve(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.shared.check_not_frozen()?;
        let (from, to) = (key(from), key(to));
        let mut names = self.shared.names.lock();
        self.check_parent(&names, &from)?;
        self.check_parent(&names, &to)?;
        let node = match names.find(&from) {
            Found::Nothing(kind) => return Err(kind.into()),
            Found::Directory => return Err(ErrorKind::IsADirectory.into()),
            Found::File(node) => node,
            Found::Below => match self.below().kind(below_path(&from))? {
                EntryKind::File => self.open_below(&from)?.node,
                EntryKind::Directory => return Err(ErrorKind::IsADirectory.into()),
                EntryKind::Other => return Err(ErrorKind::InvalidInput.into()),
            },
        };
        match self.kind_of(&names, &to) {
            Ok(EntryKind::Directory) => return Err(ErrorKind::IsADirectory.into()),
            Ok(EntryKind::File | EntryKind::Other) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if from != to {
            node.contents.write().note_change();
            self.hide(&mut names, &from);
            names.0.insert(to, Entry::File(node));
        }
        Ok(())
    }

    /// Writes to a file stay above, so a backup that has the one below loses nothing.
    fn count_names(&self, path: &Path) -> io::Result<u64> {
        match self.kind(path)? {
            EntryKind::Directory => Err(ErrorKind::IsADirectory.into()),
            EntryKind::File | EntryKind::Other => Ok(1),
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.shared.check_not_frozen()?;
        let path = key(path);
        let mut names = self.shared.names.lock();
        match self.kind_of(&names, &path)? {
            EntryKind::Directory => Err(ErrorKind::IsADirectory.into()),
            EntryKind::File | EntryKind::Other => {
                self.hide(&mut names, &path);
                Ok(())
            }
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.shared.check_not_frozen()?;
        let path = key(path);
        let mut names = self.shared.names.lock();
        if self.kind_of(&names, &path)? != EntryKind::Directory {
            return Err(ErrorKind::NotADirectory.into());
        }
        if !self.list_of(&names, &path)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        // Removed names in it need not be kept.
        let within: Vec<_> = names.within(&path).map(|(path, _)| path.clone()).collect();
        within.iter().for_each(|path| drop(names.0.remove(path)));
        self.hide(&mut names, &path);
        Ok(())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let directory = key(directory);
        let found = self.shared.names.lock().find(&directory);
        match found {
            Found::Nothing(kind) => Err(kind.into()),
            Found::File(_) => Err(ErrorKind::NotADirectory.into()),
            Found::Directory => Ok(()),
            Found::Below => pass_read_only(self.below().sync_dir(below_path(&directory))),
        }
    }

    fn space(&self, directory: &Path) -> io::Result<Option<Space>> {
        self.below().space(directory)
    }

    fn entropy(&self) -> io::Result<u64> {
        self.below().entropy()
    }

    /// Shares the lock below. If there is no lock file none is made, and nothing keeps others from writing.
    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        Ok(self.lock_shared(path)?.unwrap_or_else(|| Box::new(NoLock)))
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError> {
        let lock = self.below().lock_shared(path)?;
        if lock.is_some() {
            self.shared.is_locked.store(true, Ordering::Release);
        }
        Ok(lock)
    }

    fn probe_lock(&self, path: &Path) -> Result<(), LockError> {
        self.below().probe_lock(path)
    }
}

impl Shared {
    fn check_not_frozen(&self) -> io::Result<()> {
        match self.is_frozen.load(Ordering::Acquire) {
            true => Err(ErrorKind::ReadOnlyFilesystem.into()),
            false => Ok(()),
        }
    }
}

impl Names {
    fn find(&self, path: &Path) -> Found {
        match self.0.get(path) {
            Some(Entry::Removed) => return Found::Nothing(ErrorKind::NotFound),
            Some(Entry::Directory) => return Found::Directory,
            Some(Entry::File(node)) => return Found::File(node.clone()),
            None => {}
        }
        match path.ancestors().skip(1).find_map(|above| self.0.get(above)) {
            Some(Entry::File(_)) => Found::Nothing(ErrorKind::NotADirectory),
            Some(Entry::Removed | Entry::Directory) => Found::Nothing(ErrorKind::NotFound),
            None => Found::Below,
        }
    }

    /// The entries below a directory, at any depth.
    fn within(&self, directory: &Path) -> impl Iterator<Item = (&PathBuf, &Entry)> {
        self.0
            .range::<Path, _>((Bound::Excluded(directory), Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(directory))
    }
}

#[derive(Debug)]
struct OverlayFile {
    shared: Arc<Shared>,
    /// The name that it was opened by.
    path: PathBuf,
    node: Arc<Node>,
    below: Option<Arc<dyn DiskFile>>,
    is_writable: bool,
}

impl OverlayFile {
    fn check_writable(&self) -> io::Result<()> {
        match self.is_writable {
            true => self.shared.check_not_frozen(),
            false => Err(ErrorKind::PermissionDenied.into()),
        }
    }
}

impl DiskFile for OverlayFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.node.contents.read().length())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let contents = self.node.contents.read();
        contents.read(self.below.as_deref(), buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut contents = self.node.contents.write();
        contents.write(self.below.as_deref(), bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        match &self.below {
            Some(below) => pass_read_only(below.sync_data()),
            None => Ok(()),
        }
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        if length == 0 {
            return Err(ErrorKind::InvalidInput.into());
        }
        self.node.contents.write().extend(length);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check_writable()?;
        self.node.contents.write().set_len(length);
        Ok(())
    }

    fn release(&self, from: u64) -> io::Result<()> {
        self.check_writable()?;
        self.node.contents.write().release(from);
        Ok(())
    }

    /// # Errors
    /// `Unsupported` if bytes differ from those of the file below, or if no lock keeps others from writing to that.
    fn map(&self, length: u64) -> io::Result<Box<dyn Mapping>> {
        if length > self.len()? {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let is_locked = self.shared.is_locked.load(Ordering::Acquire);
        match &self.below {
            Some(below) if is_locked && self.node.contents.read().are_below(length) => below.map(length),
            _ => Err(ErrorKind::Unsupported.into()),
        }
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.below.as_ref().map_or(Ok(()), |below| below.drop_cache())
    }
}

impl Drop for OverlayFile {
    /// An unchanged file need not be kept when it is no longer open.
    fn drop(&mut self) {
        let mut names = self.shared.names.lock();
        let is_named =
            matches!(names.0.get(&self.path), Some(Entry::File(node)) if Arc::ptr_eq(node, &self.node));
        // Nodes are handed out only under the lock on the names.
        let is_last = is_named && Arc::strong_count(&self.node) == 2;
        if is_last && !self.node.contents.read().is_changed() {
            names.0.remove(&self.path);
        }
    }
}

/// The guard for a store without a lock file.
#[derive(Debug)]
struct NoLock;

impl LockGuard for NoLock {}

/// One key for all spellings of a path. The current directory is the empty path.
fn key(path: &Path) -> PathBuf {
    let is_step = |component: &Component<'_>| *component != Component::CurDir;
    path.components().filter(is_step).collect()
}

fn below_path(path: &Path) -> &Path {
    match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    }
}

/// A read-only file system has nothing to sync, and may answer with an error.
fn pass_read_only(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => Ok(()),
        other => other,
    }
}
