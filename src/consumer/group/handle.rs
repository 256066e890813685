//! A consumer group as its users hold it.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::shared::Shared;
use crate::error::{Error, Named, Result};
use crate::model::{Checkpoint, RecordNumber, ShardId, StartingPosition, check_stream_name};
use crate::store::{OpenGroup, ShardLag, Stream};

/// Several [members](super::Member) that share a stream: one of them holds each shard, and each record is given to one
/// of them. A member [commits](super::Member::commit) what it has processed. Records that were not committed when it
/// leaves or stalls are given to another. So each record is given out at least once, and exactly once if no member dies
/// or stalls.
///
/// The records of a shard come in order, and those of its children only after all of the shard's records are committed,
/// by any members. So the records of a partition key come in the order in which they were put.
///
/// The group's position is the [checkpoint](Stream::checkpoint) of its name. It is durable, and it only rises unless it
/// is [reset](Self::reset_to). The members are in memory alone: a store that is opened again has none, and all shards
/// are free.
///
/// Clones share it. It keeps its store open.
#[derive(Clone, Debug)]
pub struct ConsumerGroup {
    pub(super) stream: Stream,
    pub(super) name: String,
    pub(super) shared: Arc<Shared>,
}

/// The description of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberDescription {
    /// Its name.
    pub name: String,
    /// The shards that it holds, in the order of their ids.
    pub shards: Vec<ShardId>,
    /// Whether it has made no call for its lease time, so that other members may take its shards.
    pub has_run_out: bool,
}

impl Stream {
    /// A group of this name, of 1 to 128 characters of `a-z A-Z 0-9 _ . -`. It goes on at the checkpoint of this name.
    /// If there is none, it begins at `otherwise`, which is saved durably. A stream can have
    /// [`MAX_GROUPS_PER_STREAM`](crate::limits::MAX_GROUPS_PER_STREAM), other checkpoints included.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// use std::time::Duration;
    /// use anabranch::{MemberOptions, ReadLimit, StartingPosition, Store};
    ///
    /// let store = Store::in_memory()?;
    /// let orders = store.create_stream("orders", 4)?;
    /// orders.put("customer-1", b"first")?;
    ///
    /// let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// let mut member = group.join("worker-1", &MemberOptions::default())?;
    /// while let Some(batch) = member.next_batch(&ReadLimit::default(), Duration::ZERO)? {
    ///     for record in &batch.records {
    ///         println!("{:?}", record.data);
    ///     }
    ///     member.commit(&batch)?;
    /// }
    /// assert!(group.lag()?.iter().all(|lag| lag.records == 0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for the name; [`Error::TooManyGroups`]; [`Error::StreamNotActive`] for a stream that
    /// is being created; otherwise as for [`reader`](Self::reader), and errors of the disk.
    pub fn group(&self, name: &str, otherwise: StartingPosition) -> Result<ConsumerGroup> {
        check_stream_name(name).map_err(|error| Error::bad_name(Named::Group, name, error))?;
        if self.checkpoint(name)?.is_none() {
            // If another caller comes first, that caller's beginning is used.
            self.begin_group(name, &self.reader(otherwise)?.checkpoint())?;
        }
        let make = || -> Arc<dyn OpenGroup> { Arc::<Shared>::default() };
        let open: Arc<dyn Any + Send + Sync> = self.open_group(name, make);
        Ok(ConsumerGroup {
            stream: self.clone(),
            name: name.to_owned(),
            // Only this floor makes values of this type.
            shared: open.downcast().unwrap_or_default(),
        })
    }
}

impl ConsumerGroup {
    /// Its name, which is that of its checkpoint.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stream that the group reads.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The position of all members together. A [reader](Stream::reader_from) from there gets all records that are not
    /// committed, and a stream that is [trimmed](Stream::trim_to) to it keeps these.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// # use anabranch::StartingPosition;
    /// # let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// // What the group has dealt with is not kept any longer.
    /// orders.trim_to(&group.checkpoint()?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::GroupNotFound`] once it is [deleted](Self::delete); otherwise as for [`Stream::summary`].
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        let checkpoint = self.stream.checkpoint(&self.name)?;
        checkpoint.ok_or_else(|| self.stream.group_not_found(&self.name))
    }

    /// How much of each shard is not committed, in the order of their ids, for the listed shards and those that descend
    /// from them. Shards that are committed to their ends are left out. Reads at most one record of each shard, however
    /// many there are. [`ShardLag`] says how it is measured.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 2)?;
    /// use anabranch::StartingPosition;
    ///
    /// let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// orders.put("customer-1", b"first")?;
    /// let records: u64 = group.lag()?.iter().map(|lag| lag.records).sum();
    /// assert_eq!(records, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`checkpoint`](Self::checkpoint), and errors of the disk.
    pub fn lag(&self) -> Result<Vec<ShardLag>> {
        self.stream.lag(&self.checkpoint()?)
    }

    /// Its members, in the order in which they joined, with their present shards.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// # use anabranch::StartingPosition;
    /// # let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// use anabranch::MemberOptions;
    ///
    /// let _member = group.join("worker-1", &MemberOptions::default())?;
    /// assert_eq!(group.members()?[0].name, "worker-1");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`checkpoint`](Self::checkpoint).
    pub fn members(&self) -> Result<Vec<MemberDescription>> {
        self.checkpoint()?;
        let now = self.stream.monotonic_millis();
        let views = self.shared.with_leases(|leases| leases.views(now));
        let described = views.into_iter().map(|view| MemberDescription {
            name: view.name,
            shards: view.shards,
            has_run_out: view.has_run_out,
        });
        Ok(described.collect())
    }

    /// Sets the group to a checkpoint of its stream, which may be behind the committed position or in front of it.
    /// Durable on return. All leases end, so records that were given out before can no longer be committed.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 2)?;
    /// use anabranch::StartingPosition;
    ///
    /// let group = orders.group("billing", StartingPosition::Latest)?;
    /// // Everything that there is once more.
    /// group.reset_to(&orders.reader(StartingPosition::TrimHorizon)?.checkpoint())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a checkpoint of another stream; otherwise as for
    /// [`checkpoint`](Self::checkpoint), and errors of the disk.
    pub fn reset_to(&self, checkpoint: &Checkpoint) -> Result<()> {
        self.checkpoint()?;
        self.stream.reset_checkpoint(&self.name, checkpoint)
    }

    /// As [`reset_to`](Self::reset_to), but only if the group's checkpoint is the expected one.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// # use anabranch::StartingPosition;
    /// # let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// let seen = group.checkpoint()?;
    /// let latest = orders.reader(StartingPosition::Latest)?.checkpoint();
    /// group.compare_and_set(&seen, &latest)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::CheckpointChanged`]; otherwise as for [`reset_to`](Self::reset_to).
    pub fn compare_and_set(&self, expected: &Checkpoint, checkpoint: &Checkpoint) -> Result<()> {
        self.stream
            .compare_and_set_checkpoint(&self.name, Some(expected), checkpoint)
    }

    /// Deletes the group with its checkpoint. Its members get [`Error::GroupNotFound`]. A later group of its name is
    /// another one. Does nothing if the group does not exist.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// # use anabranch::StartingPosition;
    /// # let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// use anabranch::Error;
    ///
    /// group.delete()?;
    /// assert!(matches!(group.checkpoint(), Err(Error::GroupNotFound { .. })));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Stream::remove_checkpoint`].
    pub fn delete(&self) -> Result<()> {
        self.stream.remove_checkpoint(&self.name)
    }

    /// The shards that members can hold, and the position in each.
    pub(super) fn positions(&self) -> Result<BTreeMap<ShardId, RecordNumber>> {
        let mut positions = self.checkpoint()?.next;
        positions.retain(|_, next| *next != RecordNumber::END);
        Ok(positions)
    }
}
