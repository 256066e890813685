use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;

use super::arn::is_account_id;
use super::dispatch;
use super::options::{AdminPlace, ServerOptions};
use super::scope::Scope;
use super::service::Service;
use crate::Store;
use crate::admin::{AdminAddress, Desk, Shown, tell_of_hanging_syncs};
use crate::http::{self, Admission, ListenError, Listener, RuleError, ServerGauges, TcpListener};

/// Serves a store over HTTP/1.1 and HTTP/2 (with prior knowledge, or by agreement in TLS), on one port, or over another
/// [`Listener`].
#[derive(Debug)]
pub struct Server<L = TcpListener> {
    listener: L,
    service: Arc<Service>,
    /// The address of the pages for people who run the server, if they are not beside the API.
    admin: Option<AdminAddress>,
    options: ServerOptions,
}

/// Why a server cannot be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is not a host and a port, or its host is not known.
    #[error("cannot find the address {listen}: {source}; expected a host and a port, as in 127.0.0.1:4567")]
    Address {
        /// The text of the address.
        listen: String,
        /// The system's error.
        source: io::Error,
    },
    /// Another program listens on the port.
    #[error("{address} is taken by another program; stop that one, or listen on another port")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system does not allow listening there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The account id is not twelve digits.
    #[error("{account_id:?} is not an account id; expected twelve digits, as in 000000000000")]
    AccountId {
        /// The text that was given.
        account_id: String,
    },
    /// Other machines can reach the address, and signatures are not verified.
    #[error(
        "other machines can reach {address}, and without credentials signatures are not verified: everyone there could \
         read and write all streams"
    )]
    Unsigned {
        /// The address.
        address: SocketAddr,
    },
    /// Listening on the [address](ServerOptions::admin_listen) of the pages for people who run the server failed.
    #[error("the address for health and metrics: {source}")]
    Admin {
        /// The reason.
        source: Box<BindError>,
    },
    /// Other machines can reach the address of these pages and of the console, where no signature is required.
    #[error(
        "other machines can reach {address}: everyone there could see the server's numbers, and its streams and records in the console"
    )]
    AdminBeyondLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// A host to admit is invalid.
    #[error("{host:?} is no host; expected a name or an address without a port, *.NAME, or *")]
    Host {
        /// The text that was given.
        host: String,
    },
    /// An origin to admit is invalid.
    #[error("{origin:?} is no origin; expected http://HOST[:PORT], https://HOST[:PORT], null, or *")]
    Origin {
        /// The text that was given.
        origin: String,
    },
    /// A server on a cluster that listens on all addresses of its machine cannot know at which others reach it.
    #[error(
        "the other servers on the cluster have to know where to reach this one, and {address} says no host of it"
    )]
    NoAdvertisedAddress {
        /// The address that is listened on.
        address: SocketAddr,
    },
    /// The address that other servers on the cluster are to be told is none.
    #[error("{url:?} is no address for other servers: {reason}")]
    AdvertisedAddress {
        /// What was given.
        url: String,
        /// Why it is none.
        reason: &'static str,
    },
    /// A fault names an operation that does not exist.
    #[error("there is no operation {operation:?} that a fault could be about")]
    FaultOperation {
        /// The name that was given.
        operation: String,
    },
    /// A fault names an exception that its operation does not have.
    #[error("the operation {operation} has no exception {exception:?} that a fault could answer with")]
    FaultException {
        /// The operation.
        operation: String,
        /// The name that was given.
        exception: String,
    },
    /// The region does not have the form of one.
    #[error("{region:?} is not the name of a region; expected something like us-east-1")]
    Region {
        /// The text that was given.
        region: String,
    },
}

impl From<ListenError> for BindError {
    fn from(error: ListenError) -> BindError {
        match error {
            ListenError::Address { listen, source } => BindError::Address { listen, source },
            ListenError::InUse { address } => BindError::InUse { address },
            ListenError::Listen { address, source } => BindError::Listen { address, source },
        }
    }
}

impl From<RuleError> for BindError {
    fn from(error: RuleError) -> BindError {
        match error {
            RuleError::Host { host } => BindError::Host { host },
            RuleError::Origin { origin } => BindError::Origin { origin },
        }
    }
}

impl Server {
    /// Listens, but accepts no connection before [`run_until`](Server::run_until). Needs a tokio runtime with I/O and
    /// time enabled.
    ///
    /// # Errors
    /// If listening on the address fails, or an option is invalid.
    pub async fn bind(store: Store, options: ServerOptions) -> Result<Server, BindError> {
        let scope = scope(&options)?;
        let (listener, admission) = listen(&options).await?;
        let server = Server::new(store, scope, admission, options, listener);
        let service = &server.service;
        let desk = Desk::showing(Shown::Store {
            admin: Arc::clone(&service.admin),
            console: service.console.clone(),
        });
        let admin = bind_admin(&server.options, desk).await?;
        Ok(Server { admin, ..server })
    }

    /// The address of the pages for people who run the server, with its actual port, if they have an
    /// [address of their own](ServerOptions::admin_listen): the first one, if that is a name with several.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.addresses()[0])
    }

    /// The address of the server, with its actual port: the first one, if its name has several.
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.addresses()[0]
    }

    /// All addresses on which the server listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.listener.addresses()
    }
}

impl<L: Listener> Server<L> {
    /// A server that takes its connections from `listener`, and not from the address in `options`. Needs a tokio
    /// runtime with time enabled.
    ///
    /// # Errors
    /// If an option is invalid.
    pub fn over(listener: L, store: Store, options: ServerOptions) -> Result<Server<L>, BindError> {
        let scope = scope(&options)?;
        let admission = admission(&options, &options.listen)?;
        check_faults(&options)?;
        Ok(Server::new(store, scope, admission, options, listener))
    }

    fn new(
        store: Store,
        scope: Scope,
        admission: Admission,
        options: ServerOptions,
        listener: L,
    ) -> Server<L> {
        Server {
            listener,
            service: Arc::new(Service::new(store, scope, admission, dispatch::calls(), &options)),
            admin: None,
            options,
        }
    }

    /// The present counts of the server, also while it runs.
    pub fn gauges(&self) -> ServerGauges {
        ServerGauges::new(Arc::clone(&self.service.http))
    }

    /// Serves until `shutdown` is ready. After that no more connections are accepted, requests that have arrived
    /// completely are answered within the [grace](ServerOptions::shutdown_grace), and all connections are closed. Pages
    /// on an [address of their own](ServerOptions::admin_listen) are served until then. The store stays open.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        let resources = Arc::clone(&self.service.http);
        let store = self.service.store.clone();
        let serving = http::serve_until(
            self.listener,
            self.service,
            resources,
            &self.options.http,
            shutdown,
        );
        let serving = while_hanging_syncs_are_told(&store, serving);
        match self.admin {
            Some(admin) => admin.serve_beside(serving).await,
            None => serving.await,
        }
    }
}

impl ServerOptions {
    /// The [namespace](crate::Store::namespace) of the streams of the [account](ServerOptions::account_id) in the
    /// [region](ServerOptions::region) of these options: `000000000000/us-east-1`.
    ///
    /// ```
    /// use anabranch::Store;
    /// use anabranch::kinesis::ServerOptions;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let store = Store::open(directory.path().join("data"))?;
    /// let streams = store.namespace(&ServerOptions::new("127.0.0.1:0").namespace()?)?;
    /// // A server that is bound with these options serves it.
    /// streams.create_stream("clicks", 2)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the account id or the region is invalid.
    pub fn namespace(&self) -> Result<String, BindError> {
        scope(self).map(|scope| scope.namespace())
    }
}

/// Listens where the options say. Gives whom they let in there, too.
pub(super) async fn listen(options: &ServerOptions) -> Result<(TcpListener, Admission), BindError> {
    let admission = admission(options, &options.listen)?;
    check_faults(options)?;
    let listener = TcpListener::bind(&options.listen).await?;
    let is_open = options.credentials.is_none() && !options.allow_unsigned_beyond_loopback;
    if let Some(address) = beyond_loopback(&listener).filter(|_| is_open) {
        return Err(BindError::Unsigned { address });
    }
    let admission = admission.listening_on(listener.addresses());
    Ok((listener, admission))
}

/// Listens on the address of the pages for people who run the server, if they have an address of their own.
pub(super) async fn bind_admin(
    options: &ServerOptions,
    desk: Arc<Desk>,
) -> Result<Option<AdminAddress>, BindError> {
    let AdminPlace::Address(listen) = &options.admin else {
        return Ok(None);
    };
    let admission = admission(options, listen)?;
    let bound = TcpListener::bind(listen).await;
    let listener = bound.map_err(|error| BindError::Admin {
        source: Box::new(error.into()),
    })?;
    if let Some(address) = beyond_loopback(&listener).filter(|_| !options.allow_unsigned_beyond_loopback) {
        return Err(BindError::AdminBeyondLoopback { address });
    }
    Ok(Some(AdminAddress::new(listener, desk, admission, &options.http)))
}

async fn while_hanging_syncs_are_told(store: &Store, serving: impl Future<Output = ()>) {
    let telling = async {
        tell_of_hanging_syncs(store).await;
        // The store is closed, and the server goes on to say so.
        pending::<()>().await;
    };
    tokio::select! {
        // So that a simulated server does the same in each run.
        biased;
        () = serving => {}
        () = telling => {}
    }
}

/// An address that other machines can reach, if there is one.
fn beyond_loopback(listener: &TcpListener) -> Option<SocketAddr> {
    let mut addresses = listener.addresses().iter();
    addresses.find(|address| !address.ip().is_loopback()).copied()
}

/// The hosts and origins that the options admit. A name that is listened on is one of ours.
fn admission(options: &ServerOptions, listen: &str) -> Result<Admission, RuleError> {
    let mut admission = Admission::default().certified_as(options.http.tls.clone());
    for host in &options.allowed_hosts {
        admission = admission.allow_host(host)?;
    }
    for origin in &options.allowed_origins {
        admission = admission.allow_origin(origin)?;
    }
    let listened_on = listen.rsplit_once(':').map(|(host, _)| host);
    match listened_on.map(|host| admission.clone().allow_host(host)) {
        Some(Ok(admission)) => Ok(admission),
        // An address, which the listener knows better, or something that cannot be listened on.
        _ => Ok(admission),
    }
}

fn check_faults(options: &ServerOptions) -> Result<(), BindError> {
    for fault in &options.faults {
        let named = fault.operation().map(|name| (name, dispatch::operation(name)));
        match named {
            Some((name, None)) => {
                return Err(BindError::FaultOperation {
                    operation: name.to_owned(),
                });
            }
            Some((name, Some(operation))) => {
                let wanted = fault.exception();
                if let Some(exception) = wanted.filter(|wanted| !operation.errors.contains(wanted)) {
                    return Err(BindError::FaultException {
                        operation: name.to_owned(),
                        exception: exception.to_owned(),
                    });
                }
            }
            None => {}
        }
    }
    Ok(())
}

/// The scope of requests without another one.
pub(super) fn scope(options: &ServerOptions) -> Result<Scope, BindError> {
    let (account_id, region) = (&options.account_id, &options.region);
    if !is_account_id(account_id) {
        return Err(BindError::AccountId {
            account_id: account_id.clone(),
        });
    }
    Scope::new(account_id, region).ok_or_else(|| BindError::Region {
        region: region.clone(),
    })
}
