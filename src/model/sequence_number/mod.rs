//! Sequence numbers, in the layout that Kinesis issues.

#[cfg(any(test, feature = "server"))]
mod decimals;
mod parsed;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::hash_key::is_plain_decimal;
use crate::model::u192::{Bits, U192};
use crate::model::{RecordNumber, ShardId};

#[cfg(any(test, feature = "server"))]
pub(crate) use decimals::Decimals;
pub use parsed::ParsedSequenceNumber;

/// The number of a record: rising within a shard, and greater in a child than in any of its parents.
///
/// It is Kinesis' own version-2 number of 186 bits, written as 56 decimal digits. Its fields, from the highest:
///
/// | bits | field |
/// |---|---|
/// | 4 | `2` |
/// | 36 | creation time of the shard, epoch seconds |
/// | 4 | lowest four bits of the shard's index |
/// | 64 | number of the record in its shard, at most 2^63 - 1 |
/// | 8 | zero |
/// | 36 | time of the record, epoch seconds |
/// | 32 | index of the shard |
/// | 4 | version, `2` |
///
/// So the order of numbers is the order of the shards' creation, then that of the records.
///
/// ```
/// use anabranch::{RecordNumber, SequenceNumber};
///
/// let number: SequenceNumber = "49594189147623985939251953501666965394405037144469929986".parse()?;
/// assert_eq!(number.created_seconds(), 1_553_568_712);
/// assert_eq!(number.shard_id().index(), 0);
/// assert_eq!(number.record_number(), RecordNumber::new(195));
/// assert_eq!(number.seconds(), 1_553_568_735);
/// # Ok::<(), anabranch::SequenceNumberError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u64; 3]", into = "[u64; 3]")]
pub struct SequenceNumber(U192);

const LEAD: Bits = Bits {
    offset: 184,
    width: 8,
};
const CREATED: Bits = Bits {
    offset: 148,
    width: 36,
};
const SHARD_LOW: Bits = Bits {
    offset: 144,
    width: 4,
};
const RECORD: Bits = Bits {
    offset: 80,
    width: 64,
};
const SECONDS: Bits = Bits {
    offset: 36,
    width: 36,
};
const SHARD: Bits = Bits { offset: 4, width: 32 };
const VERSION: Bits = Bits { offset: 0, width: 4 };

/// Why a text is not a sequence number.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum SequenceNumberError {
    /// It is not `0` or up to 129 digits without a leading zero.
    #[error("not a sequence number: expected a decimal number of at most 129 digits without leading zeros")]
    NotANumber,
    /// It is a number, but in no layout that Kinesis ever issued.
    #[error("not a sequence number: its layout is unknown")]
    UnknownLayout,
    /// It is a number of this older layout, 0 or 1, which this store never issued.
    #[error("a sequence number of the old version {0}, which this store never issued")]
    OldVersion(u8),
    /// Its record number is above 2^63 - 1.
    #[error("not a sequence number: its record number is out of range")]
    RecordNumberOutOfRange,
    /// Its shard was created later than Kinesis believes.
    #[error(
        "not a sequence number: creation time {seconds} is not below {}",
        SequenceNumber::CREATED_SECONDS_END
    )]
    CreatedOutOfRange {
        /// The creation time that it encodes, in epoch seconds.
        seconds: u64,
    },
    /// Its shard index is above 2^31 - 1. Kinesis reads it as this negative number, which no shard has.
    #[error("a sequence number of shard {index}, which cannot be")]
    ShardOutOfRange {
        /// The shard index that it encodes.
        index: i32,
    },
    /// Its two copies of the shard index disagree.
    #[error("not a sequence number: its two copies of the shard index disagree")]
    ShardIndexMismatch,
}

impl SequenceNumber {
    /// Creation times are below this, in epoch seconds (the year 2477): Kinesis refuses numbers with a later one.
    pub const CREATED_SECONDS_END: u64 = 16_025_175_000;

    /// The number of a record of a shard created at `created_seconds`, written at `seconds`.
    ///
    /// A value too large for its place counts as the largest that fits.
    pub const fn new(created_seconds: u64, shard: ShardId, record: RecordNumber, seconds: u64) -> Self {
        let index = shard.index() as u64;
        Self(
            U192::from_words([0; 3])
                .with(LEAD, 2)
                .with(CREATED, at_most(created_seconds, Self::CREATED_SECONDS_END - 1))
                .with(SHARD_LOW, index & SHARD_LOW.max())
                .with(RECORD, at_most(record.value(), RecordNumber::END.value()))
                .with(SECONDS, at_most(seconds, SECONDS.max()))
                .with(SHARD, index)
                .with(VERSION, 2),
        )
    }

    /// Reads a number of any layout that Kinesis ever issued, for callers that answer about old ones too.
    ///
    /// # Errors
    /// As from [`FromStr`], except that old versions and shards that cannot be are not errors.
    pub fn parse_any(text: &str) -> Result<ParsedSequenceNumber, SequenceNumberError> {
        if !is_plain_decimal(text, 129) {
            return Err(SequenceNumberError::NotANumber);
        }
        // What does not fit 192 bits is above every layout.
        let number = U192::from_decimal(text).ok_or(SequenceNumberError::UnknownLayout)?;
        ParsedSequenceNumber::new(number)
    }

    /// How many digits every number has: the lead of 2 is in the highest bits, so it is between 10^55 and 10^56.
    #[cfg(any(test, feature = "server"))]
    pub(crate) const DIGITS: usize = 56;

    /// When the shard was created, in epoch seconds.
    pub const fn created_seconds(self) -> u64 {
        self.0.get(CREATED)
    }

    /// The shard that the record is in.
    pub fn shard_id(self) -> ShardId {
        ShardId::new(self.0.get(SHARD) as u32).expect("a sequence number is made with a shard id that can be")
    }

    /// The place of the record in its shard.
    pub const fn record_number(self) -> RecordNumber {
        RecordNumber::new(self.0.get(RECORD))
    }

    /// When the record was written, in epoch seconds.
    pub const fn seconds(self) -> u64 {
        self.0.get(SECONDS)
    }
}

const fn at_most(value: u64, most: u64) -> u64 {
    if value < most { value } else { most }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SequenceNumber({self})")
    }
}

impl FromStr for SequenceNumber {
    type Err = SequenceNumberError;

    fn from_str(text: &str) -> Result<Self, SequenceNumberError> {
        Self::parse_any(text)?.current()
    }
}

impl TryFrom<[u64; 3]> for SequenceNumber {
    type Error = SequenceNumberError;

    /// From the words of the number, the most significant first.
    fn try_from(words: [u64; 3]) -> Result<Self, SequenceNumberError> {
        ParsedSequenceNumber::new(U192::from_words(words))?.current()
    }
}

impl From<SequenceNumber> for [u64; 3] {
    fn from(number: SequenceNumber) -> Self {
        number.0.words()
    }
}

#[cfg(test)]
mod tests {
    use super::parsed::tests::{decimal, read_any};
    use super::*;
    use proptest::prelude::*;

    fn shard(index: u32) -> ShardId {
        ShardId::new(index).unwrap()
    }

    fn number(created: u64, index: u32, record: u64, seconds: u64) -> SequenceNumber {
        SequenceNumber::new(created, shard(index), RecordNumber::new(record), seconds)
    }

    fn read(hex: &str) -> Result<SequenceNumber, SequenceNumberError> {
        decimal(hex).parse()
    }

    #[test]
    fn numbers_that_kinesis_issued_are_written_and_read_alike() {
        let vectors = [
            (
                "49594189147623985939251953501666965394405037144469929986",
                number(1553568712, 0, 195, 1553568735),
            ),
            (
                "49546986683135544286507457935754639466300920667981217794",
                number(1421279230, 0, 0, 1421279230),
            ),
            (
                "49546561889620704595785608706778694751169797895583956994",
                number(1420088705, 0, 0, 1420088705),
            ),
            (
                "49546561889643005340984139329920230469442446257089937426",
                number(1420088705, 1, 0, 1420088705),
            ),
            (
                "49546561889631854968384874018348253684486754837278490626",
                number(1420088705, 0, RecordNumber::END.value(), 1420092305),
            ),
        ];
        for (text, number) in vectors {
            assert_eq!(text.parse(), Ok(number));
            assert_eq!(number.to_string(), text);
        }
    }

    #[test]
    fn a_text_that_is_no_plain_number_is_not_read() {
        for text in ["", "-1", "+1", "01", "0x2", "1e5", " 1", &"1".repeat(130)] {
            assert_eq!(
                text.parse::<SequenceNumber>(),
                Err(SequenceNumberError::NotANumber),
                "{text}"
            );
        }
    }

    #[test]
    fn a_number_outside_every_layout_is_unknown() {
        let outside = [
            "20000000000000000000000000000000000000000000000",
            "20000000000000000000000000000000000000000000003",
            "20000000000000000000000000000000000000000000004",
            "1ffffffffff7fffffffffffffff000000000007fffffff2",
            "30000000000000000000000000000000000000000000001",
            "200000000000000000000000000000000",
            "120000000000000000000000000000000000000000000002",
        ];
        for hex in outside {
            assert_eq!(read(hex), Err(SequenceNumberError::UnknownLayout), "{hex}");
        }
        for digits in [59, 129] {
            assert_eq!(
                "9".repeat(digits).parse::<SequenceNumber>(),
                Err(SequenceNumberError::UnknownLayout)
            );
        }
    }

    #[test]
    fn fields_out_of_range_are_refused() {
        assert_eq!(
            read("20000000000800000000000000000000000000000000002"),
            Err(SequenceNumberError::RecordNumberOutOfRange)
        );
        assert_eq!(
            read("2ffffffffff7fffffffffffffff000000000007fffffff2"),
            Err(SequenceNumberError::CreatedOutOfRange {
                seconds: 0xf_ffff_ffff
            })
        );
        assert_eq!(
            read("23bb2cc3d80000000000000000000000000000000000002"),
            Err(SequenceNumberError::CreatedOutOfRange {
                seconds: 16_025_175_000
            })
        );
        assert!(read("23bb2cc3d70000000000000000000000000000000000002").is_ok());
        assert_eq!(
            read("20000000001000000000000000000000000000000000002"),
            Err(SequenceNumberError::ShardIndexMismatch)
        );
        assert_eq!(
            read("20000000000000000000000000000000000000800000002"),
            Err(SequenceNumberError::ShardOutOfRange { index: i32::MIN })
        );
        let of_no_shard = read_any("20000000000000000000000000000000000000800000002").unwrap();
        assert_eq!((of_no_shard.version(), of_no_shard.shard_index()), (2, i32::MIN));
    }

    #[test]
    fn values_too_large_for_their_place_count_as_the_largest() {
        let largest = SequenceNumber::new(
            u64::MAX,
            shard(ShardId::MAX_INDEX),
            RecordNumber::new(u64::MAX),
            u64::MAX,
        );
        assert_eq!(largest.created_seconds(), SequenceNumber::CREATED_SECONDS_END - 1);
        assert_eq!(largest.record_number(), RecordNumber::END);
        assert_eq!(largest.seconds(), (1 << 36) - 1);
        assert_eq!(largest.to_string().parse(), Ok(largest));
        for extreme in [largest, number(0, 0, 0, 0)] {
            assert_eq!(extreme.to_string().len(), SequenceNumber::DIGITS);
        }
    }

    fn any_number() -> impl Strategy<Value = SequenceNumber> {
        let records = prop_oneof![0..4u64, 0..=RecordNumber::END.value()];
        (
            0..SequenceNumber::CREATED_SECONDS_END,
            0..=ShardId::MAX_INDEX,
            records,
            0..1u64 << 36,
        )
            .prop_map(|(created, index, record, seconds)| number(created, index, record, seconds))
    }

    proptest! {
        #[test]
        fn every_number_is_read_as_it_was_written(number in any_number()) {
            prop_assert_eq!(number.to_string().parse(), Ok(number));
            prop_assert_eq!(number.to_string().len(), SequenceNumber::DIGITS);
            prop_assert_eq!(<[u64; 3]>::from(number).try_into(), Ok(number));
            let again = SequenceNumber::new(
                number.created_seconds(), number.shard_id(), number.record_number(), number.seconds(),
            );
            prop_assert_eq!(again, number);
        }

        #[test]
        fn creation_outranks_the_record_which_outranks_time(one in any_number(), other in any_number()) {
            let rank = |number: SequenceNumber| (
                number.created_seconds(),
                number.shard_id().index() & 15,
                number.record_number(),
                number.seconds(),
                number.shard_id(),
            );
            prop_assert_eq!(one.cmp(&other), rank(one).cmp(&rank(other)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9]{0,140}") {
            if let Ok(parsed) = SequenceNumber::parse_any(&text) {
                prop_assert!(parsed.version() <= 2);
            }
        }
    }
}
