//! Why the cluster did not do something.

use crate::error::Error;

/// Why something was not done, or is not known to be.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Something went on the subject since.
    WrongLastSequence,
    /// The last append to the subject is not done yet.
    AppendInFlight,
    NoSuchStream,
    NoRoom,
    Refused(String),
    /// It may be done or not.
    NoAnswer(String),
}

impl Failure {
    /// Whether a stream was not made because its leader takes a server for gone. It may have been chosen, or that server
    /// started, a moment ago.
    pub(super) fn is_want_of_servers(&self) -> bool {
        matches!(self, Self::Refused(reason) if reason.contains("peer offline"))
    }

    /// As a user is told of it.
    pub(super) fn into_error(self, operation: &'static str) -> Error {
        let reason = match self {
            Self::NoRoom => {
                return Error::StorageFull {
                    operation,
                    path: "the cluster".into(),
                };
            }
            Self::WrongLastSequence => "another one has written there".to_owned(),
            Self::AppendInFlight => "another append is under way".to_owned(),
            Self::NoSuchStream => "it does not have the stream any more".to_owned(),
            Self::Refused(reason) | Self::NoAnswer(reason) => reason,
        };
        Error::Cluster { operation, reason }
    }
}
