//! Who holds a file of the simulated disk, and what must not happen to the file meanwhile.
//!
//! A real mapping changes with its file, and a handle from before the file's present use reads bytes of that use. A
//! program that lets either happen gives wrong bytes to its readers, so the disk panics in the call that does it.

use std::collections::{BTreeMap, BTreeSet};

/// Tells a file's handles apart.
pub(super) type HandleId = u64;

/// How often a file was renamed. The name tells what a file is used for.
type Life = u64;

#[derive(Clone, Debug, Default)]
pub(super) struct Holders {
    handles: BTreeMap<HandleId, Life>,
    /// Handles of programs that expect the bytes to change under them.
    onlookers: BTreeSet<HandleId>,
    last_handle: HandleId,
    /// Lengths of the mappings.
    mappings: Vec<u64>,
    life: Life,
}

impl Holders {
    pub(super) fn are_none(&self) -> bool {
        self.handles.is_empty() && self.onlookers.is_empty() && self.mappings.is_empty()
    }

    pub(super) fn handles(&self) -> usize {
        self.handles.len()
    }

    pub(super) fn open(&mut self, is_onlooker: bool) -> HandleId {
        self.last_handle += 1;
        match is_onlooker {
            true => drop(self.onlookers.insert(self.last_handle)),
            false => drop(self.handles.insert(self.last_handle, self.life)),
        }
        self.last_handle
    }

    pub(super) fn close(&mut self, handle: HandleId) {
        self.handles.remove(&handle);
        self.onlookers.remove(&handle);
    }

    pub(super) fn map(&mut self, length: u64) {
        self.mappings.push(length);
    }

    pub(super) fn unmap(&mut self, length: u64) {
        if let Some(at) = self.mappings.iter().position(|mapped| *mapped == length) {
            self.mappings.swap_remove(at);
        }
    }

    pub(super) fn note_rename(&mut self) {
        self.life += 1;
    }

    /// Notes that a caller writes or syncs through a handle, and so knows what the file is used for.
    pub(super) fn note_use(&mut self, handle: HandleId) {
        self.handles.insert(handle, self.life);
    }

    /// Checks that the bytes from `offset` on may change.
    pub(super) fn check_change(&self, handle: HandleId, offset: u64, name: impl Fn() -> String) {
        assert!(
            self.mappings.iter().all(|mapped| *mapped <= offset),
            "{} is changed at {offset} under a mapping",
            name()
        );
        let is_of_this_life = |(other, life): (&HandleId, &Life)| *other == handle || *life == self.life;
        assert!(
            self.handles.iter().all(is_of_this_life),
            "{} is changed while it is open from before it got this name",
            name()
        );
    }
}
