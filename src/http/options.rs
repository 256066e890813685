use std::time::Duration;

use super::tls::TlsIdentity;

/// The largest head of a request, over HTTP/1.1 and HTTP/2: the names and values of all fields, and 32 bytes for each
/// of them.
pub(crate) const MAX_HEAD_BYTES: usize = 128 << 10;
/// The most header fields of a request.
pub(crate) const MAX_HEADERS: usize = 100;

/// The bounds of a server. The options that a user sets describe each.
#[derive(Debug, Clone)]
pub(crate) struct HttpOptions {
    pub(crate) max_connections: usize,
    pub(crate) max_request_bytes: usize,
    /// The largest reply that is counted.
    pub(crate) max_reply_bytes: usize,
    pub(crate) max_streams_per_connection: u32,
    pub(crate) max_buffered_request_bytes: usize,
    pub(crate) max_buffered_reply_bytes: usize,
    pub(crate) max_connection_request_bytes: usize,
    pub(crate) max_connection_reply_bytes: usize,
    pub(crate) idle_timeout: Duration,
    pub(crate) stall_timeout: Duration,
    pub(crate) body_idle_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) shutdown_grace: Duration,
    /// How long a handshake of TLS may take.
    pub(crate) handshake_timeout: Duration,
    /// The certificate, if TLS is spoken.
    pub(crate) tls: Option<TlsIdentity>,
}
