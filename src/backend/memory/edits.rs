//! The catalog's log of edits.

use super::place::Memory;
use crate::catalog::{CatalogState, Edit, EditLog, Revision};
use crate::error::{Error, Result};

/// A snapshot replaces the edits when there are twice as many as it had, and more than this.
const FEWEST_EDITS: usize = 1_000;

#[derive(Debug)]
pub(super) struct MemoryEdits {
    memory: Memory,
    revision: Revision,
    snapshot_edits: usize,
    stopped: Option<Error>,
}

impl MemoryEdits {
    /// `make_first` gives a store's number and secret, if the memory has none yet.
    pub(super) fn open(
        memory: &Memory,
        make_first: impl FnOnce() -> Result<(u128, [u8; 32])>,
    ) -> Result<Self> {
        if memory.with(|place| place.edits.is_empty()) {
            let (store, secret) = make_first()?;
            let created = Edit::StoreCreated { store, secret };
            memory.with(|place| place.edits.push(created));
        }
        Ok(Self {
            memory: memory.clone(),
            revision: Revision(0),
            snapshot_edits: 0,
            stopped: None,
        })
    }
}

impl EditLog for MemoryEdits {
    fn load(&mut self) -> Result<(CatalogState, Revision)> {
        let state = self
            .memory
            .with(|place| CatalogState::from_snapshot(place.edits.clone()));
        Ok((state.map_err(Error::bad_change)?, self.revision))
    }

    fn check(&self) -> Result<()> {
        self.stopped.clone().map_or(Ok(()), Err)
    }

    fn append(&mut self, edits: &[Edit], expected: Revision) -> Result<Revision> {
        self.check()?;
        if expected != self.revision {
            return Err(self.stop("an edit was made of an earlier state"));
        }
        self.memory.with(|place| place.edits.extend_from_slice(edits));
        self.revision = self.revision.next();
        Ok(self.revision)
    }

    fn offer_snapshot(&mut self, state: &CatalogState) -> Result<()> {
        let edits = self.memory.with(|place| place.edits.len());
        if edits > FEWEST_EDITS.max(2 * self.snapshot_edits) {
            let snapshot: Vec<_> = state.snapshot().collect();
            self.snapshot_edits = snapshot.len();
            self.memory.with(|place| place.edits = snapshot);
        }
        Ok(())
    }

    fn stop(&mut self, reason: &'static str) -> Error {
        self.stopped
            .get_or_insert_with(|| Error::bad_change(reason))
            .clone()
    }
}
