//! The state of a queue or a channel.

use std::fmt;

/// The state of a queue or a channel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReaderStatus {
    /// It has a name, and cannot be used yet.
    Creating,
    /// It can be used.
    Active,
    /// It can be used, and its settings were changed just now.
    Updating,
    /// It is being deleted.
    Deleting,
}

impl fmt::Display for ReaderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        })
    }
}
