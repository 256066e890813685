//! The fingerprint by which a store identifies a key.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Identifies a key without revealing it: the first eight bytes of a hash of it, never zero.
///
/// A store identifies keys by it. So a key under another id is still the same key, and another key under the same id is
/// not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct KeyFingerprint(u64);

impl KeyFingerprint {
    /// `None` for zero, which stands for no key.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    #[cfg(feature = "encryption")]
    pub(super) fn of(key: &[u8; super::sizes::KEY_BYTES]) -> Self {
        Self(u64::from_le_bytes(super::cipher::hash_of_key(key)).max(1))
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
