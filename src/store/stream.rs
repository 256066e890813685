//! A stream as its users hold it: describing, changing and deleting it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::StoreCore;
use super::creation::{check_max_record_bytes, check_warm_throughput};
use super::handle::StoreHandle;
use super::stream_core::{Routing, StreamCore};
use crate::catalog::{Change, Edit, Lifecycle, Resource, Setting, StreamKey, StreamState};
use crate::error::{Error, Result, RetentionReason};
use crate::model::{
    HashKey, Lineage, Moment, RecordDistribution, ReshardStep, Retention, Shard, ShardFilter, ShardId,
    SizeLimits, StreamId, StreamMode, StreamStatus, Timestamp,
};

/// A stream. Clones share it. A handle of a deleted stream gives [`Error::StreamNotFound`].
#[derive(Clone, Debug)]
pub struct Stream {
    handle: Arc<StoreHandle>,
    pub(super) core: Arc<StreamCore>,
}

/// The description of a stream without its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its name, unique among the present streams of its namespace.
    pub name: String,
    /// Its number, unique among all streams that the store ever had.
    pub id: StreamId,
    /// Its state.
    pub status: StreamStatus,
    /// When it was created.
    pub created: Timestamp,
    /// How long it keeps records.
    pub retention: Retention,
    /// How much it keeps at most.
    pub size_limits: SizeLimits,
    /// Whether the owner or the load decides how many shards it has.
    pub mode: StreamMode,
    /// How records are distributed over the shards.
    pub distribution: RecordDistribution,
    /// The throughput that it must always be able to take if it is on demand, in MiB a second; 0 if it was not set.
    pub warm_throughput: u32,
    /// The largest record it takes, in bytes of data and partition key.
    pub max_record_bytes: u32,
    /// The id of the key of its records, as it was given; `None` if they are not encrypted.
    pub encryption_key: Option<String>,
    /// How many open shards it has.
    pub open_shard_count: u32,
    /// The tags of its owner.
    pub tags: BTreeMap<String, String>,
}

/// The options of a change of a stream's mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModeOptions {
    /// The new warm throughput, as for [`set_warm_throughput`](Stream::set_warm_throughput); `None`, the default,
    /// leaves it unchanged.
    pub warm_throughput: Option<u32>,
    /// Whether the stream's queues and channels need it [on demand](StreamMode::OnDemand): while it has some, another
    /// mode is refused. Default: false.
    pub readers_need_on_demand: bool,
}

/// The description of a stream with its shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamDescription {
    /// The stream.
    pub summary: StreamSummary,
    /// Its shards in the order of their ids, including closed ones until they expire. Empty while it is being created.
    pub shards: Vec<Shard>,
}

impl Stream {
    pub(super) fn new(handle: Arc<StoreHandle>, core: Arc<StreamCore>) -> Self {
        Self { handle, core }
    }

    /// Its name, which no other stream of its namespace has.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// assert_eq!(stream.name(), "clicks");
    /// # Ok(())
    /// # }
    /// ```
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// The namespace that the name is in: empty unless it was made in a [`Namespace`](super::Namespace).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// let stream = store.namespace("tenant-7")?.create_stream("clicks", 1)?;
    /// assert_eq!((stream.namespace(), stream.name()), ("tenant-7", "clicks"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn namespace(&self) -> &str {
        &self.core.namespace
    }

    /// Its number, which no other stream of the store ever has, not even a later one of the same name.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let id = stream.id();
    /// stream.delete()?;
    /// assert_ne!(store.create_stream("clicks", 1)?.id(), id);
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(&self) -> StreamId {
        self.core.id
    }

    /// Its description, without its shards.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let summary = stream.summary()?;
    /// assert_eq!((summary.retention, summary.open_shard_count), (anabranch::Retention::hours(24), 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamNotFound`] once it is deleted, [`Error::Closed`].
    pub fn summary(&self) -> Result<StreamSummary> {
        self.read(|stream, _| Ok(StreamSummary::of(self.core.id, stream)))
    }

    /// Its description, with its shards.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// for shard in stream.describe()?.shards {
    ///     let range = shard.hash_key_range;
    ///     println!("{}: {} to {}", shard.id, range.start(), range.end());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn describe(&self) -> Result<StreamDescription> {
        self.read(|stream, moment| {
            Ok(StreamDescription {
                summary: StreamSummary::of(self.core.id, stream),
                shards: stream.shards(&ShardFilter::FromTrimHorizon, moment),
            })
        })
    }

    /// The shards that a filter selects, in the order of their ids. Expired shards are never selected.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::{HashKey, ShardFilter};
    ///
    /// let parent = stream.shards(&ShardFilter::AtLatest)?[0].id;
    /// stream.split_shard(parent, HashKey::MAX / 2)?;
    /// assert_eq!(stream.shards(&ShardFilter::AtLatest)?.len(), 2);
    /// assert_eq!(stream.shards(&ShardFilter::FromTrimHorizon)?.len(), 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`summary`](Self::summary).
    pub fn shards(&self, filter: &ShardFilter) -> Result<Vec<Shard>> {
        self.read(|stream, moment| Ok(stream.shards(filter, moment)))
    }

    /// Changes how long records are kept, from now on. Records that have expired do not come back. Older ones are
    /// hidden at once.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::Retention;
    /// use std::time::Duration;
    ///
    /// stream.set_retention(Retention::FOREVER)?;
    /// stream.set_retention(Duration::from_secs(90).into())?;
    /// assert_eq!(stream.summary()?.retention.duration(), Some(Duration::from_secs(90)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamNotActive`]; otherwise as for [`summary`](Self::summary), and errors of the disk.
    pub fn set_retention(&self, retention: Retention) -> Result<()> {
        self.change_retention(retention, |_| None)
    }

    /// As [`set_retention`](Self::set_retention), but refuses to shorten it.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::Retention;
    ///
    /// stream.increase_retention(Retention::hours(7 * 24))?;
    /// assert!(stream.increase_retention(Retention::hours(24)).is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidRetention`]; otherwise as for [`set_retention`](Self::set_retention).
    pub fn increase_retention(&self, retention: Retention) -> Result<()> {
        self.change_retention(retention, |current| {
            (retention < current).then_some(RetentionReason::IncreaseWouldShorten)
        })
    }

    /// As [`set_retention`](Self::set_retention), but refuses to lengthen it.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::Retention;
    ///
    /// stream.decrease_retention(Retention::hours(1))?;
    /// assert!(stream.decrease_retention(Retention::hours(2)).is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidRetention`]; otherwise as for [`set_retention`](Self::set_retention).
    pub fn decrease_retention(&self, retention: Retention) -> Result<()> {
        self.change_retention(retention, |current| {
            (retention > current).then_some(RetentionReason::DecreaseWouldLengthen)
        })
    }

    /// Changes how much is kept, from now on. Older records beyond that are hidden by the next round of house-keeping.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::SizeLimits;
    ///
    /// let limits = SizeLimits {
    ///     stream_bytes: Some(1 << 30),
    ///     ..SizeLimits::NONE
    /// };
    /// stream.set_size_limits(limits)?;
    /// assert_eq!(stream.summary()?.size_limits, limits);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`set_retention`](Self::set_retention).
    pub fn set_size_limits(&self, limits: SizeLimits) -> Result<()> {
        self.set(&[Setting::SizeLimits(limits)])
    }

    /// Closes a shard and opens two children: one for the hash keys below `new_starting_hash_key`, and one for the
    /// others. Earlier records are in the parent, later ones in a child.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::HashKey;
    ///
    /// let put = stream.put("user-42", b"before")?;
    /// stream.split_shard(put.shard_id, HashKey::MAX / 2)?;
    /// assert_ne!(stream.put("user-42", b"after")?.shard_id, put.shard_id);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ShardNotFound`], [`Error::ShardClosed`], [`Error::InvalidSplit`], [`Error::StreamNotActive`];
    /// otherwise as for [`put`](Self::put).
    pub fn split_shard(&self, shard: ShardId, new_starting_hash_key: HashKey) -> Result<()> {
        self.reshard(ReshardStep::Split {
            shard,
            new_starting_hash_key,
        })
    }

    /// Splits a shard into two with half of its hash keys each.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// let put = stream.put("user-42", b"{}")?;
    /// stream.split_in_half(put.shard_id)?;
    /// assert_eq!(stream.summary()?.open_shard_count, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`split_shard`](Self::split_shard); [`Error::InvalidSplit`] for a shard of fewer than four keys.
    pub fn split_in_half(&self, shard: ShardId) -> Result<()> {
        let range = self.read(|stream, _| {
            let lineage = stream.lineage.as_ref();
            Ok(lineage.and_then(|lineage| Some(lineage.shard(shard)?.hash_key_range)))
        })?;
        // If there are no halves, the split at the first key gives the error.
        let middle = range.map(|range| range.middle().unwrap_or(range.start()));
        self.split_shard(shard, middle.unwrap_or(HashKey::MIN))
    }

    /// Closes two shards and opens one child for the hash keys of both. The range of `second` must begin where that of
    /// `first` ends.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// let stream = store.create_stream("clicks", 2)?;
    /// let shards = stream.describe()?.shards;
    /// stream.merge_shards(shards[0].id, shards[1].id)?;
    /// assert_eq!(stream.summary()?.open_shard_count, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::ShardNotFound`], [`Error::ShardClosed`], [`Error::NotAdjacent`], [`Error::StreamNotActive`];
    /// otherwise as for [`put`](Self::put).
    pub fn merge_shards(&self, first: ShardId, second: ShardId) -> Result<()> {
        self.reshard(ReshardStep::Merge { first, second })
    }

    /// Changes the number of open shards, by splits and merges as Kinesis' UpdateShardCount does them. For more shards,
    /// each one is split into halves, and then neighbours are merged until there are `target`. For fewer, neighbours
    /// are merged. Twice or half as many have even ranges if they were even before. An intermediate shard is closed and
    /// empty, and expires like any other.
    ///
    /// Each split and merge is durable separately. A change that a crash or a full disk interrupts goes on later. The
    /// stream is [`Updating`](StreamStatus::Updating) until it is done.
    ///
    /// ```
    /// # let store = anabranch::Store::in_memory()?;
    /// let stream = store.create_stream("clicks", 2)?;
    /// stream.update_shard_count(4)?;
    /// assert_eq!(stream.summary()?.open_shard_count, 4);
    /// # Ok::<(), anabranch::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for no shards, and for so many that there would be more than
    /// [`MAX_SHARDS_PER_STREAM`](crate::limits::MAX_SHARDS_PER_STREAM) in between; [`Error::StreamNotActive`];
    /// otherwise as for [`put`](Self::put).
    pub fn update_shard_count(&self, target: u32) -> Result<()> {
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        store.change_shard_count(&self.core, target, now)
    }

    /// Begins an [`update_shard_count`](Self::update_shard_count), and does not wait for its end. The stream is
    /// [`Updating`](StreamStatus::Updating) until the keeper and the next calls on the stream have done it.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StreamStatus;
    ///
    /// stream.begin_shard_count_update(4)?;
    /// while stream.summary()?.status == StreamStatus::Updating {
    ///     std::thread::yield_now();
    /// }
    /// assert_eq!(stream.summary()?.open_shard_count, 4);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`update_shard_count`](Self::update_shard_count).
    pub fn begin_shard_count_update(&self, target: u32) -> Result<()> {
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        store
            .begin_shard_count_update(&self.core, target, now)
            .map(|_| ())
    }

    /// Changes whether the owner or the load decides how many shards the stream has. It keeps its present shards.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StreamMode;
    ///
    /// stream.set_mode(StreamMode::OnDemand)?;
    /// assert_eq!(stream.summary()?.mode, StreamMode::OnDemand);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamNotActive`]; otherwise as for [`summary`](Self::summary), and errors of the disk.
    pub fn set_mode(&self, mode: StreamMode) -> Result<()> {
        self.set(&[Setting::Mode(mode)])
    }

    /// The same with options, which are applied and checked in the same step.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let jobs = store.create_stream("jobs", 1)?;
    /// use anabranch::{Error, ModeOptions, StreamMode};
    ///
    /// jobs.set_mode(StreamMode::OnDemand)?;
    /// jobs.create_queue("resize", &Default::default())?;
    /// let options = ModeOptions { readers_need_on_demand: true, ..ModeOptions::default() };
    /// let changed = jobs.set_mode_with(StreamMode::Provisioned, &options);
    /// assert!(matches!(changed, Err(Error::StreamHasQueues { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamHasQueues`], [`Error::StreamHasChannels`]; otherwise as for [`set_mode`](Self::set_mode), and as
    /// for [`set_warm_throughput`](Self::set_warm_throughput) if that is changed.
    pub fn set_mode_with(&self, mode: StreamMode, options: &ModeOptions) -> Result<()> {
        let mut settings = vec![Setting::Mode(mode)];
        if let Some(mib_per_second) = options.warm_throughput {
            check_warm_throughput(mib_per_second)?;
            settings.push(Setting::WarmThroughput(mib_per_second));
        }
        let is_kept = options.readers_need_on_demand && mode != StreamMode::OnDemand;
        self.set_checked(&settings, |stream| match is_kept {
            true => stream.check_has_no_reader(),
            false => Ok(()),
        })
    }

    /// Changes how records are distributed over the shards from now on, without a transition delay. Existing records
    /// stay where they are.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::RecordDistribution;
    ///
    /// stream.set_distribution(RecordDistribution::Auto)?;
    /// stream.put("", b"a record for any shard")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`set_mode`](Self::set_mode).
    pub fn set_distribution(&self, distribution: RecordDistribution) -> Result<()> {
        let store = self.store_core();
        store.begin_change(Some(self.core.id))?;
        store.set_at_once(&self.core, &[Setting::Distribution(distribution)], |_| Ok(()))
    }

    /// Sets the throughput that the stream must always be able to take, in MiB a second, whatever its load: while it is
    /// [on demand](StreamMode::OnDemand), it has at least one shard for each MiB. It gets them within some minutes,
    /// each of which can double their number. 0 removes the requirement.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::StreamMode;
    ///
    /// stream.set_mode(StreamMode::OnDemand)?;
    /// stream.set_warm_throughput(20)?;
    /// assert_eq!(stream.summary()?.warm_throughput, 20);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than [`MAX_SHARDS_PER_STREAM`](crate::limits::MAX_SHARDS_PER_STREAM);
    /// otherwise as for [`set_mode`](Self::set_mode).
    pub fn set_warm_throughput(&self, mib_per_second: u32) -> Result<()> {
        check_warm_throughput(mib_per_second)?;
        self.set(&[Setting::WarmThroughput(mib_per_second)])
    }

    /// Changes the largest size of a record, in bytes of data and partition key: 1 MiB to 10 MiB. Existing records stay
    /// as they are.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.set_max_record_bytes(10 << 20)?;
    /// stream.put("user-42", &vec![0; 5 << 20])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`]; otherwise as for [`set_mode`](Self::set_mode).
    pub fn set_max_record_bytes(&self, bytes: u32) -> Result<()> {
        check_max_record_bytes(bytes)?;
        self.set(&[Setting::MaxRecordBytes(bytes)])
    }

    /// Encrypts the records that are put from now on, data and partition keys, with one of the keys that the store was
    /// opened with ([`StoreOptions::keys`](crate::StoreOptions::keys)). A stream that is encrypted changes to this key.
    /// With a transition delay this takes effect when the stream is active again.
    ///
    /// Existing records stay as they are: encrypted ones can be read as long as their key is available, and plain ones
    /// stay plain until they expire.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # use anabranch::{KeyRing, StoreOptions};
    /// # let keys = KeyRing::new();
    /// # keys.insert("key-1", [7; 32]);
    /// # let store = StoreOptions::new().keys(keys).open(directory.path())?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.start_encryption("key-1")?;
    /// stream.put("user-42", b"unreadable without the key")?;
    /// assert_eq!(stream.summary()?.encryption_key.as_deref(), Some("key-1"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::KeyNotFound`]; otherwise as for [`set_mode`](Self::set_mode).
    #[cfg(feature = "encryption")]
    pub fn start_encryption(&self, key_id: &str) -> Result<()> {
        let keys = self.store_core().options.key_ring();
        let fingerprint = keys.and_then(|keys| keys.find(key_id));
        let not_found = || Error::KeyNotFound {
            id: Some(key_id.to_owned()),
            fingerprint: None,
        };
        self.set(&[Setting::Encryption(Some(StreamKey {
            id: key_id.to_owned(),
            fingerprint: Some(fingerprint.ok_or_else(not_found)?),
        }))])
    }

    /// Whether the stream has a key. It may encrypt records, or may only have been
    /// [declared](Self::declare_encryption).
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// assert!(!stream.is_encrypted());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_encrypted(&self) -> bool {
        self.core.is_encrypted.load(Ordering::Relaxed)
    }

    /// Notes the id of a key ([`StreamSummary::encryption_key`]) and encrypts nothing: for a program that emulates
    /// encryption, and says so.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.declare_encryption("alias/aws/kinesis")?;
    /// // It is said of the stream, and its records are as plain as before.
    /// assert_eq!(stream.summary()?.encryption_key.as_deref(), Some("alias/aws/kinesis"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::KeyNotFound`] for a stream that is really encrypted: [stop](Self::stop_encryption) that first.
    /// Otherwise as for [`set_mode`](Self::set_mode).
    pub fn declare_encryption(&self, key_id: &str) -> Result<()> {
        let declared = Setting::Encryption(Some(StreamKey {
            id: key_id.to_owned(),
            fingerprint: None,
        }));
        self.set_checked(&[declared], |stream| match &stream.encryption {
            Some(StreamKey {
                id,
                fingerprint: Some(fingerprint),
            }) => Err(Error::KeyNotFound {
                id: Some(id.clone()),
                fingerprint: Some(fingerprint.number()),
            }),
            _ => Ok(()),
        })
    }

    /// Stops the encryption of records that are put from now on. Existing records stay as they are.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// stream.declare_encryption("alias/aws/kinesis")?;
    /// stream.stop_encryption()?;
    /// assert_eq!(stream.summary()?.encryption_key, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`set_mode`](Self::set_mode).
    pub fn stop_encryption(&self) -> Result<()> {
        self.set(&[Setting::Encryption(None)])
    }

    /// Deletes the stream with all its records.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let stream = store.create_stream("clicks", 1)?;
    /// use anabranch::Error;
    ///
    /// stream.delete()?;
    /// assert!(matches!(store.stream("clicks"), Err(Error::StreamNotFound { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::StreamHasQueues`], [`Error::StreamHasChannels`], [`Error::StreamNotFound`], [`Error::StorageFull`],
    /// [`Error::Poisoned`], [`Error::ReadOnly`], [`Error::Closed`].
    pub fn delete(&self) -> Result<()> {
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        if store.is_immediate() {
            let _one_at_a_time = self.core.lock_to_change();
            return store.delete_now(&self.core);
        }
        let due = store.due_from(now);
        store.catalog.commit(|state| {
            let stream = self.core.state(state.stream(self.core.id))?;
            stream.check_has_no_reader()?;
            match stream.status() {
                StreamStatus::Deleting => Ok(Vec::new()),
                _ => Ok(vec![Edit::LifecycleChanged {
                    stream: self.core.id,
                    lifecycle: Lifecycle::Deleting { due },
                }]),
            }
        })?;
        // The next put finds that the stream is deleted.
        let mut routing = self.core.routing.write();
        if routing.check_not_closed().is_ok() {
            *routing = Routing::Unknown;
        }
        drop(routing);
        store.note_next_due();
        Ok(())
    }

    pub(crate) fn store_id(&self) -> u128 {
        self.core.store
    }

    pub(crate) fn store_core(&self) -> &StoreCore {
        &self.handle.core
    }

    /// Looks at the stream in the catalog, after finishing due changes.
    pub(super) fn read<T>(&self, read: impl FnOnce(&StreamState, Moment) -> Result<T>) -> Result<T> {
        self.store_core().begin(Some(self.core.id))?;
        self.store_core().read_stream(&self.core, read)
    }

    fn reshard(&self, step: ReshardStep) -> Result<()> {
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        if store.is_immediate() {
            let _one_at_a_time = self.core.lock_to_change();
            // Refused while a change that an earlier opener began is not done.
            return store.reshard_now(&self.core, step, &Lifecycle::Active);
        }
        let scheduled = store.schedule(&self.core, now, |state| {
            self.core.plan(state, step, now)?;
            Ok(Change::from(step))
        });
        scheduled.map(|_| ())
    }

    fn set(&self, settings: &[Setting]) -> Result<()> {
        self.set_checked(settings, |_| Ok(()))
    }

    fn set_checked(&self, settings: &[Setting], check: impl Fn(&StreamState) -> Result<()>) -> Result<()> {
        let store = self.store_core();
        let now = store.begin_change(Some(self.core.id))?;
        store.change_settings(&self.core, settings, now, check)
    }

    fn change_retention(
        &self,
        retention: Retention,
        breaks: impl Fn(Retention) -> Option<RetentionReason>,
    ) -> Result<()> {
        let store = self.store_core();
        store.begin(Some(self.core.id))?;
        let time = store.time.moment();
        store.catalog.commit(|state| {
            let stream = self.core.active_state(state)?;
            if let Some(reason) = breaks(stream.retention) {
                return Err(Error::InvalidRetention {
                    requested: retention,
                    current: stream.retention,
                    reason,
                });
            }
            let horizon_floor = stream.horizon(time);
            Ok(vec![Edit::SettingChanged {
                resource: Resource::Stream(self.core.id),
                setting: Setting::Retention {
                    time: retention,
                    horizon_floor,
                },
            }])
        })
    }
}

impl From<ReshardStep> for Change {
    fn from(step: ReshardStep) -> Self {
        match step {
            ReshardStep::Split {
                shard,
                new_starting_hash_key,
            } => Self::Split {
                shard,
                new_starting_hash_key,
            },
            ReshardStep::Merge { first, second } => Self::Merge { first, second },
        }
    }
}

impl StreamState {
    fn shards(&self, filter: &ShardFilter, time: Moment) -> Vec<Shard> {
        let selected = self
            .lineage
            .iter()
            .flat_map(|lineage| lineage.select(filter, self.horizon(time)));
        selected.cloned().collect()
    }
}

impl StreamSummary {
    pub(super) fn of(id: StreamId, stream: &StreamState) -> Self {
        Self {
            name: stream.name.local.clone(),
            id,
            status: stream.status(),
            created: stream.created,
            retention: stream.retention,
            size_limits: stream.size_limits,
            mode: stream.mode,
            distribution: stream.distribution,
            warm_throughput: stream.warm_throughput,
            max_record_bytes: stream.max_record_bytes,
            encryption_key: stream.encryption.as_ref().map(|key| key.id.clone()),
            open_shard_count: stream.lineage.as_ref().map_or(0, Lineage::open_shard_count),
            tags: stream.labels.tags.clone(),
        }
    }
}
