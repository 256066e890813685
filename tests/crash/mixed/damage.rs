//! What rots of a store or a copy, and its repair.

use std::path::{Path, PathBuf};

use anabranch::RecordNumber;
use anabranch::ShardId;
use anabranch::inspect::{Inspection, Loss, LostRecords, RepairAction, RepairPlan, RepairStep};
use anabranch::sim::SimDisk;

/// One bit of one file, as drawn: of however many files and bytes there are.
#[derive(Clone, Debug)]
pub struct Rot {
    pub file: u64,
    pub byte: u64,
    pub bit: u32,
}

impl Rot {
    /// A byte of the last file in a directory, if one is there.
    pub fn of_last_file(disk: &SimDisk, directory: &Path, byte: u64) -> Option<Self> {
        let files = files_of(disk, Path::new(directory.iter().next()?));
        let file = files.iter().rposition(|(path, _)| path.starts_with(directory))?;
        Some(Self {
            file: file as u64,
            byte,
            bit: (byte % 8) as u32,
        })
    }

    pub fn apply(&self, disk: &SimDisk, directory: &Path) {
        let files = files_of(disk, directory);
        let (path, bytes) = &files[(self.file % files.len() as u64) as usize];
        let flipped = disk.rot().flip_bit(path, self.byte % bytes, self.bit);
        flipped.unwrap();
    }
}

/// What a repair said that is lost.
#[derive(Debug, Default)]
pub struct Told {
    of_shards: Vec<(ShardId, LostRecords)>,
    has_lost_last: bool,
    pub has_lost_of_queue: bool,
}

impl Told {
    fn by(plan: &RepairPlan) -> Self {
        let mut told = Self::default();
        for step in &plan.steps {
            for loss in &step.loses {
                match (loss, step.log.as_ref()) {
                    (Loss::Records(lost), Some(log)) => match log.shard() {
                        Some(shard) => told.of_shards.push((shard, *lost)),
                        None => told.has_lost_of_queue = true,
                    },
                    (Loss::LastRecords, _) => {
                        told.has_lost_last = true;
                        told.has_lost_of_queue = true;
                    }
                    _ => panic!("one bit has rotten: {step}"),
                }
            }
        }
        told
    }

    pub fn has(&self, place: Option<(ShardId, RecordNumber)>) -> bool {
        let is_lost = |(shard, number)| {
            let mut of_shards = self.of_shards.iter();
            of_shards
                .any(|(of, lost)| *of == shard && lost.from <= number && lost.to.is_none_or(|to| number < to))
        };
        self.has_lost_last || place.is_some_and(is_lost)
    }
}

/// Repairs what is damaged, if anything is. Gives what is lost.
pub fn repair(disk: &SimDisk, directory: &Path) -> Option<Told> {
    if is_sound(disk, directory) {
        return None;
    }
    let plan = inspection(disk, directory).plan_repair(&mut |_| {}).unwrap();
    assert!(plan.hopeless.is_empty(), "hopeless: {:?}", plan.hopeless);
    // A crash leaves segments that no edit has named yet. Of one whose header page rots it cannot be told that it was one.
    let sets_records_aside =
        |step: &RepairStep| matches!(step.action, RepairAction::SetAside { records: Some(_) });
    assert!(
        !plan.steps.iter().any(sets_records_aside),
        "it sets records aside: {:?}",
        plan.steps
    );
    let told = Told::by(&plan);
    let repaired = plan.apply_and_set_aside().unwrap();
    let repaired = repaired.expect("it is damaged, and there is something to repair");
    let verification = repaired.verification;
    assert!(verification.is_sound(), "repaired: {:?}", verification.findings);
    Some(told)
}

pub fn is_sound(disk: &SimDisk, directory: &Path) -> bool {
    let verification = inspection(disk, directory).verify(&mut |_| {}).unwrap();
    verification.is_sound()
}

pub fn must_be_sound(disk: &SimDisk, directory: &Path) {
    let verification = inspection(disk, directory).verify(&mut |_| {}).unwrap();
    assert!(verification.is_sound(), "{:?}", verification.findings);
}

/// Only this store or copy is there then, and none of its files has another name.
pub fn remove_outside(disk: &SimDisk, directory: &Path) {
    for (path, _) in disk.rot().files() {
        if !path.starts_with(directory) {
            disk.rot().remove(&path).unwrap();
        }
    }
}

fn inspection(disk: &SimDisk, directory: &Path) -> Inspection {
    Inspection::of(directory).disk(disk.clone())
}

/// With the bytes of each up to the last that is not zero, but for files that have none.
fn files_of(disk: &SimDisk, directory: &Path) -> Vec<(PathBuf, u64)> {
    let files = disk.rot().files().into_iter().map(|(path, _)| path);
    let used = |path: &PathBuf| {
        let bytes = disk.rot().read(path).unwrap();
        let last = bytes.iter().rposition(|byte| *byte != 0);
        last.map(|last| last as u64 + 1)
    };
    files
        .filter(|path| path.starts_with(directory))
        .filter_map(|path| used(&path).map(|used| (path, used)))
        .collect()
}
