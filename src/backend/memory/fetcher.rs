//! A thread that fetches, for reads that have to wait as for a log on another machine.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Weak};

use crate::error::{Error, Result};
use crate::sync::{Condvar, Mutex, Thread};

const NAME: &str = "anabranch-fetch";

/// A log for which something is fetched.
pub(super) trait Fetched: Debug + Send + Sync {
    /// The fetch is done.
    fn note_fetched(&self);
}

#[derive(Debug)]
pub(super) struct Fetcher {
    /// One in this many reads of a log has to wait.
    pub(super) reads_for_each_wait: u32,
    queue: Arc<Queue>,
    thread: Mutex<Option<Thread>>,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    asked: VecDeque<Weak<dyn Fetched>>,
    is_stopped: bool,
}

impl Fetcher {
    pub(super) fn start(reads_for_each_wait: u32) -> Result<Self> {
        let queue = Arc::<Queue>::default();
        let of_thread = queue.clone();
        let thread = Thread::spawn(NAME.to_owned(), move || of_thread.fetch_all())
            .map_err(|error| Error::no_thread(NAME, error))?;
        Ok(Self {
            // The repeated read after a wait must not wait again.
            reads_for_each_wait: reads_for_each_wait.max(2),
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Asks for a fetch for a log. False if the thread has ended, so that there is nothing to wait for.
    pub(super) fn ask(&self, log: Weak<dyn Fetched>) -> bool {
        let mut state = self.queue.state.lock();
        if state.is_stopped {
            return false;
        }
        state.asked.push_back(log);
        drop(state);
        self.queue.changed.notify_one();
        true
    }

    /// Ends the thread after the fetches that were asked for.
    pub(super) fn stop(&self) {
        self.queue.state.lock().is_stopped = true;
        self.queue.changed.notify_one();
        let thread = self.thread.lock().take();
        // The thread itself may be the last to drop a log.
        if let Some(thread) = thread.filter(|thread| !thread.is_current()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Queue {
    fn fetch_all(&self) {
        let mut state = self.state.lock();
        loop {
            match state.asked.pop_front() {
                Some(log) => {
                    drop(state);
                    if let Some(log) = log.upgrade() {
                        log.note_fetched();
                    }
                    state = self.state.lock();
                }
                None if state.is_stopped => return,
                None => state = self.changed.wait(state),
            }
        }
    }
}
