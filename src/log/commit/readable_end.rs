//! Where a log ends for readers.

use crate::error::Error;
use crate::log::format::log_end::LogEnd;

/// Where a log ends for readers.
pub(crate) struct ReadableEnd {
    pub(crate) end: LogEnd,
    pub(crate) withheld: Option<Withheld>,
}

/// Durable records behind the readable end.
pub(crate) struct Withheld {
    /// The end behind them.
    pub(crate) end: LogEnd,
    /// Why they cannot be read now.
    pub(crate) error: Error,
}
