//! From a request to its operation: the table of all operations, and the checks that come before any of them.

use std::sync::Arc;

use bytes::Bytes;
use tracing::error;

use super::convert::Input;
use super::error::ApiError;
use super::operations::{self, PendingPut};
use super::protocol::{Document, Protocol};
use super::service::{Context, Service};
use super::shape::Member;
use super::validate::validate;

/// One operation of the API.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// The members of its input, in the order in which they are checked.
    pub(super) input: &'static [Member],
    pub(super) run: Run,
}

/// How an operation is run once its input has passed all checks of its shape.
#[derive(Debug)]
pub(super) enum Run {
    /// To its end, on a thread that may wait for the disk or a lock.
    Blocking(fn(&Call<'_>) -> Result<Vec<u8>, ApiError>),
    /// A write, which is begun without waiting and then waited for without a thread.
    Put(Put),
    NotOffered,
}

#[derive(Debug)]
pub(super) struct Put {
    /// Begins the write from the raw body of a request that has nothing wrong with it. `None` if it might have: then
    /// the checks find out what.
    pub(super) begin_unchecked: fn(Context<'_>, &[u8]) -> Option<Begun>,
    /// Begins the write from checked input.
    pub(super) begin: fn(&Call<'_>) -> Begun,
}

/// A write that the engine has taken on, or why it was not to be.
pub(super) type Begun = Result<PendingPut, ApiError>;

/// A request whose input has passed the checks.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) context: Context<'a>,
    pub(super) input: Input<'a>,
}

/// A request as HTTP brought it.
#[derive(Debug)]
pub(super) struct ApiRequest {
    /// `None` if there is no such operation.
    pub(super) operation: Option<&'static Operation>,
    pub(super) protocol: Protocol,
    /// What the request was signed for.
    pub(super) region: Option<String>,
    pub(super) authenticated: Result<(), ApiError>,
    pub(super) body: Bytes,
}

/// The operation of this name, whether it is offered or not.
pub(super) fn operation(name: &str) -> Option<&'static Operation> {
    operations::ALL.iter().find(|operation| operation.name == name)
}

/// Performs the request, or says why not. The reply is the body of a status 200.
pub(super) async fn perform(service: Arc<Service>, request: ApiRequest) -> Result<Vec<u8>, ApiError> {
    // Beyond this size, parsing and decoding would keep an async thread from its other connections for too long.
    const MOST_BYTES_INLINE: usize = 2 << 20;
    let protocol = request.protocol;
    if request.authenticated.is_ok()
        && request.body.len() <= MOST_BYTES_INLINE
        && let Some(Operation {
            run: Run::Put(put), ..
        }) = request.operation
        && let Some(begun) = (put.begin_unchecked)(request.context(&service), &request.body)
    {
        return begun?.reply(&service, protocol).await;
    }
    // The semaphore is never closed.
    let permit = Arc::clone(&service.blocking_calls).acquire_owned().await.ok();
    let shared = Arc::clone(&service);
    let checked = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        request.run(&shared)
    });
    let outcome = checked.await.unwrap_or_else(|panic| {
        error!(%panic, "an operation panicked");
        Err(ApiError::internal("The operation failed inside the server."))
    });
    match outcome? {
        Outcome::Done(reply) => Ok(reply),
        Outcome::Pending(put) => put.reply(&service, protocol).await,
    }
}

enum Outcome {
    Done(Vec<u8>),
    Pending(PendingPut),
}

impl ApiRequest {
    fn context<'a>(&'a self, service: &'a Service) -> Context<'a> {
        Context {
            service,
            region: self.region.as_deref().unwrap_or(&service.region),
            protocol: self.protocol,
        }
    }

    /// All checks in the order in which AWS makes them, then the operation.
    fn run(&self, service: &Service) -> Result<Outcome, ApiError> {
        let context = self.context(service);
        if let Some(Operation {
            run: Run::Put(put), ..
        }) = self.operation
            && self.authenticated.is_ok()
            && let Some(begun) = (put.begin_unchecked)(context, &self.body)
        {
            return begun.map(Outcome::Pending);
        }
        let document = self
            .protocol
            .parse(&self.body)
            .map_err(|_| ApiError::not_parsable())?;
        if !matches!(document, Document::Map(_)) {
            return Err(ApiError::not_parsable());
        }
        let operation = self.operation.ok_or_else(ApiError::unknown_operation)?;
        self.authenticated.clone()?;
        if matches!(operation.run, Run::NotOffered) {
            return Err(ApiError::not_offered(operation.name));
        }
        let input = Input::from_document(document, operation.input)?;
        validate(&input, operation.input)?;
        let call = Call { context, input };
        match &operation.run {
            Run::Blocking(run) => run(&call).map(Outcome::Done),
            Run::Put(put) => (put.begin)(&call).map(Outcome::Pending),
            Run::NotOffered => Err(ApiError::not_offered(operation.name)),
        }
    }
}
