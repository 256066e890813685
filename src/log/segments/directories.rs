//! The directories that segments are in.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, Step, perform};
use crate::error::{Error, Result};
use crate::log::format::identity::LogIdentity;

/// Makes, durably, the directories of logs that get their first segment, and those above them. Gives each log's
/// outcome, in their order.
pub(crate) fn make_directories(disk: &dyn Disk, new: &[Option<LogDirectory>]) -> Vec<Result<()>> {
    let mut directories = Directories::new(disk);
    // From the top down: a directory is durable before anything is made in it.
    let streams = new.iter().flatten().filter_map(|new| new.stream.as_ref());
    directories.make(streams, Step::StreamDirectorySync);
    let shards = new.iter().flatten().filter(|new| new.stream.is_some());
    directories.make(shards.map(|new| &new.own), Step::ShardDirectorySync);
    let journals = new.iter().flatten().filter(|new| new.stream.is_none());
    directories.make(journals.map(|new| &new.own), Step::JournalDirectorySync);
    new.iter()
        .map(|new| new.as_ref().map_or(Ok(()), |new| directories.outcome(new)))
        .collect()
}

/// Makes a shard's directory, and the stream's above it, durably.
pub(crate) fn make_directory(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let mut directories = Directories::new(disk);
    let new = LogDirectory {
        own: directory.to_owned(),
        stream: directory.parent().map(Path::to_owned),
    };
    directories.make(new.stream.iter(), Step::StreamDirectorySync);
    directories.make(std::iter::once(&new.own), Step::ShardDirectorySync);
    directories.outcome(&new)
}

/// The directory of a log's segments.
pub(crate) struct LogDirectory {
    own: PathBuf,
    /// The stream's directory above it. The commit journal has none.
    stream: Option<PathBuf>,
}

impl LogDirectory {
    pub(crate) fn of(log: LogIdentity, directory: &Path) -> Self {
        let stream = directory.parent().map(Path::to_owned);
        Self {
            own: directory.to_owned(),
            stream: stream.filter(|_| !log.is_commit_journal()),
        }
    }
}

/// Directories that were made, each with its outcome.
struct Directories<'a> {
    disk: &'a dyn Disk,
    outcomes: BTreeMap<PathBuf, Result<()>>,
}

impl<'a> Directories<'a> {
    fn new(disk: &'a dyn Disk) -> Self {
        Self {
            disk,
            outcomes: BTreeMap::new(),
        }
    }

    /// Makes missing directories, and makes their names durable.
    fn make<'p>(&mut self, paths: impl Iterator<Item = &'p PathBuf>, sync: Step) {
        let paths: BTreeSet<_> = paths.collect();
        let mut parents: BTreeMap<&Path, Result<()>> = BTreeMap::new();
        for path in &paths {
            let parent = path.parent().unwrap_or(path);
            let made = match self.outcomes.get(parent) {
                Some(Err(error)) => Err(error.clone()),
                _ => create_dir_if_missing(self.disk, path),
            };
            if made.is_ok() {
                parents.entry(parent).or_insert(Ok(()));
            }
            self.outcomes.insert((*path).clone(), made);
        }
        for (parent, outcome) in &mut parents {
            *outcome =
                perform(sync, || self.disk.sync_dir(parent)).map_err(|error| cannot_make(parent, error));
        }
        for path in &paths {
            let parent = path.parent().unwrap_or(path);
            if parents.get(parent).is_some_and(Result::is_err) {
                // A later call makes it again, so that there is something new to sync.
                let _ = self.disk.remove_dir(path);
            }
        }
        for path in paths {
            let parent = path.parent().unwrap_or(path);
            if let (Some(Err(error)), Some(made)) = (parents.get(parent), self.outcomes.get_mut(path)) {
                *made = Err(error.clone());
            }
        }
    }

    fn outcome(&self, directory: &LogDirectory) -> Result<()> {
        self.outcomes.get(&directory.own).cloned().unwrap_or(Ok(()))
    }
}

fn create_dir_if_missing(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(|error| cannot_make(path, error)),
    }
}

fn cannot_make(path: &Path, error: std::io::Error) -> Error {
    Error::preparing("make the directory", path, error)
}
