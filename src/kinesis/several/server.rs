use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::task::spawn_blocking;

use super::ownership::{Ownership, TakeOverError};
use super::passing::Passing;
use super::roles::Roles;
use super::succession::{ServerParts, Succession};
use crate::admin::{AdminAddress, Desk, ForwardingPages};
use crate::backend::jetstream::Owners;
use crate::forward::PeerAddress;
use crate::http::{self, Admission, HttpOptions, Resources, ServerGauges, TcpListener};
use crate::kinesis::dispatch;
use crate::kinesis::options::{AdminPlace, ServerOptions};
use crate::kinesis::request_id::UniqueNumbers;
use crate::kinesis::server::{BindError, bind_admin, listen, scope};
use crate::kinesis::service::{API, Pages};
use crate::{Error, JetStream, Result};

/// One of several servers on a cluster. Any of them takes any call: one, the owner, has the store, and the others pass
/// their calls on to it. When it is gone another one takes its place.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use anabranch::kinesis::{ClusterServer, Ownership, ServerOptions};
/// use anabranch::{Delivery, JetStream, Store, StoreOptions};
///
/// struct WithDefaults;
///
/// impl Ownership for WithDefaults {
///     type Failure = std::convert::Infallible;
///
///     fn open(&self, at: &JetStream) -> anabranch::Result<Store> {
///         StoreOptions::new().open_jetstream(at)
///     }
///
///     fn prepare(&self, _: &Store) -> Result<Option<Arc<Delivery>>, Self::Failure> {
///         Ok(None)
///     }
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = JetStream::at("nats://a,b,c")?;
/// let options = ServerOptions::new("10.0.0.5:4567");
/// let server = ClusterServer::bind(cluster, WithDefaults, options, None).await?;
/// let server = server.begin().await?;
/// println!("{:?}", server.role());
/// # let ctrl_c = async {};
/// server.run_until(ctrl_c).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ClusterServer<O> {
    at: JetStream,
    ownership: O,
    bound: Bound,
    parts: ServerParts,
}

/// A server that has found the owner, or is the owner itself.
#[derive(Debug)]
pub struct BegunServer<O> {
    bound: Bound,
    role: Role,
    succession: Succession<O>,
}

/// The role of a server on a cluster at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It has the store.
    Owner {
        /// How many shards are open, of all streams.
        open_shards: u64,
    },
    /// It passes calls on.
    Forwarding {
        /// The address of the server that has the store, if that server is ready for calls.
        owner: Option<String>,
    },
}

/// The listening sockets.
#[derive(Debug)]
struct Bound {
    listener: TcpListener,
    admin: Option<AdminAddress>,
    roles: Arc<Roles>,
    http: HttpOptions,
}

impl<O: Ownership> ClusterServer<O> {
    /// Listens, but accepts no connection before [`run_until`](BegunServer::run_until). Needs a tokio runtime with I/O
    /// and time enabled. `advertised` is the address at which the other servers reach this one, as `http://HOST:PORT`
    /// or, with TLS, `https://HOST:PORT`. Without it, that is the address it listens on.
    ///
    /// # Errors
    /// If the server cannot listen on the address, or an option is invalid.
    pub async fn bind(
        at: JetStream,
        ownership: O,
        options: ServerOptions,
        advertised: Option<String>,
    ) -> std::result::Result<ClusterServer<O>, BindError> {
        let scope = scope(&options)?;
        let (listener, admission) = listen(&options).await?;
        let url = address_for_others(&options, advertised, listener.addresses())?;
        let parts = ServerParts {
            scope,
            calls: Arc::new(dispatch::calls()),
            http: Arc::new(Resources::new(&options.http)),
            url,
            certificate: options.http.tls.as_ref().map(|tls| tls.certificate().to_vec()),
            most_passed_on: Arc::new(Semaphore::new(options.max_forwarded_calls)),
            options,
        };
        let passing = passing(&parts, admission);
        let desk = Desk::showing(passing.shown());
        let admin = bind_admin(&parts.options, Arc::clone(&desk)).await?;
        let roles = Arc::new(Roles {
            passing,
            owned: RwLock::default(),
            desk,
        });
        let bound = Bound {
            listener,
            admin,
            roles,
            http: parts.options.http.clone(),
        };
        Ok(ClusterServer {
            at,
            ownership,
            bound,
            parts,
        })
    }

    /// Asks on the cluster which server has the store, and opens the store if no server answers.
    ///
    /// # Errors
    /// If the cluster cannot be reached, or does not meet the requirements; if the store cannot be opened.
    /// [`Error::InUse`] if the program that has it takes no calls from others.
    pub async fn begin(self) -> std::result::Result<BegunServer<O>, TakeOverError<O::Failure>> {
        let ClusterServer {
            at,
            ownership,
            bound,
            parts,
        } = self;
        let cluster = at.clone();
        let connected = spawn_blocking(move || Owners::connect(&cluster)).await;
        let owners = connected
            .unwrap_or(Err(Error::Closed))
            .map_err(TakeOverError::Store)?;
        let mut succession = Succession {
            ownership: Arc::new(ownership),
            at,
            news: owners.listen().await.map_err(TakeOverError::Store)?,
            owners,
            roles: Arc::clone(&bound.roles),
            of_server: parts,
            highest_term: 0,
            held: None,
            last: None,
        };
        succession.begin().await?;
        let role = match succession.open_shards() {
            Some(open_shards) => Role::Owner {
                open_shards: open_shards.map_err(TakeOverError::Store)?,
            },
            None => Role::Forwarding {
                owner: succession.owner_url().map(str::to_owned),
            },
        };
        Ok(BegunServer {
            bound,
            role,
            succession,
        })
    }

    /// The address on which the server listens, with its actual port: the first one, if its name has several.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addrs()[0]
    }

    /// All addresses on which the server listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.bound.listener.addresses()
    }

    /// The address of the pages for people who run the server, if they have an
    /// [address of their own](ServerOptions::admin_listen).
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.bound.admin.as_ref().map(|admin| admin.addresses()[0])
    }
}

impl<O: Ownership> BegunServer<O> {
    /// The role of the server before it [serves](BegunServer::run_until).
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// Serves until `shutdown` is ready, in any role. Then no more connections are accepted, complete requests are
    /// answered within the [grace](ServerOptions::shutdown_grace), and all connections are closed. If this server has
    /// the store, it closes the store too, and the next owner takes it at once.
    ///
    /// # Errors
    /// Those of closing the store.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> Result<()> {
        let BegunServer {
            bound,
            mut succession,
            ..
        } = self;
        let (stop, stopped) = oneshot::channel::<()>();
        let resources = Arc::clone(&bound.roles.passing.http);
        let serving = http::serve_until(bound.listener, bound.roles, resources, &bound.http, async {
            drop(stopped.await);
        });
        let keeping = async {
            tokio::select! {
                biased;
                () = shutdown => {}
                () = succession.run() => {}
            }
            succession.leave().await;
            drop(stop);
        };
        let serving = async {
            match bound.admin {
                Some(admin) => admin.serve_beside(serving).await,
                None => serving.await,
            }
        };
        tokio::join!(serving, keeping);
        succession.end().await
    }
}

fn passing(parts: &ServerParts, admission: Admission) -> Passing {
    let options = &parts.options;
    let gauges = ServerGauges::new(Arc::clone(&parts.http));
    Passing {
        admission,
        http: Arc::clone(&parts.http),
        calls: Arc::clone(&parts.calls),
        pages: Arc::new(ForwardingPages::new(API, Arc::clone(&parts.calls), gauges)),
        pages_here: Pages::of(options),
        has_console: options.has_console && options.admin != AdminPlace::Off,
        request_ids: UniqueNumbers::new(options.simulated),
        owner: watch::Sender::new(None),
        is_owner_wanted: Notify::new(),
        warned: Mutex::default(),
    }
}

/// The address at which the other servers reach this one.
fn address_for_others(
    options: &ServerOptions,
    advertised: Option<String>,
    addresses: &[SocketAddr],
) -> std::result::Result<String, BindError> {
    let is_tls = options.http.tls.is_some();
    let Some(url) = advertised else {
        let address = addresses[0];
        let scheme = if is_tls { "https" } else { "http" };
        return match address.ip().is_unspecified() {
            true => Err(BindError::NoAdvertisedAddress { address }),
            false => Ok(format!("{scheme}://{address}")),
        };
    };
    let reason = match PeerAddress::parse(&url) {
        None => "expected http://HOST:PORT or https://HOST:PORT",
        Some(address) if address.is_tls() && !is_tls => "the server does not speak TLS, which https is",
        Some(address) if !address.is_tls() && is_tls => "the server speaks TLS, which is https",
        Some(_) => return Ok(url),
    };
    Err(BindError::AdvertisedAddress { url, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_servers_are_told_what_is_listened_on_or_what_was_given() {
        let options = ServerOptions::new("127.0.0.1:0");
        let told = |advertised: Option<&str>, address: &str| {
            let addresses = [address.parse().unwrap()];
            address_for_others(&options, advertised.map(str::to_owned), &addresses)
        };
        assert_eq!(told(None, "127.0.0.1:4567").unwrap(), "http://127.0.0.1:4567");
        assert_eq!(told(None, "[::1]:4567").unwrap(), "http://[::1]:4567");
        assert_eq!(told(Some("http://a:1"), "0.0.0.0:4567").unwrap(), "http://a:1");
        for address in ["0.0.0.0:4567", "[::]:4567"] {
            let refused = told(None, address).unwrap_err();
            assert!(
                matches!(refused, BindError::NoAdvertisedAddress { .. }),
                "{refused}"
            );
        }
        for url in ["a:1", "https://a:1", "http://a:1/b", ""] {
            let refused = told(Some(url), "127.0.0.1:4567").unwrap_err();
            assert!(
                matches!(refused, BindError::AdvertisedAddress { .. }),
                "{refused}"
            );
        }
    }
}
