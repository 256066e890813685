//! Which JetStream streams the store has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::api::StreamInfo;
use super::shared::Shared;
use super::subjects::Names;
use crate::backend::ReplicaStats;
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
    catalog: Known,
    /// How many times one of them was found to have another leader than before.
    leader_changes: u64,
    look_from: Duration,
}

#[derive(Clone, Debug, Default)]
struct Known {
    /// Made by this opener: nothing is in it that it does not know.
    is_new: bool,
    /// On each server that has it, when it was last looked at.
    bytes: u64,
    leader: Option<String>,
    /// None until they were looked at.
    replicas: Option<ReplicaStats>,
}

impl Streams {
    pub(super) fn of(names: &Names, streams: &[StreamInfo]) -> Self {
        let found = streams
            .iter()
            .filter_map(|stream| Some((names.stream_of(&stream.name)?, Known::of(stream))));
        let catalog = streams
            .iter()
            .find(|stream| stream.name == names.catalog_stream());
        Self {
            state: Mutex::new(StreamsState {
                streams: found.collect(),
                catalog: catalog.map(Known::of).unwrap_or_default(),
                leader_changes: 0,
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
        let made = Known {
            is_new,
            ..Known::default()
        };
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

    /// The replicas of one stream, or of the one that has the fewest that are current, the catalog's included.
    pub(super) fn replicas(&self, of: Option<StreamId>) -> Option<ReplicaStats> {
        let state = self.state.lock();
        match of {
            Some(id) => state.streams.get(&id)?.replicas,
            None => {
                let all = state.streams.values().chain([&state.catalog]);
                let all = all.filter_map(|known| known.replicas);
                all.reduce(ReplicaStats::worse)
            }
        }
    }

    pub(super) fn leader_changes(&self) -> u64 {
        self.state.lock().leader_changes
    }

    /// Looks at how much is in them and who has them, once a minute.
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
            let StreamsState {
                streams,
                catalog,
                leader_changes,
                ..
            } = &mut *state;
            let known = match shared.names.stream_of(&stream.name) {
                Some(id) => streams.get_mut(&id),
                None => (stream.name == shared.names.catalog_stream()).then_some(catalog),
            };
            if let Some(known) = known {
                *leader_changes += u64::from(known.note(&stream));
            }
        }
        Ok(())
    }
}

impl Known {
    fn of(stream: &StreamInfo) -> Self {
        let mut known = Self::default();
        known.note(stream);
        known
    }

    /// Whether another server leads it than before.
    fn note(&mut self, stream: &StreamInfo) -> bool {
        let leader = stream.leader.clone().or_else(|| self.leader.clone());
        let is_changed = self.leader.is_some() && leader != self.leader;
        self.leader = leader;
        self.bytes = stream.bytes;
        self.replicas = Some(ReplicaStats {
            wanted: stream.replicas,
            current: stream.current_replicas,
            lag: stream.lag,
        });
        is_changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(leader: Option<&str>, current_replicas: u64) -> StreamInfo {
        StreamInfo {
            name: "AB_main_1".to_owned(),
            is_ours: true,
            replicas: 3,
            bytes: 7,
            last_sequence: 9,
            leader: leader.map(str::to_owned),
            current_replicas,
            lag: 4,
        }
    }

    #[test]
    fn a_change_of_the_leader_is_told_also_over_a_time_without_one() {
        let mut known = Known::of(&stream(Some("n1"), 3));
        assert!(!known.note(&stream(Some("n1"), 3)));
        assert!(!known.note(&stream(None, 2)));
        assert!(!known.note(&stream(Some("n1"), 2)));
        assert!(!known.note(&stream(None, 2)));
        assert!(known.note(&stream(Some("n2"), 2)));
        let replicas = known.replicas.unwrap();
        assert_eq!((replicas.wanted, replicas.current, replicas.lag), (3, 2, 4));
    }

    #[test]
    fn all_streams_have_as_many_current_replicas_as_the_one_with_the_fewest() {
        let streams = [stream(Some("n1"), 3), stream(Some("n1"), 1)];
        let [whole, worse] = streams.map(|stream| Known::of(&stream).replicas.unwrap());
        assert_eq!(whole.worse(worse).current, 1);
        assert_eq!(worse.worse(whole).current, 1);
    }
}
