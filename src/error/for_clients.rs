//! What clients are told of a failure.

use super::Error;

impl Error {
    /// The message for a client of the server. The error's own message names files, which are only for the server's log.
    pub(crate) fn failure_for_clients(&self) -> &'static str {
        match self {
            Self::Corrupt { .. } => {
                "Records of this shard are damaged on the server's disk. The server's log says where; \
                 anabranch verify looks for more."
            }
            Self::StorageFull { .. } => "The server's disk is full. Writes work again once there is room.",
            Self::Poisoned { .. } => {
                "The server stopped writing after a failure of its disk. Its log has the failure; a restart of the server \
                 finds out what was stored."
            }
            Self::Unreadable { .. } => {
                "Records of this shard cannot be read from the server's disk. The server's log says where. What comes before \
                 them can be read, and so can other shards."
            }
            Self::TooManyOpenFiles { .. } => {
                "The server has as many files open as it may. The same request works once some are closed."
            }
            Self::Cluster { .. } => {
                "The cluster that keeps the streams did not answer in time, or refused. The server's log has the reason. A record \
                 may be stored all the same."
            }
            Self::Fenced { .. } => "Another server has taken over the store. This one writes nothing more.",
            Self::Io { .. } => "The server could not use its disk. Its log has the reason.",
            _ => "The operation failed inside the server. Its log has the reason.",
        }
    }
}
