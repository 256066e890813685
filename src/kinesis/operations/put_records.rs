//! Writing: one record, or up to 500 at once.
//!
//! These two carry nearly all the bytes that a server gets. A valid ordinary request is parsed once, its blobs are
//! decoded into one buffer, and slices of both go to the engine. An unusual request takes the way of all other
//! operations, which finds the exact error.

use base64_simd::STANDARD as BASE64;

use super::get_records::DRY_RUN;
use super::put_body::{Entry, PutBody};
use super::shapes;
use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME, named};
use super::throttled;
use crate::kinesis::arn;
use crate::kinesis::convert::Input;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    Blob, Digits, Integer, Key, List, Members, Shape, Structure, TEXT, Text, list, members, optional,
    required, structure, write_structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Request, Resource};
use crate::kinesis::protocol::Protocol;
use crate::kinesis::service::Context;
use crate::kinesis::shape::{self, Member};
use crate::kinesis::validate::{failed_at, validate};
use crate::model::Decimals;
use crate::{
    Append, Error, HashKey, PutRecord, PutResult, RecordDistribution, SequenceNumber, ShardId, Stream, limits,
};

/// The longest data of one record; a stream may allow less.
const MOST_DATA_BYTES: usize = limits::LARGEST_RECORD_BYTES as usize;
const MOST_RECORDS: usize = 500;
/// Data and partition keys of one request together.
const MOST_REQUEST_BYTES: usize = 10 << 20;

/// It may be absent if the stream distributes its records automatically.
const PARTITION_KEY: Key<Option<Text>> = optional("PartitionKey", shapes::PARTITION_KEY);
/// For all other streams.
const REQUIRED_PARTITION_KEY: Key<Text> = required("PartitionKey", shapes::PARTITION_KEY);
const EXPLICIT_HASH_KEY: Key<Option<Text>> = optional("ExplicitHashKey", shapes::HASH_KEY);
const DATA: Key<Blob> = required("Data", shapes::DATA.masked());
const SEQUENCE_NUMBER_FOR_ORDERING: Key<Option<Text>> =
    optional("SequenceNumberForOrdering", shapes::SEQUENCE_NUMBER);

const SHARD_ID: Key<Text> = required("ShardId", shapes::NAME);
const SEQUENCE_NUMBER: Key<Text> = required("SequenceNumber", shapes::SEQUENCE_NUMBER);

const PUT_ERRORS: &[&str] = &[
    exception::RESOURCE_NOT_FOUND,
    exception::INVALID_ARGUMENT,
    exception::THROUGHPUT_EXCEEDED,
    exception::KMS_DISABLED,
    exception::KMS_INVALID_STATE,
    exception::KMS_ACCESS_DENIED,
    exception::KMS_NOT_FOUND,
    exception::KMS_OPT_IN_REQUIRED,
    exception::KMS_THROTTLING,
    exception::ACCESS_DENIED,
    exception::INTERNAL_FAILURE,
    exception::DRY_RUN,
];

pub(super) const PUT_RECORD: Operation = Operation {
    name: "PutRecord",
    class: Class::Write,
    resource: Resource::Stream,
    input: members![
        SEQUENCE_NUMBER_FOR_ORDERING,
        PARTITION_KEY,
        EXPLICIT_HASH_KEY,
        DATA,
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
        DRY_RUN,
    ],
    output: members![SHARD_ID, SEQUENCE_NUMBER, ENCRYPTION_TYPE,],
    errors: PUT_ERRORS,
    run: |request| Box::pin(put(request, Form::One)),
};

/// Absent if the stream is not encrypted.
const ENCRYPTION_TYPE: Key<Option<Text>> = optional("EncryptionType", shapes::ENCRYPTION_TYPE);

const ENTRY: Shape<Structure> = structure(members![PARTITION_KEY, EXPLICIT_HASH_KEY, DATA]);

const ENTRIES: Key<List<Structure>> = required(
    "Records",
    list(&ENTRY).at_least(1).at_most(MOST_RECORDS as i64).masked(),
);

/// The constraints of a put to a stream whose records go to shards by their partition keys.
const PUT_RECORD_BY_KEY: &[Member] = members![
    SEQUENCE_NUMBER_FOR_ORDERING,
    REQUIRED_PARTITION_KEY,
    EXPLICIT_HASH_KEY,
    DATA,
    STREAM_NAME,
    STREAM_ARN,
    STREAM_ID,
    DRY_RUN,
];
const PUT_RECORDS_BY_KEY: &[Member] = members![ENTRIES_BY_KEY, STREAM_NAME, STREAM_ARN, STREAM_ID, DRY_RUN];
const ENTRIES_BY_KEY: Key<List<Structure>> = required(
    "Records",
    list(&ENTRY_BY_KEY)
        .at_least(1)
        .at_most(MOST_RECORDS as i64)
        .masked(),
);
const ENTRY_BY_KEY: Shape<Structure> = structure(members![REQUIRED_PARTITION_KEY, EXPLICIT_HASH_KEY, DATA]);

const RESULTS: Key<List<Structure>> =
    required("Records", list(&RESULT).at_least(1).at_most(MOST_RECORDS as i64));
const RESULT: Shape<Structure> = structure(members![STORED_NUMBER, STORED_SHARD, ERROR_CODE, ERROR_MESSAGE,]);
const STORED_NUMBER: Key<Option<Text>> = optional("SequenceNumber", shapes::SEQUENCE_NUMBER);
const STORED_SHARD: Key<Option<Text>> = optional("ShardId", shapes::NAME);
const ERROR_CODE: Key<Option<Text>> = optional("ErrorCode", TEXT);
const ERROR_MESSAGE: Key<Option<Text>> = optional("ErrorMessage", TEXT);
const FAILED_RECORD_COUNT: Key<Option<Integer>> = optional("FailedRecordCount", shapes::POSITIVE);

pub(super) const PUT_RECORDS: Operation = Operation {
    name: "PutRecords",
    class: Class::Write,
    resource: Resource::Stream,
    input: members![ENTRIES, STREAM_NAME, STREAM_ARN, STREAM_ID, DRY_RUN],
    output: members![FAILED_RECORD_COUNT, RESULTS, ENCRYPTION_TYPE,],
    errors: PUT_ERRORS,
    run: |request| Box::pin(put(request, Form::Many)),
};

/// Begins a write without a thread that may wait, if that is possible, and always waits for it without one.
async fn put(request: Request, form: Form) -> Result<Reply, ApiError> {
    // Beyond this size, parsing and decoding would keep an async thread from its other connections for too long.
    const MOST_BYTES_INLINE: usize = 2 << 20;
    if request.body.len() <= MOST_BYTES_INLINE
        && !throttled::may_be(request.context())
        && let Some(begun) = begin_unchecked(request.context(), &request.body, form, Waiting::Never)
    {
        return begun?.reply(&request).await;
    }
    let answered = request.clone();
    let begun = request.on_blocking_thread(move |request| {
        match begin_unchecked(request.context(), &request.body, form, Waiting::Allowed) {
            Some(begun) => begun,
            None => begin_checked(
                &request.checked_by(|context, input| check_members(context, input, form))?,
                form,
            ),
        }
    });
    begun.await?.reply(&answered).await
}

/// Whether the thread that begins a write may wait for a lock or the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Allowed,
    /// The thread is a worker of the async runtime.
    Never,
}

/// A write that the engine has taken in, or the error.
type Begun = Result<PendingPut, ApiError>;

/// A write that the engine has taken in, and will report as durable or failed.
struct PendingPut {
    append: Append,
    form: Form,
    /// For each record of the call, why its shard does not take it now, if that was asked.
    refused: Vec<Option<String>>,
    encryption: Option<&'static str>,
}

/// The operation to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Many,
}

impl PendingPut {
    /// Waits until the records are as durable as the store promises.
    async fn reply(self, request: &Request) -> Result<Reply, ApiError> {
        const REPLY_OVERHEAD: usize = 64;
        const BYTES_OF_PUT: usize = 128;
        let context = request.context();
        let puts = if context.service.waits_inline {
            self.append.each().wait()
        } else {
            self.append.each().await
        };
        let capacity = REPLY_OVERHEAD + BYTES_OF_PUT * puts.len();
        // Records of one batch often are in one shard.
        let mut last_shard = (ShardId::FIRST, ShardId::FIRST.to_string());
        let mut numbers = Decimals::new();
        let mut set = |members: &mut Members<'_>, put: &PutResult| {
            if last_shard.0 != put.shard_id {
                last_shard = (put.shard_id, put.shard_id.to_string());
            }
            let number = Digits(numbers.of(put.sequence_number));
            match self.form {
                Form::One => {
                    members.set(SHARD_ID, last_shard.1.as_str());
                    members.set(SEQUENCE_NUMBER, number);
                }
                Form::Many => {
                    members.set(STORED_SHARD, last_shard.1.as_str());
                    members.set(STORED_NUMBER, number);
                }
            }
        };
        let output = request.operation.output;
        let encryption = self.encryption;
        if let Some(error) = missing_key(&puts) {
            return Err(refusal(context, self.form, error));
        }
        let value = match self.form {
            Form::Many if !self.refused.is_empty() => {
                let mut puts = puts.into_iter();
                let mut failed = 0;
                let entries: Vec<_> = (self.refused.iter())
                    .map(|refused| match refused {
                        Some(message) => Err(message),
                        None => Ok(puts.next().expect("each record that was not refused was put")),
                    })
                    .inspect(|entry| failed += u32::from(!matches!(entry, Ok(Ok(_)))))
                    .collect();
                let errors = entries
                    .iter()
                    .filter_map(|entry| entry.as_ref().ok()?.as_ref().err());
                note_failures(context, errors);
                write_structure(request.protocol, capacity, output, |reply| {
                    reply.set(FAILED_RECORD_COUNT, failed);
                    reply.set_list(RESULTS, &entries, |result, entry| match entry {
                        Ok(Ok(put)) => set(result, put),
                        Ok(Err(_)) => set_failure(result),
                        Err(message) => {
                            result.set(ERROR_CODE, exception::THROUGHPUT_EXCEEDED);
                            result.set(ERROR_MESSAGE, message.as_str());
                        }
                    });
                    reply.set_some(ENCRYPTION_TYPE, encryption);
                })
            }
            Form::One => {
                let put = puts
                    .into_iter()
                    .next()
                    .expect("the engine reports one put for each record")
                    .map_err(|error| refusal(context, self.form, error))?;
                write_structure(request.protocol, capacity, output, |reply| {
                    set(reply, &put);
                    reply.set_some(ENCRYPTION_TYPE, encryption);
                })
            }
            Form::Many => write_structure(request.protocol, capacity, output, |reply| {
                let failed = note_failures(context, puts.iter().filter_map(|put| put.as_ref().err()));
                reply.set(FAILED_RECORD_COUNT, failed as u32);
                reply.set_list(RESULTS, &puts, |result, put| match put {
                    Ok(put) => set(result, put),
                    Err(_) => set_failure(result),
                });
                reply.set_some(ENCRYPTION_TYPE, encryption);
            }),
        };
        Ok(Reply::whole(value))
    }
}

/// Logs records that were not stored, and counts them.
fn note_failures<'a>(context: Context<'_>, mut failures: impl Iterator<Item = &'a Error>) -> usize {
    let Some(first) = failures.next() else { return 0 };
    let failed = 1 + failures.count();
    let service = context.service;
    let now = service.store.monotonic();
    service.failures.note_records(
        now,
        context.subject,
        failed as u64,
        first.failure_for_clients(),
        first,
    );
    failed
}

/// All records of a call are encrypted with one key. If that is missing, none is stored, and the call fails.
fn missing_key(puts: &[crate::Result<PutResult>]) -> Option<Error> {
    let first = puts.first()?.as_ref().err()?;
    let is_missing = matches!(first, Error::KeyNotFound { .. }) && puts.iter().all(Result::is_err);
    is_missing.then(|| first.clone())
}

fn set_failure(result: &mut Members<'_>) {
    result.set(ERROR_CODE, "InternalFailure");
    result.set(ERROR_MESSAGE, "Internal Service Failure");
}

/// Begins the write of records that are valid as far as that is known without the stream.
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
    if throttled::may_be(context) {
        // An error of the call is reported before any of its records counts.
        check_sizes(stream, records).map_err(|error| refusal(context, form, error))?;
    }
    let refused = throttled::refused(context, stream, records, form == Form::Many)
        .map_err(|error| refusal(context, form, error))?;
    if refused.iter().all(Option::is_none) {
        return begun(context, form, stream, refused, stream.append(records));
    }
    if let (Form::One, [Some(message)]) = (form, refused.as_slice()) {
        return Err(ApiError::throughput_exceeded(message.clone()));
    }
    let taken = records
        .iter()
        .zip(&refused)
        .filter(|(_, refused)| refused.is_none());
    let taken: Vec<_> = taken.map(|(record, _)| *record).collect();
    begun(context, form, stream, refused, stream.append(&taken))
}

/// The same without any waiting: `None` if something would have to wait.
fn try_begin(context: Context<'_>, stream: &Stream, records: &[PutRecord<'_>], form: Form) -> Option<Begun> {
    if let Err(error) = check_total(records, form) {
        return Some(Err(error));
    }
    let appended = stream.try_append(records).transpose()?;
    Some(begun(context, form, stream, Vec::new(), appended))
}

fn begun(
    context: Context<'_>,
    form: Form,
    stream: &Stream,
    refused: Vec<Option<String>>,
    appended: crate::Result<Append>,
) -> Begun {
    match appended {
        Ok(append) => Ok(PendingPut {
            append,
            form,
            refused,
            encryption: stream.is_encrypted().then_some("KMS"),
        }),
        Err(error) => Err(refusal(context, form, error)),
    }
}

/// The engine's check, which sees only the records that are not throttled.
fn check_sizes(stream: &Stream, records: &[PutRecord<'_>]) -> Result<(), Error> {
    let limit = stream.summary()?.max_record_bytes as usize;
    let sizes = records.iter().map(PutRecord::size_bytes);
    match sizes.enumerate().find(|(_, bytes)| *bytes > limit) {
        Some((index, bytes)) => Err(Error::RecordTooLarge { index, bytes, limit }),
        None => Ok(()),
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
        // For a writer, a stream that is being created or deleted does not exist.
        Error::StreamNotActive { name, .. } => context.stream_not_found(&name),
        other => context.refusal(other),
    }
}

/// The stream decides whether records need a partition key.
fn check_members(context: Context<'_>, input: &Input<'_>, form: Form) -> Result<(), ApiError> {
    let (by_key, declared) = match form {
        Form::One => (PUT_RECORD_BY_KEY, PUT_RECORD.input),
        Form::Many => (PUT_RECORDS_BY_KEY, PUT_RECORDS.input),
    };
    let checked = validate(input, by_key);
    match checked.is_err() && is_distributed(context, input) {
        true => validate(input, declared),
        false => checked,
    }
}

/// Whether the stream in the input distributes its records automatically.
fn is_distributed(context: Context<'_>, input: &Input<'_>) -> bool {
    let name = named(input.get(STREAM_NAME), input.get(STREAM_ARN));
    let stream = name.ok().flatten().and_then(|name| context.stream(name).ok());
    let summary = stream.and_then(|stream| stream.summary().ok());
    summary.is_some_and(|summary| summary.distribution == RecordDistribution::Auto)
}

fn begin_checked(call: &Call<'_>, form: Form) -> Begun {
    let stream = call.stream()?;
    let dry_run = call.get(DRY_RUN) == Some(true);
    match form {
        Form::One => {
            let record = checked_record(&call.input)?;
            check_ordering(call.context, call.get(SEQUENCE_NUMBER_FOR_ORDERING), &stream)?;
            begin(call.context, &stream, &[record], form, dry_run)
        }
        Form::Many => {
            let records = call.get(ENTRIES).map(checked_record);
            let records: Vec<PutRecord<'_>> = records.collect::<Result<_, _>>()?;
            begin(call.context, &stream, &records, form, dry_run)
        }
    }
}

fn checked_record<'a>(input: &'a Input<'_>) -> Result<PutRecord<'a>, ApiError> {
    let record = PutRecord::new(input.get(PARTITION_KEY).unwrap_or_default(), input.get(DATA));
    match input.get(EXPLICIT_HASH_KEY) {
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

/// New numbers are greater than all earlier ones, so the given one only has to be one that can have been issued.
fn check_ordering(context: Context<'_>, number: Option<&str>, stream: &Stream) -> Result<(), ApiError> {
    let Some(number) = number else { return Ok(()) };
    let summary = stream
        .summary()
        .map_err(|error| refusal(context, Form::One, error))?;
    if summary.distribution == RecordDistribution::Auto {
        return Err(ApiError::invalid_argument(format!(
            "SequenceNumberForOrdering cannot be used with stream {} under account {}: its record distribution strategy is \
             AUTO.",
            stream.name(),
            context.account_id()
        )));
    }
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

/// Begins the write from the raw body of a request without any errors. `None` if there may be one, in which case the
/// checks find it, or if it would have to wait and may not.
fn begin_unchecked(context: Context<'_>, body: &[u8], form: Form, waiting: Waiting) -> Option<Begun> {
    let body = match (context.protocol, form) {
        (Protocol::Json, Form::One) => PutBody::of_one(body)?,
        (Protocol::Json, Form::Many) => PutBody::of_many(body, MOST_RECORDS)?,
        (Protocol::Cbor, _) => return None,
    };
    let context = match body.stream_arn.as_deref() {
        Some(arn) => context.at_arn(arn),
        None => context,
    };
    begin_ordinary(context, &body, form, waiting)
}

/// The stream of the request, if it is named in an ordinary way.
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
    let stream = match context.stream(stream_name) {
        Ok(stream) => stream,
        // The checks decide whether the caller may know that it does not exist.
        Err(_) if context.caller.is_some() => return None,
        Err(error) => return Some(Err(context.refusal(error))),
    };
    // The checks also decide under which name a refusal names the stream.
    context.authorize_stream(&stream).ok()?;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::Store;
    use crate::http::Admission;
    use crate::kinesis::ServerOptions;
    use crate::kinesis::scope::Scope;
    use crate::kinesis::service::Service;

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

        /// The short way of a write may give up a request, but may not have another result than the checks.
        #[test]
        fn the_short_way_ends_where_the_checks_would(
            ones in proptest::collection::vec(put_record(), 32),
            many in proptest::collection::vec(put_records(), 32),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path().join("data")).unwrap();
            let scope = Scope::new("000000000000", "us-east-1").unwrap();
            let streams = store.namespace(&scope.namespace()).unwrap();
            streams.create_stream("s", 1).unwrap();
            let service = Arc::new(Service::new(
                store,
                scope,
                Admission::default(),
                crate::kinesis::dispatch::calls(),
                &ServerOptions::new(""),
            ));
            let requests = ones
                .iter()
                .map(|body| (&PUT_RECORD, Form::One, body))
                .chain(many.iter().map(|body| (&PUT_RECORDS, Form::Many, body)));
            for (operation, form, body) in requests {
                let request = Request {
                    service: Arc::clone(&service),
                    subject: Arc::new(service.new_subject(Some(operation.name))),
                    operation,
                    protocol: Protocol::Json,
                    scope,
                    caller: None,
                    body: Bytes::copy_from_slice(body.as_bytes()),
                    connection: service.http.connection(),
                    most_read_bytes: 0,
                };
                let begun = begin_unchecked(request.context(), &request.body, form, Waiting::Allowed);
                if let Some(begun) = begun {
                    let checked = request.checked().and_then(|call| begin_checked(&call, form));
                    prop_assert_eq!(begun.err(), checked.err(), "{}", body);
                }
            }
        }
    }
}
