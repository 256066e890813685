//! The catalog's state, and how edits change it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::channel_state::ChannelState;
use super::edit::{Edit, Resource};
use super::gone::GoneStreams;
use super::labels::Labels;
use super::log_state::LogState;
use super::queue_state::QueueState;
use super::stream_state::{ConsumerState, StreamState};
use crate::log::{LogEnd, SegmentEntry};
use crate::model::{
    ChannelId, ClockNote, ConsumerId, LogName, QueueId, RecordNumber, ShardId, StreamId, StreamName,
};

/// Everything that is known of a store's streams. It is stored as the edits that rebuild it
/// ([`snapshot`](Self::snapshot)).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CatalogState {
    pub(crate) store: u128,
    /// A secret of this store, for tokens that must not be forged.
    pub(crate) secret: [u8; 32],
    pub(super) next_stream: u64,
    /// On the heap one by one: a node of the map has room for eleven, and is half full where ids rise.
    pub(super) streams: BTreeMap<StreamId, Box<StreamState>>,
    /// By namespace and local name.
    pub(super) names: BTreeMap<String, BTreeMap<String, StreamId>>,
    /// By namespace; accounts without any label are not listed.
    pub(super) accounts: BTreeMap<String, Labels>,
    /// The commit journal.
    pub(crate) journal: LogState,
    /// What the clocks showed when an opener last noted them.
    pub(crate) clock: Option<ClockNote>,
    pub(super) gone: GoneStreams,
}

impl CatalogState {
    pub(crate) fn new(store: u128, secret: [u8; 32]) -> Self {
        Self {
            store,
            secret,
            next_stream: 1,
            streams: BTreeMap::new(),
            names: BTreeMap::new(),
            accounts: BTreeMap::new(),
            journal: LogState::default(),
            clock: None,
            gone: GoneStreams::default(),
        }
    }

    pub(crate) fn next_stream(&self) -> StreamId {
        StreamId::new(self.next_stream)
    }

    pub(crate) fn stream(&self, stream: StreamId) -> Option<&StreamState> {
        self.streams.get(&stream).map(Box::as_ref)
    }

    /// What is kept of a log, the commit journal included.
    pub(crate) fn log(&self, name: LogName) -> Option<&LogState> {
        match name {
            LogName::CommitJournal => Some(&self.journal),
            LogName::Shard(stream, _) | LogName::Queue(stream, _) => self.stream(stream)?.log(name),
        }
    }

    /// All logs of all streams.
    pub(crate) fn logs(&self) -> impl Iterator<Item = (LogName, &LogState)> {
        self.streams().flat_map(|(id, stream)| stream.logs_of(id))
    }

    pub(crate) fn id_of(&self, namespace: &str, name: &str) -> Option<StreamId> {
        self.names.get(namespace)?.get(name).copied()
    }

    /// All streams, in the order of their ids.
    pub(crate) fn streams(&self) -> impl ExactSizeIterator<Item = (StreamId, &StreamState)> {
        self.streams.iter().map(|(id, stream)| (*id, stream.as_ref()))
    }

    /// The namespaces that have streams, in order.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// A namespace's streams in the order of their names, from behind `after`.
    pub(crate) fn streams_by_name(
        &self,
        namespace: &str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (StreamId, &StreamState)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let range = (after.map_or(Unbounded, Excluded), Unbounded);
        let names = self.names.get(namespace).into_iter();
        names
            .flat_map(move |names| names.range::<str, _>(range))
            .filter_map(|(_, id)| Some((*id, self.stream(*id)?)))
    }

    /// The tags and attributes of a resource; `None` if there is no such resource, or if an account has none.
    pub(crate) fn labels(&self, resource: &Resource) -> Option<&Labels> {
        match resource {
            Resource::Account(namespace) => self.accounts.get(namespace),
            Resource::Stream(stream) => Some(&self.stream(*stream)?.labels),
            Resource::Consumer(stream, consumer) => {
                Some(&self.stream(*stream)?.consumers.get(consumer)?.labels)
            }
            Resource::Queue(stream, queue) => Some(&self.stream(*stream)?.queues.get(queue)?.labels),
            Resource::Channel(stream, channel) => Some(&self.stream(*stream)?.channels.get(channel)?.labels),
        }
    }

    /// The second after which the sequence numbers of a new stream of this name begin, so that they differ from those
    /// of an earlier stream.
    pub(crate) fn numbers_begin_after(&self, name: &StreamName) -> Option<u64> {
        self.gone.newest_creation(name)
    }

    /// Whether the commit journal may have frames of any log that its segments lack.
    pub(crate) fn needs_journal(&self) -> bool {
        let mut logs = self.logs();
        logs.any(|(_, log)| log.end.is_none() && log.is_journaled)
    }

    /// Replaces the segments and the end of a log that was repaired.
    pub(crate) fn replace_segments(
        &mut self,
        log: LogName,
        segments: Vec<SegmentEntry>,
        end: Option<LogEnd>,
    ) {
        if let Ok(known) = self.log_mut(log) {
            known.segments = segments;
            known.end = end;
        }
    }

    /// No new shard gets the id of one that may have been in use, and no new stream gets the number of that shard's
    /// stream.
    pub(crate) fn reserve_shard(&mut self, stream: StreamId, shard: ShardId) {
        self.reserve_stream_ids(stream);
        let known = self.streams.get_mut(&stream);
        if let Some(lineage) = known.and_then(|stream| stream.lineage.as_mut()) {
            lineage.reserve_ids(shard);
        }
    }

    /// No new queue gets the number of one that may have been in use, and no new stream gets the number of that queue's
    /// stream.
    pub(crate) fn reserve_queue(&mut self, stream: StreamId, queue: QueueId) {
        self.reserve_stream_ids(stream);
        if let Some(known) = self.streams.get_mut(&stream) {
            known.reserve_queues(queue);
        }
    }

    /// No further record of a log gets a number before this one. Such numbers may have been in use.
    pub(crate) fn reserve_record_numbers(&mut self, log: LogName, before: RecordNumber) {
        if let Ok(known) = self.log_mut(log) {
            known.reserve_numbers(before);
        }
    }

    /// There may have been streams whose names are lost. None of their shards was created later.
    pub(crate) fn note_unknown_streams(&mut self, newest_creation: u64) {
        self.gone.note(None, newest_creation);
    }

    /// No new stream gets a number up to and including this one. Such numbers may have been in use.
    pub(crate) fn reserve_stream_ids(&mut self, through: StreamId) {
        self.next_stream = self.next_stream.max(through.value().saturating_add(1));
    }

    /// Applies edits in their order, up to the first that does not fit.
    pub(super) fn apply_all(&mut self, edits: impl IntoIterator<Item = Edit>) -> Result<(), &'static str> {
        edits.into_iter().try_for_each(|edit| self.apply(edit))
    }

    /// Applies one edit, or gives the reason why it does not fit this state. After an error, an edit about one thing
    /// has changed nothing; an edit about several logs has changed those before the one that does not fit.
    pub(super) fn apply(&mut self, edit: Edit) -> Result<(), &'static str> {
        match edit {
            Edit::StoreCreated { .. } => return Err("a store is created once"),
            Edit::StreamIdsReserved { through } => self.reserve_stream_ids(through),
            Edit::StreamCreated {
                stream,
                name,
                created,
                lifecycle,
            } => {
                let state = StreamState::new(name, created, lifecycle);
                return self.create_stream(stream, state);
            }
            Edit::ShardsCreated { stream, lineage } => {
                return self.stream_mut(stream)?.create_shards(lineage);
            }
            Edit::LifecycleChanged { stream, lifecycle } => {
                return self.stream_mut(stream)?.change_lifecycle(&lifecycle);
            }
            Edit::Resharded {
                stream,
                reshard,
                ends,
            } => return self.stream_mut(stream)?.reshard(&reshard, &ends),
            Edit::ShardExpired { stream, shard } => return self.stream_mut(stream)?.expire(shard),
            Edit::StreamDeleted { stream } => return self.delete_stream(stream),
            Edit::GoneStreamNoted {
                name,
                newest_creation,
            } => self.gone.note(name, newest_creation),
            Edit::SettingChanged { resource, setting } => match resource {
                Resource::Stream(stream) => return self.stream_mut(stream)?.change(&setting),
                Resource::Queue(stream, queue) => {
                    return self.queue_mut(stream, queue)?.change(&setting);
                }
                Resource::Channel(stream, channel) => {
                    return self.channel_mut(stream, channel)?.change(&setting);
                }
                Resource::Account(_) | Resource::Consumer(..) => {
                    return Err("the resource has no such setting");
                }
            },
            Edit::TagsChanged {
                resource,
                set,
                removed,
            } => self.change_labels(&resource, |labels| labels.change_tags(&set, &removed))?,
            Edit::AttributeChanged {
                resource,
                name,
                value,
            } => self.change_labels(&resource, |labels| labels.set_attribute(&name, value.as_deref()))?,
            Edit::ConsumerRegistered {
                stream,
                consumer,
                name,
                created,
            } => return self.stream_mut(stream)?.register(consumer, &name, created),
            Edit::ConsumerRemoved { stream, consumer } => {
                return self.stream_mut(stream)?.remove_consumer(consumer);
            }
            Edit::ConsumerIdsReserved { stream, through } => {
                self.stream_mut(stream)?.reserve_consumers(through);
            }
            Edit::ConsumerLifecycleChanged {
                stream,
                consumer,
                lifecycle,
            } => self.consumer_mut(stream, consumer)?.lifecycle = lifecycle,
            Edit::GoneConsumerNoted {
                stream,
                newest_creation,
            } => self.stream_mut(stream)?.note_gone_consumer(newest_creation),
            Edit::CheckpointSaved {
                stream,
                name,
                checkpoint,
            } => {
                let checkpoints = &mut self.stream_mut(stream)?.checkpoints;
                checkpoints.insert(name, checkpoint);
            }
            Edit::CheckpointRemoved { stream, name } => {
                self.stream_mut(stream)?.checkpoints.remove(&name);
            }
            Edit::CheckpointAdvanced { stream, name, next } => {
                let checkpoints = &mut self.stream_mut(stream)?.checkpoints;
                let known = checkpoints.get_mut(&name);
                known.ok_or("the checkpoint does not exist")?.apply(&next);
            }
            Edit::GoneShardsNoted { stream, shards } => {
                let gone = &mut self.stream_mut(stream)?.gone;
                shards.into_iter().for_each(|shard| gone.note(shard));
            }
            Edit::ClockNoted(note) => self.clock = Some(note),
            Edit::LoadPeaked { stream, day, shards } => {
                self.stream_mut(stream)?.note_peak(day, shards);
            }
            Edit::QueueCreated {
                stream,
                queue,
                name,
                created,
                start,
            } => {
                let stream = self.stream_mut(stream)?;
                return stream.create_queue(queue, &name, created, &start);
            }
            Edit::QueueLifecycleChanged {
                stream,
                queue,
                lifecycle,
            } => self.queue_mut(stream, queue)?.lifecycle = lifecycle,
            Edit::QueueRemoved { stream, queue } => {
                let removed = self.stream_mut(stream)?.queues.remove(&queue);
                return removed.map(drop).ok_or("the queue does not exist");
            }
            Edit::QueueIdsReserved { stream, through } => self.stream_mut(stream)?.reserve_queues(through),
            Edit::ChannelCreated {
                stream,
                channel,
                name,
                created,
                start,
                destination,
            } => {
                let state = ChannelState::new(&name, created, start, destination);
                return self.stream_mut(stream)?.create_channel(channel, state);
            }
            Edit::ChannelLifecycleChanged {
                stream,
                channel,
                lifecycle,
            } => self.channel_mut(stream, channel)?.lifecycle = lifecycle,
            Edit::ChannelAdvanced {
                stream,
                channel,
                next,
            } => return self.stream_mut(stream)?.advance_channel(channel, &next),
            Edit::ChannelDelivered { stream, channel, at } => {
                self.channel_mut(stream, channel)?.note_delivery(at);
            }
            Edit::ChannelRemoved { stream, channel } => {
                let removed = self.stream_mut(stream)?.channels.remove(&channel);
                return removed.map(drop).ok_or("the channel does not exist");
            }
            Edit::ChannelIdsReserved { stream, through } => {
                self.stream_mut(stream)?.reserve_channels(through);
            }
            Edit::SegmentAdded { .. }
            | Edit::LogResumed { .. }
            | Edit::LogJournaled { .. }
            | Edit::LogsRested { .. }
            | Edit::LogTrimmed { .. }
            | Edit::RecordsHidden { .. }
            | Edit::AgesMarked { .. }
            | Edit::RecordNumbersReserved { .. } => return self.apply_to_logs(edit),
        }
        Ok(())
    }

    fn apply_to_logs(&mut self, edit: Edit) -> Result<(), &'static str> {
        match edit {
            Edit::SegmentAdded { log, segment } => return self.log_mut(log)?.add_segment(segment),
            Edit::LogResumed { log } => self.log_mut(log)?.end = None,
            Edit::LogJournaled { log } => self.log_mut(log)?.is_journaled = true,
            Edit::LogTrimmed { log, first_record } => {
                self.log_mut(log)?.trim(first_record);
                if log == LogName::CommitJournal && self.journal.segments.is_empty() {
                    self.note_empty_journal();
                }
            }
            Edit::LogsRested { ends } => {
                for (log, end) in ends {
                    self.log_mut(log)?.rest_at(end);
                }
            }
            Edit::RecordsHidden { before } => {
                for (log, number) in before {
                    self.log_mut(log)?.hide_before(number);
                }
            }
            Edit::AgesMarked { marks } => {
                for (log, mark) in marks {
                    self.log_mut(log)?.ages.push(mark);
                }
            }
            Edit::RecordNumbersReserved { log, before } => self.log_mut(log)?.reserve_numbers(before),
            _ => return Err("this edit is not about logs"),
        }
        Ok(())
    }

    fn create_stream(&mut self, stream: StreamId, state: StreamState) -> Result<(), &'static str> {
        if self.streams.contains_key(&stream) {
            return Err("a stream of this number exists");
        }
        let names = self.names.entry(state.name.namespace.clone()).or_default();
        match names.entry(state.name.local.clone()) {
            Entry::Occupied(_) => return Err("a stream of this name exists"),
            Entry::Vacant(place) => place.insert(stream),
        };
        self.reserve_stream_ids(stream);
        self.streams.insert(stream, Box::new(state));
        Ok(())
    }

    fn delete_stream(&mut self, stream: StreamId) -> Result<(), &'static str> {
        let gone = self.streams.remove(&stream).ok_or("the stream does not exist")?;
        if let Some(names) = self.names.get_mut(&gone.name.namespace) {
            names.remove(&gone.name.local);
            if names.is_empty() {
                self.names.remove(&gone.name.namespace);
            }
        }
        if let Some(newest) = gone.newest_creation() {
            self.gone.note(Some(gone.name), newest);
        }
        Ok(())
    }

    fn change_labels(
        &mut self,
        resource: &Resource,
        change: impl FnOnce(&mut Labels),
    ) -> Result<(), &'static str> {
        match resource {
            Resource::Account(namespace) => {
                let labels = self.accounts.entry(namespace.clone()).or_default();
                change(labels);
                if labels.is_empty() {
                    self.accounts.remove(namespace);
                }
            }
            Resource::Stream(stream) => change(&mut self.stream_mut(*stream)?.labels),
            Resource::Consumer(stream, consumer) => {
                change(&mut self.consumer_mut(*stream, *consumer)?.labels);
            }
            Resource::Queue(stream, queue) => change(&mut self.queue_mut(*stream, *queue)?.labels),
            Resource::Channel(stream, channel) => {
                change(&mut self.channel_mut(*stream, *channel)?.labels);
            }
        }
        Ok(())
    }

    pub(super) fn note_empty_journal(&mut self) {
        let logs = self.streams.values_mut().flat_map(|stream| stream.logs_mut());
        logs.for_each(|log| log.is_journaled = false);
    }

    fn stream_mut(&mut self, stream: StreamId) -> Result<&mut StreamState, &'static str> {
        self.streams
            .get_mut(&stream)
            .map(Box::as_mut)
            .ok_or("the stream does not exist")
    }

    fn consumer_mut(
        &mut self,
        stream: StreamId,
        consumer: ConsumerId,
    ) -> Result<&mut ConsumerState, &'static str> {
        let consumers = &mut self.stream_mut(stream)?.consumers;
        consumers.get_mut(&consumer).ok_or("the consumer does not exist")
    }

    fn queue_mut(&mut self, stream: StreamId, queue: QueueId) -> Result<&mut QueueState, &'static str> {
        let queues = &mut self.stream_mut(stream)?.queues;
        queues.get_mut(&queue).ok_or("the queue does not exist")
    }

    fn channel_mut(
        &mut self,
        stream: StreamId,
        channel: ChannelId,
    ) -> Result<&mut ChannelState, &'static str> {
        let channels = &mut self.stream_mut(stream)?.channels;
        channels.get_mut(&channel).ok_or("the channel does not exist")
    }

    pub(super) fn log_mut(&mut self, name: LogName) -> Result<&mut LogState, &'static str> {
        match name {
            LogName::CommitJournal => Ok(&mut self.journal),
            LogName::Shard(stream, shard) => {
                let logs = &mut self.stream_mut(stream)?.logs;
                logs.get_mut(&shard).ok_or("the shard does not exist")
            }
            LogName::Queue(stream, queue) => Ok(&mut self.queue_mut(stream, queue)?.log),
        }
    }
}
