//! Records: as they are put, and as they are read.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

use bytes::Bytes;
use thiserror::Error;

use crate::model::limits::MAX_PARTITION_KEY_CHARS;
use crate::model::{HashKey, SequenceNumber, Timestamp};

/// A record to be written.
///
/// ```
/// use anabranch::{HashKey, PutRecord};
///
/// let record = PutRecord::new("user-42", b"{}").explicit_hash_key(HashKey::MAX / 2);
/// assert_eq!(record.hash_key(), HashKey::MAX / 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PutRecord<'a> {
    /// Selects the shard, unless there is an explicit hash key. Stored with the record.
    pub partition_key: &'a str,
    /// The record's bytes; may be empty.
    pub data: &'a [u8],
    /// The place of the record in the hash space, instead of the partition key's.
    pub explicit_hash_key: Option<HashKey>,
}

impl<'a> PutRecord<'a> {
    /// A record whose partition key selects the shard.
    pub const fn new(partition_key: &'a str, data: &'a [u8]) -> Self {
        Self {
            partition_key,
            data,
            explicit_hash_key: None,
        }
    }

    /// The same record, sent to the shard that owns `hash_key`.
    #[must_use]
    pub const fn explicit_hash_key(mut self, hash_key: HashKey) -> Self {
        self.explicit_hash_key = Some(hash_key);
        self
    }

    /// The place of the record in the hash space.
    pub fn hash_key(&self) -> HashKey {
        self.explicit_hash_key
            .unwrap_or_else(|| HashKey::of_partition_key(self.partition_key))
    }

    /// The size that limits count: bytes of data and partition key together.
    pub const fn size_bytes(&self) -> usize {
        self.partition_key.len() + self.data.len()
    }
}

/// A record that was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its number: unique in the stream, rising within the shard and from a parent to its children.
    pub sequence_number: SequenceNumber,
    /// When it was written; never decreasing within a shard.
    pub approximate_arrival: Timestamp,
    /// The key it was written with.
    pub partition_key: PartitionKey,
    /// Its bytes, shared with the memory that they were read into. So a record that is kept keeps
    /// - in a store that reads without mapping, and for the segment that is written to: a buffer of up to 256 KiB, or
    ///   of the record's own size if that is more;
    /// - for a mapped segment: the mapping, which takes address space and only memory that the system can reclaim, and
    ///   the segment's file, which is neither recycled nor removed meanwhile although the records in it expire.
    ///
    /// A program that keeps a few of many records for long copies their bytes.
    pub data: Bytes,
}

/// A partition key: 1 to 256 Unicode characters.
///
/// A short one is kept in place, a longer one shares the bytes that it was read from: cloning never allocates.
#[derive(Clone)]
pub struct PartitionKey(Text);

/// The bytes that fit beside the length in the space of a [`Bytes`].
const INLINE_BYTES: usize = 23;

/// UTF-8 text of a length that a partition key may have.
#[derive(Clone)]
enum Text {
    Inline(Inline),
    Shared(Bytes),
}

/// Aligned, so that it is moved in whole words: there are many records.
#[derive(Clone, Copy)]
#[repr(align(8))]
struct Inline {
    bytes: [u8; INLINE_BYTES],
    length: u8,
}

/// Why a text is not a partition key.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum PartitionKeyError {
    /// It has no characters.
    #[error("a partition key has at least one character")]
    Empty,
    /// It has more than [`MAX_PARTITION_KEY_CHARS`] characters.
    #[error("a partition key has at most {MAX_PARTITION_KEY_CHARS} characters, this one has {chars}")]
    TooLong {
        /// How many it has.
        chars: usize,
    },
    /// Its bytes are not UTF-8.
    #[error("a partition key is UTF-8 text; these bytes are not")]
    NotUtf8,
}

impl PartitionKey {
    /// A key with this text, which is copied.
    ///
    /// # Errors
    /// [`PartitionKeyError`] if the text is empty or longer than 256 characters.
    pub fn new(text: &str) -> Result<Self, PartitionKeyError> {
        Self::check(text)?;
        let text = text.as_bytes();
        Ok(Self(match Inline::of(text) {
            Some(inline) => Text::Inline(inline),
            None => Text::Shared(Bytes::copy_from_slice(text)),
        }))
    }

    /// The key of a record that was put without one.
    pub(crate) fn absent() -> Self {
        Self(Text::Shared(Bytes::new()))
    }

    /// Whether the record was put without a key, to a stream that
    /// [distributes records automatically](crate::RecordDistribution::Auto).
    pub fn is_absent(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Checks that bytes can be a stored record's partition key, which may be absent, without making one.
    pub(crate) fn check_stored(bytes: &[u8]) -> Result<(), PartitionKeyError> {
        // Most keys are short and ASCII, which is a fast check.
        if bytes.len() <= MAX_PARTITION_KEY_CHARS && bytes.is_ascii() {
            return Ok(());
        }
        Self::check(std::str::from_utf8(bytes).map_err(|_| PartitionKeyError::NotUtf8)?)
    }

    /// The key in a part of these bytes. The caller has checked it.
    #[inline(always)]
    pub(crate) fn of_checked(bytes: &Bytes, range: Range<usize>) -> Self {
        Self(match Inline::of(&bytes[range.clone()]) {
            Some(inline) => Text::Inline(inline),
            None => Text::Shared(bytes.slice(range)),
        })
    }

    /// Checks that a text can be a partition key, without making one.
    ///
    /// # Errors
    /// As [`PartitionKey::new`].
    pub fn check(text: &str) -> Result<(), PartitionKeyError> {
        if text.is_empty() {
            return Err(PartitionKeyError::Empty);
        }
        // No text has more characters than bytes, so most keys need no count.
        if text.len() > MAX_PARTITION_KEY_CHARS {
            let chars = text.chars().count();
            if chars > MAX_PARTITION_KEY_CHARS {
                return Err(PartitionKeyError::TooLong { chars });
            }
        }
        Ok(())
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("a partition key is checked to be UTF-8 when it is made")
    }

    /// The key's UTF-8 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::Inline(inline) => &inline.bytes[..usize::from(inline.length)],
            Text::Shared(bytes) => bytes,
        }
    }
}

impl Inline {
    #[inline(always)]
    fn of(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; INLINE_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self {
            bytes,
            length: text.len() as u8,
        })
    }
}

impl TryFrom<Bytes> for PartitionKey {
    type Error = PartitionKeyError;

    fn try_from(bytes: Bytes) -> Result<Self, PartitionKeyError> {
        Self::check(std::str::from_utf8(&bytes).map_err(|_| PartitionKeyError::NotUtf8)?)?;
        Ok(Self::of_checked(&bytes, 0..bytes.len()))
    }
}

impl TryFrom<String> for PartitionKey {
    type Error = PartitionKeyError;

    fn try_from(text: String) -> Result<Self, PartitionKeyError> {
        Self::try_from(Bytes::from(text))
    }
}

impl TryFrom<&str> for PartitionKey {
    type Error = PartitionKeyError;

    fn try_from(text: &str) -> Result<Self, PartitionKeyError> {
        Self::new(text)
    }
}

impl From<PartitionKey> for Bytes {
    fn from(key: PartitionKey) -> Bytes {
        match key.0 {
            Text::Inline(_) => Bytes::copy_from_slice(key.as_bytes()),
            Text::Shared(bytes) => bytes,
        }
    }
}

impl From<&PartitionKey> for String {
    fn from(key: &PartitionKey) -> String {
        key.as_str().to_owned()
    }
}

impl AsRef<str> for PartitionKey {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for PartitionKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for PartitionKey {}

impl PartialOrd for PartitionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PartitionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for PartitionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl PartialEq<str> for PartitionKey {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for PartitionKey {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartitionKey({:?})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_key_is_counted_in_characters_not_bytes() {
        let longest = "\u{1f980}".repeat(256);
        let key = PartitionKey::new(&longest).unwrap();
        assert_eq!(key, longest.as_str());
        assert_eq!(key.as_bytes().len(), 1024);
        assert_eq!(
            PartitionKey::new(&"x".repeat(257)),
            Err(PartitionKeyError::TooLong { chars: 257 })
        );
        assert_eq!(
            PartitionKey::try_from(longest + "x"),
            Err(PartitionKeyError::TooLong { chars: 257 })
        );
        assert_eq!(PartitionKey::new(""), Err(PartitionKeyError::Empty));
    }

    #[test]
    fn a_long_partition_key_shares_the_bytes_it_is_made_of_and_a_short_one_is_kept_in_place() {
        for length in [1, INLINE_BYTES, INLINE_BYTES + 1, 256] {
            let text = "k".repeat(length);
            let bytes = Bytes::from(text.clone());
            let key = PartitionKey::try_from(bytes.clone()).unwrap();
            let is_shared = key.as_bytes().as_ptr() == bytes.as_ptr();
            assert_eq!(is_shared, length > INLINE_BYTES);
            assert_eq!((key.as_str(), Bytes::from(key.clone())), (text.as_str(), bytes));
        }
        assert_eq!(size_of::<PartitionKey>(), size_of::<Bytes>());
    }

    #[test]
    fn partition_keys_compare_and_hash_by_their_text() {
        let long = "b".repeat(30);
        let keys: Vec<_> = ["a", "ab", &long, "c"]
            .map(|text| PartitionKey::new(text).unwrap())
            .into();
        assert!(keys.is_sorted());
        let set: std::collections::HashSet<_> = keys.iter().cloned().collect();
        assert!(set.contains(&PartitionKey::try_from(long).unwrap()));
        assert_eq!(format!("{:?} {}", keys[0], keys[1]), "PartitionKey(\"a\") ab");
        assert_eq!(
            PartitionKey::try_from(Bytes::from_static(b"\xff")),
            Err(PartitionKeyError::NotUtf8)
        );
    }

    #[test]
    fn an_explicit_hash_key_outranks_the_partition_key() {
        let record = PutRecord::new("a", b"12345");
        assert_eq!(record.hash_key(), HashKey::of_partition_key("a"));
        assert_eq!(record.explicit_hash_key(HashKey::MIN).hash_key(), HashKey::MIN);
        assert_eq!(record.size_bytes(), 6);
    }
}
