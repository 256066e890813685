//! Another server, and the connections with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64_simd::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use rustls::ClientConfig;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::address::PeerAddress;
use super::connection::{Sender, connect};
use super::headers::{request_of, without_connection};
use super::passed::Passed;
use super::pinned;
use crate::http::{Reply, ReplyBody};

/// A connection that was silent for longer may be about to be closed by the other server.
const MOST_IDLE: Duration = Duration::from_secs(60);

/// A connection whose answer has come is ready for another request within so long, or not worth waiting for.
const SOON: Duration = Duration::from_millis(50);

/// A server at one address, to which requests are passed on.
#[derive(Debug)]
pub(crate) struct Peer {
    address: PeerAddress,
    tls: Option<Arc<ClientConfig>>,
    token: HeaderValue,
    idle: Mutex<Vec<(Sender, Instant)>>,
    /// One permit for each connection that is in use.
    connections: Arc<Semaphore>,
    patience: watch::Sender<Patience>,
}

/// What is still waited for of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    All,
    /// Answers that have an end: this server stops.
    NoStreams,
    /// Nothing: the other server is gone, or another one has its place.
    Nothing,
}

/// Why a request has no answer.
#[derive(Debug, Error)]
pub(crate) enum Unpassed {
    /// Nothing of it has reached the other server.
    #[error("{0}")]
    NotSent(String),
    /// As many are on their way as may be.
    #[error("too many requests are on their way")]
    Full,
    /// The other server may have done what it asks for.
    #[error("{0}")]
    Unknown(String),
}

impl Peer {
    /// The server at this address, which shows this certificate (in base64) if it speaks TLS, and knows what is passed on
    /// to it by `token`. At most `most_connections` requests are on their way at once.
    ///
    /// # Errors
    /// Why nothing can be passed on to it.
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
            idle: Mutex::default(),
            connections: most_connections,
            patience: watch::Sender::new(Patience::All),
        })
    }

    /// Sends a request whose body has come as a whole, once, and gives the answer's head as soon as it is there.
    pub(crate) async fn pass(self: &Arc<Self>, head: &Parts, body: &Bytes) -> Result<Reply, Unpassed> {
        let permit = Arc::clone(&self.connections).try_acquire_owned();
        let permit = permit.map_err(|_| Unpassed::Full)?;
        let mut patience = self.patience();
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

    /// Has no request wait for this server any more: it is gone, or another one has its place.
    pub(crate) fn give_up(&self) {
        self.patience.send_replace(Patience::Nothing);
        self.idle().clear();
    }

    /// Ends answers that have no end of their own, in order: this server stops.
    pub(crate) fn end_streams(&self) {
        self.patience.send_if_modified(|patience| {
            let is_first = *patience == Patience::All;
            if is_first {
                *patience = Patience::NoStreams;
            }
            is_first
        });
    }

    async fn send(
        self: &Arc<Self>,
        head: &Parts,
        body: &Bytes,
        permit: OwnedSemaphorePermit,
        is_sent: &AtomicBool,
    ) -> Result<Reply, Unpassed> {
        loop {
            let (mut sender, is_new) = match self.take_idle().await {
                Some(sender) => (sender, false),
                None => {
                    let connected = connect(&self.address, self.tls.as_ref()).await;
                    let sender = connected.map_err(|error| Unpassed::NotSent(error.to_string()))?;
                    (sender, true)
                }
            };
            let request = request_of(head, &self.token, Full::new(body.clone()));
            is_sent.store(true, Ordering::Relaxed);
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    let (mut parts, body) = answer.into_parts();
                    parts.headers = without_connection(&parts.headers);
                    let passed = Passed::new(body, self, sender, permit);
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

    /// A connection on which nothing is asked.
    async fn take_idle(&self) -> Option<Sender> {
        loop {
            let (mut sender, since) = self.idle().pop()?;
            let is_fresh = since.elapsed() < MOST_IDLE;
            if is_fresh && matches!(timeout(SOON, sender.ready()).await, Ok(Ok(()))) {
                return Some(sender);
            }
        }
    }

    /// For the next request, now that its answer was passed on.
    pub(super) fn put_back(&self, sender: Sender) {
        if *self.patience.borrow() != Patience::Nothing && !sender.is_closed() {
            let mut idle = self.idle();
            // The oldest come first.
            let stale = idle
                .iter()
                .take_while(|(_, since)| since.elapsed() >= MOST_IDLE)
                .count();
            idle.drain(..stale);
            idle.push((sender, Instant::now()));
        }
    }

    /// What is still waited for.
    pub(super) fn patience(&self) -> watch::Receiver<Patience> {
        self.patience.subscribe()
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Sender, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
