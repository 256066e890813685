//! The keys of a program.
//!
//! ```text
//! # one key a line: an id, =, and 64 hexadecimal digits
//! alias/orders = 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Cipher;
use super::data_key::{DataKey, WrappedKey};
use super::fingerprint::KeyFingerprint;
use super::sizes::{KEY_BYTES, NONCE_BYTES};
use crate::sync::{AtomicU64, RwLock};

/// Keys by their ids, with which the keys of segments are encrypted.
///
/// Clones share the keys: later insertions and removals affect a store that was opened with the ring. While a key is
/// missing, records that were encrypted with it cannot be read, and no records can be put with it
/// ([`Error::KeyNotFound`](crate::Error::KeyNotFound)); when it is back, everything works as before. Keep keys as long
/// as records that were put with them matter: nothing else can decrypt these.
///
/// ```
/// # fn main() -> anabranch::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("data");
/// use anabranch::{KeyRing, StoreOptions};
///
/// let keys = KeyRing::new();
/// keys.insert("alias/orders", [7; 32]); // random bytes, from where your secrets are
/// let store = StoreOptions::new().keys(keys).open(&path)?;
/// let stream = store.create_stream("orders", 1)?;
/// stream.start_encryption("alias/orders")?;
/// stream.put("user-42", b"for those with the key")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct KeyRing {
    keys: Arc<RwLock<BTreeMap<String, RingKey>>>,
    changes: Arc<AtomicU64>,
}

#[derive(Clone)]
struct RingKey {
    fingerprint: KeyFingerprint,
    cipher: Arc<Cipher>,
}

impl KeyRing {
    /// The ids of all keys, in alphabetical order.
    pub fn ids(&self) -> Vec<String> {
        self.keys.read().keys().cloned().collect()
    }

    /// How often keys were inserted or removed.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(crate) fn has(&self, fingerprint: KeyFingerprint) -> bool {
        self.cipher(fingerprint).is_some()
    }

    /// A key of random bytes, and the same key wrapped by one of the ring. `None` if the ring does not have that one.
    pub(crate) fn wrap(
        &self,
        with: KeyFingerprint,
        key: [u8; KEY_BYTES],
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
    ) -> Option<(DataKey, WrappedKey)> {
        DataKey::wrapped(key, nonce, &*self.cipher(with)?, associated)
    }

    /// Unwraps a key. `None` if the ring does not have the key that wrapped it, and `Some(None)` if that key does not
    /// unwrap it.
    pub(crate) fn unwrap(
        &self,
        with: KeyFingerprint,
        wrapped: &WrappedKey,
        associated: &[u8],
    ) -> Option<Option<DataKey>> {
        Some(DataKey::unwrap(wrapped, &*self.cipher(with)?, associated))
    }

    fn cipher(&self, fingerprint: KeyFingerprint) -> Option<Arc<Cipher>> {
        let keys = self.keys.read();
        let mut keys = keys.values();
        let key = keys.find(|key| key.fingerprint == fingerprint)?;
        Some(key.cipher.clone())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys must not get into a log.
        f.debug_tuple("KeyRing").field(&self.ids()).finish()
    }
}

#[cfg(feature = "encryption")]
mod filling {
    use std::path::Path;

    use thiserror::Error;

    use super::*;
    use crate::disk::{PrivateFileError, read_private};

    const MOST_ID_BYTES: usize = 2048;

    impl KeyRing {
        /// A ring without keys.
        pub fn new() -> Self {
            Self::default()
        }

        /// Adds a key, or replaces the key of this id.
        pub fn insert(&self, id: &str, key: [u8; 32]) {
            let key = RingKey {
                fingerprint: KeyFingerprint::of(&key),
                cipher: Arc::new(Cipher::new(&key)),
            };
            self.keys.write().insert(id.to_owned(), key);
            self.changes.fetch_add(1, Ordering::Release);
        }

        /// Removes a key. Returns whether it was there.
        pub fn remove(&self, id: &str) -> bool {
            let was_there = self.keys.write().remove(id).is_some();
            self.changes.fetch_add(1, Ordering::Release);
            was_there
        }

        /// Replaces all keys by those of another ring.
        pub fn replace(&self, others: &KeyRing) {
            let others = others.keys.read().clone();
            *self.keys.write() = others;
            self.changes.fetch_add(1, Ordering::Release);
        }

        /// Reads a file of keys: one a line, an id, `=`, and 64 hexadecimal digits; lines that begin with `#` are
        /// comments. `openssl rand -hex 32` makes a key. Others must not be able to read the file.
        ///
        /// # Errors
        /// If the file cannot be read, or others can; otherwise as for [`parse`](Self::parse).
        pub fn read(path: &Path) -> Result<Self, KeyRingError> {
            Self::parse(&read_private(path)?)
        }

        /// Reads the text of such a file.
        ///
        /// # Errors
        /// If a line has another form, an id is there twice, two ids have the same key, or there is no key.
        ///
        /// ```
        /// use anabranch::KeyRing;
        ///
        /// let keys = KeyRing::parse(&format!("alias/orders = {}\n", "0f".repeat(32)))?;
        /// assert_eq!(keys.ids(), ["alias/orders"]);
        /// # Ok::<(), anabranch::KeyRingError>(())
        /// ```
        pub fn parse(text: &str) -> Result<Self, KeyRingError> {
            let keys = Self::new();
            for (number, content) in text.trim_start_matches('\u{feff}').lines().enumerate() {
                let (line, content) = (number + 1, content.trim());
                if content.is_empty() || content.starts_with('#') {
                    continue;
                }
                let (id, digits) = content.split_once('=').ok_or(KeyRingError::Line { line })?;
                let (id, digits) = (id.trim(), digits.trim());
                if id.is_empty() || id.len() > MOST_ID_BYTES {
                    return Err(KeyRingError::Line { line });
                }
                let key = key_of_digits(digits).ok_or(KeyRingError::Key { line })?;
                let fingerprint = KeyFingerprint::of(&key);
                let known = keys.keys.read();
                if known.contains_key(id) {
                    return Err(KeyRingError::IdTwice {
                        line,
                        id: id.to_owned(),
                    });
                }
                if known.values().any(|key| key.fingerprint == fingerprint) {
                    return Err(KeyRingError::KeyTwice { line });
                }
                drop(known);
                keys.insert(id, key);
            }
            match keys.keys.read().is_empty() {
                true => Err(KeyRingError::Empty),
                false => Ok(keys.clone()),
            }
        }

        /// The key for an id: the id itself, or the ARN of a key or an alias that ends with it.
        pub(crate) fn find(&self, id: &str) -> Option<KeyFingerprint> {
            let keys = self.keys.read();
            let of_arn = || {
                let last = id.strip_prefix("arn:")?.rsplit(':').next()?;
                keys.get(last).or_else(|| keys.get(last.strip_prefix("key/")?))
            };
            keys.get(id).or_else(of_arn).map(|key| key.fingerprint)
        }
    }

    /// Why there are no keys to encrypt with. No message contains a key, or a part of one.
    #[derive(Debug, Error)]
    #[non_exhaustive]
    pub enum KeyRingError {
        /// The file cannot be used.
        #[error(transparent)]
        File(#[from] PrivateFileError),
        /// A line is neither a key nor a comment.
        #[error("line {line}: expected id = key, or a comment that begins with #")]
        Line {
            /// The number of the line, from 1.
            line: usize,
        },
        /// The text after the id is not a key.
        #[error("line {line}: a key is 64 hexadecimal digits; to make one, type: openssl rand -hex 32")]
        Key {
            /// The number of the line, from 1.
            line: usize,
        },
        /// Two keys have the same id.
        #[error("line {line}: there are two keys with the id {id:?}; give each an id of its own")]
        IdTwice {
            /// The number of the line, from 1.
            line: usize,
            /// The id of both.
            id: String,
        },
        /// Two ids have the same key.
        #[error("line {line}: this key is there under another id already")]
        KeyTwice {
            /// The number of the line, from 1.
            line: usize,
        },
        /// There is no key at all.
        #[error("there is no key; to add one, write a line: id = 64 hexadecimal digits")]
        Empty,
    }

    fn key_of_digits(digits: &str) -> Option<[u8; KEY_BYTES]> {
        if digits.len() != 2 * KEY_BYTES || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut key = [0; KEY_BYTES];
        for (byte, pair) in key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(key)
    }
}

#[cfg(feature = "encryption")]
pub use filling::KeyRingError;

#[cfg(all(test, feature = "encryption"))]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_id_or_its_arn() {
        let keys = KeyRing::new();
        keys.insert("alias/orders", [1; 32]);
        keys.insert("0d9e-1", [2; 32]);
        let first = keys.find("alias/orders");
        assert!(first.is_some());
        assert_eq!(
            keys.find("arn:aws:kms:eu-west-1:000000000000:alias/orders"),
            first
        );
        let second = keys.find("0d9e-1");
        assert_ne!(first, second);
        assert_eq!(keys.find("arn:aws:kms:eu-west-1:000000000000:key/0d9e-1"), second);
        for other in [
            "orders",
            "alias/other",
            "arn:aws:kms:eu-west-1:000000000000:key/orders",
            "",
        ] {
            assert_eq!(keys.find(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_of_keys_is_read_and_mistakes_are_told_without_a_key() {
        let (one, two) = ("0A".repeat(32), "1b".repeat(32));
        let keys = KeyRing::parse(&format!("# keys\r\n\r\n a = {one}\r\nb={two}\r\n")).unwrap();
        assert_eq!(keys.ids(), ["a", "b"]);
        assert!(!format!("{keys:?}").contains("10"), "{keys:?}");
        for (text, told) in [
            ("", "there is no key"),
            ("a\n", "line 1: expected id = key"),
            ("= 00\n", "line 1: expected id = key"),
            ("#\na = 0102\n", "line 2: a key is 64 hexadecimal digits"),
            (&format!("a = {}g\n", &one[1..]), "line 1: a key is 64"),
            (&format!("a = {}+\n", &one[1..]), "line 1: a key is 64"),
            (
                &format!("a = {one}\na = {two}\n"),
                "line 2: there are two keys with the id \"a\"",
            ),
            (
                &format!("a = {one}\nb = {one}\n"),
                "line 2: this key is there under another id",
            ),
        ] {
            let error = KeyRing::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
            assert!(!error.contains("0A0A") && !error.contains("0102"), "{error}");
        }
    }

    #[test]
    fn clones_share_what_changes() {
        let keys = KeyRing::new();
        let clone = keys.clone();
        keys.insert("a", [1; 32]);
        assert!(clone.find("a").is_some());
        let before = clone.changes();
        assert!(keys.remove("a"));
        assert!(!keys.remove("a"));
        assert!(clone.find("a").is_none());
        assert_ne!(clone.changes(), before);
        let others = KeyRing::new();
        others.insert("b", [2; 32]);
        keys.replace(&others);
        assert_eq!(clone.ids(), ["b"]);
    }
}
