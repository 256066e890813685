//! All edits of a catalog.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lifecycle::{ConsumerLifecycle, Lifecycle, ReaderLifecycle};
use super::log_state::AgeMark;
use super::setting::Setting;
use crate::log::{LogEnd, SegmentEntry};
use crate::model::{
    ChannelId, Checkpoint, ClockNote, ConsumerId, Destination, GoneShard, Lineage, LogName, QueueId,
    ReaderStart, RecordNumber, Reshard, ShardId, StreamId, StreamName, Timestamp,
};

/// One change. A list of edits also stands for a whole state
/// ([`CatalogState::snapshot`](super::CatalogState::snapshot)), so a new fact about the store is a new edit and nothing
/// else.
///
/// Variants are only ever added at the end, and the fields of a variant never change, nor do those of the types in it:
/// a new shape is a new variant. The bytes are pinned by the golden store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Edit {
    /// The first edit of all, and of every snapshot.
    StoreCreated {
        #[serde(with = "crate::model::wide")]
        store: u128,
        secret: [u8; 32],
    },
    /// No new stream gets a number up to and including this one.
    StreamIdsReserved {
        through: StreamId,
    },
    /// A stream has this name. Its settings and shards follow in further edits.
    StreamCreated {
        stream: StreamId,
        name: StreamName,
        created: Timestamp,
        lifecycle: Lifecycle,
    },
    /// The stream has these shards from now on. Their logs are empty.
    ShardsCreated {
        stream: StreamId,
        lineage: Lineage,
    },
    /// The stream's lifecycle from now on. An edit that finishes a change is in one list with this one.
    LifecycleChanged {
        stream: StreamId,
        lifecycle: Lifecycle,
    },
    /// A split or a merge has happened: the parents' logs end here, and the children take records from now on.
    Resharded {
        stream: StreamId,
        reshard: Reshard,
        ends: Vec<(ShardId, LogEnd)>,
    },
    ShardExpired {
        stream: StreamId,
        shard: ShardId,
    },
    /// The stream is removed with everything that belongs to it.
    StreamDeleted {
        stream: StreamId,
    },
    /// When the newest shard or consumer of a deleted stream of this name was created, in epoch seconds; without a
    /// name, of the deleted streams whose names are not remembered.
    GoneStreamNoted {
        name: Option<StreamName>,
        newest_creation: u64,
    },
    SettingChanged {
        resource: Resource,
        setting: Setting,
    },
    /// First removes some tags, then sets others.
    TagsChanged {
        resource: Resource,
        set: BTreeMap<String, String>,
        removed: Vec<String>,
    },
    /// An attribute has this value, or is removed.
    AttributeChanged {
        resource: Resource,
        name: String,
        value: Option<Vec<u8>>,
    },
    ConsumerRegistered {
        stream: StreamId,
        consumer: ConsumerId,
        name: String,
        created: Timestamp,
    },
    ConsumerRemoved {
        stream: StreamId,
        consumer: ConsumerId,
    },
    /// No new consumer of the stream gets a number up to and including this one.
    ConsumerIdsReserved {
        stream: StreamId,
        through: ConsumerId,
    },
    CheckpointSaved {
        stream: StreamId,
        name: String,
        checkpoint: Checkpoint,
    },
    CheckpointRemoved {
        stream: StreamId,
        name: String,
    },
    SegmentAdded {
        log: LogName,
        segment: SegmentEntry,
    },
    /// A log that rested is written to again, so its end is no longer known here.
    LogResumed {
        log: LogName,
    },
    /// From now on the commit journal may have frames of this log that its segments lack, until the log rests.
    LogJournaled {
        log: LogName,
    },
    /// The logs end here, and are not written to before they are resumed.
    LogsRested {
        ends: Vec<(LogName, LogEnd)>,
    },
    /// The segments before this one's first record are no longer part of the log.
    LogTrimmed {
        log: LogName,
        first_record: RecordNumber,
    },
    /// The records before these numbers are hidden, whatever their arrival times are.
    RecordsHidden {
        before: Vec<(LogName, RecordNumber)>,
    },
    /// The least ages of the records of these logs, whose arrival times are ahead of the clock.
    AgesMarked {
        marks: Vec<(LogName, AgeMark)>,
    },
    /// What the clocks showed.
    ClockNoted(ClockNote),
    /// The consumer's lifecycle from now on. A registered consumer is active unless this says something else.
    ConsumerLifecycleChanged {
        stream: StreamId,
        consumer: ConsumerId,
        lifecycle: ConsumerLifecycle,
    },
    /// When the newest removed consumer of the stream was registered, in epoch seconds.
    GoneConsumerNoted {
        stream: StreamId,
        newest_creation: u64,
    },
    /// The greatest load of a stream on a day since 1970, in multiples of what one shard can take, rounded up.
    LoadPeaked {
        stream: StreamId,
        day: u64,
        shards: u32,
    },
    /// No further record of the log gets a number before this one: records with such numbers may have been set aside.
    RecordNumbersReserved {
        log: LogName,
        before: RecordNumber,
    },
    /// The stream has a queue with this name. Its log is empty. Settings follow in further edits.
    QueueCreated {
        stream: StreamId,
        queue: QueueId,
        name: String,
        created: Timestamp,
        start: ReaderStart,
    },
    /// The queue's lifecycle from now on. A new queue is active unless this says something else.
    QueueLifecycleChanged {
        stream: StreamId,
        queue: QueueId,
        lifecycle: ReaderLifecycle,
    },
    /// The queue is removed with its log.
    QueueRemoved {
        stream: StreamId,
        queue: QueueId,
    },
    /// No new queue of the stream gets a number up to and including this one.
    QueueIdsReserved {
        stream: StreamId,
        through: QueueId,
    },
    /// The stream has a channel with this name, which delivers to this destination if this program can. Settings follow
    /// in further edits.
    ChannelCreated {
        stream: StreamId,
        channel: ChannelId,
        name: String,
        created: Timestamp,
        start: ReaderStart,
        destination: Option<Destination>,
    },
    /// The channel's lifecycle from now on. A new channel is active unless this says something else.
    ChannelLifecycleChanged {
        stream: StreamId,
        channel: ChannelId,
        lifecycle: ReaderLifecycle,
    },
    /// The records of these shards before these numbers are delivered; without a number, the whole shard is.
    ChannelAdvanced {
        stream: StreamId,
        channel: ChannelId,
        next: Vec<(ShardId, Option<RecordNumber>)>,
    },
    ChannelRemoved {
        stream: StreamId,
        channel: ChannelId,
    },
    /// No new channel of the stream gets a number up to and including this one.
    ChannelIdsReserved {
        stream: StreamId,
        through: ChannelId,
    },
    /// An existing checkpoint has these positions from now on; a shard without a number is no longer listed.
    CheckpointAdvanced {
        stream: StreamId,
        name: String,
        next: Vec<(ShardId, Option<RecordNumber>)>,
    },
    /// Shards that have expired, with their parents and ends.
    GoneShardsNoted {
        stream: StreamId,
        shards: Vec<GoneShard>,
    },
    /// An object was made of the channel's records at this time. It is only shown.
    ChannelDelivered {
        stream: StreamId,
        channel: ChannelId,
        at: Timestamp,
    },
}

/// The owners of settings, tags and attributes. Variants are only added at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Resource {
    /// The owner of the streams in this namespace.
    Account(String),
    Stream(StreamId),
    Consumer(StreamId, ConsumerId),
    Queue(StreamId, QueueId),
    Channel(StreamId, ChannelId),
}

/// The effect of an edit on a full disk, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freeing {
    Nothing,
    /// It may lead to edits that free room.
    Later,
    /// It leads to free room. Or it records where logs end, so that a store can be closed on a full disk.
    Room,
}

impl Edit {
    /// The variant's name.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::StoreCreated { .. } => "StoreCreated",
            Self::StreamIdsReserved { .. } => "StreamIdsReserved",
            Self::StreamCreated { .. } => "StreamCreated",
            Self::ShardsCreated { .. } => "ShardsCreated",
            Self::LifecycleChanged { .. } => "LifecycleChanged",
            Self::Resharded { .. } => "Resharded",
            Self::ShardExpired { .. } => "ShardExpired",
            Self::StreamDeleted { .. } => "StreamDeleted",
            Self::GoneStreamNoted { .. } => "GoneStreamNoted",
            Self::SettingChanged { .. } => "SettingChanged",
            Self::TagsChanged { .. } => "TagsChanged",
            Self::AttributeChanged { .. } => "AttributeChanged",
            Self::ConsumerRegistered { .. } => "ConsumerRegistered",
            Self::ConsumerRemoved { .. } => "ConsumerRemoved",
            Self::ConsumerIdsReserved { .. } => "ConsumerIdsReserved",
            Self::CheckpointSaved { .. } => "CheckpointSaved",
            Self::CheckpointRemoved { .. } => "CheckpointRemoved",
            Self::SegmentAdded { .. } => "SegmentAdded",
            Self::LogResumed { .. } => "LogResumed",
            Self::LogJournaled { .. } => "LogJournaled",
            Self::LogsRested { .. } => "LogsRested",
            Self::LogTrimmed { .. } => "LogTrimmed",
            Self::RecordsHidden { .. } => "RecordsHidden",
            Self::AgesMarked { .. } => "AgesMarked",
            Self::ClockNoted(_) => "ClockNoted",
            Self::ConsumerLifecycleChanged { .. } => "ConsumerLifecycleChanged",
            Self::GoneConsumerNoted { .. } => "GoneConsumerNoted",
            Self::LoadPeaked { .. } => "LoadPeaked",
            Self::RecordNumbersReserved { .. } => "RecordNumbersReserved",
            Self::QueueCreated { .. } => "QueueCreated",
            Self::QueueLifecycleChanged { .. } => "QueueLifecycleChanged",
            Self::QueueRemoved { .. } => "QueueRemoved",
            Self::QueueIdsReserved { .. } => "QueueIdsReserved",
            Self::ChannelCreated { .. } => "ChannelCreated",
            Self::ChannelLifecycleChanged { .. } => "ChannelLifecycleChanged",
            Self::ChannelAdvanced { .. } => "ChannelAdvanced",
            Self::ChannelRemoved { .. } => "ChannelRemoved",
            Self::ChannelIdsReserved { .. } => "ChannelIdsReserved",
            Self::CheckpointAdvanced { .. } => "CheckpointAdvanced",
            Self::GoneShardsNoted { .. } => "GoneShardsNoted",
            Self::ChannelDelivered { .. } => "ChannelDelivered",
        }
    }

    /// The effect of this edit on a full disk.
    pub(crate) fn freeing(&self) -> Freeing {
        let of_deletion = |is_deletion| match is_deletion {
            true => Freeing::Room,
            false => Freeing::Nothing,
        };
        match self {
            Self::StreamDeleted { .. }
            | Self::ShardExpired { .. }
            | Self::LogTrimmed { .. }
            | Self::QueueRemoved { .. }
            | Self::ChannelRemoved { .. }
            | Self::LogsRested { .. } => Freeing::Room,
            Self::LifecycleChanged { lifecycle, .. } => {
                of_deletion(matches!(lifecycle, Lifecycle::Deleting { .. }))
            }
            Self::QueueLifecycleChanged { lifecycle, .. }
            | Self::ChannelLifecycleChanged { lifecycle, .. } => {
                of_deletion(matches!(lifecycle, ReaderLifecycle::Deleting { .. }))
            }
            Self::RecordsHidden { .. }
            | Self::SettingChanged {
                setting: Setting::Retention { .. } | Setting::SizeLimits(_),
                ..
            } => Freeing::Later,
            _ => Freeing::Nothing,
        }
    }

    /// The streams that the edit concerns.
    pub(crate) fn streams(&self) -> Vec<StreamId> {
        fn of<'a>(logs: impl Iterator<Item = &'a LogName>) -> Vec<StreamId> {
            logs.filter_map(|log| log.stream()).collect()
        }
        match self {
            Self::StoreCreated { .. }
            | Self::StreamIdsReserved { .. }
            | Self::GoneStreamNoted { .. }
            | Self::ClockNoted(_) => Vec::new(),
            Self::StreamCreated { stream, .. }
            | Self::ShardsCreated { stream, .. }
            | Self::LifecycleChanged { stream, .. }
            | Self::Resharded { stream, .. }
            | Self::ShardExpired { stream, .. }
            | Self::StreamDeleted { stream }
            | Self::LoadPeaked { stream, .. }
            | Self::ConsumerRegistered { stream, .. }
            | Self::ConsumerRemoved { stream, .. }
            | Self::ConsumerIdsReserved { stream, .. }
            | Self::ConsumerLifecycleChanged { stream, .. }
            | Self::GoneConsumerNoted { stream, .. }
            | Self::QueueCreated { stream, .. }
            | Self::QueueLifecycleChanged { stream, .. }
            | Self::QueueRemoved { stream, .. }
            | Self::QueueIdsReserved { stream, .. }
            | Self::ChannelCreated { stream, .. }
            | Self::ChannelLifecycleChanged { stream, .. }
            | Self::ChannelAdvanced { stream, .. }
            | Self::ChannelDelivered { stream, .. }
            | Self::ChannelRemoved { stream, .. }
            | Self::ChannelIdsReserved { stream, .. }
            | Self::CheckpointSaved { stream, .. }
            | Self::CheckpointRemoved { stream, .. }
            | Self::CheckpointAdvanced { stream, .. }
            | Self::GoneShardsNoted { stream, .. } => vec![*stream],
            Self::SettingChanged { resource, .. }
            | Self::TagsChanged { resource, .. }
            | Self::AttributeChanged { resource, .. } => match resource {
                Resource::Account(_) => Vec::new(),
                Resource::Stream(stream)
                | Resource::Consumer(stream, _)
                | Resource::Queue(stream, _)
                | Resource::Channel(stream, _) => vec![*stream],
            },
            Self::SegmentAdded { log, .. }
            | Self::LogResumed { log }
            | Self::LogJournaled { log }
            | Self::LogTrimmed { log, .. }
            | Self::RecordNumbersReserved { log, .. } => of(std::iter::once(log)),
            Self::LogsRested { ends } => of(ends.iter().map(|(log, _)| log)),
            Self::RecordsHidden { before } => of(before.iter().map(|(log, _)| log)),
            Self::AgesMarked { marks } => of(marks.iter().map(|(log, _)| log)),
        }
    }

    pub(super) fn changes_encryption(&self) -> bool {
        matches!(
            self,
            Self::SettingChanged {
                setting: Setting::Encryption(_),
                ..
            }
        )
    }

    /// The same for showing to people: the store's secret is replaced by zeros.
    pub(crate) fn without_secrets(&self) -> Self {
        match self {
            Self::StoreCreated { store, .. } => Self::StoreCreated {
                store: *store,
                secret: [0; 32],
            },
            other => other.clone(),
        }
    }
}
