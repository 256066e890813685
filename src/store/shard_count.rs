//! Beginning to change how many shards a stream has, and its settings.

use super::core::StoreCore;
use super::stream_core::StreamCore;
use crate::catalog::{CatalogState, Change, Lifecycle, Setting, Steps};
use crate::error::{Error, Result};
use crate::model::{Timestamp, limits};

impl StoreCore {
    pub(super) fn change_shard_count(&self, stream: &StreamCore, target: u32, now: Timestamp) -> Result<()> {
        let is_there = {
            let state = self.catalog.read();
            let lineage = stream.active_state(&state)?.lineage.as_ref();
            lineage.is_some_and(|lineage| lineage.open_shard_count() == target)
        };
        if is_there {
            return Ok(());
        }
        self.change_by_steps(stream, now, |state| {
            let lineage = stream.lineage(state)?;
            let open = lineage.open_shard_count();
            // Every shard is split before neighbours are merged.
            let most = if target > open { target.max(open.saturating_mul(2)) } else { open };
            if target == 0 || most > limits::MAX_SHARDS_PER_STREAM {
                return Err(Error::invalid(format!(
                    "a stream with {open} open shards cannot have {target}: it has 1 to {} at any time, and all are split \
                     before neighbours are merged",
                    limits::MAX_SHARDS_PER_STREAM
                )));
            }
            let first_new = lineage.first_new_on_the_way_to(target);
            let first_new = first_new.map_err(|error| stream.reshard_error(error))?;
            Ok(Steps::Count { target, first_new })
        })
    }

    /// Begins a change that takes many steps. Without transition delay it is done on return.
    pub(super) fn change_by_steps(
        &self,
        stream: &StreamCore,
        now: Timestamp,
        plan: impl Fn(&CatalogState) -> Result<Steps>,
    ) -> Result<()> {
        let begin = || self.schedule(stream, now, |state| plan(state).map(Change::Shards));
        if !self.is_immediate() {
            return begin().map(|_| ());
        }
        let begun = {
            let _one_at_a_time = stream.changing.lock();
            let begun = begin()?;
            // This thread does it.
            self.transitions.hold(stream.id);
            begun
        };
        let Lifecycle::Updating {
            change: Change::Shards(steps),
            ..
        } = &begun
        else {
            return Ok(());
        };
        let done = self.reshard_by_steps(stream, steps, &begun);
        if let Err(error) = &done {
            // Told as an event; the caller is told of the first failure.
            let _ = self.transition_failed(stream, &begun, error.clone());
        }
        self.note_next_due();
        done
    }

    pub(super) fn change_setting(&self, stream: &StreamCore, setting: Setting, now: Timestamp) -> Result<()> {
        if !self.is_immediate() {
            return self
                .schedule(stream, now, |_| Ok(Change::Setting(setting)))
                .map(|_| ());
        }
        let _one_at_a_time = stream.changing.lock();
        self.catalog.commit(|state| {
            stream.active_state(state)?;
            Ok(vec![stream.has(setting)])
        })?;
        stream.note(setting);
        Ok(())
    }
}
