//! Removing the leftovers of earlier openers of the store.
//!
//! Files are removed after the edit that takes them out of the catalog, so a crash in between leaves files that nothing
//! names. They have no meaning and only take room.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::garbage::{number_of_file, remove_directory, remove_file_of_log};
use super::logs::LocalLogs;
use crate::catalog::Catalog;
use crate::disk::{EntryKind, kind_if_there, list_if_there};
use crate::error::Result;
use crate::model::{LogName, RecordNumber, StreamId};

/// Directories of streams that were deleted before the store was opened. Collected before any stream can be deleted
/// now: files of streams that are deleted later may still be read. A directory whose number no stream has had yet is
/// not touched: no edit accounts for it.
pub(super) fn leftover_streams(catalog: &Catalog, streams: &Path, in_streams: &[String]) -> Vec<PathBuf> {
    let state = catalog.read();
    let is_deleted = |name: &&String| {
        let id: Option<StreamId> = name.parse().map(StreamId::new).ok();
        id.is_some_and(|id| {
            id < state.next_stream() && state.stream(id).is_none() && id.to_string() == **name
        })
    };
    let deleted = in_streams.iter().filter(is_deleted);
    deleted.map(|name| streams.join(name)).collect()
}

impl LocalLogs {
    /// Removes the leftovers from before the store was opened, in the first round of house-keeping that can.
    pub(super) fn sweep_once(&self) -> Result<()> {
        if self.is_swept.load(Ordering::Acquire) {
            return Ok(());
        }
        // A file that cannot be removed does not prevent other removals.
        let mut result = Ok(());
        for directory in &self.leftover_streams {
            result = result.and(remove_directory(self.disk.as_ref(), directory));
        }
        let streams: Vec<_> = self.catalog.read().streams().map(|(id, _)| id).collect();
        for stream in streams {
            result = result.and(self.sweep_stream(stream));
        }
        self.is_swept.store(result.is_ok(), Ordering::Release);
        result
    }

    /// Removes directories of expired shards and deleted queues, and segments that were trimmed. Later trimming and
    /// expiry remove their own files, later in this round or in another one.
    fn sweep_stream(&self, id: StreamId) -> Result<()> {
        let directory = self.streams_directory().join(id.to_string());
        // Listed before the catalog is read, since a shard is in the catalog before its directory exists.
        for name in list_if_there(self.disk.as_ref(), &directory)? {
            let Some(log) = LogName::in_stream(id, &name) else {
                continue;
            };
            let segments = match self.catalog.read().stream(id) {
                Some(stream) => match stream.log(log) {
                    Some(log) => Some(log.segments.clone()),
                    // No edit accounts for it.
                    None if !stream.has_had(log) => continue,
                    None => None,
                },
                // Deleted meanwhile: the thread that deleted it removes its files.
                None => return Ok(()),
            };
            let path = directory.join(name);
            // Files that were removed from the catalog since the store was opened may still be read.
            if self.garbage.lock().iter().any(|garbage| garbage.has(&path)) {
                continue;
            }
            if kind_if_there(self.disk.as_ref(), &path)? != Some(EntryKind::Directory) {
                continue;
            }
            match segments.as_deref() {
                None => remove_directory(self.disk.as_ref(), &path)?,
                Some([first, ..]) => self.remove_segments_before(&path, first.first_record)?,
                Some([]) => {}
            }
        }
        Ok(())
    }

    fn remove_segments_before(&self, directory: &Path, first: RecordNumber) -> Result<()> {
        for name in list_if_there(self.disk.as_ref(), directory)? {
            let is_read = |name: &str| {
                let path = directory.join(name);
                self.garbage.lock().iter().any(|garbage| garbage.has(&path))
            };
            if number_of_file(&name).is_some_and(|number| number < first) && !is_read(&name) {
                remove_file_of_log(self.disk.as_ref(), directory, &name)?;
            }
        }
        Ok(())
    }
}
