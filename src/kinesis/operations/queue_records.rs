//! Acknowledging, holding back and restoring received records and dead letters of queues.

use super::queue_receives::RECEIPT_HANDLE;
use super::queue_reference::QUEUE_ARN;
use super::queues::VISIBILITY_TIMEOUT_SHAPE;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    Integer, Key, List, Shape, Structure, TEXT, Text, list, members, optional, required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::shape::Member;
use crate::kinesis::token::ReceiptToken;
use crate::{Receipt, ReceiptError};

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

/// The entries of a call: their handles, with the receipts of those that this server has given out for this kind of
/// record.
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

    /// The result of each entry, from the outcomes of those with receipts.
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
