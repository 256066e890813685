//! The health of a store, for programs that monitor a server.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::hanging::STUCK;
use crate::{Error, Space, Store};

/// The status and the body of `/health`, with the last known space. It may be shown to anyone, so it has no file names
/// and no messages of errors. `owner` is the address of the owner, if this is the owner of a store on a cluster. Never
/// waits.
pub(super) fn health_of(store: &Store, room: Option<Space>, owner: Option<&str>) -> (StatusCode, String) {
    let (status, mut body) = health(&reasons(store, room));
    if let Some(owner) = owner {
        body["role"] = "owner".into();
        body["owner"] = owner.into();
    }
    (status, body.to_string())
}

/// The same of a server that passes calls on to the owner, if it knows one.
#[cfg(feature = "nats")]
pub(super) fn health_of_forwarding(owner: Option<&str>) -> (StatusCode, String) {
    let reasons: &[&str] = match owner {
        Some(_) => &[],
        None => &["no owner"],
    };
    let (status, mut body) = health(reasons);
    body["role"] = "forwarding".into();
    body["owner"] = owner.into();
    (status, body.to_string())
}

fn health(reasons: &[&str]) -> (StatusCode, Value) {
    let (status, word) = match reasons.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    (status, json!({ "status": word, "reasons": reasons }))
}

/// Why the store is not well.
fn reasons(store: &Store, room: Option<Space>) -> Vec<&'static str> {
    // The only error is that the store is closed.
    let Ok(health) = store.health_at_once(room) else {
        return vec!["closed"];
    };
    let mut reasons = Vec::new();
    match health.failure {
        // The server that has the store takes records.
        Some(Error::Fenced { .. }) => reasons.push("fenced"),
        Some(_) => reasons.push("poisoned"),
        None => {}
    }
    if health.unanswered_for.is_some_and(|since| since >= STUCK) {
        reasons.push("unreachable");
    }
    if health.oldest_sync.is_some_and(|taken| taken >= STUCK) {
        reasons.push("stuck");
    }
    if health.is_nearly_full() {
        reasons.push("nearly full");
    }
    reasons
}
