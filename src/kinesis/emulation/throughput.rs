//! Limits of a shard's throughput.

use std::time::Duration;

use super::bucket::{Buckets, Rate};
use crate::kinesis::subscriptions::Subscribed;
use crate::{ShardId, StreamId, Timestamp};

const WRITTEN_BYTES: Rate = Rate(1 << 20);
const WRITTEN_RECORDS: Rate = Rate(1000);
const READ_BYTES: Rate = Rate(2 << 20);
const READS: Rate = Rate(5);
const ITERATORS: Rate = Rate(5);
const PUSHED_BYTES: Rate = Rate(2 << 20);

type Shard = (StreamId, ShardId);

/// Counts the bytes and records that go through shards.
#[derive(Debug, Default)]
pub(in crate::kinesis) struct Throughput {
    written_bytes: Buckets<Shard>,
    written_records: Buckets<Shard>,
    read_bytes: Buckets<Shard>,
    reads: Buckets<Shard>,
    iterators: Buckets<Shard>,
    pushed_bytes: Buckets<Subscribed>,
}

impl Throughput {
    /// Whether the shard takes a record of so many bytes, and counts them then. A record larger than one second's limit
    /// is taken, and the shard takes no more until the time for it is over.
    pub(in crate::kinesis) fn writes(&self, shard: Shard, bytes: usize, now: Timestamp) -> bool {
        // A record that is refused for its bytes does not count as one.
        if !self.written_bytes.has(shard, WRITTEN_BYTES, bytes as u64, now) {
            return false;
        }
        self.written_records.take(shard, WRITTEN_RECORDS, 1, now)
            && self.written_bytes.take(shard, WRITTEN_BYTES, bytes as u64, now)
    }

    /// Whether the shard can be read once more now.
    pub(in crate::kinesis) fn may_read(&self, shard: Shard, now: Timestamp) -> bool {
        !self.read_bytes.is_owing(shard, READ_BYTES, now) && self.reads.take(shard, READS, 1, now)
    }

    /// Counts bytes that were read from the shard.
    pub(in crate::kinesis) fn has_read(&self, shard: Shard, bytes: usize, now: Timestamp) {
        self.read_bytes.owe(shard, READ_BYTES, bytes as u64, now);
    }

    /// Whether one more iterator of the shard can be made now.
    pub(in crate::kinesis) fn may_iterate(&self, shard: Shard, now: Timestamp) -> bool {
        self.iterators.take(shard, ITERATORS, 1, now)
    }

    /// How long it takes until a consumer may get more from a shard.
    pub(in crate::kinesis) fn may_push_in(&self, to: Subscribed, now: Timestamp) -> Duration {
        self.pushed_bytes.owing_for(to, PUSHED_BYTES, now)
    }

    /// Counts bytes of the shard that are pushed to the consumer.
    pub(in crate::kinesis) fn pushes(&self, to: Subscribed, bytes: usize, now: Timestamp) {
        self.pushed_bytes.owe(to, PUSHED_BYTES, bytes as u64, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConsumerId;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    #[test]
    fn a_shard_takes_its_bytes_and_records() {
        let throughput = Throughput::default();
        let shard = |index| (StreamId::new(1), ShardId::new(index).unwrap());
        let taken = |index, bytes, seconds| {
            (0..2000)
                .filter(|_| throughput.writes(shard(index), bytes, at(seconds)))
                .count()
        };
        assert_eq!(taken(0, 100, 0), 1000);
        assert_eq!(taken(0, 100, 1), 1000);
        assert_eq!(taken(1, 64 << 10, 1), 16);
        // What is refused for its bytes leaves the records to others.
        assert!(throughput.writes(shard(3), 1 << 20, at(0)));
        assert!(!throughput.writes(shard(3), 1, at(0)));
        assert!(throughput.writes(shard(4), 200 << 10, at(0)));
        assert!((0..2000).all(|_| !throughput.writes(shard(4), 900 << 10, at(0))));
        assert_eq!(taken(4, 100, 0), 999);
        // A record of ten mebibytes stands for ten seconds.
        assert!(throughput.writes(shard(2), 10 << 20, at(0)));
        assert!(!throughput.writes(shard(2), 1, at(8)));
        assert!(throughput.writes(shard(2), 1, at(10)));
    }

    #[test]
    fn a_shard_is_read_five_times_a_second_and_not_for_five_behind_ten_mebibytes() {
        let throughput = Throughput::default();
        let shard = (StreamId::new(1), ShardId::new(0).unwrap());
        let reads = |seconds| (0..9).filter(|_| throughput.may_read(shard, at(seconds))).count();
        assert_eq!(reads(0), 5);
        assert_eq!(reads(1), 5);
        throughput.has_read(shard, 10 << 20, at(2));
        assert_eq!(reads(5), 0);
        assert_eq!(reads(6), 5);
    }

    #[test]
    fn each_consumer_gets_two_mebibytes_a_second_of_each_shard() {
        let throughput = Throughput::default();
        let to = |consumer, shard| Subscribed {
            stream: StreamId::new(1),
            consumer: ConsumerId::new(consumer),
            shard: ShardId::new(shard).unwrap(),
        };
        let wait = |to, seconds| throughput.may_push_in(to, at(seconds));
        throughput.pushes(to(1, 0), 2 << 20, at(0));
        assert_eq!(wait(to(1, 0), 0), Duration::ZERO);
        throughput.pushes(to(1, 0), 1 << 20, at(0));
        assert_eq!(wait(to(1, 0), 0), Duration::from_millis(500));
        for other in [to(2, 0), to(1, 1)] {
            assert_eq!(wait(other, 0), Duration::ZERO);
        }
        assert_eq!(wait(to(1, 0), 1), Duration::ZERO);
        throughput.pushes(to(1, 0), 10 << 20, at(2));
        assert_eq!(wait(to(1, 0), 3), Duration::from_secs(3));
    }
}
