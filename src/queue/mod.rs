//! Competing consumers over a stream: each record is given to one of them, held back from the others for a while, and
//! given out again unless it is acknowledged in that time. A record that is given out too often becomes a dead letter.
//!
//! A queue keeps no copy of a record. It keeps which records were given out and not acknowledged, and which numbers of
//! each shard were never given out ([`state`]); all other records are done with. So its memory depends on what is under
//! way, and not on the length of the stream. Each change is an entry in the queue's own log, which is durable before
//! the caller gets its answer ([`entry`]). From time to time the whole state is written into the log, and the entries
//! before it are freed ([`shared`]).
//!
//! How long a record is held back is in memory alone: a later opener gives out again what is not acknowledged.

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
