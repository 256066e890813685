//! The id of a stream, its mode, and its state.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A stream's identity: unique in its store for ever. A stream that is created again under its old name has another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct StreamId(u64);

impl StreamId {
    /// The stream with this number.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The id as an integer.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether the owner or the load decides how many shards a stream has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum StreamMode {
    /// The owner decides, by splitting and merging.
    #[default]
    Provisioned,
    /// The load decides.
    OnDemand,
}

/// A text is not the name of a [`StreamMode`].
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("not a stream mode: expected PROVISIONED or ON_DEMAND")]
pub struct StreamModeError;

impl fmt::Display for StreamMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Provisioned => "PROVISIONED",
            Self::OnDemand => "ON_DEMAND",
        })
    }
}

impl FromStr for StreamMode {
    type Err = StreamModeError;

    fn from_str(text: &str) -> Result<Self, StreamModeError> {
        match text {
            "PROVISIONED" => Ok(Self::Provisioned),
            "ON_DEMAND" => Ok(Self::OnDemand),
            _ => Err(StreamModeError),
        }
    }
}

/// How records are distributed over the shards.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum RecordDistribution {
    /// Records with the same partition key go to the same shard, and are read in the order in which they were put.
    #[default]
    PartitionKey,
    /// Records go to all shards in turn, whatever their keys. They need no partition key.
    Auto,
}

impl fmt::Display for RecordDistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::PartitionKey => "USER_PARTITION_KEY",
            Self::Auto => "AUTO",
        })
    }
}

/// The state of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum StreamStatus {
    /// It has a name, but no shards yet.
    Creating,
    /// It can be written, read and changed.
    Active,
    /// It can be written and read while a change is under way.
    Updating,
    /// It is being removed.
    Deleting,
}

impl fmt::Display for StreamStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_states_have_the_names_of_the_api() {
        for mode in [StreamMode::Provisioned, StreamMode::OnDemand] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("on_demand".parse::<StreamMode>(), Err(StreamModeError));
        let states = [
            StreamStatus::Creating,
            StreamStatus::Active,
            StreamStatus::Updating,
            StreamStatus::Deleting,
        ];
        assert_eq!(
            states.map(|state| state.to_string()),
            ["CREATING", "ACTIVE", "UPDATING", "DELETING"]
        );
    }
}
