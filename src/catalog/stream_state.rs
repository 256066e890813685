//! What the catalog keeps of a stream, and how edits change it.

use std::collections::BTreeMap;

use super::channel_state::ChannelState;
use super::labels::Labels;
use super::lifecycle::{Change, ConsumerLifecycle, Lifecycle, Steps};
use super::log_state::LogState;
use super::queue_state::QueueState;
use super::setting::{Setting, StreamKey};
use crate::disk::{Step, is_left_out};
use crate::error::Error;
use crate::log::LogEnd;
use crate::model::{
    ChannelId, Checkpoint, ConsumerId, GoneShard, GoneShards, Lineage, LogName, Moment, PEAK_DAYS, QueueId,
    ReaderStart, RecordDistribution, RecordNumber, Reshard, Retention, Shard, ShardId, SizeLimits, StreamId,
    StreamMode, StreamName, StreamStatus, Timestamp,
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StreamState {
    pub(crate) name: StreamName,
    pub(crate) created: Timestamp,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) mode: StreamMode,
    pub(crate) max_record_bytes: u32,
    pub(crate) retention: Retention,
    pub(crate) size_limits: SizeLimits,
    pub(crate) horizon_floor: Timestamp,
    /// The load that the stream must always be able to take if it is on demand, in shards; 0 if it was not set.
    pub(crate) warm_throughput: u32,
    pub(crate) distribution: RecordDistribution,
    /// The key of its records.
    pub(crate) encryption: Option<StreamKey>,
    /// The greatest load of each day since 1970 that still counts, in shards.
    pub(crate) load_peaks: BTreeMap<u64, u32>,
    pub(crate) labels: Labels,
    /// None until the stream is active for the first time.
    pub(crate) lineage: Option<Lineage>,
    pub(super) gone: GoneShards,
    /// One for each shard of the lineage.
    pub(crate) logs: BTreeMap<ShardId, LogState>,
    pub(crate) consumers: BTreeMap<ConsumerId, ConsumerState>,
    pub(super) next_consumer: u64,
    /// When the newest removed consumer was registered, in epoch seconds.
    pub(super) newest_gone_consumer: Option<u64>,
    pub(crate) checkpoints: BTreeMap<String, Checkpoint>,
    pub(crate) queues: BTreeMap<QueueId, QueueState>,
    pub(super) next_queue: u32,
    pub(crate) channels: BTreeMap<ChannelId, ChannelState>,
    pub(super) next_channel: u32,
}

/// A reader that was registered under a name of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerState {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) lifecycle: ConsumerLifecycle,
    pub(crate) labels: Labels,
}

impl StreamState {
    /// A stream of which only the name is known. Its settings are those of
    /// [`Setting::initial_of_stream`], which the format gives it.
    pub(super) fn new(name: StreamName, created: Timestamp, lifecycle: Lifecycle) -> Self {
        Self {
            name,
            created,
            lifecycle,
            mode: StreamMode::Provisioned,
            max_record_bytes: 1024 * 1024,
            retention: Retention::hours(24),
            size_limits: SizeLimits::NONE,
            horizon_floor: Timestamp::EPOCH,
            warm_throughput: 0,
            distribution: RecordDistribution::PartitionKey,
            encryption: None,
            load_peaks: BTreeMap::new(),
            labels: Labels::default(),
            lineage: None,
            gone: GoneShards::default(),
            logs: BTreeMap::new(),
            consumers: BTreeMap::new(),
            next_consumer: 1,
            newest_gone_consumer: None,
            checkpoints: BTreeMap::new(),
            queues: BTreeMap::new(),
            next_queue: 1,
            channels: BTreeMap::new(),
            next_channel: 1,
        }
    }

    /// The state in Kinesis' words.
    pub(crate) fn status(&self) -> StreamStatus {
        self.lifecycle.status()
    }

    /// The number of open shards, including those that a creation or a split is still making.
    pub(crate) fn open_and_coming_shard_count(&self) -> u32 {
        let open = self.lineage.as_ref().map_or(0, Lineage::open_shard_count);
        match &self.lifecycle {
            Lifecycle::Creating { shard_count, .. } => *shard_count,
            Lifecycle::Updating { change, .. } => match change {
                Change::Split { .. } => open.saturating_add(1),
                Change::Shards(Steps::Count { target, .. }) => open.max(*target),
                Change::Shards(Steps::Halve(shards)) => {
                    let left = shards.iter().filter(|shard| self.is_open(**shard));
                    open.saturating_add(left.count() as u32)
                }
                Change::Merge { .. } | Change::Settings(_) => open,
            },
            Lifecycle::Active | Lifecycle::Deleting { .. } => open,
        }
    }

    pub(crate) fn is_open(&self, shard: ShardId) -> bool {
        let lineage = self.lineage.as_ref();
        let shard = lineage.and_then(|lineage| lineage.shard(shard));
        shard.is_some_and(Shard::is_open)
    }

    /// Records that arrived earlier are hidden. The wall clock alone hides nothing.
    pub(crate) fn horizon(&self, time: Moment) -> Timestamp {
        let Some(retention) = self.retention.duration() else {
            return self.horizon_floor;
        };
        let horizon = match is_left_out(Step::ConfirmedTime) {
            true => time.now.saturating_sub(retention),
            false => time.before(retention),
        };
        horizon.max(self.horizon_floor)
    }

    pub(crate) fn next_consumer(&self) -> ConsumerId {
        ConsumerId::new(self.next_consumer)
    }

    pub(super) fn change(&mut self, setting: &Setting) -> Result<(), &'static str> {
        match setting {
            Setting::Mode(mode) => self.mode = *mode,
            Setting::Retention { time, horizon_floor } => {
                self.retention = *time;
                self.horizon_floor = self.horizon_floor.max(*horizon_floor);
            }
            Setting::SizeLimits(limits) => self.size_limits = *limits,
            Setting::MaxRecordBytes(bytes) => self.max_record_bytes = *bytes,
            Setting::WarmThroughput(shards) => self.warm_throughput = *shards,
            Setting::Distribution(distribution) => self.distribution = *distribution,
            Setting::Encryption(key) => self.encryption.clone_from(key),
            Setting::VisibilityTimeout { .. } | Setting::MaxReceiveCount(_) | Setting::Freshness { .. } => {
                return Err("a stream has no such setting");
            }
        }
        Ok(())
    }

    /// Notes the load of a day, and forgets the days that no longer count then.
    pub(super) fn note_peak(&mut self, day: u64, shards: u32) {
        self.load_peaks.insert(day, shards);
        // Later days come from a clock that was wrong.
        let counting = day.saturating_sub(PEAK_DAYS)..=day;
        self.load_peaks.retain(|day, _| counting.contains(day));
    }

    pub(super) fn change_lifecycle(&mut self, lifecycle: &Lifecycle) -> Result<(), &'static str> {
        let needs_shards = matches!(lifecycle, Lifecycle::Active | Lifecycle::Updating { .. });
        if needs_shards && self.lineage.is_none() {
            return Err("the stream has no shards yet");
        }
        self.lifecycle = lifecycle.clone();
        Ok(())
    }

    pub(super) fn create_shards(&mut self, lineage: Lineage) -> Result<(), &'static str> {
        if self.lineage.is_some() {
            return Err("the stream has shards already");
        }
        let shards = lineage.shards();
        self.logs = shards.map(|shard| (shard.id, LogState::of_new_log())).collect();
        self.lineage = Some(lineage);
        Ok(())
    }

    pub(super) fn reshard(
        &mut self,
        reshard: &Reshard,
        ends: &[(ShardId, LogEnd)],
    ) -> Result<(), &'static str> {
        let lineage = self.lineage.as_mut().ok_or("the stream has no shards yet")?;
        let is_complete = reshard
            .parents
            .iter()
            .all(|parent| ends.iter().any(|(shard, _)| shard == parent));
        if !is_complete || !ends.iter().all(|(shard, _)| self.logs.contains_key(shard)) {
            return Err("a parent's end is missing, or there is one of another shard");
        }
        lineage
            .apply_reshard(reshard)
            .map_err(|_| "the reshard does not fit the lineage")?;
        for (shard, end) in ends {
            let log = self.logs.entry(*shard).or_default();
            log.rest_at(*end);
            log.note_closing(*end);
        }
        for child in &reshard.children {
            self.logs.insert(child.id, LogState::of_new_log());
        }
        Ok(())
    }

    pub(super) fn expire(&mut self, shard: ShardId) -> Result<(), &'static str> {
        let lineage = self.lineage.as_mut().ok_or("the stream has no shards yet")?;
        let expired = lineage.expire(shard).map_err(|_| "the shard cannot expire")?;
        let log = self.logs.remove(&shard);
        let end = log.and_then(|log| log.end_of_records());
        self.gone.note(GoneShard::of(&expired, end));
        for channel in self.channels.values_mut() {
            channel.expire(shard, end);
        }
        Ok(())
    }

    pub(super) fn register(
        &mut self,
        consumer: ConsumerId,
        name: &str,
        created: Timestamp,
    ) -> Result<(), &'static str> {
        if self.consumer_named(name).is_some() {
            return Err("a consumer of this name exists");
        }
        if self.consumers.contains_key(&consumer) {
            return Err("a consumer of this number exists");
        }
        self.reserve_consumers(consumer);
        let registered = ConsumerState {
            name: name.to_owned(),
            created,
            lifecycle: ConsumerLifecycle::Active,
            labels: Labels::default(),
        };
        self.consumers.insert(consumer, registered);
        Ok(())
    }

    pub(super) fn remove_consumer(&mut self, consumer: ConsumerId) -> Result<(), &'static str> {
        let removed = self.consumers.remove(&consumer);
        let removed = removed.ok_or("the consumer does not exist")?;
        self.note_gone_consumer(removed.created.as_seconds());
        Ok(())
    }

    pub(super) fn note_gone_consumer(&mut self, created_seconds: u64) {
        self.newest_gone_consumer = self.newest_gone_consumer.max(Some(created_seconds));
    }

    /// The creation time for a consumer that is registered now. It is in a later second than those of all removed ones,
    /// so that name and second together mean one consumer for ever. A stream's first shard is later too, and so later
    /// than the consumers of an earlier stream of its name.
    pub(crate) fn next_consumer_creation(&self, now: Timestamp) -> Timestamp {
        let shards = self.lineage.iter().flat_map(Lineage::shards);
        let first_shard = shards.map(|shard| shard.created_seconds).min();
        let behind_gone = self.newest_gone_consumer.map(|seconds| seconds.saturating_add(1));
        let least = first_shard.max(behind_gone).unwrap_or_default();
        now.max(Timestamp::from_seconds(least))
    }

    /// When the newest shard or consumer was created, in epoch seconds.
    pub(super) fn newest_creation(&self) -> Option<u64> {
        let shards = self.lineage.iter().flat_map(Lineage::shards);
        let shards = shards.map(|shard| shard.created_seconds);
        let consumers = self.consumers.values();
        let consumers = consumers.map(|consumer| consumer.created.as_seconds());
        shards.chain(consumers).chain(self.newest_gone_consumer).max()
    }

    pub(super) fn create_queue(
        &mut self,
        queue: QueueId,
        name: &str,
        created: Timestamp,
        start: &ReaderStart,
    ) -> Result<(), &'static str> {
        if self.queue_named(name).is_some() {
            return Err("a queue of this name exists");
        }
        if self.queues.contains_key(&queue) {
            return Err("a queue of this number exists");
        }
        self.reserve_queues(queue);
        self.queues
            .insert(queue, QueueState::new(name, created, start.clone()));
        Ok(())
    }

    pub(super) fn reserve_queues(&mut self, through: QueueId) {
        self.next_queue = self.next_queue.max(through.value().saturating_add(1));
    }

    pub(crate) fn next_queue(&self) -> QueueId {
        QueueId::new(self.next_queue)
    }

    pub(crate) fn queue_named(&self, name: &str) -> Option<(QueueId, &QueueState)> {
        let mut queues = self.queues.iter();
        let found = queues.find(|(_, queue)| queue.name == name);
        found.map(|(id, queue)| (*id, queue))
    }

    pub(super) fn create_channel(
        &mut self,
        channel: ChannelId,
        state: ChannelState,
    ) -> Result<(), &'static str> {
        if self.channel_named(&state.name).is_some() {
            return Err("a channel of this name exists");
        }
        if self.channels.contains_key(&channel) {
            return Err("a channel of this number exists");
        }
        self.reserve_channels(channel);
        self.channels.insert(channel, state);
        Ok(())
    }

    pub(super) fn reserve_channels(&mut self, through: ChannelId) {
        self.next_channel = self.next_channel.max(through.value().saturating_add(1));
    }

    #[cfg(feature = "channels")]
    pub(crate) fn next_channel(&self) -> ChannelId {
        ChannelId::new(self.next_channel)
    }

    pub(crate) fn channel_named(&self, name: &str) -> Option<(ChannelId, &ChannelState)> {
        let mut channels = self.channels.iter();
        let found = channels.find(|(_, channel)| channel.name == name);
        found.map(|(id, channel)| (*id, channel))
    }

    /// Notes what a channel has delivered of the shards that still exist.
    pub(super) fn advance_channel(
        &mut self,
        channel: ChannelId,
        next: &[(ShardId, Option<RecordNumber>)],
    ) -> Result<(), &'static str> {
        let known = self.channels.get_mut(&channel);
        let known = known.ok_or("the channel does not exist")?;
        for (shard, next) in next {
            match self.logs.contains_key(shard) {
                true => known.advance(*shard, *next),
                false => known.note_lost(*shard, *next),
            }
        }
        Ok(())
    }

    /// What is kept of one of the stream's logs.
    pub(crate) fn log(&self, name: LogName) -> Option<&LogState> {
        match name {
            LogName::Shard(_, shard) => self.logs.get(&shard),
            LogName::Queue(_, queue) => Some(&self.queues.get(&queue)?.log),
            LogName::CommitJournal => None,
        }
    }

    /// The same, or the error that there is no such shard or queue.
    pub(crate) fn find_log(&self, name: LogName) -> Result<&LogState, Error> {
        self.log(name).ok_or_else(|| {
            let stream = self.name.local.clone();
            match name {
                LogName::Shard(_, shard) => Error::ShardNotFound { stream, shard },
                LogName::Queue(_, queue) => Error::QueueNotFound {
                    stream,
                    queue: format!("number {queue}"),
                },
                LogName::CommitJournal => Error::StreamNotFound { name: stream },
            }
        })
    }

    /// All logs of the stream. The argument is the number of the stream.
    pub(crate) fn logs_of(&self, stream: StreamId) -> impl Iterator<Item = (LogName, &LogState)> {
        let shards = self.logs.iter();
        let queues = self.queues.iter();
        shards
            .map(move |(shard, log)| (LogName::Shard(stream, *shard), log))
            .chain(queues.map(move |(queue, state)| (LogName::Queue(stream, *queue), &state.log)))
    }

    pub(super) fn logs_mut(&mut self) -> impl Iterator<Item = &mut LogState> {
        let queues = self.queues.values_mut();
        self.logs.values_mut().chain(queues.map(|queue| &mut queue.log))
    }

    /// Whether a log that the stream does not have existed once, judged by the numbers.
    pub(crate) fn has_had(&self, log: LogName) -> bool {
        match log {
            LogName::Shard(_, shard) => Some(&shard) < self.logs.keys().next_back(),
            LogName::Queue(_, queue) => queue.value() < self.next_queue,
            LogName::CommitJournal => false,
        }
    }

    /// Leaves out numbers of shards, consumers, queues and channels. For each kind `through` gets the next number, and
    /// gives the last one that is left out. If no numbers exist behind that, none are left out.
    pub(super) fn leave_out_ids(&mut self, through: impl Fn(u64) -> u64) {
        let of_32_bits = |next: u32| u32::try_from(through(next.into())).ok();
        if let Some(lineage) = &mut self.lineage
            && let Some(through) = of_32_bits(lineage.next_index())
            && through < ShardId::MAX_INDEX
            && let Ok(through) = ShardId::new(through)
        {
            lineage.reserve_ids(through);
        }
        self.reserve_consumers(ConsumerId::new(through(self.next_consumer)));
        if let Some(through) = of_32_bits(self.next_queue) {
            self.reserve_queues(QueueId::new(through));
        }
        if let Some(through) = of_32_bits(self.next_channel) {
            self.reserve_channels(ChannelId::new(through));
        }
    }

    pub(super) fn reserve_consumers(&mut self, through: ConsumerId) {
        self.next_consumer = self.next_consumer.max(through.value().saturating_add(1));
    }

    pub(crate) fn consumer_named(&self, name: &str) -> Option<(ConsumerId, &ConsumerState)> {
        let mut consumers = self.consumers.iter();
        let found = consumers.find(|(_, consumer)| consumer.name == name);
        found.map(|(id, consumer)| (*id, consumer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_stream_has_the_settings_that_the_format_gives_it() {
        let name = StreamName::new("", "clicks");
        let new = StreamState::new(name, Timestamp::EPOCH, Lifecycle::Active);
        for setting in Setting::initial_of_stream() {
            let mut set = new.clone();
            set.change(&setting).unwrap();
            assert_eq!(set, new, "{setting:?}");
        }
    }
}
