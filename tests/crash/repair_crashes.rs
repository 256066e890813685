//! A repair, crashed in each of its calls: the store after the crash is repaired again, and no record is lost that was
//! whole before. A repair that has returned is durable.

use std::path::{Path, PathBuf};

use anabranch::HashKey;
use anabranch::disk::Disk;
use anabranch::inspect::{Loss, RepairPlan};
use anabranch::sim::{Calls, LossMode, SimDisk};

use crate::acknowledged::{DIRECTORY, edits, files, inspection, is_sound, lose_last_edit, options, read};
use crate::manifest::flip_in_both_copies;

const SHARD: &str = "store/streams/1/shardId-000000000000";

/// Enough outcomes that, for each pair of changes, one outcome keeps only one of them.
const RANDOM_OUTCOMES: usize = 12;

/// A store that needs a repair.
struct Damaged {
    disk: SimDisk,
    /// The records of the stream `clicks` after a repair.
    kept: Vec<Vec<u8>>,
    /// A file that the repair moves aside.
    moved_aside: Option<PathBuf>,
    /// Whether edits of the manifest are lost.
    has_lost_edits: bool,
}

impl Damaged {
    /// Repairs the store, and crashes in each call and in each mode.
    fn crash_in_each_call(&self) {
        let outcomes = [LossMode::KeepAll, LossMode::LoseAll, LossMode::Prefix].into_iter();
        let outcomes = outcomes.chain([LossMode::Random; RANDOM_OUTCOMES]);
        for n in 1.. {
            let disk = self.disk.image(LossMode::KeepAll);
            let plan = plan(&disk);
            disk.faults().freeze_nth(Calls::CHANGING, n);
            let repaired = plan.apply_and_set_aside();
            let is_over = !disk.is_frozen();
            for mode in outcomes.clone() {
                let found = disk.crash(mode);
                let what = format!("{mode:?}, call {n}");
                match is_over {
                    true => assert!(is_sound(&found), "{what}: it was repaired"),
                    false => self.repair_again(&found, &what),
                }
                self.check(&found, &what);
                self.go_on(&found, &what);
            }
            if is_over {
                repaired.unwrap();
                assert!(n > 15, "there are {n} calls");
                return;
            }
        }
    }

    fn repair_again(&self, disk: &SimDisk, what: &str) {
        let plan = plan(disk);
        assert!(plan.hopeless.is_empty(), "{what}: {:?}", plan.hopeless);
        let lost_edits = |loss: &Loss| matches!(loss, Loss::Edits { .. });
        let mut losses = plan.steps.iter().flat_map(|step| &step.loses);
        assert!(
            self.has_lost_edits || !losses.any(lost_edits),
            "{what}: {:?}",
            plan.steps
        );
        plan.apply_and_set_aside().unwrap();
    }

    /// Checks that the repaired store takes a record, behind all others.
    fn go_on(&self, disk: &SimDisk, what: &str) {
        let store = options(disk).open(DIRECTORY).unwrap();
        store.stream("clicks").unwrap().put("key", b"new").unwrap();
        store.close().unwrap();
        assert!(
            is_sound(disk),
            "{what}: damaged by what was put behind the repair"
        );
        let read = read(disk, "clicks").unwrap_or_else(|error| panic!("{what}, gone on with: {error}"));
        let (last, kept) = read.split_last().unwrap();
        assert!(
            last == b"new" && *kept == self.kept,
            "{what}: records are lost behind the repair"
        );
    }

    fn check(&self, disk: &SimDisk, what: &str) {
        if let Some(path) = &self.moved_aside {
            let bytes = self.disk.rot().read(path).unwrap();
            let name = path.strip_prefix(DIRECTORY).unwrap();
            let mut copies = files(disk, "damaged/").into_iter();
            let is_whole = |copy: PathBuf| copy.ends_with(name) && disk.rot().read(&copy).unwrap() == bytes;
            assert!(copies.any(is_whole), "{what}: there is no copy");
        }
        assert!(is_sound(disk), "{what}: still damaged");
        let read = read(disk, "clicks").unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(
            read == self.kept,
            "{what}: {} of {} records are there",
            read.len(),
            self.kept.len()
        );
    }
}

fn plan(disk: &SimDisk) -> RepairPlan {
    inspection(disk).plan_repair(&mut |_| {}).unwrap()
}

/// A killed store of a stream with one frame for each record and six frames in each segment; and these records.
fn killed(records: u8) -> (SimDisk, Vec<Vec<u8>>) {
    let disk = SimDisk::new(1);
    let options = options(&disk)
        .min_journaled_shards(usize::MAX)
        .segment_bytes(64 << 10);
    let store = options.open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    let all: Vec<_> = (0..records).map(|byte| vec![byte; RECORD_BYTES]).collect();
    for data in &all {
        stream.put("key", data).unwrap();
    }
    let mut reader = stream.reader(anabranch::StartingPosition::TrimHorizon).unwrap();
    reader.next();
    reader.save_checkpoint("lost").unwrap();
    reader.save_checkpoint("kept").unwrap();
    (disk.crash(LossMode::LoseAll), all)
}

const RECORD_BYTES: usize = 9_000;

fn damage_frame(disk: &SimDisk, first: u64, place: u64) {
    let frame_bytes = (RECORD_BYTES as u64 + 64 + 16 + 3).next_multiple_of(8);
    let at = 4096 + place * frame_bytes + 100;
    disk.rot()
        .flip_bit(format!("{SHARD}/{first:020}.log"), at, 0)
        .unwrap();
}

/// Two frames of each segment are damaged, with others before, between and behind them.
fn with_damaged_frames(has_lost_edits: bool) -> Damaged {
    let (disk, mut kept) = killed(12);
    for first in [1, 7] {
        damage_frame(&disk, first, 1);
        damage_frame(&disk, first, 3);
    }
    kept.retain(|data| ![1, 3, 7, 9].contains(&data[0]));
    if has_lost_edits {
        let lost = edits(&disk, "CheckpointSaved")[0];
        flip_in_both_copies(&disk, files(&disk, "MANIFEST").pop().unwrap(), lost + 40);
    }
    Damaged {
        disk,
        kept,
        moved_aside: None,
        has_lost_edits,
    }
}

#[test]
pub fn a_repair_of_damaged_frames_that_a_crash_interrupts_loses_nothing() {
    with_damaged_frames(false).crash_in_each_call();
}

/// The new segments of the first repair are then taken for segments whose edits the manifest lost.
#[test]
pub fn a_repair_of_damaged_frames_and_lost_edits_that_a_crash_interrupts_loses_nothing() {
    with_damaged_frames(true).crash_in_each_call();
}

/// No frame behind the last one shows that it was durable; only the frame that follows the damaged one does.
#[test]
pub fn a_repair_of_the_frame_before_the_last_that_a_crash_interrupts_loses_nothing() {
    let (disk, mut kept) = killed(6);
    damage_frame(&disk, 1, 4);
    kept.remove(4);
    let damaged = Damaged {
        disk,
        kept,
        moved_aside: None,
        has_lost_edits: false,
    };
    damaged.crash_in_each_call();
}

/// The manifest has the end of the log, and the frame before that end is damaged.
#[test]
pub fn a_repair_of_the_last_frame_of_a_log_with_an_end_that_a_crash_interrupts_loses_nothing() {
    let (disk, mut kept) = killed(4);
    options(&disk).open(DIRECTORY).unwrap().close().unwrap();
    damage_frame(&disk, 1, 3);
    kept.remove(3);
    let damaged = Damaged {
        disk,
        kept,
        moved_aside: None,
        has_lost_edits: false,
    };
    damaged.crash_in_each_call();
}

#[test]
pub fn a_repair_of_missing_directories_that_a_crash_interrupts_loses_nothing() {
    let (disk, mut kept) = killed(7);
    // The last segment is whole, but in the wrong place.
    kept.clear();
    for file in files(&disk, "streams/") {
        disk.rot().remove(&file).unwrap();
    }
    let disk_as_is: &dyn Disk = &disk;
    for directory in [SHARD, "store/streams/1"] {
        for name in disk_as_is.list(Path::new(directory)).unwrap() {
            disk_as_is.remove_file(&Path::new(directory).join(name)).unwrap();
        }
        disk_as_is.remove_dir(Path::new(directory)).unwrap();
    }
    disk_as_is.sync_dir(Path::new("store/streams")).unwrap();
    let damaged = Damaged {
        disk,
        kept,
        moved_aside: None,
        has_lost_edits: false,
    };
    damaged.crash_in_each_call();
}

#[test]
pub fn a_repair_that_sets_aside_and_that_a_crash_interrupts_loses_nothing() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"put").unwrap();
    let shard = stream.describe().unwrap().shards[0].id;
    stream.split_shard(shard, HashKey::MAX / 2).unwrap();
    stream.put("key", b"put").unwrap();
    store.close().unwrap();
    let split = edits(&disk, "Resharded")[0];
    flip_in_both_copies(&disk, files(&disk, "MANIFEST").pop().unwrap(), split + 40);
    let mut segments = files(&disk, "streams/").into_iter();
    let moved_aside = segments.rfind(|path| !path.starts_with(SHARD));
    let damaged = Damaged {
        disk,
        kept: vec![b"put".to_vec()],
        moved_aside,
        has_lost_edits: true,
    };
    damaged.crash_in_each_call();
}

#[test]
pub fn a_repair_that_puts_back_what_the_journal_has_and_that_a_crash_interrupts_loses_nothing() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"first").unwrap();
    store.close().unwrap();
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.stream("clicks").unwrap();
    stream.put("key", &[7; 20_000]).unwrap();
    stream.put("key", b"acknowledged too").unwrap();
    let disk = disk.crash(LossMode::LoseAll);
    let kept = read(&disk.image(LossMode::KeepAll), "clicks").unwrap();
    assert_eq!(kept.len(), 3);
    lose_last_edit(&disk);
    let damaged = Damaged {
        disk,
        kept,
        moved_aside: None,
        has_lost_edits: true,
    };
    damaged.crash_in_each_call();
}
