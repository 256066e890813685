//! The bytes of a connection as HTTP reads and writes them, with a way for a waiting request to see their end.
//!
//! hyper reads nothing of HTTP/1 while a request is answered, so that a client may close its side and still gets its
//! answer. But a request that waits for long has to know that its client is gone. So it may read ahead: the bytes are
//! kept for hyper, and so is the end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connections::{Connection, PollEnd};
use super::tls::Transport;
use super::unsent::Written;

/// A client that sends so much ahead of its answer is not gone. The bytes count for no budget; each connection may have
/// them.
const MOST_AHEAD: usize = 4 << 10;

#[derive(Debug)]
pub(super) struct Line<S> {
    wire: Arc<Mutex<Wire<S>>>,
    connection: Arc<Connection>,
    is_write_vectored: bool,
}

#[derive(Debug)]
struct Wire<S> {
    transport: Transport<S>,
    /// Bytes that were read and are still to be given to hyper.
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

    /// Writes or flushes with `write`, and notes what the result says about replies.
    fn write<T>(
        &self,
        write: impl FnOnce(Pin<&mut Transport<S>>) -> Poll<io::Result<T>>,
        note: impl FnOnce(&Written),
    ) -> Poll<io::Result<T>> {
        let done = write(Pin::new(&mut locked(&self.wire).transport));
        match done {
            Poll::Ready(Ok(_)) => note(self.connection.written()),
            Poll::Ready(Err(_)) => self.connection.written().note_loss(),
            Poll::Pending => {}
        }
        done
    }

    /// Notes whether the client can still get a reply, before hyper knows it: HTTP/2 drops its queue when it can read
    /// no more.
    fn note_read(&self, read: &Poll<io::Result<()>>, is_end: bool) {
        let breaks_off = match read {
            Poll::Ready(Ok(())) => is_end && self.connection.is_http2(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if breaks_off {
            self.connection.written().note_loss();
        }
    }
}

/// Only a request of the same task uses it too, so the lock never waits.
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
            // The time limit for receiving a request does not apply to waiting for an answer.
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
            if wire.ahead.is_empty() {
                // Its memory is not kept after the wait.
                wire.ahead = Vec::new();
            }
            return Poll::Ready(Ok(()));
        }
        let (filled, room) = (buf.filled().len(), buf.remaining());
        let read = match wire.end {
            None => Pin::new(&mut wire.transport).poll_read(cx, buf),
            Some(End::Closed) => Poll::Ready(Ok(())),
            Some(End::Failed(kind)) => Poll::Ready(Err(kind.into())),
        };
        drop(wire);
        self.note_read(&read, room > 0 && buf.filled().len() == filled);
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for Line<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|transport| transport.poll_write(cx, buf), Written::note_write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(
            |transport| transport.poll_write_vectored(cx, bufs),
            Written::note_write,
        )
    }

    fn is_write_vectored(&self) -> bool {
        self.is_write_vectored
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|transport| transport.poll_flush(cx), Written::note_flush)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut locked(&self.wire).transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::super::connections::{ConnectionMemory, Connections};
    use super::super::socket::Socket;
    use super::super::unsent::Unsent;
    use super::*;

    fn line<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> (Line<S>, Arc<Connection>) {
        const LONG: Duration = Duration::from_secs(600);
        let memory = ConnectionMemory {
            requests: 1,
            small_requests: 1,
            replies: 1,
            small_replies: 1,
        };
        let connection = Connections::new(memory).add();
        let transport = Transport::Plain(Socket::new(stream, LONG, LONG));
        (Line::new(transport, Arc::clone(&connection)), connection)
    }

    /// Writes a reply to this connection. Gives whether it is undone.
    fn reply(connection: &Connection) -> Arc<AtomicBool> {
        let undone = Arc::new(AtomicBool::new(false));
        let undo = Arc::clone(&undone);
        let unsent = Unsent::new(move || undo.store(true, Ordering::SeqCst));
        connection.written().add(unsent);
        undone
    }

    /// Takes written bytes, and keeps them unless it is open.
    struct Keeping {
        inner: DuplexStream,
        is_open: Arc<AtomicBool>,
    }

    impl AsyncRead for Keeping {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Keeping {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.inner).poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.is_open.load(Ordering::SeqCst) {
                true => Poll::Ready(Ok(())),
                false => Poll::Pending,
            }
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_shutdown(cx)
        }
    }

    #[tokio::test]
    async fn a_reply_that_was_written_is_sent_once_it_is_flushed() {
        for is_flushed in [false, true] {
            let (client, inner) = duplex(1 << 10);
            let is_open = Arc::new(AtomicBool::new(false));
            let (mut line, connection) = line(Keeping {
                inner,
                is_open: Arc::clone(&is_open),
            });
            line.write_all(b"reply").await.unwrap();
            let undone = reply(&connection);
            let mut flush = async || {
                poll_fn(|context| Poll::Ready(Pin::new(&mut line).poll_flush(context).is_ready())).await
            };
            assert!(!flush().await);
            is_open.store(is_flushed, Ordering::SeqCst);
            assert_eq!(flush().await, is_flushed);
            connection.written().note_loss();
            assert_eq!(undone.load(Ordering::SeqCst), !is_flushed);
            drop(client);
        }
    }

    #[tokio::test]
    async fn the_end_of_what_a_client_sends_breaks_off_http2_alone() {
        for is_http2 in [false, true] {
            let (client, inner) = duplex(1 << 10);
            let (mut line, connection) = line(inner);
            let _stream = is_http2.then(|| connection.begin_stream());
            drop(client);
            assert_eq!(line.read(&mut [0; 10]).await.unwrap(), 0);
            let undone = reply(&connection);
            assert_eq!(undone.load(Ordering::SeqCst), is_http2);
        }
    }

    #[tokio::test]
    async fn what_is_read_ahead_is_little_and_leaves_no_room_behind() {
        const SENT: usize = 8 << 10;
        let (mut client, inner) = duplex(SENT);
        let (mut line, connection) = line(inner);
        client.write_all(&[7; SENT]).await.unwrap();
        assert!(!connection.has_client_ended().await);
        let ahead = locked(&line.wire).ahead.len();
        assert!((1..=MOST_AHEAD + (1 << 10)).contains(&ahead), "{ahead}");
        let mut read = vec![0; SENT];
        line.read_exact(&mut read).await.unwrap();
        assert_eq!(read, [7; SENT]);
        assert_eq!(locked(&line.wire).ahead.capacity(), 0);
    }
}
