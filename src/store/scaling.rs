//! Giving on-demand streams the shards that their load needs.
//!
//! Routes count what is put. Once a minute the keeper takes the counts, and [`StreamLoad`] decides. The most that a stream
//! took on a day is kept in the catalog, for it counts for a month; all else begins again when the store is opened.

use std::collections::BTreeMap;
use std::time::Duration;

use super::core::StoreCore;
use super::event::StoreEvent;
use super::stream_core::StreamCore;
use crate::catalog::{CatalogState, Edit, Lifecycle, Steps, StreamState};
use crate::error::{Error, Result};
use crate::model::{
    LOAD_WINDOW, Lineage, Load, PEAK_DAYS, QUIET_TIME, Scaling, ShardId, StreamId, StreamLoad, StreamMode,
};
use crate::sync::Mutex;

/// What is remembered from window to window.
#[derive(Debug)]
pub(super) struct LoadWindows(Mutex<Windows>);

#[derive(Debug)]
struct Windows {
    /// By the monotonic clock.
    began: Duration,
    /// Since when no shard was hot, by the monotonic clock, of each on-demand stream.
    quiet_since: BTreeMap<StreamId, Duration>,
}

impl LoadWindows {
    pub(super) fn new(monotonic: Duration) -> Self {
        Self(Mutex::new(Windows {
            began: monotonic,
            quiet_since: BTreeMap::new(),
        }))
    }
}

impl StoreCore {
    /// At the end of a window, begins what the load of on-demand streams calls for. Gives the first failure.
    pub(super) fn scale_on_demand_streams(&self) -> Result<()> {
        let monotonic = self.time.monotonic();
        let mut windows = self.load_windows.0.lock();
        let window = monotonic.saturating_sub(windows.began);
        if window < LOAD_WINDOW {
            return Ok(());
        }
        windows.began = monotonic;
        let on_demand: Vec<_> = {
            let state = self.catalog.read();
            let streams = state.streams().filter(|(_, stream)| stream.scales_by_itself());
            streams.map(|(id, _)| id).collect()
        };
        windows.quiet_since.retain(|id, _| on_demand.contains(id));
        let mut result = Ok(());
        for id in on_demand {
            let quiet_since = windows.quiet_since.entry(id).or_insert(monotonic);
            let scaled = self.scale(id, window, monotonic, quiet_since);
            result = result.and(scaled);
        }
        result
    }

    fn scale(
        &self,
        id: StreamId,
        window: Duration,
        monotonic: Duration,
        quiet_since: &mut Duration,
    ) -> Result<()> {
        let Some(stream) = self.known_stream(id) else {
            return Ok(());
        };
        let counts = stream.take_counts();
        let now = self.now();
        let day = now.as_seconds() / (24 * 60 * 60);
        let load = {
            let state = self.catalog.read();
            let state = stream.state(state.stream(id))?;
            let Some(lineage) = &state.lineage else {
                return Ok(());
            };
            let load_of = |shard: ShardId| {
                let counts = counts.get(&shard).copied().unwrap_or_default();
                Load::of(counts.bytes, counts.records, window)
            };
            StreamLoad {
                shards: lineage
                    .open_shards()
                    .map(|shard| (shard.id, load_of(shard.id)))
                    .collect(),
                peak: state.peak_before(day),
                warm: state.warm_throughput,
                is_quiet: monotonic.saturating_sub(*quiet_since) >= QUIET_TIME,
            }
        };
        self.note_peak(&stream, day, load.in_shards())?;
        let scaling = load.decide();
        if load.has_hot_shard() || load.is_quiet {
            *quiet_since = monotonic;
        }
        let before = load.shards.len() as u32;
        let after = match &scaling {
            Scaling::None => return Ok(()),
            Scaling::Halve(shards) => before.saturating_add(shards.len() as u32),
            Scaling::Count(count) => *count,
        };
        self.tell(&StoreEvent::StreamScaled {
            stream: stream.name.clone(),
            before,
            after,
        });
        let scaled = self.change_by_steps(&stream, now, |state| match &scaling {
            Scaling::Halve(shards) => Ok(Steps::Halve(shards.clone())),
            _ => {
                let lineage = stream.lineage(state)?;
                let first_new = lineage.first_new_on_the_way_to(after);
                let first_new = first_new.map_err(|error| stream.reshard_error(error))?;
                Ok(Steps::Count {
                    target: after,
                    first_new,
                })
            }
        });
        match scaled {
            // Its owner is changing it; the next window sees what came of that.
            Err(Error::StreamNotActive { .. } | Error::StreamNotFound { .. }) => Ok(()),
            scaled => scaled,
        }
    }

    /// Keeps the most that a stream took on a day, in whole shards.
    fn note_peak(&self, stream: &StreamCore, day: u64, shards: u32) -> Result<()> {
        let is_news = |state: &CatalogState| {
            let known = state
                .stream(stream.id)
                .and_then(|stream| stream.load_peaks.get(&day).copied());
            StreamLoad::is_worth_noting(shards) && known.is_none_or(|known| known < shards)
        };
        if !is_news(&self.catalog.read()) {
            return Ok(());
        }
        self.catalog.commit(|state| {
            stream.state(state.stream(stream.id))?;
            Ok(vec![Edit::LoadPeaked {
                stream: stream.id,
                day,
                shards,
            }])
        })
    }
}

impl StreamState {
    fn scales_by_itself(&self) -> bool {
        let has_shards = self
            .lineage
            .as_ref()
            .is_some_and(|lineage| !Lineage::is_empty(lineage));
        self.mode == StreamMode::OnDemand && self.lifecycle == Lifecycle::Active && has_shards
    }

    /// The most that the stream took in the days before this one, and on it, in whole shards.
    fn peak_before(&self, day: u64) -> u32 {
        let first = day.saturating_sub(PEAK_DAYS);
        self.load_peaks
            .range(first..)
            .map(|(_, shards)| *shards)
            .max()
            .unwrap_or(0)
    }
}
