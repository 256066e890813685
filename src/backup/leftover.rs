//! The rest of an earlier copy into the same directory, and foreign files there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::catalog::manifest::{
    MANIFEST_OF_COPY, UNFINISHED, is_of_the_file_system, is_unfinished_copy, parse_manifest_name,
};
use crate::disk::{Disk, EntryKind, kind_if_there, list_if_there};
use crate::error::{Error, Result};
use crate::log::{number_of_segment, remove_if_there};
use crate::model::{LogName, StreamId};

/// Refuses a directory with anything but an unfinished copy.
pub(super) fn check_is_free(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let names = occupants(disk, directory)?;
    match names.is_empty() || is_unfinished_copy(&names) {
        true => Ok(()),
        false => Err(not_empty(directory)),
    }
}

/// Removes an unfinished copy, except its mark.
///
/// # Errors
/// [`Error::NotEmpty`] if there is anything that no copy makes. Nothing is removed then.
pub(super) fn remove_leftover(disk: &dyn Disk, directory: &Path) -> Result<()> {
    let leftover = Leftover::find(disk, directory)?;
    for file in &leftover.files {
        remove_if_there(disk, file)?;
    }
    for directory in &leftover.directories {
        remove_empty(disk, directory)?;
    }
    match occupants(disk, directory)?.iter().all(|name| name == UNFINISHED) {
        true => Ok(()),
        false => Err(not_empty(directory)),
    }
}

/// The parts of an unfinished copy.
#[derive(Debug, Default)]
struct Leftover {
    files: Vec<PathBuf>,
    /// Parents last.
    directories: Vec<PathBuf>,
}

impl Leftover {
    fn find(disk: &dyn Disk, directory: &Path) -> Result<Self> {
        let mut leftover = Self::default();
        for name in occupants(disk, directory)? {
            let path = directory.join(&name);
            let is_of_a_copy = match name.as_str() {
                UNFINISHED => true,
                "streams" => leftover.take_in_streams(disk, path)?,
                // An opener makes it before it finds that this is no store.
                "pool" => leftover.take_in(disk, path, |_, _| Ok(false))?,
                "CURRENT.new" => leftover.take_in_file(disk, path)?,
                _ if parse_manifest_name(&name) == Some(MANIFEST_OF_COPY) => {
                    leftover.take_in_file(disk, path)?
                }
                _ => false,
            };
            if !is_of_a_copy {
                return Err(not_empty(directory));
            }
        }
        Ok(leftover)
    }

    fn take_in_streams(&mut self, disk: &dyn Disk, streams: PathBuf) -> Result<bool> {
        self.take_in(disk, streams, |leftover, stream| {
            leftover.take_in(disk, stream, |leftover, log| match is_log(&log) {
                true => leftover.take_in(disk, log, |leftover, segment| match is_segment(&segment) {
                    true => leftover.take_in_file(disk, segment),
                    false => Ok(false),
                }),
                false => Ok(false),
            })
        })
    }

    /// Takes in a directory, with its entries by `take_in_entry`. False if something does not belong to a copy.
    fn take_in(
        &mut self,
        disk: &dyn Disk,
        directory: PathBuf,
        mut take_in_entry: impl FnMut(&mut Self, PathBuf) -> Result<bool>,
    ) -> Result<bool> {
        if kind_if_there(disk, &directory)? != Some(EntryKind::Directory) {
            return Ok(false);
        }
        for name in list_if_there(disk, &directory)? {
            if !is_of_the_file_system(&name) && !take_in_entry(self, directory.join(name))? {
                return Ok(false);
            }
        }
        self.directories.push(directory);
        Ok(true)
    }

    fn take_in_file(&mut self, disk: &dyn Disk, path: PathBuf) -> Result<bool> {
        let is_file = kind_if_there(disk, &path)? == Some(EntryKind::File);
        self.files.push(path);
        Ok(is_file)
    }
}

/// Directories of logs are named alike in all streams.
const ANY_STREAM: StreamId = StreamId::new(0);

/// The entries that count: not the lock, which the copy itself takes, and not names that file systems make.
fn occupants(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>> {
    let names = match disk.list(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(|error| Error::io("list", directory, error))?,
    };
    let counts = |name: &String| name != "LOCK" && !is_of_the_file_system(name);
    Ok(names.into_iter().filter(counts).collect())
}

fn is_log(path: &Path) -> bool {
    name_of(path).is_some_and(|name| LogName::in_stream(ANY_STREAM, name).is_some())
}

fn is_segment(path: &Path) -> bool {
    name_of(path).and_then(number_of_segment).is_some()
}

fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
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
