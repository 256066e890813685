//! The readers of a stream that have a name: consumers, checkpoints, queues and channels.

use serde_json::{Value, json};

use super::answer::Problem;
use super::source::Source;
use crate::store::ReaderLag;
use crate::{Channel, ChannelDescription, DeliveryError, QueueDescription, Stream, Timestamp};

/// How many readers of each kind are shown.
const MOST_OF_A_KIND: usize = 100;

/// In how many shards of a reader its position is looked up.
const MOST_SHARDS: usize = 64;

/// All readers of a stream, with their positions.
pub(super) fn readers_of(source: &Source, stream: &Stream) -> Result<Value, Problem> {
    let consumers = stream.consumers()?;
    let consumers = consumers.iter().take(MOST_OF_A_KIND).map(|consumer| {
        let pushed = source.pushes.positions(stream.id(), consumer.id);
        json!({
            "name": consumer.name,
            "created": consumer.created.as_millis(),
            "status": consumer.status.to_string(),
            "lag": shown_lag(stream.reader_lag(&pushed, MOST_SHARDS)),
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

/// How far a checkpoint is behind in its shards and in their children. A consumer group has a checkpoint of its name.
fn checkpoint_of(stream: &Stream, name: &str) -> Value {
    let lag = stream.checkpoint_lag(name, MOST_SHARDS);
    json!({ "name": name, "lag": shown_lag(lag) })
}

fn shown_lag(lag: crate::Result<ReaderLag>) -> Value {
    match lag {
        Ok(ReaderLag {
            shards,
            shards_left_out,
            records,
            bytes,
            time,
        }) => json!({
            "shards": shards,
            "shardsLeftOut": shards_left_out,
            "records": records,
            "bytes": bytes,
            "millis": u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        }),
        Err(error) => json!({ "error": Problem::from(error).message() }),
    }
}

fn queue_of(stream: &Stream, queue: &QueueDescription) -> Value {
    let counts = stream
        .queue_by_id(queue.id)
        .and_then(|found| Ok((found.available()?, found.counts()?)));
    let counts = match counts {
        Ok((available, counts)) => json!({
            "available": available,
            "inFlight": counts.in_flight,
            "toRedeliver": counts.to_redeliver,
            "deadLetters": counts.dead_letters,
            "deadLettersInFlight": counts.dead_letters_in_flight,
        }),
        Err(error) => json!({ "error": Problem::from(error).message() }),
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
    let problem = delivery.and_then(|(channel, delivery)| delivery.problem(channel));
    let destination = channel.destination.as_ref();
    json!({
        "name": channel.name,
        "created": channel.created.as_millis(),
        "status": channel.status.to_string(),
        "bucket": destination.map(|destination| &destination.bucket),
        "freshnessSeconds": channel.freshness.as_secs(),
        "isDelivered": source.delivery.is_some() && destination.is_some(),
        "lastDelivery": channel.last_delivery.map(Timestamp::as_millis),
        "problem": problem.map(|problem| json!({
            "since": problem.since.as_millis(),
            "attempts": problem.attempts,
            "error": match problem.error {
                // The delivery has logged it.
                DeliveryError::Store(error) => Problem::of(&error).message().to_owned(),
                error => error.to_string(),
            },
        })),
    })
}
