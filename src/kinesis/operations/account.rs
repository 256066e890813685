//! Limits and settings of the account.

use std::sync::PoisonError;
use std::time::Duration;

use serde_json::{Value, json};

use super::shapes;
use crate::kinesis::error::{ApiError, exception};
use crate::kinesis::key::{
    Integer, Key, Members, Shape, Structure, TEXT, TIME, Text, Time, members, optional, required, structure,
};
use crate::kinesis::operation::{Call, Class, Operation, Reply, Resource};
use crate::kinesis::service::Context;
use crate::{StreamMode, Timestamp};

const SHARD_LIMIT: Key<Integer> = required("ShardLimit", shapes::COUNT);
const OPEN_SHARD_COUNT: Key<Integer> = required("OpenShardCount", shapes::COUNT);
const ON_DEMAND_STREAM_COUNT: Key<Integer> = required("OnDemandStreamCount", shapes::COUNT);
const ON_DEMAND_STREAM_COUNT_LIMIT: Key<Integer> = required("OnDemandStreamCountLimit", shapes::COUNT);
const CHANNEL_COUNT: Key<Option<Integer>> = optional("ChannelCount", shapes::COUNT);
const CHANNEL_COUNT_LIMIT: Key<Option<Integer>> = optional("ChannelCountLimit", shapes::COUNT);

pub(super) const DESCRIBE_LIMITS: Operation = Operation {
    name: "DescribeLimits",
    class: Class::Control,
    resource: Resource::Account,
    input: members![],
    output: members![
        SHARD_LIMIT,
        OPEN_SHARD_COUNT,
        ON_DEMAND_STREAM_COUNT,
        ON_DEMAND_STREAM_COUNT_LIMIT,
        CHANNEL_COUNT,
        CHANNEL_COUNT_LIMIT,
    ],
    errors: &[exception::LIMIT_EXCEEDED],
    run: |request| request.blocking(describe_limits),
};

fn describe_limits(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let open_shards = context.streams().and_then(|streams| streams.open_shard_count());
    let open_shards = open_shards.map_err(|error| context.refusal(error))?;
    let (on_demand_streams, channels) = on_demand_streams_and_channels(context)?;
    let shard_limit = count(context.service.shard_limit);
    Ok(call.reply(|reply| {
        reply.set(SHARD_LIMIT, shard_limit);
        reply.set(OPEN_SHARD_COUNT, count(open_shards));
        reply.set(ON_DEMAND_STREAM_COUNT, count(on_demand_streams));
        // Streams are limited only by the number of shards, since each has at least one.
        reply.set(ON_DEMAND_STREAM_COUNT_LIMIT, shard_limit);
        reply.set(CHANNEL_COUNT, count(channels));
        // One to objects and one to tables for each stream.
        reply.set(CHANNEL_COUNT_LIMIT, count(2 * u64::from(shard_limit)));
    }))
}

fn on_demand_streams_and_channels(context: Context<'_>) -> Result<(u64, u64), ApiError> {
    const PAGE: usize = 1000;
    let streams = context.streams().map_err(|error| context.refusal(error))?;
    let (mut on_demand_streams, mut channels) = (0, 0);
    let mut after: Option<String> = None;
    loop {
        let page = streams.streams(after.as_deref(), PAGE);
        let mut page = page.map_err(|error| context.refusal(error))?;
        for summary in page.iter().filter(|stream| stream.mode == StreamMode::OnDemand) {
            on_demand_streams += 1;
            // A stream that is deleted meanwhile has none.
            let stream = context.service.store.stream_by_id(summary.id);
            channels += stream
                .and_then(|stream| stream.channels())
                .map_or(0, |list| list.len() as u64);
        }
        match page.pop() {
            Some(last) => after = Some(last.name),
            None => return Ok((on_demand_streams, channels)),
        }
    }
}

/// The count, or the largest number that the API can express.
fn count(number: u64) -> u32 {
    const MOST: u32 = 1_000_000;
    u32::try_from(number).map_or(MOST, |number| number.min(MOST))
}

const STATUS_SHOWN: Key<Text> = required(
    "Status",
    TEXT.one_of(&["ENABLED", "DISABLED", "ENABLED_UNTIL_EARLIEST_ALLOWED_END"]),
);
const STARTED_AT: Key<Option<Time>> = optional("StartedAt", TIME);
const ENDED_AT: Key<Option<Time>> = optional("EndedAt", TIME);
const EARLIEST_ALLOWED_END_AT: Key<Option<Time>> = optional("EarliestAllowedEndAt", TIME);

const COMMITMENT_SHOWN: Shape<Structure> = structure(members![
    STATUS_SHOWN,
    STARTED_AT,
    ENDED_AT,
    EARLIEST_ALLOWED_END_AT,
]);
const MINIMUM_THROUGHPUT_BILLING_COMMITMENT_SHOWN: Key<Option<Structure>> =
    optional("MinimumThroughputBillingCommitment", COMMITMENT_SHOWN);

const STATUS: Key<Text> = required("Status", TEXT.one_of(&["ENABLED", "DISABLED"]));
const MINIMUM_THROUGHPUT_BILLING_COMMITMENT: Key<Structure> =
    required("MinimumThroughputBillingCommitment", structure(members![STATUS]));

pub(super) const DESCRIBE_ACCOUNT_SETTINGS: Operation = Operation {
    name: "DescribeAccountSettings",
    class: Class::Control,
    resource: Resource::Account,
    input: members![],
    output: members![MINIMUM_THROUGHPUT_BILLING_COMMITMENT_SHOWN],
    errors: &[exception::LIMIT_EXCEEDED],
    run: |request| request.blocking(describe_account_settings),
};

fn describe_account_settings(call: &Call<'_>) -> Result<Reply, ApiError> {
    let commitment = Commitment::load(call.context)?;
    Ok(settings(
        call,
        commitment.as_ref(),
        call.context.service.store.now(),
    ))
}

pub(super) const UPDATE_ACCOUNT_SETTINGS: Operation = Operation {
    name: "UpdateAccountSettings",
    class: Class::Control,
    resource: Resource::Account,
    input: members![MINIMUM_THROUGHPUT_BILLING_COMMITMENT],
    output: members![MINIMUM_THROUGHPUT_BILLING_COMMITMENT_SHOWN],
    errors: &[
        exception::INVALID_ARGUMENT,
        exception::VALIDATION,
        exception::LIMIT_EXCEEDED,
    ],
    run: |request| request.blocking(update_account_settings),
};

fn update_account_settings(call: &Call<'_>) -> Result<Reply, ApiError> {
    let context = call.context;
    let status = call.get(MINIMUM_THROUGHPUT_BILLING_COMMITMENT).get(STATUS);
    let updating = context.service.account_settings.lock();
    let _updating = updating.unwrap_or_else(PoisonError::into_inner);
    let now = context.service.store.now();
    let before = Commitment::load(context)?;
    let after = match status {
        "ENABLED" => Some(Commitment::enabled(before, now)),
        _ => before.map(|before| before.disabled(now)),
    };
    if let Some(after) = &after
        && Some(after) != before.as_ref()
    {
        after.store(context)?;
    }
    Ok(settings(call, after.as_ref(), now))
}

fn settings(call: &Call<'_>, commitment: Option<&Commitment>, now: Timestamp) -> Reply {
    call.reply(|reply| {
        reply.set(
            MINIMUM_THROUGHPUT_BILLING_COMMITMENT_SHOWN,
            |shown: &mut Members<'_>| match commitment {
                Some(commitment) => commitment.show(shown, now),
                None => shown.set(STATUS_SHOWN, "DISABLED"),
            },
        );
    })
}

/// Whether the account has a commitment to pay for a minimum of throughput that has not ended.
pub(super) fn has_commitment(context: Context<'_>) -> Result<bool, ApiError> {
    let commitment = Commitment::load(context)?;
    Ok(commitment.is_some_and(|commitment| !commitment.has_ended(context.service.store.now())))
}

/// The commitment to pay for a minimum of throughput, which affects only answers here. It lasts for at least a day, and
/// ends automatically if it was disabled earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Commitment {
    started: Timestamp,
    /// When it ends or has ended, if it was disabled.
    end: Option<Timestamp>,
}

impl Commitment {
    /// The attribute of the account that keeps it.
    const ATTRIBUTE: &str = "minimum-throughput-billing-commitment";
    const SHORTEST: Duration = Duration::from_secs(24 * 60 * 60);

    /// A commitment that has not ended goes on, also if it was about to end.
    fn enabled(before: Option<Commitment>, now: Timestamp) -> Commitment {
        let started = match before {
            Some(before) if !before.has_ended(now) => before.started,
            _ => now,
        };
        Commitment { started, end: None }
    }

    fn disabled(self, now: Timestamp) -> Commitment {
        let end = self.end.unwrap_or_else(|| now.max(self.earliest_end()));
        Commitment {
            end: Some(end),
            ..self
        }
    }

    fn earliest_end(self) -> Timestamp {
        self.started.saturating_add(Commitment::SHORTEST)
    }

    fn has_ended(self, now: Timestamp) -> bool {
        self.end.is_some_and(|end| end <= now)
    }

    fn show(self, shown: &mut Members<'_>, now: Timestamp) {
        let has_ended = self.has_ended(now);
        let status = match self.end {
            None => "ENABLED",
            Some(_) if has_ended => "DISABLED",
            Some(_) => "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
        };
        shown.set(STATUS_SHOWN, status);
        shown.set(STARTED_AT, self.started);
        shown.set_some(ENDED_AT, self.end.filter(|_| has_ended));
        let earliest_end = self.earliest_end();
        shown.set_some(EARLIEST_ALLOWED_END_AT, (!has_ended).then_some(earliest_end));
    }

    fn load(context: Context<'_>) -> Result<Option<Commitment>, ApiError> {
        let streams = context.streams();
        let bytes = streams.and_then(|streams| streams.attribute(Commitment::ATTRIBUTE));
        let Some(bytes) = bytes.map_err(|error| context.refusal(error))? else {
            return Ok(None);
        };
        let commitment = Commitment::decode(&bytes);
        commitment.map(Some).ok_or_else(|| {
            ApiError::internal("The account's settings are in a form that this server cannot read.")
                .caused_by(format!("attribute {}", Commitment::ATTRIBUTE))
        })
    }

    fn store(self, context: Context<'_>) -> Result<(), ApiError> {
        let streams = context.streams();
        let stored =
            streams.and_then(|streams| streams.set_attribute(Commitment::ATTRIBUTE, Some(&self.encode())));
        stored.map_err(|error| context.refusal(error))
    }

    /// JSON, with times in milliseconds since 1970: `{"started":1421889722000,"end":null}`.
    fn encode(self) -> Vec<u8> {
        let end = self.end.map(Timestamp::as_millis);
        json!({ "started": self.started.as_millis(), "end": end })
            .to_string()
            .into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Commitment> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let started = Timestamp::from_millis(value.get("started")?.as_u64()?);
        let end = match value.get("end")? {
            Value::Null => None,
            end => Some(Timestamp::from_millis(end.as_u64()?)),
        };
        Some(Commitment { started, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commitment_is_kept_as_it_was() {
        let started = Timestamp::from_millis(1_421_889_722_000);
        for end in [None, Some(started.saturating_add(Commitment::SHORTEST))] {
            let commitment = Commitment { started, end };
            assert_eq!(Commitment::decode(&commitment.encode()), Some(commitment));
        }
        for other in [
            "",
            "{}",
            "[1]",
            r#"{"started":-1,"end":null}"#,
            r#"{"started":1,"end":"x"}"#,
        ] {
            assert_eq!(Commitment::decode(other.as_bytes()), None, "{other}");
        }
    }
}
