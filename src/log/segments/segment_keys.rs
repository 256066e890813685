//! Who has the keys that segments are encrypted with.

use std::fmt::Debug;

use crate::encryption::{DataKey, KeyFingerprint};
use crate::error::Result;
use crate::log::format::identity::LogIdentity;
use crate::log::format::segment_header::SegmentKey;

/// Knows which logs are to be encrypted, and has the keys.
pub(crate) trait SegmentKeys: Debug + Send + Sync {
    /// Another number than before if anything here may answer otherwise than before.
    fn revision(&self) -> u64;

    /// The key that the log's next segment, and all frames from now on, are to be encrypted with, if any. `None` if the log
    /// is no more.
    fn wanted(&self, log: LogIdentity) -> Option<Option<KeyFingerprint>>;

    /// Checks that a key is there.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`](crate::Error::KeyNotFound).
    fn check(&self, log: LogIdentity, key: KeyFingerprint) -> Result<()>;

    /// Draws a key for a new segment of this salt.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`](crate::Error::KeyNotFound) if the key that is to wrap it is not there.
    fn draw(
        &self,
        log: LogIdentity,
        salt: u64,
        wrapped_with: KeyFingerprint,
    ) -> Result<(SegmentKey, DataKey)>;

    /// The key of a segment. `None` if it was not made for this segment, or was changed.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`](crate::Error::KeyNotFound) if the key that wrapped it is not there.
    fn unwrap(&self, log: LogIdentity, salt: u64, key: &SegmentKey) -> Result<Option<DataKey>>;
}
