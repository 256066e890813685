//! Removing what earlier openers of the store left behind.
//!
//! Files go after the edit that takes them out of the catalog, so a crash in between leaves files that nothing names.
//! They mean nothing; they only take room.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use super::core::StoreCore;
use crate::catalog::Catalog;
use crate::disk::{Disk, list_if_there};
use crate::error::{Error, Result};
use crate::model::{RecordNumber, ShardId, StreamId};

/// Directories of streams that had been deleted before the store was opened. Looked for before anybody can delete one:
/// files of streams that are deleted later may still be read. What no edit accounts for is not touched: a number that no
/// stream has had yet is in no deletion.
pub(super) fn leftover_streams(disk: &dyn Disk, catalog: &Catalog, streams: &Path) -> Result<Vec<PathBuf>> {
    let state = catalog.read();
    let is_deleted = |name: &String| {
        let id = name.parse().map(StreamId::new).ok();
        id.is_some_and(|id| id < state.next_stream() && state.stream(id).is_none())
    };
    let names = list_if_there(disk, streams)?;
    Ok(names
        .iter()
        .filter(|name| is_deleted(name))
        .map(|name| streams.join(name))
        .collect())
}

impl StoreCore {
    /// Removes what is left over from before the store was opened, in the first round of house-keeping that can.
    pub(super) fn sweep_once(&self) -> Result<()> {
        if self.is_swept.load(Ordering::Acquire) {
            return Ok(());
        }
        for directory in &self.leftover_streams {
            self.remove_directory(directory)?;
        }
        let streams: Vec<_> = self.catalog.read().streams().map(|(id, _)| id).collect();
        for stream in streams {
            self.sweep_stream(stream)?;
        }
        self.is_swept.store(true, Ordering::Release);
        Ok(())
    }

    /// Removes directories of expired shards, and segments that were trimmed away. What is trimmed or expires from now
    /// on does so in a later part of this round, or in another one.
    fn sweep_stream(&self, id: StreamId) -> Result<()> {
        let directory = self.streams_directory().join(id.to_string());
        // Listed before the catalog is read: a shard's directory is made after the shard.
        for name in list_if_there(self.disk.as_ref(), &directory)? {
            let Ok(shard) = name.parse::<ShardId>() else {
                continue;
            };
            let segments = match self.catalog.read().stream(id) {
                Some(stream) => match stream.logs.get(&shard) {
                    Some(log) => Some(log.segments.clone()),
                    // One that is younger than all of the stream's has not expired, so no edit accounts for it.
                    None if stream.logs.keys().next_back() < Some(&shard) => continue,
                    None => None,
                },
                // Deleted meanwhile, so its files are dealt with by whoever did that.
                None => return Ok(()),
            };
            let path = directory.join(name);
            match segments.as_deref() {
                None => self.remove_directory(&path)?,
                Some([first, ..]) => self.remove_segments_before(&path, first.first_record)?,
                Some([]) => {}
            }
        }
        Ok(())
    }

    fn remove_segments_before(&self, directory: &Path, first: RecordNumber) -> Result<()> {
        for name in list_if_there(self.disk.as_ref(), directory)? {
            let number = name.split_once('.').and_then(|(number, _)| number.parse().ok());
            if number.is_some_and(|number| RecordNumber::new(number) < first) {
                let path = directory.join(name);
                self.disk
                    .remove_file(&path)
                    .map_err(|error| Error::io("remove", &path, error))?;
            }
        }
        Ok(())
    }
}
