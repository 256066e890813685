//! The directories of a store, and how their names become durable.

use std::path::Path;

use crate::disk::{Disk, Step, perform};
use crate::error::{Error, Result};

/// Checks that there is a directory to be read.
pub(super) fn check_is_directory(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let listed = disk.list(directory);
    listed
        .map(drop)
        .map_err(|error| Error::io("open", directory, error))
}

/// What is told of a directory where nothing was stored yet, if it is only to be read.
pub(super) fn no_store_to_read(directory: &Path) -> Error {
    Error::io(
        "open",
        &directory.join("CURRENT"),
        std::io::ErrorKind::NotFound.into(),
    )
}

/// Makes the store's directory and those above it.
pub(super) fn make_directory(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let cannot = |error| Error::io("make the directory", directory, error);
    match disk.create_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match parent_of(directory) {
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
/// killed before it came to this, so those that exist are synced too. Only a new store needs it: what is stored in an
/// old one shows that its names are durable.
pub(super) fn sync_ancestors(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let mut directory = directory;
    while let Some(parent) = parent_of(directory) {
        match perform(Step::AncestorsSync, || disk.sync_dir(parent)) {
            // A directory of another user is theirs to make durable.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(()),
            other => other.map_err(|error| Error::io("sync the directory", parent, error))?,
        }
        directory = parent;
    }
    Ok(())
}

fn parent_of(path: &Path) -> Option<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(Path::new(".")).filter(|dot| *dot != path),
        parent => parent,
    }
}

/// Their names become durable when the catalog is opened, which syncs the directory first.
pub(super) fn make_subdirectories(disk: &dyn Disk, directory: &Path) -> Result<()> {
    for name in ["streams", "pool"] {
        match disk.create_dir(&directory.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::preparing("make a directory in", directory, error));
            }
            _ => {}
        }
    }
    Ok(())
}
