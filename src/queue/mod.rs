//! Competing consumers over a stream: each record is given to one of them, held back from the others for a while, and given
//! out again unless it is acknowledged in that time. What is given out too often becomes a dead letter.
//!
//! A queue keeps no copy of a record. It keeps which records were given out and not acknowledged, and which numbers of each
//! shard were never given out ([`state`]); all else is done with. That takes memory for what is under way, however long the
//! stream is. Each change is an entry in a log of the queue's own, which is durable before the caller has its answer
//! ([`entry`]). Now and then all of the state is written into the log, and what is before it is freed ([`shared`]).
//!
//! For how long a record is held back is known in memory alone: a later opener gives out again what is not acknowledged.

mod available;
mod entry;
#[cfg(test)]
mod explored;
mod field;
mod given;
mod handle;
#[cfg(test)]
mod missed;
mod receipt;
mod receive;
mod settling;
mod shard_set;
mod shared;
mod sleepers;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod unread;
mod watch;
#[cfg(test)]
mod woken;

pub use handle::{Queue, QueueCounts};
pub use receipt::{Receipt, ReceiptError};
#[cfg(feature = "server")]
pub(crate) use receive::Received;
pub use receive::{QueueRecord, ReceiveOptions};
#[cfg(feature = "server")]
pub(crate) use watch::Look;
pub use watch::QueueWatch;
