//! The segments' files that are open, no more than a set number of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::hold::HeldFile;
use super::index::SparseIndex;
use super::read_buffers::ReadBuffers;
use super::segment::Segment;
use crate::disk::{Disk, DiskFile, OpenMode};
use crate::error::{Error, Result};
use crate::sync::{Mutex, OnceLock};

/// Opens segments as they are needed and closes those that were not used for longest.
#[derive(Debug)]
pub(crate) struct OpenSegments {
    disk: Arc<dyn Disk>,
    capacity: usize,
    /// Beyond this many bytes mappings are let go of, but for the one just made.
    max_mapped_bytes: u64,
    /// For reading from files that are not mapped.
    pub(super) buffers: Arc<ReadBuffers>,
    open: Mutex<LeastRecentlyUsed>,
}

#[derive(Debug, Default)]
struct LeastRecentlyUsed {
    by_handle: HashMap<u64, Slot>,
    uses: u64,
}

#[derive(Debug)]
struct Slot {
    segment: Arc<OpenSegment>,
    last_use: u64,
}

/// An open file of a segment that was found to be the one that the manifest names. It holds the segment, and so does
/// whatever has its file or bytes of its mapping.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) file: Arc<HeldFile>,
    is_writable: bool,
    /// Of a sealed segment, once somebody searched it.
    pub(super) index: OnceLock<SparseIndex>,
    mapping: Mutex<Option<Bytes>>,
}

impl OpenSegments {
    pub(crate) fn new(disk: Arc<dyn Disk>, capacity: usize, max_mapped_bytes: u64) -> Self {
        Self {
            disk,
            capacity: capacity.max(1),
            max_mapped_bytes,
            buffers: Arc::default(),
            open: Mutex::default(),
        }
    }

    /// A segment's file, for reading.
    ///
    /// # Errors
    /// Also where the log does not name the segment any more: who comes from a list of segments looks there again.
    pub(super) fn get_readable(&self, segment: &Segment) -> Result<Arc<OpenSegment>> {
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
    pub(super) fn get_writable(&self, segment: &Segment) -> Result<Arc<OpenSegment>> {
        let open = self.open.lock().touch(segment.handle);
        match open.filter(|open| open.is_writable) {
            Some(open) => Ok(open),
            None => self.open(segment, OpenMode::Write),
        }
    }

    fn open(&self, segment: &Segment, mode: OpenMode) -> Result<Arc<OpenSegment>> {
        // Held before it is opened, so that the file of this name is the segment's, and stays it.
        let hold = segment.hold().ok_or_else(|| segment.is_no_more())?;
        let path = &segment.path;
        let file = self.disk.open(path, mode).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::corrupt(path, 0, "the file is missing"),
            _ => Error::io("open", path, error),
        })?;
        let file = HeldFile::new(file, hold);
        segment.entry.verify_file(segment.log, &file, path)?;
        Ok(self.keep(segment, file, mode != OpenMode::Read))
    }

    /// Takes in a file that the caller has just made, and can write to.
    pub(super) fn insert(&self, segment: &Segment, file: Arc<dyn DiskFile>) -> Result<Arc<OpenSegment>> {
        let hold = segment.hold().ok_or_else(|| segment.is_no_more())?;
        Ok(self.keep(segment, HeldFile::new(file, hold), true))
    }

    fn keep(&self, segment: &Segment, file: HeldFile, is_writable: bool) -> Arc<OpenSegment> {
        let segment_file = Arc::new(OpenSegment {
            file: Arc::new(file),
            is_writable,
            index: OnceLock::new(),
            mapping: Mutex::default(),
        });
        let mut open = self.open.lock();
        // Looked at under this lock: whoever forgets a segment closes it afterwards. Else the file would stay here, and
        // held, for as long as no other one takes its place.
        if !segment.is_forgotten() {
            open.insert(segment.handle, segment_file.clone(), self.capacity);
        }
        segment_file
    }

    pub(super) fn close(&self, segment: &Segment) {
        self.open.lock().by_handle.remove(&segment.handle);
    }

    /// The bytes of a sealed segment up to `length`, shared with everyone who has them.
    pub(super) fn map(&self, segment: &Segment, open: &OpenSegment, length: u64) -> std::io::Result<Bytes> {
        if let Some(mapped) = open.mapped() {
            return Ok(mapped);
        }
        let made = Bytes::from_owner(open.file.map_held(length)?);
        let mapped = open.mapping.lock().get_or_insert(made).clone();
        let surplus = self
            .open
            .lock()
            .surplus_mappings(self.max_mapped_bytes, segment.handle);
        // Outside the lock: to unmap takes a while.
        drop(surplus);
        Ok(mapped)
    }
}

impl OpenSegment {
    /// The mapping, if there is one now.
    pub(super) fn mapped(&self) -> Option<Bytes> {
        self.mapping.lock().clone()
    }

    fn mapped_bytes(&self) -> u64 {
        let mapping = self.mapping.lock();
        mapping.as_ref().map_or(0, Bytes::len) as u64
    }
}

impl LeastRecentlyUsed {
    fn touch(&mut self, handle: u64) -> Option<Arc<OpenSegment>> {
        self.uses += 1;
        let slot = self.by_handle.get_mut(&handle)?;
        slot.last_use = self.uses;
        Some(slot.segment.clone())
    }

    fn insert(&mut self, handle: u64, segment: Arc<OpenSegment>, capacity: usize) {
        if self.by_handle.len() >= capacity {
            let oldest = self
                .by_handle
                .iter()
                .min_by_key(|(_, slot)| slot.last_use)
                .map(|(handle, _)| *handle);
            if let Some(oldest) = oldest {
                self.by_handle.remove(&oldest);
            }
        }
        self.uses += 1;
        self.by_handle.insert(
            handle,
            Slot {
                segment,
                last_use: self.uses,
            },
        );
    }

    /// Takes away the mappings that were not used for longest, until no more than `most` bytes are mapped.
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
