use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::disk::sim::{Calls, LossMode, Operation, SimDisk};

const DIRECTORIES: [&str; 3] = ["a", "b", "a/c"];
const NAMES: [&str; 3] = ["one", "two", "three"];

/// A call that changes something, with paths that often name something else by then.
#[derive(Clone, Debug)]
enum Op {
    CreateDir(PathBuf),
    RemoveDir(PathBuf),
    /// Opens so, writes what is to be written, and closes.
    Write(PathBuf, OpenMode, Vec<FileOp>),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Clone, Debug)]
enum FileOp {
    Write(usize, u64),
    SetLength(u64),
    Allocate(u64),
    Release(u64),
}

fn path() -> impl Strategy<Value = PathBuf> {
    let file = (0..=DIRECTORIES.len(), 0..NAMES.len()).prop_map(|(directory, name)| {
        let directory = DIRECTORIES.get(directory).copied().unwrap_or_default();
        Path::new(directory).join(NAMES[name])
    });
    prop_oneof![6 => file, 1 => directory()]
}

fn directory() -> impl Strategy<Value = PathBuf> {
    proptest::sample::select(DIRECTORIES.map(PathBuf::from).to_vec())
}

/// Places in files, many of them at the edges of pages.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(4096), Just(8192), Just(4095), 0..12_000u64]
}

fn file_op() -> impl Strategy<Value = FileOp> {
    let length = prop_oneof![Just(1usize), Just(4096), 1..9_000usize];
    prop_oneof![
        3 => (length, offset()).prop_map(|(length, at)| FileOp::Write(length, at)),
        1 => offset().prop_map(FileOp::SetLength),
        1 => offset().prop_map(FileOp::Allocate),
        1 => offset().prop_map(FileOp::Release),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let mode = prop_oneof![
        4 => Just(OpenMode::Write),
        1 => Just(OpenMode::Read),
        2 => Just(OpenMode::CreateNew),
        2 => Just(OpenMode::Truncate),
    ];
    let file_ops = proptest::collection::vec(file_op(), 0..4);
    prop_oneof![
        2 => directory().prop_map(Op::CreateDir),
        1 => directory().prop_map(Op::RemoveDir),
        6 => (path(), mode, file_ops).prop_map(|(path, mode, ops)| Op::Write(path, mode, ops)),
        2 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to)),
        2 => path().prop_map(Op::Remove),
    ]
}

/// The result of each call. `fill` distinguishes the bytes of one write from those of the others.
fn perform(disk: &dyn Disk, op: &Op, fill: u8) -> Vec<Result<(), ErrorKind>> {
    let outcome = |result: io::Result<()>| result.map_err(|error| error.kind());
    match op {
        Op::CreateDir(path) => vec![outcome(disk.create_dir(path))],
        Op::RemoveDir(path) => vec![outcome(disk.remove_dir(path))],
        Op::Rename(from, to) => vec![outcome(disk.rename(from, to))],
        Op::Remove(path) => vec![outcome(disk.remove_file(path))],
        Op::Write(path, mode, ops) => {
            let file = match disk.open(path, *mode) {
                Ok(file) => file,
                Err(error) => return vec![Err(error.kind())],
            };
            let perform = |op: &FileOp| match *op {
                FileOp::Write(length, at) => file.write_all_at(&vec![fill; length], at),
                FileOp::SetLength(length) => file.set_len(length),
                FileOp::Allocate(length) => file.allocate(length),
                FileOp::Release(from) => file.release(from),
            };
            ops.iter().map(|op| outcome(perform(op))).collect()
        }
    }
}

/// All contents of a disk: `None` for a directory.
fn everything(disk: &dyn Disk) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for name in disk.list(&directory).unwrap() {
            let path = directory.join(name);
            let bytes = match disk.kind(&path).unwrap() {
                EntryKind::Directory => {
                    directories.push(path.clone());
                    None
                }
                _ => Some(crate::disk::read_whole(disk, &path).unwrap()),
            };
            found.insert(path, bytes);
        }
    }
    found
}

proptest! {
    #[test]
    fn an_overlay_is_like_the_disk_below_had_it_been_written_to(
        before in proptest::collection::vec(op(), 0..30),
        ops in proptest::collection::vec(op(), 1..40),
        pieces in proptest::collection::vec((offset(), 1..9_000usize), 4),
    ) {
        let below = SimDisk::new(1);
        for (op, fill) in before.iter().zip(1..) {
            perform(&below, op, fill);
        }
        let model = below.image(LossMode::KeepAll);
        let was_below = everything(&below);
        below.make_read_only();
        let overlay = OverlayDisk::new(Arc::new(below.clone()));
        prop_assert_eq!(everything(&overlay), everything(&model));
        for (op, fill) in ops.iter().zip(100..) {
            prop_assert_eq!(perform(&overlay, op, fill), perform(&model, op, fill), "{:?}", op);
            prop_assert_eq!(everything(&overlay), everything(&model), "{:?}", op);
        }
        // Also in pieces, across the edges of written ranges.
        for (path, bytes) in everything(&model).into_iter().filter_map(|(path, bytes)| Some((path, bytes?))) {
            let file = overlay.open(&path, OpenMode::Read).unwrap();
            for (at, length) in &pieces {
                let mut piece = vec![0xee; *length];
                let expected = usize::try_from(*at).ok().and_then(|at| bytes.get(at..at + length));
                match file.read_exact_at(&mut piece, *at) {
                    Ok(()) => prop_assert_eq!(Some(&piece[..]), expected),
                    Err(error) => prop_assert_eq!((error.kind(), expected), (ErrorKind::UnexpectedEof, None)),
                }
            }
        }
        prop_assert_eq!(everything(&below), was_below);
        prop_assert_eq!(below.open_files(), 0);
    }
}

fn written(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let file = disk.open(Path::new(path), OpenMode::CreateNew).unwrap();
    file.write_all_at(bytes, 0).unwrap();
}

/// A disk with one file, and an overlay of it that has its lock.
fn one_file(bytes: &[u8]) -> (SimDisk, OverlayDisk, Box<dyn LockGuard>) {
    let below = SimDisk::new(1);
    written(&below, "file", bytes);
    written(&below, "LOCK", b"");
    below.make_read_only();
    let overlay = OverlayDisk::new(Arc::new(below.clone()));
    let lock = overlay.lock(Path::new("LOCK")).unwrap();
    (below, overlay, lock)
}

#[test]
fn all_handles_of_a_file_see_what_is_written_through_one() {
    let (_below, overlay, _lock) = one_file(&[1; 5_000]);
    let path = Path::new("file");
    let reader = overlay.open(path, OpenMode::Read).unwrap();
    let writer = overlay.open(path, OpenMode::Write).unwrap();
    assert_eq!(
        reader.write_all_at(&[0], 0).unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    writer.write_all_at(&[2; 10], 4_990).unwrap();
    drop(writer);
    let mut bytes = vec![0; 5_000];
    for file in [reader, overlay.open(path, OpenMode::Read).unwrap()] {
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(bytes, [vec![1; 4_990], vec![2; 10]].concat());
    }
}

#[test]
fn a_handle_keeps_its_file_when_the_name_goes_or_gets_another() {
    let (_below, overlay, _lock) = one_file(b"old");
    let file = overlay.open(Path::new("file"), OpenMode::Write).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    let other = overlay.open(Path::new("other"), OpenMode::CreateNew).unwrap();
    other.write_all_at(b"other", 0).unwrap();
    overlay.rename(Path::new("other"), Path::new("file")).unwrap();
    let mut bytes = [0; 3];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"new");
    overlay.remove_file(Path::new("file")).unwrap();
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"new");
    assert_eq!(other.len().unwrap(), 5);
}

#[test]
fn a_file_is_mapped_where_it_is_as_below_and_a_lock_keeps_writers_out() {
    let (below, overlay, lock) = one_file(&[1; 12_000]);
    let path = Path::new("file");
    let file = overlay.open(path, OpenMode::Write).unwrap();
    assert_eq!(file.map(12_000).unwrap().as_ref().as_ref(), vec![1; 12_000]);
    let too_long = file.map(12_001).err().unwrap();
    assert_eq!(too_long.kind(), ErrorKind::UnexpectedEof);
    file.write_all_at(&[2], 8_192).unwrap();
    assert_eq!(file.map(8_192).unwrap().as_ref().as_ref(), vec![1; 8_192]);
    let written_to = file.map(8_193).err().unwrap();
    assert_eq!(written_to.kind(), ErrorKind::Unsupported);
    drop((file, lock));

    let without_lock = OverlayDisk::new(Arc::new(below));
    let _no_lock = without_lock.lock(Path::new("not there")).unwrap();
    let file = without_lock.open(path, OpenMode::Read).unwrap();
    assert_eq!(file.map(1).err().unwrap().kind(), ErrorKind::Unsupported);
}

#[test]
fn reserved_room_takes_no_memory_and_reads_as_zeros() {
    const HUGE: u64 = 1 << 60;
    let (_below, overlay, _lock) = one_file(&[1; 10]);
    let file = overlay.open(Path::new("file"), OpenMode::Write).unwrap();
    file.allocate(HUGE).unwrap();
    file.set_len(2 * HUGE).unwrap();
    file.write_all_at(&[2], HUGE).unwrap();
    let mut bytes = [9; 3];
    file.read_exact_at(&mut bytes, HUGE - 1).unwrap();
    assert_eq!((bytes, file.len().unwrap()), ([0, 2, 0], 2 * HUGE));
    file.read_exact_at(&mut bytes, 8).unwrap();
    assert_eq!(bytes, [1, 1, 0]);
}

#[test]
fn a_bad_sector_below_is_no_matter_where_all_of_its_page_is_written() {
    let (below, overlay, _lock) = one_file(&[1; 12_288]);
    below.rot().spoil_sector("file", 5_000).unwrap();
    let file = overlay.open(Path::new("file"), OpenMode::Write).unwrap();
    let mut bytes = vec![0; 12_288];
    assert!(file.read_exact_at(&mut bytes, 0).is_err());
    // A part of a page cannot be written.
    assert!(file.write_all_at(&[2; 4_097], 0).is_err());
    file.read_exact_at(&mut bytes[..4_096], 0).unwrap();
    assert_eq!(bytes[..4_096], [1; 4_096]);
    file.write_all_at(&[2; 4_096], 4_096).unwrap();
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes, [[1; 4_096], [2; 4_096], [1; 4_096]].concat());
}

#[test]
fn a_frozen_overlay_refuses_changes_and_is_read_on() {
    let (_below, overlay, _lock) = one_file(b"old");
    let path = Path::new("file");
    let file = overlay.open(path, OpenMode::Write).unwrap();
    file.write_all_at(b"new", 0).unwrap();
    overlay.create_dir(Path::new("made")).unwrap();
    overlay.freeze();
    for refused in [
        file.write_all_at(b"x", 0),
        file.set_len(0),
        file.allocate(100),
        file.release(0),
        overlay.open(path, OpenMode::Write).map(drop),
        overlay.open(Path::new("x"), OpenMode::CreateNew).map(drop),
        overlay.create_dir(Path::new("x")),
        overlay.rename(path, Path::new("x")),
        overlay.remove_file(path),
        overlay.remove_dir(Path::new("made")),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    }
    assert_eq!(crate::disk::read_whole(&overlay, path).unwrap(), b"new");
    file.sync_data().unwrap();
    overlay.sync_dir(Path::new("")).unwrap();
}

#[test]
fn what_was_not_synced_below_is_and_nothing_else_happens_there() {
    let below = SimDisk::new(1);
    written(&below, "file", b"bytes");
    let names = below.image(LossMode::LoseAll);
    assert!(names.kind(Path::new("file")).is_err());
    let overlay = OverlayDisk::new(Arc::new(below.clone()));
    let before = below.calls(Calls::ALL);
    assert_eq!(before, 2, "opened and written to");
    overlay.sync_dir(Path::new("")).unwrap();
    let file = overlay.open(Path::new("file"), OpenMode::Read).unwrap();
    file.sync_data().unwrap();
    let durable = below.image(LossMode::LoseAll);
    assert_eq!(
        crate::disk::read_whole(&durable, Path::new("file")).unwrap(),
        b"bytes"
    );
    for operation in [
        Operation::Open,
        Operation::Length,
        Operation::SyncDir,
        Operation::SyncData,
    ] {
        let opened_before = u64::from(operation == Operation::Open);
        assert_eq!(below.calls(operation), 1 + opened_before, "{operation}");
    }
    assert_eq!(below.calls(Calls::ALL), before + 4);
}

#[test]
fn a_file_that_is_as_below_is_forgotten_with_its_last_handle() {
    let (below, overlay, _lock) = one_file(b"bytes");
    let path = Path::new("file");
    for mode in [OpenMode::Read, OpenMode::Write] {
        let both = [
            overlay.open(path, mode).unwrap(),
            overlay.open(path, mode).unwrap(),
        ];
        assert_eq!(overlay.shared.names.lock().0.len(), 1);
        drop(both);
        assert!(overlay.shared.names.lock().0.is_empty());
    }
    overlay
        .open(path, OpenMode::Write)
        .unwrap()
        .write_all_at(b"B", 0)
        .unwrap();
    assert_eq!(crate::disk::read_whole(&overlay, path).unwrap(), b"Bytes");
    // The lock.
    assert_eq!(below.open_files(), 1);
}

#[test]
fn links_are_followed_to_read_only_and_never_written_through() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("target"), b"bytes").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("target", &link).unwrap();
    let overlay = OverlayDisk::new(Arc::new(crate::disk::OsDisk));
    assert!(overlay.open(&link, OpenMode::Write).is_err());
    assert!(overlay.open(&link, OpenMode::Truncate).is_err());
    assert_eq!(overlay.kind(&link).unwrap(), EntryKind::Other);
    assert_eq!(crate::disk::read_whole(&overlay, &link).unwrap(), b"bytes");
    overlay.remove_file(&link).unwrap();
    assert_eq!(overlay.list(directory.path()).unwrap(), ["target"]);
    assert_eq!(std::fs::read_link(&link).unwrap(), Path::new("target"));
}
