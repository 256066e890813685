//! Acknowledged records leave marks in several places: segments, the commit journal, the manifest. If one of them is
//! damaged, the others show it, and a repair restores what it can from them.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use anabranch::inspect::{DumpItem, DumpOptions, DumpWhat, Inspection, Loss, RepairAction};
use anabranch::sim::{LossMode, Operation, SimDisk};
use anabranch::{
    Error, HashKey, ManualClock, PutRecord, PutResult, StartingPosition, StoreOptions, Stream, Timestamp,
};

use crate::manifest::{MANIFEST_STRIPE, flip_in_both_copies};

pub const DIRECTORY: &str = "store";

pub fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(512 << 10)
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(1)
        .disk(disk.clone())
}

pub fn read(disk: &SimDisk, stream: &str) -> anabranch::Result<Vec<Vec<u8>>> {
    read_with(&options(disk), stream)
}

fn read_with(options: &StoreOptions, stream: &str) -> anabranch::Result<Vec<Vec<u8>>> {
    let store = options.open(DIRECTORY)?;
    let reader = store.stream(stream)?.reader(StartingPosition::TrimHorizon)?;
    reader.map(|record| Ok(record?.data.to_vec())).collect()
}

pub fn inspection(disk: &SimDisk) -> Inspection {
    Inspection::of(DIRECTORY).disk(disk.clone())
}

pub fn is_sound(disk: &SimDisk) -> bool {
    inspection(disk).verify(&mut |_| {}).unwrap().is_sound()
}

pub fn files(disk: &SimDisk, kind: &str) -> Vec<PathBuf> {
    let files = disk.rot().files().into_iter().map(|(path, _)| path);
    files
        .filter(|path| path.to_string_lossy().contains(kind) && !path.to_string_lossy().contains(".index"))
        .collect()
}

/// Damages the last edit of the manifest in both copies.
pub fn lose_last_edit(disk: &SimDisk) {
    let manifest = files(disk, "MANIFEST").pop().unwrap();
    let bytes = disk.rot().read(&manifest).unwrap();
    let last = (64..MANIFEST_STRIPE)
        .step_by(8)
        .rfind(|at| bytes[*at..].starts_with(b"AMFE"))
        .unwrap();
    flip_in_both_copies(disk, &manifest, last as u64 + 30);
}

fn put_to_both(stream: &Stream, data: &[u8]) -> Vec<PutResult> {
    let puts = [HashKey::MIN, HashKey::MAX].map(|key| PutRecord::new("key", data).explicit_hash_key(key));
    stream.put_records(&puts).unwrap()
}

/// The last edit resumed a log, or gave it a segment, and the records put since were only in the journal. A repair
/// forgot the edit and dropped the journal.
#[test]
pub fn a_repair_puts_back_what_only_the_journal_has_of_a_log_that_lost_its_last_edit() {
    for adds_segment in [false, true] {
        let disk = SimDisk::new(1);
        let store = options(&disk).open(DIRECTORY).unwrap();
        store.create_stream("other", 1).unwrap();
        store
            .create_stream("clicks", 1)
            .unwrap()
            .put("key", b"first")
            .unwrap();
        store.close().unwrap();
        let store = options(&disk).open(DIRECTORY).unwrap();
        let [other, clicks] = ["other", "clicks"].map(|name| store.stream(name).unwrap());
        for _ in 0..4 {
            other.put("key", &[0; 25_000]).unwrap();
        }
        if adds_segment {
            clicks.put("key", &[1; 30_000]).unwrap();
            clicks.put("key", &[1; 24_000]).unwrap();
        }
        clicks.put("key", &[7; 20_000]).unwrap();
        clicks.put("key", b"acknowledged too").unwrap();
        let disk = disk.crash(LossMode::KeepAll);
        let all = read(&disk.image(LossMode::KeepAll), "clicks").unwrap();
        assert_eq!(all.len(), if adds_segment { 5 } else { 3 });

        lose_last_edit(&disk);
        assert!(matches!(
            options(&disk).open(DIRECTORY),
            Err(Error::Corrupt { .. })
        ));
        assert!(!is_sound(&disk));
        let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
        let puts_back = |action: &RepairAction| *action == RepairAction::PutJournaledBack;
        assert!(
            plan.steps.iter().any(|step| puts_back(&step.action)),
            "{:?}",
            plan.steps
        );
        let repaired = plan.apply().unwrap().unwrap();
        assert!(repaired.verification.is_sound());
        assert_eq!(
            read(&disk, "clicks").unwrap(),
            all,
            "adds a segment: {adds_segment}"
        );
    }
}

/// The last edit named a segment of the journal, and a kill came. The records put since were in that segment alone.
#[test]
pub fn an_edit_of_the_journal_that_rots_is_missed_by_the_journals_segment() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 2).unwrap();
    put_to_both(&stream, &[0; 300]);
    let mut acknowledged = 2;
    while files(&disk, "journal/").len() < 2 {
        put_to_both(&stream, &[1; 300]);
        acknowledged += 2;
    }
    for _ in 0..40 {
        put_to_both(&stream, &[2; 300]);
        acknowledged += 2;
    }
    let disk = disk.crash(LossMode::KeepAll);
    assert_eq!(
        read(&disk.image(LossMode::KeepAll), "clicks").unwrap().len(),
        acknowledged
    );
    lose_last_edit(&disk);
    assert!(!is_sound(&disk));
    assert!(matches!(
        options(&disk).open(DIRECTORY),
        Err(Error::Corrupt { .. })
    ));
    let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
    let repaired = plan.apply().unwrap().unwrap();
    assert!(repaired.verification.is_sound());
    assert_eq!(read(&disk, "clicks").unwrap().len(), acknowledged);
}

/// The same, and the header page of that segment is damaged too, so that the segment does not show whose it is.
#[test]
fn a_repair_that_sets_aside_what_may_be_a_segment_of_the_journal_tells_that_the_last_records_may_be_lost() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 2).unwrap();
    let mut acknowledged = 0;
    while files(&disk, "journal/").len() < 2 {
        put_to_both(&stream, &[1; 300]);
        acknowledged += 2;
    }
    put_to_both(&stream, &[2; 300]);
    acknowledged += 2;
    let disk = disk.crash(LossMode::LoseAll);
    lose_last_edit(&disk);
    let journal = files(&disk, "journal/").pop().unwrap();
    disk.rot().flip_bit(&journal, 33, 0).unwrap();
    let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
    let sets_aside = plan.steps.iter().find(|step| step.path == journal);
    let sets_aside = sets_aside.unwrap_or_else(|| panic!("{:?}", plan.steps));
    assert_eq!(sets_aside.action, RepairAction::SetAside { records: None });
    assert_eq!(sets_aside.loses, [Loss::LastRecords]);
    let repaired = plan.apply_and_set_aside().unwrap().unwrap();
    assert!(repaired.verification.is_sound());
    // So they are.
    assert!(read(&disk, "clicks").unwrap().len() < acknowledged);
}

/// The opener after a kill drops the journal's segments. The edit of this was also taken to drop the segments that were
/// begun since. So when the edit of the first of these was lost, the records that only it had were dropped without an
/// error.
#[test]
pub fn an_edit_of_the_journal_that_rots_is_missed_although_an_earlier_journal_was_dropped() {
    let put_to_each = |stream: &Stream, data: &[u8]| {
        for shard in 0..4 {
            let put = PutRecord::new("key", data).explicit_hash_key(HashKey::new(shard << 126));
            stream.put_record(&put).unwrap();
        }
    };
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 4).unwrap();
    put_to_each(&stream, b"first");
    let disk = disk.crash(LossMode::KeepAll);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.stream("clicks").unwrap();
    put_to_each(&stream, &[7; 24_000]);
    assert_eq!(files(&disk, "journal/").len(), 2);

    let disk = disk.crash(LossMode::KeepAll);
    let mut all = read(&disk.image(LossMode::KeepAll), "clicks").unwrap();
    assert_eq!(all.len(), 8);
    for edit in edits(&disk, "SegmentAdded { log: CommitJournal") {
        let disk = disk.image(LossMode::KeepAll);
        let manifest = files(&disk, "MANIFEST").pop().unwrap();
        flip_in_both_copies(&disk, &manifest, edit + 40);
        assert!(!is_sound(&disk));
        let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
        let repaired = plan.apply().unwrap().unwrap();
        assert!(repaired.verification.is_sound());
        let mut read = read(&disk, "clicks").unwrap();
        all.sort();
        read.sort();
        assert!(
            all == read,
            "{} of {} records, without {edit}",
            read.len(),
            all.len()
        );
    }
}

/// The offsets of the lists of edits that have an edit whose text contains `like`.
pub fn edits(disk: &SimDisk, like: &str) -> Vec<u64> {
    let mut edits = Vec::new();
    let options = DumpOptions::of(DumpWhat::Manifest);
    let dumped = inspection(disk).dump(&options, &mut |item| {
        if let DumpItem::Edit(edit) = item
            && format!("{:?}", edit.edit).starts_with(like)
        {
            edits.push(edit.offset);
        }
        ControlFlow::Continue(())
    });
    dumped.unwrap();
    edits
}

/// The segments were removed, and no directory was synced.
#[test]
pub fn what_a_repair_sets_aside_stays_aside_when_power_is_lost() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"put").unwrap();
    let shard = stream.describe().unwrap().shards[0].id;
    stream.split_shard(shard, HashKey::MAX / 2).unwrap();
    stream.put("key", b"put").unwrap();
    store.close().unwrap();
    let split = edits(&disk, "Resharded")[0];
    let manifest = files(&disk, "MANIFEST").pop().unwrap();
    flip_in_both_copies(&disk, &manifest, split + 40);

    let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
    assert!(plan.sets_aside());
    let repaired = plan.apply_and_set_aside().unwrap().unwrap();
    assert!(repaired.verification.is_sound());
    let disk = disk.crash(LossMode::LoseAll);
    assert!(is_sound(&disk));
    assert_eq!(read(&disk, "clicks").unwrap(), [b"put"]);
}

/// The children of a lost split were set aside, and the children of the next split got their ids and so their numbers.
#[test]
pub fn a_shard_that_was_set_aside_is_not_made_again() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"put").unwrap();
    let parent = stream.describe().unwrap().shards[0].id;
    stream.split_shard(parent, HashKey::MAX / 2).unwrap();
    let set_aside = put_to_both(&stream, b"set aside");
    store.close().unwrap();
    let split = edits(&disk, "Resharded")[0];
    let manifest = files(&disk, "MANIFEST").pop().unwrap();
    flip_in_both_copies(&disk, &manifest, split + 40);

    let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
    assert!(plan.sets_aside());
    plan.apply_and_set_aside().unwrap();
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.stream("clicks").unwrap();
    stream.split_shard(parent, HashKey::MAX / 2).unwrap();
    for put in put_to_both(&stream, b"put") {
        let is_of =
            |gone: &PutResult| gone.shard_id == put.shard_id || gone.sequence_number == put.sequence_number;
        assert!(!set_aside.iter().any(is_of), "{put:?}");
    }
    store.close().unwrap();
    assert!(is_sound(&disk));
}

/// After a kill a log leaves 2^32 numbers out. If the edit of the segment that begins there was lost, and its header
/// page damaged, the next opener left out the same numbers, and gave the segment's numbers again.
#[test]
pub fn a_record_that_was_set_aside_keeps_its_number() {
    let disk = SimDisk::new(1);
    let unjournaled = |disk: &SimDisk| options(disk).min_journaled_shards(usize::MAX);
    let store = unjournaled(&disk).open(DIRECTORY).unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"kept")
        .unwrap();
    let disk = disk.crash(LossMode::KeepAll);
    let store = unjournaled(&disk).open(DIRECTORY).unwrap();
    let set_aside = store.stream("clicks").unwrap().put("key", b"set aside").unwrap();
    let disk = disk.crash(LossMode::KeepAll);
    let segment = files(&disk, "streams/").pop().unwrap();
    let named = *edits(&disk, "SegmentAdded { log: Shard").last().unwrap();
    flip_in_both_copies(&disk, files(&disk, "MANIFEST").pop().unwrap(), named + 40);
    disk.rot().flip_bit(&segment, 2_000, 0).unwrap();

    assert!(!is_sound(&disk));
    assert!(matches!(
        unjournaled(&disk).open(DIRECTORY),
        Err(Error::Corrupt { .. })
    ));
    let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
    let sets_aside = RepairAction::SetAside { records: None };
    assert!(
        plan.steps
            .iter()
            .any(|step| step.action == sets_aside && step.path == segment),
        "{:?}",
        plan.steps
    );
    let repaired = plan.apply_and_set_aside().unwrap().unwrap();
    assert!(repaired.verification.is_sound());
    let store = unjournaled(&disk).open(DIRECTORY).unwrap();
    let stream = store.stream("clicks").unwrap();
    let put = stream.put("key", b"later").unwrap();
    // The whole number has the second in it, which may be a later one by now.
    let number = |put: &PutResult| put.sequence_number.record_number();
    assert!(number(&put) > number(&set_aside), "{put:?}");
    store.close().unwrap();
    assert!(is_sound(&disk));
    assert_eq!(
        read_with(&unjournaled(&disk), "clicks").unwrap(),
        [&b"kept"[..], b"later"]
    );
}

/// A segment whose edit was lost was recognized only by its first frame. If that frame was damaged too, the store
/// opened and took the file for a leftover, and the records behind it were lost.
#[test]
pub fn a_lost_edit_is_missed_by_the_later_frames_of_a_segment_whose_first_is_damaged() {
    let disk = SimDisk::new(1);
    let unjournaled = |disk: &SimDisk| options(disk).min_journaled_shards(usize::MAX);
    let store = unjournaled(&disk).open(DIRECTORY).unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"kept")
        .unwrap();
    let disk = disk.crash(LossMode::KeepAll);
    let store = unjournaled(&disk).open(DIRECTORY).unwrap();
    let stream = store.stream("clicks").unwrap();
    for data in [b"first", b"secnd", b"third"] {
        stream.put("key", data).unwrap();
    }
    let disk = disk.crash(LossMode::KeepAll);
    let segment = files(&disk, "streams/").pop().unwrap();
    let named = *edits(&disk, "SegmentAdded { log: Shard").last().unwrap();
    flip_in_both_copies(&disk, files(&disk, "MANIFEST").pop().unwrap(), named + 40);
    let bytes = disk.rot().read(&segment).unwrap();
    let first = bytes.windows(5).position(|bytes| bytes == b"first").unwrap();
    disk.rot().flip_bit(&segment, first as u64, 0).unwrap();

    assert!(!is_sound(&disk));
    let refused = unjournaled(&disk).open(DIRECTORY).err();
    assert!(matches!(refused, Some(Error::Corrupt { .. })), "{refused:?}");
    let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
    let repaired = plan.apply_and_set_aside().unwrap().unwrap();
    assert!(repaired.verification.is_sound());
    assert_eq!(
        read_with(&unjournaled(&disk), "clicks").unwrap(),
        [&b"kept"[..], b"secnd", b"third"]
    );
}

/// A log that was recovered and not written to has its end recorded when it is idle and when the store is closed.
#[test]
pub fn rot_of_the_last_commit_is_noticed_once_a_recovered_log_has_rested() {
    for is_idle in [false, true] {
        let disk = SimDisk::new(1);
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let options = |disk: &SimDisk| {
            options(disk)
                .min_journaled_shards(usize::MAX)
                .clock(clock.clone())
        };
        let store = options(&disk).open(DIRECTORY).unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        for data in [b"first", b"secnd", b"third"] {
            stream.put("key", data).unwrap();
        }
        let disk = disk.crash(LossMode::KeepAll);
        let store = options(&disk).open(DIRECTORY).unwrap();
        let disk = match is_idle {
            true => {
                for _ in 0..3 {
                    store.maintain().unwrap();
                    clock.advance(Duration::from_secs(6));
                }
                disk.crash(LossMode::LoseAll)
            }
            false => {
                store.close().unwrap();
                disk
            }
        };
        assert!(is_sound(&disk));

        let rotten = disk.image(LossMode::KeepAll);
        let segment = files(&rotten, "streams/").pop().unwrap();
        let bytes = rotten.rot().read(&segment).unwrap();
        let third = bytes.windows(5).position(|bytes| bytes == b"third").unwrap();
        rotten.rot().flip_bit(&segment, third as u64, 0).unwrap();
        assert!(!is_sound(&rotten));
        assert!(matches!(
            read_with(&options(&rotten), "clicks"),
            Err(Error::Corrupt { .. })
        ));

        // The next records go into a new segment, since a torn frame may lie behind the end.
        let store = options(&disk).open(DIRECTORY).unwrap();
        store.stream("clicks").unwrap().put("key", b"fourth").unwrap();
        assert_eq!(files(&disk, "streams/").len(), 2);
        store.close().unwrap();
        assert!(is_sound(&disk));
        let all = read_with(&options(&disk), "clicks").unwrap();
        assert_eq!(all, [&b"first"[..], b"secnd", b"third", b"fourth"]);
    }
}

#[test]
pub fn a_store_that_was_closed_after_a_crash_opens_without_reading_its_logs() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 20).unwrap();
    for key in 0..200_u32 {
        stream.put(&key.to_string(), &[1; 2_000]).unwrap();
    }
    let disk = disk.crash(LossMode::KeepAll);
    let reads = || {
        let before = disk.calls(Operation::Read);
        let store = options(&disk).open(DIRECTORY).unwrap();
        let reads = disk.calls(Operation::Read) - before;
        store.close().unwrap();
        reads
    };
    let (after_crash, after_close) = (reads(), reads());
    assert!(
        after_close * 5 < after_crash,
        "{after_crash} reads, then {after_close}"
    );
}

/// The journal had frames only of shards that used it, but all shards that were being written to refused records.
#[test]
pub fn a_damaged_journal_says_nothing_of_shards_that_never_used_it() {
    let disk = SimDisk::new(1);
    let options = |disk: &SimDisk| options(disk).min_journaled_shards(2);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let both = store.create_stream("both", 2).unwrap();
    let alone = store.create_stream("alone", 1).unwrap();
    alone.put("key", b"alone").unwrap();
    for round in 0..3 {
        put_to_both(&both, &[round; 20]);
    }
    let disk = disk.crash(LossMode::LoseAll);
    let journal = files(&disk, "journal/").pop().unwrap();
    disk.rot().flip_bit(&journal, 4096 + 70, 0).unwrap();
    assert!(!is_sound(&disk));
    let store = options(&disk).open(DIRECTORY).unwrap();
    let [both, alone] = ["both", "alone"].map(|name| store.stream(name).unwrap());
    assert!(matches!(both.put("key", b"more"), Err(Error::Corrupt { .. })));
    alone.put("key", b"more").unwrap();
}

/// The records of a damaged frame of the journal were in no segment yet.
#[test]
fn a_repair_that_gives_up_a_damaged_journal_tells_that_the_last_records_are_lost() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 2).unwrap();
    let acknowledged: usize = (0..3).map(|round| put_to_both(&stream, &[round; 20]).len()).sum();
    let disk = disk.crash(LossMode::LoseAll);
    let journal = files(&disk, "journal/").pop().unwrap();
    disk.rot().flip_bit(&journal, 4096 + 70, 0).unwrap();
    let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
    let gives_up = plan
        .steps
        .iter()
        .find(|step| step.action == RepairAction::ForgetJournal);
    let gives_up = gives_up.unwrap_or_else(|| panic!("{:?}", plan.steps));
    assert_eq!(gives_up.loses, [Loss::LastRecords]);
    let repaired = plan.apply().unwrap().unwrap();
    assert!(repaired.verification.is_sound());
    // So they are.
    assert!(read(&disk, "clicks").unwrap().len() < acknowledged);
}

/// A repair made its plan for the segment before it put the journal's frames back, and then reported that all was well.
#[test]
pub fn a_cut_segment_of_which_the_journal_has_frames_is_repaired_at_once() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 2).unwrap();
    for round in 0..2 {
        put_to_both(&stream, &[round; 20_000]);
    }
    for round in 0..20 {
        put_to_both(&stream, &[round; 3_000]);
    }
    let killed = disk.crash(LossMode::KeepAll);
    let all = read(&killed.image(LossMode::KeepAll), "clicks").unwrap().len();
    let segment = files(&killed, "streams/").swap_remove(0);
    let length = killed.rot().read(&segment).unwrap().len() as u64;
    for cut in [0, 100, 4_096, 5_000, 30_000, 45_000, 50_000, 60_000, length - 1] {
        let disk = killed.image(LossMode::KeepAll);
        disk.rot().set_len(&segment, cut).unwrap();
        assert!(!is_sound(&disk), "cut to {cut} bytes");
        let plan = inspection(&disk).plan_repair(&mut |_| {}).unwrap();
        let repaired = plan.apply().unwrap().unwrap();
        assert!(repaired.verification.is_sound(), "cut to {cut} bytes");
        assert!(is_sound(&disk), "cut to {cut} bytes");
        // The journal has all records.
        assert_eq!(read(&disk, "clicks").unwrap().len(), all, "cut to {cut} bytes");
    }
    // The same holds if the file is missing.
    killed.rot().remove(&segment).unwrap();
    let plan = inspection(&killed).plan_repair(&mut |_| {}).unwrap();
    assert!(plan.apply().unwrap().unwrap().verification.is_sound());
    assert_eq!(read(&killed, "clicks").unwrap().len(), all);
}
