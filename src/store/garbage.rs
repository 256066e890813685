//! Files that nobody needs any more, and how they go.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::core::StoreCore;
use crate::error::{Error, Result};
use crate::log::{Segment, ShardLog};
use crate::model::ShardId;

/// Files that the catalog does not name any more.
#[derive(Debug)]
pub(super) struct Garbage {
    segments: Vec<Arc<Segment>>,
    /// Removed with all that is in them once the segments are gone.
    directories: Vec<PathBuf>,
}

impl Garbage {
    pub(super) fn of_segments(segments: Vec<Arc<Segment>>) -> Self {
        Self {
            segments,
            directories: Vec::new(),
        }
    }

    pub(super) fn of_log(directory: PathBuf, log: &ShardLog) -> Self {
        Self {
            segments: log.forget_all_segments(),
            directories: vec![directory],
        }
    }

    pub(super) fn of_stream(directory: PathBuf, logs: &[(ShardId, Arc<ShardLog>)]) -> Self {
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

/// Recycles or removes the files that nobody reads, one at a time: freeing the blocks of a large file stalls every
/// sync on the disk.
pub(super) fn empty_garbage(core: &StoreCore) -> Result<()> {
    let garbage = std::mem::take(&mut *core.garbage.lock());
    let mut kept = Vec::new();
    let mut result = Ok(());
    for mut heap in garbage {
        if result.is_ok() {
            result = empty_heap(core, &mut heap);
        }
        if result.is_err() || !heap.segments.is_empty() {
            kept.push(heap);
        }
    }
    core.garbage.lock().append(&mut kept);
    result
}

fn empty_heap(core: &StoreCore, heap: &mut Garbage) -> Result<()> {
    let mut at = 0;
    while let Some(segment) = heap.segments.get(at) {
        match segment.retire(&core.context.pool, core.disk.as_ref())? {
            true => drop(heap.segments.swap_remove(at)),
            false => at += 1,
        }
    }
    if heap.segments.is_empty() {
        for directory in heap.directories.drain(..) {
            core.remove_directory(&directory)?;
        }
    }
    Ok(())
}

impl StoreCore {
    /// Removes what is in an interrupted log's directory without being named by the catalog: what was being made
    /// when the process ended.
    pub(super) fn remove_unnamed_files(&self, log: &ShardLog) -> Result<()> {
        let directory = log.directory();
        let names = match self.disk.list(directory) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("list", directory, error)),
        };
        for name in names.iter().filter(|name| !log.names_file(name)) {
            let path = directory.join(name);
            self.disk
                .remove_file(&path)
                .map_err(|error| Error::io("remove", &path, error))?;
        }
        Ok(())
    }

    /// Removes a directory of segments, or of directories of segments.
    pub(super) fn remove_directory(&self, directory: &Path) -> Result<()> {
        let names = match self.disk.list(directory) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("list", directory, error)),
        };
        for name in names {
            let path = directory.join(&name);
            let is_file = name.ends_with(".log") || name.ends_with(".index");
            match is_file {
                true => self
                    .disk
                    .remove_file(&path)
                    .map_err(|error| Error::io("remove", &path, error))?,
                false => self.remove_directory(&path)?,
            }
        }
        self.disk
            .remove_dir(directory)
            .map_err(|error| Error::io("remove", directory, error))
    }
}
