//! TLS: the server's certificate, and the handshake at the beginning of a connection.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::server::ParsedCertificate;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::socket::Socket;
use crate::disk::{PrivateFileError, read_private, read_public};

/// A certificate with its key, by which a server proves its identity to its clients.
#[derive(Clone)]
pub struct TlsIdentity {
    config: Arc<ServerConfig>,
    certificate: CertificateDer<'static>,
}

/// Why there is no certificate to serve with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The certificate is missing.
    #[error("there is no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// The key is missing.
    #[error("there is no private key in PEM, which begins with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The key is protected with a passphrase, which cannot be given.
    #[error("the private key is encrypted; to decrypt it, type: openssl pkey -in FILE -out DECRYPTED_FILE")]
    EncryptedKey,
    /// The certificate or the key is unusable, or they do not belong together.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(String),
    /// No certificate can be made for a name.
    #[error("no certificate can be made for {name:?}; expected a name or an address, without a port")]
    Name {
        /// The name that was given.
        name: String,
    },
}

impl TlsIdentity {
    /// Reads a certificate, followed by those that signed it, and its key. Other users must not be able to read the
    /// key.
    ///
    /// # Errors
    /// If a file cannot be read or used, or they do not belong together.
    pub fn read(certificate: &Path, key: &Path) -> Result<TlsIdentity, TlsError> {
        TlsIdentity::from_pem(&read_public(certificate)?, &read_private(key)?)
    }

    /// A certificate, followed by those that signed it, and its key, both in PEM.
    ///
    /// # Errors
    /// If one of them is missing, or they do not belong together.
    pub fn from_pem(certificate: &str, key: &str) -> Result<TlsIdentity, TlsError> {
        let certificates = certificates(certificate)?;
        let own = certificates.first().cloned().ok_or(TlsError::NoCertificate)?;
        if key.contains("ENCRYPTED") {
            return Err(TlsError::EncryptedKey);
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| TlsError::NoKey)?;
        let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsIdentity {
            config: Arc::new(config),
            certificate: own,
        })
    }

    /// Whether the certificate is valid for this name or address, so that a client may use it for us.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        let certificate = ParsedCertificate::try_from(&self.certificate);
        let name = ServerName::try_from(host);
        certificate
            .ok()
            .zip(name.ok())
            .is_some_and(|(certificate, name)| verify_server_name(&certificate, &name).is_ok())
    }
}

pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = certificates.map_err(|_| TlsError::NoCertificate)?;
    match certificates.is_empty() {
        true => Err(TlsError::NoCertificate),
        false => Ok(certificates),
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys must not get into a log.
        formatter.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}

/// A connection's bytes as HTTP has them.
#[derive(Debug)]
pub(super) enum Transport<S> {
    Plain(Socket<S>),
    Tls(Box<TlsStream<Begun<Socket<S>>>>),
}

impl<S> Transport<S> {
    /// What the bytes come from and go to.
    pub(super) fn socket(&mut self) -> &mut Socket<S> {
        match self {
            Transport::Plain(socket) => socket,
            Transport::Tls(stream) => &mut stream.get_mut().0.stream,
        }
    }
}

/// Prepares the connection for HTTP. A client that does not finish its handshake in time is dropped.
pub(super) async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
    mut socket: Socket<S>,
    identity: Option<&TlsIdentity>,
    patience: Duration,
) -> io::Result<Transport<S>> {
    /// The first byte of every handshake of TLS.
    const HANDSHAKE: u8 = 22;
    let Some(identity) = identity else {
        return Ok(Transport::Plain(socket));
    };
    let handshake = async {
        let first = socket.read_u8().await?;
        if first != HANDSHAKE {
            tell_that_it_is_tls(&mut socket).await?;
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the client does not speak TLS",
            ));
        }
        let begun = Begun {
            first: Some(first),
            stream: socket,
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
        Ok(Transport::Tls(Box::new(acceptor.accept(begun).await?)))
    };
    timeout(patience, handshake).await?
}

/// Answers a client that speaks HTTP without TLS, in plain HTTP.
async fn tell_that_it_is_tls<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>) -> io::Result<()> {
    /// More of a request than this is not read. Unread bytes would make the system take the answer back.
    const MOST_SKIPPED: u64 = 64 << 10;
    const MESSAGE: &str = r#"{"message":"This port speaks TLS: the URL has to begin with https://"}"#;
    let reply = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: \
         close\r\n\r\n{MESSAGE}",
        MESSAGE.len()
    );
    socket.write_all(reply.as_bytes()).await?;
    socket.shutdown().await?;
    tokio::io::copy(&mut socket.take(MOST_SKIPPED), &mut tokio::io::sink()).await?;
    Ok(())
}

/// A stream whose first byte was already read, to find out its protocol.
#[derive(Debug)]
pub(super) struct Begun<S> {
    first: Option<u8>,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match this.first {
            Some(first) if buf.remaining() > 0 => {
                buf.put_slice(&[first]);
                this.first = None;
                Poll::Ready(Ok(()))
            }
            _ => Pin::new(&mut this.stream).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Transport<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Transport<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
