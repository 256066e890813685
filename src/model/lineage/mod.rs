//! The lineage of a stream: its shards, and how they came from each other.
//!
//! Think of a plane of hash keys and time. A shard is a rectangle in it: its hash key range, from the moment it took
//! over to the moment its children did. The rectangles cover the plane without gap or overlap from the stream's
//! creation on, because a reshard closes its parents and opens their children in the same moment, with the same keys.
//! So the shards at any moment (a *generation*) tile the hash space, also when the clock stands still or goes back.
//!
//! Expiry takes the oldest rectangles away. From then on the plane is covered only since the last of them closed.
//!
//! # Invariants
//! - The open shards' ranges tile the hash space exactly.
//! - A closed shard's children are listed with it, and their ranges are made of its range.
//! - A child's id is greater than its parents', and every sequence number of a child is greater than all of theirs.
//! - No shard is removed while a parent of it is listed.

mod check;
mod filter;
#[cfg(test)]
mod histories;
mod reshard;
mod shard_count;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::model::limits::MAX_SHARDS_PER_STREAM;
use crate::model::{HashKey, HashKeyRange, SequenceNumber, Shard, ShardId, Timestamp};

pub use filter::ShardFilter;
pub use reshard::Reshard;
pub use shard_count::ReshardStep;

/// All shards of a stream that have not expired.
///
/// ```
/// use anabranch::{HashKey, Lineage, ShardId, Timestamp};
///
/// let now = Timestamp::from_millis(1_421_279_230_000);
/// let mut lineage = Lineage::new(2, now)?;
/// let first = ShardId::new(0)?;
///
/// let split = lineage.split(first, HashKey::MAX / 4, now)?;
/// lineage.apply_reshard(&split)?;
///
/// assert_eq!(lineage.open_shard_count(), 3);
/// assert_eq!(lineage.children(first).count(), 2);
/// let owner = lineage.route(HashKey::MIN).expect("open shards own every key");
/// assert_eq!(owner.id.to_string(), "shardId-000000000002");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(try_from = "StoredLineage")]
pub struct Lineage {
    shards: BTreeMap<ShardId, Shard>,
    /// The index of the next shard, which is greater than every one that was ever given out.
    next_index: u32,
    /// From this moment on, the shards that are listed tile the hash space.
    tiled_since: Timestamp,
    /// The open shards by the start of their ranges.
    open: BTreeMap<HashKey, ShardId>,
    /// The closed shards by the times at which they were closed.
    closed: BTreeSet<(Timestamp, ShardId)>,
    /// Each parent with its children, whether or not the parent is still listed.
    children: BTreeSet<(ShardId, ShardId)>,
}

/// Why a lineage cannot be made or changed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum LineageError {
    /// A stream cannot have that many shards.
    #[error("a stream has 1 to {MAX_SHARDS_PER_STREAM} open shards, not {count}")]
    InvalidShardCount {
        /// How many it would have.
        count: u32,
    },
    /// The stream has used up the ids that shards can have.
    #[error("the stream cannot have more shards: the last shard id has been given out")]
    ShardIdsExhausted,
    /// The lineage has no such shard, or no longer.
    #[error("{shard} does not exist or has expired")]
    UnknownShard {
        /// The shard that was named.
        shard: ShardId,
    },
    /// The shard is closed, and only open ones are split or merged.
    #[error("{shard} has already been merged or split")]
    ShardClosed {
        /// The closed shard.
        shard: ShardId,
    },
    /// The shard is open, and only closed ones expire.
    #[error("{shard} is open; only closed shards expire")]
    ShardOpen {
        /// The open shard.
        shard: ShardId,
    },
    /// The shard's parent is still listed: parents expire before their children.
    #[error("{shard} cannot expire before its parent {parent}")]
    ParentListed {
        /// The shard that was to expire.
        shard: ShardId,
        /// Its parent.
        parent: ShardId,
    },
    /// The key does not split the shard into two of at least two hash keys each.
    #[error("{key} cannot split {shard}: it must be greater than {} plus one and less than {}", range.start(), range.end())]
    InvalidSplitKey {
        /// The shard that was to be split.
        shard: ShardId,
        /// The first key that the upper child would have had.
        key: HashKey,
        /// The shard's range.
        range: HashKeyRange,
    },
    /// The second shard's range does not begin where the first one's ends.
    #[error("{second} does not follow {first} in the hash space; only adjacent shards are merged")]
    NotAdjacent {
        /// The shard that was to be the lower one.
        first: ShardId,
        /// The shard that was to be the upper one.
        second: ShardId,
    },
    /// A creation time does not fit a sequence number.
    #[error(
        "a shard cannot be created at {seconds} s: sequence numbers end at {} s",
        SequenceNumber::CREATED_SECONDS_END
    )]
    TimeOutOfRange {
        /// The creation time, in epoch seconds.
        seconds: u64,
    },
    /// A reshard was not planned for this lineage as it is.
    #[error("the reshard does not fit the lineage: {reason}")]
    ForeignReshard {
        /// What does not fit.
        reason: &'static str,
    },
    /// What was read back is not a lineage.
    #[error("the lineage is inconsistent: {reason}")]
    Inconsistent {
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Lineage {
    /// The lineage of a new stream: `shard_count` open shards with ids from 0 that divide the hash space evenly.
    ///
    /// # Errors
    /// [`LineageError::InvalidShardCount`] unless there are 1 to [`MAX_SHARDS_PER_STREAM`] shards, and
    /// [`LineageError::TimeOutOfRange`] if sequence numbers cannot express the time.
    pub fn new(shard_count: u32, created: Timestamp) -> Result<Self, LineageError> {
        Self::with_numbers_after(shard_count, created, None)
    }

    /// The same, with sequence numbers that begin after a second, also if that is later than the creation.
    pub(crate) fn with_numbers_after(
        shard_count: u32,
        created: Timestamp,
        seconds: Option<u64>,
    ) -> Result<Self, LineageError> {
        check_open_count(shard_count)?;
        let first_free = seconds.map_or(0, |seconds| seconds.saturating_add(1));
        let created_seconds = created.as_seconds().max(first_free);
        let created_seconds = check_created_seconds(created_seconds)?;
        let shards = (0..).zip(HashKeyRange::divide(shard_count));
        let shards = shards.map(|(index, hash_key_range)| {
            Ok(Shard {
                id: shard_id(index)?,
                hash_key_range,
                parent: None,
                adjacent_parent: None,
                created,
                created_seconds,
                closed: None,
            })
        });
        let shards = shards.collect::<Result<_, LineageError>>()?;
        Ok(Self::of(shards, shard_count, created))
    }

    /// The shard with this id, open or closed.
    pub fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.get(&id)
    }

    /// All shards, in the order of their ids.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = &Shard> + DoubleEndedIterator {
        self.shards.values()
    }

    /// The open shards, in the order of their ids.
    pub fn open_shards(&self) -> impl DoubleEndedIterator<Item = &Shard> {
        self.shards().filter(|shard| shard.is_open())
    }

    /// How many shards are open.
    pub fn open_shard_count(&self) -> u32 {
        u32::try_from(self.open.len()).expect("there are fewer shards than shard ids")
    }

    /// Whether there are no shards: only [`Lineage::default`] has none.
    pub fn is_empty(&self) -> bool {
        self.shards.is_empty()
    }

    /// The open shard that owns the key. `None` only if the lineage is empty. O(log n).
    pub fn route(&self, key: HashKey) -> Option<&Shard> {
        let (_, id) = self.open.range(..=key).next_back()?;
        self.shards.get(id)
    }

    /// The shards that were made from this one, in the order of their ids. O(log n).
    pub fn children(&self, id: ShardId) -> impl Iterator<Item = &Shard> {
        let later = self.children.range((id, ShardId::FIRST)..);
        later
            .take_while(move |(parent, _)| *parent == id)
            .filter_map(|(_, child)| self.shard(*child))
    }

    /// The parents of this shard that have not expired.
    pub fn parents_of(&self, id: ShardId) -> impl Iterator<Item = &Shard> {
        let parents = self.shard(id).into_iter().flat_map(Shard::parents);
        parents.filter_map(|parent| self.shard(parent))
    }

    /// The shards without listed parents, where reading the whole stream begins, in the order of their ids.
    pub fn roots(&self) -> impl Iterator<Item = &Shard> {
        self.shards()
            .filter(|shard| self.parents_of(shard.id).next().is_none())
    }

    /// The shards that have been closed since before `horizon`, in an order in which they can [`expire`](Self::expire).
    /// Shards that have not expired cost no time.
    pub fn expired(&self, horizon: Timestamp) -> impl Iterator<Item = &Shard> {
        let closed_before = self.closed.range(..(horizon, ShardId::FIRST));
        let mut expired: Vec<_> = closed_before.map(|(_, shard)| *shard).collect();
        expired.sort_unstable();
        expired.into_iter().filter_map(|shard| self.shard(shard))
    }

    /// Removes a closed shard, whose parents have to be gone. Its children go on naming it.
    ///
    /// # Errors
    /// [`LineageError::UnknownShard`], [`LineageError::ShardOpen`] or [`LineageError::ParentListed`]; then nothing has
    /// changed.
    pub fn expire(&mut self, id: ShardId) -> Result<Shard, LineageError> {
        let shard = self.known(id)?;
        let closed = shard.closed.ok_or(LineageError::ShardOpen { shard: id })?;
        if let Some(parent) = self.parents_of(id).next() {
            return Err(LineageError::ParentListed {
                shard: id,
                parent: parent.id,
            });
        }
        self.tiled_since = self.tiled_since.max(closed.at);
        let expired = self
            .shards
            .remove(&id)
            .ok_or(LineageError::UnknownShard { shard: id })?;
        self.closed.remove(&(closed.at, id));
        for parent in expired.parents() {
            self.children.remove(&(parent, id));
        }
        Ok(expired)
    }

    /// The index of the next shard.
    pub(crate) fn next_index(&self) -> u32 {
        self.next_index
    }

    /// No new shard gets an id up to and including this one. Such ids may have been in use.
    pub(crate) fn reserve_ids(&mut self, through: ShardId) {
        self.next_index = self.next_index.max(through.index().saturating_add(1));
    }

    fn known(&self, id: ShardId) -> Result<&Shard, LineageError> {
        self.shard(id).ok_or(LineageError::UnknownShard { shard: id })
    }

    fn known_open(&self, id: ShardId) -> Result<&Shard, LineageError> {
        let shard = self.known(id)?;
        if shard.is_open() {
            Ok(shard)
        } else {
            Err(LineageError::ShardClosed { shard: id })
        }
    }

    /// The lineage with these shards and the indexes of them.
    fn of(shards: Vec<Shard>, next_index: u32, tiled_since: Timestamp) -> Self {
        /// From this many on, a map that is made of all its entries at once costs less time and memory than one to which
        /// they are added.
        const MANY: usize = 8;
        let mut lineage = Self {
            next_index,
            tiled_since,
            ..Self::default()
        };
        if shards.len() < MANY {
            shards.into_iter().for_each(|shard| lineage.insert(shard));
            return lineage;
        }
        let open = shards.iter().filter(|shard| shard.is_open());
        let closed = shards
            .iter()
            .filter_map(|shard| Some((shard.closed?.at, shard.id)));
        let children = shards
            .iter()
            .flat_map(|shard| shard.parents().map(move |parent| (parent, shard.id)));
        Self {
            open: open
                .map(|shard| (shard.hash_key_range.start(), shard.id))
                .collect(),
            closed: closed.collect(),
            children: children.collect(),
            shards: shards.into_iter().map(|shard| (shard.id, shard)).collect(),
            ..lineage
        }
    }

    fn insert(&mut self, shard: Shard) {
        match shard.closed {
            None => drop(self.open.insert(shard.hash_key_range.start(), shard.id)),
            Some(closed) => drop(self.closed.insert((closed.at, shard.id))),
        }
        let parents = shard.parents().map(|parent| (parent, shard.id));
        self.children.extend(parents);
        self.shards.insert(shard.id, shard);
    }
}

fn shard_id(index: u32) -> Result<ShardId, LineageError> {
    ShardId::new(index).map_err(|_| LineageError::ShardIdsExhausted)
}

fn check_open_count(count: u32) -> Result<(), LineageError> {
    if !(1..=MAX_SHARDS_PER_STREAM).contains(&count) {
        return Err(LineageError::InvalidShardCount { count });
    }
    Ok(())
}

fn check_created_seconds(seconds: u64) -> Result<u64, LineageError> {
    if seconds >= SequenceNumber::CREATED_SECONDS_END {
        return Err(LineageError::TimeOutOfRange { seconds });
    }
    Ok(seconds)
}

/// A lineage as it is stored: without the indexes, which are rebuilt when it is read.
#[derive(Deserialize)]
#[serde(rename = "Lineage")]
struct StoredLineage {
    shards: Vec<Shard>,
    next_index: u32,
    tiled_since: Timestamp,
}

impl Serialize for Lineage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "Lineage")]
        struct Borrowed<'a> {
            shards: Vec<&'a Shard>,
            next_index: u32,
            tiled_since: Timestamp,
        }
        let borrowed = Borrowed {
            shards: self.shards().collect(),
            next_index: self.next_index,
            tiled_since: self.tiled_since,
        };
        borrowed.serialize(serializer)
    }
}

impl TryFrom<StoredLineage> for Lineage {
    type Error = LineageError;

    fn try_from(stored: StoredLineage) -> Result<Self, LineageError> {
        let StoredLineage {
            shards,
            next_index,
            tiled_since,
        } = stored;
        if !shards.is_sorted_by(|one, next| one.id < next.id) {
            return Err(LineageError::Inconsistent {
                reason: "its shards are not in the order of their ids",
            });
        }
        let lineage = Self::of(shards, next_index, tiled_since);
        lineage.check()?;
        Ok(lineage)
    }
}
