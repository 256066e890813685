//! The present source of the pages.

use std::sync::{Arc, PoisonError, RwLock};

use hyper::Method;
use hyper::http::request::Parts;

#[cfg(feature = "nats")]
use super::forwarding::ForwardingPages;
use super::pages::{Admin, Page};
use crate::console::Console;
use crate::http::{Connection, Reply, Resources};

/// The place where a separate address of the pages finds their source, which changes with the role of a server on a
/// cluster.
#[derive(Debug)]
pub(crate) struct Desk(RwLock<Shown>);

/// The source of the pages.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    Store {
        admin: Arc<Admin>,
        console: Option<Arc<Console>>,
    },
    /// The server passes calls on to the one that has the store.
    #[cfg(feature = "nats")]
    Forwarding {
        pages: Arc<ForwardingPages>,
        /// Whether there would be a console.
        has_console: bool,
    },
}

impl Desk {
    pub(crate) fn showing(shown: Shown) -> Arc<Desk> {
        Arc::new(Desk(RwLock::new(shown)))
    }

    pub(super) fn shown(&self) -> Shown {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[cfg(feature = "nats")]
    pub(crate) fn show(&self, shown: Shown) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

impl Shown {
    pub(super) fn has_console(&self) -> bool {
        match self {
            Shown::Store { console, .. } => console.is_some(),
            #[cfg(feature = "nats")]
            Shown::Forwarding { has_console, .. } => *has_console,
        }
    }

    /// The answer to a request for the console, which must exist.
    pub(super) async fn console(
        &self,
        parts: &Parts,
        http: &Arc<Resources>,
        connection: &Arc<Connection>,
    ) -> Reply {
        match self {
            Shown::Store {
                console: Some(console),
                ..
            } => console.answer(parts, http, connection).await,
            Shown::Store { console: None, .. } => super::pages::not_found(),
            #[cfg(feature = "nats")]
            Shown::Forwarding { pages, .. } => pages.console(),
        }
    }

    pub(super) async fn page(
        &self,
        page: Page,
        method: &Method,
        http: &Resources,
        connection: &Connection,
    ) -> Reply {
        match self {
            Shown::Store { admin, .. } => admin.answer(page, method, http, connection).await,
            #[cfg(feature = "nats")]
            Shown::Forwarding { pages, .. } => pages.answer(page, method),
        }
    }
}
