use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, trace, warn};

use super::arn;
use super::connections::{Connection, ConnectionMemory, Connections, Stop};
use super::gauges::ServerGauges;
use super::http;
use super::http2_streams::StreamExecutor;
use super::listeners::{AcceptError, Listeners};
use super::options::ServerOptions;
use super::reply_memory::ReplyMemory;
use super::service::Service;
use super::socket::Socket;
use crate::Store;

/// Serves a store over HTTP/1.1 and HTTP/2 (with prior knowledge) on one port.
#[derive(Debug)]
pub struct Server {
    listeners: Listeners,
    service: Arc<Service>,
    connections: Arc<Connections>,
    stop: Arc<Stop>,
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
        let listeners = Listeners::bind(&options.listen).await?;
        let stop = Arc::new(Stop::default());
        let service = Arc::new(Service::new(store, &options, Arc::clone(&stop)));
        let connections = Arc::new(Connections::new(ConnectionMemory {
            requests: options
                .max_connection_request_bytes
                .max(options.max_request_bytes),
            replies: options.max_connection_reply_bytes.max(ReplyMemory::LARGEST),
        }));
        Ok(Server {
            listeners,
            service,
            connections,
            stop,
            options,
        })
    }

    /// Where the server listens, with the port that it got: the first address, if it was told a name with several.
    pub fn local_addr(&self) -> SocketAddr {
        self.listeners.addresses()[0]
    }

    /// All addresses on which the server listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.listeners.addresses()
    }

    /// What the server holds at any moment, also while it runs.
    pub fn gauges(&self) -> ServerGauges {
        ServerGauges::new(&self.service, &self.connections)
    }

    /// Serves until `shutdown` is ready. Then no more connections are accepted, requests that have come as a whole are
    /// answered within the [grace](ServerOptions::shutdown_grace), and all connections are closed. The store stays
    /// open.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) {
        let Server {
            listeners,
            service,
            connections,
            stop,
            options,
        } = self;
        let mut serving = Serving {
            service,
            connections,
            graceful: GracefulShutdown::new(),
            tasks: JoinSet::new(),
            closed_for_others: ClosedForOthers::default(),
            options,
        };
        tokio::select! {
            biased;
            () = shutdown => {}
            () = serving.run(listeners) => {}
        }
        stop.begin();
        serving.finish().await;
    }
}

/// A server that runs.
struct Serving {
    service: Arc<Service>,
    connections: Arc<Connections>,
    graceful: GracefulShutdown,
    tasks: JoinSet<()>,
    closed_for_others: ClosedForOthers,
    options: ServerOptions,
}

impl Serving {
    /// Takes connections and looks after them, and never ends.
    async fn run(&mut self, mut listeners: Listeners) {
        let stall = self.options.stall_timeout;
        let mut checks = interval((stall / 4).clamp(Duration::from_millis(5), Duration::from_secs(5)));
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                _ = checks.tick() => {
                    self.connections.give_up_stalled(stall);
                    self.closed_for_others.tell();
                }
                accepted = listeners.accept() => match accepted {
                    Ok((stream, peer)) => {
                        self.make_place(&mut checks).await;
                        self.serve(stream, peer);
                    }
                    Err(error) => self.accept_failed(error, &mut listeners).await,
                },
            }
        }
    }

    fn serve(&mut self, stream: TcpStream, peer: SocketAddr) {
        trace!(%peer, "connection accepted");
        let socket = Socket::new(stream, self.options.idle_timeout, self.options.stall_timeout);
        let connection = self.connections.add();
        let connections = Arc::clone(&self.connections);
        let serving = serve(
            socket,
            peer,
            connection_builder(&self.options, &connection),
            self.graceful.watcher(),
            Arc::clone(&self.service),
            Arc::clone(&connection),
        );
        self.tasks.spawn(async move {
            let _open = OpenConnection {
                connections,
                connection,
            };
            serving.await;
        });
    }

    /// Waits until there is a place for one more connection: the longest idle one has to go, or the first one that
    /// becomes idle.
    async fn make_place(&mut self, checks: &mut tokio::time::Interval) {
        let most = self.options.max_connections.max(1);
        let mut is_one_closed = false;
        while self.tasks.len() >= most {
            let close = async {
                if is_one_closed {
                    std::future::pending::<()>().await;
                }
                self.connections.close_next_idle().await;
            };
            tokio::select! {
                biased;
                _ = self.tasks.join_next() => {}
                _ = checks.tick() => self.connections.give_up_stalled(self.options.stall_timeout),
                () = close => {
                    is_one_closed = true;
                    self.closed_for_others.idle += 1;
                }
            }
        }
        self.closed_for_others.tell();
    }

    /// The server goes on accepting, whatever happens.
    async fn accept_failed(&mut self, error: AcceptError, listeners: &mut Listeners) {
        const PAUSE: Duration = Duration::from_millis(50);
        match error {
            AcceptError::Gone => return,
            AcceptError::NoDescriptor if self.connections.close_longest_idle() => {
                self.closed_for_others.idle += 1;
                // Its descriptor is free when its task has ended.
                let _ = timeout(PAUSE, self.tasks.join_next()).await;
            }
            AcceptError::NoDescriptor => {
                if listeners.turn_one_away().await {
                    self.closed_for_others.turned_away += 1;
                } else {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            AcceptError::Other(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.closed_for_others.tell();
    }

    /// Closes all connections: those that wait for nothing at once, the others when their requests are answered, and
    /// all when the grace is over.
    async fn finish(self) {
        let Serving {
            connections,
            graceful,
            mut tasks,
            options,
            ..
        } = self;
        let open = tasks.len();
        let mut graceful = pin!(graceful.shutdown());
        let mut half_requests = interval(Stop::PATIENCE);
        // The first tick is at once: hyper closes idle connections itself, in better order.
        half_requests.tick().await;
        let all_closed = async {
            loop {
                tokio::select! {
                    biased;
                    () = graceful.as_mut() => return,
                    _ = half_requests.tick() => connections.close_all_idle(),
                }
            }
        };
        if timeout(options.shutdown_grace, all_closed).await.is_err() {
            warn!(
                connections = connections.len(),
                "requests did not finish in time; their connections are cut"
            );
        }
        tasks.shutdown().await;
        info!(connections = open, "all connections are closed");
    }
}

/// Takes a connection from the list, however its task ends.
struct OpenConnection {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.connections.remove(&self.connection);
    }
}

/// Connections that were closed because others needed what they had, and were not told of yet.
#[derive(Debug, Default)]
struct ClosedForOthers {
    idle: u64,
    turned_away: u64,
    told: Option<Instant>,
}

impl ClosedForOthers {
    /// Logs the counts, but not too often.
    fn tell(&mut self) {
        const PAUSE: Duration = Duration::from_secs(10);
        let is_recent = self.told.is_some_and(|told| told.elapsed() < PAUSE);
        if is_recent || self.idle + self.turned_away == 0 {
            return;
        }
        warn!(
            closed_idle = self.idle,
            turned_away = self.turned_away,
            "connections or descriptors are at their limit: the longest idle connections are closed for new ones"
        );
        *self = ClosedForOthers {
            told: Some(Instant::now()),
            ..ClosedForOthers::default()
        };
    }
}

fn connection_builder(
    options: &ServerOptions,
    connection: &Arc<Connection>,
) -> auto::Builder<StreamExecutor> {
    const STREAM_WINDOW: u32 = 1 << 20;
    const CONNECTION_WINDOW: u32 = 4 << 20;
    const PING_INTERVAL: Duration = Duration::from_secs(60);
    /// What of a reply is not counted by its window, but waits for the socket.
    const MOST_QUEUED_OF_REPLY: usize = 128 << 10;
    let mut builder = auto::Builder::new(StreamExecutor::new(Arc::clone(connection)));
    // The time for a request's head also counts while a connection waits for its next request.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.idle_timeout)
        // A client that has sent all it wants may say so before it has its answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(options.max_streams_per_connection.max(1))
        .max_send_buf_size(MOST_QUEUED_OF_REPLY)
        .max_header_list_size(ServerOptions::MAX_HEAD_BYTES as u32)
        .keep_alive_interval(PING_INTERVAL);
    builder
}

async fn serve(
    socket: Socket,
    peer: SocketAddr,
    builder: auto::Builder<StreamExecutor>,
    watcher: Watcher,
    service: Arc<Service>,
    connection: Arc<Connection>,
) {
    let of_requests = Arc::clone(&connection);
    let answer =
        service_fn(move |request| http::answer(Arc::clone(&service), Arc::clone(&of_requests), request));
    let serving = builder
        .serve_connection(TokioIo::new(socket), answer)
        .into_owned();
    tokio::select! {
        biased;
        served = watcher.watch(serving) => {
            if let Err(error) = served {
                debug!(%peer, %error, "connection ended");
            }
        }
        () = connection.is_to_be_closed() => debug!(%peer, "connection closed for others, or at the end"),
    }
}
