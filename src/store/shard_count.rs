//! Beginning a change of the number of shards or of settings.

use super::core::StoreCore;
use super::stream_core::StreamCore;
use super::transitions::Subject;
use crate::catalog::{CatalogState, Change, Lifecycle, Setting, Steps, StreamState};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{Lineage, Timestamp, limits};

impl StoreCore {
    /// Without a transition delay, the shards exist on return.
    pub(super) fn change_shard_count(&self, stream: &StreamCore, target: u32, now: Timestamp) -> Result<()> {
        if !self.is_immediate() {
            return self.begin_shard_count_update(stream, target, now).map(|_| ());
        }
        let (begun, held) = {
            let _one_at_a_time = stream.lock_to_change();
            let begun = self.begin_shard_count_update(stream, target, now)?;
            // This thread does the change, unless there is nothing to do.
            (begun, self.transitions.hold(Subject::Stream(stream.id)))
        };
        let Lifecycle::Updating {
            change: Change::Shards(steps),
            ..
        } = &begun
        else {
            return Ok(());
        };
        let done = self.reshard_by_steps(stream, steps, &begun, usize::MAX);
        drop(held);
        if let Err(error) = &done {
            // Reported as an event, and tried again. The caller gets the first failure.
            let _ = self.transition_failed(stream, &begun, error.clone());
        }
        self.note_next_due();
        done.map(drop)
    }

    /// Gives the stream's new lifecycle.
    pub(super) fn begin_shard_count_update(
        &self,
        stream: &StreamCore,
        target: u32,
        now: Timestamp,
    ) -> Result<Lifecycle> {
        if stream.open_shard_count(&self.catalog.read())? == target {
            return Ok(Lifecycle::Active);
        }
        self.schedule(stream, now, |state| {
            stream.steps_to(state, target).map(Change::Shards)
        })
    }

    pub(super) fn change_settings(
        &self,
        stream: &StreamCore,
        settings: &[Setting],
        now: Timestamp,
        check: impl Fn(&StreamState) -> Result<()>,
    ) -> Result<()> {
        if self.is_immediate() {
            return self.set_at_once(stream, settings, check);
        }
        // The stream is not active until the change is done, so it gets nothing meanwhile that would fail the check.
        let scheduled = self.schedule(stream, now, |state| {
            check(stream.active_state(state)?)?;
            Ok(Change::Settings(settings.to_vec()))
        });
        scheduled.map(|_| ())
    }
}

impl StreamCore {
    /// How many open shards the stream has, if it is active.
    fn open_shard_count(&self, state: &CatalogState) -> Result<u32> {
        let lineage = self.active_state(state)?.lineage.as_ref();
        Ok(lineage.map_or(0, Lineage::open_shard_count))
    }

    fn steps_to(&self, state: &CatalogState, target: u32) -> Result<Steps> {
        let lineage = self.lineage(state)?;
        let open = lineage.open_shard_count();
        // For more shards, each is split before neighbours are merged.
        let most = match target > open {
            true => target.max(open.saturating_mul(2)),
            false => open,
        };
        if target == 0 || most > limits::MAX_SHARDS_PER_STREAM {
            return Err(Error::InvalidArgument(InvalidArgument::TargetShardCount {
                open,
                target,
                most: limits::MAX_SHARDS_PER_STREAM,
            }));
        }
        let first_new = lineage.first_new_on_the_way_to(target);
        let first_new = first_new.map_err(|error| self.reshard_error(error))?;
        Ok(Steps::Count { target, first_new })
    }
}
