//! Logs in a directory of this machine: their files, the commit journal, the pool of segments, and what becomes garbage.
//!
//! [`LocalLogs`] has the verbs: open, recover, look up a log, remove, maintain, close.

mod active_logs;
mod close;
mod directories;
mod garbage;
mod journal;
mod logs;
mod maintenance;
mod open;
mod options;
mod rest;
mod stream_logs;
mod sweep;

pub(crate) use logs::LocalLogs;
pub(crate) use options::LocalOptions;
pub(crate) use stream_logs::StreamLogs;
