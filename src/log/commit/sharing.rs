//! When groups of several logs are better committed together.

/// Frames are written twice in a round. With larger ones than this that costs more than the syncs that it saves.
const MAX_MEAN_BYTES: usize = 32 * 1024;

/// What the logs of a round do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// They tell the ledger where they write to.
    Ledger,
    /// That, and they have their frames made durable by the commit journal.
    Journal,
}

/// Whether rounds are better than a sync for each log, if there are enough of them.
pub(super) fn is_small(logs: usize, bytes: usize) -> bool {
    bytes <= logs * MAX_MEAN_BYTES
}
