//! All streams and the store, in numbers.

use serde_json::{Value, json};

use super::answer::Problem;
use super::source::Source;
use crate::{Error, Histogram, StoreStats, Stream};

/// How many streams are shown, the oldest first. An event with all of them fits the memory of a small reply.
const MOST_STREAMS: usize = 200;

/// How many damaged shards are named.
const MOST_DAMAGED: usize = 20;

/// The data of the first page, except the time.
pub(super) fn summary(source: &Source) -> Result<Value, Problem> {
    let mut streams = Vec::new();
    for stream in source.store.all_streams(None, MOST_STREAMS)? {
        streams.extend(row_of(&stream)?);
    }
    let stats = source.store.stats()?;
    let left_out = stats.streams.saturating_sub(streams.len() as u64);
    Ok(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "home": source.home,
        "store": store_of(&stats),
        "streams": streams,
        "streamsLeftOut": left_out,
    }))
}

/// `None` if the stream has been deleted.
fn row_of(stream: &Stream) -> Result<Option<Value>, Problem> {
    let looked = stream
        .summary()
        .and_then(|summary| Ok((summary, stream.stats()?)));
    let (summary, stats) = match looked {
        Ok(looked) => looked,
        Err(Error::StreamNotFound { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some(json!({
        "namespace": stream.namespace(),
        "name": summary.name,
        "id": summary.id.value(),
        "status": summary.status.to_string(),
        "mode": summary.mode.to_string(),
        "isEncrypted": summary.encryption_key.is_some(),
        "openShards": stats.open_shards,
        "shards": stats.shards,
        "damagedShards": stats.damaged_shards.len(),
        "putRecords": stats.puts.records,
        "putBytes": stats.puts.bytes,
        "readRecords": stats.reads.records,
        "readBytes": stats.reads.bytes,
        "bytes": stats.storage.segment_bytes,
    })))
}

fn store_of(stats: &StoreStats) -> Value {
    let damaged = stats.damaged_shards.iter().take(MOST_DAMAGED).map(|damaged| {
        json!({
            "stream": damaged.stream.value(),
            "shard": damaged.shard.to_string(),
            "damage": damaged.damage.to_string(),
        })
    });
    let space = stats.health.space.map(|space| {
        // Other programs use the disk too, and a change of a few bytes is no news.
        let step = (space.total_bytes / 1024).max(1);
        json!({
            "totalBytes": space.total_bytes,
            "availableBytes": space.available_bytes - space.available_bytes % step,
            "isNearlyUsedUp": space.is_nearly_used_up(),
        })
    });
    json!({
        "putRecords": stats.puts.records,
        "putBytes": stats.puts.bytes,
        "readRecords": stats.reads.records,
        "readBytes": stats.reads.bytes,
        "commits": stats.puts.commits(),
        "commitMicros": buckets_of(&stats.puts.commit_micros),
        "syncMicros": buckets_of(&stats.sync_micros),
        "segments": stats.storage.segments,
        "segmentBytes": stats.storage.segment_bytes,
        "poolBytes": stats.storage.pool_bytes,
        "openShards": stats.open_shards,
        "streams": stats.streams,
        "failure": stats.health.failure.as_ref().map(ToString::to_string),
        "damaged": damaged.collect::<Vec<_>>(),
        "space": space,
    })
}

/// The buckets of a histogram with any values: for each the largest value, `null` for the one without a bound, and the
/// count. The page shows the counts since its last request.
fn buckets_of(histogram: &Histogram) -> Value {
    let buckets = histogram.buckets().filter(|(_, values)| *values > 0);
    buckets
        .map(|(bound, values)| json!([(bound < u64::MAX).then_some(bound), values]))
        .collect()
}
