//! How a store is copied, and what was copied.

/// Whether a copy may share what it has with the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Segments that nothing is written to any more are shared by hard links where the file system can do that: it takes
    /// no time and no room. What the disk does to one it does to both.
    #[default]
    WherePossible,
    /// All bytes are written once more.
    Nothing,
}

/// What a copy of a store consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Streams, in whatever state.
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
