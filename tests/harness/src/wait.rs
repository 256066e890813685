//! Waits for events whose time is not known.

use std::time::{Duration, Instant};

/// Far more than anything takes: only an event that never comes takes longer.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Checks every millisecond.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it never happens: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
