//! The room for a store.

/// The room where a store is: of its file system, or of the memory for its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it, in bytes, used or not.
    pub total_bytes: u64,
    /// The part that a store can still use, in bytes.
    pub available_bytes: u64,
}

impl Space {
    /// On a large disk, less than this is little.
    const LITTLE_BYTES: u64 = 1 << 30;

    /// Whether little is left: less than a twentieth of all, and less than 1 GiB.
    ///
    /// ```
    /// use anabranch::Space;
    ///
    /// let left = |total_bytes, available_bytes| Space { total_bytes, available_bytes };
    /// assert!(left(10 << 30, 500 << 20).is_nearly_used_up());
    /// assert!(!left(10 << 30, 520 << 20).is_nearly_used_up());
    /// assert!(!left(1 << 40, 1 << 30).is_nearly_used_up());
    /// ```
    pub fn is_nearly_used_up(&self) -> bool {
        self.available_bytes < (self.total_bytes / 20).min(Self::LITTLE_BYTES)
    }
}
