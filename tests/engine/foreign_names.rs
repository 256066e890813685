//! Files of other programs in a store's directories are kept, links are not followed, and nothing fails because of
//! them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anabranch::{ManualClock, StartingPosition, Store, StoreOptions, Timestamp};
use anabranch_harness::files::copy_tree;

const SHARD: &str = "shardId-000000000000";

fn options() -> StoreOptions {
    StoreOptions::new()
        .keeper(false)
        .segment_bytes(64 << 10)
        .max_recycled_bytes(0)
}

/// Files and directories that no store makes, in every directory of one.
fn litter(directory: &Path) -> Vec<PathBuf> {
    let mut planted = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            planted.extend(litter(&path));
        }
    }
    for name in [
        "lost+found",
        "7",
        "shardId-000000000099.backup",
        "00000000000000000001.log.d",
    ] {
        let path = directory.join(name);
        if !path.exists() {
            fs::create_dir(&path).unwrap();
            fs::write(path.join("kept"), b"kept").unwrap();
            planted.push(path.join("kept"));
        }
    }
    for name in [
        ".nfs0000000000000001",
        "notes.txt",
        "5-65536.ready.old",
        "1.log",
        "x.mending",
    ] {
        let path = directory.join(name);
        fs::write(&path, b"kept").unwrap();
        planted.push(path);
    }
    planted
}

fn logs_below(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| match path.is_dir() {
            true => logs_below(&path),
            false => usize::from(path.extension().is_some_and(|extension| extension == "log")),
        })
        .sum()
}

#[test]
fn a_new_store_opens_in_the_root_of_a_fresh_file_system() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("lost+found")).unwrap();
    let store = Store::open(directory.path()).unwrap();
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"data")
        .unwrap();
}

#[test]
fn a_killed_store_opens_frees_and_closes_among_foreign_names() {
    let directory = tempfile::tempdir().unwrap();
    let (path, killed) = (directory.path().join("data"), directory.path().join("killed"));
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let options = options().clock(clock.clone());
    let store = options.open(&path).unwrap();
    for name in ["gone", "kept"] {
        let stream = store.create_stream(name, 2).unwrap();
        for _ in 0..12 {
            stream.put("key", &[7; 19_000]).unwrap();
        }
    }
    copy_tree(&path, &killed);
    let planted = litter(&killed);

    let store = options.open(&killed).unwrap();
    store.maintain().unwrap();
    let kept = store.stream("kept").unwrap();
    assert_eq!(kept.reader(StartingPosition::TrimHorizon).unwrap().count(), 12);
    kept.put("key", b"after the kill").unwrap();
    store.stream("gone").and_then(|stream| stream.delete()).unwrap();
    store.maintain().unwrap();
    let gone = killed.join("streams/1");
    // Of the segments, only the planted files with such a name remain.
    assert_eq!(
        logs_below(&gone),
        planted
            .iter()
            .filter(|path| path.starts_with(&gone) && path.ends_with("1.log"))
            .count()
    );

    clock.advance(Duration::from_secs(25 * 3_600));
    kept.put("key", b"a day later").unwrap();
    clock.advance(Duration::from_secs(25 * 3_600));
    let before = logs_below(&killed.join("streams/2"));
    store.maintain().unwrap();
    assert!(logs_below(&killed.join("streams/2")) < before);
    store.close().unwrap();
    options.open(&killed).unwrap().maintain().unwrap();
    for path in planted {
        assert_eq!(fs::read(&path).unwrap(), b"kept", "{}", path.display());
    }
}

#[test]
fn nothing_is_removed_or_written_through_a_symbolic_link() {
    let directory = tempfile::tempdir().unwrap();
    let (path, outside) = (directory.path().join("data"), directory.path().join("outside"));
    fs::create_dir_all(outside.join(SHARD)).unwrap();
    let treasure = [
        outside.join(SHARD).join("00000000000000000001.log"),
        outside.join("00000000000000000001.log"),
        outside.join("1-65536.ready"),
    ];
    for file in &treasure {
        fs::write(file, b"treasure").unwrap();
    }
    let store = options().open(&path).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    // The last segment has room for more.
    for _ in 0..13 {
        stream.put("key", &[7; 19_000]).unwrap();
    }
    store.close().unwrap();
    // As a leftover stream, a leftover shard, a segment behind the horizon, a file of the pool, and an unfinished
    // CURRENT.
    symlink(&outside, path.join("streams/99")).unwrap();
    symlink(outside.join(SHARD), path.join("streams/1/shardId-000000000007")).unwrap();
    symlink(
        &treasure[1],
        path.join("streams/1")
            .join(SHARD)
            .join("00000000000000000000.log"),
    )
    .unwrap();
    symlink(&treasure[2], path.join("pool/1-65536.ready")).unwrap();
    symlink(&treasure[1], path.join("CURRENT.new")).unwrap();
    // In the place of the index that is saved at the next puts.
    let entries = fs::read_dir(path.join("streams/1").join(SHARD)).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let index = files
        .filter(|path| path.extension().is_some_and(|it| it == "index"))
        .max()
        .unwrap();
    fs::remove_file(&index).unwrap();
    symlink(&treasure[1], index).unwrap();

    let store = options().compaction_bytes(1).open(&path).unwrap();
    store.maintain().unwrap();
    let stream = store.stream("clicks").unwrap();
    for _ in 0..12 {
        stream.put("key", &[7; 19_000]).unwrap();
    }
    store.stream("clicks").and_then(|stream| stream.delete()).unwrap();
    store.maintain().unwrap();
    for file in &treasure {
        assert_eq!(fs::read(file).unwrap(), b"treasure", "{}", file.display());
    }
}

#[test]
fn a_store_can_be_read_by_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data");
    let store = StoreOptions::new().min_journaled_shards(1).open(&path).unwrap();
    let stream = store.create_stream("clicks", 2).unwrap();
    for _ in 0..12 {
        stream.put("key", &[7; 19_000]).unwrap();
    }
    store.close().unwrap();
    let mut unseen = vec![path];
    let mut seen = 0;
    while let Some(path) = unseen.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(
            metadata.permissions().mode() & 0o777,
            expected,
            "{}",
            path.display()
        );
        if metadata.is_dir() {
            unseen.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        seen += 1;
    }
    assert!(seen >= 10, "{seen}");
}
