//! Opening a store in memory.

use std::sync::Arc;

use super::edits::MemoryEdits;
use super::fetcher::Fetcher;
use super::logs::MemoryLogs;
use super::place::{Memory, Occupied};
use crate::backend::Opened;
use crate::catalog::Catalog;
use crate::error::Result;

/// The part of [`StoreOptions`](crate::StoreOptions) about a store in memory. Its methods describe each option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryOptions {
    pub(crate) max_bytes: usize,
    /// One in this many reads of a log has to wait.
    pub(crate) reads_for_each_wait: Option<u32>,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            max_bytes: 1024 * 1024 * 1024,
            reads_for_each_wait: None,
        }
    }
}

/// Opens the store in the memory, or a new one. `make_first` gives a new one its number and its secret.
pub(crate) fn open(
    options: MemoryOptions,
    memory: &Memory,
    make_first: impl FnOnce() -> Result<(u128, [u8; 32])>,
) -> Result<Opened> {
    let occupied = Occupied::take(memory)?;
    let edits = MemoryEdits::open(memory, make_first)?;
    let catalog = Arc::new(Catalog::new(Box::new(edits))?);
    let fetcher = options.reads_for_each_wait.map(Fetcher::start).transpose()?;
    Ok(Opened {
        logs: Arc::new(MemoryLogs::new(
            catalog.clone(),
            options.max_bytes,
            fetcher,
            occupied,
        )),
        catalog,
        damage: Vec::new(),
    })
}
