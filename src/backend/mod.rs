//! The backends, which keep the logs of a store.
//!
//! A backend keeps the logs of shards, and the catalog's log of edits. Two traits have its verbs: [`ShardLog`] those of
//! one log, and [`Logs`] those that concern several, or the catalog too. `store` knows nothing else of a backend,
//! except how it is opened. A backend must not know streams as users hold them, nor what a put or a split is.
//!
//! A backend need not be on this machine. So any backend may tell where records are only once they are stored
//! ([`Ticket`](crate::seam::Ticket)); give numbers that rise and leave numbers out between two appends; let readers
//! wait while something is fetched; close a shard and make the edit that closes it durable in one step.

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
