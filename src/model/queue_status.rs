//! Which state a queue is in.

use std::fmt;

/// The state of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum QueueStatus {
    /// It has a name, and gives out no records yet.
    Creating,
    /// It can be used.
    Active,
    /// It can be used, and its settings were changed just now.
    Updating,
    /// It is being deleted.
    Deleting,
}

impl fmt::Display for QueueStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        })
    }
}
