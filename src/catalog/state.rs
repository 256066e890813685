//! The catalog's state, and how edits change it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::edit::{Edit, PlannedReshard};
use super::gone::GoneStreams;
use crate::log::{COMMIT_JOURNAL, LogEnd, SegmentEntry};
use crate::model::{
    Checkpoint, ClockNote, Lineage, RecordNumber, Reshard, ShardId, StreamId, StreamMode, StreamStatus,
    Timestamp, limits,
};

/// All that is known of a store's streams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CatalogState {
    pub(crate) store: u128,
    /// A secret of this store, for whoever hands out tokens that must not be forged.
    pub(crate) token_key: [u8; 32],
    next_stream: u64,
    streams: BTreeMap<StreamId, StreamState>,
    names: BTreeMap<String, StreamId>,
    /// The log of other logs' frames, which edits name as a log of no stream ([`COMMIT_JOURNAL`]).
    pub(crate) journal: LogState,
    /// What the clocks showed when an opener last noted it.
    pub(crate) clock: Option<ClockNote>,
    gone: GoneStreams,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamState {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) mode: StreamMode,
    pub(crate) max_record_bytes: u32,
    pub(crate) retention_hours: u32,
    pub(crate) horizon_floor: Timestamp,
    pub(crate) tags: BTreeMap<String, String>,
    /// None until the stream is active for the first time.
    pub(crate) lineage: Option<Lineage>,
    /// One for each shard of the lineage.
    pub(crate) logs: BTreeMap<ShardId, LogState>,
    pub(crate) checkpoints: BTreeMap<String, Checkpoint>,
}

/// What a stream is doing, and when it will be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Lifecycle {
    Creating { due: Due, shard_count: u32 },
    Active,
    Updating { due: Due, reshard: PlannedReshard },
    Deleting { due: Due },
}

/// When a change that takes time is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Due {
    /// By the wall clock, as it was when the change was asked for.
    pub(crate) at: Timestamp,
    /// How long the change takes. A later opener waits no longer than that, whatever has become of the clock.
    pub(crate) delay_millis: u64,
}

/// What the catalog keeps of a shard's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogState {
    /// All segments, oldest first.
    pub(crate) segments: Vec<SegmentEntry>,
    /// Where the log ends, while it rests. A log that is or was being written to has none.
    pub(crate) end: Option<LogEnd>,
    /// Of records whose arrival times are ahead of the clock, in the order of their numbers.
    pub(crate) ages: Vec<AgeMark>,
    /// The records before this number are not to be seen any more, besides those that arrived before the horizon.
    pub(crate) hidden_before: Option<RecordNumber>,
    /// Whether the commit journal may have frames that the segments lack.
    pub(crate) is_journaled: bool,
}

/// All records before a number were put before the store had been open for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgeMark {
    pub(crate) before: RecordNumber,
    pub(crate) open_millis: u64,
}

impl CatalogState {
    pub(super) fn new(store: u128, token_key: [u8; 32]) -> Self {
        Self {
            store,
            token_key,
            next_stream: 1,
            streams: BTreeMap::new(),
            names: BTreeMap::new(),
            journal: LogState::default(),
            clock: None,
            gone: GoneStreams::default(),
        }
    }

    pub(crate) fn next_stream(&self) -> StreamId {
        StreamId::new(self.next_stream)
    }

    pub(crate) fn stream(&self, stream: StreamId) -> Option<&StreamState> {
        self.streams.get(&stream)
    }

    /// What is kept of a log, the commit journal included.
    pub(super) fn log(&self, stream: StreamId, shard: ShardId) -> Option<&LogState> {
        match (stream, shard) {
            COMMIT_JOURNAL => Some(&self.journal),
            _ => self.stream(stream)?.logs.get(&shard),
        }
    }

    pub(crate) fn id_of(&self, name: &str) -> Option<StreamId> {
        self.names.get(name).copied()
    }

    /// All streams, in the order of their ids.
    pub(crate) fn streams(&self) -> impl ExactSizeIterator<Item = (StreamId, &StreamState)> {
        self.streams.iter().map(|(id, stream)| (*id, stream))
    }

    /// Streams in the order of their names, without those up to and including `after`.
    pub(crate) fn streams_by_name(
        &self,
        after: Option<&str>,
    ) -> impl Iterator<Item = (StreamId, &StreamState)> {
        use std::ops::Bound::{Excluded, Unbounded};
        self.names
            .range::<str, _>((after.map_or(Unbounded, Excluded), Unbounded))
            .filter_map(|(_, id)| Some((*id, self.streams.get(id)?)))
    }

    /// The second after which the sequence numbers of a new stream of this name begin, so that those of an earlier one
    /// are none of its own.
    pub(crate) fn numbers_begin_after(&self, name: &str) -> Option<u64> {
        self.gone.newest_creation(name)
    }

    /// Replaces the segments and the end of a log that was repaired.
    pub(crate) fn replace_segments(
        &mut self,
        stream: StreamId,
        shard: ShardId,
        segments: Vec<SegmentEntry>,
        end: Option<LogEnd>,
    ) {
        if let Ok(known) = self.log_mut(stream, shard) {
            known.segments = segments;
            known.end = end;
        }
    }

    /// Gives no stream a number up to and including this one, which may have been somebody's.
    pub(crate) fn reserve_stream_ids(&mut self, through: StreamId) {
        self.next_stream = self.next_stream.max(through.value().saturating_add(1));
    }

    /// Applies one edit, or says why it does not fit this state, which is then unchanged.
    pub(super) fn apply(&mut self, edit: &Edit) -> Result<(), &'static str> {
        match edit {
            Edit::Snapshot(state) => {
                *self = (**state).clone();
                Ok(())
            }
            Edit::StreamCreated { .. } => self.create_stream(edit),
            Edit::StreamDeleted { stream } => self.delete_stream(*stream),
            Edit::LogsRested { ends } => ends.iter().try_for_each(|(stream, shard, end)| {
                self.log_mut(*stream, *shard)?.rest_at(*end);
                Ok(())
            }),
            Edit::LogJournaled { stream, shard } => {
                self.log_mut(*stream, *shard)?.is_journaled = true;
                Ok(())
            }
            Edit::SegmentAdded {
                stream,
                shard,
                segment,
            } => self.log_mut(*stream, *shard)?.add_segment(*segment),
            Edit::LogResumed { stream, shard } => {
                self.log_mut(*stream, *shard)?.end = None;
                Ok(())
            }
            Edit::LogTrimmed {
                stream,
                shard,
                first_record,
            } => {
                self.log_mut(*stream, *shard)?.trim(*first_record);
                if (*stream, *shard) == COMMIT_JOURNAL && self.journal.segments.is_empty() {
                    self.note_empty_journal();
                }
                Ok(())
            }
            Edit::StreamActivated { stream, lineage } => self.stream_mut(*stream)?.activate(lineage),
            Edit::ReshardBegun { stream, due, reshard } => {
                self.stream_mut(*stream)?.lifecycle = Lifecycle::Updating {
                    due: *due,
                    reshard: *reshard,
                };
                Ok(())
            }
            Edit::Resharded {
                stream,
                reshard,
                ends,
            } => self.stream_mut(*stream)?.reshard(reshard, ends),
            Edit::RetentionChanged {
                stream,
                hours,
                horizon_floor,
            } => {
                let stream = self.stream_mut(*stream)?;
                stream.retention_hours = *hours;
                stream.horizon_floor = stream.horizon_floor.max(*horizon_floor);
                Ok(())
            }
            Edit::DeletionBegun { stream, due } => {
                self.stream_mut(*stream)?.lifecycle = Lifecycle::Deleting { due: *due };
                Ok(())
            }
            Edit::ShardExpired { stream, shard } => self.stream_mut(*stream)?.expire(*shard),
            Edit::CheckpointSaved {
                stream,
                name,
                checkpoint,
            } => {
                self.stream_mut(*stream)?
                    .checkpoints
                    .insert(name.clone(), checkpoint.clone());
                Ok(())
            }
            Edit::CheckpointRemoved { stream, name } => {
                self.stream_mut(*stream)?.checkpoints.remove(name);
                Ok(())
            }
            Edit::ClockNoted(note) => {
                self.clock = Some(*note);
                Ok(())
            }
            Edit::ReshardGivenUp { stream } => {
                self.stream_mut(*stream)?.lifecycle = Lifecycle::Active;
                Ok(())
            }
            Edit::AgesMarked { marks } => marks.iter().try_for_each(|(stream, shard, mark)| {
                self.log_mut(*stream, *shard)?.ages.push(*mark);
                Ok(())
            }),
            Edit::RecordsHidden { before } => before.iter().try_for_each(|(stream, shard, number)| {
                self.log_mut(*stream, *shard)?.hide_before(*number);
                Ok(())
            }),
        }
    }

    fn create_stream(&mut self, edit: &Edit) -> Result<(), &'static str> {
        let Edit::StreamCreated {
            stream,
            name,
            created,
            due,
            shard_count,
            mode,
            max_record_bytes,
            tags,
        } = edit
        else {
            return Err("this edit creates no stream");
        };
        if self.names.contains_key(name) {
            return Err("a stream of this name exists");
        }
        self.next_stream = self.next_stream.max(stream.value() + 1);
        self.names.insert(name.clone(), *stream);
        self.streams.insert(
            *stream,
            StreamState {
                name: name.clone(),
                created: *created,
                lifecycle: Lifecycle::Creating {
                    due: *due,
                    shard_count: *shard_count,
                },
                mode: *mode,
                max_record_bytes: *max_record_bytes,
                retention_hours: limits::MIN_RETENTION_HOURS,
                horizon_floor: Timestamp::from_millis(0),
                tags: tags.clone(),
                lineage: None,
                logs: BTreeMap::new(),
                checkpoints: BTreeMap::new(),
            },
        );
        Ok(())
    }

    fn delete_stream(&mut self, stream: StreamId) -> Result<(), &'static str> {
        let gone = self.streams.remove(&stream).ok_or("the stream does not exist")?;
        self.names.remove(&gone.name);
        let created = gone.lineage.iter().flat_map(Lineage::shards);
        if let Some(newest) = created.map(|shard| shard.created_seconds).max() {
            self.gone.note(gone.name, newest);
        }
        Ok(())
    }

    /// Whether the commit journal may have frames of any log that its segments lack.
    pub(crate) fn needs_journal(&self) -> bool {
        let mut logs = self.streams.values().flat_map(|stream| stream.logs.values());
        logs.any(|log| log.end.is_none() && log.is_journaled)
    }

    fn note_empty_journal(&mut self) {
        let logs = self
            .streams
            .values_mut()
            .flat_map(|stream| stream.logs.values_mut());
        logs.for_each(|log| log.is_journaled = false);
    }

    fn stream_mut(&mut self, stream: StreamId) -> Result<&mut StreamState, &'static str> {
        self.streams.get_mut(&stream).ok_or("the stream does not exist")
    }

    fn log_mut(&mut self, stream: StreamId, shard: ShardId) -> Result<&mut LogState, &'static str> {
        if (stream, shard) == COMMIT_JOURNAL {
            return Ok(&mut self.journal);
        }
        self.stream_mut(stream)?
            .logs
            .get_mut(&shard)
            .ok_or("the shard does not exist")
    }
}

impl StreamState {
    /// The state in Kinesis' words.
    pub(crate) fn status(&self) -> StreamStatus {
        match self.lifecycle {
            Lifecycle::Creating { .. } => StreamStatus::Creating,
            Lifecycle::Active => StreamStatus::Active,
            Lifecycle::Updating { .. } => StreamStatus::Updating,
            Lifecycle::Deleting { .. } => StreamStatus::Deleting,
        }
    }

    /// The open shards, with those that a creation or a split is still making.
    pub(crate) fn open_and_coming_shard_count(&self) -> u32 {
        let open = self.lineage.as_ref().map_or(0, Lineage::open_shard_count);
        match self.lifecycle {
            Lifecycle::Creating { shard_count, .. } => shard_count,
            Lifecycle::Updating {
                reshard: PlannedReshard::Split { .. },
                ..
            } => open.saturating_add(1),
            Lifecycle::Updating { .. } | Lifecycle::Active | Lifecycle::Deleting { .. } => open,
        }
    }

    /// Records that arrived earlier are not to be seen any more.
    pub(crate) fn horizon(&self, confirmed: Timestamp) -> Timestamp {
        confirmed.saturating_sub(self.retention()).max(self.horizon_floor)
    }

    pub(crate) fn retention(&self) -> Duration {
        Duration::from_secs(u64::from(self.retention_hours) * 3_600)
    }

    fn activate(&mut self, lineage: &Lineage) -> Result<(), &'static str> {
        if self.lineage.is_some() {
            return Err("the stream is active already");
        }
        self.logs = lineage
            .shards()
            .map(|shard| (shard.id, LogState::empty()))
            .collect();
        self.lineage = Some(lineage.clone());
        self.lifecycle = Lifecycle::Active;
        Ok(())
    }

    fn reshard(&mut self, reshard: &Reshard, ends: &[(ShardId, LogEnd)]) -> Result<(), &'static str> {
        let lineage = self.lineage.as_mut().ok_or("the stream has no shards yet")?;
        let is_complete = reshard
            .parents
            .iter()
            .all(|parent| ends.iter().any(|(shard, _)| shard == parent));
        if !is_complete {
            return Err("a parent's end is missing");
        }
        lineage
            .apply_reshard(reshard)
            .map_err(|_| "the reshard does not fit the lineage")?;
        for (shard, end) in ends {
            self.logs.entry(*shard).or_default().rest_at(*end);
        }
        for child in &reshard.children {
            self.logs.insert(child.id, LogState::empty());
        }
        self.lifecycle = Lifecycle::Active;
        Ok(())
    }

    fn expire(&mut self, shard: ShardId) -> Result<(), &'static str> {
        let lineage = self.lineage.as_mut().ok_or("the stream has no shards yet")?;
        lineage.expire(shard).map_err(|_| "the shard cannot expire")?;
        self.logs.remove(&shard);
        Ok(())
    }
}

impl Lifecycle {
    pub(crate) fn due(&self) -> Option<Due> {
        match *self {
            Self::Creating { due, .. } | Self::Updating { due, .. } | Self::Deleting { due } => Some(due),
            Self::Active => None,
        }
    }
}

impl LogState {
    /// A log without a record rests at its beginning.
    fn empty() -> Self {
        Self {
            end: Some(LogEnd::EMPTY),
            ..Self::default()
        }
    }

    /// All of it is durable in its segments.
    fn rest_at(&mut self, end: LogEnd) {
        self.end = Some(end);
        self.is_journaled = false;
    }

    fn add_segment(&mut self, segment: SegmentEntry) -> Result<(), &'static str> {
        let follows = self.segments.last().is_none_or(|last| {
            last.first_record < segment.first_record && last.base_position <= segment.base_position
        });
        if !follows {
            return Err("the segment does not follow the ones before");
        }
        self.segments.push(segment);
        self.end = None;
        Ok(())
    }

    fn hide_before(&mut self, number: RecordNumber) {
        self.hidden_before = self.hidden_before.max(Some(number));
        self.ages.retain(|mark| mark.before > number);
    }

    fn trim(&mut self, first_record: RecordNumber) {
        let kept = self
            .segments
            .partition_point(|segment| segment.first_record < first_record);
        self.segments.drain(..kept);
    }
}
