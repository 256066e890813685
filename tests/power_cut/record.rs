//! Records whose bytes show where they belong, so that a foreign, torn or missing record is recognized.

use anabranch::{Record, SequenceNumber, ShardId, Timestamp};

/// One record of a sequence that one thread puts under one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    /// Unique to the round and the thread.
    pub(crate) key: String,
    /// From 0, without gaps.
    pub(crate) count: u64,
}

impl Name {
    /// The record's data: its name, and bytes that follow from it.
    pub(crate) fn data(&self) -> Vec<u8> {
        let mut state = self.key.bytes().fold(self.count.wrapping_add(1), |state, byte| {
            mix(state ^ u64::from(byte))
        });
        // A few are so large that they need several pages, and their own frames.
        let length = match state % 40 {
            0 => 20_000,
            _ => state % 1_500,
        };
        let mut data = format!("{} {}\n", self.key, self.count).into_bytes();
        data.extend((0..length).map(|_| {
            state = mix(state);
            state as u8
        }));
        data
    }

    /// The name of a stored record. Checks every byte of the record.
    pub(crate) fn of(record: &Record) -> Self {
        let end = record.data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let line = std::str::from_utf8(&record.data[..end]).expect("a record begins with its name");
        let (key, count) = line.split_once(' ').expect("a name has a key and a count");
        let name = Self {
            key: key.to_owned(),
            count: count.parse().expect("a name has a count"),
        };
        assert_eq!(record.partition_key.as_str(), name.key, "{record:?}");
        assert!(record.data == name.data(), "{name:?} has foreign bytes");
        name
    }
}

/// A record with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) name: Name,
    pub(crate) number: SequenceNumber,
    /// The earliest time at which it can have arrived.
    pub(crate) arrival: Timestamp,
}

impl Numbered {
    pub(crate) fn of(record: &Record) -> Self {
        Self {
            name: Name::of(record),
            number: record.sequence_number,
            arrival: record.approximate_arrival,
        }
    }

    pub(crate) fn shard(&self) -> ShardId {
        self.number.shard_id()
    }
}

impl std::fmt::Display for Numbered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Name { key, count } = &self.name;
        write!(f, "{} {key} {count} {}", self.number, self.arrival.as_millis())
    }
}

impl std::str::FromStr for Numbered {
    type Err = std::num::ParseIntError;

    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let number = word().parse().expect("the writer prints whole numbers");
        let name = Name {
            key: word().to_owned(),
            count: word().parse()?,
        };
        Ok(Self {
            number,
            name,
            arrival: Timestamp::from_millis(word().parse()?),
        })
    }
}

/// SplitMix64.
pub(crate) fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
