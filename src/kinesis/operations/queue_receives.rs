//! Receiving records and dead letters of queues, and waiting for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use super::queue_reference::QUEUE_ARN;
use super::queues::VISIBILITY_TIMEOUT_SHAPE;
use super::shapes;
use crate::http::{Granted, ReplyShare, Undoable, Unsent};
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    Blob, INTEGER, Integer, Key, List, Members, Shape, Structure, TEXT, TIME, Text, Time, list, members,
    optional, required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Request, Resource};
use crate::kinesis::options::{LESS_READ_BYTES, MOST_READ_BYTES, reply_bytes};
use crate::kinesis::shape::{Member, Pattern};
use crate::kinesis::token::ReceiptToken;
use crate::queue::{Look, Received};
use crate::{Error, Queue, QueueRecord, QueueWatch, ReadLimit, ReceiveOptions};

pub(super) const RECEIPT_HANDLE: Key<Text> = required("ReceiptHandle", TEXT.at_least(1).at_most(1024));
const VISIBILITY_TIMEOUT_SECONDS: Key<Option<Integer>> =
    optional("VisibilityTimeoutSeconds", VISIBILITY_TIMEOUT_SHAPE);

const LIMIT: Key<Option<Integer>> = optional("Limit", INTEGER.at_least(1).at_most(10));
const WAIT_TIME_SECONDS: Key<Option<Integer>> = optional("WaitTimeSeconds", INTEGER.at_least(1).at_most(20));

const RECORD_ID: Key<Text> = required(
    "RecordId",
    TEXT.pattern(Pattern::RECORD_ID).at_least(1).at_most(64),
);
const PARTITION_KEY: Key<Option<Text>> = optional("PartitionKey", shapes::PARTITION_KEY);
const DATA: Key<Blob> = required("Data", shapes::DATA);
const APPROXIMATE_ARRIVAL_TIMESTAMP: Key<Time> = required("ApproximateArrivalTimestamp", TIME);
const FIRST_RECEIVE_TIMESTAMP: Key<Time> = required("FirstReceiveTimestamp", TIME);
const RECEIVE_COUNT: Key<Integer> = required("ReceiveCount", INTEGER.at_least(0));
const RECORD: Shape<Structure> = structure(members![
    RECEIPT_HANDLE,
    RECORD_ID,
    PARTITION_KEY,
    DATA,
    APPROXIMATE_ARRIVAL_TIMESTAMP,
    FIRST_RECEIVE_TIMESTAMP,
    RECEIVE_COUNT,
]);
const QUEUE_RECORDS: Key<List<Structure>> = required("QueueRecords", list(&RECORD));

const RECEIVE_INPUT: &[Member] = members![QUEUE_ARN, LIMIT, WAIT_TIME_SECONDS, VISIBILITY_TIMEOUT_SECONDS];
const RECEIVE_ERRORS: &[&str] = &[
    exception::ACCESS_DENIED,
    exception::INTERNAL_FAILURE,
    exception::INVALID_ARGUMENT,
    exception::RESOURCE_NOT_FOUND,
    exception::KMS_ACCESS_DENIED,
    exception::KMS_DISABLED,
    exception::KMS_INVALID_STATE,
    exception::KMS_NOT_FOUND,
    exception::KMS_OPT_IN_REQUIRED,
    exception::KMS_THROTTLING,
    exception::THROTTLING,
];

pub(super) const RECEIVE_QUEUE_RECORDS: Operation = Operation {
    name: "ReceiveQueueRecords",
    class: Class::Receive,
    resource: Resource::Queue,
    input: RECEIVE_INPUT,
    output: members![QUEUE_RECORDS],
    errors: RECEIVE_ERRORS,
    run: |request| Box::pin(receive(request, false)),
};

pub(super) const RECEIVE_DEAD_LETTER_QUEUE_RECORDS: Operation = Operation {
    name: "ReceiveDeadLetterQueueRecords",
    class: Class::Receive,
    resource: Resource::Queue,
    input: RECEIVE_INPUT,
    output: members![QUEUE_RECORDS],
    errors: RECEIVE_ERRORS,
    run: |request| Box::pin(receive(request, true)),
};

/// A client that asked longer ago than this may be gone by now, unless it closed its side before.
const AT_ONCE: Duration = Duration::from_millis(250);

/// Receives present records, or waits for some. Memory for the reply and a thread are taken for each look, and not
/// while this waits. A client that is gone is given nothing, as far as that is known.
async fn receive(request: Request, dead_letters: bool) -> Result<Reply, ApiError> {
    let service = Arc::clone(&request.service);
    let began = Instant::now();
    let (wait, nothing) = request.clone().on_blocking_thread(begin).await?;
    let mut watch: Option<QueueWatch> = None;
    loop {
        let (share, most_bytes) = reserve(&request, watch.as_mut()).await?;
        let is_last = began.elapsed() >= wait;
        let may_be_gone = watch.is_some() || began.elapsed() > AT_ONCE;
        if may_be_gone && request.connection.has_client_ended().await {
            return Ok(Reply::whole(nothing));
        }
        let undoable = service.http.undoing.begin();
        let look = move |request: &Request| {
            // It may have waited for its thread.
            let has_waited = may_be_gone || began.elapsed() > AT_ONCE;
            let looked = look(request, dead_letters, most_bytes, is_last, watch, undoable)?;
            Ok((looked, has_waited))
        };
        let (looked, has_waited) = request.clone().on_blocking_thread(look).await?;
        match looked {
            Looked::Found(reply) => {
                // If the client has gone meanwhile, its records are given back.
                let is_gone = has_waited && request.connection.has_client_ended().await;
                return Ok(match is_gone {
                    true => Reply::whole(nothing),
                    false => reply.holding(share),
                });
            }
            Looked::Nothing { mut watching } => {
                drop(share);
                let left = wait.saturating_sub(began.elapsed());
                let due = watching.due().map_or(left, |due| due.min(left));
                tokio::select! {
                    biased;
                    // A client that has only closed its side gets the records that there were for it: none.
                    () = request.connection.client_ends() => return Ok(Reply::whole(nothing)),
                    // A server that stops does not wait for records.
                    () = service.http.stops() => return Err(ApiError::unavailable("The server is shutting down.")),
                    () = watching.changed() => {}
                    () = sleep(due) => {}
                }
                watch = Some(*watching);
            }
        }
    }
}

/// How long the call waits, and the reply without records.
fn begin(request: &Request) -> Result<(Duration, Vec<u8>), ApiError> {
    const DEFAULT_SECONDS: i64 = 9;
    let call = request.checked()?;
    call.usable_queue()?;
    let seconds = call.get(WAIT_TIME_SECONDS).unwrap_or(DEFAULT_SECONDS);
    let wait = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let nothing = call.members(|reply| reply.set_list(QUEUE_RECORDS, [(); 0], |_, ()| {}));
    Ok((wait, nothing))
}

/// Memory for a reply, and how many bytes of records may be in it. While it waits for memory, another consumer may
/// look.
async fn reserve(request: &Request, watch: Option<&mut QueueWatch>) -> Result<(ReplyShare, usize), ApiError> {
    let replies = &request.service.http.replies;
    let (full, reduced) = (reply_bytes(MOST_READ_BYTES), reply_bytes(LESS_READ_BYTES));
    let mut reserving = std::pin::pin!(replies.reserve_large(&request.connection, full, reduced));
    let reserved = tokio::select! {
        biased;
        reserved = reserving.as_mut() => reserved,
        () = std::future::ready(()) => {
            if let Some(watch) = watch {
                watch.pass_on();
            }
            reserving.await
        }
    };
    match reserved.map_err(|_| ApiError::too_many_replies())? {
        (share, Granted::Full) => Ok((share, MOST_READ_BYTES)),
        (share, Granted::Reduced) => Ok((share, LESS_READ_BYTES)),
    }
}

enum Looked {
    Found(Reply),
    Nothing { watching: Box<QueueWatch> },
}

/// Looks for records once. If there are none, and this is not the last look, any later change ends the wait.
fn look(
    request: &Request,
    dead_letters: bool,
    most_bytes: usize,
    is_last: bool,
    watch: Option<QueueWatch>,
    undoable: Undoable,
) -> Result<Looked, ApiError> {
    const MOST_RECORDS: usize = 10;
    let call = request.checked()?;
    let refusal = |error| call.queue_refusal(error);
    let (queue, _) = call.usable_queue()?;
    let seconds = call.get(VISIBILITY_TIMEOUT_SECONDS);
    let options = ReceiveOptions {
        limit: ReadLimit {
            records: call.input.limit(LIMIT, MOST_RECORDS),
            bytes: most_bytes,
        },
        visibility_seconds: seconds.and_then(|seconds| u32::try_from(seconds).ok()),
        dead_letters,
    };
    let mut watching = match watch {
        Some(watch) => watch,
        None => queue.watch(dead_letters).map_err(refusal)?,
    };
    let looked = watching.look(|queue| queue.receive_within_limit(&options), outcome);
    let received = match looked.map_err(refusal)? {
        // A shard that cannot be read makes the caller wait for other shards, as one without records does.
        Err(error) if is_of_one_shard(&error) && !is_last => Vec::new(),
        Err(error) => return Err(refusal(error)),
        // A record that is noted as given out is never refused, so this is refused before.
        Ok(Received::NoRoom) => return Err(ApiError::too_many_replies()),
        Ok(Received::Records(records)) => records,
    };
    if received.is_empty() && !is_last {
        let watching = Box::new(watching);
        return Ok(Looked::Nothing { watching });
    }
    let reply = call.reply(|reply| {
        reply.set_list(QUEUE_RECORDS, &received, |shown, record| {
            show(shown, &call, record);
        });
    });
    Ok(Looked::Found(match received.is_empty() {
        true => reply,
        false => {
            let waits_inline = request.service.waits_inline;
            reply.or_unsent(given_back(waits_inline, queue, &received, undoable))
        }
    }))
}

fn outcome(received: &crate::Result<Received>) -> Look {
    match received {
        Ok(Received::Records(records)) if !records.is_empty() => Look::Records,
        Ok(Received::Records(_)) => Look::Nothing,
        Err(error) if is_of_one_shard(error) => Look::Nothing,
        Ok(Received::NoRoom) | Err(_) => Look::Failure,
    }
}

/// Whether records of other shards may come meanwhile.
fn is_of_one_shard(error: &Error) -> bool {
    matches!(
        error,
        Error::Corrupt { .. } | Error::Unreadable { .. } | Error::Io { .. } | Error::TooManyOpenFiles { .. }
    )
}

/// Gives records back, as if they had never been received, unless they are sent.
fn given_back(waits_inline: bool, queue: Queue, received: &[QueueRecord], undoable: Undoable) -> Unsent {
    let receipts: Vec<_> = received.iter().map(|record| record.receipt).collect();
    Unsent::new(move || {
        let give_back = move || {
            // If this fails they come back after their visibility timeout, and count as received.
            let _ = queue.give_back(&receipts);
            drop(undoable);
        };
        match Handle::try_current() {
            Ok(runtime) if !waits_inline => drop(runtime.spawn_blocking(give_back)),
            _ => give_back(),
        }
    })
}

fn show(shown: &mut Members<'_>, call: &Call<'_>, received: &QueueRecord) {
    let service = call.context.service;
    let handle = service
        .tokens
        .seal(service.store.now(), &ReceiptToken(received.receipt));
    shown.set(RECEIPT_HANDLE, handle.as_str());
    shown.set(RECORD_ID, received.record.sequence_number);
    let key = received.record.partition_key.as_str();
    shown.set_some(PARTITION_KEY, Some(key).filter(|key| !key.is_empty()));
    shown.set(DATA, &received.record.data[..]);
    shown.set(APPROXIMATE_ARRIVAL_TIMESTAMP, received.record.approximate_arrival);
    shown.set(FIRST_RECEIVE_TIMESTAMP, received.first_received);
    shown.set(RECEIVE_COUNT, received.receive_count);
}
