//! One connection with another server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::address::PeerAddress;

/// How long connecting may take, and also the handshake of TLS.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// After this time without bytes, the system probes the other machine, and repeats that at such intervals. Otherwise an
/// answer that never comes would be waited for.
const SILENCE: Duration = Duration::from_secs(10);
const RETRIES: u32 = 3;
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How many bytes are read ahead of the client.
const MOST_AHEAD: usize = 128 << 10;

pub(super) type Sender = SendRequest<Full<Bytes>>;

/// Connects, and runs the connection in a task until it ends.
pub(super) async fn connect(address: &PeerAddress, tls: Option<&Arc<ClientConfig>>) -> io::Result<Sender> {
    let connecting = async {
        let socket = TcpStream::connect((address.host.as_str(), address.port)).await?;
        socket.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(SILENCE)
            .with_interval(RETRY_INTERVAL)
            .with_retries(RETRIES);
        SockRef::from(&socket).set_tcp_keepalive(&keepalive)?;
        match tls {
            None => begin(socket).await,
            Some(config) => {
                let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
                let stream = TlsConnector::from(Arc::clone(config))
                    .connect(name, socket)
                    .await?;
                begin(stream).await
            }
        }
    };
    timeout(CONNECT_LIMIT, connecting).await?
}

async fn begin(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Sender> {
    let begun = http1::Builder::new()
        .max_buf_size(MOST_AHEAD)
        .handshake(TokioIo::new(stream))
        .await;
    let (sender, connection) = begun.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // The user of the connection gets its error.
        let _ = connection.await;
    });
    Ok(sender)
}
