//! Whether a directory without `CURRENT` is a new store.

use std::path::Path;

use super::current::parse_manifest_name;
use crate::disk::{Disk, Step, kind_if_there, list_if_there, perform};
use crate::error::{Error, Result};

/// The file that marks a directory into which a store is being copied. Once `CURRENT` exists, the copy is whole.
pub(crate) const UNFINISHED: &str = "UNFINISHED";

/// The manifest of a copy.
pub(crate) const MANIFEST_OF_COPY: u64 = 1;

/// Whether a directory with these names has an unfinished copy. A program that has opened a store makes a journal and
/// further manifests. A directory with one of those is a store that has lost its `CURRENT`.
pub(crate) fn is_unfinished_copy(names: &[String]) -> bool {
    let has = |wanted| names.iter().any(|name| name == wanted);
    let mut manifests = names.iter().filter_map(|name| parse_manifest_name(name));
    has(UNFINISHED)
        && !has("CURRENT")
        && !has("journal")
        && manifests.all(|number| number == MANIFEST_OF_COPY)
}

/// Removes, durably, the mark of a copy that was finished all the same. Called when `CURRENT` is durable: if that is
/// lost later, the directory must not pass for a copy that may be removed.
pub(super) fn forget_copying(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let mark = directory.join(UNFINISHED);
    if kind_if_there(disk, &mark)?.is_none() {
        return Ok(());
    }
    disk.remove_file(&mark)
        .and_then(|()| disk.sync_dir(directory))
        .map_err(|error| Error::io("remove", &mark, error))
}

/// Checks that a directory without CURRENT has nothing that could be missed, so that it is a new store.
///
/// `is_first_empty` says whether the first manifest names no stream: a store that was being made has it before
/// `CURRENT`.
pub(super) fn check_nothing_is_stored(
    disk: &dyn Disk,
    directory: &Path,
    is_first_empty: impl Fn() -> bool,
) -> Result<()> {
    let list = |path: &Path| disk.list(path).map_err(|error| Error::io("list", path, error));
    let names = perform(Step::MissingCurrent, || list(directory))?;
    if is_unfinished_copy(&names) {
        return Err(Error::UnfinishedCopy {
            path: directory.to_owned(),
        });
    }
    for name in names {
        let path = directory.join(&name);
        let is_empty_of_ours = match name.as_str() {
            "LOCK" | "CURRENT.new" | UNFINISHED => true,
            "streams" => !list_if_there(disk, &path)?.iter().any(|name| is_number(name)),
            "pool" => true,
            "journal" => list_if_there(disk, &path)?.is_empty(),
            _ if is_of_the_file_system(&name) => true,
            // A repair set these files aside, so there was a store.
            "damaged" => false,
            _ => match parse_manifest_name(&name) {
                Some(1) => is_first_empty(),
                Some(_) => false,
                None => {
                    return Err(Error::NotAStore {
                        path: directory.to_owned(),
                    });
                }
            },
        };
        if !is_empty_of_ours {
            return Err(Error::bad_manifest(
                &directory.join("CURRENT"),
                0,
                "the file is missing",
            ));
        }
    }
    Ok(())
}

/// Whether a file system makes this name in directories itself.
pub(crate) fn is_of_the_file_system(name: &str) -> bool {
    name == "lost+found" || name.starts_with(".nfs")
}

/// Streams' directories are named by their numbers.
fn is_number(name: &str) -> bool {
    name.parse::<u64>().is_ok()
}
