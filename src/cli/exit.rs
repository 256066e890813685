//! The end of the program after a failure: its message, and its exit status.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anabranch::kinesis::BindError;
use anabranch::{Error, Timestamp};

/// Why the program failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the command line that the parser does not find.
    Usage(String),
    /// The store cannot be opened or closed.
    Store(Error),
    /// The store cannot be inspected or repaired.
    Inspection(Error),
    /// The server cannot listen.
    Bind(BindError),
    /// The system refused another operation.
    System { doing: &'static str, source: io::Error },
    /// A command at the shell cannot open a directory, or its store refuses something.
    Directory(Error),
    /// There is no store in the directory, and the command makes none.
    NoStore { directory: PathBuf },
    /// No answer comes from the endpoint. It `may_pass`: a connection that is refused or broken.
    Endpoint {
        url: String,
        reason: String,
        may_pass: bool,
    },
    /// The request is refused, or an argument or the input cannot be used.
    Refused(String),
    /// Standard output cannot be written.
    Output(io::Error),
    /// A mirror failed. Its places are no options as in other commands, so its advice is different.
    Mirror(Box<Failure>),
    /// A command failed after a part of its work, which `done` tells.
    After { done: String, failure: Box<Failure> },
}

impl Failure {
    /// Prints the error, and what can be done, on standard error.
    pub(crate) fn report(&self) -> ExitCode {
        eprintln!("anabranch: {}", self.message());
        ExitCode::from(self.status())
    }

    /// The same for machines, as one line of the log.
    pub(crate) fn report_as_json(&self) -> ExitCode {
        let now = Timestamp::from(SystemTime::now());
        let line = serde_json::json!({
            "timestamp": now.to_string(),
            "level": "ERROR",
            "message": self.message(),
            "exit_status": self.status(),
            "target": "anabranch",
        });
        eprintln!("{line}");
        ExitCode::from(self.status())
    }

    /// Whether the same call may work a little later.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Failure::Endpoint { may_pass: true, .. })
    }

    /// The error, in one line.
    pub(super) fn first_line(&self) -> String {
        let message = self.message();
        message.lines().next().unwrap_or_default().to_owned()
    }

    fn message_of_mirror(&self) -> String {
        match self {
            Failure::Endpoint { url, reason, .. } => format!("no answer from {url}: {reason}"),
            Failure::NoStore { directory } => format!("there is no store in {}", directory.display()),
            Failure::Directory(error @ Error::Locked { .. }) => format!(
                "{error}\nIf a server has it, name the server's address instead of the directory: http://HOST:PORT."
            ),
            Failure::After { done, failure } => format!("{}\n{done}", failure.message_of_mirror()),
            failure => failure.message(),
        }
    }

    fn status(&self) -> u8 {
        match self {
            Failure::Inspection(_)
            | Failure::Usage(_)
            | Failure::Bind(
                BindError::AccountId { .. }
                | BindError::Region { .. }
                | BindError::Unsigned { .. }
                | BindError::AdminBeyondLoopback { .. }
                | BindError::Host { .. }
                | BindError::Origin { .. }
                | BindError::NoAdvertisedAddress { .. }
                | BindError::AdvertisedAddress { .. },
            ) => 2,
            Failure::Store(error) | Failure::Directory(error) => status_of(error),
            Failure::NoStore { .. } => 4,
            Failure::Bind(_) | Failure::Endpoint { .. } => 5,
            Failure::System { .. } | Failure::Refused(_) | Failure::Output(_) => 1,
            Failure::Mirror(failure) | Failure::After { failure, .. } => failure.status(),
        }
    }

    fn message(&self) -> String {
        match self {
            Failure::Usage(message) => message.clone(),
            Failure::Store(error) => match advice(error) {
                Some(advice) => format!("{error}\n{advice}"),
                None => error.to_string(),
            },
            Failure::Inspection(error @ Error::Locked { .. }) => {
                format!(
                    "{error}\nStop that program first. `anabranch verify` and `anabranch dump` work meanwhile."
                )
            }
            Failure::Inspection(error) => error.to_string(),
            Failure::Bind(error) => match error {
                BindError::InUse { .. } => format!("{error}: --listen 127.0.0.1:4568, for example"),
                BindError::Listen { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                    format!("{error}\nPorts below 1024 need privileges; choose another one with --listen.")
                }
                BindError::Unsigned { .. } => format!(
                    "{error}.\nGive the keys that they may use with --credentials FILE, or say that this is meant with \
                     --allow-unsigned-beyond-loopback."
                ),
                BindError::AdminBeyondLoopback { .. } => format!(
                    "{error}.\nGive an address of this machine alone with --admin-listen, or say that this is meant with \
                     --allow-unsigned-beyond-loopback."
                ),
                BindError::Admin { source } => format!("--admin-listen: {source}"),
                BindError::Host { .. } => format!("--allow-host: {error}"),
                BindError::Origin { .. } => format!("--allow-origin: {error}"),
                BindError::NoAdvertisedAddress { .. } => format!(
                    "{error}.\nGive the address at which they reach it with --advertise http://HOST:PORT, or listen on one \
                     address with --listen."
                ),
                BindError::AdvertisedAddress { .. } => format!("--advertise: {error}"),
                _ => error.to_string(),
            },
            Failure::System { doing, source } => format!("cannot {doing}: {source}"),
            Failure::Directory(error @ Error::Locked { .. }) => format!(
                "{error}\nIf a server has it, ask that: leave out --data-dir, or give the server's address with \
                 --endpoint. Only reading works meanwhile."
            ),
            Failure::Directory(Error::StorageFull { path, .. }) => format!(
                "the disk of {} is full\nFree some space, or hide old records with `anabranch trim`.",
                path.display()
            ),
            Failure::Directory(error) => error.to_string(),
            Failure::NoStore { directory } => format!(
                "there is no store in {}\n`anabranch create --data-dir` makes one with its first stream.",
                directory.display()
            ),
            Failure::Endpoint { url, reason, .. } => format!(
                "no answer from {url}: {reason}\nIs a server there? Give its address with --endpoint, or a directory \
                 that no server has with --data-dir."
            ),
            Failure::Refused(message) => message.clone(),
            Failure::Output(error) => format!("cannot write to standard output: {error}"),
            Failure::Mirror(failure) => failure.message_of_mirror(),
            Failure::After { done, failure } => format!("{}\n{done}", failure.message()),
        }
    }
}

/// What is wrong, in one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first_line())
    }
}

fn status_of(error: &Error) -> u8 {
    match error {
        Error::Locked { .. } | Error::InUse { .. } => 3,
        Error::NotAStore { .. }
        | Error::UnsupportedFormat { .. }
        | Error::UnknownEncoding { .. }
        | Error::KeyNotFound { .. }
        | Error::ClusterUnfit { .. }
        | Error::Cluster { .. }
        | Error::StorageFull { .. } => 4,
        Error::Io { source, .. } if is_about_the_directory(source) => 4,
        _ => 1,
    }
}

fn is_about_the_directory(source: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(
        source.kind(),
        PermissionDenied | ReadOnlyFilesystem | NotADirectory | NotFound
    )
}

fn advice(error: &Error) -> Option<String> {
    match error {
        Error::Locked {
            holder: Some(process),
            ..
        } => Some(format!(
            "Stop it first (kill {process}), or give this server a directory of its own with --data-dir."
        )),
        Error::InUse { .. } => {
            Some("Stop the other server first, or give this one a store of its own with --engine-store.".to_owned())
        }
        Error::Locked { holder: None, .. } => {
            Some("Stop the other program first, or choose another directory with --data-dir.".to_owned())
        }
        Error::NotAStore { .. } => Some("Choose an empty or a new directory with --data-dir.".to_owned()),
        Error::Corrupt { .. } => Some(
            "`anabranch verify DIR` says what is damaged, and `anabranch repair DIR` what can be saved.".to_owned(),
        ),
        Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Some("Choose the directory with --data-dir.".to_owned())
        }
        Error::Io { source, .. } if is_about_the_directory(source) => Some(
            "Choose a directory that you can write to with --data-dir, or only read what is there with --read-only."
                .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_locked_directory_names_its_holder_and_the_way_out() {
        let locked = |holder| {
            Failure::Store(Error::Locked {
                path: "data/LOCK".into(),
                holder,
            })
        };
        assert_eq!(locked(Some(42)).status(), 3);
        let message = locked(Some(42)).message();
        assert!(
            message.contains("data/LOCK") && message.contains("kill 42"),
            "{message}"
        );
        assert!(locked(None).message().contains("--data-dir"));
    }

    #[test]
    fn a_directory_that_cannot_be_written_asks_for_another() {
        let source = Arc::new(io::Error::from(io::ErrorKind::PermissionDenied));
        let failure = Failure::Store(Error::Io {
            operation: "create",
            path: "/data".into(),
            source,
        });
        assert_eq!(failure.status(), 4);
        assert!(failure.message().contains("--data-dir"));
    }

    #[test]
    fn a_full_disk_is_named_as_what_it_is() {
        let failure = Failure::Directory(Error::StorageFull {
            operation: "reserve",
            path: "data/pool/7.preparing".into(),
        });
        assert_eq!(failure.status(), 4);
        let message = failure.message();
        assert!(
            message.starts_with("the disk of data/pool/7.preparing is full\n") && message.contains("trim"),
            "{message}"
        );
    }

    #[test]
    fn a_taken_port_suggests_another() {
        let failure = Failure::Bind(BindError::InUse {
            address: "127.0.0.1:4567".parse().unwrap(),
        });
        assert_eq!(failure.status(), 5);
        assert!(
            failure.message().contains("127.0.0.1:4567 is taken"),
            "{}",
            failure.message()
        );
        assert!(failure.message().contains("--listen"));
    }
}
