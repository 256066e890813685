//! Making, finding and listing the streams of a store.

use std::sync::Arc;

use super::creation::{StreamOptions, check_max_record_bytes, check_warm_throughput, plan_lineage};
use super::handle::StoreHandle;
use super::stream::{Stream, StreamSummary};
use crate::catalog::{Edit, Lifecycle};
use crate::error::{Error, Named, Result};
use crate::model::{StreamId, StreamName, StreamStatus, check_stream_name};

impl StoreHandle {
    pub(super) fn stream(self: &Arc<Self>, id: StreamId) -> Option<Stream> {
        Some(Stream::new(self.clone(), self.core.known_stream(id)?))
    }

    pub(super) fn stream_named(self: &Arc<Self>, namespace: &str, name: &str) -> Result<Stream> {
        self.core.check_open()?;
        self.core.catch_up()?;
        let id = self.core.catalog.read().id_of(namespace, name);
        id.and_then(|id| self.stream(id))
            .ok_or_else(|| Error::StreamNotFound {
                name: name.to_owned(),
            })
    }

    pub(super) fn streams(
        &self,
        namespace: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StreamSummary>> {
        self.core.begin(None)?;
        let state = self.core.catalog.read();
        let streams = state.streams_by_name(namespace, after).take(limit);
        Ok(streams
            .map(|(id, stream)| StreamSummary::of(id, stream))
            .collect())
    }

    pub(super) fn all_streams(
        self: &Arc<Self>,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<Vec<Stream>> {
        self.core.begin(None)?;
        let ids: Vec<_> = {
            let state = self.core.catalog.read();
            let ids = state.streams().map(|(id, _)| id);
            ids.filter(|id| after.is_none_or(|after| *id > after))
                .take(limit)
                .collect()
        };
        // A stream that is deleted meanwhile is left out.
        Ok(ids.into_iter().filter_map(|id| self.stream(id)).collect())
    }

    /// Up to `limit` streams that were created after another one, in that order, and the newest of all. Finishes no due
    /// changes, so it does not wait for the disk.
    #[cfg(feature = "server")]
    pub(super) fn streams_at_once(
        self: &Arc<Self>,
        after: Option<StreamId>,
        limit: usize,
    ) -> Result<(Vec<Stream>, Option<StreamId>)> {
        self.core.check_open()?;
        let (ids, newest) = {
            let state = self.core.catalog.read();
            let newest = state.streams().map(|(id, _)| id).max();
            let ids = state.streams().map(|(id, _)| id);
            let ids = ids.filter(|id| after.is_none_or(|after| *id > after));
            (ids.take(limit).collect::<Vec<_>>(), newest)
        };
        let streams = ids.into_iter().filter_map(|id| self.stream(id)).collect();
        Ok((streams, newest))
    }

    pub(super) fn open_or_create_stream(
        self: &Arc<Self>,
        name: &StreamName,
        options: StreamOptions,
    ) -> Result<Stream> {
        let find = || {
            let found = self.stream_named(&name.namespace, &name.local).ok();
            found.filter(|stream| {
                let status = stream.summary().map(|summary| summary.status);
                status.is_ok_and(|status| status != StreamStatus::Deleting)
            })
        };
        if let Some(stream) = find() {
            return Ok(stream);
        }
        match self.create_stream(name.clone(), options) {
            // Another caller may have made it meanwhile.
            Err(error @ Error::StreamExists { .. }) => find().ok_or(error),
            created => created,
        }
    }

    pub(super) fn create_stream(
        self: &Arc<Self>,
        name: StreamName,
        options: StreamOptions,
    ) -> Result<Stream> {
        let store = &self.core;
        let now = store.begin(None)?;
        check_stream_name(&name.local).map_err(|error| Error::bad_name(Named::Stream, &name.local, error))?;
        check_max_record_bytes(options.max_record_bytes)?;
        check_warm_throughput(options.warm_throughput)?;
        let note = store.clock_note();
        let mut id = None;
        store.catalog.commit(|state| {
            // Planned now so that a wrong count is refused now, even if the shards are made later.
            let lineage = plan_lineage(state, &name, options.shard_count, now)?;
            if state.id_of(&name.namespace, &name.local).is_some() {
                return Err(Error::StreamExists {
                    name: name.local.clone(),
                });
            }
            let stream = state.next_stream();
            id = Some(stream);
            let lifecycle = match store.is_immediate() {
                true => Lifecycle::Active,
                false => Lifecycle::Creating {
                    due: store.due_from(now),
                    shard_count: options.shard_count,
                },
            };
            let mut edits = vec![Edit::StreamCreated {
                stream,
                name: name.clone(),
                created: now,
                lifecycle,
            }];
            edits.extend(options.edits(stream));
            if store.is_immediate() {
                edits.push(Edit::ShardsCreated { stream, lineage });
            }
            // From now on something can expire.
            edits.extend(note);
            Ok(edits)
        })?;
        store.note_next_due();
        id.and_then(|id| self.stream(id))
            .ok_or(Error::StreamNotFound { name: name.local })
    }
}
