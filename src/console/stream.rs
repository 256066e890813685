//! A stream with its shards.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::answer::Problem;
use super::source::Source;
use crate::{Shard, ShardId, Stream, Timestamp};

/// How many shards are listed, the newest first. A page with more is hard to read.
const MOST_SHARDS: usize = 1000;

/// For how many shards the oldest record is read.
const MOST_LOOKED_INTO: usize = 64;

/// The data of a stream's page, except its readers. The numbers of a shard that is named are always included.
pub(super) fn stream_with_shards(
    source: &Source,
    stream: &Stream,
    named: Option<ShardId>,
) -> Result<Value, Problem> {
    let description = stream.describe()?;
    let (summary, mut shards) = (description.summary, description.shards);
    let left_out = shards.len().saturating_sub(MOST_SHARDS);
    shards.drain(..left_out);
    let looked_into = looked_into(&shards, named);
    let shards = shards.iter().map(|shard| {
        let numbers = looked_into
            .contains(&shard.id)
            .then(|| numbers_of(stream, shard.id));
        with_numbers(shard, numbers.as_ref())
    });
    let retention = summary.retention.duration();
    Ok(json!({
        "now": source.store.now().as_millis(),
        "namespace": stream.namespace(),
        "name": summary.name,
        "id": summary.id.value(),
        "status": summary.status.to_string(),
        "mode": summary.mode.to_string(),
        "created": summary.created.as_millis(),
        "retentionMillis": retention.map(|time| time.as_millis() as u64),
        "maxRecordBytes": summary.max_record_bytes,
        "encryptionKey": summary.encryption_key,
        "tags": summary.tags,
        "shards": shards.collect::<Vec<_>>(),
        "shardsLeftOut": left_out,
    }))
}

/// The shards whose oldest record is read: open ones before closed ones, and newer before older ones.
fn looked_into(shards: &[Shard], named: Option<ShardId>) -> BTreeSet<ShardId> {
    let newest_first = || shards.iter().rev();
    let open = newest_first().filter(|shard| shard.is_open());
    let closed = newest_first().filter(|shard| !shard.is_open());
    let ids = open.chain(closed).map(|shard| shard.id);
    ids.take(MOST_LOOKED_INTO).chain(named).collect()
}

fn with_numbers(shard: &Shard, numbers: Option<&Value>) -> Value {
    let parents = shard.parents().map(|parent| parent.to_string());
    json!({
        "id": shard.id.to_string(),
        "start": shard.hash_key_range.start().to_string(),
        "end": shard.hash_key_range.end().to_string(),
        "parents": parents.collect::<Vec<_>>(),
        "created": shard.created.as_millis(),
        "closed": shard.closed.map(|closed| closed.at.as_millis()),
        "stats": numbers,
    })
}

/// An error for one shard is shown for that shard alone.
fn numbers_of(stream: &Stream, shard: ShardId) -> Value {
    match stream.shard_stats(shard) {
        Ok(stats) => json!({
            "firstRecord": stats.first_record.value(),
            "nextRecord": stats.next_record.value(),
            "oldestArrival": stats.oldest_arrival.map(Timestamp::as_millis),
            "lastArrival": stats.last_arrival.map(Timestamp::as_millis),
            "bytes": stats.stored_bytes,
        }),
        Err(error) => json!({ "error": Problem::from(error).message() }),
    }
}
