//! The state of a simulated disk, behind its mutex.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::calls::{Call, Calls, Operation};
use super::contents::{ChangeNumber, FileState};
use super::faults::{Effect, FailedSync, Plan};
use super::holders::HandleId;
use super::names::{Entry, NameEdit, Names, NodeId, ROOT, Table};
use super::random::Random;
use crate::disk::{EntryKind, OpenMode};

#[derive(Debug)]
pub(super) struct State {
    pub(super) names: Names,
    /// Every node that is not in here is a directory.
    pub(super) files: BTreeMap<NodeId, FileState>,
    pub(super) last_node: u64,
    pub(super) last_change: ChangeNumber,
    pub(super) random: Random,
    pub(super) plan: Plan,
    pub(super) frozen: bool,
    pub(super) is_read_only: bool,
    pub(super) locked: BTreeSet<NodeId>,
    /// How many readers share a lock.
    pub(super) shared_locks: BTreeMap<NodeId, usize>,
    pub(super) capacity: Option<u64>,
    pub(super) open_file_limit: Option<usize>,
    /// How many calls the limit refused.
    pub(super) out_of_files: u64,
    pub(super) calls: [u64; Operation::COUNT],
    pub(super) trace: Option<Vec<Call>>,
}

/// What the operating system answers when too many files are open.
const EMFILE: i32 = 24;

/// How a call goes on that the faults let begin.
pub(super) enum Course {
    Normal,
    Fail(io::Error),
    /// Write a part, then fail.
    Short(io::Error),
    /// Do it or not, then fail. The disk is frozen already.
    InFlight(io::Error),
}

/// The file or path that a call is made on. The name of an open file is looked up only where something depends on it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Path(&'a Path),
    Open { node: NodeId, opened: &'a Path },
}

impl<'a> Target<'a> {
    /// The name a file has now, or, if it has none, the one it was opened by.
    pub(super) fn path(self, names: &Names) -> Cow<'a, Path> {
        let (node, opened) = match self {
            Self::Path(path) => return Cow::Borrowed(path),
            Self::Open { node, opened } => (node, opened),
        };
        match names.live().path(node) {
            Some(path) if opened.has_root() => Cow::Owned(Path::new("/").join(path)),
            Some(path) => Cow::Owned(path),
            None => Cow::Borrowed(opened),
        }
    }
}

/// Who has a lock that could not be taken.
#[derive(Clone, Copy, Debug)]
pub(super) enum LockedBy {
    Writer,
    Readers,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            names: Names::default(),
            files: BTreeMap::new(),
            last_node: ROOT.0,
            last_change: 0,
            random: Random::new(seed),
            plan: Plan::default(),
            frozen: false,
            is_read_only: false,
            locked: BTreeSet::new(),
            shared_locks: BTreeMap::new(),
            capacity: None,
            open_file_limit: None,
            out_of_files: 0,
            calls: [0; Operation::COUNT],
            trace: None,
        }
    }

    /// A call that a fault can keep from being done.
    pub(super) fn call<T>(
        &mut self,
        operation: Operation,
        target: Target<'_>,
        detail: fmt::Arguments<'_>,
        run: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        self.traced(operation, target, detail, |state, course| match course {
            Course::Normal => run(state),
            Course::Fail(error) | Course::Short(error) => Err(error),
            Course::InFlight(error) => {
                if state.random.coin() {
                    // The caller has gone and does not see this result.
                    let _ = run(state);
                }
                Err(error)
            }
        })
    }

    /// A call that handles each fault itself.
    pub(super) fn traced<T>(
        &mut self,
        operation: Operation,
        target: Target<'_>,
        detail: fmt::Arguments<'_>,
        run: impl FnOnce(&mut Self, Course) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.frozen {
            return Err(stopped());
        }
        self.calls[operation as usize] += 1;
        let number = self.calls.iter().sum();
        let path = || target.path(&self.names);
        let fault = |kind| {
            let path = path();
            io::Error::new(
                kind,
                format!("simulated fault in {operation} of {}", path.display()),
            )
        };
        let course = match self.plan.strike(operation, path, &mut self.random) {
            None if self.is_read_only && Calls::WRITING.contains(operation) => {
                Course::Fail(error(io::ErrorKind::ReadOnlyFilesystem, &path()))
            }
            None => Course::Normal,
            Some(Effect::Fail(kind)) => Course::Fail(fault(kind)),
            Some(Effect::Short(kind)) => Course::Short(fault(kind)),
            Some(Effect::OutOfFiles) => Course::Fail(io::Error::from_raw_os_error(EMFILE)),
            Some(Effect::Freeze) => {
                self.frozen = true;
                Course::InFlight(stopped())
            }
        };
        let result = run(self, course);
        if let Some(trace) = &mut self.trace {
            let failed = result.as_ref().err().map(io::Error::kind);
            trace.push(Call {
                number,
                operation,
                path: target.path(&self.names).into_owned(),
                detail: detail.to_string(),
                failed,
            });
        }
        result
    }

    pub(super) fn count(&self, calls: Calls) -> u64 {
        Operation::ALL
            .iter()
            .filter(|operation| calls.contains(**operation))
            .map(|operation| self.calls[*operation as usize])
            .sum()
    }

    pub(super) fn next_change(&mut self) -> ChangeNumber {
        self.last_change += 1;
        self.last_change
    }

    pub(super) fn open(
        &mut self,
        path: &Path,
        mode: OpenMode,
        is_onlooker: bool,
    ) -> io::Result<(NodeId, HandleId)> {
        self.check_open_files()?;
        if self.is_read_only && mode != OpenMode::Read {
            return Err(error(io::ErrorKind::ReadOnlyFilesystem, path));
        }
        let entry = self.entry(path)?;
        let node = match (self.names.live().get(&entry), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(error(io::ErrorKind::AlreadyExists, path)),
            (None, OpenMode::Read | OpenMode::Write) => return Err(error(io::ErrorKind::NotFound, path)),
            (None, OpenMode::CreateNew | OpenMode::Truncate) => {
                self.check_room_for_name(&entry, path)?;
                self.create(entry, Some(FileState::default()))
            }
            (Some(node), _) => node,
        };
        let change = self.next_change();
        let Some(file) = self.files.get_mut(&node) else {
            return Err(error(io::ErrorKind::IsADirectory, path));
        };
        let handle = file.holders.open(is_onlooker);
        if mode == OpenMode::Truncate {
            file.holders
                .check_change(handle, 0, || path.display().to_string());
            file.set_len(0, change);
            self.check_has_one_name(node, path);
        }
        Ok((node, handle))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if names_in(path)?.is_empty() {
            return Err(error(io::ErrorKind::AlreadyExists, path));
        }
        let entry = self.entry(path)?;
        if self.names.live().get(&entry).is_some() {
            return Err(error(io::ErrorKind::AlreadyExists, path));
        }
        self.check_room_for_name(&entry, path)?;
        self.create(entry, None);
        Ok(())
    }

    fn create(&mut self, entry: Entry, file: Option<FileState>) -> NodeId {
        self.last_node += 1;
        let node = NodeId(self.last_node);
        if let Some(file) = file {
            self.files.insert(node, file);
        }
        let change = self.next_change();
        self.names.edit(NameEdit::Create { entry, node }, change);
        node
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = ((self.entry(from)?, from), (self.entry(to)?, to));
        let node = self.file(from.1)?;
        match self.names.live().get(&to.0) {
            Some(_) => drop(self.file(to.1)?),
            None => self.check_room_for_name(&to.0, to.1)?,
        }
        if from.0 != to.0 {
            let change = self.next_change();
            self.names.edit(
                NameEdit::Rename {
                    from: from.0,
                    to: to.0,
                },
                change,
            );
            open_file(&mut self.files, node)?.holders.note_rename();
        }
        Ok(())
    }

    /// Gives a file another name.
    pub(super) fn share(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.file(from)?;
        let entry = self.entry(to)?;
        if self.names.live().get(&entry).is_some() {
            return Err(error(io::ErrorKind::AlreadyExists, to));
        }
        self.check_room_for_name(&entry, to)?;
        let change = self.next_change();
        self.names.edit(NameEdit::Link { entry, node }, change);
        Ok(())
    }

    pub(super) fn count_names(&self, path: &Path) -> io::Result<u64> {
        Ok(self.names.live().count_names(self.file(path)?) as u64)
    }

    /// Checks that a file has one name. A second name was given to keep the file's bytes.
    pub(super) fn check_has_one_name(&self, node: NodeId, path: &Path) {
        assert!(
            self.names.live().count_names(node) < 2,
            "{} is changed although it has two names",
            path.display()
        );
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let entry = self.entry(path)?;
        let node = self.file(path)?;
        let change = self.next_change();
        self.names.edit(NameEdit::Remove { entry, node }, change);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let entry = self.entry(path)?;
        let node = self.directory(path)?;
        if self.names.live().list(node).next().is_some() {
            return Err(error(io::ErrorKind::DirectoryNotEmpty, path));
        }
        let change = self.next_change();
        self.names.edit(NameEdit::Remove { entry, node }, change);
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.check_open_files()?;
        let directory = self.directory(path)?;
        for node in self.names.sync(directory) {
            self.forget_if_gone(node);
        }
        Ok(())
    }

    /// Gives the lock's node, or whether a writer has the lock.
    pub(super) fn lock(&mut self, path: &Path) -> io::Result<Result<NodeId, LockedBy>> {
        let entry = self.entry(path)?;
        let node = match self.names.live().get(&entry) {
            Some(_) => self.file(path)?,
            None => self.create(entry, Some(FileState::default())),
        };
        Ok(match self.shared_locks.contains_key(&node) {
            true => Err(LockedBy::Readers),
            false => self.locked.insert(node).then_some(node).ok_or(LockedBy::Writer),
        })
    }

    /// `None` if there is no such file.
    pub(super) fn lock_shared(&mut self, path: &Path) -> io::Result<Option<Result<NodeId, LockedBy>>> {
        let entry = self.entry(path)?;
        let Some(node) = self.names.live().get(&entry) else {
            return Ok(None);
        };
        if self.locked.contains(&node) {
            return Ok(Some(Err(LockedBy::Writer)));
        }
        *self.shared_locks.entry(node).or_default() += 1;
        Ok(Some(Ok(node)))
    }

    pub(super) fn unlock_shared(&mut self, node: NodeId) {
        if let Some(readers) = self.shared_locks.get_mut(&node) {
            *readers -= 1;
            if *readers == 0 {
                self.shared_locks.remove(&node);
            }
        }
    }

    pub(super) fn is_locked(&mut self, path: &Path) -> io::Result<bool> {
        let entry = self.entry(path)?;
        let node = self.names.live().get(&entry);
        Ok(node.is_some_and(|node| self.locked.contains(&node)))
    }

    /// Writes the part that there is room for.
    pub(super) fn write(&mut self, node: NodeId, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset
            .checked_add(bytes.len() as u64)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let missing = self.missing_room(node, end);
        let fitting = bytes.len() - missing.min(bytes.len() as u64) as usize;
        let last_change = &mut self.last_change;
        let next_change = || {
            *last_change += 1;
            *last_change
        };
        open_file(&mut self.files, node)?.write(&bytes[..fitting], offset, next_change);
        if missing == 0 { Ok(()) } else { Err(full(path)) }
    }

    pub(super) fn set_len(&mut self, node: NodeId, path: &Path, length: u64) -> io::Result<()> {
        if self.missing_room(node, length) > 0 {
            return Err(full(path));
        }
        let change = self.next_change();
        open_file(&mut self.files, node)?.set_len(length, change);
        Ok(())
    }

    pub(super) fn allocate(&mut self, node: NodeId, path: &Path, length: u64) -> io::Result<()> {
        if self.missing_room(node, length) > 0 {
            return Err(full(path));
        }
        let change = self.next_change();
        open_file(&mut self.files, node)?.allocate(length, change);
        Ok(())
    }

    pub(super) fn release(&mut self, node: NodeId, from: u64) -> io::Result<()> {
        let last_change = &mut self.last_change;
        open_file(&mut self.files, node)?.release(from, || {
            *last_change += 1;
            *last_change
        });
        Ok(())
    }

    pub(super) fn fail_sync(&mut self, node: NodeId) -> io::Result<()> {
        let (random, outcome) = (&mut self.random, self.plan.failed_sync);
        open_file(&mut self.files, node)?.abandon(|| match outcome {
            FailedSync::MarksClean => true,
            FailedSync::MarksSomeClean => random.coin(),
            FailedSync::KeepsDirty => false,
        });
        Ok(())
    }

    pub(super) fn close(&mut self, node: NodeId, handle: HandleId) {
        if let Some(file) = self.files.get_mut(&node) {
            file.holders.close(handle);
            if self.plan.loses_what_is_closed_unsynced && !self.frozen && file.holders.handles() == 0 {
                file.abandon(|| true);
            }
        }
        self.forget_if_gone(node);
    }

    pub(super) fn unmap(&mut self, node: NodeId, length: u64) {
        if let Some(file) = self.files.get_mut(&node) {
            file.holders.unmap(length);
        }
        self.forget_if_gone(node);
    }

    /// The bytes that files and directories take. A file takes its length without the released blocks, until it has
    /// neither a name nor a holder. A directory takes its blocks. There are no other holes.
    pub(super) fn used_bytes(&self) -> u64 {
        let takes =
            |node: NodeId, file: &FileState| !file.holders.are_none() || self.names.live().has_name(node);
        let by_files: u64 = self
            .files
            .iter()
            .filter(|(node, file)| takes(**node, file))
            .map(|(_, file)| file.live().used())
            .sum();
        by_files + self.names.live().directory_bytes()
    }

    /// Checks that there is room for another block of the directory, if the name needs one.
    fn check_room_for_name(&self, entry: &Entry, path: &Path) -> io::Result<()> {
        let Some(capacity) = self.capacity else {
            return Ok(());
        };
        match self.used_bytes() + self.names.live().growth_for(entry) > capacity {
            true => Err(full(path)),
            false => Ok(()),
        }
    }

    pub(super) fn list(&mut self, path: &Path) -> io::Result<Vec<String>> {
        self.check_open_files()?;
        let node = self.directory(path)?;
        let names = self.names.live().list(node);
        Ok(names.map(|(name, _)| name.to_owned()).collect())
    }

    /// Whether one more file can be opened.
    fn check_open_files(&mut self) -> io::Result<()> {
        match self.open_file_limit {
            Some(limit) if self.open_files() >= limit => {
                self.out_of_files += 1;
                Err(io::Error::from_raw_os_error(EMFILE))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn open_files(&self) -> usize {
        self.files
            .values()
            .map(|file| file.holders.handles())
            .sum::<usize>()
            + self.locked.len()
            + self.shared_locks.values().sum::<usize>()
    }

    pub(super) fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        let node = self.node(path)?;
        Ok(match self.files.contains_key(&node) {
            true => EntryKind::File,
            false => EntryKind::Directory,
        })
    }

    fn missing_room(&self, node: NodeId, length: u64) -> u64 {
        let Some(capacity) = self.capacity else { return 0 };
        let current = self.files.get(&node).map_or(0, |file| file.live().used());
        length
            .saturating_sub(current)
            .saturating_sub(capacity.saturating_sub(self.used_bytes()))
    }

    fn forget_if_gone(&mut self, node: NodeId) {
        let is_open = self.files.get(&node).is_some_and(|file| !file.holders.are_none());
        if !is_open && !self.names.may_be_named(node) {
            self.files.remove(&node);
        }
    }

    /// The node of an existing file.
    pub(super) fn file(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.node(path)?;
        if self.files.contains_key(&node) {
            Ok(node)
        } else {
            Err(error(io::ErrorKind::IsADirectory, path))
        }
    }

    /// The node of an existing directory.
    pub(super) fn directory(&self, path: &Path) -> io::Result<NodeId> {
        let node = self.node(path)?;
        if self.files.contains_key(&node) {
            Err(error(io::ErrorKind::NotADirectory, path))
        } else {
            Ok(node)
        }
    }

    fn node(&self, path: &Path) -> io::Result<NodeId> {
        self.walk(&names_in(path)?, path)
    }

    /// The place of a name in a directory that exists.
    pub(super) fn entry(&self, path: &Path) -> io::Result<Entry> {
        let mut names = names_in(path)?;
        let Some(name) = names.pop() else {
            return Err(error(io::ErrorKind::IsADirectory, path));
        };
        let directory = self.walk(&names, path)?;
        if self.files.contains_key(&directory) {
            return Err(error(io::ErrorKind::NotADirectory, path));
        }
        Ok((directory, name.to_owned()))
    }

    fn walk(&self, names: &[&str], path: &Path) -> io::Result<NodeId> {
        names.iter().try_fold(ROOT, |directory, name| {
            if self.files.contains_key(&directory) {
                return Err(error(io::ErrorKind::NotADirectory, path));
            }
            self.names
                .live()
                .find(directory, name)
                .ok_or_else(|| error(io::ErrorKind::NotFound, path))
        })
    }
}

/// The files below `directory`, by path.
pub(super) fn walk_files(
    table: &Table,
    files: &BTreeMap<NodeId, FileState>,
    directory: NodeId,
    prefix: &Path,
    found: &mut Vec<(PathBuf, NodeId)>,
) {
    for (name, node) in table.list(directory) {
        let path = prefix.join(name);
        if files.contains_key(&node) {
            found.push((path, node));
        } else {
            walk_files(table, files, node, &path, found);
        }
    }
}

/// A file that a handle keeps.
pub(super) fn open_file(files: &mut BTreeMap<NodeId, FileState>, node: NodeId) -> io::Result<&mut FileState> {
    files.get_mut(&node).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Absolute and relative paths both begin at the one root.
fn names_in(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                names.push(
                    name.to_str()
                        .ok_or_else(|| error(io::ErrorKind::InvalidInput, path))?,
                );
            }
            Component::ParentDir | Component::Prefix(_) => {
                return Err(error(io::ErrorKind::InvalidInput, path));
            }
        }
    }
    Ok(names)
}

pub(super) fn error(kind: io::ErrorKind, path: &Path) -> io::Error {
    io::Error::new(kind, format!("{kind}: {} on the simulated disk", path.display()))
}

fn full(path: &Path) -> io::Error {
    error(io::ErrorKind::StorageFull, path)
}

fn stopped() -> io::Error {
    io::Error::other("the simulated machine has stopped")
}
