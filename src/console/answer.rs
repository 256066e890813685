//! The answers, and the headers that limit what browsers do with them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tracing::error;

use crate::Error;
use crate::http::{Reply, ReplyBody};

/// The reason why there is nothing to show.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Problem {
        Problem {
            status,
            message: message.into(),
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(super) fn too_many_replies() -> Problem {
        Problem::unavailable("the server has too many replies to send")
    }

    /// What a client is told of an error that the log has.
    pub(super) fn of(error: &Error) -> Problem {
        let message = match Problem::is_failure(error) {
            true => error.failure_for_clients().to_owned(),
            false => error.to_string(),
        };
        Problem::new(Problem::status_of(error), message)
    }

    /// Whether the error is one of the server, and may name its files.
    fn is_failure(error: &Error) -> bool {
        Problem::status_of(error) == StatusCode::INTERNAL_SERVER_ERROR
            || matches!(error, Error::TooManyOpenFiles { .. })
    }

    fn status_of(error: &Error) -> StatusCode {
        match error {
            Error::StreamNotFound { .. }
            | Error::ShardNotFound { .. }
            | Error::ConsumerNotFound { .. }
            | Error::QueueNotFound { .. }
            | Error::ChannelNotFound { .. } => StatusCode::NOT_FOUND,
            Error::InvalidArgument(_)
            | Error::ForeignSequenceNumber { .. }
            | Error::SequenceNumberAtEnd { .. } => StatusCode::BAD_REQUEST,
            Error::KeyNotFound { .. } | Error::QueueNotActive { .. } => StatusCode::CONFLICT,
            Error::Closed | Error::TooManyOpenFiles { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn reply(&self) -> Reply {
        json_reply(self.status, &json!({ "error": self.message }))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        if Problem::is_failure(&error) {
            log_failure(&error);
        }
        Problem::of(&error)
    }
}

/// Logs a failure, since the message for clients refers to the log. No more than one a second: clients could fill the
/// log otherwise.
fn log_failure(error: &Error) {
    const PAUSE: Duration = Duration::from_secs(1);
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|last| last.elapsed() >= PAUSE) {
        *last = Some(Instant::now());
        error!(%error, "the console could not look at the store");
    }
}

/// An answer of JSON, too small for the memory of replies to count it.
pub(super) fn json_reply(status: StatusCode, value: &Value) -> Reply {
    data_reply(status, "application/json", value.to_string().into_bytes())
}

/// An answer that describes this moment, so nothing keeps it.
pub(super) fn data_reply(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<ReplyBody>,
) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The answer to methods that do more than read.
pub(super) fn not_allowed() -> Reply {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "the console can only be read: GET and HEAD",
    );
    let mut reply = problem.reply();
    let allowed = HeaderValue::from_static("GET, HEAD");
    reply.headers_mut().insert(header::ALLOW, allowed);
    reply
}

/// The answer to a HEAD request loses its body, but keeps the length of the body if it is known. Other answers are
/// unchanged.
pub(super) fn without_body_for(method: &Method, mut reply: Reply) -> Reply {
    if method != Method::HEAD {
        return reply;
    }
    let length = reply.body().len();
    if length > 0 {
        reply
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    reply.map(|_| ReplyBody::from(Vec::new()))
}

/// Tells the browser that only pages of the console may use this, that these use nothing else, and that it must not
/// guess another type.
pub(super) fn keep_from_other_pages(headers: &mut HeaderMap) {
    const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    const FIELDS: [(HeaderName, &str); 6] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
        (CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    ];
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::error::failures_at;

    #[test]
    fn no_failure_names_a_file_of_the_server() {
        for error in failures_at(Path::new("/var/lib/secret/streams/1.log")) {
            let problem = Problem::of(&error);
            assert!(problem.status.is_server_error(), "{problem:?}");
            assert!(!problem.message.contains("secret"), "{problem:?}");
        }
        let missing = Error::StreamNotFound { name: "s".to_owned() };
        assert_eq!(Problem::of(&missing).message, "stream s not found");
    }
}
