//! A socket that is closed when the other side falls silent or stops reading.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The bytes of a connection, on which all waiting has an end.
///
/// Waiting for bytes ends after `idle`: a client that opens a connection and sends nothing, or half a request, costs a
/// few kilobytes and no thread, for that time. Waiting for room to write ends after `stall`: a client that does not
/// read its replies cannot keep them in our memory. The system takes little ahead of what it can send
/// ([`tcp_listener`](super::tcp_listener)), so a client that reads slowly is visible as progress here.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    idle: Patience,
    stall: Patience,
    /// Whether waiting for bytes has no end at present.
    waits_for_ever: bool,
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, idle: Duration, stall: Duration) -> Socket<S> {
        Socket {
            stream,
            idle: Patience::new(idle),
            stall: Patience::new(stall),
            waits_for_ever: false,
        }
    }

    /// Sets whether waiting for bytes has no end, because a request is being answered. The time begins again
    /// afterwards.
    pub(super) fn wait_for_ever(&mut self, is_so: bool) {
        self.waits_for_ever = is_so;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        if this.waits_for_ever {
            this.idle.waiting = false;
            return polled;
        }
        this.idle.watch(cx, polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.stall.watch(cx, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.stall.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Turns waiting that takes too long into an error.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Patience {
    fn new(limit: Duration) -> Patience {
        Patience {
            limit,
            timer: None,
            waiting: false,
        }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = false;
            return polled;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(self.limit)));
        if !self.waiting {
            self.waiting = true;
            timer.as_mut().reset(Instant::now() + self.limit);
        }
        match timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}
