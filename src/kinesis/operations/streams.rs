//! Creating, deleting, describing and listing streams, and how long they keep their records.

use super::shards::{self, write_shard};
use super::stream_reference::{NAME, STREAM_ARN, STREAM_ID, STREAM_NAME};
use super::tags;
use crate::kinesis::arn::StreamArn;
use crate::kinesis::dispatch::{Call, Operation, Run};
use crate::kinesis::error::ApiError;
use crate::kinesis::protocol::Writer;
use crate::kinesis::service::Context;
use crate::kinesis::shape::{Member, Shape, member};
use crate::kinesis::token::StreamsToken;
use crate::kinesis::validate::missing;
use crate::{CreateStream, Error, RetentionReason, StreamMode, StreamSummary, limits};

pub(super) const CREATE_STREAM: Operation = Operation {
    name: "CreateStream",
    input: &[
        member("ShardCount", Shape::INTEGER.at_least(1).at_most(100_000)),
        member("StreamModeDetails", Shape::structure(STREAM_MODE_DETAILS)),
        member("Tags", tags::TAGS),
        member("WarmThroughputMiBps", Shape::INTEGER.at_least(0)),
        member(
            "MaxRecordSizeInKiB",
            Shape::INTEGER.at_least(1024).at_most(10_240),
        ),
        member(
            "RecordDistributionStrategy",
            Shape::STRING.one_of(&["AUTO", "USER_PARTITION_KEY"]),
        ),
        member("StreamName", NAME.required()),
    ],
    run: Run::Blocking(create_stream),
};

const STREAM_MODE_DETAILS: &[Member] = &[member(
    "StreamMode",
    Shape::STRING.required().one_of(&["PROVISIONED", "ON_DEMAND"]),
)];

/// What AWS gives to a stream that does not say how many shards it wants.
const DEFAULT_SHARD_COUNT: u32 = 4;

fn create_stream(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    let Call { context, input } = call;
    let name = input.required_string("StreamName");
    let mode = input
        .structure("StreamModeDetails")
        .map(|details| details.required_string("StreamMode"));
    let shard_count = input.unsigned("ShardCount");
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
    refuse_what_is_not_offered(call)?;
    let added: Vec<_> = input.strings_by_key("Tags").collect();
    tags::check(*context, name, &added, added.len())?;

    let store = &context.service.store;
    match store.stream(name) {
        Ok(_) => {
            return Err(context.refusal(Error::StreamExists {
                name: name.to_owned(),
            }));
        }
        Err(Error::StreamNotFound { .. }) => {}
        Err(error) => return Err(context.refusal(error)),
    }
    let _claim = shards::claim_shards(*context, shard_count)?;
    let stream = CreateStream {
        shard_count,
        mode,
        max_record_bytes: input
            .unsigned("MaxRecordSizeInKiB")
            .map_or(limits::DEFAULT_MAX_RECORD_BYTES, |kib| kib.saturating_mul(1024)),
        tags: added
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    };
    store
        .create_stream_with(name, stream)
        .map_err(|error| context.refusal(error))?;
    Ok(Vec::new())
}

/// Settings that would change what a stream does are refused rather than forgotten.
fn refuse_what_is_not_offered(call: &Call<'_>) -> Result<(), ApiError> {
    if call.input.string("RecordDistributionStrategy") == Some("AUTO") {
        return Err(ApiError::invalid_argument(
            "This server does not offer RecordDistributionStrategy AUTO.",
        ));
    }
    if call
        .input
        .integer("WarmThroughputMiBps")
        .is_some_and(|throughput| throughput > 0)
    {
        return Err(ApiError::invalid_argument(
            "This server does not offer warm throughput.",
        ));
    }
    Ok(())
}

pub(super) const DELETE_STREAM: Operation = Operation {
    name: "DeleteStream",
    input: &[
        member("EnforceConsumerDeletion", Shape::BOOLEAN),
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
    ],
    run: Run::Blocking(delete_stream),
};

fn delete_stream(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    let name = call.stream_name()?;
    call.context
        .service
        .store
        .delete_stream(name)
        .map_err(|error| call.context.refusal(error))?;
    Ok(Vec::new())
}

pub(super) const DESCRIBE_STREAM: Operation = Operation {
    name: "DescribeStream",
    input: &[
        member("Limit", Shape::INTEGER.at_least(1).at_most(10_000)),
        member("ExclusiveStartShardId", NAME),
        STREAM_NAME,
        STREAM_ARN,
        STREAM_ID,
    ],
    run: Run::Blocking(describe_stream),
};

fn describe_stream(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    const MOST_SHARDS: usize = 100;
    let Call { context, input } = call;
    let stream = call.stream()?;
    let description = stream.describe().map_err(|error| context.refusal(error))?;
    let after = shards::exclusive_start(call, stream.name())?;
    let limit = input.limit("Limit", MOST_SHARDS);
    let rest = description
        .shards
        .iter()
        .filter(|shard| after.is_none_or(|after| shard.id > after));
    let has_more = rest.clone().nth(limit).is_some();
    Ok(context.reply(|reply| {
        reply.member("StreamDescription").structure(|stream| {
            write_summary(stream, *context, &description.summary);
            stream.member("Shards").list(rest.take(limit), write_shard);
            stream.member("HasMoreShards").boolean(has_more);
        });
    }))
}

pub(super) const DESCRIBE_STREAM_SUMMARY: Operation = Operation {
    name: "DescribeStreamSummary",
    input: &[STREAM_NAME, STREAM_ARN, STREAM_ID],
    run: Run::Blocking(describe_stream_summary),
};

fn describe_stream_summary(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    let context = call.context;
    let summary = call.stream()?.summary().map_err(|error| context.refusal(error))?;
    Ok(context.reply(|reply| {
        reply.member("StreamDescriptionSummary").structure(|stream| {
            write_summary(stream, context, &summary);
            stream
                .member("OpenShardCount")
                .unsigned(summary.open_shard_count.into());
            stream.member("ConsumerCount").unsigned(0);
            stream.member("QueueCount").unsigned(0);
            stream.member("ChannelCount").unsigned(0);
            stream
                .member("MaxRecordSizeInKiB")
                .unsigned((summary.max_record_bytes / 1024).into());
        });
    }))
}

/// What the two descriptions have in common.
fn write_summary(stream: &mut Writer, context: Context<'_>, summary: &StreamSummary) {
    write_identity(stream, context, summary);
    stream
        .member("RetentionPeriodHours")
        .unsigned(summary.retention_hours.into());
    stream.member("EnhancedMonitoring").list([()], |monitoring, ()| {
        monitoring.structure(|monitoring| monitoring.member("ShardLevelMetrics").list([(); 0], |_, ()| {}));
    });
    stream.member("EncryptionType").string("NONE");
}

/// What descriptions and lists have in common.
fn write_identity(stream: &mut Writer, context: Context<'_>, summary: &StreamSummary) {
    let arn = StreamArn {
        region: context.region,
        account_id: context.account_id(),
        stream_name: &summary.name,
    };
    stream.member("StreamName").string(&summary.name);
    stream.member("StreamARN").display(arn);
    stream.member("StreamStatus").display(summary.status);
    stream
        .member("StreamModeDetails")
        .structure(|mode| mode.member("StreamMode").display(summary.mode));
    stream
        .member("StreamCreationTimestamp")
        .timestamp(summary.created);
}

pub(super) const LIST_STREAMS: Operation = Operation {
    name: "ListStreams",
    input: &[
        member("Limit", Shape::INTEGER.at_least(1).at_most(10_000)),
        member("NextToken", shards::NEXT_TOKEN),
        member("ExclusiveStartStreamName", NAME),
    ],
    run: Run::Blocking(list_streams),
};

fn list_streams(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    const MOST_STREAMS: usize = 100;
    let Call { context, input } = call;
    let store = &context.service.store;
    let tokens = &context.service.tokens;
    // Paginators send the name that they began after along with every token: the token is further on.
    let token = match input.string("NextToken") {
        Some(token) => Some(shards::open_next_token::<StreamsToken>(*context, token)?),
        None => None,
    };
    let after = token.as_ref().map(|token| token.after.as_str());
    let limit = input.limit("Limit", MOST_STREAMS);
    let after = after.or(input.string("ExclusiveStartStreamName"));
    let mut streams = store
        .streams(after, limit + 1)
        .map_err(|error| context.refusal(error))?;
    let has_more = streams.len() > limit;
    streams.truncate(limit);
    let next = streams.last().filter(|_| has_more).map(|last| {
        tokens.seal(
            store.now(),
            &StreamsToken {
                after: last.name.clone(),
            },
        )
    });
    Ok(context.reply(|reply| {
        reply
            .member("StreamNames")
            .list(&streams, |names, stream| names.string(&stream.name));
        reply.member("HasMoreStreams").boolean(has_more);
        if let Some(next) = &next {
            reply.member("NextToken").string(next);
        }
        reply
            .member("StreamSummaries")
            .list(&streams, |summaries, stream| {
                summaries.structure(|summary| write_identity(summary, *context, stream));
            });
    }))
}

const RETENTION_PERIOD_INPUT: &[Member] = &[
    member("RetentionPeriodHours", Shape::INTEGER.required()),
    STREAM_NAME,
    STREAM_ARN,
    STREAM_ID,
];

pub(super) const INCREASE_STREAM_RETENTION_PERIOD: Operation = Operation {
    name: "IncreaseStreamRetentionPeriod",
    input: RETENTION_PERIOD_INPUT,
    run: Run::Blocking(|call| change_retention(call, Change::Increase)),
};

pub(super) const DECREASE_STREAM_RETENTION_PERIOD: Operation = Operation {
    name: "DecreaseStreamRetentionPeriod",
    input: RETENTION_PERIOD_INPUT,
    run: Run::Blocking(|call| change_retention(call, Change::Decrease)),
};

#[derive(Clone, Copy)]
enum Change {
    Increase,
    Decrease,
}

fn change_retention(call: &Call<'_>, change: Change) -> Result<Vec<u8>, ApiError> {
    let stream = call.stream()?;
    let requested = call.input.integer("RetentionPeriodHours").unwrap_or_default();
    // The engine counts in whole hours from 0; less is too short in any case.
    let hours = u32::try_from(requested).unwrap_or(0);
    let changed = match change {
        Change::Increase => stream.increase_retention(hours),
        Change::Decrease => stream.decrease_retention(hours),
    };
    match changed {
        Ok(()) => Ok(Vec::new()),
        Err(Error::InvalidRetention { current, reason, .. }) => Err(ApiError::invalid_argument(
            retention_refusal(stream.name(), requested, current, reason),
        )),
        Err(error) => Err(call.context.refusal(error)),
    }
}

fn retention_refusal(stream: &str, requested: i64, current: u32, reason: RetentionReason) -> String {
    match reason {
        RetentionReason::TooShort => format!(
            "Minimum allowed retention period is {} hours. \
             Requested retention period ({requested} hours) is too short.",
            limits::MIN_RETENTION_HOURS
        ),
        RetentionReason::TooLong => format!(
            "Maximum allowed retention period is {} hours. \
             Requested retention period ({requested} hours) is too long.",
            limits::MAX_RETENTION_HOURS
        ),
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
