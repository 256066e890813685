use std::future::Future;
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
use crate::admin::{AdminAddress, Desk, Shown};
use crate::http::{self, Admission, ListenError, Listener, RuleError, ServerGauges, TcpListener};

/// Serves a store over HTTP/1.1 and HTTP/2 (with prior knowledge, or as TLS agrees on it): on one port, or on what another [`Listener`] takes
/// connections from.
#[derive(Debug)]
pub struct Server<L = TcpListener> {
    listener: L,
    service: Arc<Service>,
    /// Where the pages are for those who run the server, if that is not beside the API.
    admin: Option<AdminAddress>,
    options: ServerOptions,
}

/// Why a server cannot be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is no host and port, or its host is not known.
    #[error("cannot find the address {listen}: {source}; expected a host and a port, as in 127.0.0.1:4567")]
    Address {
        /// What was to be listened on.
        listen: String,
        /// What went wrong.
        source: io::Error,
    },
    /// Another program listens on the port.
    #[error("{address} is taken by another program; stop that one, or listen on another port")]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system does not let us listen there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// An account id is twelve digits.
    #[error("{account_id:?} is not an account id; expected twelve digits, as in 000000000000")]
    AccountId {
        /// What was given.
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
    /// The [address](ServerOptions::admin_listen) of the pages for those who run the server cannot be listened on.
    #[error("the address for health and metrics: {source}")]
    Admin {
        /// Why not.
        source: Box<BindError>,
    },
    /// Other machines can reach the address of these pages and of the console, where no signature is asked for.
    #[error(
        "other machines can reach {address}: everyone there could see the server's numbers, and its streams and records in the console"
    )]
    AdminBeyondLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// A host that is to be let in is none.
    #[error("{host:?} is no host; expected a name or an address without a port, *.NAME, or *")]
    Host {
        /// What was given.
        host: String,
    },
    /// An origin that is to be let in is none.
    #[error("{origin:?} is no origin; expected http://HOST[:PORT], https://HOST[:PORT], null, or *")]
    Origin {
        /// What was given.
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
    /// A fault is about an operation that does not exist.
    #[error("there is no operation {operation:?} that a fault could be about")]
    FaultOperation {
        /// What was given.
        operation: String,
    },
    /// A fault answers with what an operation never answers with.
    #[error("the operation {operation} has no exception {exception:?} that a fault could answer with")]
    FaultException {
        /// The operation.
        operation: String,
        /// What was given.
        exception: String,
    },
    /// The region does not look like one.
    #[error("{region:?} is not the name of a region; expected something like us-east-1")]
    Region {
        /// What was given.
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
    /// If the address cannot be listened on, or an option makes no sense.
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

    /// Where the pages are for those who run the server, with the port that it got, if they have an
    /// [address of their own](ServerOptions::admin_listen): the first one, if that is a name with several.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.addresses()[0])
    }

    /// Where the server listens, with the port that it got: the first address, if it was told a name with several.
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
    /// If an option makes no sense.
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

    /// What the server holds at any moment, also while it runs.
    pub fn gauges(&self) -> ServerGauges {
        ServerGauges::new(Arc::clone(&self.service.http))
    }

    /// Serves until `shutdown` is ready. Then no more connections are accepted, requests that have come as a whole are
    /// answered within the [grace](ServerOptions::shutdown_grace), and all connections are closed. Pages on an
    /// [address of their own](ServerOptions::admin_listen) are there until then. The store stays open.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        let resources = Arc::clone(&self.service.http);
        let serving = http::serve_until(
            self.listener,
            self.service,
            resources,
            &self.options.http,
            shutdown,
        );
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
    /// If the account id or the region is none.
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

/// The address of the pages for those who run the server, if they have one of their own.
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

/// An address that other machines can reach, if there is one.
fn beyond_loopback(listener: &TcpListener) -> Option<SocketAddr> {
    let mut addresses = listener.addresses().iter();
    addresses.find(|address| !address.ip().is_loopback()).copied()
}

/// Whom the options let in. A name that is listened on is one of ours.
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
        // An address, of which the listener knows more, or nothing that could be listened on.
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

/// The scope of requests that do not say another one.
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
