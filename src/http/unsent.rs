//! Actions for replies that do not reach their clients.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// An action that is done when this is dropped, unless the reply is known to be in the socket by then. Whether the
/// client has read it is not known: the system accepts the bytes, and reports a client that is gone later or never.
pub(crate) struct Unsent(Option<Box<dyn FnOnce() + Send>>);

impl Unsent {
    /// `undo` may not wait for anything.
    pub(crate) fn new(undo: impl FnOnce() + Send + 'static) -> Unsent {
        Unsent(Some(Box::new(undo)))
    }

    /// Drops the action, because the reply was sent.
    pub(super) fn note_sent(mut self) {
        self.0 = None;
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(undo) = self.0.take() {
            undo();
        }
    }
}

impl fmt::Debug for Unsent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Unsent")
    }
}

/// The replies of one connection that were written completely, and may not be in the socket: TLS keeps some bytes until
/// it is flushed.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether something was written since the last flush.
    is_behind: bool,
    /// Whether the connection has broken.
    is_lost: bool,
    unsent: Vec<Unsent>,
}

impl Written {
    /// Notes that bytes were written after the last flush.
    pub(super) fn note_write(&self) {
        self.state().is_behind = true;
    }

    /// Notes that everything that was written is in the socket.
    pub(super) fn note_flush(&self) {
        let mut state = self.state();
        state.is_behind = false;
        let sent = std::mem::take(&mut state.unsent);
        drop(state);
        sent.into_iter().for_each(Unsent::note_sent);
    }

    /// Notes that bytes which are not in the socket by now will not reach the client.
    pub(super) fn note_loss(&self) {
        let mut state = self.state();
        state.is_lost = true;
        let lost = std::mem::take(&mut state.unsent);
        drop(state);
        drop(lost);
    }

    /// Adds a reply that was written completely, or was thrown away when the connection broke.
    pub(super) fn add(&self, unsent: Unsent) {
        let mut state = self.state();
        match *state {
            State { is_lost: true, .. } => {
                drop(state);
                drop(unsent);
            }
            State { is_behind: true, .. } => state.unsent.push(unsent),
            _ => {
                drop(state);
                unsent.note_sent();
            }
        }
    }

    /// No action runs while the lock is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the actions that may still have to be done. A server that stops waits for them.
#[derive(Debug)]
pub(crate) struct Undoing(watch::Sender<()>);

/// A call whose effect may have to be undone. It is dropped when its reply is sent, or after it is undone.
#[derive(Debug)]
pub(crate) struct Undoable {
    _counted: watch::Receiver<()>,
}

impl Default for Undoing {
    fn default() -> Undoing {
        Undoing(watch::Sender::new(()))
    }
}

impl Undoing {
    pub(crate) fn begin(&self) -> Undoable {
        Undoable {
            _counted: self.0.subscribe(),
        }
    }

    /// Ready when nothing remains to be undone.
    pub(super) async fn is_done(&self) {
        self.0.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Replies, and how many of them were undone.
    fn counted() -> (impl Fn() -> Unsent, impl Fn() -> usize) {
        let done = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&done);
        let unsent = move || {
            let done = Arc::clone(&done);
            Unsent::new(move || {
                done.fetch_add(1, Ordering::SeqCst);
            })
        };
        (unsent, move || counted.load(Ordering::SeqCst))
    }

    #[test]
    fn it_is_done_once_unless_the_reply_is_sent() {
        let (unsent, done) = counted();
        unsent().note_sent();
        assert_eq!(done(), 0);
        drop(unsent());
        assert_eq!(done(), 1);
    }

    #[test]
    fn what_was_written_is_sent_by_the_next_flush_or_lost() {
        let (unsent, done) = counted();
        let written = Written::default();
        // Everything is flushed already.
        written.add(unsent());
        written.note_write();
        written.add(unsent());
        written.note_flush();
        written.note_loss();
        assert_eq!(done(), 0);
        let written = Written::default();
        written.note_write();
        written.add(unsent());
        written.note_loss();
        assert_eq!(done(), 1);
        written.note_flush();
        written.add(unsent());
        assert_eq!(done(), 2);
    }

    #[tokio::test]
    async fn all_is_undone_once_no_call_can_have_to_be() {
        let undoing = Undoing::default();
        undoing.is_done().await;
        let [first, second] = [(); 2].map(|()| undoing.begin());
        let mut is_done = std::pin::pin!(undoing.is_done());
        drop(first);
        let mut is_pending = || {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            is_done.as_mut().poll(&mut context).is_pending()
        };
        assert!(is_pending());
        drop(second);
        assert!(!is_pending());
    }
}
