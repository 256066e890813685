//! The id of a channel.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A channel's identity: unique in its stream for ever. A channel that is made again under its old name has another
/// one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ChannelId(u32);

impl ChannelId {
    /// The channel with this number.
    pub const fn new(value: u32) -> Self {
        Self(value)
    }

    /// The id as an integer.
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
