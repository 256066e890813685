use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

/// Where a server takes its connections from.
///
/// The server's own listens on TCP. Another one lets it run over anything that carries bytes: a simulated network, or a
/// socket of another kind.
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

    /// Waits for the next connection, and says where it comes from. Dropping the future must lose no connection.
    ///
    /// After an error the server pauses and goes on accepting.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Connection, SocketAddr)>> + Send;

    /// Takes a connection only to close it, when this process has no descriptor left: its client knows at once, and
    /// those behind it do not wait for nothing. Whether that could be done.
    fn turn_one_away(&mut self) -> impl Future<Output = bool> + Send {
        async { false }
    }
}
