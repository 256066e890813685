//! Waking and stopping the keeper's thread.

use std::time::Duration;

use crate::sync::{Condvar, Mutex};

/// Wakes the keeper, and stops it.
#[derive(Debug, Default)]
pub(super) struct KeeperSignal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    is_awake: bool,
    is_stopped: bool,
}

impl KeeperSignal {
    pub(super) fn wake(&self) {
        self.state.lock().is_awake = true;
        self.changed.notify_all();
    }

    pub(super) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.changed.notify_all();
    }

    /// Sleeps until woken or until `limit` has passed; false once stopped.
    pub(super) fn sleep(&self, limit: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_awake && !state.is_stopped {
            state = self.changed.wait_timeout(state, limit);
        }
        state.is_awake = false;
        !state.is_stopped
    }
}
