//! Following a store while a program writes to it. Whatever happens between two calls of the program or of the
//! follower, the follower sees a growing prefix of each shard, which includes all records acknowledged before it looks.
//! It never sees another record, and never damage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::sim::{Calls, LossMode, Operation, SimDisk};
use anabranch::{
    Durability, Error, HashKey, ManualClock, PutRecord, ReadLimit, Result, Retention, SequenceNumber,
    ShardFilter, ShardId, ShardIterator, StartingPosition, Store, StoreOptions, Stream, StreamId,
    StreamOptions, Timestamp,
};

use crate::between::Between;
use crate::rot::repaired::Chance;
use crate::watchdog::Case;

const DIRECTORY: &str = "store";

/// How many stores are followed in each way, unless `ANABRANCH_IN_USE_CASES` is set.
const CASES: u64 = 12;

const STEPS: usize = 60;

/// Calls of a follower before which the program does something.
const DISTURBANCES: u32 = 600;

fn cases() -> u64 {
    std::env::var("ANABRANCH_IN_USE_CASES").map_or(CASES, |cases| cases.parse().unwrap())
}

#[test]
fn after_each_call_of_the_writer_there_is_a_prefix_of_each_shard() {
    for seed in 0..cases() {
        let _case = Case::begin(|| format!("seed {seed}"));
        let disk = SimDisk::new(seed);
        let writer = Arc::new(Mutex::new(Writer::begin(&disk, seed)));
        let view = Arc::new(Mutex::new(View::of(&disk, &writer.lock().unwrap())));
        // From now on the follower acts between the calls.
        let between = {
            let view = view.clone();
            Between::calls_of(disk.clone(), move || view.lock().unwrap().look())
        };
        let mut writer = writer.lock().unwrap();
        writer.reopen_on(between.clone());
        for _ in 0..STEPS {
            writer.step();
            view.lock().unwrap().look_for(&writer.kept);
        }
        writer.reopen_on(between);
        view.lock().unwrap().look_for(&writer.kept);
        let view = view.lock().unwrap();
        assert_eq!(view.seen.values().map(Vec::len).sum::<usize>(), writer.kept.len());
    }
}

#[test]
fn before_each_call_of_the_follower_the_writer_goes_on() {
    for seed in 0..cases() {
        let _case = Case::begin(|| format!("seed {seed}"));
        let disk = SimDisk::new(seed);
        let mut writer = Writer::begin(&disk, seed);
        for _ in 0..20 {
            writer.step();
        }
        let writer = Arc::new(Mutex::new(writer));
        let mut left = DISTURBANCES;
        let disturbed = {
            let writer = writer.clone();
            Between::calls_of(disk.onlooker(), move || {
                left = left.saturating_sub(1);
                if left > 0 {
                    writer.lock().unwrap().step();
                }
            })
        };
        let clock = writer.lock().unwrap().clock.clone();
        let mut view = View::new(&StoreOptions::new().disk(disturbed), &clock);
        for _ in 0..40 {
            let acknowledged = writer.lock().unwrap().kept.clone();
            view.look_for(&acknowledged);
        }
        let kept = writer.lock().unwrap().kept.clone();
        view.look_for(&kept);
        assert_eq!(view.seen.values().map(Vec::len).sum::<usize>(), kept.len());
        let damaged = view.followed.stats().unwrap().damaged_shards;
        assert!(damaged.is_empty(), "{damaged:?}");
    }
}

/// The program is killed at any call, and its writes are in the page cache: a follower shows the records that the next
/// opener finds.
#[test]
fn what_is_shown_of_a_killed_writer_is_what_its_next_opener_finds() {
    for seed in 0..cases() {
        for call in (1..=400).step_by(9) {
            let _case = Case::begin(|| format!("seed {seed}, call {call}"));
            let disk = SimDisk::new(seed);
            let mut writer = Writer::begin(&disk, seed);
            disk.faults().freeze_nth(Calls::CHANGING, call);
            while !disk.is_frozen() {
                writer.step();
            }
            let killed = disk.crash(LossMode::KeepAll);
            let (calls, mut view) = (changing_calls(&killed), View::of(&killed, &writer));
            view.look_for(&writer.kept);
            assert_eq!(changing_calls(&killed), calls);
            let shown = view.seen.clone();
            let recovered = writer.options(&killed).open(DIRECTORY).unwrap();
            let found = View::new_of(recovered);
            assert_eq!(found, shown);
            // The follower goes on behind them with the next opener.
            view.look();
            assert_eq!(view.seen, shown);
        }
    }
}

fn changing_calls(disk: &SimDisk) -> u64 {
    let calls = Operation::CreateDir
        | Operation::Rename
        | Operation::RemoveFile
        | Operation::RemoveDir
        | Operation::Write
        | Operation::Allocate
        | Operation::SetLength
        | Operation::SyncData
        | Operation::SyncDir
        | Operation::Lock
        | Operation::Release;
    disk.calls(calls)
}

/// The stream of which nothing is deleted, and another one.
const KEPT: &str = "kept";
const OTHER: &str = "other";

/// The data of this record.
fn data_of(stream: &str, number: u32) -> Vec<u8> {
    let mut data = format!("{stream} {number}.").into_bytes();
    let lengths = [20, 700, 3_000, 9_000, 30_000];
    data.resize(lengths[number as usize % lengths.len()], number as u8);
    data
}

/// A program that has the store.
struct Writer {
    store: Option<Store>,
    clock: ManualClock,
    chance: Chance,
    durability: Durability,
    journaled_shards: usize,
    put: u32,
    /// The numbers of the records that were put to the stream of which nothing is deleted.
    kept: BTreeSet<u32>,
    checkpoints: u32,
}

impl Writer {
    fn begin(disk: &SimDisk, seed: u64) -> Self {
        let mut chance = Chance::of(seed);
        let mut writer = Self {
            store: None,
            clock: ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000)),
            durability: *chance.one_of(&[Durability::Synced, Durability::Synced, Durability::Written]),
            journaled_shards: *chance.one_of(&[1, 2, 4, usize::MAX]),
            chance,
            put: 0,
            kept: BTreeSet::new(),
            checkpoints: 0,
        };
        writer.reopen_on(disk.clone());
        let options = StreamOptions {
            shard_count: 3,
            retention: Retention::FOREVER,
            ..StreamOptions::default()
        };
        writer.store().create_stream_with(KEPT, options).unwrap();
        writer
    }

    fn options(&self, disk: &SimDisk) -> StoreOptions {
        self.options_on(disk.clone())
    }

    fn options_on(&self, disk: impl anabranch::disk::Disk) -> StoreOptions {
        StoreOptions::new()
            .segment_bytes(64 * 1024)
            .compaction_bytes(20_000)
            .keeper(false)
            .flusher_threads(1)
            .durability(self.durability)
            .min_journaled_shards(self.journaled_shards)
            .max_recycled_bytes(1 << 20)
            .clock(self.clock.clone())
            .disk(disk)
    }

    fn reopen_on(&mut self, disk: impl anabranch::disk::Disk) {
        if let Some(store) = self.store.take() {
            store.close().unwrap();
        }
        self.store = Some(self.options_on(disk).open(DIRECTORY).unwrap());
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Does something. Errors that come from the stopped disk change nothing here.
    fn step(&mut self) {
        let chance = &mut self.chance;
        let _ = match chance.below(30) {
            0 => self.store().create_stream(OTHER, 2).map(drop),
            1 => self.store().stream(OTHER).and_then(|stream| stream.delete()),
            2 | 3 => self.rest(),
            4 => self.trim_other(),
            5 => self.split(),
            6 => self.merge(),
            7..=10 => self.save_checkpoint(),
            // Two days, which the confirmed time follows an hour later.
            11 => {
                self.clock.advance(Duration::from_secs(48 * 3_600));
                self.rest()
            }
            12..=15 => self.put_to(OTHER),
            _ => self.put_to(KEPT),
        };
    }

    /// Brings logs to rest, and writes to freed files again.
    fn rest(&self) -> Result<()> {
        for _ in 0..3 {
            self.clock.advance(Duration::from_secs(6));
            self.store().maintain()?;
        }
        Ok(())
    }

    fn put_to(&mut self, name: &str) -> Result<()> {
        let stream = self.store().stream(name)?;
        let count = 1 + self.chance.below(6) as u32;
        let numbers = self.put..self.put + count;
        self.put += count;
        let records: Vec<_> = numbers
            .clone()
            .map(|number| (format!("key {number}"), data_of(name, number)))
            .collect();
        let records: Vec<_> = records
            .iter()
            .map(|(key, data)| {
                let hash_key = HashKey::new(u128::from(self.chance.next()) << 75);
                PutRecord::new(key, data).explicit_hash_key(hash_key)
            })
            .collect();
        let outcomes = stream.append(&records)?.each().wait();
        for (number, outcome) in numbers.zip(outcomes) {
            if outcome.is_ok() && name == KEPT {
                self.kept.insert(number);
            }
        }
        Ok(())
    }

    fn open_shards(&self) -> Result<(Stream, Vec<anabranch::Shard>)> {
        let stream = self.store().stream(KEPT)?;
        let mut shards = stream.shards(&ShardFilter::AtLatest)?;
        shards.sort_by_key(|shard| shard.hash_key_range.start());
        Ok((stream, shards))
    }

    fn split(&mut self) -> Result<()> {
        let (stream, shards) = self.open_shards()?;
        match shards.len() < 8 {
            true => stream.split_in_half(self.chance.one_of(&shards).id),
            false => Ok(()),
        }
    }

    fn merge(&mut self) -> Result<()> {
        let (stream, shards) = self.open_shards()?;
        let at = self.chance.below(shards.len());
        match (shards.get(at), shards.get(at + 1)) {
            (Some(first), Some(second)) if shards.len() > 2 => stream.merge_shards(first.id, second.id),
            _ => Ok(()),
        }
    }

    /// The manifest grows until it is rewritten.
    fn save_checkpoint(&mut self) -> Result<()> {
        let stream = self.store().stream(KEPT)?;
        let reader = stream.reader(StartingPosition::TrimHorizon)?;
        self.checkpoints += 1;
        let name = format!("reader {} {}", self.checkpoints % 5, "x".repeat(200));
        stream.reset_checkpoint(&name, &reader.checkpoint())
    }

    fn trim_other(&self) -> Result<()> {
        let stream = self.store().stream(OTHER)?;
        let reader = stream.reader(StartingPosition::Latest)?;
        stream.trim_to(&reader.checkpoint())?;
        self.rest()
    }
}

/// The records of a shard, each with its sequence number and the number in its data.
type Shown = Vec<(SequenceNumber, u32)>;

/// The records that a follower has seen.
struct View {
    followed: Store,
    /// Those of the stream of which nothing is deleted, by shard.
    seen: BTreeMap<(StreamId, ShardId), Shown>,
}

impl View {
    fn of(disk: &SimDisk, writer: &Writer) -> Self {
        Self::new(&StoreOptions::new().disk(disk.onlooker()), &writer.clock)
    }

    fn new(options: &StoreOptions, clock: &ManualClock) -> Self {
        let options = options.clone().keeper(false).clock(clock.clone());
        Self {
            followed: options.max_open_segments(6).follow(DIRECTORY).unwrap(),
            seen: BTreeMap::new(),
        }
    }

    /// All records that a store has of the stream of which nothing is deleted.
    fn new_of(store: Store) -> BTreeMap<(StreamId, ShardId), Shown> {
        let mut view = Self {
            followed: store,
            seen: BTreeMap::new(),
        };
        view.look();
        view.seen
    }

    /// Reads all records.
    fn look(&mut self) {
        for summary in self.followed.streams(None, 100).unwrap() {
            match self.look_at(&summary.name) {
                Ok(())
                | Err(
                    Error::StreamNotFound { .. }
                    | Error::ShardNotFound { .. }
                    | Error::StreamNotActive { .. },
                ) => {}
                Err(error) => panic!("{}: {error}", summary.name),
            }
        }
    }

    /// The same, and checks that these are among the records of the kept stream.
    #[track_caller]
    fn look_for(&mut self, kept: &BTreeSet<u32>) {
        self.look();
        let seen: BTreeSet<u32> = self.seen.values().flatten().map(|(_, number)| *number).collect();
        let missing: Vec<_> = kept.difference(&seen).collect();
        assert!(missing.is_empty(), "{missing:?} are missing");
    }

    fn look_at(&mut self, name: &str) -> Result<()> {
        let stream = self.followed.stream(name)?;
        for shard in stream.shards(&ShardFilter::FromTrimHorizon)? {
            let shown = read(&stream, name, shard.id)?;
            if name != KEPT {
                continue;
            }
            let seen = self.seen.entry((stream.id(), shard.id)).or_default();
            assert!(
                shown.starts_with(seen),
                "{}: {:?} and then {:?}",
                shard.id,
                seen,
                shown
            );
            *seen = shown;
        }
        Ok(())
    }
}

fn read(stream: &Stream, name: &str, shard: ShardId) -> Result<Shown> {
    const SOME: ReadLimit = ReadLimit {
        records: 40,
        bytes: 100_000,
    };
    let mut shown = Shown::new();
    let mut next = Some(stream.shard_iterator(shard, StartingPosition::TrimHorizon)?);
    while let Some(from) = next {
        let batch = match stream.get_records(&from, &SOME) {
            // Only records that are trimmed while they are read.
            Err(Error::Trimmed {
                first_kept: Some(first),
                ..
            }) if name != KEPT => {
                next = Some(ShardIterator { next: first, ..from });
                continue;
            }
            batch => batch?,
        };
        for record in &batch.records {
            let number = record.partition_key.as_str().strip_prefix("key ").unwrap();
            let number: u32 = number.parse().unwrap();
            assert!(record.data == data_of(name, number), "{shard}: another record");
            assert_eq!(record.sequence_number.shard_id(), shard);
            assert!(
                shown
                    .last()
                    .is_none_or(|(last, _)| *last < record.sequence_number)
            );
            shown.push((record.sequence_number, number));
        }
        next = batch.next.filter(|_| !batch.records.is_empty());
    }
    Ok(shown)
}
