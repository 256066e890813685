//! Faults, damage, and the record of calls.

use std::collections::BTreeSet;
use std::io;

use super::*;
use crate::disk::sim::{Calls, FailedSync, Operation};

#[test]
fn a_failed_sync_marks_bytes_clean_that_are_lost_all_the_same() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"old");
    file.write_all_at(b"newer", 0).unwrap();
    disk.faults()
        .fail_nth(Operation::SyncData, 1, io::ErrorKind::Other);
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    for mode in POWER_LOSS {
        assert_eq!(bytes(&disk.image(mode), "a").unwrap(), b"old");
    }
    let restarted = disk.crash(LossMode::KeepAll);
    assert_eq!(bytes(&restarted, "a").unwrap(), b"newer");
    restarted
        .open(at("a"), OpenMode::Read)
        .unwrap()
        .drop_cache()
        .unwrap();
    assert_eq!(bytes(&restarted, "a").unwrap(), b"old");
}

#[test]
fn dropping_the_cache_keeps_what_is_dirty() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"old");
    file.write_all_at(b"newer", 0).unwrap();
    file.drop_cache().unwrap();
    assert_eq!(bytes(&disk, "a").unwrap(), b"newer");
    file.sync_data().unwrap();
    assert_eq!(bytes(&disk.crash(LossMode::LoseAll), "a").unwrap(), b"newer");
}

#[test]
fn what_a_failed_sync_leaves_can_be_chosen() {
    let after = |outcome| {
        let sectors = |seed| {
            let disk = SimDisk::new(seed);
            let file = durable(&disk, "a", &[b'o'; 2 * SECTOR_BYTES]);
            file.write_all_at(&[b'n'; 2 * SECTOR_BYTES], 0).unwrap();
            disk.faults()
                .after_failed_sync(outcome)
                .fail_nth(Operation::SyncData, 1, io::ErrorKind::Other);
            file.sync_data().unwrap_err();
            file.sync_data().unwrap();
            let bytes = bytes(&disk.crash(LossMode::LoseAll), "a").unwrap();
            (bytes[0], bytes[SECTOR_BYTES])
        };
        (0..50).map(sectors).collect::<BTreeSet<_>>()
    };
    assert_eq!(after(FailedSync::KeepsDirty), BTreeSet::from([(b'n', b'n')]));
    assert_eq!(after(FailedSync::MarksClean), BTreeSet::from([(b'o', b'o')]));
    assert_eq!(after(FailedSync::MarksSomeClean).len(), 4);
}

#[test]
fn a_sync_after_a_failed_one_makes_later_writes_durable() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", &[b'o'; 2 * SECTOR_BYTES]);
    disk.faults()
        .fail_nth(Operation::SyncData, 1, io::ErrorKind::Other);
    file.write_all_at(b"lost", 0).unwrap();
    file.sync_data().unwrap_err();
    file.write_all_at(b"kept", SECTOR).unwrap();
    file.sync_data().unwrap();
    let after = bytes(&disk.crash(LossMode::LoseAll), "a").unwrap();
    assert_eq!(
        (&after[..4], &after[SECTOR_BYTES..][..4]),
        (&b"oooo"[..], &b"kept"[..])
    );
}

#[test]
fn the_nth_call_of_its_kind_and_path_fails_and_does_nothing() {
    let disk = SimDisk::new(1);
    let (a, b) = (create(&disk, "a"), create(&disk, "b"));
    disk.faults()
        .on("b")
        .fail_nth(Operation::Write, 2, io::ErrorKind::Interrupted);
    for _ in 0..3 {
        a.write_all_at(b"x", 0).unwrap();
    }
    b.write_all_at(b"x", 0).unwrap();
    assert_eq!(
        b.write_all_at(b"yy", 0).unwrap_err().kind(),
        io::ErrorKind::Interrupted
    );
    assert_eq!(bytes(&disk, "b").unwrap(), b"x");
    b.write_all_at(b"z", 0).unwrap();
    assert_eq!(disk.faults().struck(), 1);
}

#[test]
fn a_fault_finds_an_open_file_by_the_name_it_has_by_now() {
    let disk = SimDisk::new(1);
    let file = create(&disk, "/prepared");
    disk.rename(at("/prepared"), at("/segment")).unwrap();
    disk.faults()
        .on("/segment")
        .fail_nth(Operation::Write, 1, io::ErrorKind::Other);
    file.write_all_at(b"x", 0).unwrap_err();
    disk.remove_file(at("/segment")).unwrap();
    disk.faults()
        .on("/prepared")
        .fail_nth(Operation::Write, 1, io::ErrorKind::Other);
    file.write_all_at(b"x", 0).unwrap_err();
}

#[test]
fn a_fault_from_the_nth_call_on_lasts_until_cleared() {
    let disk = SimDisk::new(1);
    disk.faults().fail_from_nth(
        Operation::CreateDir | Operation::SyncDir,
        2,
        io::ErrorKind::StorageFull,
    );
    disk.create_dir(at("a")).unwrap();
    disk.sync_dir(at("")).unwrap_err();
    assert_eq!(
        disk.create_dir(at("b")).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    disk.list(at("")).unwrap();
    disk.faults().clear();
    disk.create_dir(at("b")).unwrap();
}

#[test]
fn a_probability_fails_some_calls_and_the_same_ones_for_the_same_seed() {
    let failures = |seed| {
        let disk = SimDisk::new(seed);
        disk.faults()
            .fail_with_probability(Calls::ALL, 0.5, io::ErrorKind::Other);
        (0..64).map(|_| disk.list(at("")).is_err()).collect::<Vec<_>>()
    };
    assert_eq!(failures(1), failures(1));
    assert_ne!(failures(1), failures(2));
    let failed = failures(1).into_iter().filter(|failed| *failed).count();
    assert!((1..64).contains(&failed));
}

#[test]
fn a_short_write_leaves_a_leading_part_and_fails() {
    let lengths = |seed| {
        let disk = SimDisk::new(seed);
        let file = create(&disk, "a");
        disk.faults().short_write_nth(1, io::ErrorKind::Other);
        file.write_all_at(b"abc", 0).unwrap_err();
        let written = bytes(&disk, "a").unwrap();
        assert!(b"abc".starts_with(&written));
        written.len()
    };
    assert_eq!(
        (0..50).map(lengths).collect::<BTreeSet<_>>(),
        BTreeSet::from([0, 1, 2])
    );
}

#[test]
fn a_disk_frozen_in_the_nth_call_refuses_all_later_ones() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"x");
    disk.faults().freeze_nth(Calls::ALL, 2);
    file.write_all_at(b"y", 0).unwrap();
    let calls = disk.calls(Calls::ALL);
    file.sync_data().unwrap_err();
    assert!(disk.is_frozen());
    file.read_exact_at(&mut [0], 0).unwrap_err();
    disk.list(at("")).unwrap_err();
    assert!(matches!(disk.lock(at("LOCK")), Err(LockError::Io(_))));
    assert_eq!(disk.calls(Calls::ALL), calls + 1);
    let file = disk
        .crash(LossMode::KeepAll)
        .open(at("a"), OpenMode::Read)
        .unwrap();
    assert_eq!(file.map(1).unwrap().as_ref().as_ref(), b"y");
}

#[test]
fn the_call_in_flight_when_a_disk_freezes_is_done_or_not_and_a_write_in_part() {
    let frozen_in = |operation, seed| {
        let disk = SimDisk::new(seed);
        disk.faults().freeze_nth(operation, 1);
        let _ = disk
            .open(at("a"), OpenMode::CreateNew)
            .and_then(|file| file.write_all_at(b"ab", 0));
        bytes(&disk.crash(LossMode::KeepAll), "a")
    };
    let outcomes = |operation| {
        (0..50)
            .map(|seed| frozen_in(operation, seed))
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(outcomes(Operation::Open), BTreeSet::from([None, Some(vec![])]));
    let parts = [b"".to_vec(), b"a".to_vec(), b"ab".to_vec()].map(Some);
    assert_eq!(outcomes(Operation::Write), BTreeSet::from(parts));
}

#[test]
fn a_full_disk_writes_what_fits_and_has_room_again_after_a_removal() {
    let disk = SimDisk::new(1);
    let (a, b) = (create(&disk, "a"), create(&disk, "b"));
    let by_names = disk.used_bytes();
    disk.set_capacity(by_names + 10);
    a.allocate(8).unwrap();
    assert_eq!(
        b.write_all_at(b"1234", 0).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(bytes(&disk, "b").unwrap(), b"12");
    a.write_all_at(b"12345678", 0).unwrap();
    assert_eq!(a.allocate(9).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(
        b.write_all_at(b"x", 1000).unwrap_err().kind(),
        io::ErrorKind::StorageFull
    );
    assert_eq!(b.len().unwrap(), 2);
    a.set_len(6).unwrap();
    b.write_all_at(b"1234", 0).unwrap();
    disk.remove_file(at("a")).unwrap();
    assert_eq!(disk.used_bytes(), by_names + 10);
    drop(a);
    assert_eq!(disk.used_bytes(), by_names + 4);
}

#[test]
fn a_full_disk_has_no_room_for_a_name_that_needs_another_block_of_its_directory() {
    let disk = SimDisk::new(1);
    durable_dir(&disk, "d");
    create(&disk, "a");
    disk.set_capacity(disk.used_bytes());
    let full = |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    full(disk.open(at("d/a"), OpenMode::CreateNew).map(drop));
    full(disk.create_dir(at("d/e")));
    full(disk.rename(at("a"), at("d/a")));
    // In the root's block there is room.
    disk.rename(at("a"), at("b")).unwrap();
    disk.create_dir(at("e")).unwrap();
    disk.set_capacity(disk.used_bytes() + 1024);
    disk.rename(at("b"), at("d/a")).unwrap();
}

#[test]
fn no_more_files_are_open_than_the_limit_allows() {
    const EMFILE: i32 = 24;
    let disk = SimDisk::new(1);
    let first = create(&disk, "a");
    disk.set_open_file_limit(2);
    let second = disk.open(at("a"), OpenMode::Read).unwrap();
    let refused = |result: io::Result<()>| assert_eq!(result.unwrap_err().raw_os_error(), Some(EMFILE));
    refused(disk.open(at("a"), OpenMode::Read).map(drop));
    refused(disk.sync_dir(at("")));
    refused(disk.list(at("")).map(drop));
    drop(second);
    disk.sync_dir(at("")).unwrap();
    assert_eq!((disk.open_files(), disk.refused_for_open_files()), (1, 3));
    drop(first);
}

#[test]
fn rot_edits_durable_bytes_behind_open_files() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"abc");
    durable(&disk, "b", b"123");
    let rot = disk.rot();
    rot.flip_bit("a", 1, 0).unwrap();
    assert_eq!(file.map(3).unwrap().as_ref().as_ref(), b"acc");
    rot.flip_bit("a", 3, 0).unwrap_err();
    rot.overwrite("a", 2, b"xy").unwrap();
    rot.swap("a", "b").unwrap();
    rot.set_len("b", 2).unwrap();
    rot.set_len("b", 3).unwrap();
    rot.duplicate("b", "c").unwrap();
    rot.remove("b").unwrap();
    rot.put("d", b"new").unwrap();
    let after = disk.crash(LossMode::LoseAll);
    assert_eq!(paths(&after), ["a", "c", "d"]);
    assert_eq!(bytes(&after, "a").unwrap(), b"123");
    assert_eq!(bytes(&after, "c").unwrap(), b"ac\0");
    assert_eq!(bytes(&after, "d").unwrap(), b"new");
}

#[test]
fn files_are_listed_by_path_with_their_lengths() {
    let disk = SimDisk::new(1);
    durable_dir(&disk, "d");
    durable(&disk, "d/b", b"12");
    durable(&disk, "a", b"1");
    let expected = [("a".into(), 1), ("d/b".into(), 2)];
    assert_eq!(disk.rot().files(), expected);
}

#[test]
fn calls_are_counted_by_kind_and_traced() {
    let disk = SimDisk::new(1);
    disk.create_dir(at("d")).unwrap();
    disk.start_trace();
    disk.faults()
        .fail_nth(Operation::Write, 1, io::ErrorKind::StorageFull);
    let file = create(&disk, "d/a");
    file.write_all_at(b"abc", 9).unwrap_err();
    file.sync_data().unwrap();
    disk.rename(at("d/a"), at("b")).unwrap();
    assert_eq!(disk.calls(Calls::ALL), 5);
    assert_eq!(disk.calls(Operation::SyncData | Operation::Rename), 2);
    assert_eq!(disk.calls(Calls::READING), 0);
    let trace: Vec<_> = disk.trace().iter().map(ToString::to_string).collect();
    assert_eq!(
        trace,
        [
            "    2 open        d/a CreateNew",
            "    3 write       d/a 3 bytes at 9 -> no storage space",
            "    4 sync_data   d/a",
            "    5 rename      d/a to b",
        ]
    );
}
