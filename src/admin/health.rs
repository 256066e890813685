//! Whether a store is well, for what watches a server.

use hyper::StatusCode;
use serde_json::json;

use crate::Store;

/// The status and the body of `/health`. It may be shown to anyone, so it names no file and has no message of an error.
pub(super) fn health_of(store: &Store) -> (StatusCode, String) {
    let reasons = reasons(store);
    let (status, word) = match reasons.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    (status, json!({ "status": word, "reasons": reasons }).to_string())
}

/// Why the store is not well.
fn reasons(store: &Store) -> Vec<&'static str> {
    // The one error that there is: the store is closed.
    let Ok(health) = store.health() else {
        return vec!["closed"];
    };
    let mut reasons = Vec::new();
    if health.failure.is_some() {
        reasons.push("poisoned");
    }
    if health.is_nearly_full() {
        reasons.push("nearly full");
    }
    reasons
}
