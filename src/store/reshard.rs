//! Splitting and merging shards, and the steps of a change of their number.

use super::core::StoreCore;
use super::stream_core::{Routing, StreamCore};
use crate::catalog::{CatalogState, Edit, Lifecycle, Steps};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{Lineage, LineageError, Reshard, ReshardStep, ShardId, StreamStatus, Timestamp};
use std::time::Duration;

impl StoreCore {
    /// Splits or merges in a stream that has this lifecycle, and is active afterwards. The caller holds `changing`.
    pub(super) fn reshard_now(
        &self,
        stream: &StreamCore,
        step: ReshardStep,
        expected: &Lifecycle,
    ) -> Result<()> {
        let ends_change = *expected != Lifecycle::Active;
        self.take_step(stream, step, expected, ends_change)
    }

    /// Takes up to `most` steps of a change, and ends the change when none remains; true if it did. Other changes of
    /// the stream, above all its deletion, may come between two steps; the remaining steps are refused then. The caller
    /// does not hold `changing`.
    pub(super) fn reshard_by_steps(
        &self,
        stream: &StreamCore,
        steps: &Steps,
        expected: &Lifecycle,
        most: usize,
    ) -> Result<bool> {
        for _ in 0..most {
            stream.let_others_change();
            let _one_at_a_time = stream.changing.lock();
            let step = {
                let state = self.catalog.read();
                stream.check_is(expected, &state)?;
                steps.next(stream.lineage(&state)?)
            };
            match step {
                Some(step) => self.take_step(stream, step, expected, false)?,
                None => {
                    self.end_change(stream, expected, Vec::new())?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Commits the edits of a change and its end in one step.
    pub(super) fn end_change(
        &self,
        stream: &StreamCore,
        expected: &Lifecycle,
        mut edits: Vec<Edit>,
    ) -> Result<()> {
        edits.push(stream.becomes(Lifecycle::Active));
        self.catalog.commit(|state| {
            stream.check_is(expected, state)?;
            Ok(edits.clone())
        })
    }

    /// The parents' logs take no more records, then one list of edits closes them and opens the children, and only then
    /// do puts find the children. Refused unless the stream has the lifecycle in which the step was asked for.
    fn take_step(
        &self,
        stream: &StreamCore,
        step: ReshardStep,
        expected: &Lifecycle,
        ends_change: bool,
    ) -> Result<()> {
        self.check_writable()?;
        // Checked before puts are held up.
        stream.check_is(expected, &self.catalog.read())?;
        stream.plan(&self.catalog.read(), step, self.now())?;
        let mut routing = stream.routing.write();
        routing.check_not_closed()?;
        let parents = self.logs.seal(stream.id, &step.parents(), &mut |state, ends| {
            stream.check_is(expected, state)?;
            let last_arrival = ends.iter().map(|(_, end)| end.last_arrival).max();
            // Later than every record of the parents, so that one moment separates them from their children.
            let last_arrival = last_arrival.unwrap_or_default();
            let now = self
                .now()
                .max(last_arrival.saturating_add(Duration::from_millis(1)));
            let mut edits = vec![Edit::Resharded {
                stream: stream.id,
                reshard: stream.plan(state, step, now)?,
                ends: ends.to_vec(),
            }];
            if ends_change {
                edits.push(stream.becomes(Lifecycle::Active));
            }
            Ok(edits)
        })?;
        stream.carry_counts(&routing);
        stream.drop_counts(&step.parents());
        *routing = Routing::Unknown;
        drop(routing);
        parents.iter().for_each(|log| log.changes().notify());
        Ok(())
    }
}

impl StreamCore {
    pub(super) fn check_is(&self, expected: &Lifecycle, state: &CatalogState) -> Result<()> {
        let stream = self.state(state.stream(self.id))?;
        match stream.lifecycle == *expected {
            true => Ok(()),
            false => Err(self.not_active(stream.status())),
        }
    }

    pub(super) fn plan(&self, state: &CatalogState, step: ReshardStep, now: Timestamp) -> Result<Reshard> {
        step.on(self.lineage(state)?, now)
            .map_err(|error| self.reshard_error(error))
    }

    /// The shards, if the stream takes records.
    pub(super) fn lineage<'a>(&self, state: &'a CatalogState) -> Result<&'a Lineage> {
        let stream = self.state(state.stream(self.id))?;
        match (stream.status(), &stream.lineage) {
            (StreamStatus::Active | StreamStatus::Updating, Some(lineage)) => Ok(lineage),
            (status, _) => Err(self.not_active(status)),
        }
    }

    pub(super) fn becomes(&self, lifecycle: Lifecycle) -> Edit {
        Edit::LifecycleChanged {
            stream: self.id,
            lifecycle,
        }
    }

    pub(super) fn reshard_error(&self, error: LineageError) -> Error {
        let stream = self.name.clone();
        match error {
            LineageError::UnknownShard { shard } => Error::ShardNotFound { stream, shard },
            LineageError::ShardClosed { shard } => Error::ShardClosed { stream, shard },
            LineageError::InvalidSplitKey { shard, key, range } => Error::InvalidSplit { shard, key, range },
            LineageError::NotAdjacent { first, second } => Error::NotAdjacent {
                stream,
                first,
                second,
            },
            other => Error::InvalidArgument(InvalidArgument::Lineage(other)),
        }
    }
}

impl ReshardStep {
    fn parents(&self) -> Vec<ShardId> {
        match *self {
            Self::Split { shard, .. } => vec![shard],
            Self::Merge { first, second } => vec![first, second],
        }
    }

    pub(super) fn on(&self, lineage: &Lineage, now: Timestamp) -> Result<Reshard, LineageError> {
        match *self {
            Self::Split {
                shard,
                new_starting_hash_key,
            } => lineage.split(shard, new_starting_hash_key, now),
            Self::Merge { first, second } => lineage.merge(first, second, now),
        }
    }
}
