//! The keys that segments are encrypted with.

use std::fmt::Debug;

use crate::encryption::{DataKey, KeyFingerprint};
use crate::error::Result;
use crate::log::format::identity::LogIdentity;
use crate::log::format::segment_header::SegmentKey;

/// Knows which logs have to be encrypted, and has the keys.
pub(crate) trait SegmentKeys: Debug + Send + Sync {
    /// A number that changes whenever another answer of this trait may change.
    fn revision(&self) -> u64;

    /// The key for the log's next segment and all frames from now on, if any. `None` if the log no longer exists.
    fn wanted(&self, log: LogIdentity) -> Option<Option<KeyFingerprint>>;

    /// Checks that a key is available.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`](crate::Error::KeyNotFound).
    fn check(&self, log: LogIdentity, key: KeyFingerprint) -> Result<()>;

    /// Draws a key for a new segment of this salt.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`](crate::Error::KeyNotFound) if the key that has to wrap it is missing.
    fn draw(
        &self,
        log: LogIdentity,
        salt: u64,
        wrapped_with: KeyFingerprint,
    ) -> Result<(SegmentKey, DataKey)>;

    /// The key of a segment. `None` if it was not made for this segment, or was changed.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`](crate::Error::KeyNotFound) if the key that wrapped it is missing.
    fn unwrap(&self, log: LogIdentity, salt: u64, key: &SegmentKey) -> Result<Option<DataKey>>;
}
