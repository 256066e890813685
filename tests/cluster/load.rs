//! Threads that put records, and what must be true of those that were acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use anabranch::{Error, SequenceNumber, ShardId, StartingPosition, Stream};
use anabranch_harness::wait::wait_until;

/// Threads, each of which has a key of its own.
pub struct Load {
    threads: Vec<JoinHandle<BTreeMap<u64, (ShardId, SequenceNumber)>>>,
    acknowledged: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

/// What was acknowledged: by key, and by number of the thread's own.
pub struct Acknowledged(BTreeMap<String, BTreeMap<u64, (ShardId, SequenceNumber)>>);

impl Load {
    /// Each thread puts its next number until it is told to end. One that the cluster did not answer is left out.
    pub fn begin(stream: &Stream, threads: usize) -> Load {
        let acknowledged = Arc::<AtomicUsize>::default();
        let is_over = Arc::<AtomicBool>::default();
        let thread = |key: usize| {
            let (stream, acknowledged, is_over) = (stream.clone(), acknowledged.clone(), is_over.clone());
            std::thread::spawn(move || {
                let mut own = BTreeMap::new();
                let mut number = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    match stream.put(&key_of(key), number.to_string().as_bytes()) {
                        Ok(put) => {
                            own.insert(number, (put.shard_id, put.sequence_number));
                            acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(Error::Cluster { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    number += 1;
                }
                own
            })
        };
        Load {
            threads: (0..threads).map(thread).collect(),
            acknowledged,
            is_over,
        }
    }

    /// Waits for so many more to be acknowledged.
    pub fn wait_for(&self, more: usize) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        wait_until("puts are acknowledged", || {
            self.acknowledged.load(Ordering::Relaxed) >= before + more
        });
    }

    pub fn end(self) -> Acknowledged {
        self.is_over.store(true, Ordering::Relaxed);
        let threads = self.threads.into_iter().map(|thread| thread.join().unwrap());
        Acknowledged::of(threads.collect())
    }
}

impl Acknowledged {
    /// What each thread knows of, whose keys are those of its place.
    pub fn of(threads: Vec<BTreeMap<u64, (ShardId, SequenceNumber)>>) -> Acknowledged {
        let threads = threads.into_iter().enumerate();
        Acknowledged(threads.map(|(key, own)| (key_of(key), own)).collect())
    }

    /// Each acknowledged record is there once, where it was said to be, and those of a key are in the order of its
    /// puts. Records that were not acknowledged may be there, once too.
    pub fn check(&self, stream: &Stream) {
        let mut last: BTreeMap<String, (u64, SequenceNumber)> = BTreeMap::new();
        let mut missing = self.0.clone();
        let mut numbers = BTreeSet::new();
        for record in stream.reader(StartingPosition::TrimHorizon).unwrap() {
            let record = record.unwrap();
            let key = record.partition_key.as_str().to_owned();
            let number: u64 = std::str::from_utf8(&record.data).unwrap().parse().unwrap();
            assert!(
                numbers.insert(record.sequence_number),
                "{key} {number}: its number is another's"
            );
            if let Some((_, sequence_number)) = missing.get_mut(&key).and_then(|own| own.remove(&number)) {
                assert_eq!(sequence_number, record.sequence_number, "{key} {number}");
            }
            if let Some((earlier, at)) = last.insert(key.clone(), (number, record.sequence_number)) {
                assert!(earlier < number, "{key}: {earlier} came before {number}");
                assert!(at < record.sequence_number, "{key} {number}");
            }
        }
        missing.retain(|_, own| !own.is_empty());
        assert!(missing.is_empty(), "acknowledged, and not there: {missing:?}");
    }
}

fn key_of(thread: usize) -> String {
    format!("key-{thread}")
}
