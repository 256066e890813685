//! The metrics of its shards that a stream should have. They are kept and shown.

use std::sync::PoisonError;

use super::shapes;
use super::stream_reference::{STREAM_ARN, STREAM_ID, STREAM_NAME};
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{Key, List, Text, members, optional, required};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::service::Context;
use crate::kinesis::shape::Member;
use crate::{Stream, StreamStatus};

const SHARD_LEVEL_METRICS: Key<List<Text>> = required("ShardLevelMetrics", shapes::METRICS_NAME_LIST);
const CURRENT: Key<Option<List<Text>>> = optional("CurrentShardLevelMetrics", shapes::METRICS_NAME_LIST);
const DESIRED: Key<Option<List<Text>>> = optional("DesiredShardLevelMetrics", shapes::METRICS_NAME_LIST);

const INPUT: &[Member] = members![STREAM_NAME, SHARD_LEVEL_METRICS, STREAM_ARN, STREAM_ID];
const OUTPUT: &[Member] = members![STREAM_NAME, CURRENT, DESIRED, STREAM_ARN];
const ERRORS: &[&str] = &[
    exception::INVALID_ARGUMENT,
    exception::LIMIT_EXCEEDED,
    exception::RESOURCE_IN_USE,
    exception::RESOURCE_NOT_FOUND,
    exception::ACCESS_DENIED,
];

pub(super) const ENABLE_ENHANCED_MONITORING: Operation = Operation {
    name: "EnableEnhancedMonitoring",
    class: Class::Control,
    resource: Resource::Stream,
    input: INPUT,
    output: OUTPUT,
    errors: ERRORS,
    run: |request| {
        request.blocking(|call| change(call, |metric, is_on, is_named| is_on(metric) || is_named(metric)))
    },
};

pub(super) const DISABLE_ENHANCED_MONITORING: Operation = Operation {
    name: "DisableEnhancedMonitoring",
    class: Class::Control,
    resource: Resource::Stream,
    input: INPUT,
    output: OUTPUT,
    errors: ERRORS,
    run: |request| {
        request.blocking(|call| change(call, |metric, is_on, is_named| is_on(metric) && !is_named(metric)))
    },
};

/// All metrics, in the order in which they are shown.
const METRICS: [&str; 7] = [
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
];

/// The attribute of the stream that has their names, with commas between them.
const ATTRIBUTE: &str = "shard-level-metrics";

/// Whether a metric is on afterwards, depending on whether it was on and whether the request names it.
type Rule = fn(&str, &dyn Fn(&str) -> bool, &dyn Fn(&str) -> bool) -> bool;

fn change(call: &Call<'_>, stays: Rule) -> Result<Reply, ApiError> {
    let context = call.context;
    let named: Vec<&str> = call.get(SHARD_LEVEL_METRICS).collect();
    let stream = call.stream()?;
    let status = stream.summary().map(|summary| summary.status);
    let status = status.map_err(|error| context.refusal(error))?;
    if status != StreamStatus::Active {
        return Err(context.stream_not_active(stream.name(), status));
    }
    let changing = context.service.shard_level_metrics.lock();
    let _changing = changing.unwrap_or_else(PoisonError::into_inner);
    let current = shard_level_metrics(context, &stream)?;
    let is_on = |metric: &str| current.contains(&metric);
    let is_named = |metric: &str| named.contains(&"ALL") || named.contains(&metric);
    let desired = METRICS
        .into_iter()
        .filter(|metric| stays(metric, &is_on, &is_named));
    let desired: Vec<&str> = desired.collect();
    if desired != current {
        let value = desired.join(",");
        let set = stream.set_attribute(ATTRIBUTE, Some(value.as_bytes()));
        set.map_err(|error| context.refusal(error))?;
    }
    Ok(call.reply(|reply| {
        reply.set(STREAM_NAME, stream.name());
        reply.set(CURRENT, current.iter().copied());
        reply.set(DESIRED, desired.iter().copied());
        reply.set(STREAM_ARN, context.stream_arn(stream.name()));
    }))
}

/// The metrics of a stream, in their order.
pub(super) fn shard_level_metrics(
    context: Context<'_>,
    stream: &Stream,
) -> Result<Vec<&'static str>, ApiError> {
    let kept = stream
        .attribute(ATTRIBUTE)
        .map_err(|error| context.refusal(error))?;
    let kept = String::from_utf8(kept.unwrap_or_default()).map_err(|_| {
        ApiError::internal("The stream's metrics are in a form that this server cannot read.")
    })?;
    let is_kept = |metric: &&str| kept.split(',').any(|kept| kept == *metric);
    Ok(METRICS.into_iter().filter(is_kept).collect())
}
