//! A backup, crashed in each of its calls: the store is as it was, and the backup is complete or does not open. A file
//! that both have is never written to.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anabranch::disk::Disk;
use anabranch::inspect::{Inspection, Sharing};
use anabranch::sim::{Calls, LossMode, Operation, SimDisk};
use anabranch::{
    Copied, Error, HashKey, ManualClock, PutRecord, Result, ShardId, StartingPosition, Store, StoreOptions,
    Stream, Timestamp,
};

use crate::watchdog::Case;

const DIRECTORY: &str = "store";
const BACKUP: &str = "backups/monday";

/// Enough outcomes that, for each pair of changes, one outcome keeps only one of them.
const RANDOM_OUTCOMES: usize = 4;

fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 << 10)
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(1)
        .disk(disk.clone())
}

/// A record for each half of the hash keys.
fn put(stream: &Stream, number: u8) {
    let data = vec![number; 9_000];
    let puts = [HashKey::MIN, HashKey::MAX].map(|key| PutRecord::new("key", &data).explicit_hash_key(key));
    stream.put_records(&puts).unwrap();
}

/// A killed store with full and other segments, a split, and records that only the journal has.
fn killed() -> SimDisk {
    let disk = SimDisk::new(7);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 2).unwrap();
    (0..8).for_each(|number| put(&stream, number));
    stream.split_in_half(ShardId::new(0).unwrap()).unwrap();
    (8..10).for_each(|number| put(&stream, number));
    disk.crash(LossMode::KeepAll)
}

/// All records of the stream, sorted.
fn read(store: &Store) -> Vec<u8> {
    let stream = store.stream("clicks").unwrap();
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    let mut read: Vec<_> = reader.map(|record| record.unwrap().data[0]).collect();
    read.sort_unstable();
    read
}

fn twice(numbers: std::ops::Range<u8>) -> Vec<u8> {
    numbers.flat_map(|number| [number; 2]).collect()
}

fn is_sound(disk: &SimDisk, directory: &str) -> bool {
    let inspection = Inspection::of(directory).disk(disk.clone());
    inspection.verify(&mut |_| {}).unwrap().is_sound()
}

/// Whether there is a backup. If there is, checks that it is whole.
fn has_backup(disk: &SimDisk, expected: &[u8], what: &str) -> bool {
    match options(disk).read_only(true).open(BACKUP) {
        Ok(backup) => {
            assert_eq!(read(&backup), expected, "{what}");
            backup.close().unwrap();
            assert!(is_sound(disk, BACKUP), "{what}: the backup is damaged");
            true
        }
        Err(Error::UnfinishedCopy { .. }) => false,
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("{what}: {error}"),
    }
}

/// The names in the directory of the backup, if it exists.
fn names_in_backup(disk: &SimDisk) -> Vec<String> {
    let mut names = match disk.list(Path::new(BACKUP)) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        listed => listed.unwrap(),
    };
    names.sort();
    names
}

/// Checks that the directory has only a backup.
fn assert_is_tidy(disk: &SimDisk, what: &str) {
    let names = names_in_backup(disk);
    assert_eq!(names, ["CURRENT", "LOCK", "MANIFEST-000001", "streams"], "{what}");
}

/// Checks that the directory has nothing of a backup.
fn assert_is_removed(disk: &SimDisk, what: &str) {
    let mut names = names_in_backup(disk);
    names.retain(|name| name != "LOCK");
    assert!(names.is_empty(), "{what}: {names:?} are left");
}

/// Makes a backup, crashes in each call and in each mode, and then makes the backup again.
fn crash_in_each_call(disk: &SimDisk, expected: &[u8], back_up: fn(&SimDisk) -> Result<Copied>) {
    let outcomes = [LossMode::KeepAll, LossMode::LoseAll, LossMode::Prefix].into_iter();
    let outcomes = outcomes.chain([LossMode::Random; RANDOM_OUTCOMES]);
    for n in 1.. {
        let disk = disk.image(LossMode::KeepAll);
        disk.faults().freeze_nth(Calls::CHANGING, n);
        let copied = back_up(&disk);
        let is_over = !disk.is_frozen();
        for mode in outcomes.clone() {
            let what = format!("{mode:?}, call {n}");
            let _case = Case::begin(|| what.clone());
            let found = disk.crash(mode);
            let is_there = has_backup(&found, expected, &what);
            assert!(is_there || !is_over, "{what}: there is no backup");
            match back_up(&found) {
                Ok(_) => {
                    assert!(has_backup(&found, expected, &what), "{what}: there is none again");
                    assert_is_tidy(&found, &what);
                }
                Err(Error::NotEmpty { .. }) => assert!(is_there, "{what}: the leftover is in the way"),
                Err(error) => panic!("{what}: {error}"),
            }
            let store = options(&found).open(DIRECTORY).unwrap();
            assert_eq!(read(&store), expected, "{what}: the store has changed");
            store.close().unwrap();
            assert!(is_sound(&found, DIRECTORY), "{what}: the store is damaged");
        }
        if is_over {
            copied.unwrap();
            assert!(n > 30, "there are {n} calls");
            return;
        }
    }
}

#[test]
pub fn a_snapshot_that_a_crash_interrupts_leaves_the_store_and_no_half_of_a_copy() {
    let disk = killed();
    // Recovered before, so that the calls are those of the snapshot.
    options(&disk).open(DIRECTORY).unwrap().close().unwrap();
    crash_in_each_call(&disk, &twice(0..10), |disk| {
        let store = options(disk).open(DIRECTORY)?;
        let copied = store.snapshot(BACKUP)?;
        store.close()?;
        Ok(copied)
    });
}

#[test]
pub fn a_backup_that_a_crash_interrupts_leaves_the_store_and_no_half_of_a_copy() {
    for back_up in [back_up_shared, back_up_copied] {
        crash_in_each_call(&killed(), &twice(0..10), back_up);
    }
}

fn back_up_shared(disk: &SimDisk) -> Result<Copied> {
    let inspection = Inspection::of(DIRECTORY).disk(disk.clone());
    inspection.back_up(BACKUP, Sharing::WherePossible, &mut |_| {})
}

fn back_up_copied(disk: &SimDisk) -> Result<Copied> {
    let inspection = Inspection::of(DIRECTORY).disk(disk.clone());
    inspection.back_up(BACKUP, Sharing::Nothing, &mut |_| {})
}

/// Each call fails once, and the rest succeed: no file remains, or the files are no backup and do not hinder the next
/// one.
#[test]
fn a_backup_of_which_any_call_fails_can_be_made_again() {
    let killed = killed();
    for n in 1.. {
        let disk = killed.image(LossMode::KeepAll);
        let faults = disk.faults();
        faults.fail_nth(Calls::CHANGING, n, ErrorKind::StorageFull);
        let what = format!("call {n}");
        let _case = Case::begin(|| what.clone());
        let copied = back_up_shared(&disk);
        if faults.struck() == 0 {
            copied.unwrap();
            assert!(n > 30, "there are {n} calls");
            return;
        }
        match copied {
            // Other calls can make up for some failures.
            Ok(_) => assert!(has_backup(&disk, &twice(0..10), &what), "{what}"),
            Err(_) => {
                let is_there = has_backup(&disk, &twice(0..10), &what);
                if !is_there {
                    assert_is_removed(&disk, &what);
                }
                match back_up_shared(&disk) {
                    Ok(_) => assert!(has_backup(&disk, &twice(0..10), &what), "{what}"),
                    Err(Error::NotEmpty { .. }) => assert!(is_there, "{what}: the leftover is in the way"),
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
    }
}

/// A failure in the directory of the copy affects only the copy: the open store goes on.
#[test]
fn a_snapshot_of_which_any_call_fails_leaves_its_store_as_it_was() {
    let rested = killed();
    options(&rested).open(DIRECTORY).unwrap().close().unwrap();
    let of_copy = [("backups", Calls::CHANGING), (DIRECTORY, Operation::Share.into())];
    for ((part, calls), kind) in of_copy
        .into_iter()
        .flat_map(|of_copy| [ErrorKind::StorageFull, ErrorKind::Other].map(|kind| (of_copy, kind)))
    {
        for n in 1.. {
            let disk = rested.image(LossMode::KeepAll);
            let what = format!("{kind:?} in {part}, call {n}");
            let _case = Case::begin(|| what.clone());
            let store = options(&disk).open(DIRECTORY).unwrap();
            let faults = disk.faults();
            faults.on(part).fail_nth(calls, n, kind);
            let copied = store.snapshot(BACKUP);
            let is_over = faults.struck() == 0;
            faults.clear();

            put(&store.stream("clicks").unwrap(), 10);
            store.maintain().unwrap();
            assert_eq!(read(&store), twice(0..11), "{what}");
            let is_there = has_backup(&disk, &twice(0..10), &what);
            assert!(is_there || copied.is_err(), "{what}");
            if !is_there {
                assert_is_removed(&disk, &what);
                store.snapshot(BACKUP).unwrap();
                assert!(has_backup(&disk, &twice(0..11), &what), "{what}");
            }
            store.close().unwrap();
            assert!(is_sound(&disk, DIRECTORY), "{what}");
            if is_over {
                copied.unwrap();
                assert!(n > 1, "{what}");
                break;
            }
        }
    }
}

/// Each reading of the journal fails once: the backup has the records that only the journal has, or there is no backup.
#[test]
fn a_backup_that_could_not_read_the_journal_at_once_lacks_nothing() {
    let killed = killed();
    for calls in [
        Calls::from(Operation::Read),
        Operation::Open.into(),
        Operation::Length.into(),
    ] {
        for n in 1.. {
            let disk = killed.image(LossMode::KeepAll);
            let faults = disk.faults();
            faults.on("journal/").fail_nth(calls, n, ErrorKind::Other);
            let what = format!("{calls:?}, call {n}");
            let _case = Case::begin(|| what.clone());
            let copied = back_up_shared(&disk);
            if faults.struck() == 0 {
                copied.unwrap();
                assert!(n > 1, "{calls:?}: the journal was not read");
                break;
            }
            let is_there = has_backup(&disk, &twice(0..10), &what);
            assert_eq!(is_there, copied.is_ok(), "{what}: {copied:?}");
        }
    }
}

/// The simulated disk panics in a write to a file with two names.
#[test]
pub fn what_a_backup_shares_is_not_written_again() {
    for is_reopened in [false, true] {
        let disk = SimDisk::new(1);
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let options = options(&disk)
            .min_journaled_shards(usize::MAX)
            .clock(clock.clone());
        let store = options.open(DIRECTORY).unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        let data = |number: u8| vec![number; 19_000];
        // Three records fill a segment.
        for number in 0..6 {
            stream.put("key", &data(number)).unwrap();
        }
        clock.advance(Duration::from_secs(20 * 3_600));
        for number in 6..12 {
            stream.put("key", &data(number)).unwrap();
        }
        let copied = store.snapshot(BACKUP).unwrap();
        assert_eq!((copied.segments, copied.shared_segments), (4, 3));
        clock.advance(Duration::from_secs(5 * 3_600));
        store.maintain().unwrap();
        store.maintain().unwrap();
        let store = match is_reopened {
            false => store,
            true => {
                store.close().unwrap();
                options.open(DIRECTORY).unwrap()
            }
        };
        let other = store.create_stream("other", 1).unwrap();
        for number in 0..12 {
            other.put("key", &data(number)).unwrap();
        }
        store.close().unwrap();
        assert!(is_sound(&disk, BACKUP));
        let backup = options.clone().read_only(true).open(BACKUP).unwrap();
        assert!(read(&backup).ends_with(&[6, 7, 8, 9, 10, 11]));
        backup.close().unwrap();
    }
}

/// A crash came between the name in the pool and its removal.
#[test]
fn a_file_of_the_pool_that_a_backup_has_is_not_written_again() {
    let disk = SimDisk::new(1);
    let options = options(&disk).min_journaled_shards(usize::MAX);
    let store = options.open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    for number in 0..4 {
        stream.put("key", &vec![number; 19_000]).unwrap();
    }
    store.snapshot(BACKUP).unwrap();
    store.close().unwrap();
    let segment = format!("{BACKUP}/streams/1/shardId-000000000000/00000000000000000001.log");
    let pooled = Path::new("store/pool/9-65536.ready");
    disk.share(Path::new(&segment), pooled).unwrap();
    let store = options.open(DIRECTORY).unwrap();
    let other = store.create_stream("other", 1).unwrap();
    for number in 0..8 {
        other.put("key", &vec![number; 19_000]).unwrap();
    }
    store.close().unwrap();
    assert!(is_sound(&disk, BACKUP));
}
