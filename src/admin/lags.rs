//! The last known lags of the readers of streams.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};

use crate::console::Pushes;
use crate::store::ReaderLag;
use crate::{ConsumerId, Result, Stream, StreamId};

/// How many readers have series: the first ones of the oldest streams that have any.
const MOST_READERS: usize = 100;

/// In how many shards of a reader the lag is measured.
const MOST_SHARDS: usize = 64;

/// In how many shards lags are measured in one round, besides those of one more reader. The readers take turns.
const MOST_SHARDS_AT_ONCE: usize = 500;

/// A reader, in the order of the rounds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    stream: StreamId,
    kind: Kind,
    name: String,
}

/// The kind of a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A stored checkpoint, of a reader or of a consumer group.
    Checkpoint,
    /// Records are pushed to it.
    Consumer,
}

/// How far a reader is behind.
#[derive(Clone, Debug)]
pub(super) struct LagNumbers {
    pub(super) namespace: String,
    pub(super) stream: String,
    /// `checkpoint` or `consumer`.
    pub(super) kind: &'static str,
    pub(super) reader: String,
    pub(super) lag: ReaderLag,
}

/// The lags that were measured.
#[derive(Debug, Default)]
pub(super) struct Lags {
    known: BTreeMap<Key, LagNumbers>,
    /// The last reader whose lag was measured.
    last: Option<Key>,
}

impl Lags {
    pub(super) fn numbers(&self) -> Vec<LagNumbers> {
        self.known.values().cloned().collect()
    }
}

/// Measures the lags of the next readers. Reads from the disk, and releases the lock meanwhile.
pub(super) fn look_for_lags(streams: &[Stream], pushes: &dyn Pushes, lags: &Mutex<Lags>) {
    let lock = || lags.lock().unwrap_or_else(PoisonError::into_inner);
    let readers: BTreeMap<Key, Reader<'_>> = streams.iter().flat_map(readers_of).take(MOST_READERS).collect();
    let last = lock().last.clone();
    let behind = match &last {
        Some(last) => (Bound::Excluded(last), Bound::Unbounded),
        None => (Bound::Unbounded, Bound::Unbounded),
    };
    let turns = readers
        .range::<Key, _>(behind)
        .chain(&readers)
        .take(readers.len());
    let (mut found, mut looked_into) = (Vec::new(), 0);
    for (key, reader) in turns {
        if looked_into >= MOST_SHARDS_AT_ONCE {
            break;
        }
        // A reader whose lag cannot be measured is left out; the others are still measured.
        let lag = reader.lag(pushes).unwrap_or_default();
        looked_into += lag.map_or(0, |lag| lag.shards.min(MOST_SHARDS));
        found.push((key, lag.map(|lag| reader.numbers(key, lag))));
    }
    let mut lags = lock();
    lags.known.retain(|key, _| readers.contains_key(key));
    lags.last = found.last().map(|(key, _)| (*key).clone());
    for (key, numbers) in found {
        match numbers {
            Some(numbers) => lags.known.insert(key.clone(), numbers),
            None => lags.known.remove(key),
        };
    }
}

struct Reader<'a> {
    stream: &'a Stream,
    /// Of a reader that records are pushed to.
    consumer: Option<ConsumerId>,
    name: String,
}

/// None if the stream has been deleted.
fn readers_of(stream: &Stream) -> Vec<(Key, Reader<'_>)> {
    let reader = |kind, name: String, consumer| {
        let key = Key {
            stream: stream.id(),
            kind,
            name: name.clone(),
        };
        let reader = Reader {
            stream,
            consumer,
            name,
        };
        (key, reader)
    };
    let checkpoints = stream.checkpoint_names().unwrap_or_default();
    let checkpoints = checkpoints
        .into_iter()
        .map(|name| reader(Kind::Checkpoint, name, None));
    let consumers = stream.consumers().unwrap_or_default();
    let consumers = consumers
        .into_iter()
        .map(|consumer| reader(Kind::Consumer, consumer.name, Some(consumer.id)));
    checkpoints.chain(consumers).collect()
}

impl Reader<'_> {
    /// `None` if the reader's position is unknown.
    fn lag(&self, pushes: &dyn Pushes) -> Result<Option<ReaderLag>> {
        match self.consumer {
            None => self.stream.checkpoint_lag(&self.name, MOST_SHARDS).map(Some),
            Some(consumer) => {
                let positions = pushes.positions(self.stream.id(), consumer);
                match positions.is_empty() {
                    true => Ok(None),
                    false => self.stream.reader_lag(&positions, MOST_SHARDS).map(Some),
                }
            }
        }
    }

    fn numbers(&self, key: &Key, lag: ReaderLag) -> LagNumbers {
        LagNumbers {
            namespace: self.stream.namespace().to_owned(),
            stream: self.stream.name().to_owned(),
            kind: match key.kind {
                Kind::Checkpoint => "checkpoint",
                Kind::Consumer => "consumer",
            },
            reader: key.name.clone(),
            lag,
        }
    }
}
