//! Logs in the memory of this process.
//!
//! It is written against the traits of a backend alone, and differs from the logs of a directory where the traits allow
//! it. So a test on both finds code that relies on more than the traits promise. Numbers are left out between two
//! appends, a read may have to wait for a thread that fetches, and a shard is closed in one step with its edit.

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
