//! Whether a store is well, for what watches a server.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::{Space, Store};

/// A sync that has not ended after so long ends late or never.
const STUCK: Duration = Duration::from_secs(10);

/// The status and the body of `/health`, with the room as it was last seen. It may be shown to anyone, so it names no file
/// and has no message of an error. `owner` is where a server takes calls that has the store of several. Waits for nothing.
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
    // The one error that there is: the store is closed.
    let Ok(health) = store.health_at_once(room) else {
        return vec!["closed"];
    };
    let mut reasons = Vec::new();
    if health.failure.is_some() {
        reasons.push("poisoned");
    }
    if health.oldest_sync.is_some_and(|taken| taken >= STUCK) {
        reasons.push("stuck");
    }
    if health.is_nearly_full() {
        reasons.push("nearly full");
    }
    reasons
}
