//! Keeps a copy outside its store.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, parent_of};
use crate::error::{Error, InvalidArgument, Result};

/// Refuses a destination inside the directory of the copied store, or around it. One would be a part of the other, and
/// would be moved or removed with it.
pub(crate) fn check_is_apart(disk: &dyn Disk, source: &Path, destination: &Path) -> Result<()> {
    let (from, to) = (resolved(disk, source)?, resolved(disk, destination)?);
    // If the two are the same, the error is that for every directory that is not empty.
    match from != to && (from.starts_with(&to) || to.starts_with(&from)) {
        true => Err(InvalidArgument::CopyInside {
            store: source.to_owned(),
            destination: destination.to_owned(),
        }
        .into()),
        false => Ok(()),
    }
}

/// The place that a path leads to. Its last parts need not exist.
fn resolved(disk: &dyn Disk, path: &Path) -> Result<PathBuf> {
    match disk.resolve(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => match (parent_of(path), path.file_name()) {
            (Some(parent), Some(name)) => Ok(resolved(disk, parent)?.join(name)),
            _ => Err(Error::io("find", path, error)),
        },
        resolved => resolved.map_err(|error| Error::io("find", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    #[test]
    fn only_directories_beside_each_other_are_apart() {
        let place = tempfile::tempdir().unwrap();
        let at = |path: &str| place.path().join(path);
        std::fs::create_dir_all(at("store/streams")).unwrap();
        std::fs::create_dir(at("other")).unwrap();
        std::os::unix::fs::symlink(at("store"), at("link")).unwrap();
        for (destination, is_apart) in [
            ("other", true),
            ("new", true),
            ("new/deep", true),
            ("store-2", true),
            ("store/../new", true),
            ("store", true),
            ("store/inside", false),
            ("store/inside/deep", false),
            ("other/../store/inside", false),
            ("link/inside", false),
            ("store/streams/../inside", false),
            (".", false),
            ("store/..", false),
        ] {
            let checked = check_is_apart(&OsDisk, &at("store"), &at(destination));
            assert_eq!(checked.is_ok(), is_apart, "{destination}: {checked:?}");
        }
    }
}
