//! The state of a registered consumer.

use std::fmt;

/// The state of a registered consumer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ConsumerStatus {
    /// It has a name, and cannot be used yet.
    Creating,
    /// It can be used.
    Active,
    /// It is being removed.
    Deleting,
}

impl fmt::Display for ConsumerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        })
    }
}
