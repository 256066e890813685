//! The directory into which a store is copied.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::copied::{Copied, Sharing};
use super::leftover::{check_is_free, remove_leftover};
use crate::catalog::CatalogState;
use crate::catalog::manifest::{UNFINISHED, name_manifest_of_copy, write_manifest_of_copy};
use crate::disk::{
    Disk, DiskFile, LockError, LockGuard, OpenMode, Step, make_directory, perform, sync_ancestors,
};
use crate::error::{Error, Result};
use crate::log::{LogIdentity, LogPosition, PAGE_BYTES, SegmentEntry, remove_if_there};
use crate::model::LogName;

/// The bytes of one step of copying.
const COPY_BYTES: u64 = 1024 * 1024;

/// A copy that is being made. If it is dropped before it is finished, it is removed.
#[derive(Debug)]
pub(crate) struct Destination {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    sharing: Sharing,
    /// Parents first.
    directories: BTreeSet<PathBuf>,
    segments: BTreeMap<PathBuf, CopiedSegment>,
    is_finished: bool,
    _lock: Box<dyn LockGuard>,
}

#[derive(Clone, Copy, Debug)]
struct CopiedSegment {
    entry: SegmentEntry,
    /// The end of the frames that it has.
    end: LogPosition,
    is_shared: bool,
}

/// A segment of the store to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SegmentSource<'a> {
    pub(crate) log: LogIdentity,
    pub(crate) entry: SegmentEntry,
    pub(crate) path: &'a Path,
    /// The end of its frames, or the end that they will have in the copy.
    pub(crate) end: LogPosition,
}

impl SegmentSource<'_> {
    /// The offset in the file of the end of the copy's frames.
    fn frames_end(&self) -> u64 {
        self.entry.offset_of(self.end).min(self.entry.bytes)
    }
}

impl Destination {
    /// Reserves a directory, which is made if it does not exist, and removes the rest of an unfinished copy from it.
    ///
    /// # Errors
    /// [`Error::NotEmpty`], [`Error::Locked`].
    pub(crate) fn begin(disk: &Arc<dyn Disk>, directory: &Path, sharing: Sharing) -> Result<Self> {
        // Checked first, so that a directory with other contents gets no lock file.
        check_is_free(disk.as_ref(), directory)?;
        make_directory(disk.as_ref(), directory)?;
        let lock_path = directory.join("LOCK");
        let lock = disk.lock(&lock_path).map_err(|error| match error {
            LockError::Held(holder) => Error::Locked {
                path: lock_path.clone(),
                holder,
            },
            LockError::Io(error) => Error::io("lock", &lock_path, error),
        })?;
        check_is_free(disk.as_ref(), directory)?;
        let destination = Self {
            disk: disk.clone(),
            directory: directory.to_owned(),
            sharing,
            directories: BTreeSet::new(),
            segments: BTreeMap::new(),
            is_finished: false,
            _lock: lock,
        };
        destination.mark_unfinished()?;
        remove_leftover(disk.as_ref(), directory)?;
        Ok(destination)
    }

    fn mark_unfinished(&self) -> Result<()> {
        let path = self.directory.join(UNFINISHED);
        let disk = self.disk.as_ref();
        let file = (disk.open(&path, OpenMode::Truncate))
            .map_err(|error| Error::preparing("create", &path, error))?;
        perform(Step::UnfinishedSync, || {
            file.sync_data().and_then(|()| disk.sync_dir(&self.directory))
        })
        .map_err(|error| Error::preparing("sync", &path, error))?;
        sync_ancestors(disk, &self.directory)
    }

    /// Whether this segment is in the copy already, with frames up to that end.
    pub(crate) fn has(&self, source: &SegmentSource<'_>) -> bool {
        let known = self.segments.get(&self.path_of(source.log.name, &source.entry));
        known.is_some_and(|known| known.entry == source.entry && (known.is_shared || known.end == source.end))
    }

    /// Shares a segment that is no longer written to. False if that is not possible, or not wanted.
    ///
    /// # Errors
    /// There is no such file, or it is not this segment.
    pub(crate) fn share(&mut self, source: &SegmentSource<'_>) -> Result<bool> {
        let SegmentSource { log, entry, path, .. } = source;
        if self.sharing == Sharing::Nothing {
            return Ok(false);
        }
        let copy = self.make_place(log.name, entry)?;
        match self.disk.share(path, &copy) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::StorageFull) => {
                return Err(Error::preparing("share", path, error));
            }
            Err(_) => return Ok(false),
        }
        let checked = self.check_shared(source, &copy);
        self.note(copy, source, true, checked)?;
        Ok(true)
    }

    fn check_shared(&self, source: &SegmentSource<'_>, copy: &Path) -> Result<()> {
        let file = (self.disk.open(copy, OpenMode::Read)).map_err(|error| Error::io("open", copy, error))?;
        (source.entry).verify_file(source.log, file.as_ref(), source.path)?;
        // A clone is a separate file, which is not more durable than any other.
        perform(Step::BackupFileSync, || file.sync_data())
            .map_err(|error| Error::preparing("sync", copy, error))
    }

    /// Writes a segment with the frames up to the given end, and zeros behind it.
    ///
    /// # Errors
    /// The file cannot be read that far, or the copy cannot be written.
    pub(crate) fn copy(&mut self, source: &SegmentSource<'_>, file: &dyn DiskFile) -> Result<()> {
        let copy = self.make_place(source.log.name, &source.entry)?;
        let written = self.write(source, file, &copy);
        self.note(copy, source, false, written)
    }

    fn write(&self, source: &SegmentSource<'_>, file: &dyn DiskFile, copy: &Path) -> Result<()> {
        let SegmentSource { log, entry, path, .. } = source;
        let cannot = |error| Error::preparing("write", copy, error);
        let written = self.disk.open(copy, OpenMode::CreateNew).map_err(cannot)?;
        written
            .write_all_at(&entry.encode_header(*log), 0)
            .map_err(cannot)?;
        let frames_end = source.frames_end();
        let mut done = PAGE_BYTES;
        while done < frames_end {
            let mut buffer = vec![0; COPY_BYTES.min(frames_end - done) as usize];
            file.read_exact_at(&mut buffer, done)
                .map_err(|error| Error::unreadable(path, done, error))?;
            written.write_all_at(&buffer, done).map_err(cannot)?;
            done += buffer.len() as u64;
        }
        // The rest of the file is a hole, which takes no room.
        written.set_len(entry.bytes).map_err(cannot)?;
        perform(Step::BackupFileSync, || written.sync_data()).map_err(cannot)
    }

    /// Writes the manifest, durably, and makes all names durable. The copy then has what this state names, and nothing
    /// else. Only [`finish`](Self::finish) remains to be called.
    pub(crate) fn write_manifest(&mut self, state: &CatalogState) -> Result<()> {
        self.remove_unnamed(state)?;
        for directory in self.directories.iter().rev() {
            perform(Step::BackupNamesSync, || self.disk.sync_dir(directory))
                .map_err(|error| Error::preparing("sync the directory", directory, error))?;
        }
        perform(Step::BackupNamesSync, || self.disk.sync_dir(&self.directory))
            .map_err(|error| Error::preparing("sync the directory", &self.directory, error))?;
        write_manifest_of_copy(&self.disk, &self.directory, state)
    }

    /// Makes it a store.
    pub(crate) fn finish(mut self, state: &CatalogState) -> Result<Copied> {
        name_manifest_of_copy(self.disk.as_ref(), &self.directory)?;
        self.is_finished = true;
        // It has no effect beside CURRENT, so it may come back after a crash.
        remove_if_there(self.disk.as_ref(), &self.directory.join(UNFINISHED))?;
        (self.disk.sync_dir(&self.directory))
            .map_err(|error| Error::io("sync the directory", &self.directory, error))?;
        let mut copied = Copied {
            streams: state.streams().len() as u64,
            segments: self.segments.len() as u64,
            ..Copied::default()
        };
        for segment in self.segments.values() {
            match segment.is_shared {
                true => {
                    copied.shared_segments += 1;
                    copied.shared_bytes += segment.entry.bytes;
                }
                false => {
                    copied.written_bytes += segment.entry.offset_of(segment.end).min(segment.entry.bytes);
                }
            }
        }
        Ok(copied)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn path_of(&self, log: LogName, entry: &SegmentEntry) -> PathBuf {
        let stream = log.stream().map(|stream| stream.to_string());
        let streams = self.directory.join("streams").join(stream.unwrap_or_default());
        streams.join(log.directory_name()).join(entry.file_name())
    }

    /// Makes the directories of a segment's file, and removes an existing file of its name: that may be a file of the
    /// store, which must not be written to.
    fn make_place(&mut self, log: LogName, entry: &SegmentEntry) -> Result<PathBuf> {
        let path = self.path_of(log, entry);
        let above: Vec<_> = path.ancestors().skip(1).collect();
        let below_destination = above
            .iter()
            .rev()
            .filter(|above| above.starts_with(&self.directory));
        for directory in below_destination.skip(1) {
            if self.directories.contains(*directory) {
                continue;
            }
            match self.disk.create_dir(directory) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::preparing("make the directory", directory, error));
                }
                _ => {
                    self.directories.insert(directory.to_path_buf());
                }
            }
        }
        self.segments.remove(&path);
        remove_if_there(self.disk.as_ref(), &path)?;
        Ok(path)
    }

    /// Notes a segment, or removes its file after a failure.
    fn note(
        &mut self,
        path: PathBuf,
        source: &SegmentSource<'_>,
        is_shared: bool,
        made: Result<()>,
    ) -> Result<()> {
        if made.is_err() {
            let _ = self.disk.remove_file(&path);
            return made;
        }
        let segment = CopiedSegment {
            entry: source.entry,
            end: source.end,
            is_shared,
        };
        self.segments.insert(path, segment);
        Ok(())
    }

    /// Removes segments that the store has freed since they were copied.
    fn remove_unnamed(&mut self, state: &CatalogState) -> Result<()> {
        let mut named = BTreeSet::new();
        for (name, log) in state.logs() {
            named.extend(log.segments.iter().map(|entry| self.path_of(name, entry)));
        }
        let unnamed: Vec<_> = (self.segments.keys())
            .filter(|path| !named.contains(*path))
            .cloned()
            .collect();
        for path in unnamed {
            remove_if_there(self.disk.as_ref(), &path)?;
            self.segments.remove(&path);
        }
        Ok(())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.is_finished {
            // If that fails, the next copy does it.
            let _ = self.give_up();
        }
    }
}

impl Destination {
    /// Removes everything that was made, and last the mark of an unfinished copy. A copy that has got its name stays.
    fn give_up(&self) -> Result<()> {
        let disk = self.disk.as_ref();
        check_is_free(disk, &self.directory)?;
        remove_leftover(disk, &self.directory)?;
        (disk.sync_dir(&self.directory))
            .map_err(|error| Error::io("sync the directory", &self.directory, error))?;
        remove_if_there(disk, &self.directory.join(UNFINISHED))
    }
}
