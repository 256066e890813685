//! Waking readers that wait at the head.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sync::{AtomicUsize, Condvar, Mutex};

/// Counts commits and reshards, but only while somebody waits for one, so that it costs writers next to nothing.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    waiting: AtomicUsize,
    events: Mutex<u64>,
    changed: Condvar,
}

/// A promise that whatever happens from now on ends the wait.
pub(crate) struct Watch<'a> {
    activity: &'a Activity,
    seen: u64,
}

impl Activity {
    pub(crate) fn notify(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            *self.events.lock() += 1;
            self.changed.notify_all();
        }
    }

    /// Begins to watch. Look for what is awaited after this, then wait.
    pub(crate) fn watch(&self) -> Watch<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Watch {
            activity: self,
            seen: *self.events.lock(),
        }
    }
}

impl Watch<'_> {
    /// Blocks until something has happened since the watch began, or `limit` is over.
    pub(crate) fn wait(self, limit: Duration) {
        let events = self.activity.events.lock();
        if *events == self.seen {
            drop(self.activity.changed.wait_timeout(events, limit));
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.activity.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
