//! Which JetStream streams the store has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::api::StreamInfo;
use super::shared::Shared;
use super::subjects::Names;
use crate::error::Result;
use crate::model::StreamId;
use crate::sync::Mutex;

/// Between two looks at how much is in them.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Streams {
    state: Mutex<StreamsState>,
}

#[derive(Debug)]
struct StreamsState {
    streams: BTreeMap<StreamId, Known>,
    look_from: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Made by this opener: nothing is in it that it does not know.
    is_new: bool,
    /// On each server that has it, when it was last looked at.
    bytes: u64,
}

impl Streams {
    pub(super) fn of(names: &Names, streams: &[StreamInfo]) -> Self {
        let found = streams.iter().filter_map(|stream| {
            let known = Known {
                is_new: false,
                bytes: stream.bytes,
            };
            Some((names.stream_of(&stream.name)?, known))
        });
        Self {
            state: Mutex::new(StreamsState {
                streams: found.collect(),
                look_from: PAUSE,
            }),
        }
    }

    pub(super) fn ids(&self) -> Vec<StreamId> {
        self.state.lock().streams.keys().copied().collect()
    }

    /// Whether a stream was made by this opener; `None` if there is none.
    pub(super) fn is_new(&self, id: StreamId) -> Option<bool> {
        self.state.lock().streams.get(&id).map(|known| known.is_new)
    }

    pub(super) fn note_made(&self, id: StreamId, is_new: bool) {
        let made = Known { is_new, bytes: 0 };
        self.state.lock().streams.entry(id).or_insert(made);
    }

    /// True if it was there.
    pub(super) fn forget(&self, id: StreamId) -> bool {
        self.state.lock().streams.remove(&id).is_some()
    }

    /// The bytes of one stream, or of all.
    pub(super) fn bytes(&self, of: Option<StreamId>) -> u64 {
        let state = self.state.lock();
        match of {
            Some(id) => state.streams.get(&id).map_or(0, |known| known.bytes),
            None => state.streams.values().map(|known| known.bytes).sum(),
        }
    }

    /// Looks at how much is in them, once a minute.
    pub(super) fn look_again(&self, shared: &Arc<Shared>, monotonic: Duration) -> Result<()> {
        {
            let mut state = self.state.lock();
            if state.look_from > monotonic {
                return Ok(());
            }
            state.look_from = monotonic + PAUSE;
        }
        let of_task = shared.clone();
        let listed = shared
            .cluster
            .run(async move { of_task.api.streams(&of_task.names.everything()).await })?;
        let listed = listed.map_err(|failure| failure.into_error("list its streams"))?;
        let mut state = self.state.lock();
        for stream in listed {
            let id = shared.names.stream_of(&stream.name);
            if let Some(known) = id.and_then(|id| state.streams.get_mut(&id)) {
                known.bytes = stream.bytes;
            }
        }
        Ok(())
    }
}
