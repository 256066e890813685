//! Logs in the memory of this process.
//!
//! It is made of the traits of a backend and nothing else, and is unlike the logs of a directory where the traits allow
//! it, so that a test on both finds what relies on more than they promise: numbers are left out between two appends,
//! a read may have to wait for a thread that fetches, and a shard is closed in one step with its edit.

mod edits;
mod fetcher;
mod log;
mod log_state;
mod logs;
mod numbers;
mod open;
mod place;

pub(crate) use open::{MemoryOptions, open};
pub use place::Memory;
