//! The pages, and the limits of their cost.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::error;

use super::calls::Calls;
use super::exposition;
use super::health::health_of;
use super::lags::{Lags, look_for_lags};
use super::numbers::{Numbers, look_for_oldest};
use super::series::Series;
use crate::console::Pushes;
use crate::http::{Connection, MOST_SMALL, Reply, ReplyShare, Resources, ServerGauges};
use crate::{Space, Store};

/// A page for people who run the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Health,
    Metrics,
    Version,
}

/// Makes the pages.
#[derive(Debug)]
pub(crate) struct Admin {
    store: Store,
    calls: Arc<Calls>,
    gauges: ServerGauges,
    /// The name of the server's API.
    api: &'static str,
    /// Where a server takes calls that has the store of several.
    owner: Option<String>,
    /// Whether work that waits is done on the thread of the async runtime.
    waits_inline: bool,
    /// The last known space.
    room: Arc<Mutex<Option<Space>>>,
    series: Arc<Mutex<Series>>,
    /// The last known lags of readers.
    lags: Arc<Mutex<Lags>>,
    pushes: Arc<dyn Pushes>,
    /// One permit for each of these, so that a disk that hangs holds only one thread for each: looking up the space,
    /// the oldest records, and the lags of readers, and gathering numbers.
    looking_for_room: Arc<Semaphore>,
    looking_for_oldest: Arc<Semaphore>,
    looking_for_lags: Arc<Semaphore>,
    gathering: Arc<Semaphore>,
}

/// A page waits at most this long for a look-up on the disk. Then it uses the last known facts.
const MOMENT: Duration = Duration::from_millis(500);

/// How long gathering the numbers may take. It never waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// In how many more shards the oldest records are looked up in one round.
const MOST_NEW_SHARDS: usize = 100;

impl Page {
    /// The page at a path.
    pub(crate) fn at(path: &str) -> Option<Page> {
        match path {
            "/health" => Some(Page::Health),
            "/metrics" => Some(Page::Metrics),
            "/version" => Some(Page::Version),
            _ => None,
        }
    }
}

impl Admin {
    pub(crate) fn new(
        store: Store,
        calls: Arc<Calls>,
        gauges: ServerGauges,
        pushes: Arc<dyn Pushes>,
        api: &'static str,
        owner: Option<String>,
        waits_inline: bool,
    ) -> Admin {
        Admin {
            store,
            calls,
            gauges,
            api,
            owner,
            waits_inline,
            room: Arc::default(),
            series: Arc::default(),
            lags: Arc::default(),
            pushes,
            looking_for_room: Arc::new(Semaphore::new(1)),
            looking_for_oldest: Arc::new(Semaphore::new(1)),
            looking_for_lags: Arc::new(Semaphore::new(1)),
            gathering: Arc::new(Semaphore::new(1)),
        }
    }

    /// The answer to a request for a page. It holds memory for replies of `http`, the address at which the request came
    /// in.
    pub(crate) async fn answer(
        &self,
        page: Page,
        method: &Method,
        http: &Resources,
        connection: &Connection,
    ) -> Reply {
        let content = match page {
            _ if method != Method::GET && method != Method::HEAD => return not_allowed(),
            Page::Health => self.health().await,
            Page::Metrics => self.metrics(http, connection).await,
            Page::Version => Content::json(StatusCode::OK, self.version()),
        };
        content.answer(method)
    }

    fn version(&self) -> String {
        version_of(self.api)
    }

    async fn health(&self) -> Content {
        self.look_for_room().await;
        let room = *lock(&self.room);
        let (status, body) = health_of(&self.store, room, self.owner.as_deref());
        Content::json(status, body)
    }

    async fn metrics(&self, http: &Resources, connection: &Connection) -> Content {
        // Waits while replies hold all memory for small ones.
        let Ok(mut share) = http.replies.reserve(connection, MOST_SMALL).await else {
            return Content::unavailable("The server has too many replies to send.\n");
        };
        self.look_for_room().await;
        self.look_for_oldest().await;
        self.look_for_lags().await;
        let text = match self.gathered().await {
            Ok(text) => text,
            Err(content) => return content,
        };
        match http.replies.fit(&mut share, connection, text.len()) {
            true => Content {
                share: Some(share),
                ..Content::text(StatusCode::OK, exposition::CONTENT_TYPE, text)
            },
            false => Content::unavailable("The server has too many replies to send.\n"),
        }
    }

    /// The text of the numbers, or the answer if there are none.
    async fn gathered(&self) -> Result<String, Content> {
        let (store, series) = (self.store.clone(), Arc::clone(&self.series));
        let (calls, gauges) = (Arc::clone(&self.calls), self.gauges.clone());
        let room = *lock(&self.room);
        let lags = lock(&self.lags).numbers();
        let is_owner = self.owner.is_some();
        let gather = move || {
            let mut series = lock(&series);
            series.admit(&store)?;
            let seen = series.read(&store, room)?;
            Ok(exposition::text_of(Numbers::of(
                seen, lags, &calls, &gauges, is_owner,
            )))
        };
        if self.waits_inline {
            return told_or_not(gather());
        }
        let gathering = async {
            // The semaphore is never closed. The work holds the permit, and goes on if the client leaves.
            let permit = Arc::clone(&self.gathering).acquire_owned().await.ok();
            let gathered = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                gather()
            });
            gathered.await
        };
        match timeout(PATIENCE, gathering).await {
            Ok(Ok(gathered)) => told_or_not(gathered),
            Ok(Err(panic)) => {
                error!(%panic, "a page could not be made");
                Err(Content::failed())
            }
            Err(_) => Err(Content::unavailable(
                "The store does not tell its numbers in time.\n",
            )),
        }
    }

    async fn look_for_room(&self) {
        let (store, room) = (self.store.clone(), Arc::clone(&self.room));
        let look = move || {
            let seen = store.space();
            *lock(&room) = seen;
        };
        self.look(&self.looking_for_room, look).await;
    }

    async fn look_for_oldest(&self) {
        let (store, series) = (self.store.clone(), Arc::clone(&self.series));
        let look = move || {
            let streams = {
                let mut series = lock(&series);
                // If the store does not list its streams, it gives no numbers either.
                let _ = series.admit(&store);
                series.streams()
            };
            look_for_oldest(&streams, MOST_NEW_SHARDS);
        };
        self.look(&self.looking_for_oldest, look).await;
    }

    async fn look_for_lags(&self) {
        let (series, lags) = (Arc::clone(&self.series), Arc::clone(&self.lags));
        let pushes = Arc::clone(&self.pushes);
        let look = move || {
            let streams = lock(&series).streams();
            look_for_lags(&streams, pushes.as_ref(), &lags);
        };
        self.look(&self.looking_for_lags, look).await;
    }

    /// Starts a look-up on the disk, unless an earlier one has not ended, and waits for it a moment.
    async fn look(&self, permits: &Arc<Semaphore>, look: impl FnOnce() + Send + 'static) {
        if self.waits_inline {
            return look();
        }
        let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
            return;
        };
        let looking = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look();
        });
        // If it takes longer, the last known facts are used.
        let _ = timeout(MOMENT, looking).await;
    }
}

pub(super) fn version_of(api: &str) -> String {
    json!({ "version": env!("CARGO_PKG_VERSION"), "api": api }).to_string()
}

fn told_or_not(gathered: crate::Result<Result<String, fmt::Error>>) -> Result<String, Content> {
    match gathered {
        Ok(text) => text.map_err(|_| Content::failed()),
        Err(error) => {
            error!(%error, "the numbers of the server cannot be gathered");
            Err(Content::unavailable("The store does not tell its numbers.\n"))
        }
    }
}

/// The lock is never held during a wait.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The content of an answer.
pub(super) struct Content {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    share: Option<ReplyShare>,
}

impl Content {
    pub(super) fn text(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Content {
        Content {
            status,
            content_type,
            body: body.into(),
            share: None,
        }
    }

    pub(super) fn json(status: StatusCode, body: String) -> Content {
        Content::text(status, "application/json", body)
    }

    fn unavailable(message: &str) -> Content {
        Content::text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, message)
    }

    pub(super) fn failed() -> Content {
        Content::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            PLAIN,
            "The page could not be made.\n",
        )
    }

    pub(super) fn answer(self, method: &Method) -> Reply {
        match method == Method::HEAD {
            true => self.head(),
            false => self.reply(),
        }
    }

    fn reply(self) -> Reply {
        let mut reply = plain_head(self.status, self.content_type);
        *reply.body_mut() = self.body.into_bytes().into();
        match self.share {
            Some(share) => reply.map(|body| body.holding(share)),
            None => reply,
        }
    }

    /// The same without its body, but with the length of the body.
    fn head(self) -> Reply {
        let mut reply = plain_head(self.status, self.content_type);
        let length = HeaderValue::from(self.body.len());
        reply.headers_mut().insert(header::CONTENT_LENGTH, length);
        reply
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// An answer that explains an error to people.
pub(super) fn told(status: StatusCode, message: impl Into<String>) -> Reply {
    Content::text(status, PLAIN, message).reply()
}

pub(super) fn not_found() -> Reply {
    told(
        StatusCode::NOT_FOUND,
        "Here are /health, /metrics and /version.\n",
    )
}

pub(super) fn not_allowed() -> Reply {
    let mut reply = told(
        StatusCode::METHOD_NOT_ALLOWED,
        "This page can only be read: GET and HEAD.\n",
    );
    let allowed = HeaderValue::from_static("GET, HEAD");
    reply.headers_mut().insert(header::ALLOW, allowed);
    reply
}

/// The answer describes this moment, so proxies must not keep it.
fn plain_head(status: StatusCode, content_type: &'static str) -> Reply {
    let mut reply = Response::new(Vec::new().into());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
