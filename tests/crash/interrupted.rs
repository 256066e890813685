//! A reader that is interrupted before each of its calls to the disk, while what it reads is trimmed and recycled, and
//! another stream writes to the recycled files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::disk::{Disk, DiskFile, EntryKind, LockError, LockGuard, Mapping, OpenMode};
use anabranch::inspect::Inspection;
use anabranch::sim::SimDisk;
use anabranch::{
    Error, ManualClock, ReadLimit, ShardIterator, StartingPosition, Store, StoreOptions, Stream, Timestamp,
};

use crate::watchdog::Case;

const DIRECTORY: &str = "store";
const HOUR: Duration = Duration::from_secs(3_600);
const RECORD_BYTES: usize = 19_000;

/// What the first segments hold, which expire; what follows; and what the other stream puts.
const OLD: u8 = 1;
const NEW: u8 = 2;
const FOREIGN: u8 = 3;

/// A disk that does something before one of the calls to come.
#[derive(Clone, Debug)]
struct Interrupting {
    disk: SimDisk,
    interruption: Arc<Mutex<Interruption>>,
}

#[derive(Default)]
struct Interruption {
    calls_left: u64,
    run: Option<Box<dyn FnOnce() + Send>>,
}

impl std::fmt::Debug for Interruption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interruption(in {} calls)", self.calls_left)
    }
}

impl Interrupting {
    fn new(disk: SimDisk) -> Self {
        Self {
            disk,
            interruption: Arc::default(),
        }
    }

    fn interrupt(&self, call: u64, run: impl FnOnce() + Send + 'static) {
        *self.interruption.lock().unwrap() = Interruption {
            calls_left: call,
            run: Some(Box::new(run)),
        };
    }

    /// Whether there were as many calls. From here on there is no interruption.
    fn was_interrupted(&self) -> bool {
        self.interruption.lock().unwrap().run.take().is_none()
    }

    fn before_call(&self) {
        let run = {
            let mut interruption = self.interruption.lock().unwrap();
            interruption.calls_left = interruption.calls_left.saturating_sub(1);
            match interruption.calls_left {
                0 => interruption.run.take(),
                _ => None,
            }
        };
        if let Some(run) = run {
            run();
        }
    }
}

impl Disk for Interrupting {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.before_call();
        Ok(Arc::new(InterruptingFile {
            file: self.disk.open(path, mode)?,
            disk: self.clone(),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disk.list(directory)
    }

    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        self.disk.kind(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn count_names(&self, path: &Path) -> io::Result<u64> {
        self.disk.count_names(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.disk.sync_dir(directory)
    }

    fn entropy(&self) -> io::Result<u64> {
        self.disk.entropy()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        self.disk.lock(path)
    }

    fn lock_shared(&self, path: &Path) -> Result<Option<Box<dyn LockGuard>>, LockError> {
        self.disk.lock_shared(path)
    }

    fn probe_lock(&self, path: &Path) -> Result<(), LockError> {
        self.disk.probe_lock(path)
    }
}

#[derive(Debug)]
struct InterruptingFile {
    file: Arc<dyn DiskFile>,
    disk: Interrupting,
}

impl DiskFile for InterruptingFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.before_call();
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.before_call();
        self.file.read_exact_at(buffer, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.before_call();
        self.file.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn release(&self, from: u64) -> io::Result<()> {
        self.file.release(from)
    }

    fn map(&self, length: u64) -> io::Result<Box<dyn Mapping>> {
        self.disk.before_call();
        self.file.map(length)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}

/// A store with the two streams.
struct Streams {
    disk: Interrupting,
    clock: ManualClock,
    store: Store,
    read: Stream,
    other: Stream,
}

impl Streams {
    /// Nothing is in the cache of open files, and there is no index.
    fn new(map: bool) -> Self {
        let disk = Interrupting::new(SimDisk::new(1));
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let store = StoreOptions::new()
            .segment_bytes(64 * 1024)
            .max_open_segments(1)
            .map_sealed_segments(map)
            .min_journaled_shards(usize::MAX)
            .keeper(false)
            .flusher_threads(1)
            .clock(clock.clone())
            .disk(disk.clone())
            .open(DIRECTORY)
            .unwrap();
        let [read, other] = ["read", "other"].map(|name| store.create_stream(name, 1).unwrap());
        put(&read, OLD, 6);
        clock.advance(20 * HOUR);
        put(&read, NEW, 6);
        put(&other, FOREIGN, 1);
        let is_index = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "index");
        for (path, _) in disk.disk.rot().files().iter().filter(|(path, _)| is_index(path)) {
            disk.disk.rot().remove(path).unwrap();
        }
        Self {
            disk,
            clock,
            store,
            read,
            other,
        }
    }

    fn interrupt(&self, call: u64) {
        let (clock, store, other) = (self.clock.clone(), self.store.clone(), self.other.clone());
        self.disk.interrupt(call, move || {
            clock.advance(5 * HOUR);
            store.maintain().unwrap();
            put(&other, FOREIGN, 9);
        });
    }

    /// There is no damage.
    fn finish(self) {
        self.read.put("key", b"more").unwrap();
        self.store.maintain().unwrap();
        put(&self.other, FOREIGN, 9);
        self.store.close().unwrap();
        let verification = Inspection::of(DIRECTORY)
            .disk(self.disk.disk.clone())
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

/// Reads a shard to its end; gives how many old and new records that brought.
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
    // Looked at when all is read: the first ones may be recycled by now.
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
        let was_interrupted = streams.disk.was_interrupted();
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
