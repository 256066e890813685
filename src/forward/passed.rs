//! The body of an answer on its way from one connection to another.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use super::connection::Sender;
use super::pool::{Patience, Pool};
use crate::http::BrokenOff;

/// The bytes that come from the other server. At their end the connection is free for the next request.
pub(super) struct Passed {
    from: Incoming,
    pool: Arc<Pool>,
    /// Until the end.
    connection: Option<(Sender, OwnedSemaphorePermit)>,
    /// Ready when the rest is no longer waited for.
    is_over: Pin<Box<dyn Future<Output = Patience> + Send>>,
}

impl Passed {
    pub(super) fn new(
        from: Incoming,
        pool: &Arc<Pool>,
        sender: Sender,
        permit: OwnedSemaphorePermit,
    ) -> Passed {
        let mut patience = pool.patience();
        let is_stream = from.size_hint().exact().is_none();
        let is_over = async move {
            let is_over = |patience: &Patience| match patience {
                Patience::All => false,
                Patience::NoStreams => is_stream,
                Patience::Nothing => true,
            };
            // The pool is there for as long as this is.
            patience
                .wait_for(is_over)
                .await
                .map_or(Patience::Nothing, |patience| *patience)
        };
        let mut passed = Passed {
            from,
            pool: Arc::clone(pool),
            connection: Some((sender, permit)),
            is_over: Box::pin(is_over),
        };
        if passed.from.is_end_stream() {
            passed.end();
        }
        passed
    }

    fn end(&mut self) {
        if let Some((sender, permit)) = self.connection.take() {
            self.pool.put_back(sender);
            drop(permit);
        }
    }
}

impl Body for Passed {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        match Pin::new(&mut this.from).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if this.from.is_end_stream() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(BrokenOff))),
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Pending => match this.is_over.as_mut().poll(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Patience::Nothing) => Poll::Ready(Some(Err(BrokenOff))),
                Poll::Ready(_) => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.from.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.from.size_hint()
    }
}
