//! Tags, attributes and registered consumers, which a store keeps and shows, and does not act on.

use std::collections::BTreeMap;

use super::core::StoreCore;
use super::stream::Stream;
use crate::catalog::{
    ChannelState, ConsumerLifecycle, ConsumerState, Edit, QueueState, Resource, StreamState,
};
use crate::error::{Error, InvalidArgument, Named, Result};
use crate::model::{ChannelId, ConsumerId, ConsumerStatus, QueueId, Timestamp, check_stream_name, limits};

/// A reader that is registered under its own name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerDescription {
    /// Its number, which no other consumer of the stream ever has, not even a later one of the same name.
    pub id: ConsumerId,
    /// Its name, unique among the stream's consumers.
    pub name: String,
    /// When it was registered: in a later second than every removed consumer of a stream of this name, so that a name
    /// with its second is never used twice.
    pub created: Timestamp,
    /// Its state: always [`Active`](ConsumerStatus::Active), unless the store has a
    /// [`transition_delay`](crate::StoreOptions::transition_delay).
    pub status: ConsumerStatus,
}

/// The options of a new consumer, besides its name.
#[derive(Clone, Debug)]
pub struct NewConsumer {
    /// Its tags (default none).
    pub tags: BTreeMap<String, String>,
    /// How many consumers the stream may have with it, queues included (default any number). Checked in the same step,
    /// so concurrent callers cannot exceed it together.
    pub max_consumers: usize,
    /// How many of the stream's consumers may be [`Creating`](ConsumerStatus::Creating) with it (default any number).
    pub max_creating: usize,
}

impl Default for NewConsumer {
    fn default() -> Self {
        Self {
            tags: BTreeMap::new(),
            max_consumers: usize::MAX,
            max_creating: usize::MAX,
        }
    }
}

impl Stream {
    /// The stream's tags: names and values that the caller chooses.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// assert!(stream.tags()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn tags(&self) -> Result<BTreeMap<String, String>> {
        self.read(|stream, _| Ok(stream.labels.tags.clone()))
    }

    /// Removes the tags of some names, and then sets others, in one step. A tag to be removed need not exist. A tag
    /// that is set replaces an existing value. Durable on return.
    ///
    /// The stream may have `max_tags` of them. That is checked in the same step, so concurrent callers cannot exceed it
    /// together. A stream that has more already keeps them, and gets no more.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = anabranch::Store::open(directory.path())?;
    /// let stream = store.create_stream("orders", 1)?;
    /// stream.change_tags(&[("owner".into(), "billing".into())].into(), &["draft".into()], 50)?;
    /// assert_eq!(stream.tags()?["owner"], "billing");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::TooManyTags`], and nothing is changed; otherwise as for [`summary`](Self::summary), and errors of the
    /// disk.
    pub fn change_tags(
        &self,
        set: &BTreeMap<String, String>,
        removed: &[String],
        max_tags: usize,
    ) -> Result<()> {
        let change = TagChange {
            set,
            removed,
            max_tags,
        };
        self.commit_tags(Resource::Stream(self.core.id), change)
    }

    /// The tags of a registered consumer.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let consumer = stream.register_consumer("billing")?;
    /// assert!(stream.consumer_tags(consumer.id)?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ConsumerNotFound`]; otherwise as for [`summary`](Self::summary).
    pub fn consumer_tags(&self, id: ConsumerId) -> Result<BTreeMap<String, String>> {
        self.read(|stream, _| Ok(self.registered(stream, id)?.labels.tags.clone()))
    }

    /// As [`change_tags`](Self::change_tags), for a registered consumer.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let consumer = stream.register_consumer("billing")?;
    /// stream.change_consumer_tags(consumer.id, &[("owner".into(), "ops".into())].into(), &[], 50)?;
    /// assert_eq!(stream.consumer_tags(consumer.id)?["owner"], "ops");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ConsumerNotFound`]; otherwise as for [`change_tags`](Self::change_tags).
    pub fn change_consumer_tags(
        &self,
        id: ConsumerId,
        set: &BTreeMap<String, String>,
        removed: &[String],
        max_tags: usize,
    ) -> Result<()> {
        let change = TagChange {
            set,
            removed,
            max_tags,
        };
        self.commit_tags(Resource::Consumer(self.core.id, id), change)
    }

    pub(super) fn commit_tags(&self, resource: Resource, change: TagChange<'_>) -> Result<()> {
        let store = self.store_core();
        store.begin(Some(self.core.id))?;
        store.catalog.commit(|state| {
            let tags = self.tags_of(self.core.state(state.stream(self.core.id))?, &resource)?;
            change.check_count(tags)?;
            if change.changes_nothing(tags) {
                return Ok(Vec::new());
            }
            Ok(vec![Edit::TagsChanged {
                resource,
                set: change.set.clone(),
                removed: change.removed.to_vec(),
            }])
        })
    }

    /// The tags of the stream, or of a consumer, a queue or a channel of it.
    fn tags_of<'s>(
        &self,
        stream: &'s StreamState,
        resource: &Resource,
    ) -> Result<&'s BTreeMap<String, String>> {
        Ok(match resource {
            Resource::Consumer(_, consumer) => &self.registered(stream, *consumer)?.labels.tags,
            Resource::Queue(_, queue) => &self.queue_in(stream, *queue)?.labels.tags,
            Resource::Channel(_, channel) => &self.channel_in(stream, *channel)?.labels.tags,
            Resource::Stream(_) | Resource::Account(_) => &stream.labels.tags,
        })
    }

    pub(super) fn queue_in<'s>(&self, stream: &'s StreamState, id: QueueId) -> Result<&'s QueueState> {
        let queue = stream.queues.get(&id);
        queue.ok_or_else(|| self.queue_not_found(format!("number {id}")))
    }

    pub(super) fn channel_in<'s>(&self, stream: &'s StreamState, id: ChannelId) -> Result<&'s ChannelState> {
        let channel = stream.channels.get(&id);
        channel.ok_or_else(|| self.channel_not_found(format!("number {id}")))
    }

    pub(super) fn channel_not_found(&self, channel: String) -> Error {
        Error::ChannelNotFound {
            stream: self.name().to_owned(),
            channel,
        }
    }

    pub(super) fn queue_not_found(&self, queue: String) -> Error {
        Error::QueueNotFound {
            stream: self.name().to_owned(),
            queue,
        }
    }

    /// An attribute of the stream: bytes under a name, which the store keeps and does not use.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// assert_eq!(stream.attribute("schema")?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn attribute(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.read(|stream, _| Ok(stream.labels.attributes.get(name).cloned()))
    }

    /// Sets an attribute, or removes it. Durable on return.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.set_attribute("schema", Some(b"2"))?;
    /// assert_eq!(stream.attribute("schema")?.as_deref(), Some(&b"2"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a name that is not 1 to 128 characters of `a-z A-Z 0-9 _ . -`, and for a value of
    /// more than [`MAX_ATTRIBUTE_BYTES`](limits::MAX_ATTRIBUTE_BYTES); otherwise as for [`summary`](Self::summary), and
    /// errors of the disk.
    pub fn set_attribute(&self, name: &str, value: Option<&[u8]>) -> Result<()> {
        let store = self.store_core();
        // Checks that the stream exists.
        self.read(|_, _| Ok(()))?;
        store.set_attribute(Resource::Stream(self.core.id), name, value)
    }

    /// As [`attribute`](Self::attribute), of a registered consumer.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let consumer = stream.register_consumer("billing")?;
    /// assert_eq!(stream.consumer_attribute(consumer.id, "version")?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ConsumerNotFound`]; otherwise as for [`summary`](Self::summary).
    pub fn consumer_attribute(&self, id: ConsumerId, name: &str) -> Result<Option<Vec<u8>>> {
        self.read(|stream, _| {
            let consumer = self.registered(stream, id)?;
            Ok(consumer.labels.attributes.get(name).cloned())
        })
    }

    /// As [`set_attribute`](Self::set_attribute), of a registered consumer.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let id = stream.register_consumer("billing")?.id;
    /// stream.set_consumer_attribute(id, "version", Some(b"7"))?;
    /// assert_eq!(stream.consumer_attribute(id, "version")?.as_deref(), Some(&b"7"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ConsumerNotFound`]; otherwise as for [`set_attribute`](Self::set_attribute).
    pub fn set_consumer_attribute(&self, id: ConsumerId, name: &str, value: Option<&[u8]>) -> Result<()> {
        let store = self.store_core();
        self.read(|stream, _| self.registered(stream, id).map(drop))?;
        store.set_attribute(Resource::Consumer(self.core.id, id), name, value)
    }

    fn registered<'s>(&self, stream: &'s StreamState, id: ConsumerId) -> Result<&'s ConsumerState> {
        stream.consumers.get(&id).ok_or_else(|| Error::ConsumerNotFound {
            stream: self.name().to_owned(),
            consumer: id,
        })
    }

    /// Registers a consumer under a name of 1 to 128 characters of `a-z A-Z 0-9 _ . -`, so that a program can identify
    /// its readers. Durable on return.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let consumer = stream.register_consumer("billing")?;
    /// assert_eq!(consumer.name, "billing");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`register_consumer_with`](Self::register_consumer_with).
    pub fn register_consumer(&self, name: &str) -> Result<ConsumerDescription> {
        self.register_consumer_with(name, &NewConsumer::default())
    }

    /// As [`register_consumer`](Self::register_consumer), with its tags and a limit, in one step.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::{Error, NewConsumer};
    ///
    /// let one = NewConsumer {
    ///     max_consumers: 1,
    ///     ..NewConsumer::default()
    /// };
    /// stream.register_consumer_with("billing", &one)?;
    /// let refused = stream.register_consumer_with("search", &one);
    /// assert!(matches!(refused, Err(Error::TooManyConsumers { limit: 1, .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for the name, [`Error::ConsumerExists`], [`Error::TooManyConsumers`],
    /// [`Error::TooManyNewConsumers`]; otherwise as for [`summary`](Self::summary), and errors of the disk.
    pub fn register_consumer_with(&self, name: &str, options: &NewConsumer) -> Result<ConsumerDescription> {
        check_stream_name(name).map_err(|error| Error::bad_name(Named::Consumer, name, error))?;
        let store = self.store_core();
        let now = store.begin(Some(self.core.id))?;
        let lifecycle = match store.is_immediate() {
            true => ConsumerLifecycle::Active,
            false => ConsumerLifecycle::Creating {
                due: store.due_from(now),
            },
        };
        let (mut id, mut created) = (ConsumerId::new(0), now);
        store.catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            if stream.consumer_named(name).is_some() {
                return Err(Error::ConsumerExists {
                    stream: self.name().to_owned(),
                    consumer: name.to_owned(),
                });
            }
            stream.check_takes_reader(options.max_consumers, options.max_creating, store.is_immediate())?;
            (id, created) = (stream.next_consumer(), stream.next_consumer_creation(now));
            let mut edits = vec![Edit::ConsumerRegistered {
                stream: self.core.id,
                consumer: id,
                name: name.to_owned(),
                created,
            }];
            if lifecycle != ConsumerLifecycle::Active {
                edits.push(Edit::ConsumerLifecycleChanged {
                    stream: self.core.id,
                    consumer: id,
                    lifecycle,
                });
            }
            if !options.tags.is_empty() {
                edits.push(Edit::TagsChanged {
                    resource: Resource::Consumer(self.core.id, id),
                    set: options.tags.clone(),
                    removed: Vec::new(),
                });
            }
            Ok(edits)
        })?;
        store.note_next_due();
        Ok(ConsumerDescription {
            id,
            name: name.to_owned(),
            created,
            status: lifecycle.status(),
        })
    }

    /// The registered consumers, in the order in which they were registered.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.register_consumer("billing")?;
    /// stream.register_consumer("search")?;
    /// assert_eq!(stream.consumers()?[1].name, "search");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn consumers(&self) -> Result<Vec<ConsumerDescription>> {
        self.read(|stream, _| {
            let consumers = stream.consumers.iter();
            Ok(consumers
                .map(|(id, consumer)| ConsumerDescription::of(*id, consumer))
                .collect())
        })
    }

    /// Removes a consumer with its tags and attributes, after the store's transition delay if there is one. Does
    /// nothing if it does not exist.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let consumer = stream.register_consumer("billing")?;
    /// stream.remove_consumer(consumer.id)?;
    /// assert!(stream.consumers()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary), and errors of the disk.
    pub fn remove_consumer(&self, id: ConsumerId) -> Result<()> {
        let store = self.store_core();
        let now = store.begin(Some(self.core.id))?;
        store.catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            let Some(known) = stream.consumers.get(&id) else {
                return Ok(Vec::new());
            };
            Ok(match known.lifecycle {
                _ if store.is_immediate() => vec![Edit::ConsumerRemoved {
                    stream: self.core.id,
                    consumer: id,
                }],
                ConsumerLifecycle::Deleting { .. } => Vec::new(),
                ConsumerLifecycle::Creating { .. } | ConsumerLifecycle::Active => {
                    vec![Edit::ConsumerLifecycleChanged {
                        stream: self.core.id,
                        consumer: id,
                        lifecycle: ConsumerLifecycle::Deleting {
                            due: store.due_from(now),
                        },
                    }]
                }
            })
        })?;
        store.note_next_due();
        Ok(())
    }
}

/// Tags to remove and then to set, and the limit of their number.
#[derive(Clone, Copy)]
pub(super) struct TagChange<'a> {
    pub(super) set: &'a BTreeMap<String, String>,
    pub(super) removed: &'a [String],
    pub(super) max_tags: usize,
}

impl TagChange<'_> {
    fn check_count(&self, tags: &BTreeMap<String, String>) -> Result<()> {
        let is_kept = |name: &&String| !self.set.contains_key(*name) && !self.removed.contains(name);
        let count = self.set.len() + tags.keys().filter(is_kept).count();
        match count > self.max_tags && count > tags.len() {
            true => Err(Error::TooManyTags {
                count,
                limit: self.max_tags,
            }),
            false => Ok(()),
        }
    }

    fn changes_nothing(&self, tags: &BTreeMap<String, String>) -> bool {
        let is_set = |(name, value): (&String, &String)| tags.get(name) == Some(value);
        let is_removed = |name: &String| !tags.contains_key(name) || self.set.contains_key(name);
        self.set.iter().all(is_set) && self.removed.iter().all(is_removed)
    }
}

impl ConsumerDescription {
    fn of(id: ConsumerId, consumer: &ConsumerState) -> Self {
        Self {
            id,
            name: consumer.name.clone(),
            created: consumer.created,
            status: consumer.lifecycle.status(),
        }
    }
}

impl StoreCore {
    pub(super) fn attribute(&self, of: &Resource, name: &str) -> Result<Option<Vec<u8>>> {
        self.check_open()?;
        let state = self.catalog.read();
        let labels = state.labels(of);
        Ok(labels.and_then(|labels| labels.attributes.get(name).cloned()))
    }

    pub(super) fn set_attribute(&self, of: Resource, name: &str, value: Option<&[u8]>) -> Result<()> {
        check_stream_name(name).map_err(|error| Error::bad_name(Named::Attribute, name, error))?;
        if let Some(value) = value.filter(|value| value.len() > limits::MAX_ATTRIBUTE_BYTES) {
            return Err(Error::InvalidArgument(InvalidArgument::AttributeBytes {
                name: name.to_owned(),
                actual: value.len(),
                most: limits::MAX_ATTRIBUTE_BYTES,
            }));
        }
        self.begin(None)?;
        self.catalog.commit(|state| {
            let labels = state.labels(&of);
            if labels.is_none() && !matches!(of, Resource::Account(_)) {
                return Err(no_longer_there(&of));
            }
            let known = labels.and_then(|labels| labels.attributes.get(name));
            if known.map(Vec::as_slice) == value {
                return Ok(Vec::new());
            }
            Ok(vec![Edit::AttributeChanged {
                resource: of,
                name: name.to_owned(),
                value: value.map(<[u8]>::to_vec),
            }])
        })
    }
}

fn no_longer_there(resource: &Resource) -> Error {
    let name = match resource {
        Resource::Account(namespace) => namespace.clone(),
        Resource::Stream(stream)
        | Resource::Consumer(stream, _)
        | Resource::Queue(stream, _)
        | Resource::Channel(stream, _) => format!("number {stream}"),
    };
    Error::StreamNotFound { name }
}
