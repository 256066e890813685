//! Reading: shard iterators, and the records behind them.

use super::records_body::RecordsBody;
use super::shapes;
use super::shards::{HASH_KEY_RANGE, SHARD_ID, range_members, shard_id, timestamp};
use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME};
use crate::kinesis::arn;
use crate::kinesis::authorization::stream_arn;
use crate::kinesis::date::JavaDate;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    BOOLEAN, Boolean, Integer, Key, LONG, List, Long, Members, Shape, Structure, TEXT, TIME, Text, Time,
    list, members, optional, required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::service::Context;
use crate::kinesis::token::{Issued, IteratorToken, LIFETIME};
use crate::{
    ChildShard, Error, ForeignReason, ReadLimit, RecordBatch, SequenceNumber, ShardId, ShardIterator,
    StartingPosition, Stream,
};

const SHARD_ITERATOR_TYPE: Key<Text> = required("ShardIteratorType", shapes::SHARD_ITERATOR_TYPE);
const STARTING_SEQUENCE_NUMBER: Key<Option<Text>> =
    optional("StartingSequenceNumber", shapes::SEQUENCE_NUMBER);
const TIMESTAMP: Key<Option<Time>> = optional("Timestamp", TIME);
pub(super) const DRY_RUN: Key<Option<Boolean>> = optional("DryRun", BOOLEAN);
const SHARD_ITERATOR: Shape<Text> = TEXT.at_least(1).at_most(512);
const NEW_SHARD_ITERATOR: Key<Option<Text>> = optional("ShardIterator", SHARD_ITERATOR);

pub(super) const GET_SHARD_ITERATOR: Operation = Operation {
    name: "GetShardIterator",
    class: Class::Data,
    resource: Resource::Stream,
    input: members![
        SHARD_ID,
        SHARD_ITERATOR_TYPE,
        STARTING_SEQUENCE_NUMBER,
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
        TIMESTAMP,
        DRY_RUN,
    ],
    output: members![NEW_SHARD_ITERATOR],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::THROUGHPUT_EXCEEDED,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
        exception::DRY_RUN,
    ],
    run: |request| request.blocking(get_shard_iterator),
};

fn get_shard_iterator(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let name = call.stream_name()?;
    let raw_id = call.get(SHARD_ID);
    let shard = shard_id(raw_id).ok_or_else(|| context.could_not_find_shard(raw_id, name))?;
    let stream = context
        .stream(name)
        .map_err(|error| missing(context, shard, name, error))?;
    let start = Start {
        operation: GET_SHARD_ITERATOR.name,
        kind: call.get(SHARD_ITERATOR_TYPE),
        number: call.get(STARTING_SEQUENCE_NUMBER),
        milliseconds: call.get(TIMESTAMP),
    };
    let iterator = new_position(context, &stream, shard, &start)?;
    let service = context.service;
    let is_throttled = service.limits.throughput
        && !service
            .throughput
            .may_iterate((stream.id(), shard), service.store.now());
    if is_throttled {
        return Err(read_too_often(&stream, shard));
    }
    if call.get(DRY_RUN) == Some(true) {
        return Err(ApiError::dry_run());
    }
    let token = seal(context, &iterator, name);
    Ok(call.reply(|reply| reply.set(NEW_SHARD_ITERATOR, token.as_str())))
}

/// The error if the shard or its stream is missing.
pub(super) fn missing(context: Context<'_>, shard: ShardId, stream: &str, error: Error) -> ApiError {
    match error {
        Error::StreamNotFound { .. } | Error::ShardNotFound { .. } => {
            context.shard_does_not_exist(shard, stream)
        }
        other => context.refusal(other),
    }
}

/// Where an operation begins to read a shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start<'a> {
    /// For messages.
    pub(super) operation: &'static str,
    pub(super) kind: &'a str,
    pub(super) number: Option<&'a str>,
    pub(super) milliseconds: Option<i64>,
}

/// The requested position in a shard.
pub(super) fn new_position(
    context: Context<'_>,
    stream: &Stream,
    shard: ShardId,
    start: &Start<'_>,
) -> Result<ShardIterator, ApiError> {
    let name = stream.name();
    let refusal = |error| missing(context, shard, name, error);
    // A missing shard is reported before an invalid position.
    let first = stream
        .shard_iterator(shard, StartingPosition::TrimHorizon)
        .map_err(refusal)?;
    match start.position(context, stream, shard)? {
        StartingPosition::TrimHorizon => Ok(first),
        position => stream
            .shard_iterator(shard, position)
            .map_err(|error| match error {
                Error::ForeignSequenceNumber {
                    reason: ForeignReason::OtherStream,
                    ..
                } => start.foreign_number(context, start.number.unwrap_or_default(), shard, name),
                Error::ForeignSequenceNumber {
                    reason: ForeignReason::OtherShard { encoded, .. },
                    ..
                } => number_of_other_shard(encoded, shard),
                Error::SequenceNumberAtEnd { .. } => ApiError::invalid_argument(
                    "Invalid SequenceNumber for ShardIteratorType AFTER_SEQUENCE_NUMBER, \
                     SequenceNumber has reached max possible value for the shard.",
                ),
                other => refusal(other),
            }),
    }
}

impl Start<'_> {
    fn position(
        &self,
        context: Context<'_>,
        stream: &Stream,
        shard: ShardId,
    ) -> Result<StartingPosition, ApiError> {
        let kind = self.kind;
        let disagree = |also: &str| {
            ApiError::invalid_argument(format!(
                "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or \
                 (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {also}."
            ))
        };
        let number = |number| self.sequence_number(context, number, shard, stream.name());
        match (kind, self.number) {
            ("TRIM_HORIZON" | "LATEST", Some(_)) => Err(disagree("also a StartingSequenceNumber")),
            ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER", None) => {
                Err(disagree("no StartingSequenceNumber"))
            }
            ("TRIM_HORIZON", None) => Ok(StartingPosition::TrimHorizon),
            ("LATEST", None) => Ok(StartingPosition::Latest),
            ("AT_SEQUENCE_NUMBER", Some(text)) => number(text).map(StartingPosition::AtSequenceNumber),
            ("AFTER_SEQUENCE_NUMBER", Some(text)) => number(text).map(StartingPosition::AfterSequenceNumber),
            _ => self.time(context),
        }
    }

    fn time(&self, context: Context<'_>) -> Result<StartingPosition, ApiError> {
        let milliseconds = self.milliseconds.ok_or_else(|| {
            ApiError::invalid_argument(
                "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. \
                 Current request has no timestamp parameter.",
            )
        })?;
        let (time, now) = (timestamp(milliseconds), context.service.store.now());
        if time > now {
            return Err(ApiError::invalid_argument(format!(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                 timestampInMillis: {milliseconds}, currentTimestampInMillis: {}",
                now.as_millis()
            )));
        }
        Ok(StartingPosition::AtTimestamp(time))
    }

    /// A number that the engine can look for in `shard`. Numbers in AWS' earlier layouts can be distinguished, but no
    /// shard of ours has ever issued one.
    fn sequence_number(
        &self,
        context: Context<'_>,
        text: &str,
        shard: ShardId,
        stream: &str,
    ) -> Result<SequenceNumber, ApiError> {
        let number = SequenceNumber::parse_any(text).map_err(|_| {
            ApiError::invalid_argument(format!(
                "StartingSequenceNumber {text} used in {} on shard {shard} in stream {stream} under account {} is \
                 invalid.",
                self.operation,
                context.account_id()
            ))
        })?;
        if i64::from(number.shard_index()) != i64::from(shard.index()) {
            return Err(number_of_other_shard(
                format_args!("shardId-{:012}", number.shard_index()),
                shard,
            ));
        }
        number
            .current()
            .map_err(|_| self.foreign_number(context, text, shard, stream))
    }

    fn foreign_number(&self, context: Context<'_>, number: &str, shard: ShardId, stream: &str) -> ApiError {
        ApiError::invalid_argument(format!(
            "StartingSequenceNumber {number} used in {} on shard {shard} in stream {stream} under account {} is invalid \
             because it did not come from this stream.",
            self.operation,
            context.account_id()
        ))
    }
}

fn number_of_other_shard(encoded: impl std::fmt::Display, shard: ShardId) -> ApiError {
    ApiError::invalid_argument(format!(
        "Invalid StartingSequenceNumber. It encodes {encoded}, while it was used in a call to a shard with {shard}"
    ))
}

fn seal(context: Context<'_>, iterator: &ShardIterator, stream_name: &str) -> String {
    let contents = IteratorToken {
        stream_id: iterator.stream,
        shard_id: iterator.shard,
        next: iterator.next,
        stream_name: stream_name.to_owned(),
    };
    context
        .service
        .tokens
        .seal(context.service.store.now(), &contents)
}

const OPEN_SHARD_ITERATOR: Key<Text> = required("ShardIterator", SHARD_ITERATOR);
const LIMIT: Key<Option<Integer>> = optional("Limit", shapes::LIMIT);

const RECORDS: Key<List<Structure>> = required("Records", RECORD_LIST);
const NEXT_SHARD_ITERATOR: Key<Option<Text>> = optional("NextShardIterator", SHARD_ITERATOR);
const BEHIND_LATEST: Key<Option<Long>> = optional("MillisBehindLatest", MILLIS_BEHIND_LATEST);
const CHILD_SHARDS: Key<Option<List<Structure>>> = optional("ChildShards", CHILD_SHARD_LIST);

pub(super) const MILLIS_BEHIND_LATEST: Shape<Long> = LONG.at_least(0);

pub(super) const RECORD_LIST: Shape<List<Structure>> = list(&RECORD);

/// [`RecordsBody`] writes them.
pub(super) const RECORD: Shape<Structure> = structure(members![
    required("SequenceNumber", shapes::SEQUENCE_NUMBER),
    optional("ApproximateArrivalTimestamp", TIME),
    required("Data", shapes::DATA),
    optional("PartitionKey", shapes::PARTITION_KEY),
    optional("EncryptionType", shapes::ENCRYPTION_TYPE),
]);

pub(super) const CHILD_SHARD_LIST: Shape<List<Structure>> = list(&CHILD_SHARD);

const CHILD_SHARD: Shape<Structure> = structure(members![SHARD_ID, PARENT_SHARDS, HASH_KEY_RANGE]);

const PARENT_SHARDS: Key<List<Text>> = required("ParentShards", list(&shapes::NAME));

pub(super) const GET_RECORDS: Operation = Operation {
    name: "GetRecords",
    class: Class::Read,
    resource: Resource::Stream,
    input: members![LIMIT, OPEN_SHARD_ITERATOR, STREAM_ARN, STREAM_ID, DRY_RUN],
    output: members![RECORDS, NEXT_SHARD_ITERATOR, BEHIND_LATEST, CHILD_SHARDS],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::THROUGHPUT_EXCEEDED,
        exception::EXPIRED_ITERATOR,
        exception::KMS_DISABLED,
        exception::KMS_INVALID_STATE,
        exception::KMS_ACCESS_DENIED,
        exception::KMS_NOT_FOUND,
        exception::KMS_OPT_IN_REQUIRED,
        exception::KMS_THROTTLING,
        exception::ACCESS_DENIED,
        exception::INTERNAL_FAILURE,
        exception::DRY_RUN,
    ],
    run: |request| request.blocking(get_records),
};

fn get_records(call: &Call<'_>) -> Result<Reply, ApiError> {
    const MOST_RECORDS: usize = 10_000;
    let context = call.context;
    let IteratorToken {
        stream_id,
        shard_id,
        next,
        stream_name,
    } = open_iterator(context, call.get(OPEN_SHARD_ITERATOR))?;
    context.subject.note_stream(&stream_name);
    let refusal = |error| missing(context, shard_id, &stream_name, error);
    check_same_name(call.get(STREAM_ARN), &stream_name)?;
    let stream = context.service.store.stream_by_id(stream_id).map_err(refusal)?;
    check_same_scope(call, &stream)?;
    context.authorize_stream(&stream)?;
    if call.get(DRY_RUN) == Some(true) {
        return Err(ApiError::dry_run());
    }
    let limit = ReadLimit {
        records: call.input.limit(LIMIT, MOST_RECORDS),
        bytes: context.most_read_bytes,
    };
    let iterator = ShardIterator {
        stream: stream_id,
        shard: shard_id,
        next,
    };
    let service = context.service;
    let now = service.store.now();
    let throughput = service.limits.throughput.then_some(&service.throughput);
    if throughput.is_some_and(|throughput| !throughput.may_read((stream_id, shard_id), now)) {
        return Err(read_too_often(&stream, shard_id));
    }
    let read = read_what_is_kept(&stream, iterator, &limit).map_err(refusal)?;
    if let Some(throughput) = throughput {
        throughput.has_read((stream_id, shard_id), record_bytes(&read), now);
    }
    let next = read
        .next
        .as_ref()
        .map(|iterator| seal(context, iterator, &stream_name));
    Ok(reply_with(call, read, next.as_deref()))
}

/// The bytes of data and partition keys.
pub(super) fn record_bytes(batch: &RecordBatch) -> usize {
    let records = batch.records.iter();
    records
        .map(|record| record.data.len() + record.partition_key.as_bytes().len())
        .sum()
}

/// Kinesis does not report to a client that it is behind the trim horizon: the read goes on with the records that are
/// kept.
pub(super) fn read_what_is_kept(
    stream: &Stream,
    mut from: ShardIterator,
    limit: &ReadLimit,
) -> Result<RecordBatch, Error> {
    loop {
        match stream.get_records(&from, limit) {
            Err(Error::Trimmed {
                first_kept: Some(next),
                ..
            }) => from.next = next,
            read => return read,
        }
    }
}

fn read_too_often(stream: &Stream, shard: ShardId) -> ApiError {
    let arn = stream_arn(stream);
    ApiError::throughput_exceeded(format!(
        "Rate exceeded for Shard - {}/{}/{shard}",
        arn.account_id, arn.stream_name
    ))
}

fn open_iterator(context: Context<'_>, token: &str) -> Result<IteratorToken, ApiError> {
    let issued: Issued<IteratorToken> = context
        .service
        .tokens
        .open(token)
        .ok_or_else(|| ApiError::invalid_argument("Invalid ShardIterator."))?;
    let now = context.service.store.now();
    if issued.is_expired(now) {
        return Err(ApiError::expired_iterator(format!(
            "Iterator expired. The iterator was created at time {} while right now it is {} \
             which is further in the future than the tolerated delay of {} milliseconds.",
            JavaDate(issued.at),
            JavaDate(now),
            LIFETIME.as_millis()
        )));
    }
    Ok(issued.contents)
}

/// Refuses an ARN of a stream with another name than the iterator's.
fn check_same_name(stream_arn: Option<&str>, of_iterator: &str) -> Result<(), ApiError> {
    match stream_arn {
        Some(arn) if arn::stream_name(arn) != Some(of_iterator) => Err(other_stream(arn, of_iterator)),
        _ => Ok(()),
    }
}

/// Refuses an ARN of a stream of another account or region than the iterator's.
fn check_same_scope(call: &Call<'_>, stream: &Stream) -> Result<(), ApiError> {
    match call.get(STREAM_ARN) {
        Some(arn) if call.context.scope.namespace() != stream.namespace() => {
            Err(other_stream(arn, stream.name()))
        }
        _ => Ok(()),
    }
}

fn other_stream(arn: &str, of_iterator: &str) -> ApiError {
    ApiError::invalid_argument(format!(
        "StreamARN {arn} and the ShardIterator, which is of stream {of_iterator}, are not of the same stream."
    ))
}

fn reply_with(call: &Call<'_>, read: RecordBatch, next: Option<&str>) -> Reply {
    let RecordBatch {
        records,
        millis_behind_latest,
        child_shards,
        is_encrypted,
        ..
    } = read;
    let mut before = 0;
    let members = call.members(|reply| {
        before = reply.set_empty_list(RECORDS);
        reply.set_some(NEXT_SHARD_ITERATOR, next);
        reply.set(BEHIND_LATEST, millis_behind_latest);
        if !child_shards.is_empty() {
            reply.set(CHILD_SHARDS, child_shards.iter().map(child_members));
        }
    });
    let body = RecordsBody::new(call.context.protocol, records, is_encrypted, members, before);
    Reply::encoded(body)
}

pub(super) fn child_members(child: &ChildShard) -> impl FnOnce(&mut Members<'_>) {
    |members| {
        members.set(SHARD_ID, child.shard_id);
        members.set(PARENT_SHARDS, child.parent_shards.iter().copied());
        members.set(HASH_KEY_RANGE, range_members(&child.hash_key_range));
    }
}
