//! Whether a directory without `CURRENT` is a new store.

use std::path::Path;

use super::current::parse_manifest_name;
use crate::disk::{Disk, Step, kind_if_there, list_if_there, perform};
use crate::error::{Error, Result};

/// The file in a directory into which a store is being copied. Once there is a `CURRENT`, the copy is whole.
pub(crate) const UNFINISHED: &str = "UNFINISHED";

/// The manifest of a copy.
pub(crate) const MANIFEST_OF_COPY: u64 = 1;

/// Whether a directory that has these names has a copy that was not finished. A program that has opened a store makes a
/// journal and further manifests; with those in it, it is a store that has lost its `CURRENT`.
pub(crate) fn is_unfinished_copy(names: &[String]) -> bool {
    let has = |wanted| names.iter().any(|name| name == wanted);
    let mut manifests = names.iter().filter_map(|name| parse_manifest_name(name));
    has(UNFINISHED)
        && !has("CURRENT")
        && !has("journal")
        && manifests.all(|number| number == MANIFEST_OF_COPY)
}

/// Removes, durably, what a copy has left that was finished all the same. Called when `CURRENT` is durable: if that is
/// lost one day, the directory must not pass for a copy that may be removed.
pub(super) fn forget_copying(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let mark = directory.join(UNFINISHED);
    if kind_if_there(disk, &mark)?.is_none() {
        return Ok(());
    }
    disk.remove_file(&mark)
        .and_then(|()| disk.sync_dir(directory))
        .map_err(|error| Error::io("remove", &mark, error))
}

/// A directory without CURRENT is a new store only if nothing in it could be missed.
///
/// `is_first_empty` says whether the first manifest names no stream: a store that was being made has it before `CURRENT`.
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
            // What a repair copied aside was once something.
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

/// What file systems put into directories by themselves.
pub(crate) fn is_of_the_file_system(name: &str) -> bool {
    name == "lost+found" || name.starts_with(".nfs")
}

/// Streams' directories are called by their numbers.
fn is_number(name: &str) -> bool {
    name.parse::<u64>().is_ok()
}
