//! Creating, deleting, describing and listing streams, and their retention.

use super::monitoring::shard_level_metrics;
use super::shapes::{STREAM_MODE, WARM_THROUGHPUT, WARM_THROUGHPUT_MIBPS};
use super::shards::{self, EXCLUSIVE_START_SHARD_ID, SHARD_LIST, shard_members};
use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME};
use super::tag_rules::{MOST_TAGS, Tagged};
use super::{consumers, shapes, stream_settings, tags};
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    BOOLEAN, Boolean, INTEGER, Integer, Key, List, Map, Members, Shape, Structure, TEXT, TIME, Text, Time,
    list, members, optional, required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::options::{RETENTION_HOURS, ServerOptions};
use crate::kinesis::service::Context;
use crate::kinesis::shape::Member;
use crate::kinesis::token::StreamsToken;
use crate::kinesis::validate::missing;
use crate::{
    Error, RecordDistribution, Retention, RetentionReason, SizeLimits, StreamMode, StreamOptions,
    StreamStatus, StreamSummary, limits,
};

const MODE_DETAILS: Key<Option<Structure>> = optional("StreamModeDetails", shapes::STREAM_MODE_DETAILS);

const MAX_RECORD_SIZE_IN_KIB: Key<Option<Integer>> =
    optional("MaxRecordSizeInKiB", shapes::MAX_RECORD_SIZE_IN_KIB);

const RECORD_DISTRIBUTION_STRATEGY: Key<Option<Text>> =
    optional("RecordDistributionStrategy", shapes::RECORD_DISTRIBUTION_STRATEGY);

/// The name of a new stream, which no ARN can replace.
const NEW_STREAM_NAME: Key<Text> = required("StreamName", shapes::NAME);

const SHARD_COUNT: Key<Option<Integer>> = optional("ShardCount", INTEGER.at_least(1).at_most(100_000));

const TAGS: Key<Option<Map<Text>>> = optional("Tags", shapes::TAGS);

pub(super) const CREATE_STREAM: Operation = Operation {
    name: "CreateStream",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        SHARD_COUNT,
        MODE_DETAILS,
        TAGS,
        WARM_THROUGHPUT_MIBPS,
        MAX_RECORD_SIZE_IN_KIB,
        RECORD_DISTRIBUTION_STRATEGY,
        NEW_STREAM_NAME,
    ],
    output: members![],
    errors: &[
        exception::RESOURCE_IN_USE,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::VALIDATION,
    ],
    run: |request| request.blocking(create_stream),
};

const DEFAULT_SHARD_COUNT: u32 = ServerOptions::DEFAULT_SHARD_COUNT;

fn create_stream(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let name = call.get(NEW_STREAM_NAME);
    let mode = call.get(MODE_DETAILS).map(|details| details.get(STREAM_MODE));
    let shard_count = call.get(SHARD_COUNT).and_then(|count| u32::try_from(count).ok());
    let (mode, shard_count) = match (mode, shard_count) {
        (Some("ON_DEMAND"), None) => (StreamMode::OnDemand, DEFAULT_SHARD_COUNT),
        (Some("ON_DEMAND"), Some(_)) => {
            return Err(ApiError::invalid_argument(
                "ShardCount is not expected when StreamMode=ON_DEMAND",
            ));
        }
        (Some(_), None) => return Err(missing("shardCount")),
        (_, shard_count) => (
            StreamMode::Provisioned,
            shard_count.unwrap_or(DEFAULT_SHARD_COUNT),
        ),
    };
    let distribution = match call.get(RECORD_DISTRIBUTION_STRATEGY) {
        Some("AUTO") => RecordDistribution::Auto,
        _ => RecordDistribution::PartitionKey,
    };
    stream_settings::check_distribution(context, name, mode, distribution)?;
    let warm_throughput = call.get(WARM_THROUGHPUT_MIBPS).unwrap_or(0);
    let warm_throughput = stream_settings::check_warm_throughput(context, name, mode, warm_throughput)?;
    let shard_count = shard_count.max(warm_throughput);
    let tags = tags::given(call.get(TAGS).unwrap_or_default());
    let tagged = Tagged {
        context,
        kind: "stream",
        name,
    };
    tagged.check_added(&tags)?;
    if tags.len() > MOST_TAGS {
        return Err(tagged.too_many());
    }

    match context.stream(name) {
        Ok(_) => {
            return Err(context.refusal(Error::StreamExists {
                name: name.to_owned(),
            }));
        }
        Err(Error::StreamNotFound { .. }) => {}
        Err(error) => return Err(context.refusal(error)),
    }
    let _claim = shards::claim_shards(context, shard_count)?;
    check_creating(context)?;
    let stream = StreamOptions {
        shard_count,
        mode,
        distribution,
        warm_throughput,
        max_record_bytes: call
            .get(MAX_RECORD_SIZE_IN_KIB)
            .map_or(limits::DEFAULT_MAX_RECORD_BYTES, stream_settings::bytes_of_kib),
        retention: context.service.retention,
        size_limits: SizeLimits::NONE,
        tags,
    };
    context
        .streams()
        .and_then(|streams| streams.create_stream_with(name, stream))
        .map_err(|error| context.refusal(error))?;
    Ok(Reply::empty())
}

/// If changes are limited as on AWS, refuses a stream while too many are CREATING.
fn check_creating(context: Context<'_>) -> Result<(), ApiError> {
    const MOST_CREATING: usize = 5;
    if !context.service.limits.changes {
        return Ok(());
    }
    let streams = context
        .streams()
        .and_then(|streams| streams.streams(None, usize::MAX));
    let streams = streams.map_err(|error| context.refusal(error))?;
    let creating = streams
        .iter()
        .filter(|stream| stream.status == StreamStatus::Creating);
    if creating.count() < MOST_CREATING {
        return Ok(());
    }
    Err(ApiError::limit_exceeded(format!(
        "Account {} has {MOST_CREATING} streams in state CREATING, and cannot have more at a time.",
        context.account_id()
    )))
}

const ENFORCE_CONSUMER_DELETION: Key<Option<Boolean>> = optional("EnforceConsumerDeletion", BOOLEAN);

pub(super) const DELETE_STREAM: Operation = Operation {
    name: "DeleteStream",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![ENFORCE_CONSUMER_DELETION, STREAM_NAME, STREAM_ARN, STREAM_ID,],
    output: members![],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_IN_USE,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
    ],
    run: |request| request.blocking(delete_stream),
};

fn delete_stream(call: &Call<'_>) -> Result<Reply, ApiError> {
    let stream = call.stream()?;
    let _claim = match call.get(ENFORCE_CONSUMER_DELETION) {
        Some(true) => None,
        _ => Some(consumers::claim_none(call.context, &stream)?),
    };
    stream.delete().map_err(|error| call.context.refusal(error))?;
    Ok(Reply::empty())
}

const STREAM_NAME_SHOWN: Key<Text> = required("StreamName", shapes::NAME);
const STREAM_ARN_SHOWN: Key<Text> = required("StreamARN", shapes::STREAM_ARN);
const STREAM_STATUS: Key<Text> = required(
    "StreamStatus",
    TEXT.one_of(&["CREATING", "DELETING", "ACTIVE", "UPDATING"]),
);
const STREAM_CREATION_TIMESTAMP: Key<Time> = required("StreamCreationTimestamp", TIME);
const RETENTION_PERIOD_HOURS: Key<Integer> = required("RetentionPeriodHours", INTEGER);
const ENHANCED_MONITORING: Key<List<Structure>> = required("EnhancedMonitoring", list(&ENHANCED_METRICS));
const SHARD_LEVEL_METRICS: Key<Option<List<Text>>> = optional("ShardLevelMetrics", shapes::METRICS_NAME_LIST);
const ENHANCED_METRICS: Shape<Structure> = structure(members![SHARD_LEVEL_METRICS]);
const ENCRYPTION_TYPE: Key<Option<Text>> = optional("EncryptionType", shapes::ENCRYPTION_TYPE);
const KEY_ID: Key<Option<Text>> = optional("KeyId", shapes::KEY_ID);
const SHARDS: Key<List<Structure>> = required("Shards", SHARD_LIST);
const HAS_MORE_SHARDS: Key<Boolean> = required("HasMoreShards", BOOLEAN);
const OPEN_SHARD_COUNT: Key<Integer> = required("OpenShardCount", shapes::COUNT);
const CONSUMER_COUNT: Key<Option<Integer>> = optional("ConsumerCount", shapes::COUNT);
const QUEUE_COUNT: Key<Option<Integer>> = optional("QueueCount", shapes::COUNT);
const CHANNEL_COUNT: Key<Option<Integer>> = optional("ChannelCount", shapes::COUNT);

const LIMIT: Key<Option<Integer>> = optional("Limit", shapes::LIMIT);

const STREAM_DESCRIPTION: Key<Structure> = required(
    "StreamDescription",
    structure(members![
        STREAM_NAME_SHOWN,
        STREAM_ARN_SHOWN,
        STREAM_STATUS,
        MODE_DETAILS,
        SHARDS,
        HAS_MORE_SHARDS,
        RETENTION_PERIOD_HOURS,
        STREAM_CREATION_TIMESTAMP,
        ENHANCED_MONITORING,
        ENCRYPTION_TYPE,
        KEY_ID,
    ]),
);

pub(super) const DESCRIBE_STREAM: Operation = Operation {
    name: "DescribeStream",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![
        LIMIT,
        EXCLUSIVE_START_SHARD_ID,
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
    ],
    output: members![STREAM_DESCRIPTION],
    errors: DESCRIBE_ERRORS,
    run: |request| request.blocking(describe_stream),
};

const DESCRIBE_ERRORS: &[&str] = &[
    exception::RESOURCE_NOT_FOUND,
    exception::LIMIT_EXCEEDED,
    exception::INVALID_ARGUMENT,
    exception::ACCESS_DENIED,
];

fn describe_stream(call: &Call<'_>) -> Result<Reply, ApiError> {
    const MOST_SHARDS: usize = 100;
    let context = call.context;
    let stream = call.stream()?;
    let description = stream.describe().map_err(|error| context.refusal(error))?;
    let metrics = shard_level_metrics(context, &stream)?;
    let after = shards::exclusive_start(call, stream.name())?;
    let limit = call.input.limit(LIMIT, MOST_SHARDS);
    let rest = description
        .shards
        .iter()
        .filter(|shard| after.is_none_or(|after| shard.id > after));
    let has_more = rest.clone().nth(limit).is_some();
    Ok(call.reply(|reply| {
        reply.set(STREAM_DESCRIPTION, |stream: &mut Members<'_>| {
            set_summary(stream, context, &description.summary, &metrics);
            stream.set(SHARDS, rest.take(limit).map(shard_members));
            stream.set(HAS_MORE_SHARDS, has_more);
        });
    }))
}

const STREAM_DESCRIPTION_SUMMARY: Key<Structure> = required(
    "StreamDescriptionSummary",
    structure(members![
        STREAM_NAME_SHOWN,
        STREAM_ARN_SHOWN,
        STREAM_ID,
        STREAM_STATUS,
        MODE_DETAILS,
        RETENTION_PERIOD_HOURS,
        STREAM_CREATION_TIMESTAMP,
        ENHANCED_MONITORING,
        ENCRYPTION_TYPE,
        KEY_ID,
        OPEN_SHARD_COUNT,
        CONSUMER_COUNT,
        WARM_THROUGHPUT,
        MAX_RECORD_SIZE_IN_KIB,
        CHANNEL_COUNT,
        RECORD_DISTRIBUTION_STRATEGY,
        QUEUE_COUNT,
    ]),
);

pub(super) const DESCRIBE_STREAM_SUMMARY: Operation = Operation {
    name: "DescribeStreamSummary",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![STREAM_NAME, STREAM_ARN, STREAM_ID],
    output: members![STREAM_DESCRIPTION_SUMMARY],
    errors: DESCRIBE_ERRORS,
    run: |request| request.blocking(describe_stream_summary),
};

fn describe_stream_summary(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let stream = call.stream()?;
    let summary = stream.summary().map_err(|error| context.refusal(error))?;
    let consumers = stream.consumers().map_err(|error| context.refusal(error))?;
    let queues = stream.queues().map_err(|error| context.refusal(error))?;
    let channels = stream.channels().map_err(|error| context.refusal(error))?;
    let metrics = shard_level_metrics(context, &stream)?;
    Ok(call.reply(|reply| {
        reply.set(STREAM_DESCRIPTION_SUMMARY, |stream: &mut Members<'_>| {
            set_summary(stream, context, &summary, &metrics);
            stream.set(OPEN_SHARD_COUNT, summary.open_shard_count);
            stream.set(CONSUMER_COUNT, consumers.len() as u32);
            stream.set(QUEUE_COUNT, queues.len() as u32);
            stream.set(CHANNEL_COUNT, channels.len() as u32);
            stream.set(MAX_RECORD_SIZE_IN_KIB, summary.max_record_bytes / 1024);
            if summary.mode == StreamMode::OnDemand {
                stream.set(
                    RECORD_DISTRIBUTION_STRATEGY,
                    summary.distribution.to_string().as_str(),
                );
                if summary.warm_throughput > 0 {
                    stream.set(WARM_THROUGHPUT, |warm: &mut Members<'_>| {
                        stream_settings::show_warm_throughput(warm, &summary);
                    });
                }
            }
        });
    }))
}

/// The members that the two descriptions have in common.
fn set_summary(stream: &mut Members<'_>, context: Context<'_>, summary: &StreamSummary, metrics: &[&str]) {
    set_identity(stream, context, summary);
    stream.set(STREAM_CREATION_TIMESTAMP, summary.created);
    stream.set(RETENTION_PERIOD_HOURS, shown_hours(summary.retention));
    stream.set(
        ENHANCED_MONITORING,
        [|monitoring: &mut Members<'_>| monitoring.set(SHARD_LEVEL_METRICS, metrics.iter().copied())],
    );
    match &summary.encryption_key {
        Some(key) => {
            stream.set(ENCRYPTION_TYPE, "KMS");
            stream.set(KEY_ID, key.as_str());
        }
        None => stream.set(ENCRYPTION_TYPE, "NONE"),
    }
}

/// The members that descriptions and lists have in common.
fn set_identity(stream: &mut Members<'_>, context: Context<'_>, summary: &StreamSummary) {
    stream.set(STREAM_NAME_SHOWN, summary.name.as_str());
    stream.set(STREAM_ARN_SHOWN, context.stream_arn(&summary.name));
    stream.set(STREAM_STATUS, summary.status);
    stream.set(MODE_DETAILS, |mode: &mut Members<'_>| {
        mode.set(STREAM_MODE, summary.mode);
    });
}

const NEXT_TOKEN: Key<Option<Text>> = optional("NextToken", shapes::NEXT_TOKEN);
const EXCLUSIVE_START_STREAM_NAME: Key<Option<Text>> = optional("ExclusiveStartStreamName", shapes::NAME);
const STREAM_NAMES: Key<List<Text>> = required("StreamNames", list(&shapes::NAME));
const HAS_MORE_STREAMS: Key<Boolean> = required("HasMoreStreams", BOOLEAN);
const STREAM_SUMMARIES: Key<Option<List<Structure>>> = optional("StreamSummaries", list(&STREAM_SUMMARY));
/// A list may leave it out.
const STREAM_CREATION_TIMESTAMP_LISTED: Key<Option<Time>> = optional("StreamCreationTimestamp", TIME);
const STREAM_SUMMARY: Shape<Structure> = structure(members![
    STREAM_NAME_SHOWN,
    STREAM_ARN_SHOWN,
    STREAM_STATUS,
    MODE_DETAILS,
    STREAM_CREATION_TIMESTAMP_LISTED,
]);

pub(super) const LIST_STREAMS: Operation = Operation {
    name: "ListStreams",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![LIMIT, NEXT_TOKEN, EXCLUSIVE_START_STREAM_NAME],
    output: members![STREAM_NAMES, HAS_MORE_STREAMS, NEXT_TOKEN, STREAM_SUMMARIES],
    errors: &[
        exception::LIMIT_EXCEEDED,
        exception::EXPIRED_NEXT_TOKEN,
        exception::INVALID_ARGUMENT,
    ],
    run: |request| request.blocking(list_streams),
};

fn list_streams(call: &Call<'_>) -> Result<Reply, ApiError> {
    const MOST_STREAMS: usize = 100;
    let context = call.context;
    let tokens = &context.service.tokens;
    // Paginators send the name that they began after along with every token; the token is further on.
    let token = match call.get(NEXT_TOKEN) {
        Some(token) => Some(shards::open_next_token::<StreamsToken>(context, token)?),
        None => None,
    };
    let after = token.as_ref().map(|token| token.after.as_str());
    let limit = call.input.limit(LIMIT, MOST_STREAMS);
    let after = after.or(call.get(EXCLUSIVE_START_STREAM_NAME));
    let mut streams = context
        .streams()
        .and_then(|streams| streams.streams(after, limit + 1))
        .map_err(|error| context.refusal(error))?;
    let has_more = streams.len() > limit;
    streams.truncate(limit);
    let next = streams.last().filter(|_| has_more).map(|last| {
        tokens.seal(
            context.service.store.now(),
            &StreamsToken {
                after: last.name.clone(),
            },
        )
    });
    Ok(call.reply(|reply| {
        reply.set(STREAM_NAMES, streams.iter().map(|stream| stream.name.as_str()));
        reply.set(HAS_MORE_STREAMS, has_more);
        reply.set_some(NEXT_TOKEN, next.as_deref());
        let summaries = streams.iter().map(|stream| {
            move |summary: &mut Members<'_>| {
                set_identity(summary, context, stream);
                summary.set(STREAM_CREATION_TIMESTAMP_LISTED, stream.created);
            }
        });
        reply.set(STREAM_SUMMARIES, summaries);
    }))
}

const RETENTION_PERIOD_INPUT: &[Member] =
    members![RETENTION_PERIOD_HOURS, STREAM_NAME, STREAM_ARN, STREAM_ID,];

const RETENTION_PERIOD_ERRORS: &[&str] = &[
    exception::RESOURCE_IN_USE,
    exception::RESOURCE_NOT_FOUND,
    exception::LIMIT_EXCEEDED,
    exception::INVALID_ARGUMENT,
    exception::ACCESS_DENIED,
];

pub(super) const INCREASE_STREAM_RETENTION_PERIOD: Operation = Operation {
    name: "IncreaseStreamRetentionPeriod",
    class: Class::Control,
    resource: Resource::Stream,
    input: RETENTION_PERIOD_INPUT,
    output: members![],
    errors: RETENTION_PERIOD_ERRORS,
    run: |request| request.blocking(|call| change_retention(call, Change::Increase)),
};

pub(super) const DECREASE_STREAM_RETENTION_PERIOD: Operation = Operation {
    name: "DecreaseStreamRetentionPeriod",
    class: Class::Control,
    resource: Resource::Stream,
    input: RETENTION_PERIOD_INPUT,
    output: members![],
    errors: RETENTION_PERIOD_ERRORS,
    run: |request| request.blocking(|call| change_retention(call, Change::Decrease)),
};

#[derive(Clone, Copy)]
enum Change {
    Increase,
    Decrease,
}

fn change_retention(call: &Call<'_>, change: Change) -> Result<Reply, ApiError> {
    let stream = call.stream()?;
    let requested = call.get(RETENTION_PERIOD_HOURS);
    let hours = retention_hours(requested)?;
    let retention = Retention::hours(hours);
    let changed = match change {
        Change::Increase => stream.increase_retention(retention),
        Change::Decrease => stream.decrease_retention(retention),
    };
    match changed {
        Ok(()) => Ok(Reply::empty()),
        Err(Error::InvalidRetention { current, reason, .. }) => Err(ApiError::invalid_argument(
            retention_refusal(stream.name(), hours, shown_hours(current), reason),
        )),
        Err(error) => Err(call.context.refusal(error)),
    }
}

fn retention_hours(requested: i64) -> Result<u32, ApiError> {
    let (shortest, longest) = (*RETENTION_HOURS.start(), *RETENTION_HOURS.end());
    match u32::try_from(requested) {
        Ok(hours) if RETENTION_HOURS.contains(&hours) => Ok(hours),
        _ if requested > i64::from(longest) => Err(ApiError::invalid_argument(format!(
            "Maximum allowed retention period is {longest} hours. \
             Requested retention period ({requested} hours) is too long."
        ))),
        _ => Err(ApiError::invalid_argument(format!(
            "Minimum allowed retention period is {shortest} hours. \
             Requested retention period ({requested} hours) is too short."
        ))),
    }
}

/// In whole hours, as in the API. A stream of an embedding program can have any time.
fn shown_hours(retention: Retention) -> u32 {
    const MOST: u32 = i32::MAX as u32;
    let hours = retention
        .duration()
        .map(|time| time.as_millis().div_ceil(3_600_000));
    let hours = hours.and_then(|hours| u32::try_from(hours).ok());
    hours.map_or(MOST, |hours| hours.min(MOST))
}

fn retention_refusal(stream: &str, requested: u32, current: u32, reason: RetentionReason) -> String {
    match reason {
        RetentionReason::IncreaseWouldShorten => format!(
            "Requested retention period ({requested} hours) for stream {stream} can not be shorter than existing \
             retention period ({current} hours). Use DecreaseRetentionPeriod API."
        ),
        RetentionReason::DecreaseWouldLengthen => format!(
            "Requested retention period ({requested} hours) for stream {stream} can not be longer than existing \
             retention period ({current} hours). Use IncreaseRetentionPeriod API."
        ),
    }
}
