//! Logs in a directory of this machine: their files, the commit journal, the pool of segments, and garbage.
//!
//! [`open`] gives the catalog and the logs, whose verbs are those of [`Logs`](super::Logs).

mod active_logs;
mod close;
mod directories;
mod followed;
mod garbage;
mod journal;
mod keys;
mod logs;
mod maintenance;
mod open;
mod options;
mod removal;
mod rest;
mod seal;
mod shard_log;
mod snapshot;
mod statistics;
mod sweep;
mod verbs;

#[cfg(test)]
pub(crate) use logs::LocalLogs;
pub(crate) use open::open;
pub(crate) use options::LocalOptions;
