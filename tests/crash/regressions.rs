//! Past errors, each reproduced in as few steps as possible.

use std::collections::BTreeSet;
use std::time::Duration;

use anabranch::sim::{Calls, LossMode, Operation, SimDisk};
use anabranch::{
    Durability, Error, HashKey, ManualClock, PutRecord, ReadLimit, ShardFilter, ShardId, StartingPosition,
    Store, StoreOptions, Stream, Timestamp,
};

use crate::manifest::{flip_in_both_copies, manifest_end};

const DIRECTORY: &str = "/store";

fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(64 * 1024)
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(usize::MAX)
        .disk(disk.clone())
}

fn open(disk: &SimDisk) -> Store {
    options(disk).open(DIRECTORY).unwrap()
}

fn data_of(stream: &Stream) -> Vec<Vec<u8>> {
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.map(|record| record.unwrap().data.to_vec()).collect()
}

/// A process was killed between the write of an edit and its sync. The next one showed the stream, and a power cut
/// took it back.
#[test]
pub fn an_edit_that_a_killed_process_did_not_sync_is_durable_once_it_is_seen() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    disk.faults().on("MANIFEST").freeze_nth(Operation::SyncData, 1);
    store.create_stream("clicks", 1).unwrap_err();
    let disk = disk.crash(LossMode::KeepAll);
    let id = open(&disk).stream("clicks").unwrap().id();
    let disk = disk.crash(LossMode::LoseAll);
    assert_eq!(open(&disk).stream("clicks").unwrap().id(), id);
}

/// A process was killed before it had synced the new name of CURRENT. The next one removed the manifest that the
/// durable name still pointed at, and after a power cut the store did not open.
#[test]
pub fn a_manifest_that_a_killed_process_named_is_named_durably_before_it_is_built_on() {
    for (n, seed) in (1..=3).flat_map(|n| (0..4).map(move |seed| (n, seed))) {
        let disk = SimDisk::new(seed);
        disk.faults().on(DIRECTORY).freeze_nth(Operation::SyncDir, n);
        options(&disk).open(DIRECTORY).unwrap_err();
        let disk = disk.crash(LossMode::KeepAll);
        let stream = open(&disk).create_stream("clicks", 1).unwrap();
        stream.put("key", b"data").unwrap();
        let disk = disk.crash(LossMode::LoseAll);
        assert_eq!(data_of(&open(&disk).stream("clicks").unwrap()), [b"data"]);
    }
}

/// A number that was acknowledged from memory was given out again after a crash, as long as the manifest did not say
/// that the log was being written to.
#[test]
pub fn a_number_told_from_memory_is_not_told_again_after_a_crash() {
    let mut disk = SimDisk::new(1);
    let mut numbers = BTreeSet::new();
    open(&disk).create_stream("clicks", 1).unwrap();
    // The log has never been written to; then it was interrupted, twice; then it is at rest.
    for is_closed in [false, false, true, false, false] {
        let store = options(&disk)
            .durability(Durability::Buffered)
            .open(DIRECTORY)
            .unwrap();
        let put = store.stream("clicks").unwrap().put("key", b"in memory").unwrap();
        assert!(
            numbers.insert(put.sequence_number),
            "{} is told again",
            put.sequence_number
        );
        if is_closed {
            store.close().unwrap();
        }
        // While the store exists: dropping it closes it.
        disk = disk.crash(LossMode::LoseAll);
    }
}

/// A segment that is begun for a record of unknown size stays empty if the first group does not fit in it.
#[test]
pub fn a_group_larger_than_the_segment_that_awaits_it_gets_another() {
    let disk = SimDisk::new(1);
    let store = options(&disk)
        .durability(Durability::Buffered)
        .open(DIRECTORY)
        .unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    let large = vec![7; 200_000];
    stream.put("key", &large).unwrap();
    stream.put("key", b"small").unwrap();
    assert_eq!(data_of(&stream), [large.clone(), b"small".to_vec()]);
    store.close().unwrap();
    let disk = disk.crash(LossMode::LoseAll);
    assert_eq!(
        data_of(&open(&disk).stream("clicks").unwrap()),
        [large, b"small".to_vec()]
    );
}

/// The first round of house-keeping removed the files of a stream that had just been deleted, although they were to be
/// recycled. From then on no file was freed any more.
#[test]
pub fn a_stream_that_is_deleted_before_the_first_round_of_house_keeping_does_not_stop_it() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("key", b"data")
        .unwrap();
    store.stream("clicks").and_then(|stream| stream.delete()).unwrap();
    store.maintain().unwrap();
    store.maintain().unwrap();
    assert!(segments(&disk).is_empty());
}

/// After a crash between the edit that frees a segment, or a shard, and the removal of its files, the files stayed for
/// ever.
#[test]
pub fn files_that_a_crash_left_behind_are_removed() {
    let hour = Duration::from_secs(3_600);
    for n in 1.. {
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let disk = SimDisk::new(n);
        let store = options(&disk).clock(clock.clone()).open(DIRECTORY).unwrap();
        let stream = store.create_stream("clicks", 2).unwrap();
        store
            .create_stream("gone", 1)
            .unwrap()
            .put("key", b"data")
            .unwrap();
        let [low, high] = [0, 1].map(|index| ShardId::new(index).unwrap());
        let put = |key, bytes| {
            let data = vec![7; bytes];
            stream
                .put_record(&PutRecord::new("key", &data).explicit_hash_key(key))
                .unwrap();
        };
        put(HashKey::MAX, 10);
        stream.split_shard(high, HashKey::new(u128::MAX - 100)).unwrap();
        for _ in 0..4 {
            put(HashKey::MIN, 40_000);
        }
        clock.advance(25 * hour);
        put(HashKey::MIN, 40_000);
        // Both logs are at rest, so opening them reads nothing.
        store.maintain().unwrap();
        clock.advance(25 * hour);
        disk.faults().freeze_nth(Calls::ALL, n);
        let _ = store.maintain();
        let _ = store.stream("gone").and_then(|stream| stream.delete());
        let _ = store.maintain();
        let is_over = !disk.is_frozen();

        let disk = disk.crash(LossMode::LoseAll);
        let store = options(&disk).clock(clock).open(DIRECTORY).unwrap();
        let _ = store.stream("gone").and_then(|stream| stream.delete());
        store.maintain().unwrap();
        store.maintain().unwrap();
        let left = segments(&disk);
        assert!(left.len() <= 1, "a crash in call {n} leaves {left:?}");
        assert!(
            left.iter().all(|path| path.contains(&low.to_string())),
            "{left:?}"
        );
        if is_over {
            break;
        }
    }
}

/// Recovery found damage at the end of a log, but a reader that reached it got no error, only no more records.
#[test]
pub fn a_reader_that_comes_to_a_damaged_end_is_told_so() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let stream = store.create_stream("clicks", 1).unwrap();
    for data in [b"first ", b"second", b"third "] {
        stream.put("key", data).unwrap();
    }
    let disk = disk.crash(LossMode::LoseAll);
    let segment = segments(&disk).remove(0);
    let bytes = disk.rot().read(&segment).unwrap();
    let second = bytes.windows(6).position(|window| window == b"second").unwrap();
    disk.rot().flip_bit(&segment, second as u64, 0).unwrap();

    let store = open(&disk);
    let stream = store.stream("clicks").unwrap();
    let read: Vec<_> = stream.reader(StartingPosition::TrimHorizon).unwrap().collect();
    let [Ok(first), Err(Error::Corrupt { path, .. })] = read.as_slice() else {
        panic!("{read:?}");
    };
    assert_eq!(
        (&first.data[..], path.to_str()),
        (&b"first "[..], Some(segment.as_str()))
    );
    assert!(matches!(stream.put("key", b"fourth"), Err(Error::Corrupt { .. })));
}

/// A full disk at the rename of a new segment, or at the sync of its directory, stopped all writes for ever, although
/// no frame had been begun.
#[test]
pub fn a_segment_that_finds_no_room_for_its_name_is_refused_and_tried_again() {
    let cases = [
        (Operation::Rename, "pool"),
        (Operation::SyncDir, "shardId"),
        (Operation::Write, "pool"),
        (Operation::SyncData, "00000000000000000003.log"),
        (Operation::Allocate, "MANIFEST"),
        (Operation::CreateDir, "streams/2"),
        (Operation::SyncDir, "streams"),
    ];
    for (call, path) in cases {
        let disk = SimDisk::new(1);
        let store = open(&disk);
        let stream = store.create_stream("clicks", 1).unwrap();
        for _ in 0..2 {
            stream.put("key", &[7; 25_000]).unwrap();
        }
        let new = store.create_stream("new", 1).unwrap();
        disk.faults()
            .on(path)
            .fail_nth(call, 1, std::io::ErrorKind::StorageFull);
        let mut refused = 0;
        for put in [stream.put("key", &[7; 25_000]), new.put("key", b"first")] {
            match put {
                Ok(_) => {}
                Err(Error::StorageFull { .. }) => refused += 1,
                Err(error) => panic!("{call} of {path}: {error}"),
            }
        }
        // If the room reserved before was large enough, nothing is refused.
        assert!(refused <= 1, "{call} of {path}");
        let is_explained = refused == 1 || call == Operation::Allocate;
        assert!(is_explained, "{call} of {path} does not fail");
        stream.put("key", b"room again").unwrap();
        new.put("key", b"room again").unwrap();
        let in_pool = |path: &String| path.contains("preparing");
        assert!(!all_files(&disk).iter().any(in_pool), "{:?}", all_files(&disk));
        let disk = disk.crash(LossMode::LoseAll);
        let store = open(&disk);
        assert_eq!(
            data_of(&store.stream("new").unwrap()).last().unwrap(),
            b"room again"
        );
    }
}

/// The disk was full when the name of a new `CURRENT` was to become durable. That error was ignored, the old manifest
/// was removed, and after a crash `CURRENT` named a file that was gone.
#[test]
pub fn no_edit_is_built_on_a_manifest_whose_name_a_crash_can_take_back() {
    for (mode, nth) in [LossMode::KeepAll, LossMode::LoseAll, LossMode::Prefix]
        .into_iter()
        .flat_map(|mode| (1..=4).map(move |nth| (mode, nth)))
    {
        let disk = SimDisk::new(nth);
        let options = options(&disk).compaction_bytes(1);
        let store = options.open(DIRECTORY).unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        let checkpoint = stream.reader(StartingPosition::TrimHorizon).unwrap().checkpoint();
        for call in [Operation::SyncDir, Operation::Rename] {
            disk.faults()
                .on(DIRECTORY)
                .fail_nth(call, nth, std::io::ErrorKind::StorageFull);
        }
        // Until shortly after the failure, while nothing else makes the name durable.
        let (mut saved, mut left) = (0, 3);
        for n in 0.. {
            match stream.save_checkpoint(&format!("{n:03}"), &checkpoint) {
                Ok(()) => saved += 1,
                Err(Error::StorageFull { .. }) => {}
                Err(error) => panic!("{error}"),
            }
            left -= u32::from(disk.faults().struck() > 0);
            if left == 0 {
                break;
            }
            assert!(n < 1_000, "the manifest is never written anew");
        }
        let disk = disk.crash(mode);
        let names = open(&disk).stream("clicks").unwrap().checkpoint_names().unwrap();
        assert_eq!(names.len(), saved, "{mode:?}, {nth}");
    }
}

/// Every kill of a process made the next segment eight times as large as the last one's file, however little that held.
#[test]
pub fn a_crash_loop_takes_no_more_room_than_small_segments_do() {
    let mut disk = SimDisk::new(1);
    let large = |disk: &SimDisk| options(disk).segment_bytes(64 << 20).open(DIRECTORY).unwrap();
    large(&disk).create_stream("clicks", 1).unwrap();
    let before = disk.used_bytes();
    for life in 1..=16 {
        let store = large(&disk);
        store.stream("clicks").unwrap().put("key", &[7; 100]).unwrap();
        disk = disk.crash(LossMode::KeepAll);
        let used = disk.used_bytes() - before;
        assert!(
            used <= life * (64 << 10) + (128 << 10),
            "{used} bytes after {life} lives"
        );
    }
}

#[test]
pub fn what_an_interrupted_segment_did_not_use_is_given_back() {
    const LARGE: u64 = 4 << 20;
    let mut disk = SimDisk::new(1);
    let open = |disk: &SimDisk| {
        options(disk)
            .segment_bytes(LARGE)
            .max_recycled_bytes(0)
            .open(DIRECTORY)
            .unwrap()
    };
    let stream = open(&disk).create_stream("clicks", 1).unwrap();
    while segments(&disk).len() < 6 {
        stream.put("key", &[7; 50_000]).unwrap();
    }
    disk = disk.crash(LossMode::KeepAll);
    for life in 1..=4 {
        let before = disk.used_bytes();
        let stream = open(&disk).stream("clicks").unwrap();
        let had = data_of(&stream).len();
        for _ in 0..3 {
            stream.put("key", &[8; 50_000]).unwrap();
        }
        assert_eq!(data_of(&stream).len(), had + 3);
        let grown = disk.used_bytes().saturating_sub(before);
        assert!(grown <= 256 << 10, "{grown} bytes more in life {life}");
        disk = disk.crash(LossMode::KeepAll);
    }
}

/// The file that keeps a store from opening.
fn path_of_damage(disk: &SimDisk) -> Option<String> {
    match options(disk).open(DIRECTORY).err()? {
        Error::Corrupt { path, .. } => path.to_str().map(str::to_owned),
        _ => None,
    }
}

fn all_files(disk: &SimDisk) -> Vec<String> {
    let files = disk.rot().files();
    files
        .iter()
        .map(|(path, _)| format!("/{}", path.display()))
        .collect()
}

fn segments(disk: &SimDisk) -> Vec<String> {
    all_files(disk)
        .into_iter()
        .filter(|name| name.contains("/streams/") && name.ends_with(".log"))
        .collect()
}

/// The last edit was damaged after it had been durable, and taken for torn. So the store took a log to end where it had
/// been at rest, a stream to have never existed, or a segment to be a leftover. The records put since were lost.
#[test]
pub fn an_edit_that_rots_is_missed_by_what_was_built_on_it() {
    type Build = fn(&Store) -> anabranch::Result<()>;
    let a_stream: Build = |store| store.create_stream("new", 1)?.put("key", b"data").map(drop);
    let a_shard: Build = |store| {
        let stream = store.stream("clicks")?;
        stream.split_shard(ShardId::new(0).unwrap(), HashKey::new(1 << 127))?;
        stream.put("key", b"data").map(drop)
    };
    let a_segment: Build = |store| store.stream("clicks")?.put("key", &[7; 60_000]).map(drop);
    let a_resumed_log: Build = |store| store.stream("clicks")?.put("key", b"data").map(drop);
    let builds = [a_stream, a_shard, a_segment, a_resumed_log];
    for (build, journaled) in builds
        .into_iter()
        .flat_map(|build| [(build, 1), (build, usize::MAX)])
    {
        let disk = SimDisk::new(1);
        let open = |disk: &SimDisk| {
            options(disk)
                .min_journaled_shards(journaled)
                .open(DIRECTORY)
                .unwrap()
        };
        let store = open(&disk);
        store
            .create_stream("clicks", 1)
            .unwrap()
            .put("key", b"first")
            .unwrap();
        store.close().unwrap();
        let store = open(&disk);
        build(&store).unwrap();
        let disk = disk.crash(LossMode::LoseAll);
        let manifest = format!("{DIRECTORY}/MANIFEST-000001");
        let bytes = disk.rot().read(&manifest).unwrap();
        flip_in_both_copies(&disk, &manifest, manifest_end(&bytes));
        let path = path_of_damage(&disk);
        assert_eq!(path.as_deref(), Some(manifest.as_str()));
    }
}

/// The sync of an edit failed, and the next opener could not drop the edit from the page cache. It showed the edit,
/// which the device never got.
#[test]
pub fn what_only_the_cache_may_have_is_not_shown() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    disk.faults()
        .on("MANIFEST")
        .fail_nth(Operation::SyncData, 1, std::io::ErrorKind::Other);
    store.create_stream("clicks", 1).unwrap_err();
    let disk = disk.crash(LossMode::KeepAll);
    disk.faults()
        .on("MANIFEST")
        .fail_nth(Operation::DropCache, 1, std::io::ErrorKind::Other);
    assert!(matches!(
        options(&disk).open(DIRECTORY).err(),
        Some(Error::Io { .. })
    ));
    assert!(open(&disk).stream("clicks").is_err());
}

/// A log was interrupted in the middle of a frame and then closed by a split. When a later crash tore an edit, the torn
/// frame's header behind the log's end was taken for a frame written after that edit.
#[test]
pub fn what_is_left_of_a_torn_frame_says_nothing_of_the_manifest() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("key", b"first").unwrap();
    stream.put("key", &[7; 2_000]).unwrap();
    let disk = disk.crash(LossMode::LoseAll);
    disk.rot()
        .overwrite(&segments(&disk)[0], 4096 + 1_500, &[0; 512])
        .unwrap();
    let stream = open(&disk).stream("clicks").unwrap();
    stream
        .split_shard(ShardId::new(0).unwrap(), HashKey::new(1 << 127))
        .unwrap();
    let disk = disk.crash(LossMode::LoseAll);
    let manifest = format!("{DIRECTORY}/MANIFEST-000001");
    let bytes = disk.rot().read(&manifest).unwrap();
    let behind = (manifest_end(&bytes) + 1).next_multiple_of(8) + 8;
    disk.rot().overwrite(&manifest, behind, b"torn").unwrap();
    assert_eq!(data_of(&open(&disk).stream("clicks").unwrap()), [b"first"]);
}

/// A manifest that ended in the middle of a frame was taken for one whose last frame was torn: all edits since were
/// forgotten.
#[test]
pub fn a_manifest_that_is_cut_within_its_edits_does_not_open() {
    let disk = SimDisk::new(1);
    let stream = open(&disk).create_stream("clicks", 1).unwrap();
    let checkpoint = stream.reader(StartingPosition::TrimHorizon).unwrap().checkpoint();
    for name in ["a", "b", "c", "d"] {
        stream.save_checkpoint(name, &checkpoint).unwrap();
    }
    let disk = disk.crash(LossMode::LoseAll);
    let manifest = format!("{DIRECTORY}/MANIFEST-000001");
    let bytes = disk.rot().read(&manifest).unwrap();
    for length in 0..=manifest_end(&bytes) {
        let disk = disk.image(LossMode::KeepAll);
        disk.rot().set_len(&manifest, length).unwrap();
        let path = path_of_damage(&disk);
        assert_eq!(path.as_deref(), Some(manifest.as_str()), "cut to {length} bytes");
    }
}

/// One damaged shard made a batch fail for all others, or a batch did not say which of its records were stored.
#[test]
pub fn a_batch_tells_record_by_record_what_a_damaged_shard_refused() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    let stream = store.create_stream("clicks", 2).unwrap();
    let low = PutRecord::new("low", b"low").explicit_hash_key(HashKey::MIN);
    let high = PutRecord::new("high", b"high").explicit_hash_key(HashKey::MAX);
    stream.put_records(&[low, high]).unwrap();
    store.close().unwrap();
    let damaged = segments(&disk).remove(0);
    assert!(damaged.contains("shardId-000000000000"), "{damaged}");
    disk.rot().flip_bit(&damaged, 0, 0).unwrap();

    let store = open(&disk);
    let stream = store.stream("clicks").unwrap();
    let outcomes = stream.append(&[high, low, high]).unwrap().each().wait();
    let [Ok(first), Err(Error::Corrupt { path, .. }), Ok(third)] = outcomes.as_slice() else {
        panic!("{outcomes:?}");
    };
    assert_eq!(path.to_str(), Some(damaged.as_str()));
    assert_eq!(first.shard_id, ShardId::new(1).unwrap());
    assert!(first.sequence_number < third.sequence_number);
    assert!(matches!(
        stream.put_records(&[high, low]),
        Err(Error::Corrupt { .. })
    ));
    let of_high = stream
        .shard_iterator(ShardId::new(1).unwrap(), StartingPosition::TrimHorizon)
        .unwrap();
    let all = ReadLimit {
        records: 100,
        bytes: 1_000,
    };
    assert_eq!(stream.get_records(&of_high, &all).unwrap().records.len(), 4);
}

#[test]
pub fn a_child_is_read_when_one_of_its_parents_is_gone_before_the_other() {
    let mut one_was_left = false;
    for nth in 1..12 {
        let disk = SimDisk::new(nth);
        let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
        let open = || options(&disk).clock(clock.clone()).open(DIRECTORY);
        let store = open().unwrap();
        let stream = store.create_stream("stream", 2).unwrap();
        let parents: Vec<_> = stream.shards(&ShardFilter::AtLatest).unwrap();
        stream.merge_shards(parents[0].id, parents[1].id).unwrap();
        clock.advance(Duration::from_secs(25 * 3_600));
        stream.put("key", b"of the child").unwrap();
        // The first parent expires, and the disk fails before the second does.
        disk.faults()
            .on("MANIFEST")
            .fail_nth(Operation::SyncData, nth, std::io::ErrorKind::Other);
        let _ = store.maintain();
        let _ = store.close();
        disk.faults().clear();
        // The second one is visible again.
        clock.jump_back(Duration::from_secs(3_600));
        let store = open().unwrap();
        let stream = store.stream("stream").unwrap();
        let left = stream.shards(&ShardFilter::FromTrimHorizon).unwrap();
        one_was_left |= left.len() == 2;
        assert_eq!(
            data_of(&stream),
            [b"of the child"],
            "failed in sync {nth}, left: {left:?}"
        );
    }
    assert!(one_was_left);
}
