//! Parsing of the API's answers.

use std::time::Duration;

use anabranch::{HashKey, HashKeyRange, ShardFilter, ShardId, StartingPosition, StreamMode, Timestamp};
use base64_simd::STANDARD;
use serde_json::{Value, json};

use super::super::super::Failure;
use super::super::target::{NewRecord, NewStream, PutAnswer, ReadRecord, ShardRow, StreamRow};

/// The largest record of a stream whose description has no limit.
const DEFAULT_MAX_RECORD_KIB: u64 = 1024;

/// The stream that DescribeStreamSummary describes.
pub(super) fn stream(answer: &Value) -> Option<StreamRow> {
    let summary = answer.get("StreamDescriptionSummary")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let number = |name: &str| summary.get(name).and_then(Value::as_u64);
    let mode = summary
        .get("StreamModeDetails")
        .and_then(|details| details.get("StreamMode"));
    let kib = number("MaxRecordSizeInKiB").unwrap_or(DEFAULT_MAX_RECORD_KIB);
    Some(StreamRow {
        name: text(summary.get("StreamName")?)?,
        status: text(summary.get("StreamStatus")?)?,
        mode: mode.and_then(text).unwrap_or_default(),
        open_shards: u32::try_from(number("OpenShardCount")?).ok()?,
        retention: number("RetentionPeriodHours")
            .map(|hours| Duration::from_secs(hours.saturating_mul(3600))),
        max_record_bytes: usize::try_from(kib).ok()?.checked_mul(1024)?,
        created: time(summary.get("StreamCreationTimestamp")),
    })
}

/// A shard in the answer of ListShards.
pub(super) fn shard(value: &Value) -> Option<ShardRow> {
    let id = |name: &str| value.get(name)?.as_str()?.parse::<ShardId>().ok();
    let range = value.get("HashKeyRange")?;
    let key = |name: &str| range.get(name)?.as_str()?.parse::<HashKey>().ok();
    let range = HashKeyRange::new(key("StartingHashKey")?, key("EndingHashKey")?).ok()?;
    let ending = value
        .get("SequenceNumberRange")
        .and_then(|range| range.get("EndingSequenceNumber"));
    Some(ShardRow {
        id: id("ShardId")?,
        range,
        parents: [id("ParentShardId"), id("AdjacentParentShardId")]
            .into_iter()
            .flatten()
            .collect(),
        is_open: ending.is_none_or(Value::is_null),
    })
}

/// A record in the answer of GetRecords.
pub(super) fn record(shard: ShardId, value: &Value) -> Option<ReadRecord> {
    let text = |name: &str| value.get(name)?.as_str();
    Some(ReadRecord {
        shard,
        sequence_number: text("SequenceNumber")?.to_owned(),
        arrival: time(value.get("ApproximateArrivalTimestamp")),
        key: text("PartitionKey").unwrap_or_default().to_owned(),
        data: STANDARD.decode_to_vec(text("Data")?).ok()?.into(),
    })
}

/// The list in an answer, each of its elements parsed.
pub(super) fn list<T>(
    answer: &Value,
    name: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<T>, Failure> {
    let elements = answer.get(name).and_then(Value::as_array).into_iter().flatten();
    elements
        .map(|element| read(element).ok_or_else(|| not_understood(name)))
        .collect()
}

pub(super) fn not_understood(what: &str) -> Failure {
    Failure::Refused(format!("the endpoint's answer is not understood: {what}"))
}

/// The input of GetShardIterator for the position behind a record.
pub(super) fn iterator_input_behind(stream: &str, shard: ShardId, number: &str) -> Value {
    json!({
        "StreamName": stream,
        "ShardId": shard.to_string(),
        "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "StartingSequenceNumber": number,
    })
}

/// A tag of those that ListTagsForStream lists.
pub(super) fn tag(value: &Value) -> Option<(String, String)> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    Some((text("Key")?, text("Value").unwrap_or_default()))
}

/// The input of CreateStream.
pub(super) fn create_input(stream: &str, new: &NewStream) -> Value {
    let mut input = json!({"StreamName": stream});
    match new.mode {
        StreamMode::OnDemand => input["StreamModeDetails"] = json!({"StreamMode": "ON_DEMAND"}),
        StreamMode::Provisioned => input["ShardCount"] = json!(new.shards),
    }
    if let Some(bytes) = new.max_record_bytes {
        input["MaxRecordSizeInKiB"] = json!(bytes.div_ceil(1024));
    }
    if !new.tags.is_empty() {
        input["Tags"] = json!(new.tags);
    }
    input
}

/// The input of PutRecords.
pub(super) fn put_input(stream: &str, records: &[NewRecord]) -> Value {
    let records: Vec<_> = records
        .iter()
        .map(|record| {
            let mut entry =
                json!({"Data": STANDARD.encode_to_string(&record.data), "PartitionKey": record.key});
            if let Some(hash_key) = record.hash_key {
                entry["ExplicitHashKey"] = json!(hash_key.to_string());
            }
            entry
        })
        .collect();
    json!({"StreamName": stream, "Records": records})
}

/// Whether an error means that the same call can succeed a little later.
pub(super) fn is_throttling(error: &str) -> bool {
    matches!(
        error,
        "ProvisionedThroughputExceededException" | "ThrottlingException" | "KMSThrottlingException"
    )
}

/// The results of PutRecords for `count` records.
pub(super) fn put_answer(answer: &Value, count: usize) -> Result<PutAnswer, Failure> {
    let outcomes = list(answer, "Records", |outcome| Some(outcome.clone()))?;
    if outcomes.len() != count {
        return Err(not_understood("Records"));
    }
    let mut put = PutAnswer::default();
    for (place, outcome) in outcomes.iter().enumerate() {
        let text = |name: &str| outcome.get(name).and_then(Value::as_str);
        let Some(code) = text("ErrorCode") else {
            let shard = text("ShardId").and_then(|shard| shard.parse().ok());
            let taken = shard.zip(text("SequenceNumber"));
            let (shard, number) = taken.ok_or_else(|| not_understood("Records"))?;
            put.note_taken(shard, number.to_owned());
            continue;
        };
        put.untaken.push(place);
        let reason = format!("{code}: {}", text("ErrorMessage").unwrap_or_default());
        put.is_doubtful |= code == "InternalFailure";
        if !is_throttling(code) && put.failure.is_none() {
            put.failure = Some(Failure::Refused(reason));
        } else if put.reason.is_empty() {
            put.reason = reason;
        }
    }
    Ok(put)
}

/// The filter of ListShards.
pub(super) fn filter_input(filter: ShardFilter) -> Value {
    match filter {
        ShardFilter::FromTrimHorizon => json!({"Type": "FROM_TRIM_HORIZON"}),
        ShardFilter::AtTrimHorizon => json!({"Type": "AT_TRIM_HORIZON"}),
        ShardFilter::AtLatest => json!({"Type": "AT_LATEST"}),
        ShardFilter::AtTimestamp(time) => json!({"Type": "AT_TIMESTAMP", "Timestamp": seconds(time)}),
        ShardFilter::FromTimestamp(time) => json!({"Type": "FROM_TIMESTAMP", "Timestamp": seconds(time)}),
        ShardFilter::AfterShardId(shard) => json!({"Type": "AFTER_SHARD_ID", "ShardId": shard.to_string()}),
    }
}

/// The input of GetShardIterator.
pub(super) fn iterator_input(stream: &str, shard: ShardId, from: StartingPosition) -> Value {
    let mut input = json!({"StreamName": stream, "ShardId": shard.to_string()});
    let (kind, more) = match from {
        StartingPosition::TrimHorizon => ("TRIM_HORIZON", None),
        StartingPosition::Latest => ("LATEST", None),
        StartingPosition::AtSequenceNumber(number) => (
            "AT_SEQUENCE_NUMBER",
            Some(("StartingSequenceNumber", json!(number.to_string()))),
        ),
        StartingPosition::AfterSequenceNumber(number) => (
            "AFTER_SEQUENCE_NUMBER",
            Some(("StartingSequenceNumber", json!(number.to_string()))),
        ),
        StartingPosition::AtTimestamp(time) => ("AT_TIMESTAMP", Some(("Timestamp", seconds(time)))),
    };
    input["ShardIteratorType"] = json!(kind);
    if let Some((name, value)) = more {
        input[name] = value;
    }
    input
}

/// A time in seconds; without one, 1970.
fn time(value: Option<&Value>) -> Timestamp {
    let seconds = value.and_then(Value::as_f64).unwrap_or_default();
    Timestamp::from_millis((seconds * 1000.0).round() as u64)
}

fn seconds(time: Timestamp) -> Value {
    json!(time.as_millis() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_are_throttled_can_be_put_again_and_others_cannot() {
        let answer = |codes: [&str; 3]| {
            let outcome = |code: &str| match code {
                "" => json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"}),
                code => json!({"ErrorCode": code, "ErrorMessage": "so it is"}),
            };
            put_answer(&json!({"Records": codes.map(outcome)}), 3).unwrap()
        };
        let throttled = answer([
            "",
            "ProvisionedThroughputExceededException",
            "ThrottlingException",
        ]);
        assert_eq!(throttled.untaken, [1, 2]);
        assert_eq!(
            throttled.reason,
            "ProvisionedThroughputExceededException: so it is"
        );
        assert!(throttled.failure.is_none());
        let failed = answer(["ProvisionedThroughputExceededException", "", "InternalFailure"]);
        assert_eq!(failed.untaken, [0, 2]);
        assert!(failed.is_doubtful && !throttled.is_doubtful);
        let Some(Failure::Refused(reason)) = failed.failure else {
            panic!("{:?}", failed.failure)
        };
        assert_eq!(reason, "InternalFailure: so it is");
        assert!(put_answer(&json!({"Records": []}), 3).is_err());
    }
}
