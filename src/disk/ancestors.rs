//! Making a directory and those above it, and making all their names durable.

use std::io::ErrorKind;
use std::path::Path;

use super::{Disk, Step, perform};
use crate::error::{Error, Result};

/// Makes a directory and the missing ones above it.
pub(crate) fn make_directory(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let cannot = |error| Error::io("make the directory", directory, error);
    match disk.create_dir(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => match parent_of(directory) {
            Some(parent) => {
                make_directory(disk, parent)?;
                disk.create_dir(directory).map_err(cannot)
            }
            None => Err(cannot(error)),
        },
        other => other.map_err(cannot),
    }
}

/// Makes the names of the directory and of all above it durable. An earlier opener may have made any of them and been
/// killed before its sync, so existing ones are synced too. Only a new store needs it: the contents of an old one show
/// that its names are durable.
pub(crate) fn sync_ancestors(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let mut directory = directory;
    while let Some(parent) = parent_of(directory) {
        match perform(Step::AncestorsSync, || disk.sync_dir(parent)) {
            // A directory of another user is that user's to make durable.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            other => other.map_err(|error| Error::io("sync the directory", parent, error))?,
        }
        directory = parent;
    }
    Ok(())
}

/// The directory above a path. For a single name it is the program's working directory.
pub(crate) fn parent_of(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")).filter(|dot| *dot != path),
        parent => parent,
    }
}
