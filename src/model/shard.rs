//! A shard: a range of the hash space, and its records.

use serde::{Deserialize, Serialize};

use crate::model::{HashKey, HashKeyRange, RecordNumber, SequenceNumber, ShardId, Timestamp};

/// The description of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shard {
    /// Its name within the stream.
    pub id: ShardId,
    /// The keys that it owns, or owned while it was open.
    pub hash_key_range: HashKeyRange,
    /// The shard that it was split from, or the lower one of the two that it was merged from. It may have expired.
    pub parent: Option<ShardId>,
    /// The upper one of the two shards that it was merged from. It may have expired.
    pub adjacent_parent: Option<ShardId>,
    /// When it took over its range: the moment its parents closed, or the stream's creation.
    pub created: Timestamp,
    /// The creation time in its sequence numbers, in epoch seconds: later than its parents' closing second, even if
    /// that means running ahead of the clock.
    pub created_seconds: u64,
    /// When it was closed, if it is.
    pub closed: Option<ShardClosed>,
}

/// When a shard was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ShardClosed {
    /// When its children took over. The shard expires when this is longer ago than the retention period.
    pub at: Timestamp,
    /// The closing time in its ending sequence number, in epoch seconds. Not before its creation second.
    pub seconds: u64,
}

impl Shard {
    /// Whether it takes records.
    pub const fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// The shards that it was made from: none, one or two.
    pub fn parents(&self) -> impl Iterator<Item = ShardId> + use<> {
        self.parent.into_iter().chain(self.adjacent_parent)
    }

    /// Whether its range holds the key.
    pub fn covers(&self, key: HashKey) -> bool {
        self.hash_key_range.contains(key)
    }

    /// The number of one of its records, written at `seconds` (epoch seconds).
    pub const fn sequence_number(&self, record: RecordNumber, seconds: u64) -> SequenceNumber {
        // If a clock went back, or splits came in quick succession, a shard's creation is ahead of the clock.
        let seconds = match seconds < self.created_seconds {
            true => self.created_seconds,
            false => seconds,
        };
        SequenceNumber::new(self.created_seconds, self.id, record, seconds)
    }

    /// A number less than that of every record it can have.
    pub const fn starting_sequence_number(&self) -> SequenceNumber {
        self.sequence_number(RecordNumber::BEFORE_FIRST, self.created_seconds)
    }

    /// A number greater than that of every record it can have; `None` while it is open.
    pub fn ending_sequence_number(&self) -> Option<SequenceNumber> {
        self.closed
            .map(|closed| self.sequence_number(RecordNumber::END, closed.seconds))
    }

    /// Whether it has been closed for longer than records are kept.
    pub fn is_expired(&self, horizon: Timestamp) -> bool {
        self.closed.is_some_and(|closed| closed.at < horizon)
    }

    /// Whether it owned its range at this moment: children own theirs from the moment their parents close.
    pub(super) fn owned_at(&self, time: Timestamp) -> bool {
        self.created <= time && self.closed.is_none_or(|closed| time < closed.at)
    }
}

/// A shard in which reading goes on after a closed one is drained.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChildShard {
    /// Its name.
    pub shard_id: ShardId,
    /// The shards that it was made from, one or two. All of them have to be drained before it is read.
    pub parent_shards: Vec<ShardId>,
    /// The keys that it owns.
    pub hash_key_range: HashKeyRange,
}

impl From<&Shard> for ChildShard {
    fn from(shard: &Shard) -> Self {
        Self {
            shard_id: shard.id,
            parent_shards: shard.parents().collect(),
            hash_key_range: shard.hash_key_range,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard() -> Shard {
        Shard {
            id: ShardId::new(0).unwrap(),
            hash_key_range: HashKeyRange::FULL,
            parent: None,
            adjacent_parent: None,
            created: Timestamp::from_seconds(1420088705),
            created_seconds: 1420088705,
            closed: None,
        }
    }

    #[test]
    fn a_shards_numbers_lie_between_its_starting_and_its_ending_one() {
        let open = shard();
        assert_eq!(
            open.starting_sequence_number().to_string(),
            "49546561889620704595785608706778694751169797895583956994"
        );
        assert_eq!(open.ending_sequence_number(), None);

        let closed = Shard {
            closed: Some(ShardClosed {
                at: Timestamp::from_seconds(1420092305),
                seconds: 1420092305,
            }),
            ..shard()
        };
        let end = closed.ending_sequence_number().unwrap();
        assert_eq!(
            end.to_string(),
            "49546561889631854968384874018348253684486754837278490626"
        );
        let first = closed.sequence_number(RecordNumber::FIRST, 0);
        let last = closed.sequence_number(RecordNumber::new(RecordNumber::END.value() - 1), u64::MAX);
        assert!(closed.starting_sequence_number() < first && first < last && last < end);
    }

    #[test]
    fn a_closed_shard_expires_once_it_is_older_than_the_horizon() {
        let at = Timestamp::from_millis(5_000);
        let closed = Shard {
            closed: Some(ShardClosed { at, seconds: 5 }),
            ..shard()
        };
        assert!(!closed.is_expired(at));
        assert!(closed.is_expired(Timestamp::from_millis(5_001)));
        assert!(!shard().is_expired(Timestamp::MAX));
    }

    #[test]
    fn a_child_shard_names_all_its_parents() {
        let ids = [1, 2].map(|index| ShardId::new(index).unwrap());
        let merged = Shard {
            parent: Some(ids[0]),
            adjacent_parent: Some(ids[1]),
            ..shard()
        };
        assert_eq!(ChildShard::from(&merged).parent_shards, ids);
    }
}
