//! A reader that is interrupted before each of its calls to the disk. Meanwhile its segments are trimmed and recycled,
//! and another stream writes to the recycled files.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::inspect::Inspection;
use anabranch::sim::{Operation, SimDisk};
use anabranch::{
    Error, ManualClock, ReadLimit, ShardIterator, StartingPosition, Store, StoreOptions, Stream, Timestamp,
};

use crate::disturbed_disk::DisturbedDisk;
use crate::watchdog::Case;

const DIRECTORY: &str = "store";
const HOUR: Duration = Duration::from_secs(3_600);
const RECORD_BYTES: usize = 19_000;

/// The bytes of the first segments' records, which expire; of the later ones; and of the other stream's.
const OLD: u8 = 1;
const NEW: u8 = 2;
const FOREIGN: u8 = 3;

/// Something that is done before one of the next calls of a reader.
#[derive(Clone, Default)]
struct Interruption(Arc<Mutex<Planned>>);

#[derive(Default)]
struct Planned {
    calls_left: u64,
    run: Option<Box<dyn FnOnce() + Send>>,
}

impl Interruption {
    const CALLS: &'static [Operation] = &[
        Operation::Open,
        Operation::Length,
        Operation::Read,
        Operation::Write,
        Operation::Map,
    ];

    fn of(&self, disk: SimDisk) -> DisturbedDisk {
        let interruption = self.clone();
        DisturbedDisk::new(disk, Self::CALLS, move || interruption.count_call())
    }

    fn plan(&self, call: u64, run: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Planned {
            calls_left: call,
            run: Some(Box::new(run)),
        };
    }

    /// Whether there were as many calls. From now on there is no interruption.
    fn has_happened(&self) -> bool {
        self.0.lock().unwrap().run.take().is_none()
    }

    fn count_call(&self) {
        let run = {
            let mut planned = self.0.lock().unwrap();
            planned.calls_left = planned.calls_left.saturating_sub(1);
            match planned.calls_left {
                0 => planned.run.take(),
                _ => None,
            }
        };
        if let Some(run) = run {
            run();
        }
    }
}

/// A store with the two streams.
struct Streams {
    disk: SimDisk,
    interruption: Interruption,
    clock: ManualClock,
    store: Store,
    read: Stream,
    other: Stream,
}

impl Streams {
    /// No file is in the cache of open files, and there is no index.
    fn new(map: bool) -> Self {
        let disk = SimDisk::new(1);
        let interruption = Interruption::default();
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let store = StoreOptions::new()
            .segment_bytes(64 * 1024)
            .max_open_segments(1)
            .map_sealed_segments(map)
            .min_journaled_shards(usize::MAX)
            .keeper(false)
            .flusher_threads(1)
            .clock(clock.clone())
            .disk(interruption.of(disk.clone()))
            .open(DIRECTORY)
            .unwrap();
        let [read, other] = ["read", "other"].map(|name| store.create_stream(name, 1).unwrap());
        put(&read, OLD, 6);
        clock.advance(20 * HOUR);
        put(&read, NEW, 6);
        put(&other, FOREIGN, 1);
        let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "index");
        for (path, _) in disk.rot().files().iter().filter(|(path, _)| is_index(path)) {
            disk.rot().remove(path).unwrap();
        }
        Self {
            disk,
            interruption,
            clock,
            store,
            read,
            other,
        }
    }

    fn interrupt(&self, call: u64) {
        let (clock, store, other) = (self.clock.clone(), self.store.clone(), self.other.clone());
        self.interruption.plan(call, move || {
            clock.advance(5 * HOUR);
            store.maintain().unwrap();
            put(&other, FOREIGN, 9);
        });
    }

    /// Checks that there is no damage.
    fn finish(self) {
        self.read.put("key", b"more").unwrap();
        self.store.maintain().unwrap();
        put(&self.other, FOREIGN, 9);
        self.store.close().unwrap();
        let verification = Inspection::of(DIRECTORY)
            .disk(self.disk.clone())
            .verify(&mut |_| {})
            .unwrap();
        assert!(verification.is_sound(), "{:?}", verification.findings);
    }
}

fn put(stream: &Stream, byte: u8, records: usize) {
    for _ in 0..records {
        stream.put("key", &[byte; RECORD_BYTES]).unwrap();
    }
}

/// Reads a shard to its end. Gives the numbers of old and new records that were read.
fn read(stream: &Stream, mut from: ShardIterator, records: usize) -> [usize; 2] {
    let limit = ReadLimit {
        records,
        bytes: 10 << 20,
    };
    let mut all = Vec::new();
    loop {
        let read = match stream.get_records(&from, &limit) {
            Err(Error::Trimmed { first_kept, .. }) => {
                from.next = first_kept.unwrap();
                continue;
            }
            read => read.unwrap(),
        };
        from = read.next.unwrap();
        if read.records.is_empty() {
            break;
        }
        all.extend(read.records);
    }
    // Compared after all reads, because the files of the first records may be recycled by then.
    let count = |byte| {
        all.iter()
            .filter(|record| record.data == [byte; RECORD_BYTES][..])
            .count()
    };
    let counts = [count(OLD), count(NEW)];
    assert_eq!(
        counts[0] + counts[1],
        all.len(),
        "some records are no records of this stream"
    );
    counts
}

/// Does something with a stream, interrupted in every call.
fn interrupt_each_call(map: bool, run: impl Fn(&Stream, ShardIterator)) {
    for call in 1.. {
        let _case = Case::begin(|| format!("mapped: {map}, interrupted in call {call}"));
        let streams = Streams::new(map);
        let shard = streams.read.describe().unwrap().shards[0].id;
        let start = streams
            .read
            .shard_iterator(shard, StartingPosition::TrimHorizon)
            .unwrap();
        streams.interrupt(call);
        run(&streams.read, start);
        let was_interrupted = streams.interruption.has_happened();
        streams.finish();
        if !was_interrupted {
            return;
        }
    }
}

#[test]
pub fn reads_that_are_interrupted_by_recycling_get_all_that_has_not_expired() {
    for (map, records) in [(true, 1_000), (true, 1), (false, 1_000), (false, 3), (false, 1)] {
        interrupt_each_call(map, |stream, start| {
            let [old, new] = read(stream, start, records);
            assert!(old <= 6);
            assert_eq!(new, 6);
        });
    }
}

#[test]
pub fn seeks_that_are_interrupted_by_recycling_find_what_has_not_expired() {
    for map in [true, false] {
        interrupt_each_call(map, |stream, start| {
            for hours in [0, 1] {
                let time = Timestamp::from_seconds(1_700_000_000).saturating_add(hours * HOUR);
                let position = StartingPosition::AtTimestamp(time);
                let found = stream.shard_iterator(start.shard, position).unwrap();
                assert_eq!(read(stream, found, 3)[1], 6);
            }
        });
    }
}

#[test]
pub fn a_reader_of_a_stream_that_is_interrupted_by_recycling_goes_on() {
    for map in [true, false] {
        interrupt_each_call(map, |stream, _| {
            let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
            let records: Vec<_> = reader.skip_trimmed().collect();
            let new = |record: &anabranch::Record| record.data == [NEW; RECORD_BYTES][..];
            assert_eq!(records.iter().flatten().filter(|record| new(record)).count(), 6);
            assert!(records.iter().all(Result::is_ok));
        });
    }
}
