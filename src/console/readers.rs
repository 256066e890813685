//! Those that read a stream under a name: consumers, checkpoints, queues and channels.

use std::iter;

use serde_json::{Value, json};

use super::answer::Problem;
use super::source::Source;
use crate::{
    Channel, ChannelDescription, Error, Queue, QueueDescription, ReadLimit, RecordNumber, ShardId,
    ShardIterator, Stream, Timestamp,
};

/// So many of each kind are shown.
const MOST_OF_A_KIND: usize = 100;

/// So many shards of a checkpoint are looked into.
const MOST_SHARDS: usize = 64;

/// All readers of a stream, and how far they are.
pub(super) fn readers_of(source: &Source, stream: &Stream) -> Result<Value, Problem> {
    let consumers = stream.consumers()?;
    let consumers = consumers.iter().take(MOST_OF_A_KIND).map(|consumer| {
        let pushed = source.pushes.positions(stream.id(), consumer.id);
        json!({
            "name": consumer.name,
            "created": consumer.created.as_millis(),
            "status": consumer.status.to_string(),
            "lag": shown_lag(lag_of(stream, pushed.into_iter())),
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
    let lag = stream.checkpoint(name).and_then(|checkpoint| match checkpoint {
        Some(checkpoint) => lag_of(stream, checkpoint.positions()),
        // It was removed just now.
        None => lag_of(stream, iter::empty()),
    });
    json!({ "name": name, "lag": shown_lag(lag) })
}

fn shown_lag(lag: crate::Result<Lag>) -> Value {
    match lag {
        Ok(lag) => json!({ "shards": lag.shards, "records": lag.records, "millis": lag.millis }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// How far a reader is behind.
struct Lag {
    shards: usize,
    records: u64,
    /// How old the oldest record is that it has not read.
    millis: u64,
}

fn lag_of(
    stream: &Stream,
    positions: impl ExactSizeIterator<Item = (ShardId, RecordNumber)>,
) -> crate::Result<Lag> {
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

fn millis_behind(stream: &Stream, shard: ShardId, next: RecordNumber) -> crate::Result<u64> {
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
        "lastDelivery": last.map(Timestamp::as_millis),
        "problem": problem.map(|problem| json!({
            "since": problem.since.as_millis(),
            "attempts": problem.attempts,
            "error": problem.error.to_string(),
        })),
    })
}
