//! The id of a registered consumer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A registered consumer's identity: unique in its stream for ever. A consumer that is registered again under its old
/// name has another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ConsumerId(u64);

impl ConsumerId {
    /// The consumer with this number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The id as an integer.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
