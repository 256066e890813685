//! Reading: shard iterators, and the records behind them.

use super::records_body::RecordsBody;
use super::shards::{shard_id, timestamp, write_hash_key_range};
use super::stream_reference::{NAME, STREAM_ARN, STREAM_ID, STREAM_NAME};
use crate::kinesis::arn;
use crate::kinesis::date::JavaDate;
use crate::kinesis::dispatch::{Call, Operation, Run};
use crate::kinesis::error::ApiError;
use crate::kinesis::protocol::Writer;
use crate::kinesis::reply::ReplyBody;
use crate::kinesis::service::Context;
use crate::kinesis::shape::{Pattern, Shape, member};
use crate::kinesis::token::{Issued, IteratorToken, LIFETIME};
use crate::{
    Error, ForeignReason, GetRecords, ReadLimit, SequenceNumber, ShardId, ShardIterator, StartingPosition,
    Stream,
};

pub(super) const GET_SHARD_ITERATOR: Operation = Operation {
    name: "GetShardIterator",
    input: &[
        member("ShardId", NAME.required()),
        member(
            "ShardIteratorType",
            Shape::STRING.required().one_of(&[
                "AFTER_SEQUENCE_NUMBER",
                "LATEST",
                "AT_TIMESTAMP",
                "AT_SEQUENCE_NUMBER",
                "TRIM_HORIZON",
            ]),
        ),
        member(
            "StartingSequenceNumber",
            Shape::STRING.pattern(Pattern::SEQUENCE_NUMBER),
        ),
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
        member("Timestamp", Shape::TIMESTAMP),
        member("DryRun", Shape::BOOLEAN),
    ],
    run: Run::Blocking(get_shard_iterator),
};

fn get_shard_iterator(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    let Call { context, input } = call;
    let name = call.stream_name()?;
    let raw_id = input.required_string("ShardId");
    let shard = shard_id(raw_id).ok_or_else(|| context.could_not_find_shard(raw_id, name))?;
    let refusal = |error| match error {
        Error::StreamNotFound { .. } | Error::ShardNotFound { .. } => {
            context.shard_does_not_exist(shard, name)
        }
        other => context.refusal(other),
    };
    let stream = context.service.store.stream(name).map_err(refusal)?;
    // That the shard is missing is said before what is wrong with the position.
    let first = stream
        .shard_iterator(shard, StartingPosition::TrimHorizon)
        .map_err(refusal)?;
    let iterator = match starting_position(call, &stream, shard)? {
        StartingPosition::TrimHorizon => first,
        position => stream
            .shard_iterator(shard, position)
            .map_err(|error| match error {
                Error::ForeignSequenceNumber {
                    reason: ForeignReason::OtherStream,
                    ..
                } => {
                    let number = input.string("StartingSequenceNumber").unwrap_or_default();
                    foreign_number(*context, number, shard, name)
                }
                Error::ForeignSequenceNumber {
                    reason: ForeignReason::OtherShard { encoded, .. },
                    ..
                } => number_of_other_shard(encoded, shard),
                Error::SequenceNumberAtEnd { .. } => ApiError::invalid_argument(
                    "Invalid SequenceNumber for ShardIteratorType AFTER_SEQUENCE_NUMBER, \
                     SequenceNumber has reached max possible value for the shard.",
                ),
                other => refusal(other),
            })?,
    };
    if input.boolean("DryRun") == Some(true) {
        return Err(ApiError::dry_run());
    }
    let token = seal(*context, &iterator, name);
    Ok(context.reply(|reply| reply.member("ShardIterator").string(&token)))
}

fn starting_position(call: &Call<'_>, stream: &Stream, shard: ShardId) -> Result<StartingPosition, ApiError> {
    let kind = call.input.required_string("ShardIteratorType");
    let number = call.input.string("StartingSequenceNumber");
    let disagree = |also: &str| {
        ApiError::invalid_argument(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or \
             (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {also}."
        ))
    };
    match (kind, number) {
        ("TRIM_HORIZON" | "LATEST", Some(_)) => Err(disagree("also a StartingSequenceNumber")),
        ("AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER", None) => Err(disagree("no StartingSequenceNumber")),
        ("TRIM_HORIZON", None) => Ok(StartingPosition::TrimHorizon),
        ("LATEST", None) => Ok(StartingPosition::Latest),
        ("AT_SEQUENCE_NUMBER", Some(number)) => sequence_number(call.context, number, shard, stream.name())
            .map(StartingPosition::AtSequenceNumber),
        ("AFTER_SEQUENCE_NUMBER", Some(number)) => {
            sequence_number(call.context, number, shard, stream.name())
                .map(StartingPosition::AfterSequenceNumber)
        }
        _ => starting_time(call),
    }
}

fn starting_time(call: &Call<'_>) -> Result<StartingPosition, ApiError> {
    let milliseconds = call.input.timestamp("Timestamp").ok_or_else(|| {
        ApiError::invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. \
             Current request has no timestamp parameter.",
        )
    })?;
    let (time, now) = (timestamp(milliseconds), call.context.service.store.now());
    if time > now {
        return Err(ApiError::invalid_argument(format!(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
             timestampInMillis: {milliseconds}, currentTimestampInMillis: {}",
            now.as_millis()
        )));
    }
    Ok(StartingPosition::AtTimestamp(time))
}

/// A number that the engine can look for in `shard`. Numbers of the layouts that AWS used before can be told apart,
/// but no shard of ours has ever issued one.
fn sequence_number(
    context: Context<'_>,
    text: &str,
    shard: ShardId,
    stream: &str,
) -> Result<SequenceNumber, ApiError> {
    let number = SequenceNumber::parse_any(text).map_err(|_| {
        ApiError::invalid_argument(format!(
            "StartingSequenceNumber {text} used in GetShardIterator on shard {shard} in stream {stream} under \
             account {} is invalid.",
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
        .map_err(|_| foreign_number(context, text, shard, stream))
}

fn number_of_other_shard(encoded: impl std::fmt::Display, shard: ShardId) -> ApiError {
    ApiError::invalid_argument(format!(
        "Invalid StartingSequenceNumber. It encodes {encoded}, while it was used in a call to a shard with {shard}"
    ))
}

fn foreign_number(context: Context<'_>, number: &str, shard: ShardId, stream: &str) -> ApiError {
    ApiError::invalid_argument(format!(
        "StartingSequenceNumber {number} used in GetShardIterator on shard {shard} in stream {stream} under \
         account {} is invalid because it did not come from this stream.",
        context.account_id()
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

pub(super) const GET_RECORDS: Operation = Operation {
    name: "GetRecords",
    input: &[
        member("Limit", Shape::INTEGER.at_least(1).at_most(10_000)),
        member("ShardIterator", Shape::STRING.required().at_least(1).at_most(512)),
        STREAM_ARN,
        STREAM_ID,
        member("DryRun", Shape::BOOLEAN),
    ],
    run: Run::BlockingRead(get_records),
};

fn get_records(call: &Call<'_>) -> Result<ReplyBody, ApiError> {
    const MOST_RECORDS: usize = 10_000;
    let Call { context, input } = call;
    let IteratorToken {
        stream_id,
        shard_id,
        next,
        stream_name,
    } = open_iterator(*context, input.required_string("ShardIterator"))?;
    check_same_stream(input.string("StreamARN"), &stream_name)?;
    let refusal = |error| match error {
        Error::StreamNotFound { .. } | Error::ShardNotFound { .. } => {
            context.shard_does_not_exist(shard_id, &stream_name)
        }
        other => context.refusal(other),
    };
    let stream = context.service.store.stream_by_id(stream_id).map_err(refusal)?;
    let limit = ReadLimit {
        records: input.limit("Limit", MOST_RECORDS),
        bytes: context.read_size.bytes(),
    };
    let iterator = ShardIterator {
        stream: stream_id,
        shard: shard_id,
        next,
    };
    let read = stream.get_records(&iterator, &limit).map_err(refusal)?;
    if input.boolean("DryRun") == Some(true) {
        return Err(ApiError::dry_run());
    }
    let next = read
        .next
        .as_ref()
        .map(|iterator| seal(*context, iterator, &stream_name));
    Ok(write_records(*context, read, next.as_deref()))
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

/// Refuses an ARN of another stream than the iterator's.
fn check_same_stream(stream_arn: Option<&str>, of_iterator: &str) -> Result<(), ApiError> {
    match stream_arn {
        Some(text) if arn::stream_name(text) != Some(of_iterator) => {
            Err(ApiError::invalid_argument(format!(
                "StreamARN {text} and the ShardIterator, which is of stream {of_iterator}, are not of the same stream."
            )))
        }
        _ => Ok(()),
    }
}

fn write_records(context: Context<'_>, read: GetRecords, next: Option<&str>) -> ReplyBody {
    let GetRecords {
        records,
        millis_behind_latest,
        child_shards,
        ..
    } = read;
    let body = RecordsBody::new(context.protocol, records, |reply| {
        if let Some(next) = next {
            reply.member("NextShardIterator").string(next);
        }
        reply.member("MillisBehindLatest").unsigned(millis_behind_latest);
        if !child_shards.is_empty() {
            reply.member("ChildShards").list(&child_shards, |list, child| {
                list.structure(|member| {
                    member.member("ShardId").display(child.shard_id);
                    member
                        .member("ParentShards")
                        .list(&child.parent_shards, Writer::display);
                    write_hash_key_range(member, &child.hash_key_range);
                });
            });
        }
    });
    ReplyBody::encoded(body, &context.service.buffers)
}
