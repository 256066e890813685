//! Verifying and copying a store while a program has it: whatever happens between two reads, a sound store is not said
//! to be damaged, and the copy has what was acknowledged before.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::disk::{Disk, DiskFile, EntryKind, LockError, LockGuard, Mapping, OpenMode};
use anabranch::inspect::{Inspection, Sharing};
use anabranch::sim::SimDisk;
use anabranch::{
    HashKey, ManualClock, PutRecord, SequenceNumber, StartingPosition, Store, StoreOptions, Timestamp,
};

use super::repaired::Chance;
use crate::model::Violation;
use crate::watchdog::Case;

const DIRECTORY: &str = "store";

/// How many stores are verified while they are written to; `ANABRANCH_IN_USE_CASES` says otherwise.
const CASES: u64 = 25;

/// Reads in front of which something happens, for each verification. Nobody writes for ever.
const DISTURBANCES: u32 = 400;

#[test]
pub fn a_sound_store_that_changes_between_any_two_reads_is_not_said_to_be_damaged() {
    let cases = std::env::var("ANABRANCH_IN_USE_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    for seed in 0..cases {
        let _case = Case::begin(|| format!("seed {seed}"));
        verify_while_it_changes(seed).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn a_backup_of_a_store_that_changes_between_any_two_reads_has_all_that_was_acknowledged_before() {
    let cases = std::env::var("ANABRANCH_IN_USE_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    for seed in 0..cases {
        for sharing in [Sharing::WherePossible, Sharing::Nothing] {
            let _case = Case::begin(|| format!("seed {seed}, {sharing:?}"));
            back_up_while_it_changes(seed, sharing)
                .unwrap_or_else(|what| panic!("seed {seed}, {sharing:?}: {what}"));
        }
    }
}

fn back_up_while_it_changes(seed: u64, sharing: Sharing) -> Result<(), Violation> {
    let disk = SimDisk::new(seed);
    let mut program = Program::begin(&disk, seed);
    for _ in 0..30 {
        program.step();
    }
    let before = program.clicks.clone();
    let program = Arc::new(Mutex::new((program, DISTURBANCES)));
    let disturbed = Disturbed {
        disk: disk.onlooker(),
        program: program.clone(),
    };
    Inspection::of(DIRECTORY)
        .disk(disturbed)
        .back_up("backup", sharing, &mut |_| {})
        .map_err(|error| error.to_string())?;
    let (program, _) = &mut *program.lock().unwrap();
    // What is shared is written to neither by the store nor by the backup.
    program.step();
    let kept = program.read_clicks(&program.store);
    let backup = program
        .options(&disk)
        .open("backup")
        .map_err(|error| error.to_string())?;
    let copied = program.read_clicks(&backup);
    let put = backup.stream("clicks").unwrap().put("key", b"new").unwrap();
    backup.close().unwrap();
    let missing: Vec<_> = before
        .intersection(&kept)
        .filter(|number| !copied.contains(number))
        .collect();
    let is_new = !program.clicks.contains(&put.sequence_number);
    match missing.is_empty() && is_new {
        true => Ok(()),
        false => Err(format!(
            "of {} records {missing:?} are missing, a new one is new: {is_new}",
            before.len()
        )),
    }
}

fn verify_while_it_changes(seed: u64) -> Result<(), Violation> {
    let disk = SimDisk::new(seed);
    let mut program = Program::begin(&disk, seed);
    for _ in 0..30 {
        program.step();
    }
    let disturbed = Disturbed {
        disk: disk.onlooker(),
        program: Arc::new(Mutex::new((program, DISTURBANCES))),
    };
    let verification = Inspection::of(DIRECTORY)
        .disk(disturbed)
        .verify(&mut |_| {})
        .map_err(|error| error.to_string())?;
    match verification.is_sound() {
        true => Ok(()),
        false => Err(format!("{:?}", verification.findings)),
    }
}

/// Whoever has the store.
struct Program {
    store: Store,
    clock: ManualClock,
    chance: Chance,
    journaled_shards: usize,
    /// The numbers of all that was put to the stream `clicks`.
    clicks: BTreeSet<SequenceNumber>,
}

impl Program {
    fn begin(disk: &SimDisk, seed: u64) -> Self {
        let mut chance = Chance::of(seed);
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let journaled_shards = *chance.one_of(&[1, 2, usize::MAX]);
        let store = options(disk, &clock, journaled_shards).open(DIRECTORY).unwrap();
        store.create_stream("clicks", 2).unwrap();
        Self {
            store,
            clock,
            chance,
            journaled_shards,
            clicks: BTreeSet::new(),
        }
    }

    fn options(&self, disk: &SimDisk) -> StoreOptions {
        options(disk, &self.clock, self.journaled_shards)
    }

    fn read_clicks(&self, store: &Store) -> BTreeSet<SequenceNumber> {
        let stream = store.stream("clicks").unwrap();
        let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
        reader.map(|record| record.unwrap().sequence_number).collect()
    }

    fn step(&mut self) {
        let chance = &mut self.chance;
        match chance.below(40) {
            0 => {
                let _ = self.store.create_stream("views", 1);
            }
            1 => {
                let _ = self.store.stream("views").and_then(|stream| stream.delete());
            }
            // The logs rest, and what was trimmed is written again.
            2 | 3 => {
                self.clock.advance(Duration::from_secs(6));
                self.store.maintain().unwrap();
            }
            4 => {
                self.clock.advance(Duration::from_secs(25 * 3_600));
                self.store.maintain().unwrap();
            }
            // The manifest grows until it is written again.
            5 => {
                if self.store.create_stream("wide", 3_000).is_ok() {
                    self.store
                        .stream("wide")
                        .and_then(|stream| stream.delete())
                        .unwrap();
                }
            }
            choice => {
                let name = ["clicks", "clicks", "views"][choice % 3];
                let Ok(stream) = self.store.stream(name) else {
                    return;
                };
                let data = vec![1; *chance.one_of(&[10, 1_000, 9_000, 30_000])];
                let puts: Vec<_> = (0..1 + chance.below(4))
                    .map(|_| {
                        let key = HashKey::new(u128::from(chance.next()) << 75);
                        PutRecord::new("key", &data).explicit_hash_key(key)
                    })
                    .collect();
                let put = stream.put_records(&puts).unwrap();
                if name == "clicks" {
                    self.clicks.extend(put.iter().map(|put| put.sequence_number));
                }
            }
        }
    }
}

fn options(disk: &SimDisk, clock: &ManualClock, journaled_shards: usize) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 * 1024)
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(journaled_shards)
        .max_recycled_bytes(1 << 20)
        .clock(clock.clone())
        .disk(disk.clone())
}

/// A disk on which something happens before each call of whoever looks.
#[derive(Clone)]
struct Disturbed {
    disk: SimDisk,
    program: Arc<Mutex<(Program, u32)>>,
}

impl Disturbed {
    fn disturb(&self) {
        let (program, left) = &mut *self.program.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            program.step();
        }
    }
}

impl std::fmt::Debug for Disturbed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disturbed")
    }
}

impl Disk for Disturbed {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.disturb();
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(DisturbedFile {
            file,
            disk: self.clone(),
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.disturb();
        self.disk.list(directory)
    }

    fn kind(&self, path: &Path) -> io::Result<EntryKind> {
        self.disturb();
        self.disk.kind(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn share(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disturb();
        self.disk.share(from, to)
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
struct DisturbedFile {
    file: Arc<dyn DiskFile>,
    disk: Disturbed,
}

impl DiskFile for DisturbedFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.disturb();
        self.file.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        // Something is written between two pages of what is read at a time.
        let middle = buffer.len() / 2 / 4096 * 4096;
        let (first, second) = buffer.split_at_mut(middle);
        self.file.read_exact_at(first, offset)?;
        self.disk.disturb();
        self.file.read_exact_at(second, offset + middle as u64)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
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
        self.file.map(length)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.file.drop_cache()
    }
}
