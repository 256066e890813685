//! Queues over a stream in the catalog: which exist, where they begin, and their settings. The floor above knows the
//! state of their records.

use std::collections::BTreeMap;

use super::labels::TagChange;
use super::open_queues::OpenQueue;
use super::stream::Stream;
use crate::catalog::{ConsumerState, Edit, QueueState, ReaderLifecycle, Resource, Setting, StreamState};
use crate::error::{Error, InvalidArgument, Named, Result};
use crate::model::{
    ConsumerStatus, QueueId, ReaderStart, ReaderStatus, RecordNumber, ShardFilter, ShardId, StartingPosition,
    StreamId, StreamMode, Timestamp, check_stream_name, limits,
};
use std::sync::Arc;

/// How a queue gives its records out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// For how many seconds a record that was given out is held back, unless its receiver sets another time. Up to
    /// 43,200, which is 12 hours. Default: 30.
    pub visibility_seconds: u32,
    /// How often a record is given out, 1 to 1000 times, before it becomes a dead letter; `None` if it is given out
    /// until it is acknowledged. Default: 6.
    pub max_receive_count: Option<u32>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            visibility_seconds: limits::DEFAULT_VISIBILITY_SECONDS,
            max_receive_count: Some(limits::DEFAULT_MAX_RECEIVE_COUNT),
        }
    }
}

/// The options of a new queue.
#[derive(Clone, Debug)]
pub struct QueueOptions {
    /// Its first records: [`TrimHorizon`](StartingPosition::TrimHorizon),
    /// [`AtTimestamp`](StartingPosition::AtTimestamp) of a time in the past, or [`Latest`](StartingPosition::Latest),
    /// the default, for records that are put from now on.
    pub start: StartingPosition,
    /// How it gives records out.
    pub settings: QueueSettings,
    /// Its tags (default none).
    pub tags: BTreeMap<String, String>,
    /// How many consumers and queues the stream may have with it (default any number). Checked in the same step, so
    /// concurrent callers cannot exceed it together.
    pub max_consumers: usize,
    /// How many of the stream's consumers and queues may be being created with it (default any number).
    pub max_creating: usize,
    /// Whether the stream has to be [on demand](StreamMode::OnDemand). Checked in the same step. The stream stays so if
    /// its mode is only changed [with this check](crate::ModeOptions::readers_need_on_demand). Default: false.
    pub needs_on_demand: bool,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            start: StartingPosition::Latest,
            settings: QueueSettings::default(),
            tags: BTreeMap::new(),
            max_consumers: usize::MAX,
            max_creating: usize::MAX,
            needs_on_demand: false,
        }
    }
}

/// The description of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueDescription {
    /// Its number, which no other queue of the stream ever has, not even a later one of the same name.
    pub id: QueueId,
    /// Its name, unique among the queues of all streams of the namespace.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its state.
    pub status: ReaderStatus,
    /// No record that arrived earlier is in it.
    pub from: Timestamp,
    /// How it gives records out.
    pub settings: QueueSettings,
}

impl QueueSettings {
    fn check(&self) -> Result<()> {
        check_visibility_seconds(self.visibility_seconds.into())?;
        let counts = 1..=limits::LARGEST_MAX_RECEIVE_COUNT;
        match self.max_receive_count {
            Some(actual) if !counts.contains(&actual) => {
                Err(Error::InvalidArgument(InvalidArgument::MaxReceiveCount {
                    actual,
                    least: *counts.start(),
                    most: *counts.end(),
                }))
            }
            _ => Ok(()),
        }
    }

    fn edits(&self, stream: StreamId, queue: QueueId) -> impl Iterator<Item = Edit> {
        let settings = [
            Setting::VisibilityTimeout {
                seconds: self.visibility_seconds,
            },
            Setting::MaxReceiveCount(self.max_receive_count),
        ];
        settings.into_iter().map(move |setting| Edit::SettingChanged {
            resource: Resource::Queue(stream, queue),
            setting,
        })
    }
}

/// Which records of a stream no longer exist.
#[derive(Debug)]
pub(crate) struct Passed {
    /// Records that arrived before this time have expired.
    pub(crate) horizon: Timestamp,
    /// For some shards, the number before which records are hidden, whatever their arrival times are.
    pub(crate) hidden: Vec<(ShardId, RecordNumber)>,
    /// Whether a shard that was asked about has expired.
    pub(crate) has_lost_shards: bool,
}

/// Checks that a queue can hold a record back for so long.
pub(crate) fn check_visibility_seconds(seconds: u64) -> Result<()> {
    match seconds <= limits::MAX_VISIBILITY_SECONDS.into() {
        true => Ok(()),
        false => Err(Error::InvalidArgument(InvalidArgument::VisibilityTimeout {
            actual: seconds,
            most: limits::MAX_VISIBILITY_SECONDS,
        })),
    }
}

impl Stream {
    /// Makes a queue over the stream in the catalog.
    pub(crate) fn add_queue(&self, name: &str, options: &QueueOptions) -> Result<QueueId> {
        check_stream_name(name).map_err(|error| Error::bad_name(Named::Queue, name, error))?;
        options.settings.check()?;
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        let start = self.reader_start(options.start, now)?;
        let lifecycle = match store.is_immediate() {
            true => ReaderLifecycle::Active,
            false => ReaderLifecycle::Creating {
                due: store.due_from(now),
            },
        };
        let mut id = QueueId::new(0);
        store.catalog.commit(|state| {
            let stream = self.core.active_state(state)?;
            if options.needs_on_demand && stream.mode != StreamMode::OnDemand {
                return Err(Error::StreamNotOnDemand {
                    stream: stream.name.local.clone(),
                });
            }
            let mut others = state.streams_by_name(self.namespace(), None);
            if others.any(|(_, stream)| stream.queue_named(name).is_some()) {
                return Err(Error::QueueExists {
                    queue: name.to_owned(),
                });
            }
            stream.check_takes_reader(options.max_consumers, options.max_creating, store.is_immediate())?;
            let queue = stream.next_queue();
            id = queue;
            let mut edits = vec![Edit::QueueCreated {
                stream: self.core.id,
                queue,
                name: name.to_owned(),
                created: now,
                start: start.clone(),
            }];
            edits.extend(options.settings.edits(self.core.id, queue));
            if lifecycle != ReaderLifecycle::Active {
                edits.push(Edit::QueueLifecycleChanged {
                    stream: self.core.id,
                    queue,
                    lifecycle,
                });
            }
            if !options.tags.is_empty() {
                edits.push(Edit::TagsChanged {
                    resource: Resource::Queue(self.core.id, queue),
                    set: options.tags.clone(),
                    removed: Vec::new(),
                });
            }
            Ok(edits)
        })?;
        store.note_next_due();
        Ok(id)
    }

    /// The stream's queues, in the order in which they were made.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("jobs", 1)?;
    /// stream.create_queue("resize", &Default::default())?;
    /// assert_eq!(stream.queues()?[0].name, "resize");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn queues(&self) -> Result<Vec<QueueDescription>> {
        self.read(|stream, _| {
            let queues = stream.queues.iter();
            Ok(queues
                .map(|(id, queue)| QueueDescription::of(*id, queue))
                .collect())
        })
    }

    pub(crate) fn find_queue(&self, name: &str) -> Result<QueueDescription> {
        self.read(|stream, _| {
            let found = stream.queue_named(name);
            let (id, queue) = found.ok_or_else(|| self.queue_not_found(name.to_owned()))?;
            Ok(QueueDescription::of(id, queue))
        })
    }

    pub(crate) fn describe_queue(&self, id: QueueId) -> Result<QueueDescription> {
        self.read(|stream, _| Ok(QueueDescription::of(id, self.queue_in(stream, id)?)))
    }

    /// What has expired or is hidden by now, for a queue that knows these shards.
    pub(crate) fn passed<'a>(&self, mut known: impl Iterator<Item = &'a ShardId>) -> Result<Passed> {
        self.read(|stream, moment| {
            let logs = stream.logs.iter();
            let hidden = logs.filter_map(|(shard, log)| Some((*shard, log.hidden_before?)));
            Ok(Passed {
                horizon: stream.horizon(moment),
                hidden: hidden.collect(),
                has_lost_shards: known.any(|shard| !stream.logs.contains_key(shard)),
            })
        })
    }

    /// The time by the store's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.store_core().now()
    }

    /// The time by the store's monotonic clock.
    pub(crate) fn monotonic_millis(&self) -> u64 {
        u64::try_from(self.store_core().time.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    /// Where a queue begins.
    pub(crate) fn start_of_queue(&self, id: QueueId) -> Result<ReaderStart> {
        self.read(|stream, _| Ok(self.queue_in(stream, id)?.start.clone()))
    }

    pub(crate) fn change_queue(&self, id: QueueId, settings: &QueueSettings) -> Result<()> {
        settings.check()?;
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        store.catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            let queue = self.queue_in(stream, id)?;
            match queue.lifecycle.status() {
                ReaderStatus::Active => {}
                status => return Err(QueueDescription::of(id, queue).not_active(status)),
            }
            let mut edits: Vec<_> = settings.edits(self.core.id, id).collect();
            if !store.is_immediate() {
                edits.push(Edit::QueueLifecycleChanged {
                    stream: self.core.id,
                    queue: id,
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

    /// Deletes a queue, after the store's transition delay if there is one. Does nothing if it is being deleted.
    pub(crate) fn delete_queue(&self, id: QueueId) -> Result<()> {
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        self.describe_queue(id)?;
        if store.is_immediate() {
            return store.remove_queue_now(self.core.id, id);
        }
        store.catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            Ok(match self.queue_in(stream, id)?.lifecycle {
                ReaderLifecycle::Deleting { .. } => Vec::new(),
                _ => vec![Edit::QueueLifecycleChanged {
                    stream: self.core.id,
                    queue: id,
                    lifecycle: ReaderLifecycle::Deleting {
                        due: store.due_from(now),
                    },
                }],
            })
        })?;
        store.note_next_due();
        if let Some(open) = store.open_queues.forget(self.core.id, id) {
            open.note_ended();
        }
        Ok(())
    }

    /// The tags of a queue.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// assert!(jobs.queue_tags(queue.id())?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueNotFound`]; otherwise as for [`summary`](Self::summary).
    pub fn queue_tags(&self, id: QueueId) -> Result<BTreeMap<String, String>> {
        self.read(|stream, _| Ok(self.queue_in(stream, id)?.labels.tags.clone()))
    }

    /// As [`change_tags`](Self::change_tags), for a queue.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// jobs.change_queue_tags(queue.id(), &[("owner".into(), "media".into())].into(), &[], 50)?;
    /// assert_eq!(jobs.queue_tags(queue.id())?["owner"], "media");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueNotFound`]; otherwise as for [`change_tags`](Self::change_tags).
    pub fn change_queue_tags(
        &self,
        id: QueueId,
        set: &BTreeMap<String, String>,
        removed: &[String],
        max_tags: usize,
    ) -> Result<()> {
        let change = TagChange {
            set,
            removed,
            max_tags,
        };
        self.commit_tags(Resource::Queue(self.core.id, id), change)
    }

    /// As [`attribute`](Self::attribute), of a queue.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// assert_eq!(jobs.queue_attribute(queue.id(), "schema")?, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueNotFound`]; otherwise as for [`summary`](Self::summary).
    pub fn queue_attribute(&self, id: QueueId, name: &str) -> Result<Option<Vec<u8>>> {
        self.read(|stream, _| {
            let queue = self.queue_in(stream, id)?;
            Ok(queue.labels.attributes.get(name).cloned())
        })
    }

    /// As [`set_attribute`](Self::set_attribute), of a queue.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// # let queue = jobs.create_queue("resize", &Default::default())?;
    /// jobs.set_queue_attribute(queue.id(), "schema", Some(b"2"))?;
    /// assert_eq!(jobs.queue_attribute(queue.id(), "schema")?.as_deref(), Some(&b"2"[..]));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::QueueNotFound`]; otherwise as for [`set_attribute`](Self::set_attribute).
    pub fn set_queue_attribute(&self, id: QueueId, name: &str, value: Option<&[u8]>) -> Result<()> {
        self.describe_queue(id)?;
        let store = self.store_core();
        store.set_attribute(Resource::Queue(self.core.id, id), name, value)
    }

    /// The state that all handles of the queue share, which is made if there is none yet.
    pub(crate) fn open_queue(
        &self,
        id: QueueId,
        make: impl FnOnce() -> Arc<dyn OpenQueue>,
    ) -> Arc<dyn OpenQueue> {
        self.store_core().open_queues.get_or_make(self.core.id, id, make)
    }

    /// Where a queue or a channel begins. A record that is put meanwhile may be in it or not.
    pub(super) fn reader_start(&self, start: StartingPosition, now: Timestamp) -> Result<ReaderStart> {
        let from = match start {
            StartingPosition::TrimHorizon => return Ok(ReaderStart::default()),
            StartingPosition::Latest => now,
            StartingPosition::AtTimestamp(time) if time > now => {
                return Err(InvalidArgument::ReaderInFuture.into());
            }
            StartingPosition::AtTimestamp(time) => time,
            StartingPosition::AtSequenceNumber(_) | StartingPosition::AfterSequenceNumber(_) => {
                return Err(InvalidArgument::ReaderPosition.into());
            }
        };
        let mut next = BTreeMap::new();
        let shards = self.shards(&ShardFilter::FromTrimHorizon)?;
        for shard in &shards {
            match self.shard_iterator(shard.id, start) {
                Ok(position) => {
                    next.insert(shard.id, position.next.max(RecordNumber::FIRST));
                }
                // The shard has expired meanwhile.
                Err(Error::ShardNotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ReaderStart {
            from,
            next,
            newest_passed: shards.last().map(|shard| shard.id),
        })
    }
}

impl QueueDescription {
    fn of(id: QueueId, queue: &QueueState) -> Self {
        Self {
            id,
            name: queue.name.clone(),
            created: queue.created,
            status: queue.lifecycle.status(),
            from: queue.start.from,
            settings: QueueSettings {
                visibility_seconds: queue.visibility_seconds,
                max_receive_count: queue.max_receive_count,
            },
        }
    }

    /// Refuses if no records can be received from it.
    pub(crate) fn check_usable(&self) -> Result<()> {
        match self.status {
            ReaderStatus::Active | ReaderStatus::Updating => Ok(()),
            status => Err(self.not_active(status)),
        }
    }

    fn not_active(&self, status: ReaderStatus) -> Error {
        Error::QueueNotActive {
            queue: self.name.clone(),
            status,
        }
    }
}

impl StreamState {
    /// Refuses a deletion of a stream that has queues or channels.
    pub(super) fn check_has_no_reader(&self) -> Result<()> {
        let stream = || self.name.local.clone();
        match (self.queues.len(), self.channels.len()) {
            (0, 0) => Ok(()),
            (0, count) => Err(Error::StreamHasChannels {
                stream: stream(),
                count,
            }),
            (count, _) => Err(Error::StreamHasQueues {
                stream: stream(),
                count,
            }),
        }
    }

    /// Refuses another consumer or queue if there are too many of both.
    pub(super) fn check_takes_reader(
        &self,
        max_readers: usize,
        max_creating: usize,
        is_immediate: bool,
    ) -> Result<()> {
        let stream = self.name.local.clone();
        if self.consumers.len() + self.queues.len() >= max_readers {
            let limit = max_readers;
            return Err(Error::TooManyConsumers { stream, limit });
        }
        let is_new_consumer = |known: &&ConsumerState| known.lifecycle.status() == ConsumerStatus::Creating;
        let is_new_queue = |known: &&QueueState| known.lifecycle.status() == ReaderStatus::Creating;
        let creating = self.consumers.values().filter(is_new_consumer).count()
            + self.queues.values().filter(is_new_queue).count();
        if !is_immediate && creating >= max_creating {
            let limit = max_creating;
            return Err(Error::TooManyNewConsumers { stream, limit });
        }
        Ok(())
    }
}
