//! The server's life: it accepts connections, makes room for them, closes stalled ones, and stops in order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, info, trace, warn};

use super::connections::{Connection, Stop};
use super::http2_streams::{self, StreamExecutor};
use super::line::Line;
use super::listener::Listener;
use super::options::{HttpOptions, MAX_HEAD_BYTES};
use super::reply::{Delivery, ReplyBody};
use super::resources::Resources;
use super::socket::Socket;
use super::tls::{self, TlsIdentity, Transport};

pub(crate) type Reply = Response<ReplyBody>;

/// An extension of a reply that must not be sent. The connection ends instead, or in HTTP/2 the stream.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer is held back, as a test asked for")]
pub(crate) struct NoAnswer;

/// Answers requests.
pub(crate) trait Routes: Send + Sync + 'static {
    fn answer(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Reply> + Send;

    /// The answer to a request that is refused because its connection is being closed.
    fn connection_is_closing(&self) -> Reply;
}

/// Serves until `shutdown` is ready. After that no more connections are accepted, requests that have arrived completely
/// are answered within the grace, and all connections are closed.
pub(crate) async fn serve_until(
    listener: impl Listener,
    routes: Arc<impl Routes>,
    resources: Arc<Resources>,
    options: &HttpOptions,
    shutdown: impl Future<Output = ()>,
) {
    let stop = Arc::clone(&resources.stop);
    let mut serving = Serving {
        routes,
        resources,
        graceful: GracefulShutdown::new(),
        tasks: JoinSet::new(),
        closed_for_others: ClosedForOthers::default(),
        options,
    };
    tokio::select! {
        biased;
        () = shutdown => {}
        () = serving.run(listener) => {}
    }
    stop.begin();
    serving.finish().await;
}

/// A running server.
struct Serving<'a, R> {
    routes: Arc<R>,
    resources: Arc<Resources>,
    graceful: GracefulShutdown,
    tasks: JoinSet<()>,
    closed_for_others: ClosedForOthers,
    options: &'a HttpOptions,
}

impl<R: Routes> Serving<'_, R> {
    /// Accepts connections and watches over them, and never ends.
    async fn run(&mut self, mut listener: impl Listener) {
        let stall = self.options.stall_timeout;
        let mut checks = interval((stall / 4).clamp(Duration::from_millis(5), Duration::from_secs(5)));
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                _ = checks.tick() => {
                    self.resources.connections.give_up_stalled(stall);
                    self.closed_for_others.tell();
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        self.make_place(&mut checks).await;
                        self.serve(stream, peer);
                    }
                    Err(error) => self.accept_failed(error.into(), &mut listener).await,
                },
            }
        }
    }

    fn serve(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: SocketAddr) {
        trace!(%peer, "connection accepted");
        let socket = Socket::new(stream, self.options.idle_timeout, self.options.stall_timeout);
        let connection = self.resources.connections.add();
        let resources = Arc::clone(&self.resources);
        let transport = begin(
            socket,
            peer,
            self.options.tls.clone(),
            self.options.handshake_timeout,
            Arc::clone(&connection),
        );
        let serving = serve(
            transport,
            peer,
            connection_builder(self.options, &connection),
            self.graceful.watcher(),
            Arc::clone(&self.routes),
            Arc::clone(&connection),
        );
        self.tasks.spawn(async move {
            let _open = OpenConnection {
                resources,
                connection,
            };
            serving.await;
        });
    }

    /// Waits until there is room for one more connection: closes the longest idle one, or the first one that becomes
    /// idle.
    async fn make_place(&mut self, checks: &mut tokio::time::Interval) {
        let most = self.options.max_connections.max(1);
        let mut is_one_closed = false;
        while self.tasks.len() >= most {
            let close = async {
                if is_one_closed {
                    std::future::pending::<()>().await;
                }
                self.resources.connections.close_next_idle().await;
            };
            tokio::select! {
                biased;
                _ = self.tasks.join_next() => {}
                _ = checks.tick() => self.resources.connections.give_up_stalled(self.options.stall_timeout),
                () = close => {
                    is_one_closed = true;
                    self.closed_for_others.idle += 1;
                }
            }
        }
        self.closed_for_others.tell();
    }

    /// Handles a failed accept. The server goes on accepting after any error.
    async fn accept_failed(&mut self, error: AcceptError, listener: &mut impl Listener) {
        const PAUSE: Duration = Duration::from_millis(50);
        match error {
            AcceptError::Gone => return,
            AcceptError::NoDescriptor if self.resources.connections.close_longest_idle() => {
                self.closed_for_others.idle += 1;
                // A descriptor is free when a connection's task has ended.
                let _ = timeout(PAUSE, self.tasks.join_next()).await;
            }
            AcceptError::NoDescriptor => {
                if listener.turn_one_away().await {
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

    /// Closes all connections: idle ones at once, the others when their requests are answered, and all when the grace
    /// is over. Then undoes the calls whose replies were not sent.
    async fn finish(self) {
        /// For writes to the disk, which nothing else waits for.
        const UNDO_PATIENCE: Duration = Duration::from_secs(10);
        let Serving {
            resources,
            graceful,
            mut tasks,
            options,
            ..
        } = self;
        let open = tasks.len();
        let mut graceful = pin!(graceful.shutdown());
        let mut half_requests = interval(Stop::PATIENCE);
        // The first tick comes at once: hyper closes idle connections itself, in better order.
        half_requests.tick().await;
        let all_closed = async {
            loop {
                tokio::select! {
                    biased;
                    () = graceful.as_mut() => return,
                    _ = half_requests.tick() => resources.connections.close_all_idle(),
                }
            }
        };
        if timeout(options.shutdown_grace, all_closed).await.is_err() {
            warn!(
                connections = resources.connections.len(),
                "requests did not finish in time; their connections are cut"
            );
        }
        tasks.shutdown().await;
        if timeout(UNDO_PATIENCE, resources.undoing.is_done()).await.is_err() {
            warn!("what clients were not told of could not be undone in time");
        }
        info!(connections = open, "all connections are closed");
    }
}

/// Removes a connection from the list, however its task ends.
struct OpenConnection {
    resources: Arc<Resources>,
    connection: Arc<Connection>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.resources.connections.remove(&self.connection);
    }
}

/// Connections that were closed for new ones, and are not logged yet.
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

fn connection_builder(options: &HttpOptions, connection: &Arc<Connection>) -> auto::Builder<StreamExecutor> {
    const PING_INTERVAL: Duration = Duration::from_secs(60);
    /// How much of a reply, beyond its window, waits for the socket.
    const MOST_QUEUED_OF_REPLY: usize = 128 << 10;
    let mut builder = auto::Builder::new(StreamExecutor::new(Arc::clone(connection)));
    // This time limit for a request's head also applies while a connection waits for its next request.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.idle_timeout)
        // A client that has sent everything may close its side before it has its answer.
        .half_close(true);
    let windows = Windows::for_streams(options.max_streams_per_connection);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(windows.of_stream)
        .initial_connection_window_size(windows.of_connection)
        .max_concurrent_streams(windows.streams)
        .max_send_buf_size(MOST_QUEUED_OF_REPLY)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .keep_alive_interval(PING_INTERVAL);
    builder
}

/// How much of request bodies may arrive over a connection of HTTP/2 before it is read.
///
/// The windows of all streams together fit into that of their connection. Otherwise bodies that are not read, because
/// they wait for memory, could use up the connection's window, and the bodies that hold the memory would never get
/// their remaining bytes.
struct Windows {
    streams: u32,
    of_stream: u32,
    of_connection: u32,
}

impl Windows {
    /// The window of a stream before the client has our setting (RFC 9113, 6.9.2), and one byte.
    const LEAST_OF_STREAM: u32 = 64 << 10;
    const MOST_OF_STREAM: u32 = 1 << 20;
    /// The window of a connection, unless the least of all streams is more.
    const OF_CONNECTION: u32 = 8 << 20;
    const MOST_OF_CONNECTION: u32 = i32::MAX as u32;

    fn for_streams(streams: u32) -> Windows {
        let streams = streams.clamp(1, Windows::MOST_OF_CONNECTION / Windows::LEAST_OF_STREAM);
        let of_stream =
            (Windows::OF_CONNECTION / streams).clamp(Windows::LEAST_OF_STREAM, Windows::MOST_OF_STREAM);
        Windows {
            streams,
            of_stream,
            of_connection: of_stream * streams,
        }
    }
}

/// Prepares a connection for HTTP. `None` if it has ended before.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    socket: Socket<S>,
    peer: SocketAddr,
    identity: Option<TlsIdentity>,
    patience: Duration,
    connection: Arc<Connection>,
) -> Option<Transport<S>> {
    tokio::select! {
        biased;
        begun = tls::begin(socket, identity.as_ref(), patience) => match begun {
            Ok(transport) => Some(transport),
            Err(error) => {
                debug!(%peer, %error, "connection ended before its first request");
                None
            }
        },
        () = connection.is_to_be_closed() => {
            debug!(%peer, "connection closed for others, or at the end, before its first request");
            None
        }
    }
}

async fn serve<S, R>(
    transport: impl Future<Output = Option<Transport<S>>>,
    peer: SocketAddr,
    builder: auto::Builder<StreamExecutor>,
    watcher: Watcher,
    routes: Arc<R>,
    connection: Arc<Connection>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    R: Routes,
{
    let Some(transport) = transport.await else {
        return;
    };
    let of_requests = Arc::clone(&connection);
    let answer = service_fn(move |request| answer(Arc::clone(&routes), Arc::clone(&of_requests), request));
    let line = Line::new(transport, Arc::clone(&connection));
    let serving = builder.serve_connection(TokioIo::new(line), answer).into_owned();
    let mut serving = pin!(watcher.watch(serving));
    // Declared last, so it is dropped first, before the unsent bytes are.
    let _ending = Ending(&connection);
    tokio::select! {
        biased;
        served = serving.as_mut() => {
            if let Err(error) = served {
                debug!(%peer, %error, "connection ended");
            }
        }
        () = connection.is_to_be_closed() => debug!(%peer, "connection closed for others, or at the end"),
    }
}

/// Notes that the unsent replies of a connection do not reach its client, however its serving ends: the client is gone,
/// a new connection needs its place, the server stops.
struct Ending<'a>(&'a Connection);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.written().note_loss();
    }
}

/// Answers one request. There is always an answer, unless a test asked for none.
async fn answer<R: Routes>(
    routes: Arc<R>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Reply, NoAnswer> {
    let Some(in_service) = connection.begin_request() else {
        return Ok(routes.connection_is_closing());
    };
    let reply = routes.answer(&connection, request).await;
    if let Some(no_answer) = reply.extensions().get::<NoAnswer>().copied() {
        // The call keeps its effect.
        reply.into_body().note_sent();
        return Err(no_answer);
    }
    let delivery = Delivery::new(in_service, http2_streams::current());
    Ok(reply.map(|body| body.delivered_by(delivery)))
}

/// Why no connection could be accepted.
#[derive(Debug)]
enum AcceptError {
    /// The connection is gone; the next may be accepted at once.
    Gone,
    /// All descriptors are in use.
    NoDescriptor,
    /// An error that may pass, but not at once.
    Other(io::Error),
}

impl From<io::Error> for AcceptError {
    fn from(error: io::Error) -> AcceptError {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        /// EMFILE, of the process, and ENFILE, of the system.
        const TOO_MANY_FILES: [i32; 2] = [24, 23];
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            AcceptError::Gone
        } else if error
            .raw_os_error()
            .is_some_and(|code| TOO_MANY_FILES.contains(&code))
        {
            AcceptError::NoDescriptor
        } else {
            AcceptError::Other(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_windows_of_all_streams_fit_into_that_of_their_connection() {
        for streams in [0, 1, 3, 8, 127, 128, 1_000, u32::MAX] {
            let windows = Windows::for_streams(streams);
            assert!(windows.streams >= 1 && windows.of_stream >= Windows::LEAST_OF_STREAM);
            let together = u64::from(windows.streams) * u64::from(windows.of_stream);
            assert!(together <= u64::from(windows.of_connection), "{streams}");
            assert!(windows.of_connection <= Windows::MOST_OF_CONNECTION);
        }
    }
}
