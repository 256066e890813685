//! Converts answers of the SDK into the types of the commands.

use std::time::Duration;

use anabranch::{HashKey, HashKeyRange, ShardId, StartingPosition, Timestamp};
use aws_sdk_kinesis::operation::put_records::PutRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{Record, Shard, ShardFilter, ShardFilterType, StreamDescriptionSummary};

use super::super::super::Failure;
use super::super::target::{PutAnswer, ReadRecord, ShardRow, StreamRow};

/// The largest record of a stream whose description has no limit.
const DEFAULT_MAX_RECORD_KIB: i32 = 1024;

pub(super) fn stream(summary: &StreamDescriptionSummary) -> StreamRow {
    let mode = summary.stream_mode_details();
    let number = |number: i32| u64::try_from(number).unwrap_or(0);
    let kib = summary.max_record_size_in_kib().unwrap_or(DEFAULT_MAX_RECORD_KIB);
    StreamRow {
        name: summary.stream_name().to_owned(),
        status: summary.stream_status().to_string(),
        mode: mode.map_or_else(String::new, |mode| mode.stream_mode().to_string()),
        open_shards: u32::try_from(summary.open_shard_count()).unwrap_or(0),
        retention: Some(Duration::from_secs(
            number(summary.retention_period_hours()) * 3600,
        )),
        max_record_bytes: usize::try_from(kib).unwrap_or(0) * 1024,
        created: time(Some(summary.stream_creation_timestamp())),
    }
}

pub(super) fn shard(shard: &Shard) -> Result<ShardRow, Failure> {
    let row = || {
        let range = shard.hash_key_range()?;
        let key = |key: &str| key.parse::<HashKey>().ok();
        let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
        Some(ShardRow {
            id: shard.shard_id().parse().ok()?,
            range: HashKeyRange::new(key(range.starting_hash_key())?, key(range.ending_hash_key())?).ok()?,
            parents: parents
                .into_iter()
                .flatten()
                .map(|parent| parent.parse().ok())
                .collect::<Option<_>>()?,
            is_open: shard
                .sequence_number_range()
                .and_then(|range| range.ending_sequence_number())
                .is_none(),
        })
    };
    row().ok_or_else(|| not_understood("Shards"))
}

pub(super) fn record(shard: ShardId, record: Record) -> ReadRecord {
    ReadRecord {
        shard,
        arrival: time(record.approximate_arrival_timestamp()),
        sequence_number: record.sequence_number,
        key: record.partition_key,
        data: record.data.into_inner().into(),
    }
}

/// The results of PutRecords for `count` records.
pub(super) fn put_answer(answer: &PutRecordsOutput, count: usize) -> Result<PutAnswer, Failure> {
    if answer.records().len() != count {
        return Err(not_understood("Records"));
    }
    let mut put = PutAnswer::default();
    for (place, outcome) in answer.records().iter().enumerate() {
        if let Some(code) = outcome.error_code() {
            put.untaken.push(place);
            let reason = format!("{code}: {}", outcome.error_message().unwrap_or_default());
            put.is_doubtful |= code == "InternalFailure";
            if is_throttling(code) {
                put.reason = reason;
            } else {
                put.failure = put.failure.or(Some(Failure::Refused(reason)));
            }
            continue;
        }
        let shard = outcome.shard_id().and_then(|shard| shard.parse().ok());
        let taken = shard.zip(outcome.sequence_number());
        let (shard, number) = taken.ok_or_else(|| not_understood("Records"))?;
        put.note_taken(shard, number.to_owned());
    }
    Ok(put)
}

/// Whether an error means that the same call can succeed a little later.
pub(super) fn is_throttling(error: &str) -> bool {
    matches!(
        error,
        "ProvisionedThroughputExceededException" | "ThrottlingException" | "KMSThrottlingException"
    )
}

pub(super) fn filter(filter: anabranch::ShardFilter) -> Result<ShardFilter, Failure> {
    use anabranch::ShardFilter as Filter;
    let builder = ShardFilter::builder();
    let builder = match filter {
        Filter::FromTrimHorizon => builder.r#type(ShardFilterType::FromTrimHorizon),
        Filter::AtTrimHorizon => builder.r#type(ShardFilterType::AtTrimHorizon),
        Filter::AtLatest => builder.r#type(ShardFilterType::AtLatest),
        Filter::AtTimestamp(time) => builder
            .r#type(ShardFilterType::AtTimestamp)
            .timestamp(date_time(time)),
        Filter::FromTimestamp(time) => builder
            .r#type(ShardFilterType::FromTimestamp)
            .timestamp(date_time(time)),
        Filter::AfterShardId(shard) => builder
            .r#type(ShardFilterType::AfterShardId)
            .shard_id(shard.to_string()),
    };
    builder
        .build()
        .map_err(|error| Failure::Refused(error.to_string()))
}

/// Where an iterator begins: its type, and the number or the time that belongs to it.
pub(super) fn position(from: StartingPosition) -> (&'static str, Option<String>, Option<DateTime>) {
    match from {
        StartingPosition::TrimHorizon => ("TRIM_HORIZON", None, None),
        StartingPosition::Latest => ("LATEST", None, None),
        StartingPosition::AtSequenceNumber(number) => ("AT_SEQUENCE_NUMBER", Some(number.to_string()), None),
        StartingPosition::AfterSequenceNumber(number) => {
            ("AFTER_SEQUENCE_NUMBER", Some(number.to_string()), None)
        }
        StartingPosition::AtTimestamp(time) => ("AT_TIMESTAMP", None, Some(date_time(time))),
    }
}

pub(super) fn not_understood(what: &str) -> Failure {
    Failure::Refused(format!("the answer of Amazon Kinesis is not understood: {what}"))
}

fn time(time: Option<&DateTime>) -> Timestamp {
    let millis = time.and_then(|time| time.to_millis().ok()).unwrap_or(0);
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn date_time(time: Timestamp) -> DateTime {
    DateTime::from_millis(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
}
