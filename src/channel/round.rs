//! One round of a channel: what is due of each shard becomes objects.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::time::Duration;

use super::bucket::{Bucket, BucketError, Object};
use super::handle::Channel;
use super::key_template::{KeyTemplate, Named, error_key};
use super::object::{ObjectBuilder, Range, content_type, extension};
use crate::error::{Error, Result};
use crate::model::{Destination, RecordNumber, ShardId, Timestamp};
use crate::seam::ReadLimit;
use crate::store::{RecordBatch, ShardIterator, ShardToDeliver, Stream};

/// How many bytes of records are read at once.
const READ_BYTES: usize = 1024 * 1024;

/// What a delivery tells of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DeliveryEvent {
    /// An object is in its bucket.
    Delivered {
        /// The channel.
        channel: String,
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
        /// How many records it has.
        records: usize,
    },
    /// Records that are not of the channel's format are in an object of their own.
    WrongRecords {
        /// The channel.
        channel: String,
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
        /// How many records it has.
        records: usize,
    },
    /// Records expired before they were delivered.
    RecordsExpired {
        /// The channel.
        channel: String,
        /// Their shard.
        shard: ShardId,
    },
    /// Nothing more can be delivered for now. It is tried again.
    Failed {
        /// The channel.
        channel: String,
        /// Why.
        error: DeliveryError,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// It goes on after a failure.
    Resumed {
        /// The channel.
        channel: String,
    },
}

/// Why records cannot be delivered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// Their bucket does not take them.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// The store does not give them, or cannot note that they are delivered.
    #[error(transparent)]
    Store(#[from] Error),
    /// An object cannot be made of them.
    #[error("cannot encode an object: {0}")]
    Encoding(String),
}

impl fmt::Display for DeliveryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delivered {
                channel,
                bucket,
                key,
                records,
            } => write!(
                f,
                "channel {channel} delivered {records} records to {bucket}/{key}"
            ),
            Self::WrongRecords {
                channel,
                bucket,
                key,
                records,
            } => write!(
                f,
                "channel {channel} put {records} records that are not of its format into {bucket}/{key}"
            ),
            Self::RecordsExpired { channel, shard } => write!(
                f,
                "records of {shard} expired before channel {channel} delivered them; a longer retention gives it more time"
            ),
            Self::Failed {
                channel,
                error,
                retry_in,
            } => write!(
                f,
                "channel {channel} cannot deliver: {error}; it is tried again in {} s",
                retry_in.as_secs()
            ),
            Self::Resumed { channel } => write!(f, "channel {channel} delivers again"),
        }
    }
}

/// How much of a shard there is to deliver, as far as it was looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backlog {
    /// Where the records begin that are counted.
    from: RecordNumber,
    /// Where they end.
    next: RecordNumber,
    bytes: usize,
    /// When the first of them arrived; `None` if there is none.
    oldest: Option<Timestamp>,
    /// Whether they are all that there will ever be.
    is_drained: bool,
}

/// What a round goes by.
pub(super) struct Round<'a> {
    pub(super) channel: &'a Channel,
    pub(super) bucket: &'a dyn Bucket,
    /// The most bytes of records in an object.
    pub(super) object_bytes: usize,
    /// Records are never kept for longer, whatever the channel says.
    pub(super) most_freshness: Option<Duration>,
    pub(super) is_stopping: &'a dyn Fn() -> bool,
    pub(super) tell: &'a dyn Fn(DeliveryEvent),
}

/// What a round needs to know of its channel.
struct Plan {
    name: String,
    unique_name: String,
    destination: Destination,
    keys: KeyTemplate,
    due_before: Timestamp,
}

impl Round<'_> {
    /// Delivers what is due. Gives how many objects that made, and the first failure. A shard that cannot be read does not
    /// hold up the others; a bucket that takes nothing ends the round.
    pub(super) fn run(&self, backlogs: &mut HashMap<ShardId, Backlog>) -> (usize, Option<DeliveryError>) {
        let mut objects = 0;
        let mut failure = None;
        let plan = match self.plan() {
            Ok(Some(plan)) => plan,
            Ok(None) => return (0, None),
            Err(error) => return (0, Some(error.into())),
        };
        loop {
            let shards = match self.stream().shards_to_deliver(self.channel.id()) {
                Ok(shards) => shards,
                Err(error) => return (objects, Some(error.into())),
            };
            backlogs.retain(|shard, _| shards.iter().any(|known| known.shard == *shard));
            let mut has_drained_any = false;
            for shard in shards {
                let mut backlog = backlogs.remove(&shard.shard);
                let delivered = self.deliver_shard(&plan, shard, &mut backlog, &mut objects);
                backlogs.extend(backlog.map(|backlog| (shard.shard, backlog)));
                match delivered {
                    Ok(is_drained) => has_drained_any |= is_drained,
                    Err(error @ DeliveryError::Bucket(_)) => return (objects, Some(error)),
                    Err(error) => failure = failure.or(Some(error)),
                }
                if (self.is_stopping)() {
                    return (objects, failure);
                }
            }
            // The children of what is drained come next.
            if !has_drained_any {
                return (objects, failure);
            }
        }
    }

    fn stream(&self) -> &Stream {
        self.channel.stream()
    }

    /// `None` if the channel delivers nothing.
    fn plan(&self) -> Result<Option<Plan>> {
        let description = self.channel.describe()?;
        let Some(destination) = description.destination else {
            return Ok(None);
        };
        let freshness = match self.most_freshness {
            Some(most) => description.freshness.min(most),
            None => description.freshness,
        };
        Ok(Some(Plan {
            keys: KeyTemplate::parse(destination.key_template.as_deref())?,
            destination,
            name: description.name,
            unique_name: self.channel.unique_name(),
            due_before: self.stream().now().saturating_sub(freshness),
        }))
    }

    /// Whether the shard is delivered to its end.
    fn deliver_shard(
        &self,
        plan: &Plan,
        mut shard: ShardToDeliver,
        backlog: &mut Option<Backlog>,
        objects: &mut usize,
    ) -> Result<bool, DeliveryError> {
        loop {
            let known = match *backlog {
                Some(known) if known.from == shard.next => known,
                _ => Backlog::from(shard.next),
            };
            let Some(counted) = self.count(plan, shard.shard, known)? else {
                // Nothing of it is left, and there will be nothing.
                return Ok(false);
            };
            *backlog = Some(counted);
            if counted.oldest.is_none() && counted.is_drained {
                self.stream()
                    .note_delivered(self.channel.id(), shard.shard, None)?;
                return Ok(true);
            }
            let is_due = counted.oldest.is_some_and(|oldest| oldest <= plan.due_before);
            if !is_due && counted.bytes < self.object_bytes {
                return Ok(false);
            }
            match self.deliver_object(
                plan,
                ShardToDeliver {
                    next: counted.from,
                    ..shard
                },
                objects,
            )? {
                Some(next) => shard.next = next,
                None => return Ok(true),
            }
            if (self.is_stopping)() {
                return Ok(false);
            }
        }
    }

    /// Goes on counting up to what an object can have. `None` if the shard is not there any more.
    fn count(
        &self,
        plan: &Plan,
        shard: ShardId,
        mut backlog: Backlog,
    ) -> Result<Option<Backlog>, DeliveryError> {
        while backlog.bytes < self.object_bytes && !backlog.is_drained {
            let batch = match self.read(shard, backlog.next) {
                Ok(batch) => batch,
                Err(Error::Trimmed { first_kept, .. }) => {
                    self.tell_expired(plan, shard);
                    match first_kept {
                        Some(first) => backlog = Backlog::from(first),
                        None => return Ok(None),
                    }
                    continue;
                }
                Err(Error::ShardNotFound { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let first = batch.records.first().map(|record| record.approximate_arrival);
            backlog.oldest = backlog.oldest.or(first);
            let bytes = batch.records.iter().map(|record| record.data.len());
            // A record of no bytes counts too.
            backlog.bytes = backlog
                .bytes
                .saturating_add(bytes.map(|bytes| bytes.max(1)).sum());
            let went_on = batch.next.is_some_and(|next| next.next > backlog.next);
            match batch.next {
                Some(next) => backlog.next = next.next,
                None => backlog.is_drained = true,
            }
            if batch.records.is_empty() && !went_on {
                break;
            }
        }
        Ok(Some(backlog))
    }

    /// Makes an object of what comes next in a shard, and notes that it is delivered. Gives where to go on; `None` at the
    /// shard's end.
    fn deliver_object(
        &self,
        plan: &Plan,
        shard: ShardToDeliver,
        objects: &mut usize,
    ) -> Result<Option<RecordNumber>, DeliveryError> {
        let destination = &plan.destination;
        let mut builder =
            ObjectBuilder::new(destination.format, destination.compression).map_err(not_encoded)?;
        let mut from = shard.next;
        let next = loop {
            let batch = match self.read(shard.shard, from) {
                Ok(batch) => batch,
                // What has expired since it was counted. What was taken before is delivered.
                Err(Error::Trimmed {
                    first_kept: Some(first),
                    ..
                }) if builder.is_empty() => {
                    self.tell_expired(plan, shard.shard);
                    from = first;
                    continue;
                }
                Err(_) if !builder.is_empty() => break Some(from),
                Err(error) => return Err(error.into()),
            };
            let mut taken = from;
            let mut is_full = false;
            for record in &batch.records {
                if !builder.take(record, self.object_bytes).map_err(not_encoded)? {
                    is_full = true;
                    break;
                }
                taken = record.sequence_number.record_number().next();
            }
            match batch.next {
                _ if is_full => break Some(taken),
                None => break None,
                Some(next) if batch.records.is_empty() && next.next <= from => break Some(from),
                Some(next) => from = next.next,
            }
        };
        self.put(plan, builder, objects)?;
        self.stream()
            .note_delivered(self.channel.id(), shard.shard, next)?;
        Ok(next)
    }

    /// Records that are not of the format go first: behind the others nothing would say that they are still to be put.
    fn put(&self, plan: &Plan, builder: ObjectBuilder, objects: &mut usize) -> Result<(), DeliveryError> {
        let destination = &plan.destination;
        let (right, wrong) = (builder.right, builder.wrong);
        let (body, errors) = builder.finish().map_err(not_encoded)?;
        let stream = self.stream();
        let named = |range: Range| Named {
            channel_name: &plan.name,
            channel_id: &plan.unique_name,
            stream_name: stream.name(),
            extension: extension(destination.format, destination.compression),
            arrival: range.arrival,
            shard: range.shard,
            first: range.first,
            last: range.last,
        };
        let object = |bucket: &str, key: &str, body, content_type| Object {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            body,
            content_type,
            storage_class: destination.storage_class,
            encryption_key: destination.encryption_key.clone(),
        };
        let channel = || plan.name.clone();
        if let Some(range) = wrong {
            let key = error_key(destination.error_prefix.as_deref(), &named(range));
            let bucket = destination.error_bucket.as_deref().unwrap_or(&destination.bucket);
            self.bucket
                .put(object(bucket, &key, errors, "application/x-ndjson"))?;
            *objects += 1;
            (self.tell)(DeliveryEvent::WrongRecords {
                channel: channel(),
                bucket: bucket.to_owned(),
                key,
                records: range.records,
            });
        }
        if let Some(range) = right {
            let key = plan.keys.key(&named(range));
            let bucket = &destination.bucket;
            let content_type = content_type(destination.format, destination.compression);
            self.bucket.put(object(bucket, &key, body, content_type))?;
            *objects += 1;
            (self.tell)(DeliveryEvent::Delivered {
                channel: channel(),
                bucket: bucket.clone(),
                key,
                records: range.records,
            });
        }
        Ok(())
    }

    fn read(&self, shard: ShardId, next: RecordNumber) -> Result<RecordBatch> {
        let from = ShardIterator {
            stream: self.stream().id(),
            shard,
            next,
        };
        let limit = ReadLimit {
            bytes: READ_BYTES.min(self.object_bytes),
            ..ReadLimit::default()
        };
        self.stream().get_records(&from, &limit)
    }

    fn tell_expired(&self, plan: &Plan, shard: ShardId) {
        (self.tell)(DeliveryEvent::RecordsExpired {
            channel: plan.name.clone(),
            shard,
        });
    }
}

impl Backlog {
    fn from(next: RecordNumber) -> Self {
        Self {
            from: next,
            next,
            bytes: 0,
            oldest: None,
            is_drained: false,
        }
    }
}

fn not_encoded(error: io::Error) -> DeliveryError {
    DeliveryError::Encoding(error.to_string())
}
