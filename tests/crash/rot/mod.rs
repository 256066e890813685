//! Rot: every byte of a small store, and every file as a whole.
//!
//! Damage causes an error with file and offset, or lies in bytes without a meaning. No reader gets a wrong record, a
//! damaged shard serves the records before the damage and refuses writes, and other shards are not affected.

mod damage;
pub mod in_use;
mod in_use_elsewhere;
mod outcome;
pub mod repaired;
mod sound;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use damage::Damage;
use outcome::{Expected, Outcome};
use sound::SoundStore;

use crate::model::Violation;
use crate::watchdog::Case;

const THREADS: usize = 2;

type Counts = BTreeMap<Outcome, usize>;

/// Does each damage to a copy of the store and checks the outcome. Gives the first error.
fn try_all(sound: &SoundStore, damages: &[Vec<Damage>], threads: usize) -> Result<Counts, Violation> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Ok(Counts::new()));
    let work = || {
        let mut counts = Counts::new();
        while let Some(damage) = damages.get(next.fetch_add(1, Ordering::Relaxed)) {
            let _case = Case::begin(|| format!("{damage:?}"));
            match try_one(sound, damage) {
                Ok(outcome) => *counts.entry(outcome).or_default() += 1,
                Err(what) => {
                    next.store(damages.len(), Ordering::Relaxed);
                    *found.lock().unwrap() = Err(format!("{damage:?}: {what}"));
                    return;
                }
            }
        }
        if let Ok(all) = &mut *found.lock().unwrap() {
            counts
                .into_iter()
                .for_each(|(outcome, count)| *all.entry(outcome).or_default() += count);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    found.into_inner().unwrap()
}

fn try_one(sound: &SoundStore, damage: &[Damage]) -> Result<Outcome, Violation> {
    let expected = Expected::of(sound, damage);
    let disk = sound.copy();
    damage.iter().for_each(|damage| damage.apply(&disk));
    let examine = || expected.examine(&disk);
    let outcome = catch_unwind(AssertUnwindSafe(examine)).unwrap_or_else(|_| Err("it panics".to_owned()))?;
    if outcome == Outcome::ShardDamaged || outcome == Outcome::DoesNotOpen {
        // The damage is undone, and nothing was cut or overwritten meanwhile.
        damage.iter().for_each(|damage| damage.heal(sound, &disk));
        expected
            .examine_healed(&disk)
            .map_err(|what| format!("once it is healed: {what}"))?;
    }
    Ok(outcome)
}

/// Flips the bytes with a meaning at the beginning of each file, and some later ones, on this thread.
pub fn flip_some_bytes() -> Result<(), Violation> {
    let sound = SoundStore::new();
    let mut flips = damage::every_meaningful_byte(&sound);
    flips.retain(|flips| {
        flips
            .iter()
            .any(|flip| flip.offset() < 84 || flip.offset() % 23 == 0)
    });
    try_all(&sound, &flips, 1).map(drop)
}

/// Damages whole files, on this thread.
pub fn damage_files() -> Result<(), Violation> {
    let sound = SoundStore::new();
    for (kind, damages) in damage::of_whole_files(&sound) {
        try_all(&sound, &damages, 1).map_err(|what| format!("files {kind}: {what}"))?;
    }
    Ok(())
}

#[test]
fn every_flipped_byte_that_says_something_is_noticed_and_gives_no_wrong_record() {
    let sound = SoundStore::new();
    let flips = damage::every_meaningful_byte(&sound);
    let counts = try_all(&sound, &flips, THREADS).unwrap();
    let bytes: usize = flips.iter().map(Vec::len).sum();
    println!("{bytes} flips in {} stores: {counts:?}", flips.len());
}

#[test]
fn a_flipped_byte_that_says_nothing_changes_nothing() {
    let sound = SoundStore::new();
    let flips = damage::every_meaningless_byte(&sound);
    let counts = try_all(&sound, &flips, THREADS).unwrap();
    let bytes: usize = flips.iter().map(Vec::len).sum();
    println!("{bytes} flips in {} stores: {counts:?}", flips.len());
    assert_eq!(counts.keys().collect::<Vec<_>>(), [&Outcome::Harmless]);
}

#[test]
fn a_file_that_is_cut_extended_exchanged_removed_or_replaced_is_noticed_or_does_not_matter() {
    let sound = SoundStore::new();
    for (kind, damages) in damage::of_whole_files(&sound) {
        let counts = try_all(&sound, &damages, THREADS).unwrap();
        println!("{} files {kind}: {counts:?}", damages.len());
    }
}
