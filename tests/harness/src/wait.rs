//! Waiting for what must happen, but nothing says when.

use std::time::{Duration, Instant};

/// Far more than anything takes: only what never happens meets it.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Looks every millisecond.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it never happens: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
