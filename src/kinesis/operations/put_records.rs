//! Writing: one record, or up to 500 at once.
//!
//! These two carry nearly all the bytes that a server ever gets. A request that is in order is parsed once, its blobs
//! are decoded into one buffer, and slices of both go to the engine. As soon as anything about it is unusual, it takes
//! the way of all other operations, which finds out what exactly is wrong with it.

use base64_simd::STANDARD as BASE64;

use super::put_body::{Entry, PutBody};
use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME, named};
use crate::kinesis::arn;
use crate::kinesis::convert::Input;
use crate::kinesis::dispatch::{Begun, Call, Operation, Put, Run, Waiting};
use crate::kinesis::error::ApiError;
use crate::kinesis::protocol::{Protocol, Writer};
use crate::kinesis::reply_memory::ReadSize;
use crate::kinesis::service::{Context, Service};
use crate::kinesis::shape::{self, Pattern, Shape, member};
use crate::kinesis::validate::failed_at;
use crate::model::Decimals;
use crate::{Append, Error, HashKey, PutRecord, SequenceNumber, ShardId, Stream, limits};

/// The longest data of one record; a stream may allow less.
const MOST_DATA_BYTES: usize = limits::LARGEST_RECORD_BYTES as usize;
const MOST_RECORDS: usize = 500;
/// Data and partition keys of one request together.
const MOST_REQUEST_BYTES: usize = 10 << 20;

const PARTITION_KEY: Shape = Shape::STRING.required().at_least(1).at_most(256);
const EXPLICIT_HASH_KEY: Shape = Shape::STRING.pattern(Pattern::HASH_KEY);
const DATA: Shape = Shape::BLOB.required().at_most(MOST_DATA_BYTES as i64).masked();

pub(super) const PUT_RECORD: Operation = Operation {
    name: "PutRecord",
    input: &[
        member(
            "SequenceNumberForOrdering",
            Shape::STRING.pattern(Pattern::SEQUENCE_NUMBER),
        ),
        member("PartitionKey", PARTITION_KEY),
        member("ExplicitHashKey", EXPLICIT_HASH_KEY),
        member("Data", DATA),
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
        member("DryRun", Shape::BOOLEAN),
    ],
    run: Run::Put(Put {
        begin_unchecked: begin_unchecked_put_record,
        begin: begin_put_record,
    }),
};

const ENTRY: Shape = Shape::structure(&[
    member("PartitionKey", PARTITION_KEY),
    member("ExplicitHashKey", EXPLICIT_HASH_KEY),
    member("Data", DATA),
]);

pub(super) const PUT_RECORDS: Operation = Operation {
    name: "PutRecords",
    input: &[
        member(
            "Records",
            Shape::list(&ENTRY)
                .required()
                .at_least(1)
                .at_most(MOST_RECORDS as i64)
                .masked(),
        ),
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
        member("DryRun", Shape::BOOLEAN),
    ],
    run: Run::Put(Put {
        begin_unchecked: begin_unchecked_put_records,
        begin: begin_put_records,
    }),
};

/// A write that the engine has taken on, and will report as durable or failed.
pub(in crate::kinesis) struct PendingPut {
    append: Append,
    form: Form,
}

/// Which of the two operations is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Many,
}

impl PendingPut {
    /// Waits until the records are as durable as the store promises.
    pub(in crate::kinesis) async fn reply(
        self,
        service: &Service,
        protocol: Protocol,
    ) -> Result<Vec<u8>, ApiError> {
        const REPLY_OVERHEAD: usize = 64;
        const BYTES_OF_PUT: usize = 128;
        let context = Context {
            service,
            region: &service.region,
            protocol,
            read_size: ReadSize::Full,
        };
        let puts = self.append.each().await;
        let mut writer = Writer::with_capacity(protocol, REPLY_OVERHEAD + BYTES_OF_PUT * puts.len());
        // Records of one batch often are in one shard.
        let mut last_shard = (ShardId::FIRST, ShardId::FIRST.to_string());
        let mut numbers = Decimals::new();
        let mut write = |structure: &mut Writer, put: &crate::Put| {
            if last_shard.0 != put.shard_id {
                last_shard = (put.shard_id, put.shard_id.to_string());
            }
            structure.member("ShardId").string(&last_shard.1);
            structure
                .member("SequenceNumber")
                .digits(numbers.of(put.sequence_number));
        };
        match self.form {
            Form::One => {
                let put = puts
                    .into_iter()
                    .next()
                    .expect("the engine reports one put for each record")
                    .map_err(|error| refusal(context, self.form, error))?;
                writer.structure(|reply| write(reply, &put));
            }
            Form::Many => writer.structure(|reply| {
                let mut failures = puts.iter().filter_map(|put| put.as_ref().err());
                let first_failure = failures.next();
                let failed = first_failure.iter().count() + failures.count();
                if let Some(error) = first_failure {
                    let reason = super::refusal::failure(error);
                    service.failures.note_records(failed, reason, error);
                }
                reply.member("FailedRecordCount").unsigned(failed as u64);
                reply.member("Records").list(&puts, |list, put| {
                    list.structure(|result| match put {
                        Ok(put) => write(result, put),
                        Err(_) => {
                            result.member("ErrorCode").string("InternalFailure");
                            result.member("ErrorMessage").string("Internal Service Failure");
                        }
                    });
                });
            }),
        }
        Ok(writer.into_bytes())
    }
}

/// Begins the write of records that are in order as far as can be said without the stream.
fn begin(
    context: Context<'_>,
    stream: &Stream,
    records: &[PutRecord<'_>],
    form: Form,
    dry_run: bool,
) -> Begun {
    check_total(records, form)?;
    if dry_run {
        return Err(ApiError::dry_run());
    }
    begun(context, form, stream.append(records))
}

/// The same where nothing may be waited for: `None` if something would have to be.
fn try_begin(context: Context<'_>, stream: &Stream, records: &[PutRecord<'_>], form: Form) -> Option<Begun> {
    if let Err(error) = check_total(records, form) {
        return Some(Err(error));
    }
    let appended = stream.try_append(records).transpose()?;
    Some(begun(context, form, appended))
}

fn begun(context: Context<'_>, form: Form, appended: crate::Result<Append>) -> Begun {
    match appended {
        Ok(append) => Ok(PendingPut { append, form }),
        Err(error) => Err(refusal(context, form, error)),
    }
}

fn check_total(records: &[PutRecord<'_>], form: Form) -> Result<(), ApiError> {
    let total: usize = records.iter().map(PutRecord::size_bytes).sum();
    if form == Form::Many && total > MOST_REQUEST_BYTES {
        return Err(ApiError::invalid_argument(format!(
            "Records size exceeds {} MB limit",
            MOST_REQUEST_BYTES >> 20
        )));
    }
    Ok(())
}

fn refusal(context: Context<'_>, form: Form, error: Error) -> ApiError {
    match error {
        Error::RecordTooLarge { index, limit, .. } => {
            let path = match form {
                Form::One => "data".to_owned(),
                Form::Many => format!("records.{}.member.data", index + 1),
            };
            failed_at(
                &path,
                &format!("Member must have length less than or equal to {limit}"),
            )
        }
        // To a writer, a stream that is not there yet, or hardly any more, is not there.
        Error::StreamNotActive { name, .. } => context.stream_not_found(&name),
        other => context.refusal(other),
    }
}

fn begin_put_record(call: &Call<'_>) -> Begun {
    let stream = call.stream()?;
    let record = checked_record(&call.input)?;
    check_ordering(
        call.context,
        call.input.string("SequenceNumberForOrdering"),
        &stream,
    )?;
    begin(
        call.context,
        &stream,
        &[record],
        Form::One,
        call.input.boolean("DryRun") == Some(true),
    )
}

fn begin_put_records(call: &Call<'_>) -> Begun {
    let stream = call.stream()?;
    let records: Vec<PutRecord<'_>> = call
        .input
        .structures("Records")
        .map(checked_record)
        .collect::<Result<_, _>>()?;
    begin(
        call.context,
        &stream,
        &records,
        Form::Many,
        call.input.boolean("DryRun") == Some(true),
    )
}

fn checked_record<'a>(input: &'a Input<'_>) -> Result<PutRecord<'a>, ApiError> {
    let data = input.blob("Data").expect("the shape requires Data");
    let record = PutRecord::new(input.required_string("PartitionKey"), data);
    match input.string("ExplicitHashKey") {
        None => Ok(record),
        Some(text) => match text.parse::<HashKey>() {
            Ok(key) => Ok(record.explicit_hash_key(key)),
            Err(_) => Err(ApiError::invalid_argument(format!(
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
                 Specified value was {text}"
            ))),
        },
    }
}

/// New numbers are greater than all that were ever issued, so the given one only has to be one that could have been.
fn check_ordering(context: Context<'_>, number: Option<&str>, stream: &Stream) -> Result<(), ApiError> {
    let Some(number) = number else { return Ok(()) };
    let is_possible = match SequenceNumber::parse_any(number) {
        Ok(parsed) => stream
            .can_have_issued(&parsed)
            .map_err(|error| refusal(context, Form::One, error))?,
        Err(_) => false,
    };
    if is_possible {
        return Ok(());
    }
    Err(ApiError::invalid_argument(format!(
        "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {} under account {} is invalid.",
        stream.name(),
        context.account_id()
    )))
}

fn begin_unchecked_put_record(context: Context<'_>, body: &[u8], waiting: Waiting) -> Option<Begun> {
    match context.protocol {
        Protocol::Json => begin_ordinary(context, &PutBody::of_one(body)?, Form::One, waiting),
        Protocol::Cbor => None,
    }
}

fn begin_unchecked_put_records(context: Context<'_>, body: &[u8], waiting: Waiting) -> Option<Begun> {
    match context.protocol {
        Protocol::Json => {
            let body = PutBody::of_many(body, MOST_RECORDS)?;
            begin_ordinary(context, &body, Form::Many, waiting)
        }
        Protocol::Cbor => None,
    }
}

/// The stream that is meant, if it is named in order.
fn ordinary_stream_name<'a>(body: &'a PutBody<'_>) -> Option<&'a str> {
    let (name, stream_arn) = (body.stream_name.as_deref(), body.stream_arn.as_deref());
    if name.is_some_and(|name| name.len() > 128 || !shape::is_name(name))
        || stream_arn.is_some_and(|text| text.len() > 2048 || arn::stream_name(text).is_none())
    {
        return None;
    }
    named(name, stream_arn).ok()?
}

fn begin_ordinary(context: Context<'_>, body: &PutBody<'_>, form: Form, waiting: Waiting) -> Option<Begun> {
    let stream_name = ordinary_stream_name(body)?;
    let entries = &body.entries;
    let decoded_bytes = entries.iter().map(|entry| entry.data.len() / 4 * 3).sum();
    let mut decoded = Vec::with_capacity(decoded_bytes);
    let mut ends = Vec::with_capacity(entries.len());
    for entry in entries {
        BASE64.decode_append(&entry.data, &mut decoded).ok()?;
        ends.push(decoded.len());
    }
    let mut start = 0;
    let mut records = Vec::with_capacity(entries.len());
    for (entry, end) in entries.iter().zip(ends) {
        records.push(ordinary_record(entry, &decoded[start..end])?);
        start = end;
    }
    let stream = match context.service.store.stream(stream_name) {
        Ok(stream) => stream,
        Err(error) => return Some(Err(context.refusal(error))),
    };
    match waiting {
        Waiting::Allowed => Some(begin(context, &stream, &records, form, false)),
        Waiting::Never => try_begin(context, &stream, &records, form),
    }
}

fn ordinary_record<'a>(entry: &'a Entry<'_>, data: &'a [u8]) -> Option<PutRecord<'a>> {
    let key = &*entry.partition_key;
    let key_is_ordinary = !key.is_empty() && (key.len() <= 256 || key.chars().count() <= 256);
    if !key_is_ordinary || data.len() > MOST_DATA_BYTES {
        return None;
    }
    let record = PutRecord::new(key, data);
    match &entry.explicit_hash_key {
        None => Some(record),
        Some(text) => text.parse().ok().map(|key| record.explicit_hash_key(key)),
    }
}
