//! Where the logs of a store are.
//!
//! A backend keeps the logs of shards, and the catalog's log of edits. Two traits say what it can do: [`ShardLog`] for one
//! log and [`Logs`] for what concerns several, or the catalog too. `store` knows nothing else of a backend, apart from how
//! it is opened. A backend must not know streams as users hold them, nor what a put or a split is.
//!
//! What any backend may do, so that one beyond this machine can be one: say where records are only once they are there
//! ([`Ticket`](crate::seam::Ticket)); give numbers that rise and leave numbers out between two appends; have readers wait
//! for what is not here yet; close a shard and make the edit that closes it durable in one step.

#[cfg(feature = "nats")]
pub(crate) mod jetstream;
pub(crate) mod local;
mod logs;
pub(crate) mod memory;
mod shard_log;
mod statistics;

pub(crate) use logs::{Batch, Logs, Opened, RemovalPlan, SealPlan, Snapshot};
pub(crate) use shard_log::ShardLog;
pub(crate) use statistics::LogStatistics;
pub use statistics::{ClusterStats, ReplicaStats, StorageStats};
