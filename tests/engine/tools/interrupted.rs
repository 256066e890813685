//! An interrupted repair can be repeated, with the same result.

use anabranch::inspect::Inspection;
use anabranch::sim::{Calls, LossMode, SimDisk};
use anabranch::{SequenceNumber, StartingPosition};

use super::inspected_store::{RECORD_BYTES, options};

/// A killed store of eight records in three segments, and the numbers of the undamaged records. Damaged are the first
/// frame of the first segment, the second of the second, and the first of the last.
fn damaged() -> (SimDisk, Vec<SequenceNumber>) {
    let disk = SimDisk::new(1);
    let store = options().disk(disk.clone()).open("store").unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    let data = [1; RECORD_BYTES];
    let mut put: Vec<_> = (0..8)
        .map(|_| stream.put("key", &data).unwrap().sequence_number)
        .collect();
    let killed = disk.image(LossMode::KeepAll);
    let frame_bytes = (RECORD_BYTES as u64 + 64 + 16 + 3).next_multiple_of(8);
    let shard = "store/streams/1/shardId-000000000000";
    for (first, place) in [(1, 0), (4, 1), (7, 0)] {
        let path = format!("{shard}/{first:020}.log");
        killed
            .rot()
            .flip_bit(path, 4096 + place * frame_bytes + 100, 0)
            .unwrap();
    }
    for lost in [6, 4, 0] {
        put.remove(lost);
    }
    (killed, put)
}

/// Repairs a store, and gives whether all damage could be repaired.
fn repair(disk: &SimDisk) -> anabranch::Result<bool> {
    let plan = Inspection::of("store")
        .disk(disk.clone())
        .plan_repair(&mut |_| {})?;
    // A file that cannot be opened is left alone, and the others are repaired.
    let is_all = plan.hopeless.is_empty();
    plan.apply().map(|_| is_all)
}

fn check(disk: &SimDisk, expected: &[SequenceNumber], what: &str) {
    let verification = Inspection::of("store")
        .disk(disk.clone())
        .verify(&mut |_| {})
        .unwrap();
    assert!(verification.is_sound(), "{what}: {:?}", verification.findings);
    let store = options().disk(disk.clone()).open("store").unwrap();
    let stream = store.stream("clicks").unwrap();
    let put = stream.put("key", b"more").unwrap();
    let read: Vec<_> = stream
        .reader(StartingPosition::TrimHorizon)
        .unwrap()
        .map(|record| record.unwrap().sequence_number)
        .collect();
    assert_eq!(read, [expected, &[put.sequence_number]].concat(), "{what}");
}

#[test]
fn a_repair_that_a_crash_interrupts_anywhere_can_be_done_again() {
    let (disk, expected) = damaged();
    for mode in [LossMode::LoseAll, LossMode::KeepAll, LossMode::Random] {
        for n in 1.. {
            let disk = disk.image(LossMode::KeepAll);
            disk.faults().freeze_nth(Calls::CHANGING, n);
            let done = repair(&disk);
            let what = format!("{mode:?}, call {n}");
            let found = disk.crash(mode);
            if disk.faults().struck() == 0 {
                assert!(done.unwrap());
                check(&found, &expected, &what);
                assert!(n > 20, "{what}");
                break;
            }
            assert!(repair(&found).unwrap(), "{what}");
            check(&found, &expected, &what);
        }
    }
}

#[test]
fn a_repair_that_fails_anywhere_can_be_done_again() {
    let (disk, expected) = damaged();
    for n in 1.. {
        let disk = disk.image(LossMode::KeepAll);
        disk.faults()
            .fail_nth(Calls::CHANGING, n, std::io::ErrorKind::Other);
        let done = repair(&disk);
        let has_struck = disk.faults().struck() > 0;
        disk.faults().clear();
        if !done.unwrap_or(false) {
            assert!(repair(&disk).unwrap());
        }
        check(&disk, &expected, &format!("call {n}"));
        if !has_struck {
            assert!(n > 20);
            break;
        }
    }
}
