//! A member of a group: joining, committing and leaving.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::handle::ConsumerGroup;
use super::leases::{Holding, Leases, MemberId, Refusal, Term};
use super::shared::Shared;
use crate::error::{Error, InvalidArgument, Named, Result};
use crate::model::{Advance, Record, RecordNumber, ShardId, check_stream_name, limits};
use crate::store::ShardWatch;

/// The options of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberOptions {
    /// How long the member holds its shards after each of its calls, by the store's monotonic clock. After that others
    /// take them. It has to be longer than processing a batch takes, or [`renew`](Member::renew) has to be called
    /// meanwhile. 100 ms to 24 hours; default: 30 s.
    pub lease_time: Duration,
    /// The most shards that it holds, 1 or more. Default: any number. Shards that exceed the limits of all members
    /// wait.
    pub max_shards: usize,
}

impl Default for MemberOptions {
    fn default() -> Self {
        Self {
            lease_time: Duration::from_secs(30),
            max_shards: usize::MAX,
        }
    }
}

impl MemberOptions {
    fn holding(&self) -> Result<Holding> {
        let lease_millis = u64::try_from(self.lease_time.as_millis()).unwrap_or(u64::MAX);
        let (least, most) = (limits::MIN_LEASE_MILLIS, limits::MAX_LEASE_MILLIS);
        if !(least..=most).contains(&lease_millis) {
            return Err(Error::InvalidArgument(InvalidArgument::LeaseTime {
                actual: lease_millis,
                least,
                most,
            }));
        }
        if self.max_shards == 0 {
            return Err(InvalidArgument::NoShards.into());
        }
        Ok(Holding {
            lease_millis,
            max_shards: self.max_shards,
        })
    }
}

/// Records of one shard that were given to a member.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupBatch {
    /// The shard.
    pub shard: ShardId,
    /// The records, at least one, in the order in which they were put.
    pub records: Vec<Record>,
    pub(super) of: Arc<Shared>,
    pub(super) term: Term,
    /// The group's position in the shard once they are committed.
    pub(super) advance: Advance,
}

impl GroupBatch {
    /// Whether nothing follows in this shard: its children are read once this batch is committed.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// # use anabranch::StartingPosition;
    /// # let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// # use std::time::Duration;
    /// # use anabranch::{MemberOptions, ReadLimit};
    /// # orders.put("customer-1", b"first")?;
    /// # let mut member = group.join("worker-1", &MemberOptions::default())?;
    /// let batch = member.next_batch(&ReadLimit::default(), Duration::ZERO)?.unwrap();
    /// // The shard is open.
    /// assert!(!batch.is_last());
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_last(&self) -> bool {
        matches!(self.advance, Advance::Drained { .. })
    }
}

/// A member of a [group](ConsumerGroup): holds a fair part of the stream's shards, gets their records, and commits what
/// it has processed.
///
/// It holds its shards as long as it makes calls. After a [lease time](MemberOptions::lease_time) without a call other
/// members take them; a shard that no other has taken is still the member's. When another member joins, shards change
/// hands as soon as the records that were given out of them are committed, or a lease time later.
///
/// Only one thread at a time can use it; a program has as many members as threads. Dropping it leaves the group.
#[derive(Debug)]
pub struct Member {
    pub(super) group: ConsumerGroup,
    pub(super) id: MemberId,
    name: String,
    pub(super) lease_millis: u64,
    /// The shards that it held at its last look.
    pub(super) reading: BTreeMap<ShardId, Reading>,
    /// The same shards, in the order of their turns.
    pub(super) turns: VecDeque<ShardId>,
    /// Made by the first wait.
    pub(super) watch: Option<ShardWatch>,
    /// The version of the leases at its last look.
    pub(super) seen_version: Option<u64>,
    /// When it has to look again without any change, by the monotonic clock.
    pub(super) look_again_at: u64,
}

/// How far a member has read one of its shards.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) term: Term,
    pub(super) next: RecordNumber,
    /// Whether the shard is closed and read to its end.
    pub(super) is_drained: bool,
    /// Whether the group was at the trim horizon, and since then there was nothing to read, and the member did not
    /// reach the shard's head.
    pub(super) is_unread: bool,
    /// Whether the shard has expired, and it was reported that records are missed.
    pub(super) is_told: bool,
}

impl ConsumerGroup {
    /// Joins the group as a member of this name, of 1 to 128 characters of `a-z A-Z 0-9 _ . -`. Replaces a member of
    /// the same name whose leases have run out.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 4)?;
    /// use std::time::Duration;
    /// use anabranch::{MemberOptions, ReadLimit, StartingPosition};
    ///
    /// let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// let workers: Vec<_> = (0..2)
    ///     .map(|number| {
    ///         let group = group.clone();
    ///         std::thread::spawn(move || -> anabranch::Result<()> {
    ///             let mut member = group.join(&format!("worker-{number}"), &MemberOptions::default())?;
    ///             let wait = Duration::from_millis(10);
    ///             while let Some(batch) = member.next_batch(&ReadLimit::default(), wait)? {
    ///                 member.commit(&batch)?;
    ///             }
    ///             Ok(())
    ///         })
    ///     })
    ///     .collect();
    /// for worker in workers {
    ///     worker.join().unwrap()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::MemberExists`], [`Error::TooManyMembers`]; [`Error::InvalidArgument`] for the name and the options;
    /// [`Error::GroupNotFound`] once the group is deleted; [`Error::ReadOnly`]; otherwise as for
    /// [`Stream::summary`](crate::Stream::summary).
    pub fn join(&self, name: &str, options: &MemberOptions) -> Result<Member> {
        check_stream_name(name).map_err(|error| Error::bad_name(Named::Member, name, error))?;
        let holding = options.holding()?;
        self.stream.check_takes_checkpoints()?;
        self.checkpoint()?;
        let now = self.stream.monotonic_millis();
        let joined = self.shared.with_leases(|leases| leases.join(name, holding, now));
        Ok(Member {
            group: self.clone(),
            id: joined.map_err(|refusal| self.error_of(refusal, name, None))?,
            name: name.to_owned(),
            lease_millis: holding.lease_millis,
            reading: BTreeMap::new(),
            turns: VecDeque::new(),
            watch: None,
            seen_version: None,
            look_again_at: 0,
        })
    }

    fn error_of(&self, refusal: Refusal, member: &str, shard: Option<ShardId>) -> Error {
        let (group, member) = (self.name().to_owned(), member.to_owned());
        match (refusal, shard) {
            (Refusal::Lost, Some(shard)) => Error::LeaseLost { group, member, shard },
            (Refusal::NameTaken, _) => Error::MemberExists { group, member },
            (Refusal::NoMember | Refusal::Lost, _) => Error::MemberNotFound { group, member },
            (Refusal::TooManyMembers, _) => Error::TooManyMembers {
                group,
                limit: limits::MAX_MEMBERS_PER_GROUP,
            },
            (Refusal::Ended, _) => self.stream.group_not_found(self.name()),
        }
    }
}

impl Member {
    /// Its name, which no other member of the group has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The group that it is a member of.
    pub fn group(&self) -> &ConsumerGroup {
        &self.group
    }

    /// Its present shards, in the order of their ids.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// # use anabranch::StartingPosition;
    /// # let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// # use std::time::Duration;
    /// # use anabranch::{MemberOptions, ReadLimit};
    /// # orders.put("customer-1", b"first")?;
    /// # let mut member = group.join("worker-1", &MemberOptions::default())?;
    /// member.next_batch(&ReadLimit::default(), Duration::ZERO)?;
    /// assert_eq!(member.shards().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shards(&self) -> Vec<ShardId> {
        let held = |leases: &mut Leases| leases.held_by(self.id);
        self.group.shared.with_leases(held).into_keys().collect()
    }

    /// Commits the records of a batch, and all earlier ones of its shard that this member was given. Durable on return.
    /// Not every batch has to be committed, but those of a shard only in their order.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// use std::time::Duration;
    /// use anabranch::{Error, MemberOptions, ReadLimit, StartingPosition};
    ///
    /// orders.put("customer-1", b"first")?;
    /// let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// let mut member = group.join("worker-1", &MemberOptions::default())?;
    /// let batch = member.next_batch(&ReadLimit::default(), Duration::ZERO)?.unwrap();
    /// match member.commit(&batch) {
    ///     // Another member has the shard, and is given these records too.
    ///     Err(Error::LeaseLost { .. }) => {}
    ///     committed => committed?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::LeaseLost`] if the member no longer holds the shard by the same lease: then nothing has changed. Also
    /// for the batches of a shard whose last one is committed. [`Error::MemberNotFound`], [`Error::GroupNotFound`];
    /// [`Error::StreamNotFound`], [`Error::StorageFull`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn commit(&self, batch: &GroupBatch) -> Result<()> {
        if !Arc::ptr_eq(&batch.of, &self.group.shared) {
            return Err(self.error_of(Refusal::Lost, batch.shard));
        }
        self.note(batch.shard, batch.term, batch.advance)
    }

    /// Holds its shards for another lease time: for a member that takes long to process a batch. All of its other calls
    /// do so too.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// # use anabranch::StartingPosition;
    /// # let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// # use std::time::Duration;
    /// # use anabranch::{MemberOptions, ReadLimit};
    /// # orders.put("customer-1", b"first")?;
    /// # let mut member = group.join("worker-1", &MemberOptions::default())?;
    /// let batch = member.next_batch(&ReadLimit::default(), Duration::ZERO)?.unwrap();
    /// for record in &batch.records {
    ///     // Something that takes long.
    ///     member.renew()?;
    /// }
    /// member.commit(&batch)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::MemberNotFound`] if another member has taken its place, [`Error::GroupNotFound`].
    pub fn renew(&self) -> Result<()> {
        let now = self.now();
        let renewed = self.group.shared.with_leases(|leases| leases.renew(self.id, now));
        renewed.map(drop).map_err(|refusal| self.refused(refusal))
    }

    /// Leaves the group: its shards are free at once, and its uncommitted records are given to others. Dropping it does
    /// the same.
    ///
    /// ```
    /// # fn main() -> anabranch::Result<()> {
    /// # let store = anabranch::Store::in_memory()?;
    /// # let orders = store.create_stream("orders", 1)?;
    /// # use anabranch::StartingPosition;
    /// # let group = orders.group("billing", StartingPosition::TrimHorizon)?;
    /// # use std::time::Duration;
    /// # use anabranch::{MemberOptions, ReadLimit};
    /// # orders.put("customer-1", b"first")?;
    /// # let mut member = group.join("worker-1", &MemberOptions::default())?;
    /// member.leave();
    /// assert!(group.members()?.is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn leave(self) {
        drop(self);
    }

    /// Commits the member's position in a shard, if it still holds the shard.
    pub(super) fn note(&self, shard: ShardId, term: Term, advance: Advance) -> Result<()> {
        let ConsumerGroup { stream, name, shared } = &self.group;
        let mut is_begun = false;
        let noted = stream.advance_group(name, shard, advance, || {
            // Read when it is this commit's turn, since others may have taken long.
            let begun = shared.begin_commit(self.id, shard, term, self.now());
            is_begun = begun.is_ok();
            begun.map_err(|refusal| self.error_of(refusal, shard))
        });
        if is_begun {
            let advance = noted.is_ok().then_some(advance);
            let now = self.now();
            shared.with_leases(|leases| leases.end_commit(shard, term, advance, now));
        }
        noted
    }

    pub(super) fn refused(&self, refusal: Refusal) -> Error {
        self.group.error_of(refusal, &self.name, None)
    }

    /// The time by the store's monotonic clock.
    pub(super) fn now(&self) -> u64 {
        self.group.stream.monotonic_millis()
    }

    fn error_of(&self, refusal: Refusal, shard: ShardId) -> Error {
        self.group.error_of(refusal, &self.name, Some(shard))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let shared = &self.group.shared;
        if let Some(watch) = &self.watch {
            shared.changes.forget(watch.signal());
        }
        shared.with_leases(|leases| leases.leave(self.id));
    }
}
