//! Where a cluster is, and what is asked of it.

use std::path::PathBuf;
use std::sync::Arc;

use super::seat::Seat;
use crate::error::{InvalidArgument, Result};

const DEFAULT_STORE: &str = "main";
const DEFAULT_REPLICAS: usize = 3;
const MOST_REPLICAS: usize = 5;
const MOST_NAME_CHARS: usize = 32;
const PORT: &str = "4222";
const MONITOR_PORT: &str = "8222";

/// A store on a cluster of NATS JetStream, for
/// [`StoreOptions::open_jetstream`](crate::StoreOptions::open_jetstream).
///
/// ```no_run
/// # fn main() -> anabranch::Result<()> {
/// use anabranch::{JetStream, StoreOptions};
///
/// let cluster = JetStream::at("nats://a,b,c")?;
/// let store = StoreOptions::new().open_jetstream(&cluster)?;
/// store.create_stream("clicks", 4)?.put("user-42", b"{}")?; // on the disks of two servers at least
/// # store.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct JetStream {
    /// Each with its scheme and its port.
    pub(super) servers: Vec<String>,
    pub(super) user: Option<Credentials>,
    pub(super) store: String,
    pub(super) replicas: usize,
    pub(super) credentials_file: Option<PathBuf>,
    pub(super) root_certificates_file: Option<PathBuf>,
    /// Addresses with a port.
    pub(super) monitors: Vec<String>,
    pub(super) trusts_sync: bool,
    pub(super) takes_over: bool,
    /// Of a server that takes calls of others once it has the store.
    pub(super) seat: Option<Arc<Seat>>,
}

/// What a URL says of who connects.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl JetStream {
    /// The cluster with these servers: `nats://a,b:4223,c`, with commas between them, and port 4222 where there is
    /// none; `tls://` for connections that are encrypted. A user and a password may stand in front of the first:
    /// `nats://user:password@a,b,c`. The client learns of other servers of the cluster from those that it reaches.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for anything else.
    pub fn at(url: &str) -> Result<Self> {
        let refused = |reason: &str| InvalidArgument::ClusterOption {
            reason: format!("a cluster is nats://HOST[:PORT],... or tls://HOST[:PORT],...: {reason}"),
        };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| refused("there is no scheme"))?;
        if !matches!(scheme, "nats" | "tls") {
            return Err(refused("the scheme is another one").into());
        }
        let (user, hosts) = match rest.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, rest),
        };
        let user = user.map(|user| match user.split_once(':') {
            Some((user, password)) => Ok(Credentials {
                user: user.to_owned(),
                password: password.to_owned(),
            }),
            None => Err(refused("a user has no password")),
        });
        let hosts: Vec<_> = hosts.trim_end_matches('/').split(',').map(str::trim).collect();
        let is_host = |host: &&str| {
            let is_char = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
            !host.is_empty() && host.chars().all(is_char)
        };
        if !hosts.iter().all(is_host) {
            return Err(refused("a host is missing, or is none").into());
        }
        let server = |host: &&str| format!("{scheme}://{}", with_port(host, PORT));
        let monitor = |host: &&str| format!("{}:{MONITOR_PORT}", without_port(host));
        Ok(Self {
            servers: hosts.iter().map(server).collect(),
            user: user.transpose()?,
            store: DEFAULT_STORE.to_owned(),
            replicas: DEFAULT_REPLICAS,
            credentials_file: None,
            root_certificates_file: None,
            monitors: hosts.iter().map(monitor).collect(),
            trusts_sync: false,
            takes_over: false,
            seat: None,
        })
    }

    /// What the store is called on the cluster, so that a cluster can have several: 1 to 32 of `a-z A-Z 0-9 -`. Its
    /// streams there are called `AB_NAME_...`, and their subjects begin with `ab.NAME.`. Default: `main`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for another name.
    pub fn store_name(mut self, name: &str) -> Result<Self> {
        let is_char = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || name.len() > MOST_NAME_CHARS || !name.chars().all(is_char) {
            return Err(InvalidArgument::ClusterOption {
                reason: format!(
                    "a store on a cluster is called by 1 to {MOST_NAME_CHARS} of a-z, A-Z, 0-9 and `-`, not {name:?}"
                ),
            }
            .into());
        }
        name.clone_into(&mut self.store);
        Ok(self)
    }

    /// On how many servers each record is kept: 1, 3 or 5. A put is acknowledged when it is on the disks of more than
    /// half of them. A store that is there with fewer is refused. Default: 3.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for another number.
    pub fn replicas(mut self, replicas: usize) -> Result<Self> {
        if replicas > MOST_REPLICAS || replicas.is_multiple_of(2) {
            return Err(InvalidArgument::ClusterOption {
                reason: format!("records are kept on 1, 3 or 5 servers, not on {replicas}"),
            }
            .into());
        }
        self.replicas = replicas;
        Ok(self)
    }

    /// A file of credentials (`.creds`) by which the cluster knows who connects. Default: none.
    #[must_use]
    pub fn credentials_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.credentials_file = Some(file.into());
        self
    }

    /// A file of certificates (PEM) of those who may vouch for the cluster's servers, besides those whom the system
    /// trusts. Default: none.
    #[must_use]
    pub fn root_certificates_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.root_certificates_file = Some(file.into());
        self
    }

    /// Where the servers say how they are set up: the host and port of `http:` in their configuration, of each of them.
    /// Default: port 8222 of the hosts that the store was given.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for what is not `http://HOST:PORT`, or none at all.
    pub fn monitors(mut self, urls: &[impl AsRef<str>]) -> Result<Self> {
        let addresses = urls.iter().map(|url| {
            let address = url.as_ref().strip_prefix("http://")?.trim_end_matches('/');
            let is_address = address.contains(':') && !address.contains('/');
            is_address.then(|| address.to_owned())
        });
        let addresses: Option<Vec<_>> = addresses.collect();
        self.monitors = addresses
            .filter(|addresses| !addresses.is_empty())
            .ok_or_else(|| InvalidArgument::ClusterOption {
                reason: "the monitor of a server is http://HOST:PORT".to_owned(),
            })?;
        Ok(self)
    }

    /// The caller vouches for what the servers are then not asked: that each of them has `sync_interval: always`.
    /// Without that a power cut can take acknowledged records, and whole streams. Default: the servers are asked, and
    /// the store is not opened if one says otherwise.
    #[must_use]
    pub fn trust_sync(mut self) -> Self {
        self.trusts_sync = true;
        self
    }

    /// Has the opener say of itself what this seat says.
    #[cfg(feature = "server")]
    pub(crate) fn seated(mut self, seat: Arc<Seat>) -> Self {
        self.seat = Some(seat);
        self
    }

    /// Takes the store from an opener that still answers, as if that had been cut off. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn take_over(mut self) -> Self {
        self.takes_over = true;
        self
    }
}

/// The servers, without a user and a password.
impl std::fmt::Display for JetStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts = self.servers.iter().enumerate().map(|(place, server)| {
            let host = server.split_once("://").map_or(server.as_str(), |(_, host)| host);
            if place == 0 { server.as_str() } else { host }
        });
        f.write_str(&hosts.collect::<Vec<_>>().join(","))
    }
}

/// An address of IPv6 stands in brackets.
fn with_port(host: &str, port: &str) -> String {
    match has_port(host) {
        true => host.to_owned(),
        false => format!("{host}:{port}"),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, _)) if has_port(host) => name,
        _ => host,
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_their_monitors_are_told_from_the_url() {
        let cluster = JetStream::at("nats://a,b:4333,[::1],[::1]:4334").unwrap();
        assert_eq!(
            cluster.servers,
            [
                "nats://a:4222",
                "nats://b:4333",
                "nats://[::1]:4222",
                "nats://[::1]:4334"
            ]
        );
        assert_eq!(cluster.monitors, ["a:8222", "b:8222", "[::1]:8222", "[::1]:8222"]);
        let cluster = JetStream::at("tls://me:secret@a").unwrap();
        assert_eq!(cluster.servers, ["tls://a:4222"]);
        assert!(!format!("{cluster:?} {cluster}").contains("secret"));
        let cluster = JetStream::at("nats://a,b").unwrap();
        assert_eq!(cluster.to_string(), "nats://a:4222,b:4222");
    }

    #[test]
    fn what_is_no_cluster_is_refused() {
        for url in [
            "a,b",
            "http://a",
            "nats://",
            "nats://a,,b",
            "nats://me@a",
            "nats://a b",
        ] {
            assert!(JetStream::at(url).is_err(), "{url}");
        }
        let cluster = || JetStream::at("nats://a").unwrap();
        for name in ["", "a_b", "a.b", "a b", &"a".repeat(33)] {
            assert!(cluster().store_name(name).is_err(), "{name}");
        }
        for replicas in [0, 2, 4, 6, 7] {
            assert!(cluster().replicas(replicas).is_err(), "{replicas}");
        }
        assert!(cluster().monitors(&["a:8222"]).is_err());
        assert!(cluster().monitors(&["http://a"]).is_err());
        let none: [&str; 0] = [];
        assert!(cluster().monitors(&none).is_err());
        assert!(cluster().monitors(&["http://a:8222/"]).is_ok());
    }
}
