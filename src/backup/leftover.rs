//! What an earlier copy into the same directory has left, and what else may be there.

use std::io::ErrorKind;
use std::path::Path;

use crate::catalog::manifest::{UNFINISHED, is_of_the_file_system, parse_manifest_name};
use crate::disk::{Disk, EntryKind, kind_if_there, list_if_there};
use crate::error::{Error, Result};
use crate::log::{number_of_segment, remove_if_there};
use crate::model::{LogName, StreamId};

/// Refuses a directory that has something else than an unfinished copy.
pub(super) fn check_is_free(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let names = occupants(disk, directory)?;
    let has = |wanted| names.iter().any(|name| name == wanted);
    match names.is_empty() || has(UNFINISHED) && !has("CURRENT") {
        true => Ok(()),
        false => Err(not_empty(directory)),
    }
}

/// Removes an unfinished copy, but for what says that it is one. Removes only what a copy makes.
///
/// # Errors
/// [`Error::NotEmpty`] if anything else is there.
pub(super) fn remove_leftover(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let streams = directory.join("streams");
    for stream in list_if_there(disk, &streams)? {
        let stream = streams.join(stream);
        for log in list_if_there(disk, &stream)? {
            if LogName::in_stream(ANY_STREAM, &log).is_some() {
                remove_log(disk, &stream.join(log))?;
            }
        }
        remove_empty(disk, &stream)?;
    }
    remove_empty(disk, &streams)?;
    // An opener makes it before it finds that this is no store.
    remove_empty(disk, &directory.join("pool"))?;
    for name in occupants(disk, directory)? {
        if name == "CURRENT.new" || parse_manifest_name(&name).is_some() {
            remove_if_there(disk, &directory.join(name))?;
        }
    }
    match occupants(disk, directory)?.iter().all(|name| name == UNFINISHED) {
        true => Ok(()),
        false => Err(not_empty(directory)),
    }
}

/// The directories of logs are called the same in all streams.
const ANY_STREAM: StreamId = StreamId::new(0);

/// What there is besides what does not count: the lock, which the copy takes itself, and what file systems make.
fn occupants(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>> {
    let names = match disk.list(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|error| Error::io("list", directory, error))?,
    };
    let counts = |name: &String| name != "LOCK" && !is_of_the_file_system(name);
    Ok(names.into_iter().filter(counts).collect())
}

fn remove_log(disk: &dyn Disk, directory: &Path) -> Result<()> {
    for name in list_if_there(disk, directory)? {
        let path = directory.join(&name);
        if number_of_segment(&name).is_some() && kind_if_there(disk, &path)? == Some(EntryKind::File) {
            remove_if_there(disk, &path)?;
        }
    }
    remove_empty(disk, directory)
}

/// Removes a directory unless something is in it.
fn remove_empty(disk: &dyn Disk, directory: &Path) -> Result<()> {
    if kind_if_there(disk, directory)? != Some(EntryKind::Directory) {
        return Ok(());
    }
    match disk.remove_dir(directory) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(Error::io("remove", directory, error))
        }
        _ => Ok(()),
    }
}

fn not_empty(directory: &Path) -> Error {
    Error::NotEmpty {
        path: directory.to_owned(),
    }
}
