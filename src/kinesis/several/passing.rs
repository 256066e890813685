//! Requests to a server while another one has the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};

use crate::admin::{Calls, ForwardingPages, Page, Shown};
use crate::console::Console;
use crate::forward::{OWNER, Peer, Unpassed};
use crate::http::{Admission, Connection, Reply, Resources, USUAL_HEAD_BYTES, head_bytes, is_head_too_large};
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::front::{
    ContentType, REQUEST_ID, Target, body_error_reply, body_failure, error_reply, head_too_large, may_be_page,
};
use crate::kinesis::request_id::UniqueNumbers;
use crate::kinesis::service::Pages;

/// How long a call waits for a server that takes it, if nothing of it was sent.
const PATIENCE: Duration = Duration::from_secs(15);

/// The pause between two attempts to send a call, unless there is news of the owner.
const PAUSE: Duration = Duration::from_millis(100);

/// The least time between two warnings.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(10);

/// Passes requests on to the owner.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) admission: Admission,
    pub(super) http: Arc<Resources>,
    pub(super) calls: Arc<Calls>,
    pub(super) pages: Arc<ForwardingPages>,
    /// Which of the pages are beside the API.
    pub(super) pages_here: Pages,
    pub(super) has_console: bool,
    pub(super) request_ids: UniqueNumbers,
    /// The server that calls are passed on to, if it is known.
    pub(super) owner: watch::Sender<Option<Arc<Peer>>>,
    /// Signalled when a call could not be passed on.
    pub(super) is_owner_wanted: Notify,
    pub(super) warned: Mutex<Option<Instant>>,
}

impl Passing {
    pub(super) async fn answer(&self, connection: &Arc<Connection>, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        let is_for_console = self.has_console
            && self.pages_here.have_console()
            && Console::is_asked_for(&parts)
            && may_be_page(&parts);
        let admitted = match is_for_console {
            true => self.admission.admit_to_own_pages(&parts),
            false => self.admission.admit(&parts),
        };
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refusal) => {
                self.http.bodies.discard(body).await;
                debug!(%refusal, "a request was not let in");
                let error = ApiError::new(403, exception::ACCESS_DENIED, refusal.to_string());
                return self.failure(&parts.headers, &error);
            }
        };
        if is_for_console {
            self.http.bodies.discard(body).await;
            return self.pages.console();
        }
        let page =
            Page::at(parts.uri.path()).filter(|page| self.pages_here.has(*page) && may_be_page(&parts));
        let mut reply = match (admitted.preflight(&parts), page) {
            (Some(preflight), _) => {
                self.http.bodies.discard(body).await;
                preflight
            }
            (None, Some(page)) => {
                self.http.bodies.discard(body).await;
                self.pages.answer(page, &parts.method)
            }
            (None, None) => self.call(connection, &parts, body).await,
        };
        admitted.mark(reply.headers_mut());
        reply
    }

    /// Refuses a request that another server has passed on to this one, which does not have the store. The other server
    /// then looks for the owner again, so no request goes round.
    pub(super) async fn refuse_passed_on(&self, request: Request<Incoming>) -> Reply {
        let (parts, body) = request.into_parts();
        self.http.bodies.discard(body).await;
        let error = ApiError::unavailable("This server does not have the store.");
        let mut reply = error_reply(&error, ContentType::of(&parts.headers).of_errors());
        reply.headers_mut().insert(OWNER, HeaderValue::from_static("no"));
        reply
    }

    /// The answer to a request that must have no effect, because its connection is being closed.
    pub(super) fn connection_is_closing(&self) -> Reply {
        let error = ApiError::unavailable("The connection is being closed.");
        self.failure(&HeaderMap::new(), &error)
    }

    /// The source of the pages at a separate address.
    pub(super) fn shown(&self) -> Shown {
        Shown::Forwarding {
            pages: Arc::clone(&self.pages),
            has_console: self.has_console,
        }
    }

    async fn call(&self, connection: &Arc<Connection>, parts: &Parts, body: Incoming) -> Reply {
        if is_head_too_large(parts) {
            self.http.bodies.discard(body).await;
            return head_too_large();
        }
        let counted = match head_bytes(parts) {
            bytes if bytes > USUAL_HEAD_BYTES => bytes,
            _ => 0,
        };
        let bodies = &self.http.bodies;
        let body = match bodies.read(connection, parts.version, counted, body).await {
            Ok(body) => body,
            Err(reason) => {
                let error = body_failure(reason, bodies.most_bytes());
                let mut reply = self.failure(&parts.headers, &error);
                let of_connection =
                    body_error_reply(reason, &error, ContentType::of(&parts.headers).of_errors());
                reply.headers_mut().extend(of_connection.into_parts().0.headers);
                return reply;
            }
        };
        let passed = tokio::select! {
            biased;
            passed = self.pass(parts, &body.bytes) => passed,
            // So the owner gives no records of a queue to a client that is gone.
            () = connection.client_ends(), if takes_records(&parts.headers) => {
                Err(ApiError::unavailable("The client has closed its side of the connection."))
            }
        };
        match passed {
            Ok(reply) => {
                self.pages.note_forwarded();
                self.note(&parts.headers, None);
                reply
            }
            Err(error) => self.failure(&parts.headers, &error),
        }
    }

    /// Passes the call on to the owner, once. Waits for an owner as long as nothing of the call was sent.
    async fn pass(&self, parts: &Parts, body: &Bytes) -> Result<Reply, ApiError> {
        let until = Instant::now() + PATIENCE;
        let mut owner = self.owner.subscribe();
        let mut reason = "no server has the store".to_owned();
        loop {
            let peer = tokio::select! {
                biased;
                peer = timeout_at(until, known(&mut owner)) => peer.ok().flatten(),
                () = self.http.stops() => return Err(ApiError::unavailable("The server is shutting down.")),
            };
            let Some(peer) = peer else {
                return Err(self.not_passed(&reason));
            };
            match peer.pass(parts, body).await {
                Ok(mut reply) => match reply.headers_mut().remove(OWNER) {
                    Some(is_owner) if is_owner == "yes" => return Ok(reply),
                    Some(_) => reason = "the server at its address does not have the store".to_owned(),
                    None => return Err(self.not_passed("what answers at its address is another server")),
                },
                Err(Unpassed::Unknown(reason)) => {
                    debug!(reason, "the owner's answer to a call is lost");
                    return Err(ApiError::internal(
                        "The server that has the streams was lost while it answered. The call may have been carried out.",
                    ));
                }
                Err(unsent @ (Unpassed::NotSent(_) | Unpassed::Full)) => reason = unsent.to_string(),
            }
            if Instant::now() >= until {
                return Err(self.not_passed(&reason));
            }
            self.is_owner_wanted.notify_one();
            // Until there is another owner, or the same one again.
            let _ = timeout(PAUSE, owner.changed()).await;
        }
    }

    fn not_passed(&self, reason: &str) -> ApiError {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|warned| warned.elapsed() >= BETWEEN_WARNINGS) {
            *warned = Some(Instant::now());
            warn!(
                reason,
                "calls cannot be passed on to the server that has the store"
            );
        }
        ApiError::unavailable(
            "No server that has the streams could be reached. The call was not carried out, and can be made again.",
        )
    }

    /// A reply made by this server.
    fn failure(&self, headers: &HeaderMap, error: &ApiError) -> Reply {
        self.note(headers, Some(error.kind));
        let mut reply = error_reply(error, ContentType::of(headers).of_errors());
        let id = HeaderValue::try_from(self.request_ids.request_id().to_string());
        let id = id.expect("a UUID is visible ASCII");
        reply.headers_mut().insert(REQUEST_ID, id);
        reply
    }

    fn note(&self, headers: &HeaderMap, error: Option<&'static str>) {
        let target = Target::of(headers);
        self.calls.note(target.operation().map(|known| known.name), error);
    }
}

/// The owner, once it is known.
async fn known(owner: &mut watch::Receiver<Option<Arc<Peer>>>) -> Option<Arc<Peer>> {
    owner.wait_for(Option::is_some).await.ok()?.clone()
}

/// Whether the operation gives a record to its client alone, for a time.
fn takes_records(headers: &HeaderMap) -> bool {
    operation(headers).starts_with("Receive")
}

/// Whether the operation may not be answered, or not to the end, before there are records.
pub(super) fn waits_for_records(headers: &HeaderMap) -> bool {
    takes_records(headers) || is_subscription(headers)
}

pub(super) fn is_subscription(headers: &HeaderMap) -> bool {
    operation(headers) == "SubscribeToShard"
}

fn operation(headers: &HeaderMap) -> &'static str {
    Target::of(headers)
        .operation()
        .map_or("", |operation| operation.name)
}
