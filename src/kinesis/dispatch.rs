//! From a request to its operation, and from the operation's reply to its body, with the memory for the reply.

use std::sync::Arc;

use bytes::Bytes;

use super::credentials::Identity;
use super::error::{ApiError, exception};
use super::operation::{self, Class, Operation, Request};
use super::operations;
use super::options::{LESS_READ_BYTES, MOST_READ_BYTES, reply_bytes};
use super::protocol::Protocol;
use super::scope::Scope;
use super::service::Service;
use super::subject::Subject;
use crate::admin::Calls;
use crate::http::{Connection, Granted, MOST_SMALL, ReplyBody, ReplyShare};

/// A request as it came over HTTP.
#[derive(Debug)]
pub(super) struct ApiRequest {
    /// The name of the request in the log.
    pub(super) subject: Arc<Subject>,
    /// `None` if there is no such operation.
    pub(super) operation: Option<&'static Operation>,
    pub(super) protocol: Protocol,
    /// The scope, unless the request names an ARN.
    pub(super) scope: Scope,
    /// The sender; `None` unless signatures are verified.
    pub(super) authenticated: Result<Option<Arc<Identity>>, ApiError>,
    /// The error of a fault, which replaces the call.
    pub(super) injected: Option<ApiError>,
    pub(super) body: Bytes,
}

/// The operation of this name.
pub(super) fn operation(name: &str) -> Option<&'static Operation> {
    operations::ALL.iter().find(|operation| operation.name == name)
}

/// The counters of the calls of all operations.
pub(super) fn calls() -> Calls {
    Calls::of(operations::ALL.iter().map(|operation| operation.name))
}

/// The body of a status 200, and its content type unless it is that of the request.
pub(super) type Performed = (Option<&'static str>, ReplyBody);

/// Performs the request, or gives the error. The reply holds its share of the memory for replies, which is taken before
/// anything else is done.
pub(super) async fn perform(
    service: Arc<Service>,
    connection: &Arc<Connection>,
    request: ApiRequest,
) -> Result<Performed, ApiError> {
    // A refusal has a small answer, whatever was asked for.
    let admitted = request.operation.filter(|_| request.authenticated.is_ok());
    let class = admitted.map_or(Class::Control, |operation| operation.class);
    let (mut share, most_read_bytes) = match class {
        Class::Read => {
            let (full, reduced) = (reply_bytes(MOST_READ_BYTES), reply_bytes(LESS_READ_BYTES));
            let reserved = service
                .http
                .replies
                .reserve_large(connection, full, reduced)
                .await;
            match reserved.map_err(|_| ApiError::too_many_replies())? {
                (share, Granted::Full) => (share, MOST_READ_BYTES),
                (share, Granted::Reduced) => (share, LESS_READ_BYTES),
            }
        }
        Class::Write => {
            let most_bytes = most_bytes_of_put_reply(request.body.len());
            (reserve(&service, connection, most_bytes).await?, 0)
        }
        Class::Control | Class::Data | Class::Receive => {
            (reserve(&service, connection, BYTES_OF_USUAL_REPLY).await?, 0)
        }
    };
    let mut reply = match request.admitted(&service) {
        Ok((operation, caller)) => {
            let reply = (operation.run)(Request {
                service: Arc::clone(&service),
                subject: request.subject,
                operation,
                protocol: request.protocol,
                scope: request.scope,
                caller,
                body: request.body,
                connection: Arc::clone(connection),
                most_read_bytes,
            });
            reply.await.map_err(|error| declared(operation, error))?
        }
        Err(refusal) => {
            // A body that cannot be parsed is reported first.
            let parsed = operation::on_blocking_thread(&service, move || {
                operation::parse(request.protocol, &request.body).map(drop)
            });
            parsed.await?;
            return Err(refusal);
        }
    };
    if let Some(taken) = reply.take_share() {
        share = taken;
    }
    let (content_type, body) = reply.into_body(&service);
    // A call that has stored something, or noted it as given out, is never answered with an error.
    let has_effect = matches!(class, Class::Write | Class::Receive);
    if service.http.replies.fit(&mut share, connection, body.len()) || has_effect {
        Ok((content_type, body.holding(share)))
    } else {
        Err(ApiError::too_many_replies())
    }
}

type Admitted = (&'static Operation, Option<Arc<Identity>>);

impl ApiRequest {
    /// The operation, if this client may call it now, and the client's identity.
    fn admitted(&self, service: &Service) -> Result<Admitted, ApiError> {
        let operation = self.operation.ok_or_else(ApiError::unknown_operation)?;
        let caller = self.authenticated.clone()?;
        if service.limits.call_rates {
            let is_control = operation.class == Class::Control;
            let now = service.store.now();
            service
                .call_rates
                .check(operation.name, is_control, self.scope, now)?;
        }
        match &self.injected {
            Some(refusal) => Err(refusal.clone()),
            None => Ok((operation, caller)),
        }
    }
}

/// The usual size of a reply. Longer replies take more memory once they are made.
const BYTES_OF_USUAL_REPLY: usize = 4 << 10;

/// A number and a shard for each record, which takes at least 31 bytes in the request.
fn most_bytes_of_put_reply(request_bytes: usize) -> usize {
    (512 + 4 * request_bytes).min(MOST_SMALL)
}

async fn reserve(service: &Service, connection: &Connection, bytes: usize) -> Result<ReplyShare, ApiError> {
    let reserved = service.http.replies.reserve(connection, bytes).await;
    reserved.map_err(|_| ApiError::too_many_replies())
}

/// An operation answers with the exceptions of its declaration, and with those of any operation: for the checks of its
/// input, for a failure of the server, and for a refused caller. For an operation without exceptions about keys, a
/// missing key is a failure of the server.
fn declared(operation: &Operation, error: ApiError) -> ApiError {
    let is_declared = operation.errors.contains(&error.kind);
    if error.kind == exception::KMS_NOT_FOUND && !is_declared {
        return error.into_failure();
    }
    let is_common = error.status >= 500
        || [exception::VALIDATION, exception::ACCESS_DENIED].contains(&error.kind)
        || error.is_serialization();
    debug_assert!(
        is_common || is_declared,
        "{} does not declare {error:?}",
        operation.name
    );
    error
}
#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::Store;
    use crate::http::Admission;
    use crate::kinesis::ServerOptions;
    use crate::kinesis::key::{INTEGER, Integer, Key, TEXT, Text, members, required};
    use crate::kinesis::operation::{Reply, Resource};
    use crate::kinesis::protocol::event_stream;

    const COUNT: Key<Integer> = required("Count", INTEGER.at_least(1));
    const NUMBER: Key<Text> = required("Number", TEXT);

    /// An operation that counts, with one event for each number.
    static COUNTING: Operation = Operation {
        name: "Counting",
        class: Class::Data,
        resource: Resource::Account,
        input: members![COUNT],
        output: members![NUMBER],
        errors: &[],
        run: |request| Box::pin(count(request)),
    };

    async fn count(request: Request) -> Result<Reply, ApiError> {
        let count = request.checked()?.get(COUNT);
        let (events, messages) = mpsc::channel(1);
        tokio::spawn(async move {
            for number in 0..count {
                let payload = format!("{{\"Number\":\"{number}\"}}");
                let event = event_stream::event("Number", "application/json", payload.as_bytes());
                if events.send(event.into()).await.is_err() {
                    return;
                }
            }
            let end = event_stream::exception("Ended", "application/json", b"{}");
            let _ = events.send(end.into()).await;
        });
        Ok(Reply::events(messages))
    }

    struct Bench {
        service: Arc<Service>,
        _directory: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Bench {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path().join("data")).unwrap();
            let scope = Scope::new("000000000000", "us-east-1").unwrap();
            Bench {
                service: Arc::new(Service::new(
                    store,
                    scope,
                    Admission::default(),
                    calls(),
                    &ServerOptions::new(""),
                )),
                _directory: directory,
            }
        }

        async fn perform(
            &self,
            operation: &'static Operation,
            body: &'static str,
        ) -> Result<Performed, ApiError> {
            let request = ApiRequest {
                subject: Arc::new(self.service.new_subject(Some(operation.name))),
                operation: Some(operation),
                protocol: Protocol::Json,
                scope: self.service.scope,
                authenticated: Ok(None),
                injected: None,
                body: Bytes::from_static(body.as_bytes()),
            };
            perform(
                Arc::clone(&self.service),
                &self.service.http.connection(),
                request,
            )
            .await
        }
    }

    #[tokio::test]
    async fn an_operation_can_reply_with_a_stream_of_events() {
        let bench = Bench::new();
        let (content_type, mut body) = bench.perform(&COUNTING, r#"{"Count":3}"#).await.unwrap();
        assert_eq!(content_type, Some("application/vnd.amazon.eventstream"));
        let mut numbers = Vec::new();
        while let Some(frame) = body.frame().await {
            let message = frame.unwrap().into_data().unwrap();
            let len = u32::from_be_bytes(message[..4].try_into().unwrap());
            assert_eq!(len as usize, message.len());
            let headers = u32::from_be_bytes(message[4..8].try_into().unwrap()) as usize;
            let payload = &message[12 + headers..message.len() - 4];
            numbers.push(String::from_utf8(payload.to_vec()).unwrap());
        }
        assert_eq!(
            numbers,
            [
                r#"{"Number":"0"}"#,
                r#"{"Number":"1"}"#,
                r#"{"Number":"2"}"#,
                "{}"
            ]
        );
        drop(body);
        assert_eq!(bench.service.http.replies.held(), 0);
    }

    #[tokio::test]
    async fn the_checks_come_before_a_stream_begins() {
        let bench = Bench::new();
        let refused = bench
            .perform(&COUNTING, r#"{"Count":0}"#)
            .await
            .expect_err("a count of 0");
        assert_eq!((refused.status, refused.kind), (400, "ValidationException"));
    }

    /// It ends when its client is gone.
    #[tokio::test]
    async fn a_stream_that_is_dropped_ends_its_operation() {
        static ENDED: std::sync::Mutex<Option<oneshot::Sender<()>>> = std::sync::Mutex::new(None);
        static ENDLESS: Operation = Operation {
            name: "Endless",
            input: &[],
            run: |_| {
                Box::pin(async {
                    let (events, messages) = mpsc::channel(1);
                    let ended = ENDED.lock().unwrap().take().unwrap();
                    tokio::spawn(async move {
                        events.closed().await;
                        ended.send(()).unwrap();
                    });
                    Ok(Reply::events(messages))
                })
            },
            class: Class::Data,
            resource: Resource::Account,
            output: &[],
            errors: &[],
        };
        let (sender, ended) = oneshot::channel();
        *ENDED.lock().unwrap() = Some(sender);
        let bench = Bench::new();
        let reply = bench.perform(&ENDLESS, "{}").await.unwrap();
        drop(reply);
        ended.await.unwrap();
    }
}
