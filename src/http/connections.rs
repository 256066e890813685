//! The connections of a server: their number, which are idle, and which replies make no progress.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::budget::{Budget, Pool};
use super::unsent::Written;

/// All connections that are open.
#[derive(Debug)]
pub(super) struct Connections {
    memory_of_each: ConnectionMemory,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    next_id: AtomicU64,
    /// Connections that had been idle for longest at the last search, the longest at the end.
    longest_idle: Mutex<Vec<(Arc<Connection>, u64)>>,
    shared: Arc<Shared>,
    closed_idle: AtomicU64,
}

/// How many bytes the requests and the replies of one connection may hold, and how many its small ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConnectionMemory {
    pub(super) requests: usize,
    pub(super) small_requests: usize,
    pub(super) replies: usize,
    pub(super) small_replies: usize,
}

/// One connection, as the requests on it see it.
#[derive(Debug)]
pub(crate) struct Connection {
    id: u64,
    /// How many requests are being answered, or [`CLOSED`].
    in_service: AtomicUsize,
    /// Its place in the order in which connections became idle. Times would be equal for many, and the connection that
    /// was used before all others has to be closed first.
    idle_order: AtomicU64,
    close: Notify,
    request_memory: Budget,
    reply_memory: Budget,
    next_stream: AtomicU64,
    streams: Mutex<HashMap<u64, Weak<Stream>>>,
    /// The end of the bytes that the client sends, once there is a reader for them.
    end: OnceLock<Weak<dyn PollEnd>>,
    written: Written,
    passes_calls_on: AtomicBool,
    shared: Arc<Shared>,
}

/// Detects the end of the bytes that a client sends.
pub(super) trait PollEnd: Send + Sync {
    /// Ready when the client sends no more. To be polled in the task that serves the connection.
    fn poll_end(&self, context: &mut Context<'_>) -> Poll<()>;
}

const CLOSED: usize = usize::MAX;

/// The part of the list that each connection needs.
#[derive(Debug)]
struct Shared {
    started: Instant,
    next_idle_order: AtomicU64,
    idle_is_wanted: AtomicBool,
    became_idle: Notify,
    /// How many open connections pass calls on.
    passing_on: watch::Sender<usize>,
}

impl Shared {
    fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn next_idle_order(&self) -> u64 {
        self.next_idle_order.fetch_add(1, Ordering::Relaxed)
    }
}

impl Connections {
    pub(super) fn new(memory_of_each: ConnectionMemory) -> Connections {
        Connections {
            memory_of_each,
            open: Mutex::default(),
            next_id: AtomicU64::new(0),
            longest_idle: Mutex::default(),
            shared: Arc::new(Shared {
                started: Instant::now(),
                next_idle_order: AtomicU64::new(0),
                idle_is_wanted: AtomicBool::new(false),
                became_idle: Notify::new(),
                passing_on: watch::Sender::new(0),
            }),
            closed_idle: AtomicU64::new(0),
        }
    }

    /// Adds a connection, which is in the list until [`remove`](Connections::remove).
    pub(super) fn add(&self) -> Arc<Connection> {
        let memory = self.memory_of_each;
        let connection = Arc::new(Connection {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            in_service: AtomicUsize::new(0),
            idle_order: AtomicU64::new(self.shared.next_idle_order()),
            close: Notify::new(),
            request_memory: Budget {
                small: Pool::new(memory.small_requests),
                large: Pool::new(memory.requests),
            },
            reply_memory: Budget {
                small: Pool::new(memory.small_replies),
                large: Pool::new(memory.replies),
            },
            next_stream: AtomicU64::new(0),
            streams: Mutex::default(),
            end: OnceLock::new(),
            written: Written::default(),
            passes_calls_on: AtomicBool::new(false),
            shared: Arc::clone(&self.shared),
        });
        locked(&self.open).insert(connection.id, Arc::clone(&connection));
        connection
    }

    pub(super) fn remove(&self, connection: &Connection) {
        locked(&self.open).remove(&connection.id);
        connection.passes_calls_on(false);
        // It may still be among the longest idle. Closing it for a new connection would free no place.
        connection.close_if_idle();
    }

    pub(super) fn len(&self) -> usize {
        locked(&self.open).len()
    }

    /// How many connections were closed for new ones.
    pub(super) fn closed_idle(&self) -> u64 {
        self.closed_idle.load(Ordering::Relaxed)
    }

    /// Closes the connection that has been idle for longest, if any is idle.
    pub(super) fn close_longest_idle(&self) -> bool {
        let mut longest_idle = locked(&self.longest_idle);
        let mut is_fresh = false;
        loop {
            let Some((connection, order)) = longest_idle.pop() else {
                if is_fresh {
                    return false;
                }
                *longest_idle = self.find_longest_idle();
                is_fresh = true;
                continue;
            };
            let is_the_same = connection.idle_order.load(Ordering::Relaxed) == order;
            if is_the_same && connection.close_if_idle() {
                self.closed_idle.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
    }

    /// Looks at all connections and keeps several results, since the search is expensive.
    fn find_longest_idle(&self) -> Vec<(Arc<Connection>, u64)> {
        const MOST: usize = 128;
        let mut idle: Vec<_> = locked(&self.open)
            .values()
            .filter(|connection| connection.in_service.load(Ordering::SeqCst) == 0)
            .map(|connection| {
                (
                    Arc::clone(connection),
                    connection.idle_order.load(Ordering::Relaxed),
                )
            })
            .collect();
        idle.sort_unstable_by_key(|(_, order)| *order);
        idle.truncate(MOST);
        idle.reverse();
        idle
    }

    /// Waits until a connection is idle, and closes it.
    pub(super) async fn close_next_idle(&self) {
        loop {
            self.shared.idle_is_wanted.store(true, Ordering::SeqCst);
            if self.close_longest_idle() {
                return;
            }
            self.shared.became_idle.notified().await;
        }
    }

    /// Ready when no open connection passes calls on.
    #[cfg(feature = "nats")]
    pub(super) async fn none_passes_calls_on(&self) {
        let mut passing_on = self.shared.passing_on.subscribe();
        // The sender is there for as long as the connections are.
        let _ = passing_on.wait_for(|count| *count == 0).await;
    }

    pub(super) fn close_all_idle(&self) {
        for connection in self.all() {
            connection.close_if_idle();
        }
    }

    /// Gives up replies that made no progress for `stall`, over HTTP/2: HTTP/1 has only one reply at a time, whose
    /// socket then makes no progress.
    pub(super) fn give_up_stalled(&self, stall: Duration) {
        let now = self.shared.now();
        for connection in self.all() {
            for stream in connection.streams() {
                stream.check(now, stall.as_millis() as u64);
            }
        }
    }

    fn all(&self) -> Vec<Arc<Connection>> {
        locked(&self.open).values().cloned().collect()
    }
}

impl Connection {
    pub(super) fn request_memory(&self) -> &Budget {
        &self.request_memory
    }

    pub(super) fn reply_memory(&self) -> &Budget {
        &self.reply_memory
    }

    /// Begins a request. `None` if the connection is being closed, so that nothing may be done for the request.
    pub(super) fn begin_request(self: &Arc<Self>) -> Option<InService> {
        self.in_service
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |requests| {
                (requests != CLOSED).then(|| requests + 1)
            })
            .ok()?;
        Some(InService(Arc::clone(self)))
    }

    pub(super) fn set_end(&self, end: Weak<dyn PollEnd>) {
        let _ = self.end.set(end);
    }

    /// Ready when the client sends no more: it is gone, or has closed its side and waits for its answer. To be awaited
    /// by a request that has arrived completely, in its own task. Never ready over HTTP/2: hyper reads on there, and
    /// drops the answers to a client that is gone.
    pub(crate) async fn client_ends(&self) {
        poll_fn(|context| self.poll_client_end(context)).await;
    }

    /// Whether the client's end is known by now.
    pub(crate) async fn has_client_ended(&self) -> bool {
        poll_fn(|context| Poll::Ready(self.poll_client_end(context).is_ready())).await
    }

    fn poll_client_end(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.end.get().and_then(Weak::upgrade) {
            Some(end) if !self.is_http2() => end.poll_end(context),
            _ => Poll::Pending,
        }
    }

    /// Notes whether another server passes calls on over this connection, and closes it when it passes no more on.
    pub(crate) fn passes_calls_on(&self, passes: bool) {
        if self.passes_calls_on.swap(passes, Ordering::SeqCst) != passes {
            self.shared.passing_on.send_modify(|count| match passes {
                true => *count += 1,
                false => *count -= 1,
            });
        }
    }

    /// Whether it has had a stream of HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        self.next_stream.load(Ordering::Relaxed) > 0
    }

    /// Which bytes of its replies are in the socket.
    pub(super) fn written(&self) -> &Written {
        &self.written
    }

    /// Ready when the connection is to be closed.
    pub(super) async fn is_to_be_closed(&self) {
        self.close.notified().await;
    }

    fn close_if_idle(&self) -> bool {
        let closed = self
            .in_service
            .compare_exchange(0, CLOSED, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok();
        if closed {
            self.close.notify_one();
        }
        closed
    }

    /// A stream of HTTP/2 has been opened.
    pub(super) fn begin_stream(self: &Arc<Self>) -> Arc<Stream> {
        let stream = Arc::new(Stream {
            id: self.next_stream.fetch_add(1, Ordering::Relaxed),
            connection: Arc::clone(self),
            progress: AtomicU64::new(NO_REPLY),
            is_given_up: AtomicBool::new(false),
            give_up: Notify::new(),
        });
        locked(&self.streams).insert(stream.id, Arc::downgrade(&stream));
        stream
    }

    /// The open streams. Dropping one needs the lock.
    fn streams(&self) -> Vec<Arc<Stream>> {
        locked(&self.streams).values().filter_map(Weak::upgrade).collect()
    }
}

/// A request is being answered, until the last byte of its reply is in the socket.
#[derive(Debug)]
pub(super) struct InService(Arc<Connection>);

impl InService {
    /// Where the reply was written to.
    pub(super) fn written(&self) -> &Written {
        &self.0.written
    }
}

impl Drop for InService {
    fn drop(&mut self) {
        let connection = &self.0;
        let shared = &connection.shared;
        connection
            .idle_order
            .store(shared.next_idle_order(), Ordering::Relaxed);
        let was_last = connection.in_service.fetch_sub(1, Ordering::SeqCst) == 1;
        if was_last && shared.idle_is_wanted.swap(false, Ordering::SeqCst) {
            shared.became_idle.notify_one();
        }
    }
}

/// A stream of HTTP/2. It stays until the last byte of its reply is in the socket.
#[derive(Debug)]
pub(super) struct Stream {
    id: u64,
    connection: Arc<Connection>,
    /// When the reply last made progress.
    progress: AtomicU64,
    is_given_up: AtomicBool,
    give_up: Notify,
}

const NO_REPLY: u64 = u64::MAX;

impl Stream {
    /// The reply begins, or bytes of it have reached the socket.
    pub(super) fn progress(&self) {
        self.progress
            .store(self.connection.shared.now(), Ordering::Relaxed);
    }

    /// The reply waits for something other than its client, until its next [`progress`](Stream::progress).
    pub(super) fn pause(&self) {
        self.progress.store(NO_REPLY, Ordering::Relaxed);
    }

    /// Ready when the reply made no progress for too long: then the stream's task has to be dropped.
    pub(super) async fn is_given_up(&self) {
        self.give_up.notified().await;
    }

    fn check(&self, now: u64, stall: u64) {
        let progress = self.progress.load(Ordering::Relaxed);
        if progress == NO_REPLY || now.saturating_sub(progress) < stall {
            return;
        }
        self.progress.store(now, Ordering::Relaxed);
        if self.is_given_up.swap(true, Ordering::Relaxed) {
            // The whole reply is already in the connection's own buffer.
            debug!("a reply that is not read cannot be given up alone; its connection is closed");
            self.connection.close.notify_one();
        } else {
            debug!("a reply that is not read is given up");
            self.give_up.notify_one();
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        locked(&self.connection.streams).remove(&self.id);
    }
}

/// The stop of the server.
#[derive(Debug, Default)]
pub(super) struct Stop {
    begun: OnceLock<Instant>,
    notify: Notify,
}

impl Stop {
    /// How long the server still looks at data that has arrived.
    pub(super) const PATIENCE: Duration = Duration::from_millis(100);

    pub(super) fn begin(&self) {
        let _ = self.begun.set(Instant::now());
        self.notify.notify_waiters();
    }

    /// Ready when the server stops.
    pub(super) async fn begins(&self) {
        let begins = self.notify.notified();
        if self.begun.get().is_none() {
            begins.await;
        }
    }

    /// Ready when the server no longer waits for the rest of incomplete requests.
    pub(super) async fn ends_half_requests(&self) {
        self.begins().await;
        if let Some(begun) = self.begun.get() {
            sleep_until(*begun + Stop::PATIENCE).await;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn connections() -> Connections {
        Connections::new(ConnectionMemory {
            requests: 1,
            small_requests: 1,
            replies: 1,
            small_replies: 1,
        })
    }

    fn is_closed(connection: &Arc<Connection>) -> bool {
        connection.begin_request().is_none()
    }

    #[tokio::test]
    async fn the_longest_idle_connection_is_closed_and_a_busy_one_never() {
        let connections = connections();
        let [busy, first, second] = [(); 3].map(|()| connections.add());
        let request = busy.begin_request().unwrap();
        // The first one has been active since the second one came.
        std::thread::sleep(Duration::from_millis(2));
        drop(first.begin_request());
        assert!(connections.close_longest_idle());
        assert!(is_closed(&second) && !is_closed(&first));
        assert!(connections.close_longest_idle());
        assert!(is_closed(&first));
        assert!(!connections.close_longest_idle());
        drop(request);
        assert!(connections.close_longest_idle());
        assert_eq!(connections.closed_idle(), 3);
    }

    #[tokio::test]
    async fn one_that_was_active_since_it_was_found_is_not_closed() {
        let connections = connections();
        let [first, second, third] = [(); 3].map(|()| connections.add());
        assert!(connections.close_longest_idle());
        assert!(is_closed(&first));
        // The second one is known as the next to close, but no longer is.
        std::thread::sleep(Duration::from_millis(2));
        drop(second.begin_request());
        assert!(connections.close_longest_idle());
        assert!(is_closed(&third) && !is_closed(&second));
    }

    #[tokio::test]
    async fn a_busy_connection_is_closed_once_it_is_idle_if_a_newcomer_waits() {
        let connections = Arc::new(connections());
        let request = connections.add().begin_request().unwrap();
        let waiting = Arc::clone(&connections);
        let waiting = tokio::spawn(async move { waiting.close_next_idle().await });
        while !connections.shared.idle_is_wanted.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        drop(request);
        waiting.await.unwrap();
        assert_eq!(connections.closed_idle(), 1);
    }

    #[cfg(feature = "nats")]
    #[tokio::test]
    async fn a_connection_passes_calls_on_until_it_is_closed_or_says_so() {
        let connections = connections();
        let is_waited_for = async || {
            timeout(Duration::ZERO, connections.none_passes_calls_on())
                .await
                .is_err()
        };
        let (first, second) = (connections.add(), connections.add());
        assert!(!is_waited_for().await);
        first.passes_calls_on(true);
        first.passes_calls_on(true);
        second.passes_calls_on(true);
        connections.remove(&first);
        assert!(is_waited_for().await);
        second.passes_calls_on(false);
        assert!(!is_waited_for().await);
        second.passes_calls_on(true);
        assert!(is_waited_for().await);
        connections.remove(&second);
        assert!(!is_waited_for().await);
    }
}
