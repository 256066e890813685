//! The disk without faults.

use std::collections::BTreeSet;
use std::io;

use super::*;

#[test]
fn a_removed_file_lives_on_in_its_handles() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"x");
    disk.remove_file(at("a")).unwrap();
    disk.sync_dir(at("")).unwrap();
    assert_eq!(file.map(1).unwrap().as_ref().as_ref(), b"x");
    disk.open(at("a"), OpenMode::Write).unwrap_err();
}

#[test]
fn a_file_that_no_crash_can_bring_back_takes_no_memory() {
    let disk = SimDisk::new(1);
    for _ in 0..3 {
        drop(durable(&disk, "a", b"x"));
        disk.remove_file(at("a")).unwrap();
        disk.sync_dir(at("")).unwrap();
    }
    let held = durable(&disk, "a", b"x");
    disk.remove_file(at("a")).unwrap();
    disk.sync_dir(at("")).unwrap();
    drop(held);
    assert!(disk.state().files.is_empty());
}

#[test]
fn a_lock_is_held_until_its_guard_is_dropped_or_the_disk_crashes() {
    let disk = SimDisk::new(1);
    let guard = disk.lock(at("LOCK")).unwrap();
    let process = std::process::id();
    assert!(matches!(disk.lock(at("LOCK")), Err(LockError::Held(Some(holder))) if holder == process));
    drop(guard);
    let _guard = disk.lock(at("LOCK")).unwrap();
    let _other = disk.lock(at("OTHER")).unwrap();
    disk.crash(LossMode::KeepAll).lock(at("LOCK")).unwrap();
}

#[test]
fn a_mapping_is_as_long_as_it_is_asked_to_be_and_no_longer_than_its_file() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"old");
    let mapping = file.map(2).unwrap();
    file.write_all_at(b"new", 2).unwrap();
    assert_eq!(mapping.as_ref().as_ref(), b"ol");
    assert_eq!(file.map(6).err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
#[should_panic = "changed at 1 under a mapping"]
fn a_write_under_a_mapping_does_not_pass() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"old");
    let _mapping = file.map(2).unwrap();
    let _ = file.write_all_at(b"new", 1);
}

#[test]
#[should_panic = "changed at 1 under a mapping"]
fn a_cut_under_a_mapping_does_not_pass_although_its_handle_is_closed() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"old");
    let mapping = file.map(2).unwrap();
    drop(file);
    let file = disk.open(at("a"), OpenMode::Write).unwrap();
    drop(mapping);
    file.set_len(1).unwrap();
    let _mapping = file.map(1).unwrap();
    file.set_len(2).unwrap();
    let _mapping = file.map(2).unwrap();
    let _ = file.set_len(1);
}

#[test]
#[should_panic = "it is open from before"]
fn a_write_to_a_renamed_file_under_an_older_handle_does_not_pass() {
    let disk = SimDisk::new(1);
    drop(durable(&disk, "a", b"old"));
    let _reader = disk.open(at("a"), OpenMode::Read).unwrap();
    disk.rename(at("a"), at("b")).unwrap();
    let file = disk.open(at("b"), OpenMode::Write).unwrap();
    let _ = file.write_all_at(b"new", 0);
}

#[test]
fn whoever_made_a_file_may_write_to_it_beside_its_readers() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"old");
    disk.rename(at("a"), at("b")).unwrap();
    file.sync_data().unwrap();
    let _reader = disk.open(at("b"), OpenMode::Read).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    let other = disk.open(at("b"), OpenMode::Write).unwrap();
    other.write_all_at(b"own", 0).unwrap();
}

#[test]
fn reads_and_writes_go_anywhere_and_holes_are_zeros() {
    let disk = SimDisk::new(1);
    let file = create(&disk, "a");
    file.write_all_at(b"ab", 3 * SECTOR - 1).unwrap();
    assert_eq!(file.len().unwrap(), 3 * SECTOR + 1);
    let mut buffer = [1; 4];
    file.read_exact_at(&mut buffer, 3 * SECTOR - 3).unwrap();
    assert_eq!(&buffer, b"\0\0ab");
    let past = file.read_exact_at(&mut buffer, 3 * SECTOR - 2).unwrap_err();
    assert_eq!(past.kind(), io::ErrorKind::UnexpectedEof);
    file.allocate(4 * SECTOR).unwrap();
    file.allocate(1).unwrap();
    assert_eq!(file.len().unwrap(), 4 * SECTOR);
}

#[test]
fn wrong_paths_and_modes_get_the_errors_of_a_real_disk() {
    let disk = SimDisk::new(1);
    durable_dir(&disk, "d");
    durable(&disk, "d/a", b"");
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    let open = |path, mode| kind(disk.open(at(path), mode).map(|_| ()));
    assert_eq!(open("b", OpenMode::Read), io::ErrorKind::NotFound);
    assert_eq!(open("b/c", OpenMode::CreateNew), io::ErrorKind::NotFound);
    assert_eq!(open("d/a", OpenMode::CreateNew), io::ErrorKind::AlreadyExists);
    assert_eq!(open("d", OpenMode::Write), io::ErrorKind::IsADirectory);
    assert_eq!(open("d/a/b", OpenMode::CreateNew), io::ErrorKind::NotADirectory);
    assert_eq!(open("../a", OpenMode::Read), io::ErrorKind::InvalidInput);
    assert_eq!(kind(disk.create_dir(at("/"))), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.create_dir(at("d"))), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(disk.remove_dir(at("d"))), io::ErrorKind::DirectoryNotEmpty);
    assert_eq!(kind(disk.remove_file(at("d"))), io::ErrorKind::IsADirectory);
    assert_eq!(
        kind(disk.list(at("d/a")).map(|_| ())),
        io::ErrorKind::NotADirectory
    );
    assert_eq!(kind(disk.sync_dir(at("e"))), io::ErrorKind::NotFound);
    let read_only = disk.open(at("/d/./a"), OpenMode::Read).unwrap();
    assert_eq!(
        kind(read_only.write_all_at(b"x", 0)),
        io::ErrorKind::PermissionDenied
    );
}

#[test]
fn many_threads_can_use_one_disk() {
    let disk = SimDisk::new(1);
    let file = create(&disk, "a");
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let file = &file;
            scope.spawn(move || {
                for round in 0..50 {
                    file.write_all_at(&[thread], round * 8 + u64::from(thread))
                        .unwrap();
                    file.sync_data().unwrap();
                }
            });
        }
    });
    let expected: Vec<u8> = (0..400).map(|index| (index % 8) as u8).collect();
    disk.sync_dir(at("")).unwrap();
    assert_eq!(bytes(&disk.crash(LossMode::LoseAll), "a").unwrap(), expected);
}

#[test]
fn random_numbers_come_from_the_seed_and_differ_after_a_crash() {
    let numbers = |seed| {
        let disk = SimDisk::new(seed);
        let before = disk.entropy().unwrap();
        [
            before,
            disk.entropy().unwrap(),
            disk.crash(LossMode::KeepAll).entropy().unwrap(),
        ]
    };
    assert_eq!(numbers(1), numbers(1));
    assert_eq!(BTreeSet::from(numbers(1)).len(), 3);
}

#[test]
fn what_a_file_releases_is_zeros_and_takes_no_room() {
    let disk = SimDisk::new(1);
    let file = disk.open(at("/f"), OpenMode::CreateNew).unwrap();
    file.allocate(100_000).unwrap();
    file.write_all_at(&[7; 50_000], 0).unwrap();
    file.sync_data().unwrap();
    let all = disk.used_bytes();
    // Within a block, the whole block stays.
    file.release(10_000).unwrap();
    assert_eq!(all - disk.used_bytes(), 100_000 - 12_288);
    assert_eq!(file.len().unwrap(), 100_000);
    let mut bytes = vec![1; 50_000];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes[..12_288].iter().all(|byte| *byte == 7));
    assert!(bytes[12_288..].iter().all(|byte| *byte == 0));
    // Bytes written there take room again.
    file.write_all_at(&[8], 20_000).unwrap();
    assert_eq!(all - disk.used_bytes(), 100_000 - 20_001);
    file.allocate(100_000).unwrap();
    assert_eq!(disk.used_bytes(), all);
}

#[test]
fn a_file_with_two_names_is_one_file() {
    let disk = SimDisk::new(1);
    durable(&disk, "a", b"bytes");
    let used = disk.used_bytes();
    disk.share(at("a"), at("b")).unwrap();
    assert_eq!(
        disk.share(at("a"), at("b")).unwrap_err().kind(),
        io::ErrorKind::AlreadyExists
    );
    assert_eq!(
        disk.share(at("c"), at("d")).unwrap_err().kind(),
        io::ErrorKind::NotFound
    );
    assert_eq!(paths(&disk), ["a", "b"]);
    assert_eq!(disk.used_bytes(), used);
    assert_eq!(disk.count_names(at("b")).unwrap(), 2);
    disk.rename(at("a"), at("c")).unwrap();
    disk.remove_file(at("b")).unwrap();
    assert_eq!(disk.count_names(at("c")).unwrap(), 1);
    assert_eq!(bytes(&disk, "c").unwrap(), b"bytes");
}

#[test]
#[should_panic = "although it has two names"]
fn a_write_to_a_file_with_two_names_is_found() {
    let disk = SimDisk::new(1);
    let file = durable(&disk, "a", b"bytes");
    disk.share(at("a"), at("b")).unwrap();
    let _ = file.write_all_at(b"other", 0);
}
