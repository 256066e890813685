//! One HTTP request, from its head to its answer: the steps that are the same for all operations, in AWS' order.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tracing::debug;

use super::credentials::Identity;
use super::dispatch::{self, ApiRequest};
use super::error::{ApiError, exception};
use super::faults::Injected;
use super::operation::{Operation, on_blocking_thread};
use super::protocol::Protocol;
use super::service::Service;
use super::subject::Subject;
use super::{authentication, protocol};
use crate::admin::Page;
use crate::console::Console;
use crate::http::{
    BodyError, Connection, NoAnswer, Refusal, Reply, ReplyBody, Routes, USUAL_HEAD_BYTES, head_bytes,
    is_head_too_large,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const TARGET: &str = "x-amz-target";
const TARGET_PREFIX: &str = "Kinesis_20131202.";
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static(
    "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,x-amzn-ErrorMessage,Date",
);
/// A content type that is recognised, and never accepted.
const PLAIN_JSON: &str = "application/json";

impl Routes for Service {
    async fn answer(self: &Arc<Self>, connection: &Arc<Connection>, request: Request<Incoming>) -> Reply {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let operation = Target::of(&parts.headers)
            .operation()
            .map(|operation| operation.name);
        let subject = Arc::new(self.new_subject(operation));
        let mut reply = answer_head(self, connection, &subject, &parts, body).await;
        self.failures.tell_ended(self.store.monotonic());
        let request_id = subject.request_id;
        let id = HeaderValue::try_from(request_id.to_string()).expect("a UUID is visible ASCII");
        reply.headers_mut().insert(REQUEST_ID, id);
        let stream = subject.stream();
        debug!(
            operation,
            stream,
            %request_id,
            status = reply.status().as_u16(),
            micros = started.elapsed().as_micros() as u64,
            "request answered"
        );
        reply
    }

    fn connection_is_closing(&self) -> Reply {
        let error = ApiError::unavailable("The connection is being closed.");
        error_reply(&error, Protocol::Json)
    }
}

async fn answer_head(
    service: &Arc<Service>,
    connection: &Arc<Connection>,
    subject: &Arc<Subject>,
    parts: &Parts,
    body: Incoming,
) -> Reply {
    let console = console_of(service, parts);
    let admitted = match console {
        Some(_) => service.admission.admit_to_own_pages(parts),
        None => service.admission.admit(parts),
    };
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            service.http.bodies.discard(body).await;
            return not_admitted(service, subject, parts, &refusal);
        }
    };
    if let Some(console) = console {
        service.http.bodies.discard(body).await;
        return console.answer(parts, &service.http, connection).await;
    }
    let mut reply = match (admitted.preflight(parts), page_of(service, parts)) {
        (Some(preflight), _) => {
            service.http.bodies.discard(body).await;
            preflight
        }
        (None, Some(page)) => {
            service.http.bodies.discard(body).await;
            let asked = service
                .admin
                .answer(page, &parts.method, &service.http, connection);
            asked.await
        }
        (None, None) => {
            let mut reply = answer_call(service, connection, subject, parts, body).await;
            count(service, parts, &reply);
            let id = service.request_ids.extended_request_id();
            let id = HeaderValue::try_from(id).expect("base64 is made of visible ASCII");
            reply.headers_mut().insert(EXTENDED_REQUEST_ID, id);
            if parts.headers.contains_key(header::ORIGIN) {
                reply
                    .headers_mut()
                    .insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
            }
            reply
        }
    };
    admitted.mark(reply.headers_mut());
    reply
}

fn not_admitted(service: &Service, subject: &Subject, parts: &Parts, refusal: &Refusal) -> Reply {
    service
        .failures
        .note_refusal(service.store.monotonic(), subject, refusal);
    let error = ApiError::new(403, exception::ACCESS_DENIED, refusal.to_string());
    let reply = error_reply(&error, ContentType::of(&parts.headers).of_errors());
    count(service, parts, &reply);
    reply
}

/// The page for people who run the server that is requested. The path does not matter if an operation is called.
fn page_of(service: &Service, parts: &Parts) -> Option<Page> {
    let page = Page::at(parts.uri.path()).filter(|page| service.pages.has(*page))?;
    let is_call = parts.headers.contains_key(TARGET) || is_head_too_large(parts);
    (!is_call).then_some(page)
}

/// The console, if it is requested and is here.
fn console_of<'a>(service: &'a Service, parts: &Parts) -> Option<&'a Console> {
    let console = service.console.as_deref();
    let console = console.filter(|_| service.pages.have_console() && Console::is_asked_for(parts))?;
    let is_call = parts.headers.contains_key(TARGET) || is_head_too_large(parts);
    (!is_call).then_some(console)
}

fn count(service: &Service, parts: &Parts, reply: &Reply) {
    /// The request was refused before an operation was known.
    const NO_EXCEPTION: &str = "(none)";
    let operation = Target::of(&parts.headers).operation().map(|known| known.name);
    let error = match reply.extensions().get::<Exception>() {
        Some(Exception(kind)) => Some(*kind),
        None => (!reply.status().is_success()).then_some(NO_EXCEPTION),
    };
    service.calls.note(operation, error);
}

/// An extension of a reply that is an error: the exception's name.
#[derive(Clone, Copy)]
struct Exception(&'static str);

/// The content type in the head.
enum ContentType {
    Spoken(Protocol),
    PlainJson,
    Unknown,
}

impl ContentType {
    fn of(headers: &HeaderMap) -> ContentType {
        let value = headers
            .get(header::CONTENT_TYPE)
            .map_or(&b""[..], HeaderValue::as_bytes);
        let value = value
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        for protocol in [Protocol::Json, Protocol::Cbor] {
            if value == protocol.content_type().as_bytes() {
                return ContentType::Spoken(protocol);
            }
        }
        if value == PLAIN_JSON.as_bytes() {
            ContentType::PlainJson
        } else {
            ContentType::Unknown
        }
    }

    /// The encoding of an error that does not belong to an operation. Clients that speak JSON fail on any other,
    /// whatever the status.
    fn of_errors(&self) -> Protocol {
        match self {
            ContentType::Spoken(protocol) => *protocol,
            ContentType::PlainJson | ContentType::Unknown => Protocol::Json,
        }
    }
}

async fn answer_call(
    service: &Arc<Service>,
    connection: &Arc<Connection>,
    subject: &Arc<Subject>,
    parts: &Parts,
    body: Incoming,
) -> Reply {
    let content_type = ContentType::of(&parts.headers);
    let head_bytes = head_bytes(parts);
    if is_head_too_large(parts) {
        service.http.bodies.discard(body).await;
        return xml(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "");
    }
    if parts.method != Method::POST {
        service.http.bodies.discard(body).await;
        return not_authorized(&content_type);
    }
    if let (ContentType::Spoken(protocol), Target::Operation(_)) = (&content_type, Target::of(&parts.headers))
        && let Some(keys) = &service.keys
        && let Err(refusal) = authentication::check_head(parts, service.store.now(), keys)
    {
        // A client without a key gets none of the memory for bodies.
        service.http.bodies.refuse(parts.version, body).await;
        service.note_failure(subject, &refusal);
        return error_reply(&refusal, *protocol);
    }
    let is_checked = matches!(
        (&content_type, Target::of(&parts.headers)),
        (ContentType::Spoken(_), Target::Operation(_))
    );
    if service.keys.is_some() && !is_checked && !body.is_end_stream() {
        // It is refused whatever the body is, also if its client has a key.
        service.http.bodies.refuse(parts.version, body).await;
        return match content_type {
            ContentType::Spoken(protocol) => error_reply(&ApiError::unknown_operation(), protocol),
            ContentType::PlainJson => plain_json(b"{}"),
            ContentType::Unknown => refused_as_unknown(&content_type, &Target::of(&parts.headers)),
        };
    }
    let counted = if head_bytes > USUAL_HEAD_BYTES {
        head_bytes
    } else {
        0
    };
    let read = service
        .http
        .bodies
        .read(connection, parts.version, counted, body)
        .await;
    let body = match read {
        Ok(body) => body,
        Err(reason) => return body_error(service, subject, reason, content_type.of_errors()),
    };
    let target = Target::of(&parts.headers);
    if body.bytes.is_empty() {
        let error = match target {
            Target::Operation(_) => ApiError::not_parsable(),
            Target::Unknown | Target::None => ApiError::unknown_operation(),
        };
        let protocol = match content_type {
            ContentType::Spoken(Protocol::Json) => Protocol::Json,
            _ => Protocol::Cbor,
        };
        return error_reply(&error, protocol);
    }
    match content_type {
        ContentType::Unknown => refused_as_unknown(&content_type, &target),
        ContentType::PlainJson => plain_json(&body.bytes),
        ContentType::Spoken(protocol) => {
            let authenticated = match target {
                Target::Operation(_) => authenticate(service, parts, &body.bytes).await,
                // Every client gets the same answer.
                Target::Unknown | Target::None => Ok(None),
            };
            let scope = authentication::scope(parts, service.scope);
            let of_caller = match &authenticated {
                Ok(Some(caller)) => scope.of_account(&caller.account_id),
                _ => None,
            };
            let scope = of_caller.unwrap_or(scope);
            // A client that is not let in does not use up a fault that is meant for others.
            let struck = target.operation().filter(|_| authenticated.is_ok());
            let injected = inject(service, struck).await;
            let request = ApiRequest {
                subject: Arc::clone(subject),
                operation: target.operation(),
                protocol,
                scope,
                authenticated,
                injected: injected.refusal,
                body: body.bytes.clone(),
            };
            let reply = dispatch::perform(Arc::clone(service), connection, request).await;
            let mut reply = match reply {
                Ok((content_type, body)) => {
                    let content_type = content_type.unwrap_or(protocol.content_type());
                    reply_with(StatusCode::OK, content_type, body)
                }
                Err(error) => {
                    service.note_failure(subject, &error);
                    error_reply(&error, protocol)
                }
            };
            if injected.loses_answer {
                reply.extensions_mut().insert(NoAnswer);
            }
            reply
        }
    }
}

fn refused_as_unknown(content_type: &ContentType, target: &Target) -> Reply {
    match target {
        Target::None => not_authorized(content_type),
        Target::Unknown | Target::Operation(_) => {
            xml(StatusCode::NOT_FOUND, "<UnknownOperationException/>\n")
        }
    }
}

/// The sender of the request, if signatures are verified.
async fn authenticate(
    service: &Service,
    parts: &Parts,
    body: &Bytes,
) -> Result<Option<Arc<Identity>>, ApiError> {
    /// Hashing more would keep an async thread from its other connections for too long.
    const MOST_BYTES_INLINE: usize = 256 << 10;
    let Some(keys) = &service.keys else {
        return authentication::check(parts).map(|()| None);
    };
    let now = service.store.now();
    if body.len() <= MOST_BYTES_INLINE {
        return authentication::verify(parts, body, now, keys).map(Some);
    }
    let (parts, body, keys) = (parts.clone(), body.clone(), Arc::clone(keys));
    let verified = on_blocking_thread(service, move || authentication::verify(&parts, &body, now, &keys));
    verified.await.map(Some)
}

/// The effects of faults, after the delay that they demand.
async fn inject(service: &Service, operation: Option<&Operation>) -> Injected {
    let Some(operation) = operation else {
        return Injected::default();
    };
    let injected = service.faults.inject(operation.name, operation.errors);
    if !injected.delay.is_zero() {
        tokio::time::sleep(injected.delay).await;
    }
    injected
}

/// The operation in `X-Amz-Target`. Host, path and the scope of the signature do not matter.
enum Target {
    /// It names no service and operation.
    None,
    Unknown,
    Operation(&'static Operation),
}

impl Target {
    fn of(headers: &HeaderMap) -> Target {
        let value = headers
            .get(TARGET)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        if let Some(operation) = value.strip_prefix(TARGET_PREFIX).and_then(dispatch::operation) {
            return Target::Operation(operation);
        }
        match value.split_once('.') {
            Some((service, operation)) if !service.is_empty() && !operation.is_empty() => Target::Unknown,
            _ => Target::None,
        }
    }

    fn operation(&self) -> Option<&'static Operation> {
        match self {
            Target::Operation(operation) => Some(operation),
            Target::Unknown | Target::None => None,
        }
    }
}

fn not_authorized(content_type: &ContentType) -> Reply {
    const KIND: &str = exception::ACCESS_DENIED;
    const MESSAGE: &str = "Unable to determine service/operation name to be authorized";
    match content_type {
        ContentType::Spoken(protocol) => error_reply(&ApiError::new(403, KIND, MESSAGE), *protocol),
        ContentType::PlainJson | ContentType::Unknown => xml(
            StatusCode::FORBIDDEN,
            format!("<{KIND}>\n  <Message>{MESSAGE}</Message>\n</{KIND}>\n"),
        ),
    }
}

fn plain_json(body: &[u8]) -> Reply {
    let (status, kind) = match Protocol::Json.parse(body) {
        Ok(protocol::Document::Map(_) | protocol::Document::List(_)) => {
            (StatusCode::NOT_FOUND, "UnknownOperationException")
        }
        _ => (StatusCode::BAD_REQUEST, "SerializationException"),
    };
    let body = format!(r#"{{"Output":{{"__type":"com.amazon.coral.service#{kind}"}},"Version":"1.0"}}"#);
    reply_with(status, PLAIN_JSON, body.into_bytes())
}

fn body_error(service: &Service, subject: &Subject, reason: BodyError, protocol: Protocol) -> Reply {
    let most_bytes = service.http.bodies.most_bytes();
    let error = match reason {
        BodyError::TooLarge => ApiError::new(
            413,
            "RequestEntityTooLargeException",
            format!("The request body is larger than {most_bytes} bytes."),
        ),
        BodyError::TooSlow => ApiError::new(
            408,
            "RequestTimeoutException",
            "The request body did not arrive in time.",
        ),
        BodyError::NoMemory => ApiError::unavailable("The server has too many request bodies to read."),
        BodyError::Broken => ApiError::not_parsable(),
        BodyError::Stopping => ApiError::unavailable("The server stops."),
    };
    service.note_failure(subject, &error);
    let mut reply = error_reply(&error, protocol);
    if matches!(reason, BodyError::TooSlow | BodyError::Stopping) {
        // The rest of the body would be taken for the next request.
        reply
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

fn error_reply(error: &ApiError, protocol: Protocol) -> Reply {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = reply_with(status, protocol.content_type(), error.body(protocol));
    reply
        .headers_mut()
        .insert(ERROR_TYPE, HeaderValue::from_static(error.kind));
    reply.extensions_mut().insert(Exception(error.kind));
    reply
}

fn xml(status: StatusCode, body: impl Into<ReplyBody>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply
}

fn reply_with(status: StatusCode, content_type: &'static str, body: impl Into<ReplyBody>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
