//! The numbers of records: they rise, and some are left out.

use crate::model::{LogName, RecordNumber, StreamId};

/// At most so many numbers are left out in front of an append.
const MOST_LEFT_OUT: u64 = 16;

/// The numbers of one log, which follow from its name and its appends.
#[derive(Debug)]
pub(super) struct Numbers {
    seed: u64,
    appends: u64,
    /// The number behind the last record.
    next: RecordNumber,
}

impl Numbers {
    pub(super) fn of(log: LogName) -> Self {
        let stream = log.stream().map_or(0, StreamId::value);
        let of_stream = match log {
            LogName::Shard(_, shard) => u64::from(shard.index()),
            LogName::Queue(_, queue) => u64::from(queue.value()).rotate_left(31),
            LogName::CommitJournal => 0,
        };
        Self {
            seed: mix(stream ^ of_stream.rotate_left(32)),
            appends: 0,
            next: RecordNumber::FIRST,
        }
    }

    /// The number behind the last record.
    pub(super) fn next(&self) -> RecordNumber {
        self.next
    }

    /// The first of so many consecutive numbers; `None` if there are no more.
    pub(super) fn take(&mut self, records: usize) -> Option<RecordNumber> {
        let left_out = mix(self.seed ^ self.appends) % (MOST_LEFT_OUT + 1);
        let first = self.next.checked_add(left_out)?;
        self.next = first.checked_add(records as u64)?;
        self.appends += 1;
        Some(first)
    }
}

/// The finaliser of `splitmix64`: every bit of the input changes half of those of the output.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ShardId;

    const LOG: LogName = LogName::Shard(StreamId::new(3), ShardId::FIRST);

    #[test]
    fn numbers_rise_are_left_out_and_are_the_same_each_time() {
        let take_all = || {
            let mut numbers = Numbers::of(LOG);
            let mut taken = Vec::new();
            for records in 1..50 {
                let before = numbers.next();
                let first = numbers.take(records).unwrap();
                assert!(first >= before && first.value() <= before.value() + MOST_LEFT_OUT);
                assert_eq!(numbers.next(), first.checked_add(records as u64).unwrap());
                taken.push((before, first));
            }
            taken
        };
        let taken = take_all();
        assert!(taken.iter().filter(|(before, first)| before < first).count() > 40);
        assert_eq!(taken, take_all());
    }

    #[test]
    fn where_numbers_end_none_is_given() {
        let mut numbers = Numbers::of(LOG);
        numbers.next = RecordNumber::new(RecordNumber::END.value() - 100);
        assert_eq!(numbers.take(200), None);
        assert!(numbers.take(1).is_some());
    }
}
