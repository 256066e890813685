use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;

use super::arn;
use super::options::ServerOptions;
use super::service::Service;
use crate::Store;
use crate::http::{self, ListenError, Listener, ServerGauges, TcpListener};

/// Serves a store over HTTP/1.1 and HTTP/2 (with prior knowledge): on one port, or on what another [`Listener`] takes
/// connections from.
#[derive(Debug)]
pub struct Server<L = TcpListener> {
    listener: L,
    service: Arc<Service>,
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

impl Server {
    /// Listens, but accepts no connection before [`run_until`](Server::run_until). Needs a tokio runtime with I/O and
    /// time enabled.
    ///
    /// # Errors
    /// If the address cannot be listened on, or an option makes no sense.
    pub async fn bind(store: Store, options: ServerOptions) -> Result<Server, BindError> {
        check(&options)?;
        let listener = TcpListener::bind(&options.listen).await?;
        Ok(Server::new(store, options, listener))
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
        check(&options)?;
        Ok(Server::new(store, options, listener))
    }

    fn new(store: Store, options: ServerOptions, listener: L) -> Server<L> {
        Server {
            listener,
            service: Arc::new(Service::new(store, &options)),
            options,
        }
    }

    /// What the server holds at any moment, also while it runs.
    pub fn gauges(&self) -> ServerGauges {
        ServerGauges::new(Arc::clone(&self.service.http))
    }

    /// Serves until `shutdown` is ready. Then no more connections are accepted, requests that have come as a whole are
    /// answered within the [grace](ServerOptions::shutdown_grace), and all connections are closed. The store stays
    /// open.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        let resources = Arc::clone(&self.service.http);
        http::serve_until(
            self.listener,
            self.service,
            resources,
            &self.options.http,
            shutdown,
        )
        .await;
    }
}

fn check(options: &ServerOptions) -> Result<(), BindError> {
    let account_id = &options.account_id;
    if account_id.len() != 12 || !account_id.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BindError::AccountId {
            account_id: account_id.clone(),
        });
    }
    if !arn::is_region(&options.region) {
        return Err(BindError::Region {
            region: options.region.clone(),
        });
    }
    Ok(())
}
