//! The segments' files that are open, no more than a set number of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::index::SparseIndex;
use super::read_buffers::ReadBuffers;
use super::segment::{Segment, SegmentHold};
use crate::disk::{Disk, DiskFile, Mapping, OpenMode};
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

/// An open file of a segment that was found to be the one that the manifest names.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) file: Arc<dyn DiskFile>,
    /// Of a sealed segment, once somebody searched it.
    pub(super) index: OnceLock<SparseIndex>,
    mapping: Mutex<Option<Bytes>>,
    hold: SegmentHold,
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

    pub(super) fn get(&self, segment: &Segment) -> Result<Arc<OpenSegment>> {
        if let Some(open) = self.open.lock().touch(segment.handle) {
            return Ok(open);
        }
        let path = &segment.path;
        let file = self
            .disk
            .open(path, OpenMode::Write)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Error::corrupt(path, 0, "the file is missing"),
                _ => Error::io("open", path, error),
            })?;
        segment.entry.verify_file(segment.log, file.as_ref(), path)?;
        Ok(self.insert(segment, file))
    }

    /// Takes in a file that the caller has just made.
    pub(super) fn insert(&self, segment: &Segment, file: Arc<dyn DiskFile>) -> Arc<OpenSegment> {
        let open = Arc::new(OpenSegment {
            file,
            index: OnceLock::new(),
            mapping: Mutex::default(),
            hold: segment.hold(),
        });
        self.open
            .lock()
            .insert(segment.handle, open.clone(), self.capacity);
        open
    }

    pub(super) fn close(&self, segment: &Segment) {
        self.open.lock().by_handle.remove(&segment.handle);
    }

    /// The bytes of a sealed segment up to `length`, shared with everyone who has them.
    pub(super) fn map(&self, segment: &Segment, open: &OpenSegment, length: u64) -> std::io::Result<Bytes> {
        if let Some(mapped) = open.mapped() {
            return Ok(mapped);
        }
        let made = Bytes::from_owner(HeldMapping {
            mapping: open.file.map(length)?,
            _hold: open.hold.clone(),
        });
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

/// A mapping that keeps its segment from being recycled until the last slice of it is gone.
struct HeldMapping {
    mapping: Box<dyn Mapping>,
    _hold: SegmentHold,
}

impl AsRef<[u8]> for HeldMapping {
    fn as_ref(&self) -> &[u8] {
        (*self.mapping).as_ref()
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
