//! The values that logs of all backends take and give: tickets of appends, results of reads, ends of logs, signals of
//! changes, and counters.
//!
//! This floor knows no files, no catalog and no backend. The verbs that use these values are the traits of
//! [`backend`](crate::backend).

mod changes;
mod counters;
mod piece;
mod put_bytes;
mod reading;
mod shown_end;
mod statistics;
mod ticket;

pub(crate) use changes::{LogChanges, Signal};
pub(crate) use counters::{CommittedGroup, PutCounters, ReadCounters, ShardCounters, Tally};
pub(crate) use piece::LogPiece;
pub(crate) use put_bytes::{RECORD_OVERHEAD_BYTES, check_batch_bytes, stored_bytes};
pub use reading::ReadLimit;
pub(crate) use reading::{LogRead, ReadRecord, RecordSink};
pub(crate) use shown_end::ShownEnd;
pub use statistics::{PutStats, ReadStats};
pub(crate) use ticket::{Appended, Awaited, Committer, Outcome, Placed, Ticket, Waiting};
