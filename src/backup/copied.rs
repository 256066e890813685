//! Options and results of copying a store.

/// Whether a copy may share files with the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Segments that are no longer written to are shared by hard links if the file system supports that: it takes no
    /// time and no room. Damage by the disk affects both stores.
    #[default]
    WherePossible,
    /// All bytes are copied.
    Nothing,
}

/// The contents of a copy of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Streams, in any state.
    pub streams: u64,
    /// Segment files, shared ones included.
    pub segments: u64,
    /// Those that are shared with the store.
    pub shared_segments: u64,
    /// Bytes of the segments that were written.
    pub written_bytes: u64,
    /// Bytes of the segments that are shared.
    pub shared_bytes: u64,
}
