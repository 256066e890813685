//! Several threads at one store, under every schedule that the explorer draws (`sync::explore`).
//!
//! Each scenario makes its own small store on a simulated disk, and runs some threads on it. At the end it checks that
//! every caller got an answer, and that the store, and the disk after any power cut, have the acknowledged records:
//! each once, in the order of its numbers. The explorer checks that no thread waits for ever.

mod answers;
mod caught;
#[cfg(feature = "encryption")]
mod encryption;
mod group_commit;
mod lifecycle;
mod reading;
mod recycling;
mod rounds;
mod snapshot;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::Duration;

use super::{PutResult, Store, StoreOptions, Stream};
use crate::disk::sim::{LossMode, Operation, SimDisk};
use crate::error::{Error, Result};
use crate::model::{HashKey, ManualClock, PutRecord, SequenceNumber, ShardId, StartingPosition, Timestamp};
use crate::sync::Mutex;
use std::sync::Arc;

const DIRECTORY: &str = "store";
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

/// A store with a stream, and the records that were put into it.
#[derive(Clone)]
struct World {
    disk: SimDisk,
    clock: ManualClock,
    store: Store,
    stream: Stream,
    put: Arc<Mutex<Vec<Acknowledged>>>,
}

#[derive(Clone, Debug)]
struct Acknowledged {
    put: PutResult,
    data: Vec<u8>,
}

type Thread = shuttle::thread::JoinHandle<()>;

impl World {
    fn new(shards: u32) -> Self {
        Self::with(shards, |options| options)
    }

    /// With options of the scenario. There is one flusher, so that a caller can leave a commit to it.
    fn with(shards: u32, options: impl Fn(StoreOptions) -> StoreOptions) -> Self {
        let disk = SimDisk::new(7);
        let clock = ManualClock::starting_at(NOW);
        let store = options(Self::options(&disk).clock(clock.clone()))
            .open(DIRECTORY)
            .unwrap();
        let stream = store.create_stream("clicks", shards).unwrap();
        Self {
            disk,
            clock,
            store,
            stream,
            put: Arc::default(),
        }
    }

    fn options(disk: &SimDisk) -> StoreOptions {
        StoreOptions::new()
            .segment_bytes(64 << 10)
            .min_journaled_shards(usize::MAX)
            .flusher_threads(1)
            .keeper(false)
            .disk(disk.clone())
    }

    /// A thread that does something with the store.
    fn thread(&self, run: impl FnOnce(&Self) + Send + 'static) -> Thread {
        let world = self.clone();
        shuttle::thread::spawn(move || run(&world))
    }

    /// A thread that puts records one after another, each of which must be acknowledged.
    fn putter(&self, name: &'static str, records: usize) -> Thread {
        self.thread(move |world| {
            for number in 0..records {
                world.put_one(name, number).unwrap();
            }
        })
    }

    fn put_one(&self, name: &str, number: usize) -> Result<PutResult> {
        let data = format!("{name} {number}").into_bytes();
        let put = self.stream.put(name, &data)?;
        self.acknowledge(put, data);
        Ok(put)
    }

    /// Puts a record into each shard at once.
    fn put_into_all(&self, name: &str, number: usize, shards: u32) -> Result<()> {
        let data = format!("{name} {number}").into_bytes();
        let step = u128::MAX / u128::from(shards) + 1;
        let records: Vec<_> = (0..shards)
            .map(|shard| PutRecord {
                explicit_hash_key: Some(HashKey::new(u128::from(shard) * step)),
                ..PutRecord::new(name, &data)
            })
            .collect();
        for put in self.stream.put_records(&records)? {
            self.acknowledge(put, data.clone());
        }
        Ok(())
    }

    fn acknowledge(&self, put: PutResult, data: Vec<u8>) {
        self.put.lock().push(Acknowledged { put, data });
    }

    /// The n-th sync of segments and of the journal from now on fails.
    fn fail_log_sync(&self, n: u64) {
        let faults = self.disk.faults();
        let _ = faults
            .on(".log")
            .fail_nth(Operation::SyncData, n, ErrorKind::Other);
    }

    /// Closes the store and checks its records, and those that it would have after a power cut before the close.
    fn close_and_check(self) {
        self.check(&self.stream, Unacknowledged::None);
        let cut = self.disk.image(LossMode::LoseAll);
        self.store.close().unwrap();
        self.check_reopened(&cut);
        self.check_reopened(&self.disk);
    }

    /// Opens the disk as after a power cut now, and checks that it has all acknowledged records, and perhaps more.
    fn cut_and_check(self) {
        self.check_reopened(&self.disk.crash(LossMode::LoseAll));
    }

    fn check_reopened(&self, disk: &SimDisk) {
        let store = Self::options(disk)
            .clock(self.clock.clone())
            .open(DIRECTORY)
            .unwrap();
        self.check(&store.stream("clicks").unwrap(), Unacknowledged::May);
        store.close().unwrap();
    }

    fn check(&self, stream: &Stream, unacknowledged: Unacknowledged) {
        let mut acknowledged: BTreeMap<SequenceNumber, Vec<u8>> = BTreeMap::new();
        for Acknowledged { put, data } in self.put.lock().iter() {
            let known = acknowledged.insert(put.sequence_number, data.clone());
            assert!(known.is_none(), "{} was given twice", put.sequence_number);
        }
        let mut last: BTreeMap<ShardId, SequenceNumber> = BTreeMap::new();
        for record in stream.reader(StartingPosition::TrimHorizon).unwrap() {
            let record = record.unwrap();
            let number = record.sequence_number;
            let before = last.insert(number.shard_id(), number);
            assert!(
                before.is_none_or(|before| before < number),
                "{number} comes behind {before:?}"
            );
            match acknowledged.remove(&number) {
                Some(data) => assert_eq!(data, record.data, "{number} is another record"),
                None => assert_eq!(
                    unacknowledged,
                    Unacknowledged::May,
                    "{number} was acknowledged to no caller"
                ),
            }
        }
        assert!(
            acknowledged.is_empty(),
            "acknowledged and not there: {acknowledged:?}"
        );
    }
}

/// Whether records may be there that were not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unacknowledged {
    None,
    May,
}

fn join(threads: impl IntoIterator<Item = Thread>) {
    for thread in threads {
        thread.join().unwrap();
    }
}
