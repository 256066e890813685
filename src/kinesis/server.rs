use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, info, trace, warn};

use super::arn;
use super::connection::Connection;
use super::http;
use super::options::ServerOptions;
use super::service::Service;
use crate::Store;

/// Serves a store over HTTP/1.1 and HTTP/2 (with prior knowledge) on one port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
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

impl Server {
    /// Listens, but accepts no connection before [`run_until`](Server::run_until). Needs a tokio runtime with I/O and
    /// time enabled.
    ///
    /// # Errors
    /// If the address cannot be listened on, or an option makes no sense.
    pub async fn bind(store: Store, options: ServerOptions) -> Result<Server, BindError> {
        let account_id = &options.account_id;
        if account_id.len() != 12 || !account_id.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BindError::AccountId {
                account_id: account_id.clone(),
            });
        }
        if !arn::is_region(&options.region) {
            return Err(BindError::Region {
                region: options.region,
            });
        }
        let listener = listen(&options.listen).await?;
        let local_addr = listener.local_addr().map_err(|source| BindError::Address {
            listen: options.listen.clone(),
            source,
        })?;
        let service = Arc::new(Service::new(store, &options));
        Ok(Server {
            listener,
            local_addr,
            service,
            options,
        })
    }

    /// Where the server listens, with the port that it got.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown` is ready. Then no more connections are accepted, requests that have come are answered
    /// within the [grace](ServerOptions::shutdown_grace), and all connections are closed. The store stays open.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        let Server {
            listener,
            service,
            options,
            ..
        } = self;
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(
            options.max_connections.clamp(1, Semaphore::MAX_PERMITS),
        ));
        let builder = Arc::new(connection_builder(&options));
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let place = async {
                // The semaphore is never closed.
                Arc::clone(&places).acquire_owned().await.ok()
            };
            let accepted = async { (place.await, listener.accept().await) };
            let (place, accepted) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = accepted => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    trace!(%peer, "connection accepted");
                    let connection = Connection::new(stream, options.idle_timeout, options.stall_timeout);
                    let serving = serve(
                        connection,
                        peer,
                        builder.clone(),
                        graceful.watcher(),
                        service.clone(),
                    );
                    connections.spawn(async move {
                        serving.await;
                        drop(place);
                    });
                }
                Err(error) => accept_failed(&error).await,
            }
        }
        drop(listener);
        finish(graceful, connections, options.shutdown_grace).await;
    }
}

async fn listen(address: &str) -> Result<TcpListener, BindError> {
    let unknown = |source| BindError::Address {
        listen: address.to_owned(),
        source,
    };
    let mut failure = unknown(io::Error::new(io::ErrorKind::NotFound, "no such host"));
    for address in lookup_host(address).await.map_err(unknown)? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                return Err(BindError::InUse { address });
            }
            Err(source) => failure = BindError::Listen { address, source },
        }
    }
    Err(failure)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: u32 = 1024;
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A server that is started again at once finds its port free; two at the same time still cannot share it.
    socket.set_reuseaddr(true)?;
    // Connections inherit these.
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept_failed(error: &io::Error) {
    const PAUSE: Duration = Duration::from_millis(50);
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    // Most likely all file descriptors are in use: that passes, but not by trying at once.
    warn!(%error, "cannot accept a connection");
    tokio::time::sleep(PAUSE).await;
}

fn connection_builder(options: &ServerOptions) -> auto::Builder<TokioExecutor> {
    const STREAM_WINDOW: u32 = 1 << 20;
    const CONNECTION_WINDOW: u32 = 4 << 20;
    const PING_INTERVAL: Duration = Duration::from_secs(60);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The time for a request's head also counts while a connection waits for its next request.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_INTERVAL);
    builder
}

async fn serve(
    connection: Connection,
    peer: SocketAddr,
    builder: Arc<auto::Builder<TokioExecutor>>,
    watcher: Watcher,
    service: Arc<Service>,
) {
    let answer = service_fn(move |request| http::answer(service.clone(), request));
    let serving = builder
        .serve_connection(TokioIo::new(connection), answer)
        .into_owned();
    if let Err(error) = watcher.watch(serving).await {
        debug!(%peer, %error, "connection ended");
    }
}

async fn finish(graceful: GracefulShutdown, mut connections: JoinSet<()>, grace: Duration) {
    let open = connections.len();
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        warn!(
            connections = connections.len(),
            "requests did not finish in time; their connections are cut"
        );
    }
    connections.shutdown().await;
    info!(connections = open, "all connections are closed");
}
