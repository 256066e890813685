//! Files that are no longer needed, and their removal.
//!
//! Only files that a store makes are removed, recognised by name and kind. Foreign ones in a store's directories
//! (`lost+found`, a link, a copy of a file) stay, with their directories, and do not prevent other removals.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, EntryKind, OpenMode, ReadablePages, kind_if_there, list_if_there};
use crate::error::{Error, Result};
use crate::log::{
    LocalLog, Segment, SegmentPool, UnnamedFile, examine_unnamed, holds_frame, number_of_segment,
};
use crate::model::{LogName, RecordNumber, StreamId};
use crate::sync::Mutex;

/// Files that the catalog no longer names.
#[derive(Debug)]
pub(super) struct Garbage {
    segments: Vec<Arc<Segment>>,
    /// Removed with their contents once the segments are removed.
    directories: Vec<PathBuf>,
}

impl Garbage {
    pub(super) fn of_segments(segments: Vec<Arc<Segment>>) -> Self {
        Self {
            segments,
            directories: Vec::new(),
        }
    }

    pub(super) fn of_log(directory: PathBuf, log: &LocalLog) -> Self {
        Self {
            segments: log.forget_all_segments(),
            directories: vec![directory],
        }
    }

    pub(super) fn of_stream(directory: PathBuf, logs: &[(LogName, Arc<LocalLog>)]) -> Self {
        let segments = logs
            .iter()
            .flat_map(|(_, log)| log.forget_all_segments())
            .collect();
        Self {
            segments,
            directories: vec![directory],
        }
    }
}

impl Garbage {
    /// Whether a segment, or a whole directory, waits here until no reader has it.
    pub(super) fn has(&self, path: &Path) -> bool {
        let is_segment = self.segments.iter().any(|segment| segment.path == path);
        is_segment || self.directories.iter().any(|directory| directory == path)
    }
}

/// Recycles or removes the files without readers, one at a time: freeing the blocks of a large file stalls every sync
/// on the disk. A file that cannot be removed is tried again in the next round, and does not prevent other removals.
pub(super) fn empty_garbage(
    garbage: &Mutex<Vec<Garbage>>,
    pool: &SegmentPool,
    disk: &dyn Disk,
) -> Result<()> {
    let heaps = std::mem::take(&mut *garbage.lock());
    let mut kept = Vec::new();
    let mut result = Ok(());
    for mut heap in heaps {
        let emptied = empty_heap(&mut heap, pool, disk);
        if emptied.is_err() || !heap.segments.is_empty() {
            kept.push(heap);
        }
        result = result.and(emptied);
    }
    garbage.lock().append(&mut kept);
    result
}

fn empty_heap(heap: &mut Garbage, pool: &SegmentPool, disk: &dyn Disk) -> Result<()> {
    let mut at = 0;
    while let Some(segment) = heap.segments.get(at) {
        match segment.retire(pool, disk)? {
            true => drop(heap.segments.swap_remove(at)),
            false => at += 1,
        }
    }
    if heap.segments.is_empty() {
        while let Some(directory) = heap.directories.last() {
            remove_directory(disk, directory)?;
            heap.directories.pop();
        }
    }
    Ok(())
}

/// Removes the files in a log's directory that the catalog does not name: files that were being made when the process
/// ended, and segments before a number, which were dropped. Others that have frames, or may have some, stay: no edit
/// accounts for them.
pub(super) fn remove_unnamed_files(
    disk: &Arc<dyn Disk>,
    log: &LocalLog,
    dropped_before: RecordNumber,
) -> Result<()> {
    let directory = log.directory();
    for name in list_if_there(disk.as_ref(), directory)? {
        let is_kept = match number_of_segment(&name) {
            _ if log.names_file(&name) => true,
            Some(number) if number >= dropped_before => may_hold_frames(disk, &directory.join(&name))?,
            _ => false,
        };
        if !is_kept {
            remove_file_of_log(disk.as_ref(), directory, &name)?;
        }
    }
    Ok(())
}

fn may_hold_frames(disk: &Arc<dyn Disk>, path: &Path) -> Result<bool> {
    if kind_if_there(disk.as_ref(), path)? != Some(EntryKind::File) {
        return Ok(false);
    }
    let cannot = |operation| move |error| Error::io(operation, path, error);
    let file = match disk.open(path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => Arc::new(ReadablePages::new(opened.map_err(cannot("open"))?)),
    };
    Ok(match examine_unnamed(&file).map_err(cannot("measure"))? {
        UnnamedFile::Segment(log, entry) => holds_frame(&file, log, &entry).map_err(cannot("read"))?,
        UnnamedFile::Unbegun => false,
        UnnamedFile::Damaged | UnnamedFile::UnknownEncoding { .. } => true,
    })
}

/// Directories are named alike in all streams.
const ANY_STREAM: StreamId = StreamId::new(0);

/// Removes a directory of segments, or of directories of segments, unless something else is in it.
pub(super) fn remove_directory(disk: &dyn Disk, directory: &Path) -> Result<()> {
    if kind_if_there(disk, directory)? != Some(EntryKind::Directory) {
        return Ok(());
    }
    for name in list_if_there(disk, directory)? {
        match LogName::in_stream(ANY_STREAM, &name) {
            Some(_) => remove_directory(disk, &directory.join(&name))?,
            None => remove_file_of_log(disk, directory, &name)?,
        }
    }
    match disk.remove_dir(directory) {
        Ok(()) => Ok(()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(Error::io("remove", directory, error)),
    }
}

/// Removes a file if its name is one that logs give.
pub(super) fn remove_file_of_log(disk: &dyn Disk, directory: &Path, name: &str) -> Result<()> {
    if number_of_file(name).is_none() {
        return Ok(());
    }
    let path = directory.join(name);
    if kind_if_there(disk, &path)? != Some(EntryKind::File) {
        return Ok(());
    }
    match disk.remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &path, error)),
        _ => Ok(()),
    }
}

/// The number in the name of a log's file: of a segment, of its index, or of a segment that a repair was writing.
pub(super) fn number_of_file(name: &str) -> Option<RecordNumber> {
    let (number, kind) = name.split_once('.')?;
    let is_ours = number.len() == NUMBER_DIGITS && ["log", "index", "mending"].contains(&kind);
    is_ours
        .then(|| number.parse().ok().map(RecordNumber::new))
        .flatten()
}

/// A segment's name is the number of its first record, with leading zeros.
const NUMBER_DIGITS: usize = 20;
