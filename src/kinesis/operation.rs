//! Operations: each is one declaration and one async function.
//!
//! A declaration has everything that the server knows of an operation before a request: the members of its input and
//! its output with their constraints, its exceptions, the resource that it concerns, and how large its replies can be.
//! Its function takes a [`Request`] and makes a [`Reply`]. Most operations wait for the disk or a lock, and are written
//! as a function of a checked [`Call`], which [`Request::blocking`] turns into an async one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::error;

use super::authorization::named_arn;
use super::convert::Input;
use super::credentials::Identity;
use super::error::ApiError;
use super::key::{Key, Members, Presence, write_structure};
use super::protocol::{Document, Protocol};
use super::scope::Scope;
use super::service::{Context, Service};
use super::shape::Member;
use super::subject::Subject;
use super::validate::validate;
use crate::http::{Connection, Encode, ReplyBody, ReplyShare, Unsent};

/// One operation of the API.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) class: Class,
    pub(super) resource: Resource,
    /// The members of its input, in the order in which they are checked.
    pub(super) input: &'static [Member],
    /// The members of its output. Without any, the reply has no body.
    pub(super) output: &'static [Member],
    /// The exceptions that the API model lists for it.
    pub(super) errors: &'static [&'static str],
    pub(super) run: Run,
}

/// The class of an operation, which decides how much memory its reply needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// It describes or changes resources.
    Control,
    /// It concerns records, and neither takes nor returns them.
    Data,
    /// It writes records, with a reply that grows with the request. After something is stored the answer is never an
    /// error.
    Write,
    /// It reads records, with a reply of megabytes.
    Read,
    /// It waits for records, and then reads them, with a reply of megabytes whose memory it takes itself.
    Receive,
}

/// The resource that an operation concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    Account,
    Stream,
    Consumer,
    Queue,
    Channel,
    /// The resource of its `ResourceARN`.
    Any,
}

/// Starts an operation.
pub(super) type Run = fn(Request) -> Running;

/// A running operation.
pub(super) type Running = Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send>>;

/// A signed request for an operation that this server offers. Nothing in its body has been looked at, except for its
/// signature.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) service: Arc<Service>,
    /// The name of the request in the log.
    pub(super) subject: Arc<Subject>,
    pub(super) operation: &'static Operation,
    pub(super) protocol: Protocol,
    /// The scope, unless the request names an ARN.
    pub(super) scope: Scope,
    /// The sender, if signatures are verified.
    pub(super) caller: Option<Arc<Identity>>,
    pub(super) body: Bytes,
    /// The connection of the request.
    pub(super) connection: Arc<Connection>,
    /// The most bytes of data and partition keys that a read may read.
    pub(super) most_read_bytes: usize,
}

impl Request {
    /// Checks the input, and runs a function that may wait for the disk or a lock, to its end.
    pub(super) fn blocking(self, run: fn(&Call<'_>) -> Result<Reply, ApiError>) -> Running {
        Box::pin(self.on_blocking_thread(move |request| run(&request.checked()?)))
    }

    /// Does `work` on a thread that may wait for the disk or a lock.
    pub(super) async fn on_blocking_thread<T: Send + 'static>(
        self,
        work: impl FnOnce(&Request) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let service = Arc::clone(&self.service);
        on_blocking_thread(&service, move || work(&self)).await
    }

    /// The call, after the checks of the operation's shape, in AWS' order, and of the caller's rights.
    pub(super) fn checked(&self) -> Result<Call<'_>, ApiError> {
        self.checked_by(|_, input| validate(input, self.operation.input))
    }

    /// The same with a check of the input's constraints that depends on the resource.
    pub(super) fn checked_by(
        &self,
        check: impl FnOnce(Context<'_>, &Input<'_>) -> Result<(), ApiError>,
    ) -> Result<Call<'_>, ApiError> {
        let document = parse(self.protocol, &self.body)?;
        let operation = self.operation;
        let input = Input::from_document(document, operation.input)?;
        let context = match named_arn(&input) {
            Some(arn) => self.context().at_arn(arn),
            None => self.context(),
        };
        context.authorize(&input)?;
        check(context, &input)?;
        Ok(Call {
            context,
            operation,
            input,
        })
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            service: &self.service,
            subject: &self.subject,
            scope: self.scope,
            caller: self.caller.as_deref(),
            operation: self.operation.name,
            protocol: self.protocol,
            most_read_bytes: self.most_read_bytes,
        }
    }
}

/// A body of the request's encoding, whose outermost value is a structure.
pub(super) fn parse(protocol: Protocol, body: &[u8]) -> Result<Document<'_>, ApiError> {
    match protocol.parse(body) {
        Ok(document @ Document::Map(_)) => Ok(document),
        _ => Err(ApiError::not_parsable()),
    }
}

/// Does `work` on a thread that may wait, once one is free: their number is limited.
pub(super) async fn on_blocking_thread<T: Send + 'static>(
    service: &Service,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    if service.waits_inline {
        return work();
    }
    // The semaphore is never closed.
    let permit = Arc::clone(&service.blocking_calls).acquire_owned().await.ok();
    let done = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work()
    });
    done.await.unwrap_or_else(|panic| {
        error!(%panic, "an operation panicked");
        Err(ApiError::internal("The operation failed inside the server."))
    })
}

/// A request whose input has passed the checks.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) context: Context<'a>,
    pub(super) operation: &'static Operation,
    pub(super) input: Input<'a>,
}

impl Call<'_> {
    /// A member of the input.
    pub(super) fn get<T: Presence>(&self, key: Key<T>) -> T::Got<'_> {
        self.input.get(key)
    }

    /// A reply with these members.
    pub(super) fn reply(&self, members: impl FnOnce(&mut Members<'_>)) -> Reply {
        Reply::whole(self.members(members))
    }

    /// The members of a reply that is not complete yet.
    pub(super) fn members(&self, members: impl FnOnce(&mut Members<'_>)) -> Vec<u8> {
        const USUAL_BYTES: usize = 256;
        write_structure(self.context.protocol, USUAL_BYTES, self.operation.output, members)
    }
}

/// The successful answer of an operation: the content of a status 200.
pub(super) struct Reply {
    /// `None` for the content type of the request.
    content_type: Option<&'static str>,
    content: Content,
    /// The share of the memory for replies, if the operation has taken it.
    share: Option<ReplyShare>,
    /// The action if the reply does not reach its client.
    unsent: Option<Unsent>,
}

enum Content {
    Whole(Vec<u8>),
    Encoded(Box<dyn Encode>),
    Events(mpsc::Receiver<Bytes>),
}

impl Reply {
    /// A reply without a body, of an operation without output.
    pub(super) fn empty() -> Reply {
        Reply::whole(Vec::new())
    }

    /// The bytes of a structure with the members of the operation's output.
    pub(super) fn whole(value: Vec<u8>) -> Reply {
        Reply::of(Content::Whole(value))
    }

    /// One value that is encoded while it is sent.
    pub(super) fn encoded(value: impl Encode + 'static) -> Reply {
        Reply::of(Content::Encoded(Box::new(value)))
    }

    /// Messages of an [event stream](super::protocol::event_stream), which are sent as they come, until the sender is
    /// dropped. A message that has to count for the memory of replies owns its share.
    pub(super) fn events(messages: mpsc::Receiver<Bytes>) -> Reply {
        Reply {
            content_type: Some(super::protocol::event_stream::CONTENT_TYPE),
            content: Content::Events(messages),
            share: None,
            unsent: None,
        }
    }

    fn of(content: Content) -> Reply {
        Reply {
            content_type: None,
            content,
            share: None,
            unsent: None,
        }
    }

    /// The same with its share of the memory for replies.
    pub(super) fn holding(self, share: ReplyShare) -> Reply {
        Reply {
            share: Some(share),
            ..self
        }
    }

    /// The same, with the action if it does not reach its client.
    pub(super) fn or_unsent(self, unsent: Unsent) -> Reply {
        Reply {
            unsent: Some(unsent),
            ..self
        }
    }

    /// The share of memory, if the operation has taken it.
    pub(super) fn take_share(&mut self) -> Option<ReplyShare> {
        self.share.take()
    }

    /// The content type, if it is not the request's, and the body.
    pub(super) fn into_body(self, service: &Service) -> (Option<&'static str>, ReplyBody) {
        let body = match self.content {
            Content::Whole(bytes) => bytes.into(),
            Content::Encoded(value) => ReplyBody::encoded(value, &service.http.buffers),
            Content::Events(messages) => ReplyBody::messages(messages),
        };
        let body = match self.unsent {
            Some(unsent) => body.or_unsent(unsent),
            None => body,
        };
        (self.content_type, body)
    }
}
