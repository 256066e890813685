//! Listing, splitting and merging shards.

use std::sync::{MutexGuard, PoisonError};

use super::shapes;
use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME, named};
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    Integer, Key, List, Members, Shape, Structure, TEXT, TIME, Text, Time, list, members, optional, required,
    structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::service::Context;
use crate::kinesis::token::{Contents, ShardsToken};
use crate::{
    Error, HashKey, HashKeyRange, Shard, ShardFilter, ShardId, Stream, StreamMode, StreamStatus,
    StreamSummary, Timestamp,
};

const NEXT_TOKEN: Key<Option<Text>> = optional("NextToken", shapes::NEXT_TOKEN);
pub(super) const EXCLUSIVE_START_SHARD_ID: Key<Option<Text>> =
    optional("ExclusiveStartShardId", shapes::NAME);
const MAX_RESULTS: Key<Option<Integer>> = optional("MaxResults", shapes::LIMIT);
const STREAM_CREATION_TIMESTAMP: Key<Option<Time>> = optional("StreamCreationTimestamp", TIME);

const SHARD_FILTER: Key<Option<Structure>> = optional(
    "ShardFilter",
    structure(members![FILTER_TYPE, FILTER_SHARD_ID, FILTER_TIMESTAMP]),
);
const FILTER_TYPE: Key<Text> = required(
    "Type",
    TEXT.one_of(&[
        "AFTER_SHARD_ID",
        "AT_TRIM_HORIZON",
        "FROM_TRIM_HORIZON",
        "AT_LATEST",
        "AT_TIMESTAMP",
        "FROM_TIMESTAMP",
    ]),
);
const FILTER_SHARD_ID: Key<Option<Text>> = optional("ShardId", shapes::NAME);
const FILTER_TIMESTAMP: Key<Option<Time>> = optional("Timestamp", TIME);

const SHARDS: Key<Option<List<Structure>>> = optional("Shards", SHARD_LIST);

pub(super) const LIST_SHARDS: Operation = Operation {
    name: "ListShards",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        EXCLUSIVE_START_SHARD_ID,
        MAX_RESULTS,
        NEXT_TOKEN,
        STREAM_CREATION_TIMESTAMP,
        SHARD_FILTER,
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
    ],
    output: members![SHARDS, NEXT_TOKEN],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::EXPIRED_NEXT_TOKEN,
        exception::RESOURCE_IN_USE,
        exception::ACCESS_DENIED,
    ],
    run: |request| request.blocking(list_shards),
};

fn list_shards(call: &Call<'_>) -> Result<Reply, ApiError> {
    const MOST_SHARDS: usize = 1000;
    let context = call.context;
    let Listing {
        stream,
        filter,
        after,
    } = match call.get(NEXT_TOKEN) {
        Some(token) => continued_listing(call, token)?,
        None => new_listing(call)?,
    };
    let shards = stream.shards(&filter).map_err(|error| context.refusal(error))?;
    let limit = call.input.limit(MAX_RESULTS, MOST_SHARDS);
    let mut rest = shards
        .iter()
        .filter(|shard| after.is_none_or(|after| shard.id > after));
    let page: Vec<&Shard> = rest.by_ref().take(limit).collect();
    let next = page.last().filter(|_| rest.next().is_some()).map(|last| {
        let token = ShardsToken {
            stream_id: stream.id(),
            after: last.id,
            filter,
            stream_name: stream.name().to_owned(),
        };
        context.service.tokens.seal(context.service.store.now(), &token)
    });
    Ok(call.reply(|reply| {
        reply.set(SHARDS, page.into_iter().map(shard_members));
        reply.set_some(NEXT_TOKEN, next.as_deref());
    }))
}

/// The arguments of a listing, and where it begins.
struct Listing {
    stream: Stream,
    filter: ShardFilter,
    after: Option<ShardId>,
}

fn new_listing(call: &Call<'_>) -> Result<Listing, ApiError> {
    let context = call.context;
    if named(call.get(STREAM_NAME), call.get(STREAM_ARN))?.is_none() {
        return Err(ApiError::invalid_argument(
            "Either NextToken or StreamName should be provided.",
        ));
    }
    let filter = shard_filter(call)?;
    let stream = call.stream()?;
    let summary = stream.summary().map_err(|error| context.refusal(error))?;
    if call
        .get(STREAM_CREATION_TIMESTAMP)
        .is_some_and(|created| !is_creation(&summary, created))
    {
        return Err(context.stream_not_found(stream.name()));
    }
    if summary.status == StreamStatus::Creating {
        return Err(context.stream_not_active(stream.name(), summary.status));
    }
    let after = exclusive_start(call, stream.name())?;
    Ok(Listing {
        stream,
        filter,
        after,
    })
}

/// Clients send back the time of a description; some of them only to the second.
pub(super) fn is_creation(summary: &StreamSummary, milliseconds: i64) -> bool {
    const TOLERANCE: u64 = 1000;
    u64::try_from(milliseconds)
        .is_ok_and(|milliseconds| milliseconds.abs_diff(summary.created.as_millis()) < TOLERANCE)
}

fn continued_listing(call: &Call<'_>, token: &str) -> Result<Listing, ApiError> {
    let context = call.context;
    for (given, member) in [
        (call.input.is_given(STREAM_NAME), STREAM_NAME.name()),
        (call.input.is_given(STREAM_ARN), STREAM_ARN.name()),
        (call.input.is_given(SHARD_FILTER), SHARD_FILTER.name()),
        (
            call.input.is_given(EXCLUSIVE_START_SHARD_ID),
            EXCLUSIVE_START_SHARD_ID.name(),
        ),
        (
            call.input.is_given(STREAM_CREATION_TIMESTAMP),
            STREAM_CREATION_TIMESTAMP.name(),
        ),
    ] {
        if given {
            let message = format!("NextToken and {member} cannot be provided together.");
            return Err(ApiError::invalid_argument(message));
        }
    }
    let token = open_next_token::<ShardsToken>(context, token)?;
    let stream = match context.service.store.stream_by_id(token.stream_id) {
        Ok(stream) => stream,
        Err(Error::StreamNotFound { .. }) => return Err(context.stream_not_found(&token.stream_name)),
        Err(error) => return Err(context.refusal(error)),
    };
    context.authorize_stream(&stream)?;
    Ok(Listing {
        stream,
        filter: token.filter,
        after: Some(token.after),
    })
}

fn shard_filter(call: &Call<'_>) -> Result<ShardFilter, ApiError> {
    let Some(filter) = call.get(SHARD_FILTER) else {
        return Ok(ShardFilter::FromTrimHorizon);
    };
    let kind = filter.get(FILTER_TYPE);
    let timestamp = || match filter.get(FILTER_TIMESTAMP) {
        Some(milliseconds) => Ok(timestamp(milliseconds)),
        None => Err(ApiError::invalid_argument(format!(
            "Timestamp must be provided in ShardFilter when its Type is {kind}."
        ))),
    };
    Ok(match kind {
        "AT_TRIM_HORIZON" => ShardFilter::AtTrimHorizon,
        "AT_LATEST" => ShardFilter::AtLatest,
        "AT_TIMESTAMP" => ShardFilter::AtTimestamp(timestamp()?),
        "FROM_TIMESTAMP" => ShardFilter::FromTimestamp(timestamp()?),
        "AFTER_SHARD_ID" => match filter.get(FILTER_SHARD_ID).map(|id| (id, shard_id(id))) {
            Some((_, Some(id))) => ShardFilter::AfterShardId(id),
            Some((raw, None)) => {
                return Err(call.context.could_not_find_shard(raw, call.stream_name()?));
            }
            None => {
                return Err(ApiError::invalid_argument(
                    "ShardId must be provided in ShardFilter when its Type is AFTER_SHARD_ID.",
                ));
            }
        },
        _ => ShardFilter::FromTrimHorizon,
    })
}

/// A time before 1970 counts as 1970: no store is older.
pub(super) fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp::from_millis(u64::try_from(milliseconds).unwrap_or(0))
}

/// The contents of a token that continues a list, unless it is not ours or too old.
pub(super) fn open_next_token<T: Contents>(context: Context<'_>, token: &str) -> Result<T, ApiError> {
    let issued = context
        .service
        .tokens
        .open::<T>(token)
        .ok_or_else(|| ApiError::invalid_argument("Invalid NextToken."))?;
    if issued.is_expired(context.service.store.now()) {
        return Err(ApiError::expired_next_token(
            "NextToken has expired: a token can be used for 300 seconds. Call the operation without NextToken again.",
        ));
    }
    Ok(issued.contents)
}

/// The shard after which a list begins, in any spelling.
pub(super) fn exclusive_start(call: &Call<'_>, stream: &str) -> Result<Option<ShardId>, ApiError> {
    match call.get(EXCLUSIVE_START_SHARD_ID) {
        None => Ok(None),
        Some(raw) => {
            let id = shard_id(raw).ok_or_else(|| call.context.could_not_find_shard(raw, stream))?;
            Ok(Some(id))
        }
    }
}

/// AWS reads what comes after the first hyphen, or all of it: `shardId-0`, `x-0` and `0` are one shard.
pub(super) fn shard_id(text: &str) -> Option<ShardId> {
    let digits = text
        .split('-')
        .nth(1)
        .filter(|number| !number.is_empty())
        .unwrap_or(text);
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    ShardId::new(digits.parse().ok()?).ok()
}

const NEW_STARTING_HASH_KEY: Key<Text> = required("NewStartingHashKey", shapes::HASH_KEY);
const SHARD_TO_SPLIT: Key<Text> = required("ShardToSplit", shapes::NAME);

const RESHARD_ERRORS: &[&str] = &[
    exception::RESOURCE_NOT_FOUND,
    exception::RESOURCE_IN_USE,
    exception::INVALID_ARGUMENT,
    exception::LIMIT_EXCEEDED,
    exception::VALIDATION,
    exception::ACCESS_DENIED,
];

pub(super) const SPLIT_SHARD: Operation = Operation {
    name: "SplitShard",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        NEW_STARTING_HASH_KEY,
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
        SHARD_TO_SPLIT,
    ],
    output: members![],
    errors: RESHARD_ERRORS,
    run: |request| request.blocking(split_shard),
};

fn split_shard(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let key = call.get(NEW_STARTING_HASH_KEY);
    let (stream, [shard]) = reshardable(call, [call.get(SHARD_TO_SPLIT)])?;
    let _claim = claim_shards(context, 1)?;
    check_open(context, &stream, &shard)?;
    let refused = |range: &HashKeyRange| {
        ApiError::invalid_argument(format!(
            "NewStartingHashKey {key} used in SplitShard() on shard {} in stream {} under account {} is not both \
             greater than one plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
            shard.id,
            stream.name(),
            context.account_id(),
            range.start(),
            range.end()
        ))
    };
    // The pattern allows numbers that are no hash keys: they are greater than the end of every range.
    let new_start: HashKey = key.parse().map_err(|_| refused(&shard.hash_key_range))?;
    match stream.split_shard(shard.id, new_start) {
        Ok(()) => Ok(Reply::empty()),
        Err(Error::InvalidSplit { range, .. }) => Err(refused(&range)),
        Err(error) => Err(context.refusal(error)),
    }
}

const SHARD_TO_MERGE: Key<Text> = required("ShardToMerge", shapes::NAME);
const ADJACENT_SHARD_TO_MERGE: Key<Text> = required("AdjacentShardToMerge", shapes::NAME);

pub(super) const MERGE_SHARDS: Operation = Operation {
    name: "MergeShards",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        SHARD_TO_MERGE,
        ADJACENT_SHARD_TO_MERGE,
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
    ],
    output: members![],
    errors: RESHARD_ERRORS,
    run: |request| request.blocking(merge_shards),
};

fn merge_shards(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let named = [call.get(SHARD_TO_MERGE), call.get(ADJACENT_SHARD_TO_MERGE)];
    let (stream, [first, second]) = reshardable(call, named)?;
    if !first.hash_key_range.is_followed_by(&second.hash_key_range) {
        return Err(context.refusal(Error::NotAdjacent {
            stream: stream.name().to_owned(),
            first: first.id,
            second: second.id,
        }));
    }
    check_open(context, &stream, &first)?;
    check_open(context, &stream, &second)?;
    stream
        .merge_shards(first.id, second.id)
        .map_err(|error| context.refusal(error))?;
    Ok(Reply::empty())
}

/// The stream and the shards to reshard, after the checks that splitting and merging share.
fn reshardable<const N: usize>(call: &Call<'_>, raw: [&str; N]) -> Result<(Stream, [Shard; N]), ApiError> {
    let context = call.context;
    let mut ids = Vec::with_capacity(N);
    for raw in raw {
        let name = call.stream_name()?;
        ids.push(shard_id(raw).ok_or_else(|| context.could_not_find_shard(raw, name))?);
    }
    let stream = call.stream()?;
    let description = stream.describe().map_err(|error| context.refusal(error))?;
    check_reshardable(context, &description.summary)?;
    let mut shards = Vec::with_capacity(N);
    for id in ids {
        let shard = description.shards.iter().find(|shard| shard.id == id);
        let missing = || context.could_not_find_shard(&id.to_string(), stream.name());
        shards.push(shard.cloned().ok_or_else(missing)?);
    }
    let shards = <[Shard; N]>::try_from(shards).expect("one shard was found for each name");
    Ok((stream, shards))
}

/// An owner can change only the shards of an active, provisioned stream.
fn check_reshardable(context: Context<'_>, stream: &StreamSummary) -> Result<(), ApiError> {
    if stream.status != StreamStatus::Active {
        return Err(context.stream_not_active(&stream.name, stream.status));
    }
    if stream.mode == StreamMode::OnDemand {
        return Err(ApiError::validation(format!(
            "Request is invalid. Stream {} under account {} is in On-Demand mode.",
            stream.name,
            context.account_id()
        )));
    }
    Ok(())
}

fn check_open(context: Context<'_>, stream: &Stream, shard: &Shard) -> Result<(), ApiError> {
    if shard.is_open() {
        return Ok(());
    }
    Err(context.refusal(Error::ShardClosed {
        stream: stream.name().to_owned(),
        shard: shard.id,
    }))
}

/// Refuses to open `additional` shards beyond the account's limit. No other call opens shards while the claim is held.
pub(super) fn claim_shards(context: Context<'_>, additional: u32) -> Result<ShardClaim<'_>, ApiError> {
    let claim = context.service.shard_claim.lock();
    let claim = claim.unwrap_or_else(PoisonError::into_inner);
    let limit = context.service.shard_limit;
    let open = context.service.store.open_shard_count();
    let current = open.map_err(|error| context.refusal(error))?;
    if current.saturating_add(u64::from(additional)) <= limit {
        return Ok(ShardClaim { _held: claim });
    }
    Err(ApiError::limit_exceeded(format!(
        "This request would exceed the shard limit for the account {} in {}. \
         Current shard count for the account: {current}. Limit: {limit}. \
         Number of additional shards that would have resulted from this request: {additional}. \
         Refer to the AWS Service Limits page \
         (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) \
         for current limits and how to request higher limits.",
        context.account_id(),
        context.scope.region()
    )))
}

/// The right to open shards, which one call at a time has.
#[must_use = "the shards are claimed until this is dropped"]
pub(super) struct ShardClaim<'a> {
    _held: MutexGuard<'a, ()>,
}

pub(super) const UPDATE_SHARD_COUNT: Operation = Operation {
    name: "UpdateShardCount",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        STREAM_NAME,
        TARGET_SHARD_COUNT,
        required("ScalingType", TEXT.one_of(&["UNIFORM_SCALING"])),
        STREAM_ARN,
        STREAM_ID,
    ],
    output: members![
        STREAM_NAME,
        CURRENT_SHARD_COUNT_SHOWN,
        TARGET_SHARD_COUNT_SHOWN,
        STREAM_ARN,
    ],
    errors: RESHARD_ERRORS,
    run: |request| request.blocking(update_shard_count),
};

const TARGET_SHARD_COUNT: Key<Integer> = required("TargetShardCount", shapes::POSITIVE);
const CURRENT_SHARD_COUNT_SHOWN: Key<Option<Integer>> = optional("CurrentShardCount", shapes::POSITIVE);
const TARGET_SHARD_COUNT_SHOWN: Key<Option<Integer>> = optional("TargetShardCount", shapes::POSITIVE);

fn update_shard_count(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let stream = call.stream()?;
    let summary = stream.summary().map_err(|error| context.refusal(error))?;
    check_reshardable(context, &summary)?;
    let current = summary.open_shard_count;
    // The constraint of the member allows only positive integers.
    let target = u32::try_from(call.get(TARGET_SHARD_COUNT)).unwrap_or(u32::MAX);
    check_target(context, current, target)?;
    counted_change(call, &stream, MOST_UPDATES_A_DAY, || {
        let claim = claim_shards(context, target.saturating_sub(current))?;
        // As on AWS, the answer does not wait for the shards. From now on the coming ones are counted.
        let begun = stream.begin_shard_count_update(target);
        drop(claim);
        begun.map_err(|error| context.refusal(error))
    })?;
    Ok(call.reply(|reply| {
        reply.set(STREAM_NAME, stream.name());
        reply.set(CURRENT_SHARD_COUNT_SHOWN, current);
        reply.set(TARGET_SHARD_COUNT_SHOWN, target);
        reply.set(STREAM_ARN, context.stream_arn(stream.name()));
    }))
}

const MOST_UPDATES_A_DAY: usize = 10;

/// Makes a change. If changes are limited as on AWS, refuses one of this kind that exceeds the limit of 24 hours. A
/// change that is refused for another reason does not count.
pub(super) fn counted_change(
    call: &Call<'_>,
    stream: &Stream,
    most: usize,
    change: impl FnOnce() -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let service = call.context.service;
    if !service.limits.changes {
        return change();
    }
    let name = call.operation.name;
    // Counted before, so that concurrent calls cannot exceed it together.
    let counted = service
        .changes
        .count(stream.id(), name, most, service.store.now());
    let Some(counted) = counted else {
        return Err(ApiError::limit_exceeded(format!(
            "{name} can be called for stream {} under account {} {most} times within 24 hours.",
            stream.name(),
            call.context.account_id()
        )));
    };
    let changed = change();
    if changed.is_err() {
        service.changes.take_back(counted);
    }
    changed
}

/// A stream gets at most twice, and at least half as many shards at once. Half of an odd number is rounded up.
fn check_target(context: Context<'_>, current: u32, target: u32) -> Result<(), ApiError> {
    let counts = format!("Current open shard count: {current}, Target shard count: {target}");
    let limit = context.service.shard_limit;
    let refusal = if target > current.saturating_mul(2) {
        format!("UpdateShardCount cannot scale up over double your current open shard count. {counts}")
    } else if target < current.div_ceil(2) {
        format!("UpdateShardCount cannot scale down below half your current open shard count. {counts}")
    } else if u64::from(target) > limit {
        format!("Target shard count or number of open shards cannot be greater than {limit}. {counts}")
    } else {
        return Ok(());
    };
    Err(ApiError::limit_exceeded(refusal))
}

pub(super) const SHARD_LIST: Shape<List<Structure>> = list(&SHARD);

const SHARD: Shape<Structure> = structure(members![
    SHARD_ID,
    PARENT_SHARD_ID,
    ADJACENT_PARENT_SHARD_ID,
    HASH_KEY_RANGE,
    SEQUENCE_NUMBER_RANGE,
]);

pub(super) const SHARD_ID: Key<Text> = required("ShardId", shapes::NAME);
const PARENT_SHARD_ID: Key<Option<Text>> = optional("ParentShardId", shapes::NAME);
const ADJACENT_PARENT_SHARD_ID: Key<Option<Text>> = optional("AdjacentParentShardId", shapes::NAME);

pub(super) const HASH_KEY_RANGE: Key<Structure> = required(
    "HashKeyRange",
    structure(members![STARTING_HASH_KEY, ENDING_HASH_KEY]),
);
const STARTING_HASH_KEY: Key<Text> = required("StartingHashKey", shapes::HASH_KEY);
const ENDING_HASH_KEY: Key<Text> = required("EndingHashKey", shapes::HASH_KEY);

const SEQUENCE_NUMBER_RANGE: Key<Structure> = required(
    "SequenceNumberRange",
    structure(members![STARTING_SEQUENCE_NUMBER, ENDING_SEQUENCE_NUMBER]),
);
const STARTING_SEQUENCE_NUMBER: Key<Text> = required("StartingSequenceNumber", shapes::SEQUENCE_NUMBER);
const ENDING_SEQUENCE_NUMBER: Key<Option<Text>> = optional("EndingSequenceNumber", shapes::SEQUENCE_NUMBER);

pub(super) fn shard_members(shard: &Shard) -> impl FnOnce(&mut Members<'_>) {
    |members| {
        members.set(SHARD_ID, shard.id);
        members.set_some(PARENT_SHARD_ID, shard.parent);
        members.set_some(ADJACENT_PARENT_SHARD_ID, shard.adjacent_parent);
        members.set(HASH_KEY_RANGE, range_members(&shard.hash_key_range));
        members.set(SEQUENCE_NUMBER_RANGE, |range: &mut Members<'_>| {
            range.set(STARTING_SEQUENCE_NUMBER, shard.starting_sequence_number());
            range.set_some(ENDING_SEQUENCE_NUMBER, shard.ending_sequence_number());
        });
    }
}

pub(super) fn range_members(range: &HashKeyRange) -> impl FnOnce(&mut Members<'_>) {
    |members| {
        members.set(STARTING_HASH_KEY, range.start());
        members.set(ENDING_HASH_KEY, range.end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shard_ids_are_read_as_aws_reads_them() {
        let zero = ShardId::new(0).ok();
        for text in [
            "shardId-000000000000",
            "shardId-0",
            "x-0",
            "0",
            "shard-0-junk",
            "000",
        ] {
            assert_eq!(shard_id(text), zero, "{text}");
        }
        assert_eq!(shard_id("shardId-2147483647"), ShardId::new(i32::MAX as u32).ok());
        for text in [
            "",
            "-",
            "x",
            "shardId-",
            "shardId-x",
            "shardId-2147483648",
            "5-",
            "shardId-1.0",
            "shardId-+1",
        ] {
            assert_eq!(shard_id(text), None, "{text}");
        }
    }
}
