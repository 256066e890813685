//! The writer's lines, and the records that the store must therefore have.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anabranch::{
    HashKey, Queue, ReadLimit, ReceiveOptions, RecordNumber, SequenceNumber, ShardFilter, ShardId,
    StartingPosition, Stream, Timestamp,
};

use crate::record::{Name, Numbered};

const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// A line of the writer.
#[derive(Debug)]
pub(crate) enum Told {
    Acknowledged(Numbered),
    Seen(Numbered),
    /// The shard was split or merged.
    Closed(ShardId),
    /// The queue was asked to acknowledge the record.
    Asked(Numbered),
    /// The queue has acknowledged the record.
    Done(Numbered),
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Records that must not be lost before they expire.
    durable: BTreeMap<Name, Numbered>,
    closed: HashSet<ShardId>,
    /// Records that the queue may have acknowledged, and those that it must have.
    asked: HashSet<Name>,
    done: HashSet<Name>,
    /// The record of every number that was ever seen, durable or not.
    numbers: HashMap<SequenceNumber, Name>,
    names: HashMap<Name, SequenceNumber>,
    /// The highest numbers seen before the present round.
    floors: HashMap<ShardId, RecordNumber>,
}

impl Ledger {
    /// Notes the lines of a round: records in `durable` must survive, `others` only took numbers.
    pub(crate) fn note_round(&mut self, durable: &[Told], others: &[Told]) {
        let mut highest = self.floors.clone();
        for told in durable.iter().chain(others) {
            if let Told::Acknowledged(record) = told {
                let floor = self.floors.get(&record.shard());
                assert!(
                    floor.is_none_or(|floor| record.number.record_number() > *floor),
                    "{record} is not above {floor:?}, which was seen in an earlier round"
                );
            }
            if let Told::Acknowledged(record) | Told::Seen(record) | Told::Asked(record) = told {
                self.note_number(record);
                raise(&mut highest, record);
            }
            if let Told::Asked(record) = told {
                self.asked.insert(record.name.clone());
            }
        }
        self.floors = highest;
        for told in durable {
            match told {
                Told::Acknowledged(record) | Told::Seen(record) | Told::Asked(record) => {
                    self.durable.insert(record.name.clone(), record.clone());
                }
                Told::Done(record) => {
                    self.done.insert(record.name.clone());
                }
                Told::Closed(shard) => {
                    self.closed.insert(*shard);
                }
            }
        }
    }

    /// Whether no line of the writer needs the stream.
    pub(crate) fn is_empty(&self) -> bool {
        self.durable.is_empty() && self.closed.is_empty()
    }

    /// Compares a store that was opened after a blow, and gives the number of its records. All records that are found
    /// are durable from now on.
    pub(crate) fn check(&mut self, stream: &Stream, now: Timestamp) -> usize {
        self.check_shards(stream);
        let stored: Vec<_> = stream
            .reader(StartingPosition::TrimHorizon)
            .expect("an open stream is read")
            // Whether all records that have not expired are there is checked below.
            .skip_trimmed()
            .map(|record| Numbered::of(&record.expect("a crash damages nothing")))
            .collect();
        let horizon = horizon_at(now);
        self.check_orders(&stored, horizon);
        for record in &stored {
            self.note_number(record);
        }
        self.durable.retain(|_, record| record.arrival > horizon);
        let names: HashSet<_> = stored.iter().map(|record| &record.name).collect();
        for record in self.durable.values() {
            assert!(
                names.contains(&record.name),
                "{record} is missing of {} records; the horizon is {}",
                stored.len(),
                horizon.as_millis()
            );
        }
        for record in &stored {
            raise(&mut self.floors, record);
            self.durable.insert(record.name.clone(), record.clone());
        }
        stored.len()
    }

    /// Compares the queue, after the stream was compared: it gives out all records that have not expired and that it
    /// was not asked to acknowledge, and none that it has acknowledged.
    pub(crate) fn check_queue(&self, queue: Option<&Queue>, now: Timestamp) {
        let Some(queue) = queue else {
            assert!(self.done.is_empty(), "the queue is gone");
            return;
        };
        let many = ReceiveOptions {
            limit: ReadLimit {
                records: 10_000,
                ..ReadLimit::default()
            },
            ..ReceiveOptions::default()
        };
        let mut given = HashSet::new();
        loop {
            let received = queue.receive(&many).expect("a crash damages nothing");
            if received.is_empty() {
                break;
            }
            for record in received {
                let name = Name::of(&record.record);
                assert!(!self.done.contains(&name), "{name:?} comes back to the queue");
                assert!(given.insert(name), "{:?} is given out twice", record.record);
            }
        }
        // The stream can show a record again that had expired for the killed process, since the time that a store has
        // confirmed can go back with a kill. The queue had dropped the record by then.
        let horizon = horizon_at(now);
        let kept = (self.durable.values())
            .filter(|record| record.arrival > horizon && !self.asked.contains(&record.name));
        let lost: Vec<_> = kept
            .filter(|record| !given.contains(&record.name))
            .map(|record| format!("{record} of {}", record.shard()))
            .collect();
        assert!(
            lost.is_empty(),
            "{lost:?} are lost to the queue, which gives out {}; the horizon is {}",
            given.len(),
            horizon.as_millis()
        );
    }

    fn check_shards(&self, stream: &Stream) {
        let mut open = stream
            .shards(&ShardFilter::AtLatest)
            .expect("an open stream has shards");
        open.sort_by_key(|shard| shard.hash_key_range.start());
        let reopened = open.iter().find(|shard| self.closed.contains(&shard.id));
        assert!(reopened.is_none(), "{reopened:?} was closed");
        let mut ranges = open.iter().map(|shard| shard.hash_key_range);
        let joined = ranges
            .next()
            .and_then(|first| ranges.try_fold(first, |joined, range| joined.joined(&range)));
        let joined = joined.expect("the open shards' ranges join");
        assert_eq!((joined.start(), joined.end()), (HashKey::MIN, HashKey::MAX));
    }

    /// Checks that within a shard the numbers rise, and that under a key the records that have not expired are a part
    /// of its sequence without a gap, over all its shards. An expired record may show again after a kill, since the
    /// time that a store has confirmed can go back, while a later record in another shard was freed already.
    fn check_orders(&self, stored: &[Numbered], horizon: Timestamp) {
        let mut last_numbers: HashMap<ShardId, SequenceNumber> = HashMap::new();
        let mut last_counts: HashMap<&str, u64> = HashMap::new();
        for record in stored {
            if let Some(last) = last_numbers.insert(record.shard(), record.number) {
                assert!(last < record.number, "{record} comes after {last}");
            }
            if record.arrival <= horizon {
                continue;
            }
            if let Some(last) = last_counts.insert(&record.name.key, record.name.count) {
                assert_eq!(
                    record.name.count,
                    last + 1,
                    "{record} comes after count {last}; the horizon is {}",
                    horizon.as_millis()
                );
            }
        }
    }

    /// Checks that each number is of one record, and that each record has one number.
    fn note_number(&mut self, record: &Numbered) {
        let name = self
            .numbers
            .entry(record.number)
            .or_insert_with(|| record.name.clone());
        assert_eq!(name, &record.name, "both have the number {}", record.number);
        let number = self.names.entry(record.name.clone()).or_insert(record.number);
        assert_eq!(*number, record.number, "both are the number of {:?}", record.name);
    }
}

fn horizon_at(now: Timestamp) -> Timestamp {
    now.saturating_sub(RETENTION)
}

fn raise(highest: &mut HashMap<ShardId, RecordNumber>, record: &Numbered) {
    let number = record.number.record_number();
    let highest = highest.entry(record.shard()).or_insert(number);
    *highest = number.max(*highest);
}
