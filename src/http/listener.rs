use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

/// The source of a server's connections.
///
/// The server's own listens on TCP. Another one can run the server over anything that carries bytes: a simulated
/// network, or another kind of socket.
///
/// ```
/// use std::io;
/// use std::net::{Ipv4Addr, SocketAddr};
///
/// use anabranch::kinesis::Listener;
/// use tokio::net::{UnixListener, UnixStream};
///
/// struct OnUnixSocket(UnixListener);
///
/// impl Listener for OnUnixSocket {
///     type Connection = UnixStream;
///
///     async fn accept(&mut self) -> io::Result<(UnixStream, SocketAddr)> {
///         let (stream, _) = self.0.accept().await?;
///         Ok((stream, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
///     }
/// }
/// ```
pub trait Listener: Send + 'static {
    /// A connection with a client.
    type Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection, and gives its client's address. Dropping the future must lose no connection.
    ///
    /// After an error the server pauses and goes on accepting.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Connection, SocketAddr)>> + Send;

    /// Accepts a connection only to close it, when this process has no descriptor left, so that its client knows at
    /// once and the clients behind it do not wait. Returns whether that was possible.
    fn turn_one_away(&mut self) -> impl Future<Output = bool> + Send {
        async { false }
    }
}
