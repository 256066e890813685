//! Numbers of every layout that Kinesis ever issued.

use std::fmt;

use super::{CREATED, LEAD, RECORD, SECONDS, SHARD, SHARD_LOW, SequenceNumber, SequenceNumberError, VERSION};
use crate::model::RecordNumber;
use crate::model::u192::{Bits, U192};

/// Where version 1 keeps the time of the record.
const SECONDS_V1: Bits = Bits {
    offset: 100,
    width: 36,
};

// Version 0 has 32 hexadecimal digits: `1`, creation (9), unknown (18), shard (4).
const CREATED_V0: Bits = Bits {
    offset: 88,
    width: 36,
};
const SHARD_V0: Bits = Bits { offset: 0, width: 16 };

/// A sequence number of any version: 2, which Kinesis issues today, or the older 1 and 0.
///
/// `Display` writes it as Kinesis repeats it in messages: version 0 with its leading hexadecimal digit set to one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParsedSequenceNumber {
    number: U192,
    version: u8,
}

impl ParsedSequenceNumber {
    pub(super) fn new(number: U192) -> Result<Self, SequenceNumberError> {
        if number < U192::power_of_two(129) {
            return Self::version_0(number);
        }
        let version = number.get(VERSION);
        if number.get(LEAD) != 2 || !(1..=2).contains(&version) {
            return Err(SequenceNumberError::UnknownLayout);
        }
        if version == 2 {
            if number.get(RECORD) > RecordNumber::END.value() {
                return Err(SequenceNumberError::RecordNumberOutOfRange);
            }
            check_created(number.get(CREATED))?;
            if number.get(SHARD_LOW) != number.get(SHARD) & SHARD_LOW.max() {
                return Err(SequenceNumberError::ShardIndexMismatch);
            }
        }
        Ok(Self {
            number,
            version: version as u8,
        })
    }

    /// The layout is 32 digits, the first of them 1. A 33rd digit at the end is ignored, and the first one is set.
    fn version_0(number: U192) -> Result<Self, SequenceNumberError> {
        let [high, middle, low] = number.words();
        let (middle, low) = if high == 0 {
            (middle, low)
        } else {
            (high << 60 | middle >> 4, middle << 60 | low >> 4)
        };
        let middle = middle & (u64::MAX >> 4) | 1 << 60;
        let number = U192::from_words([0, middle, low]);
        check_created(number.get(CREATED_V0))?;
        Ok(Self { number, version: 0 })
    }

    /// The layout: 0, 1 or 2.
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// When the shard was created, in epoch seconds.
    pub const fn created_seconds(&self) -> u64 {
        self.number
            .get(if self.version == 0 { CREATED_V0 } else { CREATED })
    }

    /// The index of the shard. A negative one is of no shard.
    pub const fn shard_index(&self) -> i32 {
        self.number.get(if self.version == 0 { SHARD_V0 } else { SHARD }) as u32 as i32
    }

    /// When the record was written, in epoch seconds; version 0 does not say.
    pub const fn seconds(&self) -> Option<u64> {
        match self.version {
            0 => None,
            1 => Some(self.number.get(SECONDS_V1)),
            _ => Some(self.number.get(SECONDS)),
        }
    }

    /// The number, if it is one that this store can have issued.
    ///
    /// # Errors
    /// [`SequenceNumberError::OldVersion`] and [`SequenceNumberError::ShardOutOfRange`].
    pub const fn current(&self) -> Result<SequenceNumber, SequenceNumberError> {
        match (self.version, self.shard_index()) {
            (2, 0..) => Ok(SequenceNumber(self.number)),
            (2, index) => Err(SequenceNumberError::ShardOutOfRange { index }),
            (version, _) => Err(SequenceNumberError::OldVersion(version)),
        }
    }
}

fn check_created(seconds: u64) -> Result<(), SequenceNumberError> {
    if seconds >= SequenceNumber::CREATED_SECONDS_END {
        return Err(SequenceNumberError::CreatedOutOfRange { seconds });
    }
    Ok(())
}

impl fmt::Display for ParsedSequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

impl fmt::Debug for ParsedSequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParsedSequenceNumber({self}, version {})", self.version)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::ShardId;

    /// The decimal text of a hexadecimal number.
    pub fn decimal(hex: &str) -> String {
        let digit = |index: usize| u64::from_str_radix(&hex[index..=index], 16).unwrap();
        let digits = hex.len();
        (0..digits)
            .fold(U192::default(), |sum, index| {
                sum.with(
                    Bits {
                        offset: 4 * (digits - 1 - index) as u32,
                        width: 4,
                    },
                    digit(index),
                )
            })
            .to_string()
    }

    pub fn read_any(hex: &str) -> Result<ParsedSequenceNumber, SequenceNumberError> {
        SequenceNumber::parse_any(&decimal(hex))
    }

    #[test]
    fn all_zero_numbers_of_versions_1_and_2_are_numbers() {
        let second = read_any("20000000000000000000000000000000000000000000002").unwrap();
        assert_eq!((second.version(), second.seconds()), (2, Some(0)));
        assert_eq!(
            second.current(),
            Ok(SequenceNumber::new(
                0,
                ShardId::new(0).unwrap(),
                RecordNumber::BEFORE_FIRST,
                0
            ))
        );
        let first = read_any("20000000000000000000000000000000000000000000001").unwrap();
        assert_eq!(
            (first.version(), first.seconds(), first.shard_index()),
            (1, Some(0), 0)
        );
        assert_eq!(first.current(), Err(SequenceNumberError::OldVersion(1)));
    }

    #[test]
    fn version_1_keeps_its_time_elsewhere() {
        let hex = "2_054b6f3be_3_00_054b6f3ff_0123456789abcd_07_00000003_1".replace('_', "");
        let parsed = read_any(&hex).unwrap();
        assert_eq!(parsed.version(), 1);
        assert_eq!(parsed.created_seconds(), 0x054b6f3be);
        assert_eq!(parsed.seconds(), Some(0x054b6f3ff));
        assert_eq!(parsed.shard_index(), 3);
        assert_eq!(parsed.to_string(), decimal(&hex));
    }

    #[test]
    fn small_numbers_are_of_version_0() {
        let vectors = [
            ("0", 0, "21267647932558653966460912964485513216"),
            ("5", 5, "21267647932558653966460912964485513221"),
            (
                "425352958651173072921826052383309826",
                2,
                "21693000891209827039382739016868823042",
            ),
            (
                &decimal("f3bb2cc3d7ff7fffffffffffffff0000"),
                0,
                "26227199374821822965252748908982894592",
            ),
            (
                &decimal("13bb2cc3d70000000000000000000007f"),
                7,
                &decimal("13bb2cc3d70000000000000000000007"),
            ),
        ];
        for (text, index, shown) in vectors {
            let parsed = SequenceNumber::parse_any(text).unwrap();
            assert_eq!(
                (parsed.version(), parsed.shard_index(), parsed.seconds()),
                (0, index, None),
                "{text}"
            );
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(
                text.parse::<SequenceNumber>(),
                Err(SequenceNumberError::OldVersion(0))
            );
        }
        assert_eq!(
            read_any("13bb2cc3d80000000000000000000000"),
            Err(SequenceNumberError::CreatedOutOfRange {
                seconds: 16_025_175_000
            })
        );
    }
}
