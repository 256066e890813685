//! Channels of a stream in the catalog: which exist, where they deliver to, and their positions. The floor above
//! delivers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::labels::TagChange;
use super::store::Store;
use super::stream::Stream;
use crate::catalog::{ChannelState, Edit, ReaderLifecycle, Resource, Setting, StreamState};
use crate::error::{Error, Named, Result};
use crate::model::{
    ChannelId, Destination, Lineage, ReaderStart, ReaderStatus, RecordNumber, ShardId, StartingPosition,
    StreamId, StreamMode, Timestamp, check_stream_name, limits,
};

/// The options of a new channel.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// The destination and format of its objects. `None` for a channel that is only noted, and delivers nothing.
    pub destination: Option<Destination>,
    /// Its first records: [`TrimHorizon`](StartingPosition::TrimHorizon),
    /// [`AtTimestamp`](StartingPosition::AtTimestamp) of a time in the past, or [`Latest`](StartingPosition::Latest),
    /// the default, for records that are put from now on.
    pub start: StartingPosition,
    /// How old a record may get before it is delivered. It is delivered earlier if there are enough records for an
    /// object. Used in whole milliseconds. Default: 5 minutes.
    pub freshness: Duration,
    /// Its tags (default none).
    pub tags: BTreeMap<String, String>,
    /// Its attributes: bytes under names, which the store keeps and does not use (default none).
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// How many channels the stream may have with this one, counting only those that deliver if it delivers, and
    /// otherwise only those that do not (default any number). Checked in the same step, so concurrent callers cannot
    /// exceed it together.
    pub max_channels: usize,
    /// Whether the stream has to be on demand. Checked in the same step. The stream stays so if its mode is only
    /// changed [with this check](crate::ModeOptions::readers_need_on_demand). Default: false.
    pub needs_on_demand: bool,
}

impl ChannelOptions {
    /// A channel to this destination, with the defaults.
    pub fn to(destination: Destination) -> Self {
        Self::new(Some(destination))
    }

    /// A channel with the defaults, that delivers to a destination or, without one, is only noted.
    pub fn new(destination: Option<Destination>) -> Self {
        Self {
            destination,
            start: StartingPosition::Latest,
            freshness: Duration::from_millis(limits::DEFAULT_FRESHNESS_MILLIS),
            tags: BTreeMap::new(),
            attributes: BTreeMap::new(),
            max_channels: usize::MAX,
            needs_on_demand: false,
        }
    }
}

/// The description of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelDescription {
    /// Its number, which no other channel of the stream ever has, not even a later one of the same name.
    pub id: ChannelId,
    /// Its name, unique among the channels of all streams of the namespace.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its state.
    pub status: ReaderStatus,
    /// The destination and format of its objects; `None` if nothing is delivered.
    pub destination: Option<Destination>,
    /// How old a record may get before it is delivered.
    pub freshness: Duration,
    /// When the last object of its records was made and noted as delivered, perhaps by an earlier opener of the store;
    /// `None` if there was none.
    pub last_delivery: Option<Timestamp>,
}

/// A shard that has, or will have, records for a channel to deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardToDeliver {
    pub(crate) shard: ShardId,
    /// The next record; [`RecordNumber::BEFORE_FIRST`] for the oldest record that exists.
    pub(crate) next: RecordNumber,
}

impl Store {
    /// All channels that deliver.
    pub(crate) fn channels_to_deliver(&self) -> Vec<(StreamId, ChannelId)> {
        let state = self.core().catalog.read();
        let streams = state.streams();
        let channels = streams.flat_map(|(id, stream)| stream.channels.iter().map(move |known| (id, known)));
        channels
            .filter(|(_, (_, channel))| channel.delivers())
            .map(|(stream, (channel, _))| (stream, *channel))
            .collect()
    }

    /// Refuses if the store is read-only, so that deliveries are never noted.
    pub(crate) fn check_takes_notes(&self) -> Result<()> {
        self.core().check_takes_changes()
    }
}

impl Stream {
    /// Makes a channel of the stream in the catalog.
    pub(crate) fn add_channel(&self, name: &str, options: &ChannelOptions) -> Result<ChannelId> {
        check_stream_name(name).map_err(|error| Error::bad_name(Named::Channel, name, error))?;
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        let start = self.reader_start(options.start, now)?;
        let mut id = ChannelId::new(0);
        store.catalog.commit(|state| {
            let stream = self.core.active_state(state)?;
            let mut others = state.streams_by_name(self.namespace(), None);
            if others.any(|(_, stream)| stream.channel_named(name).is_some()) {
                return Err(Error::ChannelExists {
                    channel: name.to_owned(),
                });
            }
            if options.needs_on_demand && stream.mode != StreamMode::OnDemand {
                return Err(Error::StreamNotOnDemand {
                    stream: self.name().to_owned(),
                });
            }
            stream.check_takes_channel(options)?;
            id = stream.next_channel();
            let lifecycle = (!store.is_immediate()).then(|| ReaderLifecycle::Creating {
                due: store.due_from(now),
            });
            Ok(self.edits_of_new_channel(id, name, options, &start, now, lifecycle))
        })?;
        store.note_next_due();
        Ok(id)
    }

    fn edits_of_new_channel(
        &self,
        channel: ChannelId,
        name: &str,
        options: &ChannelOptions,
        start: &ReaderStart,
        created: Timestamp,
        lifecycle: Option<ReaderLifecycle>,
    ) -> Vec<Edit> {
        let stream = self.core.id;
        let resource = Resource::Channel(stream, channel);
        let mut edits = vec![
            Edit::ChannelCreated {
                stream,
                channel,
                name: name.to_owned(),
                created,
                start: start.clone(),
                destination: options.destination.clone(),
            },
            Edit::SettingChanged {
                resource: resource.clone(),
                setting: freshness_setting(options.freshness),
            },
        ];
        edits.extend(lifecycle.map(|lifecycle| Edit::ChannelLifecycleChanged {
            stream,
            channel,
            lifecycle,
        }));
        if !options.tags.is_empty() {
            edits.push(Edit::TagsChanged {
                resource: resource.clone(),
                set: options.tags.clone(),
                removed: Vec::new(),
            });
        }
        let attributes = options.attributes.iter();
        edits.extend(attributes.map(|(name, value)| Edit::AttributeChanged {
            resource: resource.clone(),
            name: name.clone(),
            value: Some(value.clone()),
        }));
        edits
    }

    /// The stream's channels, in the order in which they were made.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::{ChannelOptions, Destination};
    ///
    /// stream.create_channel("archive", &ChannelOptions::to(Destination::new("clicks-archive")))?;
    /// assert_eq!(stream.channels()?[0].name, "archive");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn channels(&self) -> Result<Vec<ChannelDescription>> {
        self.read(|stream, _| {
            let channels = stream.channels.iter();
            Ok(channels
                .map(|(id, channel)| ChannelDescription::of(*id, channel))
                .collect())
        })
    }

    /// The time of the last object of each channel that has delivered records. Never waits.
    #[cfg(feature = "server")]
    pub(crate) fn last_deliveries_at_once(&self) -> Result<Vec<(String, Timestamp)>> {
        self.store_core().read_stream(&self.core, |stream, _| {
            let channels = stream.channels.values();
            let delivered =
                channels.filter_map(|channel| Some((channel.name.clone(), channel.last_delivery?)));
            Ok(delivered.collect())
        })
    }

    pub(crate) fn find_channel(&self, name: &str) -> Result<ChannelDescription> {
        self.read(|stream, _| {
            let found = stream.channel_named(name);
            let (id, channel) = found.ok_or_else(|| self.channel_not_found(name.to_owned()))?;
            Ok(ChannelDescription::of(id, channel))
        })
    }

    pub(crate) fn describe_channel(&self, id: ChannelId) -> Result<ChannelDescription> {
        self.read(|stream, _| Ok(ChannelDescription::of(id, self.channel_in(stream, id)?)))
    }

    /// The shards of which the channel can deliver records now: those whose parents are delivered to their ends.
    /// `damaged` parents only have to be delivered as far as they can be read.
    pub(crate) fn shards_to_deliver(
        &self,
        id: ChannelId,
        damaged: &BTreeSet<ShardId>,
    ) -> Result<Vec<ShardToDeliver>> {
        self.read(|stream, _| {
            let channel = self.channel_in(stream, id)?;
            if !channel.delivers() {
                return Ok(Vec::new());
            }
            let lineage = stream.lineage.as_ref();
            let is_delivered = |shard: ShardId| {
                let is_there = lineage.is_some_and(|lineage| lineage.shard(shard).is_some());
                !is_there || channel.next_of(shard).is_none() || damaged.contains(&shard)
            };
            let shards = lineage.into_iter().flat_map(Lineage::shards);
            let ready = shards.filter(|shard| shard.parents().all(is_delivered));
            Ok(ready
                .filter_map(|shard| {
                    let next = channel.next_of(shard.id)?;
                    let is_oldest = channel.is_whole() && !channel.next.contains_key(&shard.id);
                    Some(ShardToDeliver {
                        shard: shard.id,
                        next: if is_oldest {
                            RecordNumber::BEFORE_FIRST
                        } else {
                            next
                        },
                    })
                })
                .collect())
        })
    }

    /// The shards that expired with undelivered records, until the report of that is noted.
    pub(crate) fn shards_lost_to(&self, id: ChannelId) -> Result<Vec<ShardId>> {
        self.read(|stream, _| {
            let channel = self.channel_in(stream, id)?;
            Ok(channel.lost_shards(|shard| stream.logs.contains_key(&shard)))
        })
    }

    /// The greatest freshness at which no record expires first.
    pub(crate) fn most_freshness(&self) -> Result<Duration> {
        self.read(|stream, _| Ok(stream.retention.duration().map_or(Duration::MAX, |time| time / 2)))
    }

    /// Refuses if the store is read-only, so that deliveries are never noted.
    pub(crate) fn check_takes_notes(&self) -> Result<()> {
        self.store_core().check_takes_changes()
    }

    /// Refuses if deliveries cannot be noted now.
    pub(crate) fn check_notes_now(&self) -> Result<()> {
        self.store_core().check_writable()
    }

    /// Notes durably that a shard's records before this number are delivered; without a number, that the whole shard
    /// is.
    pub(crate) fn note_delivered(
        &self,
        id: ChannelId,
        shard: ShardId,
        next: Option<RecordNumber>,
    ) -> Result<()> {
        self.note_delivery(id, shard, next, None)
    }

    /// The same, with the time of the object that has these records, if they are in one.
    pub(crate) fn note_delivery(
        &self,
        id: ChannelId,
        shard: ShardId,
        next: Option<RecordNumber>,
        made: Option<Timestamp>,
    ) -> Result<()> {
        let store = self.store_core();
        store.check_takes_changes()?;
        store.catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            self.channel_in(stream, id)?;
            // It may have expired meanwhile. The loss is forgotten once it was reported.
            let is_there = stream.logs.contains_key(&shard);
            let advanced = (is_there || next.is_none()).then(|| Edit::ChannelAdvanced {
                stream: self.core.id,
                channel: id,
                next: vec![(shard, next)],
            });
            let delivered = made.map(|at| Edit::ChannelDelivered {
                stream: self.core.id,
                channel: id,
                at,
            });
            Ok(advanced.into_iter().chain(delivered).collect())
        })
    }

    /// Changes a channel's freshness, if one is given, and its attributes in one step.
    pub(crate) fn change_channel(
        &self,
        id: ChannelId,
        freshness: Option<Duration>,
        attributes: &BTreeMap<String, Vec<u8>>,
    ) -> Result<()> {
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        store.catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            let channel = self.channel_in(stream, id)?;
            channel.check_active()?;
            let resource = Resource::Channel(self.core.id, id);
            let setting = freshness.map(|freshness| Edit::SettingChanged {
                resource: resource.clone(),
                setting: freshness_setting(freshness),
            });
            let mut edits: Vec<_> = setting.into_iter().collect();
            edits.extend(attributes.iter().map(|(name, value)| Edit::AttributeChanged {
                resource: resource.clone(),
                name: name.clone(),
                value: Some(value.clone()),
            }));
            if !store.is_immediate() {
                edits.push(Edit::ChannelLifecycleChanged {
                    stream: self.core.id,
                    channel: id,
                    lifecycle: ReaderLifecycle::Updating {
                        due: store.due_from(now),
                    },
                });
            }
            Ok(edits)
        })?;
        store.note_next_due();
        Ok(())
    }

    /// Deletes a channel, after the store's transition delay if there is one. Does nothing if it is being deleted.
    pub(crate) fn delete_channel(&self, id: ChannelId) -> Result<()> {
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        store.catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            let lifecycle = self.channel_in(stream, id)?.lifecycle;
            Ok(match lifecycle {
                ReaderLifecycle::Deleting { .. } => Vec::new(),
                _ if store.is_immediate() => vec![Edit::ChannelRemoved {
                    stream: self.core.id,
                    channel: id,
                }],
                _ => vec![Edit::ChannelLifecycleChanged {
                    stream: self.core.id,
                    channel: id,
                    lifecycle: ReaderLifecycle::Deleting {
                        due: store.due_from(now),
                    },
                }],
            })
        })?;
        store.note_next_due();
        Ok(())
    }

    /// The tags of a channel.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// assert!(clicks.channel_tags(channel.id())?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ChannelNotFound`]; otherwise as for [`summary`](Self::summary).
    pub fn channel_tags(&self, id: ChannelId) -> Result<BTreeMap<String, String>> {
        self.read(|stream, _| Ok(self.channel_in(stream, id)?.labels.tags.clone()))
    }

    /// As [`change_tags`](Self::change_tags), for a channel.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// clicks.change_channel_tags(channel.id(), &[("owner".into(), "data".into())].into(), &[], 50)?;
    /// assert_eq!(clicks.channel_tags(channel.id())?["owner"], "data");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ChannelNotFound`]; otherwise as for [`change_tags`](Self::change_tags).
    pub fn change_channel_tags(
        &self,
        id: ChannelId,
        set: &BTreeMap<String, String>,
        removed: &[String],
        max_tags: usize,
    ) -> Result<()> {
        let change = TagChange {
            set,
            removed,
            max_tags,
        };
        self.commit_tags(Resource::Channel(self.core.id, id), change)
    }

    /// As [`attribute`](Self::attribute), of a channel.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// assert_eq!(clicks.channel_attribute(channel.id(), "schema")?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ChannelNotFound`]; otherwise as for [`summary`](Self::summary).
    pub fn channel_attribute(&self, id: ChannelId, name: &str) -> Result<Option<Vec<u8>>> {
        self.read(|stream, _| {
            let channel = self.channel_in(stream, id)?;
            Ok(channel.labels.attributes.get(name).cloned())
        })
    }

    /// As [`set_attribute`](Self::set_attribute), of a channel.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let clicks = store.create_stream("clicks", 1)?;
    /// # use anabranch::{ChannelOptions, Destination};
    /// # let channel = clicks.create_channel("archive", &ChannelOptions::to(Destination::new("archive")))?;
    /// clicks.set_channel_attribute(channel.id(), "schema", Some(b"2"))?;
    /// assert_eq!(clicks.channel_attribute(channel.id(), "schema")?.as_deref(), Some(&b"2"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ChannelNotFound`]; otherwise as for [`set_attribute`](Self::set_attribute).
    pub fn set_channel_attribute(&self, id: ChannelId, name: &str, value: Option<&[u8]>) -> Result<()> {
        self.describe_channel(id)?;
        let store = self.store_core();
        store.set_attribute(Resource::Channel(self.core.id, id), name, value)
    }
}

impl ChannelDescription {
    fn of(id: ChannelId, channel: &ChannelState) -> Self {
        Self {
            id,
            name: channel.name.clone(),
            created: channel.created,
            status: channel.lifecycle.status(),
            destination: channel.destination.clone(),
            freshness: Duration::from_millis(channel.freshness_millis),
            last_delivery: channel.last_delivery,
        }
    }
}

impl ChannelState {
    fn check_active(&self) -> Result<()> {
        match self.lifecycle.status() {
            ReaderStatus::Active => Ok(()),
            status => Err(Error::ChannelNotActive {
                channel: self.name.clone(),
                status,
            }),
        }
    }

    fn delivers(&self) -> bool {
        let is_usable = matches!(
            self.lifecycle.status(),
            ReaderStatus::Active | ReaderStatus::Updating
        );
        self.destination.is_some() && is_usable
    }

    /// Whether it has all records of the stream.
    fn is_whole(&self) -> bool {
        self.start == ReaderStart::default()
    }
}

impl StreamState {
    fn check_takes_channel(&self, options: &ChannelOptions) -> Result<()> {
        let delivers = options.destination.is_some();
        let others = self.channels.values();
        let others = others.filter(|channel| channel.destination.is_some() == delivers);
        if others.count() >= options.max_channels {
            return Err(Error::TooManyChannels {
                stream: self.name.local.clone(),
                limit: options.max_channels,
            });
        }
        Ok(())
    }
}

fn freshness_setting(freshness: Duration) -> Setting {
    let millis = u64::try_from(freshness.as_millis()).unwrap_or(u64::MAX);
    Setting::Freshness { millis }
}
