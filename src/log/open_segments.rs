//! The segments' files that are open, no more than a set number of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::index::SparseIndex;
use super::segment::{Segment, SegmentHold};
use crate::disk::{Disk, DiskFile, Mapping, OpenMode};
use crate::error::{Error, Result};
use crate::sync::{Mutex, OnceLock};

/// Opens segments as they are needed and closes those that were not used for longest.
#[derive(Debug)]
pub(crate) struct OpenSegments {
    disk: Arc<dyn Disk>,
    capacity: usize,
    /// Mapped segments are closed beyond this many bytes, but for the one just mapped.
    max_mapped_bytes: u64,
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
    mapping: OnceLock<Bytes>,
    hold: SegmentHold,
}

impl OpenSegments {
    pub(crate) fn new(disk: Arc<dyn Disk>, capacity: usize, max_mapped_bytes: u64) -> Self {
        Self {
            disk,
            capacity: capacity.max(1),
            max_mapped_bytes,
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
            mapping: OnceLock::new(),
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
        if let Some(bytes) = open.mapping.get() {
            return Ok(bytes.clone());
        }
        let mapping = HeldMapping {
            mapping: open.file.map(length)?,
            _hold: open.hold.clone(),
        };
        let bytes = open.mapping.get_or_init(|| Bytes::from_owner(mapping)).clone();
        self.open
            .lock()
            .limit_mapped_bytes(self.max_mapped_bytes, segment.handle);
        Ok(bytes)
    }
}

impl OpenSegment {
    fn mapped_bytes(&self) -> u64 {
        self.mapping.get().map_or(0, |bytes| bytes.len() as u64)
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

    fn limit_mapped_bytes(&mut self, most: u64, just_mapped: u64) {
        let mut mapped: u64 = self
            .by_handle
            .values()
            .map(|slot| slot.segment.mapped_bytes())
            .sum();
        while mapped > most {
            match self.close_oldest(|handle, slot| handle != just_mapped && slot.segment.mapped_bytes() > 0) {
                Some(closed) => mapped -= closed.mapped_bytes(),
                None => return,
            }
        }
    }

    fn close_oldest(&mut self, may_go: impl Fn(u64, &Slot) -> bool) -> Option<Arc<OpenSegment>> {
        let candidates = self
            .by_handle
            .iter()
            .filter(|(handle, slot)| may_go(**handle, slot));
        let oldest = *candidates.min_by_key(|(_, slot)| slot.last_use)?.0;
        self.by_handle.remove(&oldest).map(|slot| slot.segment)
    }
}
