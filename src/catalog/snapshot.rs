//! A whole state as the edits that rebuild it.
//!
//! This takes a state apart completely, so that a field that no edit carries does not compile. The edits of a snapshot
//! happen together, like every list of edits: a list that is cut short is no state.

use super::channel_state::ChannelState;
use super::edit::{Edit, Resource};
use super::labels::Labels;
use super::lifecycle::{ConsumerLifecycle, ReaderLifecycle};
use super::log_state::LogState;
use super::queue_state::QueueState;
use super::setting::Setting;
use super::state::CatalogState;
use super::stream_state::{ConsumerState, StreamState};
use crate::model::{ChannelId, ConsumerId, LogName, QueueId, StreamId};

impl CatalogState {
    /// The state that the edits of a snapshot rebuild.
    pub(crate) fn from_snapshot(edits: Vec<Edit>) -> Result<Self, &'static str> {
        let mut edits = edits.into_iter();
        let Some(Edit::StoreCreated { store, secret }) = edits.next() else {
            return Err("it does not begin with a snapshot");
        };
        let mut state = Self::new(store, secret);
        state.apply_all(edits)?;
        Ok(state)
    }

    /// The edits that lead to this state. The first one names the store.
    pub(crate) fn snapshot(&self) -> impl Iterator<Item = Edit> {
        let Self {
            store,
            secret,
            next_stream,
            streams,
            // They are rebuilt from the streams.
            names: _,
            accounts,
            journal,
            clock,
            gone,
        } = self;
        let created = Edit::StoreCreated {
            store: *store,
            secret: *secret,
        };
        let through = StreamId::new(next_stream.saturating_sub(1));
        let reserved = Edit::StreamIdsReserved { through };
        let gone = gone.notes().map(|(name, newest_creation)| Edit::GoneStreamNoted {
            name,
            newest_creation,
        });
        let accounts = accounts
            .iter()
            .flat_map(|(namespace, labels)| edits_of_labels(&Resource::Account(namespace.clone()), labels));
        let streams = streams
            .iter()
            .flat_map(|(id, stream)| edits_of_stream(*id, stream));
        let journal = edits_of_log(LogName::CommitJournal, journal, &LogState::default());
        [created, reserved]
            .into_iter()
            .chain(gone)
            .chain(accounts)
            .chain(streams)
            .chain(journal)
            .chain(clock.map(Edit::ClockNoted))
    }
}

fn edits_of_stream(id: StreamId, state: &StreamState) -> Vec<Edit> {
    let StreamState {
        name,
        created,
        lifecycle,
        mode,
        max_record_bytes,
        retention,
        size_limits,
        horizon_floor,
        warm_throughput,
        distribution,
        encryption,
        load_peaks,
        labels,
        lineage,
        gone,
        logs,
        consumers,
        next_consumer,
        newest_gone_consumer,
        checkpoints,
        queues,
        next_queue,
        channels,
        next_channel,
    } = state;
    let resource = Resource::Stream(id);
    let mut edits = vec![Edit::StreamCreated {
        stream: id,
        name: name.clone(),
        created: *created,
        lifecycle: lifecycle.clone(),
    }];
    let settings = [
        Setting::Mode(*mode),
        Setting::MaxRecordBytes(*max_record_bytes),
        Setting::Distribution(*distribution),
        Setting::WarmThroughput(*warm_throughput),
        Setting::Retention {
            time: *retention,
            horizon_floor: *horizon_floor,
        },
        Setting::SizeLimits(*size_limits),
    ];
    let initial = Setting::initial_of_stream();
    let changed = settings.into_iter().filter(|setting| !initial.contains(setting));
    let encryption = encryption.clone().map(|key| Setting::Encryption(Some(key)));
    edits.extend(changed.chain(encryption).map(|setting| Edit::SettingChanged {
        resource: resource.clone(),
        setting,
    }));
    edits.extend(load_peaks.iter().map(|(day, shards)| Edit::LoadPeaked {
        stream: id,
        day: *day,
        shards: *shards,
    }));
    edits.extend(edits_of_labels(&resource, labels));
    edits.extend(lineage.iter().map(|lineage| Edit::ShardsCreated {
        stream: id,
        lineage: lineage.clone(),
    }));
    if gone.iter().len() > 0 {
        edits.push(Edit::GoneShardsNoted {
            stream: id,
            shards: gone.iter().copied().collect(),
        });
    }
    for (shard, log) in logs {
        let name = LogName::Shard(id, *shard);
        edits.extend(edits_of_log(name, log, &LogState::of_new_log()));
    }
    for (consumer, state) in consumers {
        edits.extend(edits_of_consumer(id, *consumer, state));
    }
    if *next_consumer > 1 {
        edits.push(Edit::ConsumerIdsReserved {
            stream: id,
            through: ConsumerId::new(next_consumer - 1),
        });
    }
    edits.extend(
        newest_gone_consumer.map(|newest_creation| Edit::GoneConsumerNoted {
            stream: id,
            newest_creation,
        }),
    );
    edits.extend(
        checkpoints
            .iter()
            .map(|(name, checkpoint)| Edit::CheckpointSaved {
                stream: id,
                name: name.clone(),
                checkpoint: checkpoint.clone(),
            }),
    );
    for (queue, state) in queues {
        edits.extend(edits_of_queue(id, *queue, state));
    }
    if *next_queue > 1 {
        edits.push(Edit::QueueIdsReserved {
            stream: id,
            through: QueueId::new(next_queue - 1),
        });
    }
    for (channel, state) in channels {
        edits.extend(edits_of_channel(id, *channel, state));
    }
    if *next_channel > 1 {
        edits.push(Edit::ChannelIdsReserved {
            stream: id,
            through: ChannelId::new(next_channel - 1),
        });
    }
    edits
}

fn edits_of_channel(stream: StreamId, channel: ChannelId, state: &ChannelState) -> Vec<Edit> {
    let ChannelState {
        name,
        created,
        start,
        destination,
        lifecycle,
        freshness_millis,
        next,
        last_delivery,
        labels,
    } = state;
    let mut edits = vec![Edit::ChannelCreated {
        stream,
        channel,
        name: name.clone(),
        created: *created,
        start: start.clone(),
        destination: destination.clone(),
    }];
    if *lifecycle != ReaderLifecycle::Active {
        edits.push(Edit::ChannelLifecycleChanged {
            stream,
            channel,
            lifecycle: *lifecycle,
        });
    }
    let resource = Resource::Channel(stream, channel);
    edits.push(Edit::SettingChanged {
        resource: resource.clone(),
        setting: Setting::Freshness {
            millis: *freshness_millis,
        },
    });
    if !next.is_empty() {
        edits.push(Edit::ChannelAdvanced {
            stream,
            channel,
            next: next.iter().map(|(shard, next)| (*shard, *next)).collect(),
        });
    }
    edits.extend(last_delivery.map(|at| Edit::ChannelDelivered { stream, channel, at }));
    edits.extend(edits_of_labels(&resource, labels));
    edits
}

fn edits_of_queue(stream: StreamId, queue: QueueId, state: &QueueState) -> Vec<Edit> {
    let QueueState {
        name,
        created,
        start,
        lifecycle,
        visibility_seconds,
        max_receive_count,
        labels,
        log,
    } = state;
    let mut edits = vec![Edit::QueueCreated {
        stream,
        queue,
        name: name.clone(),
        created: *created,
        start: start.clone(),
    }];
    if *lifecycle != ReaderLifecycle::Active {
        edits.push(Edit::QueueLifecycleChanged {
            stream,
            queue,
            lifecycle: *lifecycle,
        });
    }
    let resource = Resource::Queue(stream, queue);
    let settings = [
        Setting::VisibilityTimeout {
            seconds: *visibility_seconds,
        },
        Setting::MaxReceiveCount(*max_receive_count),
    ];
    edits.extend(settings.map(|setting| Edit::SettingChanged {
        resource: resource.clone(),
        setting,
    }));
    edits.extend(edits_of_labels(&resource, labels));
    let name = LogName::Queue(stream, queue);
    edits.extend(edits_of_log(name, log, &LogState::of_new_log()));
    edits
}

fn edits_of_consumer(stream: StreamId, consumer: ConsumerId, state: &ConsumerState) -> Vec<Edit> {
    let ConsumerState {
        name,
        created,
        lifecycle,
        labels,
    } = state;
    let registered = Edit::ConsumerRegistered {
        stream,
        consumer,
        name: name.clone(),
        created: *created,
    };
    let is_active = *lifecycle == ConsumerLifecycle::Active;
    let lifecycle = (!is_active).then_some(Edit::ConsumerLifecycleChanged {
        stream,
        consumer,
        lifecycle: *lifecycle,
    });
    let labels = edits_of_labels(&Resource::Consumer(stream, consumer), labels);
    std::iter::once(registered)
        .chain(lifecycle)
        .chain(labels)
        .collect()
}

fn edits_of_labels(resource: &Resource, labels: &Labels) -> Vec<Edit> {
    let Labels { tags, attributes } = labels;
    let mut edits = Vec::new();
    if !tags.is_empty() {
        edits.push(Edit::TagsChanged {
            resource: resource.clone(),
            set: tags.clone(),
            removed: Vec::new(),
        });
    }
    edits.extend(attributes.iter().map(|(name, value)| Edit::AttributeChanged {
        resource: resource.clone(),
        name: name.clone(),
        value: Some(value.clone()),
    }));
    edits
}

/// The edits that change a log from its first state to its present one.
fn edits_of_log(log: LogName, state: &LogState, begins_as: &LogState) -> Vec<Edit> {
    let LogState {
        segments,
        end,
        ages,
        hidden_before,
        is_journaled,
        numbers_from,
    } = state;
    let mut edits: Vec<_> = segments
        .iter()
        .map(|segment| Edit::SegmentAdded {
            log,
            segment: *segment,
        })
        .collect();
    // A log that gets a segment counts as written to.
    let end_so_far = begins_as.end.filter(|_| segments.is_empty());
    match end {
        end if *end == end_so_far => {}
        Some(end) => edits.push(Edit::LogsRested {
            ends: vec![(log, *end)],
        }),
        None => edits.push(Edit::LogResumed { log }),
    }
    if *is_journaled {
        edits.push(Edit::LogJournaled { log });
    }
    edits.extend(numbers_from.map(|before| Edit::RecordNumbersReserved { log, before }));
    edits.extend(hidden_before.map(|number| Edit::RecordsHidden {
        before: vec![(log, number)],
    }));
    if !ages.is_empty() {
        edits.push(Edit::AgesMarked {
            marks: ages.iter().map(|mark| (log, *mark)).collect(),
        });
    }
    edits
}
