//! SubscribeToShard: records of one shard, pushed to a consumer as they come.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::get_records::{
    CHILD_SHARD_LIST, DRY_RUN, MILLIS_BEHIND_LATEST, RECORD_LIST, Start, child_members, missing,
    new_position, read_what_is_kept, record_bytes,
};
use super::records_body::RecordsBody;
use super::shapes;
use super::shards::{SHARD_ID, shard_id};
use super::stream_reference::STREAM_ID;
use crate::http::{Connection, Encode, Granted, ReplyShare};
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    Events, Key, List, Long, Shape, Structure, TIME, Text, Time, events, members, optional, required,
    structure, write_structure,
};
use crate::kinesis::operation::{Class, Operation, Reply, Request, Resource, on_blocking_thread};
use crate::kinesis::options::reply_bytes;
use crate::kinesis::protocol::{Protocol, event_stream};
use crate::kinesis::scope::Scope;
use crate::kinesis::service::{Context, Service};
use crate::kinesis::shape::Member;
use crate::kinesis::subject::Subject;
use crate::kinesis::subscriptions::{Ended, Progress, Refused, Subscribed, Subscription};
use crate::{ReadLimit, RecordBatch, SequenceNumber, ShardIterator, ShardWatch, Stream};

const CONSUMER_ARN: Key<Text> = required("ConsumerARN", shapes::CONSUMER_ARN);
const TYPE: Key<Text> = required("Type", shapes::SHARD_ITERATOR_TYPE);
const SEQUENCE_NUMBER: Key<Option<Text>> = optional("SequenceNumber", shapes::SEQUENCE_NUMBER);
const TIMESTAMP: Key<Option<Time>> = optional("Timestamp", TIME);
const STARTING_POSITION: Key<Structure> = required(
    "StartingPosition",
    structure(members![TYPE, SEQUENCE_NUMBER, TIMESTAMP]),
);

const RECORDS: Key<List<Structure>> = required("Records", RECORD_LIST);
const CONTINUATION_SEQUENCE_NUMBER: Key<Text> =
    required("ContinuationSequenceNumber", shapes::SEQUENCE_NUMBER);
const BEHIND_LATEST: Key<Long> = required("MillisBehindLatest", MILLIS_BEHIND_LATEST);
const CHILD_SHARDS: Key<Option<List<Structure>>> = optional("ChildShards", CHILD_SHARD_LIST);
const EVENT_MEMBERS: &[Member] = members![RECORDS, CONTINUATION_SEQUENCE_NUMBER, BEHIND_LATEST, CHILD_SHARDS];

const EVENT: Key<Structure> = required("SubscribeToShardEvent", structure(EVENT_MEMBERS));
const EVENT_STREAM: Shape<Events> = events(members![
    EVENT,
    optional("ResourceNotFoundException", shapes::EXCEPTION),
    optional("ResourceInUseException", shapes::EXCEPTION),
    optional("KMSDisabledException", shapes::EXCEPTION),
    optional("KMSInvalidStateException", shapes::EXCEPTION),
    optional("KMSAccessDeniedException", shapes::EXCEPTION),
    optional("KMSNotFoundException", shapes::EXCEPTION),
    optional("KMSOptInRequired", shapes::EXCEPTION),
    optional("KMSThrottlingException", shapes::EXCEPTION),
    optional("InternalFailureException", shapes::EXCEPTION),
]);

pub(super) const SUBSCRIBE_TO_SHARD: Operation = Operation {
    name: "SubscribeToShard",
    class: Class::Data,
    resource: Resource::Consumer,
    input: members![CONSUMER_ARN, STREAM_ID, SHARD_ID, STARTING_POSITION, DRY_RUN],
    output: members![required("EventStream", EVENT_STREAM)],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_IN_USE,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
        exception::DRY_RUN,
    ],
    run: |request| Box::pin(subscribe_to_shard(request)),
};

async fn subscribe_to_shard(request: Request) -> Result<Reply, ApiError> {
    let service = Arc::clone(&request.service);
    let connection = Arc::clone(&request.connection);
    let (subscription, pushed) = request.on_blocking_thread(begin).await?;
    let (events, messages) = mpsc::channel(1);
    let push = Push {
        service,
        connection,
        pushed,
        events,
    };
    tokio::spawn(push.run(subscription));
    Ok(Reply::events(messages))
}

/// Checks everything before the reply begins, so that a refusal is an ordinary reply.
fn begin(request: &Request) -> Result<(Subscription, Pushed), ApiError> {
    let call = request.checked()?;
    let context = call.context;
    let (stream, consumer) = context.active_consumer_of_arn(call.get(CONSUMER_ARN))?;
    let raw_id = call.get(SHARD_ID);
    let shard = shard_id(raw_id).ok_or_else(|| context.could_not_find_shard(raw_id, stream.name()))?;
    let position = call.get(STARTING_POSITION);
    let start = Start {
        operation: SUBSCRIBE_TO_SHARD.name,
        kind: position.get(TYPE),
        number: position.get(SEQUENCE_NUMBER),
        milliseconds: position.get(TIMESTAMP),
    };
    let next = new_position(context, &stream, shard, &start)?;
    if call.get(DRY_RUN) == Some(true) {
        return Err(ApiError::dry_run());
    }
    // From before the first read on, so that nothing is missed.
    let watch = stream.watch(&[shard]).map_err(|error| context.refusal(error))?;
    let to = Subscribed {
        stream: stream.id(),
        consumer: consumer.id,
        shard,
    };
    check_rate(context, &to, &consumer.name, stream.name())?;
    let began = context.service.store.monotonic();
    let subscription = context.service.subscriptions.begin(to, began);
    let subscription = subscription.map_err(|refused| match refused {
        Refused::InUse => in_use(),
        Refused::TooMany => ApiError::limit_exceeded("This server has as many subscriptions as it may."),
    })?;
    // It may have been removed before the subscription could be ended with it.
    context.active_consumer_of_arn(call.get(CONSUMER_ARN))?;
    let pushed = Pushed {
        subject: Arc::clone(&request.subject),
        scope: context.scope,
        consumer_name: consumer.name,
        to,
        stream,
        next,
        watch,
        began,
        progress: subscription.progress.clone(),
    };
    pushed.progress.note(next.next);
    Ok((subscription, pushed))
}

/// If calls are limited as on AWS, refuses the second one within a second.
fn check_rate(context: Context<'_>, to: &Subscribed, consumer: &str, stream: &str) -> Result<(), ApiError> {
    let service = context.service;
    if !service.limits.call_rates || service.call_rates.may_subscribe(*to, service.store.now()) {
        return Ok(());
    }
    Err(ApiError::limit_exceeded(format!(
        "Rate exceeded for consumer {consumer} and shard {} in stream {stream} under account {}.",
        to.shard,
        context.account_id()
    )))
}

fn in_use() -> ApiError {
    ApiError::in_use("Another active subscription exists for this consumer")
}

/// A shard that is pushed, and the position in it.
struct Pushed {
    subject: Arc<Subject>,
    scope: Scope,
    consumer_name: String,
    to: Subscribed,
    stream: Stream,
    next: ShardIterator,
    watch: ShardWatch,
    /// By the store's monotonic clock.
    began: Duration,
    progress: Progress,
}

/// Pushes a shard until the subscription ends.
struct Push {
    service: Arc<Service>,
    connection: Arc<Connection>,
    pushed: Pushed,
    events: mpsc::Sender<Bytes>,
}

impl Push {
    /// Clients give up a silent subscription, the first of them after ten seconds.
    const LONGEST_SILENCE: Duration = Duration::from_secs(4);

    async fn run(self, mut subscription: Subscription) {
        let Push {
            service,
            connection,
            pushed,
            events,
        } = self;
        let (scope, consumer_name, began) = (pushed.scope, pushed.consumer_name.clone(), pushed.began);
        let subject = Arc::clone(&pushed.subject);
        let pushing = push(&service, &connection, pushed, &events);
        let refused = tokio::select! {
            biased;
            () = events.closed() => None,
            () = service.http.stops() => None,
            ended = subscription.ended() => Some(match ended {
                Ended::TakenOver => in_use(),
                Ended::ConsumerRemoved => {
                    context(&service, &subject, scope).consumer_not_found(&consumer_name)
                }
            }),
            () = life_is_over(&service, began) => None,
            pushed = pushing => pushed.err(),
        };
        // Dropped first: a client that has seen the end may subscribe again at once.
        drop(subscription);
        if let Some(error) = refused {
            service.note_failure(&subject, &error);
            // Does not wait for a client that does not read.
            let _ = timeout(Push::LONGEST_SILENCE, events.send(exception_message(&error))).await;
        }
    }
}

fn context<'a>(service: &'a Service, subject: &'a Subject, scope: Scope) -> Context<'a> {
    Context {
        service,
        subject,
        scope,
        caller: None,
        operation: SUBSCRIBE_TO_SHARD.name,
        protocol: Protocol::Json,
        most_read_bytes: 0,
    }
}

/// Ready when a subscription that began then has lasted long enough, by the store's monotonic clock. Tests set that
/// clock, so this looks at it repeatedly.
async fn life_is_over(service: &Service, began: Duration) {
    const MOST: Duration = Duration::from_secs(1);
    loop {
        let lasted = service.store.monotonic().saturating_sub(began);
        let left = service.subscription_life.saturating_sub(lasted);
        if left.is_zero() {
            return;
        }
        sleep(left.min(MOST)).await;
    }
}

/// Sends events until the end of the shard.
async fn push(
    service: &Arc<Service>,
    connection: &Arc<Connection>,
    mut pushed: Pushed,
    events: &mpsc::Sender<Bytes>,
) -> Result<(), ApiError> {
    send(
        events,
        event_stream::event("initial-response", JSON, b"{}").into(),
    )
    .await?;
    let mut spoke = Instant::now();
    loop {
        let read = {
            let mut next = pin!(async {
                may_push(service, pushed.to).await;
                next_event(service, connection, &pushed).await
            });
            loop {
                // While records wait for memory that others hold, or for their time, an empty event is sent, which
                // takes little memory.
                let silence = async {
                    sleep_until(spoke + Push::LONGEST_SILENCE).await;
                    empty_event(service, connection, &pushed).await
                };
                tokio::select! {
                    biased;
                    read = &mut next => break read?,
                    empty = silence => {
                        send(events, empty?).await?;
                        spoke = Instant::now();
                    }
                }
            }
        };
        if service.limits.throughput {
            let now = service.store.now();
            service.throughput.pushes(pushed.to, read.record_bytes, now);
        }
        let is_silent = !read.has_news && spoke.elapsed() < Push::LONGEST_SILENCE;
        if !is_silent {
            send(events, read.message).await?;
            spoke = Instant::now();
        }
        match read.next {
            None => return Ok(()),
            Some(next) => {
                pushed.progress.note(next.next);
                pushed.next = next;
            }
        }
        if !read.has_news {
            tokio::select! {
                () = pushed.watch.changed() => {}
                () = sleep_until(spoke + Push::LONGEST_SILENCE) => {}
            }
        }
    }
}

/// Ready when the consumer may get more of the shard, if that is limited as on AWS. Tests set the store's clock, so
/// this looks at it repeatedly.
async fn may_push(service: &Service, to: Subscribed) {
    const MOST: Duration = Duration::from_millis(100);
    if !service.limits.throughput {
        return;
    }
    loop {
        let wait = service.throughput.may_push_in(to, service.store.now());
        if wait.is_zero() {
            return;
        }
        sleep(wait.min(MOST)).await;
    }
}

async fn send(events: &mpsc::Sender<Bytes>, message: Bytes) -> Result<(), ApiError> {
    // The error is ignored: a subscription whose client is gone ends silently.
    let sent = events.send(message).await;
    sent.map_err(|_| ApiError::unavailable("The client is gone."))
}

/// An event that is ready to be sent.
struct Event {
    message: Bytes,
    /// Bytes of data and partition keys.
    record_bytes: usize,
    /// Whether it has records, or the end of the shard.
    has_news: bool,
    next: Option<ShardIterator>,
}

/// The next event, in memory that counts for replies.
async fn next_event(
    service: &Arc<Service>,
    connection: &Arc<Connection>,
    pushed: &Pushed,
) -> Result<Event, ApiError> {
    /// A larger record comes alone.
    const MOST_READ_BYTES: usize = 1 << 20;
    const LESS_READ_BYTES: usize = 64 << 10;
    let full = reply_bytes(MOST_READ_BYTES);
    let reduced = reply_bytes(LESS_READ_BYTES);
    // The size of an event that did not fit: the next attempt waits for that much.
    let mut least = 0;
    loop {
        let replies = &service.http.replies;
        let reserved = match least {
            0 => replies.reserve_large(connection, full, reduced).await,
            _ => {
                let share = replies.reserve_whole(connection, least.max(full)).await;
                share.map(|share| (share, Granted::Full))
            }
        };
        let Ok((mut share, granted)) = reserved else {
            // Others hold the memory. Records are late then, and none is lost.
            continue;
        };
        let limit = match granted {
            Granted::Full => MOST_READ_BYTES,
            Granted::Reduced => LESS_READ_BYTES,
        };
        let (scope, stream, next) = (pushed.scope, pushed.stream.clone(), pushed.next);
        let subject = Arc::clone(&pushed.subject);
        let (work_service, work_connection) = (Arc::clone(service), Arc::clone(connection));
        let read = on_blocking_thread(service, move || {
            let context = context(&work_service, &subject, scope);
            let read = Read::from(context, &stream, next, limit)?;
            let bytes = read.event().len();
            // Taken before the event is made, so that no event is made without memory for it.
            let replies = &work_service.http.replies;
            Ok(match replies.fit(&mut share, &work_connection, bytes) {
                true => Ok(read.into_event(share)),
                false => Err(bytes),
            })
        })
        .await?;
        match read {
            Ok(event) => return Ok(event),
            Err(bytes) => least = bytes,
        }
    }
}

/// An event without records, although there may be some. It uses the memory for small replies, which those who hold the
/// memory for records cannot use up.
async fn empty_event(
    service: &Arc<Service>,
    connection: &Connection,
    pushed: &Pushed,
) -> Result<Bytes, ApiError> {
    const MOST_BYTES: usize = 1 << 10;
    let share = loop {
        if let Ok(share) = service.http.replies.reserve(connection, MOST_BYTES).await {
            break share;
        }
    };
    let (scope, stream, next) = (pushed.scope, pushed.stream.clone(), pushed.next);
    let (work_service, subject) = (Arc::clone(service), Arc::clone(&pushed.subject));
    on_blocking_thread(service, move || {
        let read = Read::nothing(context(&work_service, &subject, scope), &stream, next)?;
        Ok(read.into_event(share).message)
    })
    .await
}

/// A message, and its share of the memory for replies until its last byte is in the socket.
struct Held {
    bytes: Vec<u8>,
    _share: ReplyShare,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The contents of an event.
struct Read {
    body: RecordsBody,
    record_bytes: usize,
    has_news: bool,
    next: Option<ShardIterator>,
}

impl Read {
    fn from(
        context: Context<'_>,
        stream: &Stream,
        from: ShardIterator,
        most_bytes: usize,
    ) -> Result<Read, ApiError> {
        const MOST_RECORDS: usize = 10_000;
        let limit = ReadLimit {
            records: MOST_RECORDS,
            bytes: most_bytes,
        };
        let refusal = |error| missing(context, from.shard, stream.name(), error);
        let batch = read_what_is_kept(stream, from, &limit).map_err(refusal)?;
        let continuation = match (batch.records.last(), &batch.next) {
            // An event at the end of the shard has none.
            (_, None) => None,
            (Some(last), Some(_)) => Some(last.sequence_number),
            (None, Some(next)) => Some(stream.sequence_number_before(next).map_err(refusal)?),
        };
        Ok(Read::of(batch, continuation))
    }

    /// No records, whether there are some or not. This does not report the end of the shard.
    fn nothing(context: Context<'_>, stream: &Stream, at: ShardIterator) -> Result<Read, ApiError> {
        let none = ReadLimit { records: 0, bytes: 0 };
        let refusal = |error| missing(context, at.shard, stream.name(), error);
        let batch = read_what_is_kept(stream, at, &none).map_err(refusal)?;
        let batch = RecordBatch {
            child_shards: Vec::new(),
            ..batch
        };
        let continuation = stream.sequence_number_before(&at).map_err(refusal)?;
        Ok(Read::of(batch, Some(continuation)))
    }

    fn of(batch: RecordBatch, continuation: Option<SequenceNumber>) -> Read {
        let has_news = !batch.records.is_empty() || batch.next.is_none();
        let record_bytes = record_bytes(&batch);
        let mut before = 0;
        let members = write_structure(Protocol::Json, 256, EVENT_MEMBERS, |event| {
            before = event.set_empty_list(RECORDS);
            match continuation {
                Some(number) => event.set(CONTINUATION_SEQUENCE_NUMBER, number),
                None => event.leave_out(CONTINUATION_SEQUENCE_NUMBER),
            }
            event.set(BEHIND_LATEST, batch.millis_behind_latest);
            if !batch.child_shards.is_empty() {
                event.set(CHILD_SHARDS, batch.child_shards.iter().map(child_members));
            }
        });
        Read {
            body: RecordsBody::new(Protocol::Json, batch.records, batch.is_encrypted, members, before),
            record_bytes,
            has_news,
            next: batch.next,
        }
    }

    fn event(&self) -> event_stream::Event<'static> {
        event_stream::Event::new(EVENT.name(), JSON, self.body.len())
    }

    /// The event, which holds its share.
    fn into_event(mut self, share: ReplyShare) -> Event {
        let event = self.event();
        let bytes = event.encode(|message| self.body.encode(message, usize::MAX));
        Event {
            message: Bytes::from_owner(Held { bytes, _share: share }),
            record_bytes: self.record_bytes,
            has_news: self.has_news,
            next: self.next,
        }
    }
}

/// Events are JSON, whatever the request was.
const JSON: &str = Protocol::Json.content_type();

fn exception_message(error: &ApiError) -> Bytes {
    let kind = match error.status {
        500.. => exception::INTERNAL_FAILURE,
        _ => error.kind,
    };
    event_stream::exception(kind, JSON, &error.body(Protocol::Json)).into()
}
