//! The connection to the cluster, and the threads that it needs.
//!
//! Nothing of an async runtime is above this backend. Its tasks run on two threads of its own; who waits for one of
//! them waits as for a disk.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use async_nats::{
    Client, ConnectErrorKind, ConnectOptions, HeaderMap, Message, Request, RequestErrorKind, ServerAddr,
};
use bytes::Bytes;
use tokio::runtime::{Handle, Runtime};

use super::counts::Counts;
use super::options::JetStream;
use crate::error::{Error, InvalidArgument, Result};
use crate::sync::{AtomicBool, Mutex, OnceLock};

/// How long connecting may take, over all servers.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long one server may take to answer.
const SERVER_LIMIT: Duration = Duration::from_secs(3);

/// How often a server is asked whether it is still there. One that was cut off is left after two of them.
const PING_INTERVAL: Duration = Duration::from_secs(2);

const THREADS: usize = 2;

/// For how long a store that is being closed waits for the cluster.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// How long a request may take after that. Once one is not answered none is sent any more: closing may have many.
const LAST_LIMIT: Duration = Duration::from_secs(1);

pub(super) struct Cluster {
    client: Client,
    handle: Handle,
    /// Until the store is closed.
    runtime: Mutex<Option<Runtime>>,
    pub(super) counts: Counts,
    /// From when on nothing is waited for any more.
    gives_up_at: OnceLock<Instant>,
    /// Nothing was answered since then, and nothing is asked any more.
    has_given_up: AtomicBool,
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum NoAnswer {
    /// Nothing listens there.
    NoResponders,
    /// What was asked for may be done or not.
    Unknown(String),
}

impl Cluster {
    /// Connects to one of the servers.
    ///
    /// # Errors
    /// [`Error::Cluster`] if none can be reached in time or one refuses the credentials.
    pub(super) fn connect(at: &JetStream) -> Result<Arc<Self>> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("anabranch-nats")
            .enable_all()
            .build()
            .map_err(|error| Error::no_thread("anabranch-nats", error))?;
        let handle = runtime.handle().clone();
        let connecting = connect(at.clone());
        let connected = wait_for(&handle, async move {
            let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
            connected.unwrap_or_else(|_| Err(failed_to_connect("no server has answered in 10 s")))
        });
        match connected.and_then(|connected| connected) {
            Ok(client) => Ok(Arc::new(Self {
                client,
                handle,
                runtime: Mutex::new(Some(runtime)),
                counts: Counts::default(),
                gives_up_at: OnceLock::new(),
                has_given_up: AtomicBool::new(false),
            })),
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a task, and waits for it.
    ///
    /// # Errors
    /// [`Error::Closed`] once the store is.
    pub(super) fn run<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> Result<T> {
        wait_for(&self.handle, task)
    }

    /// Has a task run, whose outcome is received once it is there.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Receiver<T> {
        begin(&self.handle, task)
    }

    /// Has a thread run what waits for the cluster.
    pub(super) fn spawn_waiting(&self, task: impl FnOnce() + Send + 'static) {
        self.handle.spawn_blocking(task);
    }

    /// Has a task run, which is dropped if the store is closed meanwhile.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// Asks what listens on a subject.
    pub(super) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Message, NoAnswer> {
        let is_late = !self.may_wait();
        if is_late && self.has_given_up.load(Ordering::Acquire) {
            return Err(NoAnswer::Unknown("the store is being closed".to_owned()));
        }
        let limit = if is_late { limit.min(LAST_LIMIT) } else { limit };
        let mut request = Request::new().payload(payload).timeout(Some(limit));
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        // The limit of a request counts from when it is sent, which may have to wait too.
        let asked = tokio::time::timeout(limit + limit, self.client.send_request(subject, request)).await;
        if is_late && !matches!(asked, Ok(Ok(_))) {
            self.has_given_up.store(true, Ordering::Release);
        }
        match asked {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => NoAnswer::NoResponders,
                RequestErrorKind::TimedOut => no_answer_in(limit),
                _ => NoAnswer::Unknown(error.to_string()),
            }),
            Err(_) => Err(no_answer_in(limit)),
        }
    }

    /// Whether it is worth while to go on asking: not for long once the store is being closed.
    pub(super) fn may_wait(&self) -> bool {
        self.gives_up_at.get().is_none_or(|at| Instant::now() < *at)
    }

    /// What is still asked of the cluster has so long to be answered.
    pub(super) fn begin_close(&self) {
        let _ = self.gives_up_at.set(Instant::now() + CLOSE_LIMIT);
    }

    /// Lets the connection go.
    pub(super) fn close(&self) {
        let client = self.client.clone();
        // The next opener asks whether this one is still there, and need not wait for an answer then.
        let drained = async move {
            let _ = client.drain().await;
            while client.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = self.run(async move {
            let _ = tokio::time::timeout(SERVER_LIMIT, drained).await;
        });
        self.end();
    }

    fn end(&self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}

fn wait_for<T: Send + 'static>(handle: &Handle, task: impl Future<Output = T> + Send + 'static) -> Result<T> {
    begin(handle, task).recv().map_err(|_| Error::Closed)
}

fn begin<T: Send + 'static>(handle: &Handle, task: impl Future<Output = T> + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = sync_channel(1);
    handle.spawn(async move {
        let _ = sender.send(task.await);
    });
    receiver
}

/// How to connect to these servers, but for which of them.
pub(super) async fn connect_options(at: &JetStream) -> Result<ConnectOptions> {
    let mut options = ConnectOptions::new()
        .name("anabranch")
        .connection_timeout(SERVER_LIMIT)
        .ping_interval(PING_INTERVAL)
        .reconnect_delay_callback(|attempts| Duration::from_millis(100 * attempts.min(10) as u64));
    if let Some(file) = &at.credentials_file {
        options = options
            .credentials_file(file)
            .await
            .map_err(|error| Error::io("read", file, error))?;
    }
    if let Some(user) = &at.user {
        options = options.user_and_password(user.user.clone(), user.password.clone());
    }
    if let Some(file) = &at.root_certificates_file {
        options = options.add_root_certificates(file.clone());
    }
    // Servers that the named ones tell of are asked for TLS too.
    Ok(options.require_tls(at.servers.iter().any(|server| server.starts_with("tls://"))))
}

async fn connect(at: JetStream) -> Result<Client> {
    let options = connect_options(&at).await?;
    let servers = at.servers.iter().map(|server| server.parse::<ServerAddr>());
    let servers: Vec<_> =
        servers
            .collect::<std::io::Result<_>>()
            .map_err(|error| InvalidArgument::ClusterOption {
                reason: error.to_string(),
            })?;
    options
        .connect(servers)
        .await
        .map_err(|error| match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                failed_to_connect("it refused the credentials")
            }
            _ => failed_to_connect(&error.to_string()),
        })
}

fn failed_to_connect(reason: &str) -> Error {
    Error::Cluster {
        operation: "let the client in",
        reason: reason.to_owned(),
    }
}

fn no_answer_in(limit: Duration) -> NoAnswer {
    NoAnswer::Unknown(format!("there was no answer in {} ms", limit.as_millis()))
}
