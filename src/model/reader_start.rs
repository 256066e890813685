//! Where a queue or a channel begins.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RecordNumber, ShardId, Timestamp};

/// Which records of a stream a queue or a channel has.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ReaderStart {
    /// No record that arrived earlier.
    pub(crate) from: Timestamp,
    /// Of each of these shards, no record before the number.
    pub(crate) next: BTreeMap<ShardId, RecordNumber>,
    /// No record of other shards up to this one.
    pub(crate) newest_passed: Option<ShardId>,
}

impl ReaderStart {
    /// The first number of a shard's records that the reader can have; `None` if it has none of them.
    pub(crate) fn first_of(&self, shard: ShardId) -> Option<RecordNumber> {
        match self.next.get(&shard) {
            Some(next) => Some(*next),
            None => (Some(shard) > self.newest_passed).then_some(RecordNumber::FIRST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_what_comes_later_in_the_shards_that_there_are_and_all_of_later_ones() {
        let shard = |index| ShardId::new(index).unwrap();
        let whole = ReaderStart::default();
        assert_eq!(whole.first_of(shard(0)), Some(RecordNumber::FIRST));
        let latest = ReaderStart {
            next: BTreeMap::from([(shard(1), RecordNumber::new(8))]),
            newest_passed: Some(shard(2)),
            ..ReaderStart::default()
        };
        assert_eq!(latest.first_of(shard(0)), None);
        assert_eq!(latest.first_of(shard(1)), Some(RecordNumber::new(8)));
        assert_eq!(latest.first_of(shard(2)), None);
        assert_eq!(latest.first_of(shard(3)), Some(RecordNumber::FIRST));
    }
}
