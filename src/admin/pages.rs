//! The pages, and what it may cost to make one.

use std::sync::Arc;

use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;
use tracing::error;

use super::calls::Calls;
use super::exposition;
use super::health::health_of;
use super::numbers::Numbers;
use crate::Store;
use crate::http::{Connection, MOST_SMALL, Reply, ReplyShare, Resources, ServerGauges};

/// A page that a server has for those who run it.
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
    /// Which API the server has.
    api: &'static str,
    /// Whether work that waits is done on the thread of the async runtime.
    waits_inline: bool,
    /// One permit for each look at the store's health: a disk that hangs keeps no more threads.
    looks: Arc<Semaphore>,
    /// One, so that numbers are gathered once at a time.
    gathering: Arc<Semaphore>,
}

const MOST_LOOKS: usize = 4;

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
        api: &'static str,
        waits_inline: bool,
    ) -> Admin {
        Admin {
            store,
            calls,
            gauges,
            api,
            waits_inline,
            looks: Arc::new(Semaphore::new(MOST_LOOKS)),
            gathering: Arc::new(Semaphore::new(1)),
        }
    }

    /// The answer to a request for a page, which holds memory for replies of `http`, where the request came in.
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
        match method == Method::HEAD {
            true => content.head(),
            false => content.reply(),
        }
    }

    fn version(&self) -> String {
        json!({ "version": env!("CARGO_PKG_VERSION"), "api": self.api }).to_string()
    }

    async fn health(&self) -> Content {
        let store = self.store.clone();
        let looked = self.on_blocking_thread(&self.looks, move || health_of(&store));
        let Some((status, body)) = looked.await else {
            return Content::failed();
        };
        Content::json(status, body)
    }

    async fn metrics(&self, http: &Resources, connection: &Connection) -> Content {
        // Waits while replies hold all of the memory that small ones have.
        let Ok(mut share) = http.replies.reserve(MOST_SMALL).await else {
            return Content::unavailable("The server has too many replies to send.\n");
        };
        let (store, calls, gauges) = (self.store.clone(), Arc::clone(&self.calls), self.gauges.clone());
        let gathered = self.on_blocking_thread(&self.gathering, move || {
            Numbers::of(&store, &calls, &gauges).map(exposition::text_of)
        });
        let text = match gathered.await {
            Some(Ok(Ok(text))) => text,
            Some(Err(error)) => {
                error!(%error, "the numbers of the server cannot be gathered");
                return Content::unavailable("The store does not tell its numbers.\n");
            }
            Some(Ok(Err(_))) | None => return Content::failed(),
        };
        match http.replies.fit(&mut share, connection, text.len()) {
            true => Content {
                share: Some(share),
                ..Content::text(StatusCode::OK, exposition::CONTENT_TYPE, text)
            },
            false => Content::unavailable("The server has too many replies to send.\n"),
        }
    }

    /// Does what may wait for a lock or the disk, once there is a permit. `None` if it panics.
    async fn on_blocking_thread<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.waits_inline {
            return Some(work());
        }
        // The semaphores are never closed. The permit goes with the work, which a client that has gone does not end.
        let permit = Arc::clone(permits).acquire_owned().await.ok();
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await
            .inspect_err(|panic| error!(%panic, "a page could not be made"))
            .ok()
    }
}

/// What is answered.
struct Content {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    share: Option<ReplyShare>,
}

impl Content {
    fn text(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Content {
        Content {
            status,
            content_type,
            body: body.into(),
            share: None,
        }
    }

    fn json(status: StatusCode, body: String) -> Content {
        Content::text(status, "application/json", body)
    }

    fn unavailable(message: &str) -> Content {
        Content::text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, message)
    }

    fn failed() -> Content {
        Content::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            PLAIN,
            "The page could not be made.\n",
        )
    }

    fn reply(self) -> Reply {
        let mut reply = plain_head(self.status, self.content_type);
        *reply.body_mut() = self.body.into_bytes().into();
        match self.share {
            Some(share) => reply.map(|body| body.holding(share)),
            None => reply,
        }
    }

    /// The same without its body, whose length is said.
    fn head(self) -> Reply {
        let mut reply = plain_head(self.status, self.content_type);
        let length = HeaderValue::from(self.body.len());
        reply.headers_mut().insert(header::CONTENT_LENGTH, length);
        reply
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// An answer that says what is wrong to people.
pub(super) fn told(status: StatusCode, message: impl Into<String>) -> Reply {
    Content::text(status, PLAIN, message).reply()
}

fn not_allowed() -> Reply {
    let mut reply = told(
        StatusCode::METHOD_NOT_ALLOWED,
        "This page can only be read: GET and HEAD.\n",
    );
    let allowed = HeaderValue::from_static("GET, HEAD");
    reply.headers_mut().insert(header::ALLOW, allowed);
    reply
}

/// It is about this moment, so no proxy may keep it.
fn plain_head(status: StatusCode, content_type: &'static str) -> Reply {
    let mut reply = Response::new(Vec::new().into());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
