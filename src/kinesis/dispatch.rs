//! From a request to its operation: the table of all operations, and the checks that come before any of them.

use std::sync::Arc;

use bytes::Bytes;
use tracing::error;

use super::budget::MOST_SMALL;
use super::connections::Connection;
use super::convert::Input;
use super::error::ApiError;
use super::operations::{self, PendingPut};
use super::protocol::{Document, Protocol};
use super::reply::ReplyBody;
use super::reply_memory::{ReadSize, ReplyShare};
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
    /// In the same way, up to a reply of which only the encoding is left.
    BlockingRead(fn(&Call<'_>) -> Result<ReplyBody, ApiError>),
    /// A write, which is begun without waiting and then waited for without a thread.
    Put(Put),
    NotOffered,
}

#[derive(Debug)]
pub(super) struct Put {
    /// Begins the write from the raw body of a request that has nothing wrong with it. `None` if it might have: then
    /// the checks find out what; and if it would have to wait where that is not allowed.
    pub(super) begin_unchecked: fn(Context<'_>, &[u8], Waiting) -> Option<Begun>,
    /// Begins the write from checked input.
    pub(super) begin: fn(&Call<'_>) -> Begun,
}

/// Whether the thread that begins a write may wait for a lock or the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Allowed,
    /// It is a worker of the async runtime.
    Never,
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
    /// How much a read may read.
    pub(super) read_size: ReadSize,
}

/// The operation of this name, whether it is offered or not.
pub(super) fn operation(name: &str) -> Option<&'static Operation> {
    operations::ALL.iter().find(|operation| operation.name == name)
}

/// Performs the request, or says why not. The reply is the body of a status 200, and holds its share of the memory for
/// replies, which is taken before anything is done.
pub(super) async fn perform(
    service: Arc<Service>,
    connection: &Connection,
    mut request: ApiRequest,
) -> Result<ReplyBody, ApiError> {
    let mut share = match request.operation.map(|operation| &operation.run) {
        Some(Run::BlockingRead(_)) => {
            let reserved = service.replies.reserve_read(connection).await;
            let (share, read_size) = reserved.map_err(|_| too_many_replies())?;
            request.read_size = read_size;
            share
        }
        Some(Run::Put(_)) => reserve(&service, most_bytes_of_put_reply(request.body.len())).await?,
        _ => reserve(&service, BYTES_OF_USUAL_REPLY).await?,
    };
    let is_put = matches!(request.operation, Some(Operation { run: Run::Put(_), .. }));
    let reply = perform_within(Arc::clone(&service), request).await?;
    // What is stored is never answered with an error.
    if service.replies.fit(&mut share, connection, reply.len()) || is_put {
        Ok(reply.holding(share))
    } else {
        Err(too_many_replies())
    }
}

/// Longer replies take more once they are made.
const BYTES_OF_USUAL_REPLY: usize = 4 << 10;

/// A number and a shard for each record, which has at least 31 bytes in the request.
fn most_bytes_of_put_reply(request_bytes: usize) -> usize {
    (512 + 4 * request_bytes).min(MOST_SMALL)
}

async fn reserve(service: &Service, bytes: usize) -> Result<ReplyShare, ApiError> {
    let reserved = service.replies.reserve(bytes).await;
    reserved.map_err(|_| too_many_replies())
}

fn too_many_replies() -> ApiError {
    ApiError::unavailable("The server has too many replies that are not read.")
}

async fn perform_within(service: Arc<Service>, request: ApiRequest) -> Result<ReplyBody, ApiError> {
    // Beyond this size, parsing and decoding would keep an async thread from its other connections for too long.
    const MOST_BYTES_INLINE: usize = 2 << 20;
    let protocol = request.protocol;
    if request.authenticated.is_ok()
        && request.body.len() <= MOST_BYTES_INLINE
        && let Some(Operation {
            run: Run::Put(put), ..
        }) = request.operation
        && let Some(begun) = (put.begin_unchecked)(request.context(&service), &request.body, Waiting::Never)
    {
        return begun?.reply(&service, protocol).await.map(ReplyBody::from);
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
        Outcome::Pending(put) => put.reply(&service, protocol).await.map(ReplyBody::from),
    }
}

enum Outcome {
    Done(ReplyBody),
    Pending(PendingPut),
}

impl ApiRequest {
    fn context<'a>(&'a self, service: &'a Service) -> Context<'a> {
        Context {
            service,
            region: self.region.as_deref().unwrap_or(&service.region),
            protocol: self.protocol,
            read_size: self.read_size,
        }
    }

    fn run(&self, service: &Service) -> Result<Outcome, ApiError> {
        if let Some(Operation {
            run: Run::Put(put), ..
        }) = self.operation
            && self.authenticated.is_ok()
            && let Some(begun) = (put.begin_unchecked)(self.context(service), &self.body, Waiting::Allowed)
        {
            return begun.map(Outcome::Pending);
        }
        self.run_checked(service)
    }

    /// All checks in the order in which AWS makes them, then the operation.
    fn run_checked(&self, service: &Service) -> Result<Outcome, ApiError> {
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
        let call = Call {
            context: self.context(service),
            input,
        };
        match &operation.run {
            Run::Blocking(run) => run(&call).map(|reply| Outcome::Done(reply.into())),
            Run::BlockingRead(run) => run(&call).map(Outcome::Done),
            Run::Put(put) => (put.begin)(&call).map(Outcome::Pending),
            Run::NotOffered => Err(ApiError::not_offered(operation.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Store;
    use crate::kinesis::ServerOptions;

    /// A member of a request, absent or with one of several values, most of them wrong in some way.
    fn member(name: &'static str, values: &[&'static str]) -> impl Strategy<Value = Option<String>> + use<> {
        let value = prop_oneof![3 => Just(values[0]), 2 => proptest::sample::select(values.to_vec())];
        proptest::option::weighted(0.8, value.prop_map(move |value| format!("\"{name}\":{value}")))
    }

    fn object(members: impl IntoIterator<Item = Option<String>>) -> String {
        format!(
            "{{{}}}",
            members.into_iter().flatten().collect::<Vec<_>>().join(",")
        )
    }

    fn entry() -> impl Strategy<Value = [Option<String>; 3]> {
        let long: &'static str = format!("\"{}\"", "a".repeat(257)).leak();
        let over = "\"340282366920938463463374607431768211456\"";
        let key = member(
            "PartitionKey",
            &["\"k\"", "\"\"", "null", "1", "\"\\u00e4\"", "[]", long],
        );
        let data = member(
            "Data",
            &[
                "\"aGk=\"",
                "\"\"",
                "\"aGl=\"",
                "\"aGk\"",
                "null",
                "true",
                "\"a\\/a=\"",
            ],
        );
        let hash = member(
            "ExplicitHashKey",
            &["\"7\"", "null", "\"07\"", "\"-1\"", "7", over],
        );
        (key, data, proptest::option::weighted(0.3, hash)).prop_map(|(a, b, c)| [a, b, c.flatten()])
    }

    /// What names the stream, and what few requests have.
    fn rest() -> impl Strategy<Value = [Option<String>; 5]> {
        let name = member("StreamName", &["\"s\"", "\"t\"", "\"\"", "\"a b\"", "null", "3"]);
        let arn = member(
            "StreamARN",
            &[
                "\"arn:aws:kinesis:eu-west-1:000000000000:stream/s\"",
                "\"arn:aws:kinesis:eu-west-1:000000000000:stream/t\"",
                "\"arn\"",
                "null",
            ],
        );
        let id = member("StreamId", &["\"abcdefghij0123456789-xyz\"", "\"x\"", "null"]);
        let dry_run = member("DryRun", &["false", "true", "\"x\"", "null"]);
        let ordering = member("SequenceNumberForOrdering", &["\"0\"", "\"x\"", "null", "\"9\""]);
        (name, arn, id, dry_run, ordering).prop_map(|(a, b, c, d, e)| [a, b, c, d, e])
    }

    fn put_record() -> impl Strategy<Value = String> {
        (entry(), rest()).prop_map(|(entry, rest)| object(entry.into_iter().chain(rest)))
    }

    fn put_records() -> impl Strategy<Value = String> {
        let entries = proptest::collection::vec(entry().prop_map(object), 0..4);
        let records = entries.prop_map(|entries| Some(format!("\"Records\":[{}]", entries.join(","))));
        (records, rest()).prop_map(|(records, rest)| object(std::iter::once(records).chain(rest)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The short way of a write may give up on a request, but may not come to another end than the checks.
        #[test]
        fn the_short_way_ends_where_the_checks_would(
            ones in proptest::collection::vec(put_record(), 32),
            many in proptest::collection::vec(put_records(), 32),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path().join("data")).unwrap();
            store.create_stream("s", 1).unwrap();
            let service = Service::new(store, &ServerOptions::new(""), Arc::default());
            let requests = ones
                .iter()
                .map(|body| ("PutRecord", body))
                .chain(many.iter().map(|body| ("PutRecords", body)));
            for (name, body) in requests {
                let request = ApiRequest {
                    operation: operation(name),
                    protocol: Protocol::Json,
                    region: None,
                    authenticated: Ok(()),
                    body: Bytes::copy_from_slice(body.as_bytes()),
                    read_size: ReadSize::Full,
                };
                let Some(Operation { run: Run::Put(put), .. }) = request.operation else { panic!("a write") };
                let begun = (put.begin_unchecked)(request.context(&service), &request.body, Waiting::Allowed);
                if let Some(begun) = begun {
                    let checked = request.run_checked(&service);
                    prop_assert_eq!(begun.err(), checked.err(), "{}", body);
                }
            }
        }
    }
}
