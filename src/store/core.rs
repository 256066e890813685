//! The state that all handles of a store share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::event::StoreEvent;
use super::keeper_signal::KeeperSignal;
use super::load_windows::LoadWindows;
use super::open_queues::OpenQueues;
use super::options::StoreOptions;
use super::stream_core::{PutSettings, StreamCore};
use super::timekeeper::TimeKeeper;
use super::transitions::Transitions;
use crate::backend::Logs;
use crate::catalog::{Catalog, StreamState};
use crate::error::{Error, Result};
use crate::model::{Moment, StreamId, StreamName, Timestamp};
use crate::seam::ReadCounters;
use crate::sync::{AtomicBool, Mutex};

#[derive(Debug)]
pub(crate) struct StoreCore {
    pub(super) catalog: Arc<Catalog>,
    pub(super) logs: Arc<dyn Logs>,
    pub(super) keeper: Arc<KeeperSignal>,
    pub(super) options: StoreOptions,
    pub(super) is_read_only: bool,
    /// Whether another program changes the store.
    pub(super) is_following: bool,
    pub(super) streams: Mutex<HashMap<StreamId, Arc<StreamCore>>>,
    pub(super) open_queues: OpenQueues,
    pub(super) time: TimeKeeper,
    pub(super) transitions: Transitions,
    pub(super) load_windows: LoadWindows,
    /// Held during a round of house-keeping: one at a time.
    pub(super) maintaining: Mutex<()>,
    /// One snapshot is taken at a time: each holds up all streams and queues.
    pub(super) taking_snapshot: Mutex<()>,
    pub(super) is_closed: AtomicBool,
    /// Counts the reads of all streams.
    pub(super) reads: ReadCounters,
}

impl StoreCore {
    pub(crate) fn now(&self) -> Timestamp {
        self.time.now()
    }

    pub(super) fn tell(&self, event: &StoreEvent) {
        (self.options.observer.0)(event);
    }

    /// Refuses after a failure, or if the store is closed or only read.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_takes_changes()?;
        self.logs.check()
    }

    /// Refuses if the store is closed or only read. The catalog also refuses edits then.
    pub(super) fn check_takes_changes(&self) -> Result<()> {
        self.check_open()?;
        match self.is_read_only {
            true => Err(Error::ReadOnly),
            false => Ok(()),
        }
    }

    pub(super) fn check_open(&self) -> Result<()> {
        match self.is_closed.load(Ordering::Acquire) {
            true => Err(Error::Closed),
            false => Ok(()),
        }
    }

    pub(super) fn stream(&self, id: StreamId, name: StreamName, settings: PutSettings) -> Arc<StreamCore> {
        let mut streams = self.streams.lock();
        let make = || {
            Arc::new(StreamCore::new(
                id,
                name,
                self.catalog.read().store,
                settings,
                self.catalog.clone(),
                self.logs.clone(),
            ))
        };
        streams.entry(id).or_insert_with(make).clone()
    }

    /// Looks at a stream in the catalog, without finishing due changes, which would wait for the disk.
    pub(super) fn read_stream<T>(
        &self,
        stream: &StreamCore,
        read: impl FnOnce(&StreamState, Moment) -> Result<T>,
    ) -> Result<T> {
        self.check_open()?;
        let moment = self.time.moment();
        let state = self.catalog.read();
        read(stream.state(state.stream(stream.id))?, moment)
    }

    /// A stream that exists, in any state.
    pub(super) fn known_stream(&self, id: StreamId) -> Option<Arc<StreamCore>> {
        let (name, settings) = {
            let state = self.catalog.read();
            let stream = state.stream(id)?;
            (stream.name.clone(), PutSettings::of(stream))
        };
        Some(self.stream(id, name, settings))
    }

    /// A stream that was used by a handle or a change since the store was opened.
    pub(super) fn opened_stream(&self, id: StreamId) -> Option<Arc<StreamCore>> {
        self.streams.lock().get(&id).cloned()
    }

    pub(super) fn open_streams(&self) -> Vec<Arc<StreamCore>> {
        self.streams.lock().values().cloned().collect()
    }

    pub(super) fn forget_stream(&self, id: StreamId) {
        self.streams.lock().remove(&id);
    }
}
