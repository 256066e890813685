//! Splitting and merging shards.

use super::core::StoreCore;
use super::stream_core::{Routing, StreamCore};
use crate::catalog::{CatalogState, Change, Edit, Lifecycle};
use crate::error::{Error, Result};
use crate::log::{LogEnd, ShardLog};
use crate::model::{Lineage, LineageError, LogName, Reshard, ShardId, StreamStatus, Timestamp};
use std::sync::Arc;
use std::time::Duration;

impl StoreCore {
    /// Splits or merges in one step: the parents are sealed and synced, then one edit closes them and opens the
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
        let sealed = Sealed::seal(stream, &change.parents())?;
        // Later than every record of the parents, so that a moment separates them from their children.
        let now = self
            .now()
            .max(sealed.last_arrival().saturating_add(Duration::from_millis(1)));
        let ends = sealed.ends();
        self.catalog.commit(|state| {
            stream.check_is(expected, state)?;
            let reshard = stream.plan(state, change, now)?;
            let mut edits = vec![Edit::Resharded {
                stream: stream.id,
                reshard,
                ends,
            }];
            if *expected != Lifecycle::Active {
                edits.push(Edit::LifecycleChanged {
                    stream: stream.id,
                    lifecycle: Lifecycle::Active,
                });
            }
            Ok(edits)
        })?;
        let parents = sealed.keep();
        *routing = Routing::Unknown;
        drop(routing);
        for shard in change.parents() {
            self.logs.forget_active(LogName::Shard(stream.id, shard));
        }
        parents.iter().for_each(|(_, log, _)| log.changes().notify());
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
            other => Error::invalid(other.to_string()),
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

/// Parents that take no more records: opened again unless the reshard has become durable.
struct Sealed {
    parents: Vec<(ShardId, Arc<ShardLog>, LogEnd)>,
}

impl Sealed {
    fn seal(stream: &StreamCore, shards: &[ShardId]) -> Result<Self> {
        let mut sealed = Self { parents: Vec::new() };
        for shard in shards {
            let log = stream.logs.log(*shard)?;
            match log.seal() {
                Ok(end) => sealed.parents.push((*shard, log, end)),
                Err(error) => {
                    log.unseal();
                    return Err(error);
                }
            }
        }
        Ok(sealed)
    }

    fn ends(&self) -> Vec<(ShardId, LogEnd)> {
        self.parents
            .iter()
            .map(|(shard, _, end)| (*shard, *end))
            .collect()
    }

    fn last_arrival(&self) -> Timestamp {
        self.parents
            .iter()
            .map(|(_, _, end)| end.last_arrival)
            .max()
            .unwrap_or_default()
    }

    fn keep(mut self) -> Vec<(ShardId, Arc<ShardLog>, LogEnd)> {
        std::mem::take(&mut self.parents)
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.parents.iter().for_each(|(_, log, _)| log.unseal());
    }
}
