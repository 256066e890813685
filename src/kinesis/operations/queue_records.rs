//! The records of queues, and the dead letters: receiving, acknowledging, holding back, restoring.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::queue_reference::QUEUE_ARN;
use super::queues::VISIBILITY_TIMEOUT_SHAPE;
use super::shapes;
use crate::http::Granted;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    Blob, INTEGER, Integer, Key, List, Members, Shape, Structure, TEXT, TIME, Text, Time, list, members,
    optional, required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Request, Resource};
use crate::kinesis::options::{LESS_READ_BYTES, MOST_READ_BYTES, reply_bytes};
use crate::kinesis::shape::{Member, Pattern};
use crate::kinesis::token::ReceiptToken;
use crate::queue::Received;
use crate::{Error, QueueRecord, QueueWatch, ReadLimit, Receipt, ReceiptError, ReceiveOptions};

const RECEIPT_HANDLE: Key<Text> = required("ReceiptHandle", TEXT.at_least(1).at_most(1024));
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

/// Receives what there is, or waits for it. Memory for the reply and a thread are taken for each look, and not while this
/// waits.
async fn receive(request: Request, dead_letters: bool) -> Result<Reply, ApiError> {
    let service = Arc::clone(&request.service);
    let began = Instant::now();
    let checked = request.clone();
    let wait = checked
        .on_blocking_thread(|request| {
            const DEFAULT_SECONDS: i64 = 9;
            let call = request.checked()?;
            call.usable_queue()?;
            let seconds = call.get(WAIT_TIME_SECONDS).unwrap_or(DEFAULT_SECONDS);
            Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        })
        .await?;
    let mut watch: Option<QueueWatch> = None;
    loop {
        let replies = &service.http.replies;
        let (full, reduced) = (reply_bytes(MOST_READ_BYTES), reply_bytes(LESS_READ_BYTES));
        let reserved = replies.reserve_large(&request.connection, full, reduced).await;
        let (share, granted) = reserved.map_err(|_| ApiError::too_many_replies())?;
        let most_bytes = match granted {
            Granted::Full => MOST_READ_BYTES,
            Granted::Reduced => LESS_READ_BYTES,
        };
        let is_last = began.elapsed() >= wait;
        let look = move |request: &Request| look(request, dead_letters, most_bytes, is_last, watch);
        match request.clone().on_blocking_thread(look).await? {
            Looked::Found(reply) => return Ok(reply.holding(share)),
            Looked::Nothing { watching, due } => {
                drop(share);
                let left = wait.saturating_sub(began.elapsed());
                let mut watching = watching;
                tokio::select! {
                    () = watching.changed() => {}
                    () = sleep(due.map_or(left, |due| due.min(left))) => {}
                    // A server that stops does not wait for records.
                    () = service.http.stops() => return Err(ApiError::unavailable("The server is shutting down.")),
                }
                watch = Some(*watching);
            }
        }
    }
}

enum Looked {
    Found(Reply),
    Nothing {
        watching: Box<QueueWatch>,
        /// When something is given out again.
        due: Option<Duration>,
    },
}

/// Looks for records once. If there are none, and this is not the last look, the queue is watched from before it on.
fn look(
    request: &Request,
    dead_letters: bool,
    most_bytes: usize,
    is_last: bool,
    watch: Option<QueueWatch>,
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
    let due = watching.prepare().map_err(refusal)?;
    let receive = || match queue.receive_within_limit(&options) {
        Ok(Received::Records(records)) => Ok(records),
        // What is noted as given out is never refused, so it is refused before.
        Ok(Received::NoRoom) => Err(None),
        Err(error) => Err(Some(error)),
    };
    let mut received = receive();
    while matches!(&received, Ok(received) if received.is_empty())
        && !is_last
        && watching.has_new_shards().map_err(refusal)?
    {
        // They may have records from before they were watched.
        received = receive();
    }
    let received = match received {
        // A shard that cannot be read keeps the caller waiting for others, as one without records does.
        Err(Some(Error::Corrupt { .. } | Error::Unreadable { .. })) if !is_last => Vec::new(),
        Err(None) => return Err(ApiError::too_many_replies()),
        Err(Some(error)) => return Err(refusal(error)),
        Ok(received) => received,
    };
    if received.is_empty() && !is_last {
        let watching = Box::new(watching);
        return Ok(Looked::Nothing { watching, due });
    }
    Ok(Looked::Found(call.reply(|reply| {
        reply.set_list(QUEUE_RECORDS, &received, |shown, record| {
            show(shown, &call, record);
        });
    })))
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

const ENTRY: Shape<Structure> = structure(members![RECEIPT_HANDLE]);
const ENTRIES: Key<List<Structure>> = required("Entries", list(&ENTRY).at_least(1).at_most(10));
const HANDLES: &[Member] = members![QUEUE_ARN, ENTRIES];

const ERROR_CODE: Key<Text> = required("ErrorCode", TEXT);
const ERROR_MESSAGE: Key<Option<Text>> = optional("ErrorMessage", TEXT);
const FAILURE: Shape<Structure> = structure(members![RECEIPT_HANDLE, ERROR_CODE, ERROR_MESSAGE]);
const SUCCESSFUL: Key<List<Structure>> = required("Successful", list(&ENTRY));
const FAILED: Key<List<Structure>> = required("Failed", list(&FAILURE));
const OUTCOMES: &[Member] = members![SUCCESSFUL, FAILED];

const ENTRIES_ERRORS: &[&str] = &[
    exception::ACCESS_DENIED,
    exception::INTERNAL_FAILURE,
    exception::INVALID_ARGUMENT,
    exception::RESOURCE_NOT_FOUND,
    exception::THROTTLING,
];

pub(super) const ACKNOWLEDGE_QUEUE_RECORDS: Operation = Operation {
    name: "AcknowledgeQueueRecords",
    class: Class::Data,
    resource: Resource::Queue,
    input: HANDLES,
    output: OUTCOMES,
    errors: ENTRIES_ERRORS,
    run: |request| request.blocking(|call| acknowledge(call, false)),
};

pub(super) const ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS: Operation = Operation {
    name: "AcknowledgeDeadLetterQueueRecords",
    class: Class::Data,
    resource: Resource::Queue,
    input: HANDLES,
    output: OUTCOMES,
    errors: ENTRIES_ERRORS,
    run: |request| request.blocking(|call| acknowledge(call, true)),
};

fn acknowledge(call: &Call<'_>, dead_letters: bool) -> Result<Reply, ApiError> {
    let (queue, _) = call.usable_queue()?;
    let entries = Entries::of(call, dead_letters);
    let outcomes = queue.acknowledge(&entries.receipts());
    Ok(entries.reply(call, outcomes.map_err(|error| call.queue_refusal(error))?))
}

pub(super) const RESTORE_DEAD_LETTER_QUEUE_RECORDS: Operation = Operation {
    name: "RestoreDeadLetterQueueRecords",
    class: Class::Data,
    resource: Resource::Queue,
    input: HANDLES,
    output: OUTCOMES,
    errors: ENTRIES_ERRORS,
    run: |request| request.blocking(restore),
};

fn restore(call: &Call<'_>) -> Result<Reply, ApiError> {
    let (queue, _) = call.usable_queue()?;
    let entries = Entries::of(call, true);
    let outcomes = queue.restore(&entries.receipts());
    Ok(entries.reply(call, outcomes.map_err(|error| call.queue_refusal(error))?))
}

const NEW_VISIBILITY_TIMEOUT_SECONDS: Key<Integer> =
    required("VisibilityTimeoutSeconds", VISIBILITY_TIMEOUT_SHAPE);
const VISIBILITY_ENTRY: Shape<Structure> =
    structure(members![RECEIPT_HANDLE, NEW_VISIBILITY_TIMEOUT_SECONDS]);
const VISIBILITY_ENTRIES: Key<List<Structure>> =
    required("Entries", list(&VISIBILITY_ENTRY).at_least(1).at_most(10));

pub(super) const UPDATE_QUEUE_RECORDS_VISIBILITY: Operation = Operation {
    name: "UpdateQueueRecordsVisibility",
    class: Class::Data,
    resource: Resource::Queue,
    input: members![QUEUE_ARN, VISIBILITY_ENTRIES],
    output: OUTCOMES,
    errors: ENTRIES_ERRORS,
    run: |request| request.blocking(|call| update_visibility(call, false)),
};

pub(super) const UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY: Operation = Operation {
    name: "UpdateDeadLetterQueueRecordsVisibility",
    class: Class::Data,
    resource: Resource::Queue,
    input: members![QUEUE_ARN, VISIBILITY_ENTRIES],
    output: OUTCOMES,
    errors: ENTRIES_ERRORS,
    run: |request| request.blocking(|call| update_visibility(call, true)),
};

fn update_visibility(call: &Call<'_>, dead_letters: bool) -> Result<Reply, ApiError> {
    let (queue, _) = call.usable_queue()?;
    let given = call.get(VISIBILITY_ENTRIES);
    let (handles, seconds): (Vec<_>, Vec<_>) = given
        .map(|entry| {
            let seconds = entry.get(NEW_VISIBILITY_TIMEOUT_SECONDS);
            (entry.get(RECEIPT_HANDLE), u32::try_from(seconds).unwrap_or(0))
        })
        .unzip();
    let entries = Entries::of_handles(call, handles.into_iter(), dead_letters);
    let of_good = entries.0.iter().zip(seconds);
    let changes = of_good.filter_map(|((_, receipt), seconds)| Some(((*receipt)?, seconds)));
    let outcomes = queue.change_visibility(&changes.collect::<Vec<_>>());
    Ok(entries.reply(call, outcomes.map_err(|error| call.queue_refusal(error))?))
}

/// The entries of a call: their handles, and the receipts of those that this server has given out for this kind of record.
struct Entries<'a>(Vec<(&'a str, Option<Receipt>)>);

impl<'a> Entries<'a> {
    fn of(call: &'a Call<'_>, dead_letters: bool) -> Entries<'a> {
        let handles = call.get(ENTRIES).map(|entry| entry.get(RECEIPT_HANDLE));
        Entries::of_handles(call, handles, dead_letters)
    }

    fn of_handles(
        call: &Call<'_>,
        handles: impl Iterator<Item = &'a str>,
        dead_letters: bool,
    ) -> Entries<'a> {
        let tokens = &call.context.service.tokens;
        let receipt = |handle: &str| {
            let ReceiptToken(receipt) = tokens.open(handle)?.contents;
            (receipt.is_dead_letter == dead_letters).then_some(receipt)
        };
        Entries(handles.map(|handle| (handle, receipt(handle))).collect())
    }

    fn receipts(&self) -> Vec<Receipt> {
        self.0.iter().filter_map(|(_, receipt)| *receipt).collect()
    }

    /// Tells what became of each entry, of the outcomes of those with receipts.
    fn reply(&self, call: &Call<'_>, outcomes: Vec<Result<(), ReceiptError>>) -> Reply {
        let mut outcomes = outcomes.into_iter();
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (handle, receipt) in &self.0 {
            let outcome = receipt.and_then(|_| outcomes.next());
            match outcome {
                Some(Ok(())) => successful.push(*handle),
                Some(Err(error)) => failed.push((*handle, code_of(error), error.to_string())),
                None => failed.push((
                    *handle,
                    exception::INVALID_ARGUMENT,
                    "The receipt handle is not valid for this operation.".to_owned(),
                )),
            }
        }
        call.reply(|reply| {
            reply.set_list(SUCCESSFUL, successful, |entry, handle| {
                entry.set(RECEIPT_HANDLE, handle);
            });
            reply.set_list(FAILED, failed, |entry, (handle, code, message)| {
                entry.set(RECEIPT_HANDLE, handle);
                entry.set(ERROR_CODE, code);
                entry.set(ERROR_MESSAGE, message.as_str());
            });
        })
    }
}

fn code_of(error: ReceiptError) -> &'static str {
    match error {
        ReceiptError::Gone => exception::RESOURCE_NOT_FOUND,
        _ => exception::INVALID_ARGUMENT,
    }
}
