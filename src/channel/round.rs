//! One round of a channel, which makes objects of the due records of each shard.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::time::Duration;

use super::bucket::{Bucket, BucketError, Object};
use super::handle::Channel;
use super::key_template::{KeyTemplate, Named, error_key};
use super::object::{ObjectBuilder, Range, content_type, counted_bytes, extension};
use crate::error::{Error, Result};
use crate::model::{Destination, RecordNumber, ShardId, Timestamp};
use crate::seam::ReadLimit;
use crate::store::{RecordBatch, ShardIterator, ShardToDeliver, Stream};

/// How many bytes of records are read at a time.
const READ_BYTES: usize = 1024 * 1024;

/// An event of a delivery.
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
    /// Malformed records are in a separate object.
    MalformedRecords {
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
    /// No more can be delivered for now. It is tried again.
    Failed {
        /// The channel.
        channel: String,
        /// The reason.
        error: DeliveryError,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The delivery goes on after a failure.
    Resumed {
        /// The channel.
        channel: String,
    },
}

/// Why records cannot be delivered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// The bucket does not take the object.
    #[error(transparent)]
    Bucket(#[from] BucketError),
    /// A read from the store failed, or noting the delivery did.
    #[error(transparent)]
    Store(#[from] Error),
    /// Encoding the object failed.
    #[error("cannot encode an object: {0}")]
    Encoding(String),
    /// The bucket, or the callback for events, has panicked.
    #[error("the delivery panicked, as its thread has said")]
    Panicked,
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
            Self::MalformedRecords {
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

/// How many objects a round makes before other channels have their turn. Each due shard gets one in any case.
const MOST_OBJECTS: usize = 16;

/// A round ends after so many failures of buckets in a row.
const MOST_BUCKET_FAILURES: u32 = 2;

/// The state of a channel's shards from one round to the next.
#[derive(Debug, Default)]
pub(super) struct Progress {
    backlogs: HashMap<ShardId, Backlog>,
    /// The shard that was looked at last. The next round begins with the one after it.
    last: Option<ShardId>,
    /// The shards that cannot be read further, until something behind the damage is read. Their children do not wait
    /// for them.
    damaged: BTreeSet<ShardId>,
}

/// How much of a shard there is to deliver, as far as it was counted.
#[derive(Clone, Debug)]
struct Backlog {
    /// Where the counted records begin, which is the position in the catalog.
    from: RecordNumber,
    /// Where they end.
    next: RecordNumber,
    bytes: usize,
    /// When the first of them arrived; `None` if there is none.
    oldest: Option<Timestamp>,
    end: BacklogEnd,
    /// The delivered positions of these records, if they could not be noted.
    unnoted: Option<Delivered>,
}

/// The delivered part of a shard.
#[derive(Clone, Copy, Debug)]
struct Delivered {
    /// The end of that part; `None` is the shard's end.
    next: Option<RecordNumber>,
    /// When an object was made of it, if one was made.
    made: Option<Timestamp>,
}

/// What follows the counted records.
#[derive(Clone, Debug)]
enum BacklogEnd {
    /// More records, or none yet.
    Open,
    /// Nothing, ever.
    Drained,
    /// Something unreadable.
    Unreadable(Error),
}

/// The arguments of a round.
pub(super) struct Round<'a> {
    pub(super) channel: &'a Channel,
    pub(super) bucket: &'a dyn Bucket,
    /// The most bytes of records in an object.
    pub(super) object_bytes: usize,
    /// Records are never kept for longer, whatever the channel's freshness is.
    pub(super) most_freshness: Option<Duration>,
    pub(super) is_stopping: &'a dyn Fn() -> bool,
    pub(super) tell: &'a dyn Fn(DeliveryEvent),
}

/// The result of a round.
#[derive(Debug, Default)]
pub(super) struct RoundOutcome {
    pub(super) objects: usize,
    /// The first failure.
    pub(super) failure: Option<DeliveryError>,
    /// Whether more is due.
    pub(super) has_more: bool,
}

/// What a round needs to know about its channel.
struct Plan {
    name: String,
    unique_name: String,
    destination: Destination,
    keys: KeyTemplate,
    due_before: Timestamp,
}

/// The result of a shard's turn.
enum Turn {
    /// Nothing is due.
    Waits,
    /// So many objects were made, and there may be more.
    Delivered(usize),
    /// The whole shard is delivered.
    Drained,
}

impl Round<'_> {
    /// Delivers what is due, one object of each shard at a time. A failure in one shard does not hold up the others.
    pub(super) fn run(&self, progress: &mut Progress) -> RoundOutcome {
        let mut outcome = RoundOutcome::default();
        // If nothing is ever noted, each object would be put again and again, besides those of the store's writer.
        let plan = self.stream().check_takes_notes().and_then(|()| self.plan());
        match plan {
            Ok(Some(plan)) => self.run_by(&plan, progress, &mut outcome),
            Ok(None) => {}
            Err(error) => outcome.failure = Some(error.into()),
        }
        outcome
    }

    /// Reports the shards that have expired with undelivered records, once each.
    fn tell_of_lost_shards(&self, plan: &Plan) -> Result<()> {
        for shard in self.stream().shards_lost_to(self.channel.id())? {
            // Noted first, so that it is reported once, even if nothing can be noted for a while.
            self.stream().note_delivered(self.channel.id(), shard, None)?;
            (self.tell)(DeliveryEvent::RecordsExpired {
                channel: plan.name.clone(),
                shard,
            });
        }
        Ok(())
    }

    fn run_by(&self, plan: &Plan, progress: &mut Progress, outcome: &mut RoundOutcome) {
        if let Err(error) = self.tell_of_lost_shards(plan) {
            outcome.failure = Some(error.into());
            return;
        }
        let mut failed = BTreeSet::new();
        let mut bucket_failures = 0;
        loop {
            let damaged = progress.damaged.clone();
            let shards = match self.stream().shards_to_deliver(self.channel.id(), &damaged) {
                Ok(shards) => shards,
                Err(error) => {
                    outcome.failure.get_or_insert(error.into());
                    return;
                }
            };
            let mut went_on = false;
            for shard in progress.begin_behind_last(shards) {
                if failed.contains(&shard.shard) {
                    continue;
                }
                progress.last = Some(shard.shard);
                match self.deliver_shard(plan, shard, &mut progress.backlogs) {
                    Ok(Turn::Waits) => {}
                    Ok(Turn::Drained) => went_on = true,
                    Ok(Turn::Delivered(objects)) => {
                        outcome.objects += objects;
                        went_on = true;
                        bucket_failures = 0;
                    }
                    Err(error) => {
                        failed.insert(shard.shard);
                        bucket_failures += u32::from(matches!(error, DeliveryError::Bucket(_)));
                        outcome.failure.get_or_insert(error);
                    }
                }
                progress.note_damage(shard.shard);
                if (self.is_stopping)() || bucket_failures >= MOST_BUCKET_FAILURES {
                    outcome.has_more = outcome.objects > 0;
                    return;
                }
            }
            // The children of drained or damaged shards come next.
            if !went_on && progress.damaged == damaged {
                return;
            }
            if outcome.objects >= MOST_OBJECTS {
                outcome.has_more = true;
                return;
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
        let most = self.stream().most_freshness()?;
        let most = self.most_freshness.map_or(most, |given| given.min(most));
        Ok(Some(Plan {
            keys: KeyTemplate::parse(destination.key_template.as_deref())?,
            destination,
            name: description.name,
            unique_name: self.channel.unique_name(),
            due_before: self
                .stream()
                .now()
                .saturating_sub(description.freshness.min(most)),
        }))
    }

    /// Makes the next object of a shard, if it is due.
    fn deliver_shard(
        &self,
        plan: &Plan,
        shard: ShardToDeliver,
        backlogs: &mut HashMap<ShardId, Backlog>,
    ) -> Result<Turn, DeliveryError> {
        let known = backlogs
            .remove(&shard.shard)
            .filter(|known| known.from == shard.next);
        if let Some(unnoted) = known.as_ref().and_then(|known| known.unnoted) {
            backlogs.extend(known.map(|known| (shard.shard, known)));
            self.note(shard.shard, unnoted, backlogs)?;
            return Ok(Turn::Delivered(0));
        }
        let known = known.unwrap_or_else(|| Backlog::from(shard.next));
        let Some(counted) = self.count(plan, shard.shard, known)? else {
            // It has expired, and there will be nothing more.
            return Ok(Turn::Waits);
        };
        let backlog = backlogs.entry(shard.shard).insert_entry(counted).into_mut();
        match (backlog.oldest, &backlog.end) {
            (Some(oldest), _) => {
                let is_due = oldest <= plan.due_before || backlog.bytes >= self.object_bytes;
                // Waiting does not bring more records in front of damage.
                let is_cut = matches!(backlog.end, BacklogEnd::Unreadable(_));
                if !is_due && !is_cut {
                    return Ok(Turn::Waits);
                }
            }
            (None, BacklogEnd::Open) => return Ok(Turn::Waits),
            (None, BacklogEnd::Drained) => {
                let drained = Delivered {
                    next: None,
                    made: None,
                };
                self.note(shard.shard, drained, backlogs)?;
                return Ok(Turn::Drained);
            }
            (None, BacklogEnd::Unreadable(error)) => return Err(error.clone().into()),
        }
        let from = backlog.from;
        let Some((next, objects)) = self.deliver_object(plan, shard.shard, from)? else {
            // It is counted again from its beginning, which reports expired records and goes on behind them.
            backlogs.remove(&shard.shard);
            return Ok(Turn::Delivered(0));
        };
        let delivered = Delivered {
            next,
            made: (objects > 0).then(|| self.stream().now()),
        };
        if let Some(backlog) = backlogs.get_mut(&shard.shard) {
            backlog.unnoted = Some(delivered);
        }
        self.note(shard.shard, delivered, backlogs)?;
        Ok(Turn::Delivered(objects))
    }

    /// Goes on counting up to the size of an object. `None` if the shard no longer exists.
    fn count(
        &self,
        plan: &Plan,
        shard: ShardId,
        mut backlog: Backlog,
    ) -> Result<Option<Backlog>, DeliveryError> {
        backlog.end = BacklogEnd::Open;
        while backlog.bytes < self.object_bytes {
            let batch = match self.read(shard, backlog.next) {
                Ok(batch) => batch,
                Err(Error::Trimmed {
                    first_kept: Some(first),
                    ..
                }) if first > backlog.next => {
                    (self.tell)(DeliveryEvent::RecordsExpired {
                        channel: plan.name.clone(),
                        shard,
                    });
                    // Noted first, so that it is reported once.
                    self.stream()
                        .note_delivered(self.channel.id(), shard, Some(first))?;
                    backlog = Backlog::from(first);
                    continue;
                }
                Err(Error::ShardNotFound { .. } | Error::Trimmed { first_kept: None, .. }) => {
                    return Ok(None);
                }
                Err(error) => {
                    backlog.end = BacklogEnd::Unreadable(error);
                    break;
                }
            };
            if let Some(record) = batch.records.first() {
                if backlog.from == RecordNumber::BEFORE_FIRST {
                    // From now on it is reported if the record expires.
                    let first = record.sequence_number.record_number();
                    self.stream()
                        .note_delivered(self.channel.id(), shard, Some(first))?;
                    backlog.from = first;
                }
                backlog.oldest.get_or_insert(record.approximate_arrival);
            }
            let bytes: usize = batch.records.iter().map(counted_bytes).sum();
            backlog.bytes = backlog.bytes.saturating_add(bytes);
            match batch.next {
                None => {
                    backlog.end = BacklogEnd::Drained;
                    break;
                }
                Some(next) if batch.records.is_empty() && next.next <= backlog.next => break,
                Some(next) => backlog.next = next.next,
            }
        }
        Ok(Some(backlog))
    }

    /// Makes objects of the next records of a shard. Gives the new position, which is the shard's end if it has no
    /// number, and the number of objects; `None` if the shard no longer exists.
    fn deliver_object(
        &self,
        plan: &Plan,
        shard: ShardId,
        from: RecordNumber,
    ) -> Result<Option<(Option<RecordNumber>, usize)>, DeliveryError> {
        // Records that cannot be noted would be put again and again.
        self.stream().check_notes_now()?;
        let destination = &plan.destination;
        let mut builder = ObjectBuilder::new(destination.format, destination.compression)?;
        let mut from = from;
        let next = loop {
            let batch = match self.read(shard, from) {
                Ok(batch) => batch,
                // The records that were taken before are delivered.
                Err(_) if !builder.is_empty() => break Some(from),
                // It has expired since it was counted.
                Err(Error::Trimmed { .. } | Error::ShardNotFound { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            let mut taken = from;
            let mut is_full = false;
            for record in &batch.records {
                if !builder.take(record, self.object_bytes)? {
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
        let objects = self.put(plan, builder)?;
        Ok(Some((next, objects)))
    }

    /// Notes the delivered part of a shard.
    fn note(
        &self,
        shard: ShardId,
        Delivered { next, made }: Delivered,
        backlogs: &mut HashMap<ShardId, Backlog>,
    ) -> Result<(), DeliveryError> {
        self.stream()
            .note_delivery(self.channel.id(), shard, next, made)?;
        backlogs.remove(&shard);
        Ok(())
    }

    /// Malformed records go first. Gives the number of objects.
    fn put(&self, plan: &Plan, builder: ObjectBuilder) -> Result<usize, DeliveryError> {
        let destination = &plan.destination;
        let (well_formed, malformed) = (builder.well_formed, builder.malformed);
        let (body, errors) = builder.finish()?;
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
        let mut objects = 0;
        if let Some(range) = malformed {
            let key = error_key(destination.error_prefix.as_deref(), &named(range));
            let bucket = destination.error_bucket.as_deref().unwrap_or(&destination.bucket);
            self.bucket
                .put(object(bucket, &key, errors, "application/x-ndjson"))?;
            objects += 1;
            (self.tell)(DeliveryEvent::MalformedRecords {
                channel: plan.name.clone(),
                bucket: bucket.to_owned(),
                key,
                records: range.records,
            });
        }
        if let Some(range) = well_formed {
            let key = plan.keys.key(&named(range));
            let bucket = &destination.bucket;
            let content_type = content_type(destination.format, destination.compression);
            self.bucket.put(object(bucket, &key, body, content_type))?;
            objects += 1;
            (self.tell)(DeliveryEvent::Delivered {
                channel: plan.name.clone(),
                bucket: bucket.clone(),
                key,
                records: range.records,
            });
        }
        Ok(objects)
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
}

impl Progress {
    /// Notes whether a shard can be read further.
    fn note_damage(&mut self, shard: ShardId) {
        let backlog = self.backlogs.get(&shard);
        let is_damaged = backlog.is_some_and(|backlog| match &backlog.end {
            BacklogEnd::Open | BacklogEnd::Drained => false,
            BacklogEnd::Unreadable(_) if backlog.oldest.is_some() => false,
            BacklogEnd::Unreadable(Error::Corrupt { .. } | Error::Unreadable { .. }) => true,
            // Another kind of error may be gone in a moment.
            BacklogEnd::Unreadable(_) => self.damaged.contains(&shard),
        });
        match is_damaged {
            true => self.damaged.insert(shard),
            false => self.damaged.remove(&shard),
        };
    }

    /// The shards in the order of a round. Drops the state of all others.
    fn begin_behind_last(&mut self, mut shards: Vec<ShardToDeliver>) -> Vec<ShardToDeliver> {
        let there: BTreeSet<_> = shards.iter().map(|shard| shard.shard).collect();
        // A delivery that could not be noted yet is noted once the shard is ready again.
        self.backlogs
            .retain(|shard, backlog| there.contains(shard) || backlog.unnoted.is_some());
        self.damaged.retain(|shard| there.contains(shard));
        let first = shards.partition_point(|shard| Some(shard.shard) <= self.last);
        let count = shards.len();
        shards.rotate_left(first % count.max(1));
        shards
    }
}

impl Backlog {
    fn from(next: RecordNumber) -> Self {
        Self {
            from: next,
            next,
            bytes: 0,
            oldest: None,
            end: BacklogEnd::Open,
            unnoted: None,
        }
    }
}

impl From<io::Error> for DeliveryError {
    fn from(error: io::Error) -> Self {
        Self::Encoding(error.to_string())
    }
}
