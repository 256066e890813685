//! Giving on-demand streams the shards that their load needs.
//!
//! Routes count what is put. Once a minute the keeper takes the counts, and [`StreamLoad`] decides. The greatest load
//! of a stream on each day is kept in the catalog, because it counts for a month; everything else begins again when the
//! store is opened. This only begins a change: like every change of many steps it is done step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use super::core::StoreCore;
use super::event::StoreEvent;
use super::load_windows::StreamWindow;
use super::stream_core::{Counts, StreamCore};
use crate::catalog::{CatalogState, Change, Edit, Steps, StreamState};
use crate::error::{Error, Result};
use crate::model::{
    LOAD_WINDOW, Lineage, Load, PEAK_DAYS, QUIET_TIME, Scaling, Shard, ShardId, StreamId, StreamLoad,
    StreamMode, StreamStatus,
};

/// What was put to the shards of a stream, and over how much time.
struct Counted {
    stream: StreamId,
    counts: BTreeMap<ShardId, Counts>,
    time: Duration,
}

impl StoreCore {
    /// At the end of a window, begins the changes that the load of on-demand streams requires. Gives the first failure.
    pub(super) fn scale_on_demand_streams(&self) -> Result<()> {
        let monotonic = self.time.monotonic();
        let mut windows = self.load_windows.0.lock();
        if monotonic.saturating_sub(windows.began) < LOAD_WINDOW {
            return Ok(());
        }
        let before = std::mem::replace(&mut windows.began, monotonic);
        // All counts are taken before any change begins, which may take a while.
        let counted: Vec<_> = self.on_demand_streams();
        let counted: BTreeMap<_, _> = (counted.into_iter())
            .map(|id| {
                let window = windows.streams.get(&id).copied().unwrap_or(StreamWindow {
                    counted: before,
                    quiet_since: monotonic,
                });
                let counted = Counted {
                    stream: id,
                    counts: self
                        .opened_stream(id)
                        .map(|stream| stream.take_counts())
                        .unwrap_or_default(),
                    time: monotonic.saturating_sub(window.counted),
                };
                let window = StreamWindow {
                    counted: monotonic,
                    ..window
                };
                (id, (counted, window))
            })
            .collect();
        windows.streams = counted.iter().map(|(id, (_, window))| (*id, *window)).collect();
        let mut result = Ok(());
        for (id, (counted, window)) in &counted {
            let quiet_for = monotonic.saturating_sub(window.quiet_since);
            match self.scale(counted, quiet_for) {
                Ok(true) => {}
                Ok(false) => {
                    if let Some(window) = windows.streams.get_mut(id) {
                        window.quiet_since = monotonic;
                    }
                }
                // The stream was deleted, or its owner is changing it: the next window sees the result.
                Err(Error::StreamNotActive { .. } | Error::StreamNotFound { .. }) => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }

    fn on_demand_streams(&self) -> Vec<StreamId> {
        let state = self.catalog.read();
        let on_demand = state
            .streams()
            .filter(|(_, stream)| stream.mode == StreamMode::OnDemand);
        on_demand.map(|(id, _)| id).collect()
    }

    /// Returns whether the stream stays quiet: no shard was hot, and its number of shards was not lowered.
    fn scale(&self, counted: &Counted, quiet_for: Duration) -> Result<bool> {
        let day = self.time.moment().confirmed.as_seconds() / (24 * 60 * 60);
        let load = {
            let state = self.catalog.read();
            let Some(stream) = state.stream(counted.stream) else {
                return Ok(true);
            };
            let Some(lineage) = (stream.lineage.as_ref()).filter(|_| stream.status() == StreamStatus::Active)
            else {
                return Ok(true);
            };
            StreamLoad {
                shards: counted.loads(lineage),
                peak: stream.peak_until(day),
                warm: stream.warm_throughput,
                is_quiet: quiet_for >= QUIET_TIME,
            }
        };
        let Some(stream) = self.known_stream(counted.stream) else {
            return Ok(true);
        };
        self.note_peak(&stream, day, load.in_shards())?;
        if let Some((steps, after)) = self.steps_of(&stream, &load)? {
            let now = self.now();
            self.schedule_at_once(&stream, now, |_| Ok(Change::Shards(steps.clone())))?;
            self.tell(&StoreEvent::StreamScaled {
                stream: stream.name.clone(),
                before: load.shards.len() as u32,
                after,
            });
        }
        Ok(!load.has_hot_shard() && !load.is_quiet)
    }

    /// The steps to take, and how many shards there will be.
    fn steps_of(&self, stream: &StreamCore, load: &StreamLoad) -> Result<Option<(Steps, u32)>> {
        let state = self.catalog.read();
        let lineage = stream.lineage(&state)?;
        let before = load.shards.len() as u32;
        let halved = match load.decide() {
            Scaling::None => return Ok(None),
            Scaling::Halve(shards) => shards,
            Scaling::Count(count) if count > before => lineage.widest((count - before) as usize),
            Scaling::Count(target) => {
                let first_new = lineage.first_new_on_the_way_to(target);
                let first_new = first_new.map_err(|error| stream.reshard_error(error))?;
                return Ok(Some((Steps::Count { target, first_new }, target)));
            }
        };
        // A shard of a few keys cannot be halved, however hot it is.
        let halved: Vec<_> = halved
            .into_iter()
            .filter(|shard| lineage.halving(*shard).is_some())
            .collect();
        let after = before.saturating_add(halved.len() as u32);
        Ok((!halved.is_empty()).then_some((Steps::Halve(halved), after)))
    }

    /// Keeps the greatest load of a stream on a day, in whole shards.
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

impl Counted {
    fn loads(&self, lineage: &Lineage) -> Vec<(ShardId, Load)> {
        let load_of = |shard: &Shard| {
            let counts = self.counts.get(&shard.id).copied().unwrap_or_default();
            (shard.id, Load::of(counts.bytes, counts.records, self.time))
        };
        lineage.open_shards().map(load_of).collect()
    }
}

impl StreamState {
    /// The greatest load of the stream on this day and the earlier days that count, in whole shards.
    fn peak_until(&self, day: u64) -> u32 {
        let first = day.saturating_sub(PEAK_DAYS);
        let peaks = self.load_peaks.range(first..=day);
        peaks.map(|(_, shards)| *shards).max().unwrap_or(0)
    }
}
