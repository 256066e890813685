//! Waking readers that wait at the ends of logs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::sync::{AtomicUsize, Condvar, Mutex};

/// The signals that a log raises when it changes: when more is committed, and when it is closed, deleted or dropped.
#[derive(Debug, Default)]
pub(crate) struct LogChanges {
    /// The number of signals, so that a log without watches pays one load for each commit.
    watched: AtomicUsize,
    signals: Mutex<Vec<Arc<Signal>>>,
}

impl LogChanges {
    /// Raises all signals. The caller has made the change visible before.
    pub(crate) fn notify(&self) {
        // A watch is counted before its owner looks at the log. So if this finds none, a later look finds the change:
        // the locks in which it is made and looked at order the two.
        if self.watched.load(Ordering::SeqCst) == 0 {
            return;
        }
        let signals = self.signals.lock().clone();
        for signal in signals {
            signal.raise();
        }
    }

    /// Whether there is a signal to be raised.
    pub(crate) fn are_watched(&self) -> bool {
        self.watched.load(Ordering::SeqCst) > 0
    }

    /// Makes every later change raise this signal.
    pub(crate) fn raise_at_each(&self, signal: &Arc<Signal>) {
        let mut signals = self.signals.lock();
        signals.push(signal.clone());
        self.watched.store(signals.len(), Ordering::SeqCst);
    }

    pub(crate) fn forget(&self, signal: &Arc<Signal>) {
        let mut signals = self.signals.lock();
        signals.retain(|other| !Arc::ptr_eq(other, signal));
        self.watched.store(signals.len(), Ordering::SeqCst);
    }
}

/// Raised by logs. One owner waits for it and lowers it.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<SignalState>,
    raised: Condvar,
}

#[derive(Debug, Default)]
struct SignalState {
    is_raised: bool,
    waker: Option<Waker>,
}

impl Signal {
    /// Blocks until the signal is raised, and lowers it; false if it was not raised within `limit`.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now().checked_add(limit);
        let mut state = self.state.lock();
        while !state.is_raised {
            let left = deadline.map_or(limit, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return false;
            }
            state = self.raised.wait_timeout(state, left);
        }
        state.is_raised = false;
        true
    }

    /// Lowers the signal if it is raised; otherwise the task is woken when it is.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.is_raised) {
            return Poll::Ready(());
        }
        let is_known = (state.waker.as_ref()).is_some_and(|waker| waker.will_wake(context.waker()));
        if !is_known {
            state.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    pub(crate) fn raise(&self) {
        let mut state = self.state.lock();
        state.is_raised = true;
        let waker = state.waker.take();
        drop(state);
        self.raised.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
