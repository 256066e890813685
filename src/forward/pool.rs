//! The connections with another server on which nothing is asked, and what is still waited for of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connection::Sender;

/// A connection that was silent for longer may be about to be closed by the other server.
const MOST_IDLE: Duration = Duration::from_secs(60);

/// A connection whose answer has come is ready for another request within so long, or not worth waiting for.
const SOON: Duration = Duration::from_millis(50);

/// What is kept of a server between requests.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<(Sender, Instant)>>,
    patience: watch::Sender<Patience>,
    /// Set when the other server is about to stop: it closes connections on which nothing is asked, and would lose a
    /// request that is sent at that moment.
    is_left: AtomicBool,
}

/// What is still waited for of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    All,
    /// Answers that have an end: this server stops.
    NoStreams,
    /// Nothing: the other server is gone, or another one has its place.
    Nothing,
}

impl Pool {
    pub(super) fn new() -> Pool {
        Pool {
            idle: Mutex::default(),
            patience: watch::Sender::new(Patience::All),
            is_left: AtomicBool::new(false),
        }
    }

    /// A connection on which nothing is asked.
    pub(super) async fn take(&self) -> Option<Sender> {
        loop {
            let (mut sender, since) = self.idle().pop()?;
            let is_fresh = since.elapsed() < MOST_IDLE;
            if is_fresh && matches!(timeout(SOON, sender.ready()).await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
    }

    /// Keeps a connection for the next request, now that its answer was passed on.
    pub(super) fn put_back(&self, sender: Sender) {
        let mut idle = self.idle();
        // Looked at with the lock held, so `leave` finds every connection that is kept.
        let is_kept = *self.patience.borrow() != Patience::Nothing && !self.is_left();
        if is_kept && !sender.is_closed() {
            // The oldest come first.
            let stale = idle
                .iter()
                .take_while(|(_, since)| since.elapsed() >= MOST_IDLE)
                .count();
            idle.drain(..stale);
            idle.push((sender, Instant::now()));
        }
    }

    /// What is still waited for.
    pub(super) fn patience(&self) -> watch::Receiver<Patience> {
        self.patience.subscribe()
    }

    /// Sends no more requests, and closes each connection once its request is answered.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Ordering::SeqCst);
        self.idle().clear();
    }

    /// Whether no more requests are sent.
    pub(super) fn is_left(&self) -> bool {
        self.is_left.load(Ordering::SeqCst)
    }

    /// Waits for nothing any more.
    pub(super) fn give_up(&self) {
        self.patience.send_replace(Patience::Nothing);
        self.idle().clear();
    }

    /// Waits for no answers any more that have no end.
    pub(super) fn end_streams(&self) {
        self.patience.send_if_modified(|patience| {
            let is_first = *patience == Patience::All;
            if is_first {
                *patience = Patience::NoStreams;
            }
            is_first
        });
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Sender, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
