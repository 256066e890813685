//! Waiting in a thread for a group that a task commits.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::error::Result;
use crate::seam::{Awaited, Committer, Outcome, Signal};

/// Commits nothing itself: a group is being committed from its first record on.
#[derive(Debug)]
pub(super) struct Waiter;

impl Committer for Waiter {
    fn wait_for(&self, outcome: &Outcome) -> Result<()> {
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(woken.clone());
        let mut place = None;
        loop {
            if let Some(result) = outcome.register(&waker, &mut place) {
                return result;
            }
            woken.0.wait(Duration::MAX);
        }
    }

    fn wait_for_all(&self, awaited: &[&Awaited]) {
        for awaited in awaited {
            // Each ticket tells its own.
            let _ = self.wait_for(awaited.outcome());
        }
    }

    fn have_committed(&self, _: &[&Awaited]) {}
}

#[derive(Default)]
struct Woken(Signal);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.raise();
    }
}
