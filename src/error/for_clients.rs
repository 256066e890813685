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

#[cfg(test)]
pub(crate) mod tests {
    use std::io::ErrorKind;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;

    /// One failure of each kind that names a file.
    pub(crate) fn failures_at(path: &Path) -> [Error; 9] {
        let path = || path.to_owned();
        let source = || Arc::new(ErrorKind::Other.into());
        let io = Error::Io {
            operation: "write",
            path: path(),
            source: source(),
        };
        [
            Error::Corrupt {
                path: path(),
                offset: 1,
                reason: "a checksum".to_owned(),
            },
            Error::Unreadable {
                path: path(),
                offset: 1,
                source: source(),
            },
            Error::StorageFull {
                operation: "extend",
                path: path(),
            },
            Error::TooManyOpenFiles {
                operation: "open",
                path: path(),
            },
            Error::Poisoned {
                first: Arc::new(io.clone()),
            },
            io,
            Error::NotAStore { path: path() },
            Error::UnsupportedFormat {
                path: path(),
                found: 2,
                supported: 1,
            },
            Error::Locked {
                path: path(),
                holder: None,
            },
        ]
    }

    #[test]
    fn no_failure_names_a_file_to_a_client() {
        for error in failures_at(Path::new("/var/lib/secret/streams/1.log")) {
            assert!(error.to_string().contains("secret"), "{error}");
            let told = error.failure_for_clients();
            assert!(!told.contains("secret") && !told.contains('/'), "{told}");
        }
    }
}
