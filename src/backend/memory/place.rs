//! The contents of a closed store in memory, for its next opener.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::log_state::LogState;
use crate::catalog::Edit;
use crate::error::{Error, Result};
use crate::model::{LogName, Space};
use crate::sync::{AtomicUsize, Mutex};

/// Memory that keeps a store, as a directory does, until the last clone is dropped.
/// [`StoreOptions::open_in_memory`](crate::StoreOptions::open_in_memory) can open it again and again, one opener at a
/// time.
///
/// ```
/// # fn main() -> anabranch::Result<()> {
/// use anabranch::{Memory, StartingPosition, StoreOptions};
///
/// let memory = Memory::new();
/// let store = StoreOptions::new().open_in_memory(&memory)?;
/// store.create_stream("clicks", 2)?.put("user-3", b"first")?;
/// store.close()?;
///
/// let store = StoreOptions::new().open_in_memory(&memory)?;
/// let mut reader = store.stream("clicks")?.reader(StartingPosition::TrimHorizon)?;
/// assert_eq!(reader.next().unwrap()?.data, "first");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Memory {
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    place: Mutex<Place>,
    /// The bytes of all records.
    used: AtomicUsize,
}

/// What a closed store leaves.
#[derive(Default)]
pub(super) struct Place {
    pub(super) is_open: bool,
    /// The edits that lead to the catalog.
    pub(super) edits: Vec<Edit>,
    pub(super) logs: BTreeMap<LogName, LogState>,
}

impl Memory {
    /// Memory without a store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs with the contents, one caller at a time.
    pub(super) fn with<T>(&self, run: impl FnOnce(&mut Place) -> T) -> T {
        run(&mut self.kept.place.lock())
    }

    /// Reserves bytes for records, within the limit of all logs.
    fn take_room(&self, bytes: usize, most: usize) -> Result<()> {
        let before = self.kept.used.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > most {
            self.give_back(bytes);
            return Err(Error::StorageFull {
                operation: "put records into",
                path: "memory".into(),
            });
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        self.kept.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Memory in use by one opener.
#[derive(Debug)]
pub(super) struct Occupied(Memory);

impl Occupied {
    pub(super) fn take(memory: &Memory) -> Result<Self> {
        match memory.with(|place| std::mem::replace(&mut place.is_open, true)) {
            true => Err(Error::Locked {
                path: "memory".into(),
                holder: Some(std::process::id()),
            }),
            false => Ok(Self(memory.clone())),
        }
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.0
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        self.0.with(|place| place.is_open = false);
    }
}

/// The memory that the records of all logs may take.
#[derive(Clone, Debug)]
pub(super) struct Room {
    memory: Memory,
    most: usize,
}

impl Room {
    pub(super) fn of(memory: &Memory, most: usize) -> Self {
        let memory = memory.clone();
        Self { memory, most }
    }

    pub(super) fn take(&self, bytes: usize) -> Result<()> {
        self.memory.take_room(bytes, self.most)
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.memory.give_back(bytes);
    }

    /// The bytes of all records.
    pub(super) fn used(&self) -> usize {
        self.memory.kept.used.load(Ordering::Relaxed)
    }

    pub(super) fn space(&self) -> Space {
        Space {
            total_bytes: self.most as u64,
            available_bytes: self.most.saturating_sub(self.used()) as u64,
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("record_bytes", &self.kept.used.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}
