//! When groups of several logs should be committed together.

/// A round writes frames twice. With a larger mean size than this, that costs more than the saved syncs.
const MAX_MEAN_BYTES: usize = 32 * 1024;

/// What the logs of a round do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// They tell the ledger where they write to.
    Ledger,
    /// They also use the commit journal to make their frames durable.
    Journal,
}

/// Whether rounds are better than a sync for each log, if there are enough of them.
pub(super) fn is_small(logs: usize, bytes: usize) -> bool {
    bytes <= logs * MAX_MEAN_BYTES
}
