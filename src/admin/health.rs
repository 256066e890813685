//! The health of a store, for programs that monitor a server.

use hyper::StatusCode;
use serde_json::json;

use super::hanging::STUCK;
use crate::{Error, Space, Store};

/// The status and the body of `/health`, with the last known space. It may be shown to anyone, so it has no file names
/// and no messages of errors. Never waits.
pub(super) fn health_of(store: &Store, room: Option<Space>) -> (StatusCode, String) {
    let reasons = reasons(store, room);
    let (status, word) = match reasons.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    (status, json!({ "status": word, "reasons": reasons }).to_string())
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
