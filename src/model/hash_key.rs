//! Places in the hash space, and the ranges of it that shards own.

use std::fmt;
use std::ops::Div;
use std::str::FromStr;

use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A place in the hash space, 0 to 2^128 - 1. A partition key's place is the MD5 of its UTF-8 bytes.
///
/// ```
/// use anabranch::HashKey;
///
/// let key = HashKey::of_partition_key("a");
/// assert_eq!(key.to_string(), "16955237001963240173058271559858726497");
/// assert_eq!("16955237001963240173058271559858726497".parse(), Ok(key));
/// assert!(key < HashKey::MAX / 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct HashKey(#[serde(with = "crate::model::wide")] u128);

/// Why a text is not a hash key.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum HashKeyError {
    /// It is not `0` or up to 39 digits without a leading zero.
    #[error("not a hash key: expected a decimal number of at most 39 digits without leading zeros")]
    NotANumber,
    /// It is a number above 2^128 - 1.
    #[error("hash key is out of range: it must be at most {}", HashKey::MAX)]
    OutOfRange,
}

impl HashKey {
    /// The first place.
    pub const MIN: HashKey = HashKey(0);
    /// The last place: 2^128 - 1.
    pub const MAX: HashKey = HashKey(u128::MAX);

    /// The place with this number.
    pub const fn new(value: u128) -> Self {
        Self(value)
    }

    /// The place as an integer.
    pub const fn value(self) -> u128 {
        self.0
    }

    /// The place of records with this partition key.
    pub fn of_partition_key(partition_key: &str) -> Self {
        Self(u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into()))
    }
}

impl From<u128> for HashKey {
    fn from(value: u128) -> Self {
        Self(value)
    }
}

impl Div<u128> for HashKey {
    type Output = HashKey;

    /// Rounds down, so that `HashKey::MAX / 2` is the last place of the lower half.
    ///
    /// # Panics
    /// If `divisor` is zero.
    fn div(self, divisor: u128) -> HashKey {
        HashKey(self.0 / divisor)
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for HashKey {
    type Err = HashKeyError;

    fn from_str(text: &str) -> Result<Self, HashKeyError> {
        if !is_plain_decimal(text, 39) {
            return Err(HashKeyError::NotANumber);
        }
        text.parse().map(Self).map_err(|_| HashKeyError::OutOfRange)
    }
}

/// Whether a text is `0`, or 1 to `max_digits` digits without a leading zero.
pub(super) fn is_plain_decimal(text: &str, max_digits: usize) -> bool {
    let leading_zero = text.len() > 1 && text.starts_with('0');
    (1..=max_digits).contains(&text.len()) && !leading_zero && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A range of the hash space, both ends included. Never empty.
///
/// ```
/// use anabranch::{HashKey, HashKeyRange};
///
/// let halves = HashKeyRange::divide(2);
/// assert_eq!(halves[0].end(), HashKey::MAX / 2);
/// assert!(halves[0].is_followed_by(&halves[1]));
/// assert_eq!(halves[0].joined(&halves[1]), Some(HashKeyRange::FULL));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "(HashKey, HashKey)", into = "(HashKey, HashKey)")]
pub struct HashKeyRange {
    start: HashKey,
    end: HashKey,
}

/// Why a range cannot be made.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum HashKeyRangeError {
    /// The end is before the start.
    #[error("a hash key range cannot start at {start} and end before it, at {end}")]
    Inverted {
        /// The start that was given.
        start: HashKey,
        /// The end that was given.
        end: HashKey,
    },
    /// The key does not divide the range into two of at least two places each.
    #[error("{key} cannot split {range}: it must be greater than the start plus one and less than the end")]
    SplitKey {
        /// The first key that the upper part would have had.
        key: HashKey,
        /// The range to be split.
        range: HashKeyRange,
    },
}

impl HashKeyRange {
    /// The whole hash space.
    pub const FULL: HashKeyRange = HashKeyRange {
        start: HashKey::MIN,
        end: HashKey::MAX,
    };

    /// The range from `start` to `end`, both included.
    ///
    /// # Errors
    /// [`HashKeyRangeError::Inverted`] if `end` is before `start`.
    pub fn new(start: HashKey, end: HashKey) -> Result<Self, HashKeyRangeError> {
        if end < start {
            return Err(HashKeyRangeError::Inverted { start, end });
        }
        Ok(Self { start, end })
    }

    /// The whole space in `parts` ranges of floor(2^128 / parts) places; the last one also has the remainder. No ranges
    /// if `parts` is zero.
    /// No ranges if `parts` is zero.
    pub fn divide(parts: u32) -> Vec<HashKeyRange> {
        if parts <= 1 {
            return vec![Self::FULL; parts as usize];
        }
        let count = u128::from(parts);
        // 2^128 itself does not fit: it is u128::MAX + 1, and divides evenly when the remainder of u128::MAX is parts -
        // 1.
        let step = u128::MAX / count + u128::from(u128::MAX % count == count - 1);
        (0..count)
            .map(|part| Self {
                start: HashKey(part * step),
                end: if part == count - 1 {
                    HashKey::MAX
                } else {
                    HashKey((part + 1) * step - 1)
                },
            })
            .collect()
    }

    /// The first place of the range.
    pub const fn start(&self) -> HashKey {
        self.start
    }

    /// The last place of the range.
    pub const fn end(&self) -> HashKey {
        self.end
    }

    /// Whether the place lies in the range.
    pub fn contains(&self, key: HashKey) -> bool {
        (self.start..=self.end).contains(&key)
    }

    /// Whether all of the other range lies in this one.
    pub fn encloses(&self, other: &HashKeyRange) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The part below `key`, and the part from `key` on.
    ///
    /// # Errors
    /// [`HashKeyRangeError::SplitKey`] unless start + 1 < `key` < end: both parts have at least two places.
    pub fn split_at(&self, key: HashKey) -> Result<(HashKeyRange, HashKeyRange), HashKeyRangeError> {
        let far_enough_from_start = key
            .0
            .checked_sub(self.start.0)
            .is_some_and(|distance| distance > 1);
        if !far_enough_from_start || key >= self.end {
            return Err(HashKeyRangeError::SplitKey { key, range: *self });
        }
        let low = Self {
            start: self.start,
            end: HashKey(key.0 - 1),
        };
        let high = Self {
            start: key,
            end: self.end,
        };
        Ok((low, high))
    }

    /// The key at which [`split_at`](Self::split_at) makes halves; `None` if the range has fewer than four keys.
    pub fn middle(&self) -> Option<HashKey> {
        let below_middle = self.start.0 + (self.end.0 - self.start.0) / 2;
        let middle = HashKey(below_middle.checked_add(1)?);
        self.split_at(middle).ok().map(|_| middle)
    }

    /// Whether `other` begins at the place after this range's last one.
    pub fn is_followed_by(&self, other: &HashKeyRange) -> bool {
        self.end.0.checked_add(1) == Some(other.start.0)
    }

    /// This range and the one that follows it as one; `None` if `other` does not follow.
    pub fn joined(&self, other: &HashKeyRange) -> Option<HashKeyRange> {
        self.is_followed_by(other).then_some(Self {
            start: self.start,
            end: other.end,
        })
    }

    /// Whether the ranges, taken in this order, cover this one exactly: no gap, no overlap.
    pub(super) fn is_tiled_by(&self, ranges: impl IntoIterator<Item = HashKeyRange>) -> bool {
        let mut ranges = ranges.into_iter();
        let Some(first) = ranges.next() else { return false };
        ranges.try_fold(first, |covered, range| covered.joined(&range)) == Some(*self)
    }
}

impl TryFrom<(HashKey, HashKey)> for HashKeyRange {
    type Error = HashKeyRangeError;

    fn try_from((start, end): (HashKey, HashKey)) -> Result<Self, HashKeyRangeError> {
        Self::new(start, end)
    }
}

impl From<HashKeyRange> for (HashKey, HashKey) {
    fn from(range: HashKeyRange) -> Self {
        (range.start, range.end)
    }
}

impl fmt::Display for HashKeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(start: u128, end: u128) -> HashKeyRange {
        HashKeyRange::new(HashKey(start), HashKey(end)).unwrap()
    }

    #[test]
    fn a_partition_keys_place_is_its_md5_as_a_big_endian_number() {
        assert_eq!(
            HashKey::of_partition_key("a").value(),
            16955237001963240173058271559858726497
        );
        assert_eq!(
            HashKey::of_partition_key("foo").value(),
            229609063533823256041787889330700985560
        );
    }

    #[test]
    fn a_hash_key_is_read_strictly() {
        for text in ["0", "1", "10", "340282366920938463463374607431768211455"] {
            assert_eq!(text.parse::<HashKey>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            " 1",
            "1 ",
            "0x1",
            "1_0",
            "\u{661}",
            &"1".repeat(40),
        ] {
            assert_eq!(text.parse::<HashKey>(), Err(HashKeyError::NotANumber), "{text}");
        }
        for text in [
            "340282366920938463463374607431768211456",
            "999999999999999999999999999999999999999",
        ] {
            assert_eq!(text.parse::<HashKey>(), Err(HashKeyError::OutOfRange), "{text}");
        }
    }

    #[test]
    fn the_space_is_divided_as_kinesis_does() {
        assert_eq!(HashKeyRange::divide(0), []);
        assert_eq!(HashKeyRange::divide(1), [HashKeyRange::FULL]);
        let half = 170141183460469231731687303715884105728;
        assert_eq!(
            HashKeyRange::divide(2),
            [range(0, half - 1), range(half, u128::MAX)]
        );
        let ends: Vec<_> = HashKeyRange::divide(3)
            .iter()
            .map(|range| range.end().value())
            .collect();
        assert_eq!(
            ends,
            [
                113427455640312821154458202477256070484,
                226854911280625642308916404954512140969,
                u128::MAX
            ]
        );
    }

    #[test]
    fn both_parts_of_a_split_have_at_least_two_places() {
        let whole = range(10, 20);
        assert_eq!(whole.split_at(HashKey(12)), Ok((range(10, 11), range(12, 20))));
        assert_eq!(whole.split_at(HashKey(19)), Ok((range(10, 18), range(19, 20))));
        for key in [0, 9, 10, 11, 20, 21] {
            let refusal = HashKeyRangeError::SplitKey {
                key: HashKey(key),
                range: whole,
            };
            assert_eq!(whole.split_at(HashKey(key)), Err(refusal));
        }
        assert!(HashKeyRange::FULL.split_at(HashKey::MAX).is_err());
        assert!(range(u128::MAX, u128::MAX).split_at(HashKey::MAX).is_err());
    }

    #[test]
    fn only_a_range_and_the_next_one_join() {
        assert_eq!(range(1, 4).joined(&range(5, 9)), Some(range(1, 9)));
        assert_eq!(range(5, 9).joined(&range(1, 4)), None);
        assert_eq!(range(1, 4).joined(&range(6, 9)), None);
        assert_eq!(range(1, 4).joined(&range(4, 9)), None);
        assert_eq!(HashKeyRange::FULL.joined(&HashKeyRange::FULL), None);
    }

    #[test]
    fn a_range_cannot_end_before_it_starts() {
        assert!(HashKeyRange::new(HashKey(2), HashKey(1)).is_err());
        assert!(range(1, 1).contains(HashKey(1)));
    }

    proptest! {
        #[test]
        fn a_divided_space_has_equal_parts_and_no_gap(parts in 1..2_000u32) {
            let ranges = HashKeyRange::divide(parts);
            prop_assert_eq!(ranges.len(), parts as usize);
            prop_assert!(HashKeyRange::FULL.is_tiled_by(ranges.iter().copied()));
            let size = |range: &HashKeyRange| range.end().value() - range.start().value();
            let (last, others) = ranges.split_last().unwrap();
            prop_assert!(others.iter().all(|range| size(range) == size(&ranges[0])));
            prop_assert!(size(last) - size(&ranges[0]) < u128::from(parts));
        }

        #[test]
        fn what_was_split_joins_again(start: u128, end: u128, key: u128) {
            prop_assume!(start <= end);
            if let Ok((low, high)) = range(start, end).split_at(HashKey(key)) {
                prop_assert_eq!(low.joined(&high), Some(range(start, end)));
                prop_assert!(high.contains(HashKey(key)) && !low.contains(HashKey(key)));
            }
        }
    }
}
