//! Those that read a stream under a name: consumers, checkpoints, queues and channels.

use serde_json::{Value, json};

use super::answer::Problem;
use super::source::Source;
use crate::{
    Channel, ChannelDescription, Checkpoint, Error, Queue, QueueDescription, ReadLimit, ShardId,
    ShardIterator, Stream,
};

/// So many of each kind are shown.
const MOST_OF_A_KIND: usize = 100;

/// So many shards of a checkpoint are looked into.
const MOST_SHARDS: usize = 64;

/// All readers of a stream, and how far they are.
pub(super) fn readers_of(source: &Source, stream: &Stream) -> Result<Value, Problem> {
    let consumers = stream.consumers()?;
    let consumers = consumers.iter().take(MOST_OF_A_KIND).map(|consumer| {
        json!({
            "name": consumer.name,
            "created": consumer.created.as_millis(),
            "status": consumer.status.to_string(),
        })
    });
    let checkpoints = stream.checkpoint_names()?;
    let checkpoints = checkpoints.iter().take(MOST_OF_A_KIND);
    let queues = stream.queues()?;
    let channels = stream.channels()?;
    Ok(json!({
        "now": source.store.now().as_millis(),
        "consumers": consumers.collect::<Vec<_>>(),
        "checkpoints": checkpoints.map(|name| checkpoint_of(stream, name)).collect::<Vec<_>>(),
        "queues": queues.iter().take(MOST_OF_A_KIND).map(|queue| queue_of(stream, queue)).collect::<Vec<_>>(),
        "channels": channels
            .iter()
            .take(MOST_OF_A_KIND)
            .map(|channel| channel_of(source, stream, channel))
            .collect::<Vec<_>>(),
    }))
}

/// How far a checkpoint is behind the ends of its shards. What comes in shards that are made of these is not counted.
fn checkpoint_of(stream: &Stream, name: &str) -> Value {
    let lag = || -> crate::Result<Option<Lag>> {
        let Some(checkpoint) = stream.checkpoint(name)? else {
            return Ok(None);
        };
        lag_of(stream, &checkpoint).map(Some)
    };
    match lag() {
        Ok(lag) => json!({
            "name": name,
            "shards": lag.as_ref().map(|lag| lag.shards),
            "recordsBehind": lag.as_ref().map(|lag| lag.records),
            "millisBehind": lag.as_ref().map(|lag| lag.millis),
        }),
        Err(error) => json!({ "name": name, "error": error.to_string() }),
    }
}

/// How far a reader is behind.
struct Lag {
    shards: usize,
    records: u64,
    /// How old the oldest record is that it has not read.
    millis: u64,
}

fn lag_of(stream: &Stream, checkpoint: &Checkpoint) -> crate::Result<Lag> {
    let positions = checkpoint.positions();
    let mut lag = Lag {
        shards: positions.len(),
        records: 0,
        millis: 0,
    };
    for (shard, next) in positions.take(MOST_SHARDS) {
        let stats = match stream.shard_stats(shard) {
            // Nothing of it is there to read.
            Err(Error::ShardNotFound { .. }) => continue,
            stats => stats?,
        };
        let next = next.max(stats.first_record);
        lag.records += stats.next_record.value().saturating_sub(next.value());
        lag.millis = lag.millis.max(millis_behind(stream, shard, next)?);
    }
    Ok(lag)
}

fn millis_behind(stream: &Stream, shard: ShardId, next: crate::RecordNumber) -> crate::Result<u64> {
    let position = ShardIterator {
        stream: stream.id(),
        shard,
        next,
    };
    let nothing = ReadLimit { records: 0, bytes: 0 };
    match stream.get_records(&position, &nothing) {
        // It has expired just now.
        Err(Error::Trimmed { .. }) => Ok(0),
        read => Ok(read?.millis_behind_latest),
    }
}

fn queue_of(stream: &Stream, queue: &QueueDescription) -> Value {
    let counts = stream
        .queue_by_id(queue.id)
        .and_then(|found| Queue::counts(&found));
    let counts = match counts {
        Ok(counts) => json!({
            "inFlight": counts.in_flight,
            "toRedeliver": counts.to_redeliver,
            "deadLetters": counts.dead_letters,
            "deadLettersInFlight": counts.dead_letters_in_flight,
        }),
        Err(error) => json!({ "error": error.to_string() }),
    };
    json!({
        "name": queue.name,
        "created": queue.created.as_millis(),
        "status": queue.status.to_string(),
        "visibilitySeconds": queue.settings.visibility_seconds,
        "maxReceiveCount": queue.settings.max_receive_count,
        "counts": counts,
    })
}

fn channel_of(source: &Source, stream: &Stream, channel: &ChannelDescription) -> Value {
    let found: Option<Channel> = stream.channel_by_id(channel.id).ok();
    let delivery = found.as_ref().zip(source.delivery.as_ref());
    let last = delivery.and_then(|(channel, delivery)| delivery.last_delivery(channel));
    let problem = delivery.and_then(|(channel, delivery)| delivery.problem(channel));
    let destination = channel.destination.as_ref();
    json!({
        "name": channel.name,
        "created": channel.created.as_millis(),
        "status": channel.status.to_string(),
        "bucket": destination.map(|destination| &destination.bucket),
        "freshnessSeconds": channel.freshness.as_secs(),
        "isDelivered": source.delivery.is_some() && destination.is_some(),
        "lastDelivery": last.map(|time| time.as_millis()),
        "problem": problem.map(|problem| json!({
            "since": problem.since.as_millis(),
            "attempts": problem.attempts,
            "error": problem.error.to_string(),
        })),
    })
}
