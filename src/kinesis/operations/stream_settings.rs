//! Changes of a stream, other than of its shards, its retention and its metrics.

use std::sync::PoisonError;

use super::shapes::{STREAM_MODE, WARM_THROUGHPUT, WARM_THROUGHPUT_MIBPS};
use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME};
use super::{account, shapes, shards};
use crate::kinesis::arn;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{Integer, Key, Members, Structure, TEXT, Text, members, required};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::service::Context;
use crate::kinesis::shape::Member;
use crate::kinesis::validate::validate;
use crate::{Error, ModeOptions, RecordDistribution, Stream, StreamMode, StreamStatus, StreamSummary};

const MOST_SWITCHES_A_DAY: usize = 2;

const MOST_ENCRYPTIONS_A_DAY: usize = 25;

const ENCRYPTION_TYPE: Key<Text> = required("EncryptionType", shapes::ENCRYPTION_TYPE);
const KEY_ID: Key<Text> = required("KeyId", shapes::KEY_ID);

/// The greatest throughput that a stream can be warmed to.
const MOST_WARM_MIBPS: u32 = 10 * 1024;

pub(super) const START_STREAM_ENCRYPTION: Operation = Operation {
    name: "StartStreamEncryption",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![STREAM_NAME, ENCRYPTION_TYPE, KEY_ID, STREAM_ARN, STREAM_ID,],
    output: members![],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::KMS_DISABLED,
        exception::KMS_INVALID_STATE,
        exception::KMS_ACCESS_DENIED,
        exception::KMS_NOT_FOUND,
        exception::KMS_OPT_IN_REQUIRED,
        exception::KMS_THROTTLING,
        exception::ACCESS_DENIED,
    ],
    run: |request| request.blocking(start_stream_encryption),
};

fn start_stream_encryption(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let stream = call.stream()?;
    active(context, &stream)?;
    if call.get(ENCRYPTION_TYPE) != "KMS" {
        return Err(ApiError::invalid_argument(
            "EncryptionType must be KMS to start the encryption of a stream.",
        ));
    }
    let key = call.get(KEY_ID);
    shards::counted_change(call, &stream, MOST_ENCRYPTIONS_A_DAY, || {
        let started = match context.service.store.has_keys() {
            true => stream.start_encryption(key),
            false => stream.declare_encryption(key),
        };
        started.map_err(|error| context.refusal(error))
    })?;
    Ok(Reply::empty())
}

pub(super) const STOP_STREAM_ENCRYPTION: Operation = Operation {
    name: "StopStreamEncryption",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![STREAM_NAME, ENCRYPTION_TYPE, KEY_ID, STREAM_ARN, STREAM_ID,],
    output: members![],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::ACCESS_DENIED,
    ],
    run: |request| {
        Box::pin(request.on_blocking_thread(|request| {
            stop_stream_encryption(&request.checked_by(|_, input| validate(input, STOP_INPUT))?)
        }))
    },
};

/// Infrastructure tools stop encryption of streams without any, with an empty id of a key.
const STOP_INPUT: &[Member] = members![
    STREAM_NAME,
    ENCRYPTION_TYPE,
    required("KeyId", TEXT.at_most(2048)),
    STREAM_ARN,
    STREAM_ID,
];

/// A stream that is not encrypted has nothing to stop, which is no error.
fn stop_stream_encryption(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let stream = call.stream()?;
    let summary = active(context, &stream)?;
    if call.get(ENCRYPTION_TYPE) != "KMS" {
        return Err(ApiError::invalid_argument(
            "EncryptionType must be KMS to stop the encryption of a stream.",
        ));
    }
    if summary.encryption_key.is_some() {
        shards::counted_change(call, &stream, MOST_ENCRYPTIONS_A_DAY, || {
            stream.stop_encryption().map_err(|error| context.refusal(error))
        })?;
    }
    Ok(Reply::empty())
}

const MODE_DETAILS: Key<Structure> = required("StreamModeDetails", shapes::STREAM_MODE_DETAILS);

/// A request that must name its stream by an ARN.
const NEEDED_STREAM_ARN: Key<Text> = required("StreamARN", shapes::STREAM_ARN);

pub(super) const UPDATE_STREAM_MODE: Operation = Operation {
    name: "UpdateStreamMode",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![NEEDED_STREAM_ARN, STREAM_ID, MODE_DETAILS, WARM_THROUGHPUT_MIBPS,],
    output: members![],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::LIMIT_EXCEEDED,
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::VALIDATION,
    ],
    run: |request| request.blocking(update_stream_mode),
};

fn update_stream_mode(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let changing = context.service.mode_changes.lock();
    let _changing = changing.unwrap_or_else(PoisonError::into_inner);
    let (stream, summary) = active_stream(context, call.get(NEEDED_STREAM_ARN))?;
    let mode = match call.get(MODE_DETAILS).get(STREAM_MODE) {
        "ON_DEMAND" => StreamMode::OnDemand,
        _ => StreamMode::Provisioned,
    };
    check_distribution(context, stream.name(), mode, summary.distribution)?;
    let warm = match call.get(WARM_THROUGHPUT_MIBPS) {
        Some(warm) => check_warm_throughput(context, stream.name(), mode, warm)?,
        None => summary.warm_throughput,
    };
    let options = ModeOptions {
        warm_throughput: (warm != summary.warm_throughput).then_some(warm),
        readers_need_on_demand: true,
    };
    let change = || {
        stream
            .set_mode_with(mode, &options)
            .map_err(|error| refused_mode(context, error))
    };
    match (mode == summary.mode, warm == summary.warm_throughput) {
        (true, true) => {}
        (true, false) => change()?,
        (false, _) => shards::counted_change(call, &stream, MOST_SWITCHES_A_DAY, change)?,
    }
    Ok(Reply::empty())
}

fn refused_mode(context: Context<'_>, error: Error) -> ApiError {
    match error {
        Error::StreamHasQueues { stream, count } => ApiError::in_use(format!(
            "Stream {stream} under account {} has {count} queues, which need a stream in ON_DEMAND mode. Delete them first.",
            context.account_id()
        )),
        Error::StreamHasChannels { stream, count } => ApiError::in_use(format!(
            "Stream {stream} under account {} has {count} channels, which need a stream in ON_DEMAND mode. Delete them first.",
            context.account_id()
        )),
        error => context.refusal(error),
    }
}

const MAX_RECORD_SIZE_IN_KIB: Key<Integer> = required("MaxRecordSizeInKiB", shapes::MAX_RECORD_SIZE_IN_KIB);

pub(super) const UPDATE_MAX_RECORD_SIZE: Operation = Operation {
    name: "UpdateMaxRecordSize",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![STREAM_ARN, STREAM_ID, MAX_RECORD_SIZE_IN_KIB,],
    output: members![],
    errors: &[
        exception::RESOURCE_IN_USE,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::ACCESS_DENIED,
        exception::VALIDATION,
    ],
    run: |request| request.blocking(update_max_record_size),
};

fn update_max_record_size(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let Some(arn) = call.get(STREAM_ARN) else {
        return Err(ApiError::invalid_argument("StreamARN should be provided."));
    };
    let (stream, _) = active_stream(context, arn)?;
    let bytes = bytes_of_kib(call.get(MAX_RECORD_SIZE_IN_KIB));
    stream
        .set_max_record_bytes(bytes)
        .map_err(|error| context.refusal(error))?;
    Ok(Reply::empty())
}

/// A size that the API counts in KiB.
pub(super) fn bytes_of_kib(kib: i64) -> u32 {
    u32::try_from(kib).map_or(u32::MAX, |kib| kib.saturating_mul(1024))
}

const DISTRIBUTION_STRATEGY: Key<Text> =
    required("RecordDistributionStrategy", shapes::RECORD_DISTRIBUTION_STRATEGY);

pub(super) const UPDATE_STREAM_RECORD_DISTRIBUTION_STRATEGY: Operation = Operation {
    name: "UpdateStreamRecordDistributionStrategy",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![NEEDED_STREAM_ARN, STREAM_ID, DISTRIBUTION_STRATEGY,],
    output: members![],
    errors: &[
        exception::RESOURCE_NOT_FOUND,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_IN_USE,
        exception::LIMIT_EXCEEDED,
        exception::ACCESS_DENIED,
        exception::VALIDATION,
    ],
    run: |request| request.blocking(update_distribution),
};

fn update_distribution(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let changing = context.service.mode_changes.lock();
    let _changing = changing.unwrap_or_else(PoisonError::into_inner);
    let (stream, summary) = active_stream(context, call.get(NEEDED_STREAM_ARN))?;
    let distribution = match call.get(DISTRIBUTION_STRATEGY) {
        "AUTO" => RecordDistribution::Auto,
        _ => RecordDistribution::PartitionKey,
    };
    check_distribution(context, stream.name(), summary.mode, distribution)?;
    if distribution != summary.distribution {
        let changed = stream.set_distribution(distribution);
        changed.map_err(|error| context.refusal(error))?;
    }
    Ok(Reply::empty())
}

/// Only a stream on demand distributes its records automatically.
pub(super) fn check_distribution(
    context: Context<'_>,
    stream: &str,
    mode: StreamMode,
    distribution: RecordDistribution,
) -> Result<(), ApiError> {
    match (mode, distribution) {
        (StreamMode::Provisioned, RecordDistribution::Auto) => Err(ApiError::invalid_argument(format!(
            "Record distribution strategy AUTO is for streams in On-Demand mode, and stream {stream} under account {} would \
             be in provisioned mode.",
            context.account_id()
        ))),
        _ => Ok(()),
    }
}

const NEEDED_WARM_THROUGHPUT_MIBPS: Key<Integer> = required("WarmThroughputMiBps", shapes::NATURAL);

pub(super) const UPDATE_STREAM_WARM_THROUGHPUT: Operation = Operation {
    name: "UpdateStreamWarmThroughput",
    class: Class::Control,
    resource: Resource::Stream,
    input: members![STREAM_ARN, STREAM_NAME, STREAM_ID, NEEDED_WARM_THROUGHPUT_MIBPS,],
    output: members![STREAM_ARN, STREAM_NAME, WARM_THROUGHPUT,],
    errors: &[
        exception::ACCESS_DENIED,
        exception::RESOURCE_NOT_FOUND,
        exception::LIMIT_EXCEEDED,
        exception::INVALID_ARGUMENT,
        exception::RESOURCE_IN_USE,
        exception::VALIDATION,
    ],
    run: |request| request.blocking(update_warm_throughput),
};

fn update_warm_throughput(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let stream = call.stream()?;
    let summary = active(context, &stream)?;
    let warm = call.get(NEEDED_WARM_THROUGHPUT_MIBPS);
    let warm = check_warm_throughput(context, stream.name(), summary.mode, warm)?;
    stream
        .set_warm_throughput(warm)
        .map_err(|error| context.refusal(error))?;
    let summary = stream.summary().map_err(|error| context.refusal(error))?;
    Ok(call.reply(|reply| {
        reply.set(STREAM_ARN, context.stream_arn(stream.name()));
        reply.set(STREAM_NAME, stream.name());
        reply.set(WARM_THROUGHPUT, |shown: &mut Members<'_>| {
            let target = StreamSummary {
                warm_throughput: warm,
                ..summary
            };
            show_warm_throughput(shown, &target);
        });
    }))
}

/// The throughput in whole MiB a second, if the account and the stream can have it.
pub(super) fn check_warm_throughput(
    context: Context<'_>,
    stream: &str,
    mode: StreamMode,
    warm: i64,
) -> Result<u32, ApiError> {
    if warm == 0 {
        // Zero removes the setting.
        return Ok(0);
    }
    if mode == StreamMode::Provisioned {
        return Err(ApiError::validation(format!(
            "Request is invalid. Stream {stream} under account {} is not in On-Demand mode.",
            context.account_id()
        )));
    }
    if !account::has_commitment(context)? {
        return Err(ApiError::invalid_argument(format!(
            "Warm throughput needs the MinimumThroughputBillingCommitment of account {} to be ENABLED.",
            context.account_id()
        )));
    }
    let limit = context.service.shard_limit.min(MOST_WARM_MIBPS.into());
    match u32::try_from(warm) {
        Ok(warm) if u64::from(warm) <= limit => Ok(warm),
        _ => Err(ApiError::limit_exceeded(format!(
            "WarmThroughputMiBps cannot be greater than {limit}, and is {warm}."
        ))),
    }
}

/// The throughput that the stream must always be able to take, and what its shards can take now: 1 MiB a second each.
pub(super) fn show_warm_throughput(shown: &mut Members<'_>, summary: &StreamSummary) {
    shown.set(shapes::TARGET_MIBPS, summary.warm_throughput);
    shown.set(shapes::CURRENT_MIBPS, summary.open_shard_count);
}

/// The stream of an ARN, which has to be active.
fn active_stream(context: Context<'_>, arn: &str) -> Result<(Stream, StreamSummary), ApiError> {
    // The constraint of the member allows no other ARN.
    let name = arn::stream_name(arn).unwrap_or_default();
    let stream = context.stream(name).map_err(|error| context.refusal(error))?;
    let summary = active(context, &stream)?;
    Ok((stream, summary))
}

fn active(context: Context<'_>, stream: &Stream) -> Result<StreamSummary, ApiError> {
    let summary = stream.summary().map_err(|error| context.refusal(error))?;
    match summary.status {
        StreamStatus::Active => Ok(summary),
        status => Err(context.stream_not_active(stream.name(), status)),
    }
}
