//! What becomes of a reply that does not reach its client.

use std::fmt;

/// What is done when this is dropped, unless the reply is known to be in the socket by then. That its client has read it
/// is not known: the system takes what it is given, and tells of a client that is gone later or never.
pub(crate) struct Unsent(Option<Box<dyn FnOnce() + Send>>);

impl Unsent {
    /// It may not wait for anything.
    pub(crate) fn new(undo: impl FnOnce() + Send + 'static) -> Unsent {
        Unsent(Some(Box::new(undo)))
    }

    /// Nothing is to be done.
    pub(super) fn is_sent(mut self) {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn it_is_done_once_unless_the_reply_is_sent() {
        let done = Arc::new(AtomicUsize::new(0));
        let unsent = || {
            let done = Arc::clone(&done);
            Unsent::new(move || {
                done.fetch_add(1, Ordering::SeqCst);
            })
        };
        unsent().is_sent();
        assert_eq!(done.load(Ordering::SeqCst), 0);
        drop(unsent());
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }
}
