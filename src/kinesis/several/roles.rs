//! Answers requests by the role of this server: from its store while it is the owner, and otherwise by passing them on.

use std::sync::{Arc, PoisonError, RwLock};

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};

use super::passing::{Passing, is_subscription, waits_for_records};
use crate::admin::{Desk, Shown};
use crate::forward::{FORWARDED, OWNER};
use crate::http::{Connection, Reply, Routes};
use crate::kinesis::front::PassedOn;
use crate::kinesis::service::Service;

/// The routes of a server, which change with its role. A request keeps the role at its beginning.
#[derive(Debug)]
pub(super) struct Roles {
    pub(super) passing: Passing,
    pub(super) owned: RwLock<Option<Owned>>,
    pub(super) desk: Arc<Desk>,
}

/// The store and its service.
#[derive(Debug, Clone)]
pub(super) struct Owned {
    pub(super) service: Arc<Service>,
    /// Calls that another server has passed on are recognized by this.
    pub(super) token: Arc<str>,
}

impl Roles {
    /// From now on calls are answered from the store.
    pub(super) fn own(&self, owned: Owned) {
        self.desk.show(Shown::Store {
            admin: Arc::clone(&owned.service.admin),
            console: owned.service.console.clone(),
        });
        self.set(Some(owned));
    }

    /// From now on calls are passed on. Calls in progress end with the results that the store gives them.
    pub(super) fn disown(&self) {
        self.desk.show(self.passing.shown());
        self.set(None);
    }

    fn set(&self, owned: Option<Owned>) {
        *self.owned.write().unwrap_or_else(PoisonError::into_inner) = owned;
    }

    fn owned(&self) -> Option<Owned> {
        self.owned.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Routes for Roles {
    async fn answer(self: &Arc<Self>, connection: &Arc<Connection>, mut request: Request<Incoming>) -> Reply {
        let owned = self.owned();
        let Some(token) = request.headers_mut().remove(FORWARDED) else {
            return match owned {
                Some(owned) => owned.service.answer(connection, request).await,
                None => self.passing.answer(connection, request).await,
            };
        };
        match owned.filter(|owned| is_same(owned.token.as_bytes(), token.as_bytes())) {
            Some(owned) => {
                request.extensions_mut().insert(PassedOn);
                // A call that waits for records ends when this server stops, so its end is not waited for.
                connection.passes_calls_on(!waits_for_records(request.headers()));
                let is_subscription = is_subscription(request.headers());
                let mut reply = owned.service.answer(connection, request).await;
                reply.headers_mut().insert(OWNER, HeaderValue::from_static("yes"));
                match is_subscription {
                    // Nothing here sees the end of a subscription, so no call may come behind it.
                    true => drop(
                        reply
                            .headers_mut()
                            .insert(CONNECTION, HeaderValue::from_static("close")),
                    ),
                    // The next call may be on its way.
                    false => connection.passes_calls_on(true),
                }
                reply
            }
            None => self.passing.refuse_passed_on(request).await,
        }
    }

    fn connection_is_closing(&self) -> Reply {
        self.passing.connection_is_closing()
    }
}

/// Compares in a time that depends only on whether the lengths are equal.
fn is_same(known: &[u8], given: &[u8]) -> bool {
    let differences = known
        .iter()
        .zip(given)
        .fold(0, |differences, (a, b)| differences | (a ^ b));
    known.len() == given.len() && differences == 0
}
