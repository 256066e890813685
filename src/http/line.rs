//! The bytes of a connection as HTTP reads and writes them, whose end a request can see that is being answered.
//!
//! hyper reads nothing of HTTP/1 while a request is answered, so that a client may close its side and still gets its
//! answer. But who waits for long wants to know that its client is gone. So a request may read ahead: what comes is kept
//! for hyper, and so is the end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::{Connection, PollEnd};
use super::tls::Transport;

/// A client that sends so much ahead of its answer is there.
const MOST_AHEAD: usize = 16 << 10;

#[derive(Debug)]
pub(super) struct Line<S> {
    wire: Arc<Mutex<Wire<S>>>,
    connection: Arc<Connection>,
    is_write_vectored: bool,
}

#[derive(Debug)]
struct Wire<S> {
    transport: Transport<S>,
    /// What was read and is still to be given to hyper.
    ahead: Vec<u8>,
    end: Option<End>,
}

/// How the client's bytes have ended.
#[derive(Debug, Clone, Copy)]
enum End {
    Closed,
    Failed(io::ErrorKind),
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Line<S> {
    /// The line of this connection, which can see its end from now on.
    pub(super) fn new(transport: Transport<S>, connection: Arc<Connection>) -> Line<S> {
        let is_write_vectored = transport.is_write_vectored();
        let wire = Arc::new(Mutex::new(Wire {
            transport,
            ahead: Vec::new(),
            end: None,
        }));
        let end: Arc<dyn PollEnd> = Arc::clone(&wire) as _;
        connection.set_end(Arc::downgrade(&end));
        Line {
            wire,
            connection,
            is_write_vectored,
        }
    }

    /// Writes by `write`, and notes whether the client can still get a reply.
    fn write<T>(
        &self,
        write: impl FnOnce(Pin<&mut Transport<S>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut locked(&self.wire).transport));
        if matches!(written, Poll::Ready(Err(_))) {
            self.connection.note_broken();
        }
        written
    }
}

/// Only a request of the same task holds it besides, so it is never waited for.
fn locked<S>(wire: &Mutex<Wire<S>>) -> MutexGuard<'_, Wire<S>> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> PollEnd for Mutex<Wire<S>> {
    fn poll_end(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut wire = locked(self);
        while wire.end.is_none() {
            if wire.ahead.len() >= MOST_AHEAD {
                return Poll::Pending;
            }
            let mut bytes = [0; 1 << 10];
            let mut read = ReadBuf::new(&mut bytes);
            // The patience with which a request is waited for is none with which an answer is.
            wire.transport.socket().wait_for_ever(true);
            let polled = Pin::new(&mut wire.transport).poll_read(context, &mut read);
            wire.transport.socket().wait_for_ever(false);
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if read.filled().is_empty() => wire.end = Some(End::Closed),
                Poll::Ready(Ok(())) => wire.ahead.extend_from_slice(read.filled()),
                Poll::Ready(Err(error)) => wire.end = Some(End::Failed(error.kind())),
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for Line<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = locked(&self.wire);
        if !wire.ahead.is_empty() {
            let taken = wire.ahead.len().min(buf.remaining());
            buf.put_slice(&wire.ahead[..taken]);
            wire.ahead.drain(..taken);
            return Poll::Ready(Ok(()));
        }
        match wire.end {
            None => Pin::new(&mut wire.transport).poll_read(cx, buf),
            Some(End::Closed) => Poll::Ready(Ok(())),
            Some(End::Failed(kind)) => Poll::Ready(Err(kind.into())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for Line<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|transport| transport.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|transport| transport.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.is_write_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|transport| transport.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut locked(&self.wire).transport).poll_shutdown(cx)
    }
}
