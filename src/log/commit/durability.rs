//! The levels of durability.

/// When a put returns, and what it then survives.
///
/// | level | killed process | crashed operating system | lost power | a put costs |
/// |---|---|---|---|---|
/// | [`Synced`](Self::Synced) | survives | survives | survives | a share of one `fdatasync` |
/// | [`Written`](Self::Written) | survives | the last second may go | the last second may go | a share of one `write` |
/// | [`Buffered`](Self::Buffered) | the last 20 ms may go | the last second may go | the last second may go | a copy |
///
/// At every level a shard keeps a prefix of what was put, in order, and no sequence number is ever used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A put returns after `fdatasync`. Readers see only what no crash can take back.
    #[default]
    Synced,
    /// A put returns once the operating system has the bytes; they are synced in the background once a second.
    Written,
    /// A put returns once the bytes are in this process's memory; they are written in the background.
    Buffered,
}
