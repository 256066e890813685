//! Verifying and copying a store while a program has it. Whatever happens between two reads, a sound store is not
//! reported as damaged, and the copy has all records acknowledged before.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anabranch::inspect::{Inspection, Sharing};
use anabranch::sim::{Operation, SimDisk};
use anabranch::{
    HashKey, ManualClock, PutRecord, SequenceNumber, StartingPosition, Store, StoreOptions, Timestamp,
};

use super::repaired::Chance;
use crate::disturbed_disk::DisturbedDisk;
use crate::model::Violation;
use crate::watchdog::Case;

const DIRECTORY: &str = "store";

/// How many stores are verified while they are written to, unless `ANABRANCH_IN_USE_CASES` is set.
const CASES: u64 = 25;

/// Before how many reads of each verification something happens. No program writes for ever.
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
    Inspection::of(DIRECTORY)
        .disk(disturbed(&disk, &program))
        .back_up("backup", sharing, &mut |_| {})
        .map_err(|error| error.to_string())?;
    let (program, _) = &mut *program.lock().unwrap();
    // Neither the store nor the backup writes to shared files.
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
    let program = Arc::new(Mutex::new((program, DISTURBANCES)));
    let verification = Inspection::of(DIRECTORY)
        .disk(disturbed(&disk, &program))
        .verify(&mut |_| {})
        .map_err(|error| error.to_string())?;
    match verification.is_sound() {
        true => Ok(()),
        false => Err(format!("{:?}", verification.findings)),
    }
}

/// The program that has the store.
struct Program {
    store: Store,
    clock: ManualClock,
    chance: Chance,
    journaled_shards: usize,
    /// The numbers of all records that were put to the stream `clicks`.
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
            // The logs come to rest, and trimmed files are written again.
            2 | 3 => {
                self.clock.advance(Duration::from_secs(6));
                self.store.maintain().unwrap();
            }
            4 => {
                self.clock.advance(Duration::from_secs(25 * 3_600));
                self.store.maintain().unwrap();
            }
            // The manifest grows until it is rewritten.
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

/// A program's disk for a caller that only reads: before each of the caller's calls the program takes a step.
fn disturbed(disk: &SimDisk, program: &Arc<Mutex<(Program, u32)>>) -> DisturbedDisk {
    const CALLS: &[Operation] = &[
        Operation::Open,
        Operation::List,
        Operation::Kind,
        Operation::Share,
        Operation::Length,
    ];
    let program = program.clone();
    let step = move || {
        let (program, left) = &mut *program.lock().unwrap();
        if *left > 0 {
            *left -= 1;
            program.step();
        }
    };
    DisturbedDisk::new(disk.onlooker(), CALLS, step).within_reads()
}
