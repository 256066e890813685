//! The pages of a server that passes calls on to the one that has the store.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::{Method, StatusCode};

use super::calls::Calls;
use super::exposition;
use super::health::health_of_forwarding;
use super::numbers::{ForwardingNumbers, Held};
use super::pages::{Content, Page, not_allowed, told, version_of};
use crate::http::{Reply, ServerGauges};

/// Makes the pages without a store: they describe this server alone.
#[derive(Debug)]
pub(crate) struct ForwardingPages {
    api: &'static str,
    calls: Arc<Calls>,
    gauges: ServerGauges,
    owner: Mutex<Option<String>>,
    forwarded: AtomicU64,
}

impl ForwardingPages {
    pub(crate) fn new(api: &'static str, calls: Arc<Calls>, gauges: ServerGauges) -> ForwardingPages {
        ForwardingPages {
            api,
            calls,
            gauges,
            owner: Mutex::default(),
            forwarded: AtomicU64::new(0),
        }
    }

    /// From now on calls are passed on to this address, or to none.
    pub(crate) fn note_owner(&self, url: Option<String>) {
        *self.owner() = url;
    }

    /// The owner has answered a request.
    pub(crate) fn note_forwarded(&self) {
        self.forwarded.fetch_add(1, Ordering::Relaxed);
    }

    /// The answer to a request for a page.
    pub(crate) fn answer(&self, page: Page, method: &Method) -> Reply {
        let content = match page {
            _ if method != Method::GET && method != Method::HEAD => return not_allowed(),
            Page::Health => {
                let (status, body) = health_of_forwarding(self.owner().as_deref());
                Content::json(status, body)
            }
            Page::Metrics => match exposition::text_of(self.numbers()) {
                Ok(text) => Content::text(StatusCode::OK, exposition::CONTENT_TYPE, text),
                Err(_) => Content::failed(),
            },
            Page::Version => Content::json(StatusCode::OK, version_of(self.api)),
        };
        content.answer(method)
    }

    /// The answer to a request for the console, which can only show a store of the same server.
    pub(crate) fn console(&self) -> Reply {
        let message = match self.owner().as_deref() {
            Some(owner) => format!("This server passes calls on to {owner}. The console is there.\n"),
            None => "No server has the store at the moment, and no console.\n".to_owned(),
        };
        told(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    fn numbers(&self) -> ForwardingNumbers {
        ForwardingNumbers {
            calls: self.calls.calls(),
            errors: self.calls.errors(),
            forwarded: self.forwarded.load(Ordering::Relaxed),
            held: Held::of(&self.gauges),
        }
    }

    fn owner(&self) -> MutexGuard<'_, Option<String>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
