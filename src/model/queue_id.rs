//! The id of a queue.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A queue's identity: unique in its stream for ever. A queue that is made again under its old name has another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct QueueId(u32);

impl QueueId {
    /// The queue with this number.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The id as an integer.
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
