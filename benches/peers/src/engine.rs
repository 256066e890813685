//! The operations that an engine needs here.

use std::path::Path;
use std::time::Duration;

use measure::Outcome;

/// What a call promises when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The records survive a power cut.
    Synced,
    /// The operating system has them: they survive the process.
    Written,
}

/// An open store.
pub trait Peer: Sync {
    /// Adds records, all stamped by one writer. Several writers may call at the same time.
    fn append(&self, records: &[&[u8]], level: Level) -> Outcome<()>;

    /// Closes it in order.
    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}

/// An engine: how to open and read it, and the system calls of its operations, as strace shows them.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    pub name: &'static str,
    /// Empty without a durable call: then it is not compared with engines that have one.
    pub synced: &'static str,
    /// Empty if there is no call that leaves the records to the operating system without a sync.
    pub written: &'static str,
    pub reading: &'static str,
    /// Whether every read checks a checksum.
    pub verifies: bool,
    pub can_be_read_twice: bool,
    pub open: fn(&Path, Level) -> Outcome<Box<dyn Peer>>,
    /// Opens a closed store, and gives all records and the time that reading took.
    pub read: fn(&Path, Each<'_>) -> Outcome<Duration>,
}

pub type Each<'a> = &'a mut dyn FnMut(&[u8]) -> Outcome<()>;

impl Engine {
    pub fn can(&self, level: Level) -> bool {
        match level {
            Level::Synced => !self.synced.is_empty(),
            Level::Written => !self.written.is_empty(),
        }
    }
}
