//! The name of a shard within its stream.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A shard's number within its stream, written `shardId-000000000007`.
///
/// Ids are given out in rising order and never again, so a child's id is greater than its parents'.
///
/// ```
/// use anabranch::ShardId;
///
/// let id: ShardId = "shardId-000000000007".parse()?;
/// assert_eq!(id.index(), 7);
/// assert_eq!(id.to_string(), "shardId-000000000007");
/// assert!("shardId-7".parse::<ShardId>().is_err());
/// # Ok::<(), anabranch::ShardIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ShardId(u32);

/// Why something is not a shard id.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum ShardIdError {
    /// The text is not `shardId-` and twelve digits.
    #[error("not a shard id: expected `shardId-` and twelve digits")]
    NotAShardId,
    /// The index is above 2^31 - 1.
    #[error("shard index {index} is out of range: the last is {}", ShardId::MAX_INDEX)]
    OutOfRange {
        /// The index that was given.
        index: u64,
    },
}

impl ShardId {
    /// The last index that a shard can have: 2^31 - 1.
    pub const MAX_INDEX: u32 = 0x7fff_ffff;

    pub(crate) const FIRST: Self = Self(0);

    /// The id of the shard with this index.
    ///
    /// # Errors
    /// [`ShardIdError::OutOfRange`] above [`ShardId::MAX_INDEX`].
    pub const fn new(index: u32) -> Result<Self, ShardIdError> {
        if index > Self::MAX_INDEX {
            return Err(ShardIdError::OutOfRange { index: index as u64 });
        }
        Ok(Self(index))
    }

    /// The id as an integer, 0 to [`ShardId::MAX_INDEX`].
    pub const fn index(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for ShardId {
    type Error = ShardIdError;

    fn try_from(index: u32) -> Result<Self, ShardIdError> {
        Self::new(index)
    }
}

impl From<ShardId> for u32 {
    fn from(id: ShardId) -> u32 {
        id.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shardId-{:012}", self.0)
    }
}

impl FromStr for ShardId {
    type Err = ShardIdError;

    /// Accepts exactly what `Display` writes.
    fn from_str(text: &str) -> Result<Self, ShardIdError> {
        let digits = text.strip_prefix("shardId-").ok_or(ShardIdError::NotAShardId)?;
        if digits.len() != 12 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ShardIdError::NotAShardId);
        }
        let index: u64 = digits.parse().map_err(|_| ShardIdError::NotAShardId)?;
        u32::try_from(index)
            .map_err(|_| ShardIdError::OutOfRange { index })
            .and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_written_form_is_read_back() {
        let id = ShardId::new(42).unwrap();
        assert_eq!(id.to_string(), "shardId-000000000042");
        assert_eq!(id.to_string().parse(), Ok(id));
        let wrong = [
            "",
            "42",
            "shardId-42",
            "shardid-000000000042",
            "shardId-0000000000042",
            "shardId-+00000000042",
        ];
        for text in wrong {
            assert_eq!(text.parse::<ShardId>(), Err(ShardIdError::NotAShardId), "{text}");
        }
    }

    #[test]
    fn the_last_index_is_two_to_the_31_minus_1() {
        let last = "shardId-002147483647".parse::<ShardId>().unwrap();
        assert_eq!(last.index(), ShardId::MAX_INDEX);
        for (text, index) in [
            ("shardId-002147483648", 2_147_483_648),
            ("shardId-999999999999", 999_999_999_999),
        ] {
            assert_eq!(text.parse::<ShardId>(), Err(ShardIdError::OutOfRange { index }));
        }
        assert!(ShardId::new(ShardId::MAX_INDEX + 1).is_err());
    }
}
