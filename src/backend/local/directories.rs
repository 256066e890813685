//! The directories of a store.

use std::path::Path;

use crate::disk::Disk;
use crate::error::{Error, Result};

/// Checks that the path is an existing directory.
pub(super) fn check_is_directory(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let listed = disk.list(directory);
    listed
        .map(drop)
        .map_err(|error| Error::io("open", directory, error))
}

/// The error for a directory without a store that should only be read.
pub(super) fn no_store_to_read(directory: &Path) -> Error {
    Error::io(
        "open",
        &directory.join("CURRENT"),
        std::io::ErrorKind::NotFound.into(),
    )
}

/// Makes the directories in it. Their names become durable when the catalog is opened, which syncs the directory first.
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
