//! What an engine has to be able to do here.

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

    /// Ends in order.
    fn close(self: Box<Self>) -> Outcome<()> {
        Ok(())
    }
}

/// An engine: how to open and how to read, and what its calls do, seen by strace.
#[derive(Clone, Copy, Debug)]
pub struct Engine {
    pub name: &'static str,
    /// Empty if there is no durable call: then it is not compared with those that have one.
    pub synced: &'static str,
    /// Empty if there is no call that leaves the records to the operating system without a sync.
    pub written: &'static str,
    pub reading: &'static str,
    /// Whether what is read is held against a checksum, each time.
    pub verifies: bool,
    pub can_be_read_twice: bool,
    pub open: fn(&Path, Level) -> Outcome<Box<dyn Peer>>,
    /// Opens what was closed, and hands out all records; how long the reading took.
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
