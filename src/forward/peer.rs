//! Another server, and the connections to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64_simd::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::address::PeerAddress;
use super::connection::connect;
use super::headers::{request_of, without_connection};
use super::passed::Passed;
use super::pinned;
use super::pool::{Patience, Pool};
use crate::http::{Reply, ReplyBody};

/// A server at one address, to which requests are passed on.
#[derive(Debug)]
pub(crate) struct Peer {
    address: PeerAddress,
    tls: Option<Arc<ClientConfig>>,
    token: HeaderValue,
    pool: Arc<Pool>,
    /// One permit for each connection that is in use.
    connections: Arc<Semaphore>,
}

/// Why a request has no answer.
#[derive(Debug, Error)]
pub(crate) enum Unpassed {
    /// Nothing of it has reached the other server.
    #[error("{0}")]
    NotSent(String),
    /// The limit of requests in flight is reached.
    #[error("too many requests are on their way")]
    Full,
    /// The other server may have carried out the request.
    #[error("{0}")]
    Unknown(String),
}

impl Peer {
    /// The server at this address. If it uses TLS, it shows this certificate (in base64). It recognizes requests that
    /// are passed on to it by `token`. At most `most_connections` requests are in flight at once.
    ///
    /// # Errors
    /// The reason why nothing can be passed on to it.
    pub(crate) fn new(
        url: &str,
        certificate: Option<&str>,
        token: &str,
        most_connections: Arc<Semaphore>,
    ) -> Result<Peer, String> {
        let address = PeerAddress::parse(url).ok_or_else(|| format!("{url} is no address of a server"))?;
        let tls = match (address.is_tls, certificate) {
            (false, _) => None,
            (true, None) => return Err(format!("{url} has told no certificate")),
            (true, Some(certificate)) => {
                let decoded = BASE64
                    .decode_to_vec(certificate)
                    .map_err(|error| error.to_string())?;
                Some(pinned::config_for(decoded).map_err(|error| error.to_string())?)
            }
        };
        Ok(Peer {
            address,
            tls,
            token: HeaderValue::from_str(token).map_err(|error| error.to_string())?,
            pool: Arc::new(Pool::new()),
            connections: most_connections,
        })
    }

    /// Sends a request whose body has come as a whole, once, and gives the answer's head as soon as it is there.
    pub(crate) async fn pass(&self, head: &Parts, body: &Bytes) -> Result<Reply, Unpassed> {
        let permit = Arc::clone(&self.connections).try_acquire_owned();
        let permit = permit.map_err(|_| Unpassed::Full)?;
        let mut patience = self.pool.patience();
        let is_sent = AtomicBool::new(false);
        tokio::select! {
            biased;
            answered = self.send(head, body, permit, &is_sent) => answered,
            _ = patience.wait_for(|patience| *patience == Patience::Nothing) => {
                let reason = "the server is gone, or another one has its place".to_owned();
                match is_sent.load(Ordering::Relaxed) {
                    true => Err(Unpassed::Unknown(reason)),
                    false => Err(Unpassed::NotSent(reason)),
                }
            }
        }
    }

    /// Sends no more requests to this server, which is about to stop. Requests in flight are waited for.
    pub(crate) fn leave(&self) {
        self.pool.leave();
    }

    /// From now on no request waits for this server: it is gone, or another one has its place.
    pub(crate) fn give_up(&self) {
        self.pool.give_up();
    }

    /// Ends answers that would never end, in order, because this server is stopping.
    pub(crate) fn end_streams(&self) {
        self.pool.end_streams();
    }

    async fn send(
        &self,
        head: &Parts,
        body: &Bytes,
        permit: OwnedSemaphorePermit,
        is_sent: &AtomicBool,
    ) -> Result<Reply, Unpassed> {
        loop {
            let (mut sender, is_new) = match self.pool.take().await {
                Some(sender) => (sender, false),
                None => {
                    let connected = connect(&self.address, self.tls.as_ref()).await;
                    let sender = connected.map_err(|error| Unpassed::NotSent(error.to_string()))?;
                    (sender, true)
                }
            };
            if self.pool.is_left() {
                return Err(Unpassed::NotSent("the server is about to stop".to_owned()));
            }
            let request = request_of(head, &self.token, Full::new(body.clone()));
            is_sent.store(true, Ordering::Relaxed);
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    let (mut parts, body) = answer.into_parts();
                    parts.headers = without_connection(&parts.headers);
                    let passed = Passed::new(body, &self.pool, sender, permit);
                    return Ok(Response::from_parts(parts, ReplyBody::passed(Box::pin(passed))));
                }
                Err(mut error) => {
                    let was_sent = error.take_message().is_none();
                    let error = error.into_error();
                    match (was_sent, is_new) {
                        (true, _) => return Err(Unpassed::Unknown(error.to_string())),
                        (false, true) => return Err(Unpassed::NotSent(error.to_string())),
                        // It had been closed.
                        (false, false) => is_sent.store(false, Ordering::Relaxed),
                    }
                }
            }
        }
    }
}
