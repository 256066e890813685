//! The open files of segments, limited to a set number.
//!
//! Everything that reads or writes a segment gets its file here, so the number covers readers, writers and files with
//! unsynced bytes. When another file needs a place, an unused one is closed: the one that was not used for longest
//! first, as far as the last look at all files knows, and one with unsynced bytes last. That one has to be synced
//! before, since the kernel may forget a failed write-back of a file that no process has open. Files in use are not
//! closed, so many at the same time can exceed the number. A round uses those of several logs together, and therefore
//! has a limit of its own.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::hold::HeldFile;
use super::segment::Segment;
use super::write_back::WriteBack;
use crate::disk::{Disk, DiskFile, Health, OpenMode, Step, is_left_out};
use crate::error::{Error, Result, is_out_of_files};
use crate::log::format::index::SparseIndex;
use crate::log::format::read_buffers::ReadBuffers;
use crate::model::Histogram;
use crate::seam::Tally;
use crate::sync::{Mutex, OnceLock};

/// Opens segments when they are needed, and closes those that were not used for longest.
#[derive(Debug)]
pub(crate) struct OpenSegments {
    disk: Arc<dyn Disk>,
    health: Health,
    capacity: usize,
    /// Beyond this many bytes mappings are dropped, except the one just made.
    max_mapped_bytes: u64,
    /// Buffers for reading files that are not mapped.
    pub(crate) buffers: Arc<ReadBuffers>,
    open: Mutex<LeastRecentlyUsed>,
    /// How long each sync took, in microseconds.
    sync_micros: Arc<Tally>,
}

#[derive(Debug, Default)]
struct LeastRecentlyUsed {
    by_handle: HashMap<u64, Slot, BuildHasherDefault<HandleHasher>>,
    uses: u64,
    /// The last uses and handles of files to be closed next, the oldest first. Files may have been used since.
    to_close: VecDeque<(u64, u64)>,
}

/// A look at all open files finds those to be closed next: one in so many of them. With thousands of open files, a look
/// for each one to be closed would take longer than opening a file.
const FOUND_AT_ONCE: usize = 8;

/// Every commit looks up a handle. This process assigns handles by counting, so no attacker can choose colliding ones.
#[derive(Debug, Default)]
struct HandleHasher(u64);

impl Hasher for HandleHasher {
    fn write_u64(&mut self, handle: u64) {
        // An odd factor, 2^64 divided by the golden ratio, spreads the handles over the upper bits too.
        self.0 = handle.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a handle is a `u64`");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Slot {
    segment: Arc<OpenSegment>,
    last_use: u64,
}

/// An open file that was verified to be the segment that the manifest names. It holds the segment, and so does
/// everything that has its file or bytes of its mapping.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) file: Arc<HeldFile>,
    is_writable: bool,
    path: PathBuf,
    write_back: Arc<WriteBack>,
    /// The index of a sealed segment, after the first search.
    pub(crate) index: OnceLock<SparseIndex>,
    mapping: Mutex<Option<Bytes>>,
    /// The histogram of all open segments.
    sync_micros: Arc<Tally>,
}

impl OpenSegments {
    pub(crate) fn new(disk: Arc<dyn Disk>, health: Health, capacity: usize, max_mapped_bytes: u64) -> Self {
        Self {
            disk,
            health,
            capacity: capacity.max(1),
            max_mapped_bytes,
            buffers: Arc::default(),
            open: Mutex::default(),
            sync_micros: Arc::default(),
        }
    }

    /// How long each sync since the store was opened took, in microseconds.
    pub(crate) fn sync_micros(&self) -> Histogram {
        self.sync_micros.histogram()
    }

    /// A segment's file, for reading.
    ///
    /// # Errors
    /// Also if the log no longer names the segment: a caller that took it from a list of segments looks there again.
    pub(crate) fn get_readable(&self, segment: &Segment) -> Result<Arc<OpenSegment>> {
        let open = self.open.lock().touch(segment.handle);
        match open {
            Some(open) => Ok(open),
            None => self.open(segment, OpenMode::Read),
        }
    }

    /// A segment's file, for reading and writing.
    ///
    /// # Errors
    /// As for [`get_readable`](Self::get_readable).
    pub(crate) fn get_writable(&self, segment: &Segment) -> Result<Arc<OpenSegment>> {
        let open = self.open.lock().touch(segment.handle);
        match open.filter(|open| open.is_writable) {
            Some(open) => Ok(open),
            None => self.open(segment, OpenMode::Write),
        }
    }

    fn open(&self, segment: &Segment, mode: OpenMode) -> Result<Arc<OpenSegment>> {
        // Held before it is opened, so that the file of this name is the segment's, and remains so.
        let hold = segment.hold().ok_or_else(|| segment.is_no_more())?;
        let path = &segment.path;
        self.make_place();
        let file = self
            .with_descriptor(|| self.disk.open(path, mode))
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::corrupt(path, 0, "the file is missing"),
                _ => Error::io("open", path, error),
            })?;
        let file = HeldFile::new(file, hold);
        segment.entry.verify_file(segment.log, &file, path)?;
        Ok(self.keep(segment, file, mode != OpenMode::Read))
    }

    /// Takes in a file that the caller has just made, and that is open for writing.
    pub(crate) fn insert(&self, segment: &Segment, file: Arc<dyn DiskFile>) -> Result<Arc<OpenSegment>> {
        let hold = segment.hold().ok_or_else(|| segment.is_no_more())?;
        self.make_place();
        Ok(self.keep(segment, HeldFile::new(file, hold), true))
    }

    /// Runs a call that needs a descriptor. While the process has none left, unused files are closed.
    pub(crate) fn with_descriptor<T>(
        &self,
        mut run: impl FnMut() -> std::io::Result<T>,
    ) -> std::io::Result<T> {
        loop {
            match run() {
                Err(error) if is_out_of_files(&error) && self.close_unused() => {}
                done => return done,
            }
        }
    }

    /// Closes a file that is not in use. False if there is none.
    pub(crate) fn close_unused(&self) -> bool {
        self.close_unused_of(0)
    }

    /// Closes unused files until there is room for one more, or all are in use.
    fn make_place(&self) {
        while self.close_unused_of(self.capacity) {}
    }

    /// Closes an unused file, if at least so many are open.
    fn close_unused_of(&self, least: usize) -> bool {
        loop {
            // After a failure of the store no sync makes anything durable. Open files are still read.
            let is_synced_first = self.health.check().is_ok();
            let unused = {
                let mut open = self.open.lock();
                match open.by_handle.len() >= least {
                    true => open.take_unused(is_synced_first),
                    false => None,
                }
            };
            match unused {
                Some(Unused::Closed(closed)) => {
                    // Dropped outside the lock: unmapping takes a while.
                    drop(closed);
                    return true;
                }
                // The loop looks at it again: it is synced, or the store has failed.
                Some(Unused::Unsynced(open)) => drop(open.sync(&self.health)),
                None => return false,
            }
        }
    }

    fn keep(&self, segment: &Segment, file: HeldFile, is_writable: bool) -> Arc<OpenSegment> {
        let segment_file = Arc::new(OpenSegment {
            file: Arc::new(file),
            is_writable,
            path: segment.path.clone(),
            write_back: segment.write_back.clone(),
            index: OnceLock::new(),
            mapping: Mutex::default(),
            sync_micros: self.sync_micros.clone(),
        });
        let mut open = self.open.lock();
        // Another thread may have opened it first, and written to it.
        if let Some(other) = open.touch(segment.handle)
            && (other.is_writable || !is_writable)
        {
            return other;
        }
        // Checked under this lock: a thread that forgets a segment closes its file afterwards. Otherwise the file would
        // stay here, and hold the segment, until another file takes its place.
        if !segment.is_forgotten() {
            open.insert(segment.handle, segment_file.clone());
        }
        segment_file
    }

    pub(crate) fn close(&self, segment: &Segment) {
        self.open.lock().by_handle.remove(&segment.handle);
    }

    /// The bytes of a sealed segment up to `length`, as a shared mapping.
    pub(crate) fn map(&self, segment: &Segment, open: &OpenSegment, length: u64) -> std::io::Result<Bytes> {
        if let Some(mapped) = open.mapped() {
            return Ok(mapped);
        }
        let made = Bytes::from_owner(open.file.map_held(length)?);
        let mapped = open.mapping.lock().get_or_insert(made).clone();
        let surplus = self
            .open
            .lock()
            .surplus_mappings(self.max_mapped_bytes, segment.handle);
        // Dropped outside the lock: unmapping takes a while.
        drop(surplus);
        Ok(mapped)
    }
}

impl OpenSegment {
    /// Writes, and notes that the file has to be synced.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.write_back.note_written();
        Ok(())
    }

    /// Notes that the file has to be synced: bytes that an earlier process wrote may be in the cache alone.
    pub(crate) fn note_unsynced(&self) {
        self.write_back.note_written();
    }

    /// Frees the blocks from an offset on.
    pub(crate) fn release(&self, from: u64) -> std::io::Result<()> {
        self.file.release(from)
    }

    /// Makes everything durable that was written before. A failure is final for the store.
    pub(crate) fn sync(&self, health: &Health) -> Result<()> {
        let sync = || {
            let begun = Instant::now();
            health
                .watch_sync(|| self.file.sync_data())
                .map_err(|error| health.poison("sync", &self.path, error))?;
            self.sync_micros.count_micros(begun.elapsed());
            Ok(())
        };
        self.write_back.sync(|| health.check(), sync)
    }

    /// The mapping, if there is one at present.
    pub(crate) fn mapped(&self) -> Option<Bytes> {
        self.mapping.lock().clone()
    }

    /// Whether there is no other owner. The caller excludes new owners.
    fn is_unused(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1 && Arc::strong_count(&self.file) == 1
    }

    fn mapped_bytes(&self) -> u64 {
        let mapping = self.mapping.lock();
        mapping.as_ref().map_or(0, Bytes::len) as u64
    }
}

impl Slot {
    /// Whether the file can be closed at once.
    fn is_closable(&self) -> bool {
        self.segment.is_unused() && self.segment.write_back.is_done()
    }
}

/// A file that is not in use, taken to be closed.
enum Unused {
    /// It was removed from the list.
    Closed(Slot),
    /// It has to be synced first, and stays in the list meanwhile.
    Unsynced(Arc<OpenSegment>),
}

impl LeastRecentlyUsed {
    fn touch(&mut self, handle: u64) -> Option<Arc<OpenSegment>> {
        self.uses += 1;
        let slot = self.by_handle.get_mut(&handle)?;
        slot.last_use = self.uses;
        Some(slot.segment.clone())
    }

    fn insert(&mut self, handle: u64, segment: Arc<OpenSegment>) {
        self.uses += 1;
        self.by_handle.insert(
            handle,
            Slot {
                segment,
                last_use: self.uses,
            },
        );
    }

    /// The file to be closed next: not in use, preferably synced, and not used for longest.
    fn take_unused(&mut self, is_synced_first: bool) -> Option<Unused> {
        if let Some(closed) = self.take_found() {
            return Some(Unused::Closed(closed));
        }
        let unsynced = self.find_unused();
        if let Some(closed) = self.take_found() {
            return Some(Unused::Closed(closed));
        }
        let handle = unsynced?;
        if !is_synced_first || is_left_out(Step::SyncBeforeClose) {
            return self.by_handle.remove(&handle).map(Unused::Closed);
        }
        self.by_handle
            .get(&handle)
            .map(|slot| Unused::Unsynced(slot.segment.clone()))
    }

    /// The first of the files that were found to be closed next, unless it was used since.
    fn take_found(&mut self) -> Option<Slot> {
        while let Some((last_use, handle)) = self.to_close.pop_front() {
            let is_as_found = |slot: &Slot| slot.last_use == last_use && slot.is_closable();
            if self.by_handle.get(&handle).is_some_and(is_as_found) {
                return self.by_handle.remove(&handle);
            }
        }
        None
    }

    /// Looks at all files. Gives the unsynced one that was not used for longest, which is closed if there is no other.
    fn find_unused(&mut self) -> Option<u64> {
        let mut closable = Vec::new();
        let mut unsynced = None;
        for (handle, slot) in &self.by_handle {
            let found = (slot.last_use, *handle);
            if slot.is_closable() {
                closable.push(found);
            } else if slot.segment.is_unused() {
                unsynced = Some(unsynced.map_or(found, |oldest: (u64, u64)| oldest.min(found)));
            }
        }
        let most = self.by_handle.len().div_ceil(FOUND_AT_ONCE);
        if closable.len() > most {
            closable.select_nth_unstable(most);
            closable.truncate(most);
        }
        closable.sort_unstable();
        self.to_close = closable.into();
        unsynced.map(|(_, handle)| handle)
    }

    /// Removes the mappings that were not used for longest, until at most `most` bytes are mapped.
    fn surplus_mappings(&self, most: u64, just_mapped: u64) -> Vec<Bytes> {
        let mut mapped: Vec<_> = self
            .by_handle
            .iter()
            .map(|(handle, slot)| (slot.last_use, *handle, slot.segment.mapped_bytes()))
            .filter(|(_, _, bytes)| *bytes > 0)
            .collect();
        mapped.sort_unstable();
        let mut total: u64 = mapped.iter().map(|(_, _, bytes)| bytes).sum();
        let mut surplus = Vec::new();
        for (_, handle, bytes) in mapped {
            if total <= most {
                break;
            }
            if handle != just_mapped
                && let Some(slot) = self.by_handle.get(&handle)
            {
                surplus.extend(slot.segment.mapping.lock().take());
                total -= bytes;
            }
        }
        surplus
    }
}
