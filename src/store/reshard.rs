//! Splitting and merging shards.

use super::core::StoreCore;
use super::stream_core::{Routing, StreamCore};
use crate::catalog::{CatalogState, Change, Edit, Lifecycle};
use crate::error::{Error, InvalidArgument, Result};
use crate::model::{Lineage, LineageError, Reshard, ShardId, StreamStatus, Timestamp};
use std::time::Duration;

impl StoreCore {
    /// Splits or merges in one step: the parents' logs take no more records, one edit closes them and opens the
    /// children, and only then do puts find the children. Refused unless the stream is in the state in which it was
    /// asked for. The caller has the stream to change.
    pub(super) fn reshard_now(
        &self,
        stream: &StreamCore,
        change: &Change,
        expected: &Lifecycle,
    ) -> Result<()> {
        self.check_writable()?;
        // Refused before puts are held up, if it is to be refused.
        stream.check_is(expected, &self.catalog.read())?;
        stream.plan(&self.catalog.read(), change, self.now())?;
        let mut routing = stream.routing.write();
        routing.check_not_closed()?;
        let parents = self.logs.seal(stream.id, &change.parents(), &mut |state, ends| {
            stream.check_is(expected, state)?;
            let last_arrival = ends.iter().map(|(_, end)| end.last_arrival).max();
            // Later than every record of the parents, so that a moment separates them from their children.
            let last_arrival = last_arrival.unwrap_or_default();
            let now = self
                .now()
                .max(last_arrival.saturating_add(Duration::from_millis(1)));
            let mut edits = vec![Edit::Resharded {
                stream: stream.id,
                reshard: stream.plan(state, change, now)?,
                ends: ends.to_vec(),
            }];
            if *expected != Lifecycle::Active {
                edits.push(Edit::LifecycleChanged {
                    stream: stream.id,
                    lifecycle: Lifecycle::Active,
                });
            }
            Ok(edits)
        })?;
        *routing = Routing::Unknown;
        drop(routing);
        parents.iter().for_each(|log| log.changes().notify());
        Ok(())
    }
}

impl StreamCore {
    fn check_is(&self, expected: &Lifecycle, state: &CatalogState) -> Result<()> {
        let stream = self.state(state.stream(self.id))?;
        match stream.lifecycle == *expected {
            true => Ok(()),
            false => Err(Error::StreamNotActive {
                name: self.name.clone(),
                status: stream.status(),
            }),
        }
    }

    pub(super) fn plan(&self, state: &CatalogState, change: &Change, now: Timestamp) -> Result<Reshard> {
        let stream = self.state(state.stream(self.id))?;
        let not_active = |status| Error::StreamNotActive {
            name: self.name.clone(),
            status,
        };
        let lineage = match (stream.status(), &stream.lineage) {
            (StreamStatus::Active | StreamStatus::Updating, Some(lineage)) => lineage,
            (status, _) => return Err(not_active(status)),
        };
        change.on(lineage, now).map_err(|error| self.reshard_error(error))
    }

    fn reshard_error(&self, error: LineageError) -> Error {
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

impl Change {
    fn parents(&self) -> Vec<ShardId> {
        match *self {
            Self::Split { shard, .. } => vec![shard],
            Self::Merge { first, second } => vec![first, second],
        }
    }

    fn on(&self, lineage: &Lineage, now: Timestamp) -> Result<Reshard, LineageError> {
        match *self {
            Self::Split {
                shard,
                new_starting_hash_key,
            } => lineage.split(shard, new_starting_hash_key, now),
            Self::Merge { first, second } => lineage.merge(first, second, now),
        }
    }
}
