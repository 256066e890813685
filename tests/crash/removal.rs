//! Streams and queues that are deleted while an operation on them runs, or while they are damaged.

use std::sync::mpsc;
use std::time::Duration;

use anabranch::sim::{Calls, LossMode, Operation, SimDisk};
use anabranch::{Error, QueueOptions, ReceiveOptions, StartingPosition, StoreOptions, Stream};
use anabranch_harness::wait::wait_until;

use crate::watchdog::Case;

const DIRECTORY: &str = "store";

fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(usize::MAX)
        .disk(disk.clone())
}

fn data_of(stream: &Stream) -> Vec<Vec<u8>> {
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.map(|record| record.unwrap().data.to_vec()).collect()
}

fn is_there(disk: &SimDisk, is_wanted: impl Fn(&str) -> bool) -> bool {
    let files = disk.rot().files();
    files.iter().any(|(path, _)| is_wanted(&path.to_string_lossy()))
}

#[test]
pub fn a_crash_in_any_call_of_a_deletion_leaves_all_of_a_stream_or_nothing() {
    for mode in [LossMode::LoseAll, LossMode::KeepAll] {
        for call in 1.. {
            let _case = Case::begin(|| format!("a crash in call {call}, {mode:?}"));
            let disk = SimDisk::new(call);
            let store = options(&disk).open(DIRECTORY).unwrap();
            let stream = store.create_stream("clicks", 1).unwrap();
            stream.put("key", b"data").unwrap();
            disk.faults().freeze_nth(Calls::ALL, call);
            let deleted = stream.delete().and_then(|()| store.maintain());
            let is_over = !disk.is_frozen();
            assert!(deleted.is_ok() || !is_over, "{deleted:?}");
            let crashed = disk.crash(mode);
            drop((stream, store));
            let store = options(&crashed).open(DIRECTORY).unwrap();
            match store.stream("clicks") {
                Ok(stream) => assert_eq!(data_of(&stream), [b"data"]),
                Err(error) => assert!(matches!(error, Error::StreamNotFound { .. }), "{error}"),
            }
            if is_over {
                break;
            }
        }
    }
}

/// The commit journal's frames of a damaged log could not be synced any more once the log was gone. So the journal
/// dropped no segment, and the store did not close in order.
#[test]
pub fn a_damaged_stream_that_is_deleted_does_not_hold_up_the_journal() {
    let disk = SimDisk::new(1);
    let options = options(&disk).min_journaled_shards(1);
    let store = options.open(DIRECTORY).unwrap();
    let [damaged, kept] = ["damaged", "kept"].map(|name| store.create_stream(name, 1).unwrap());
    damaged.put("key", b"first").unwrap();
    // Reading writes it to its segment, where it rots.
    assert_eq!(data_of(&damaged), [b"first"]);
    let files = disk.rot().files();
    let in_segment = |path: &std::path::Path| {
        let bytes = disk.rot().read(path).unwrap();
        let at = bytes.windows(5).position(|bytes| bytes == b"first");
        at.filter(|_| path.to_string_lossy().contains("streams/"))
    };
    let found = files.iter().find_map(|(path, _)| Some((path, in_segment(path)?)));
    let (segment, offset) = found.unwrap();
    disk.rot().flip_bit(segment, offset as u64, 0).unwrap();
    damaged.put("key", b"second").unwrap();
    let read = damaged.reader(StartingPosition::TrimHorizon).unwrap().next();
    assert!(matches!(read, Some(Err(Error::Corrupt { .. }))), "{read:?}");
    damaged.delete().unwrap();
    store.maintain().unwrap();
    kept.put("key", b"kept").unwrap();
    store.close().unwrap();
    let store = options.open(DIRECTORY).unwrap();
    assert_eq!(data_of(&store.stream("kept").unwrap()), [b"kept"]);
}

/// The directory of a stream's first segment was removed while its name was being made durable. That failed like a
/// dying disk, and no stream was written to any more.
#[test]
pub fn a_stream_that_is_deleted_while_its_first_segment_is_begun_stops_no_other() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let [gone, kept] = ["gone", "kept"].map(|name| store.create_stream(name, 1).unwrap());
    let stall = disk.stall_next(Operation::SyncDir, "shardId");
    let (is_deleted, deleted) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let put = scope.spawn(|| gone.put("key", b"data"));
        stall.wait_until_reached();
        // The call goes on when the stream is deleted, or else after a while, since the deletion then has to wait for
        // it.
        scope.spawn(move || {
            let _ = deleted.recv_timeout(Duration::from_secs(1));
            drop(stall);
        });
        let stream = store.stream("gone").unwrap();
        stream.delete().unwrap();
        store.maintain().unwrap();
        drop(is_deleted);
        let put = put.join().unwrap();
        assert!(
            matches!(put, Ok(_) | Err(Error::StreamNotFound { .. })),
            "{put:?}"
        );
    });
    kept.put("key", b"kept").unwrap();
    store.close().unwrap();
    assert!(!is_there(&disk, |path| path.contains("streams/1/")));
    let store = options(&disk).open(DIRECTORY).unwrap();
    assert_eq!(data_of(&store.stream("kept").unwrap()), [b"kept"]);
}

/// When the store was closed, it recorded the end of a queue's log behind the edit that had removed the queue. After
/// that the manifest did not open.
#[test]
pub fn a_queue_that_is_deleted_beside_a_close_leaves_a_manifest_that_opens() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &QueueOptions::default()).unwrap();
    stream.put("key", b"job").unwrap();
    // The queue's log records this.
    assert_eq!(queue.receive(&ReceiveOptions::default()).unwrap().len(), 1);
    let stall = disk.stall_next(Operation::SyncData, "MANIFEST");
    std::thread::scope(|scope| {
        let deletion = scope.spawn(|| queue.delete());
        stall.wait_until_reached();
        scope.spawn(|| {
            // When its index is saved, the end of the queue's log is among those to be recorded after the edit that
            // hangs.
            let is_index = |path: &str| path.contains("queue-") && path.ends_with(".index");
            wait_until("the store begins to be closed", || is_there(&disk, is_index));
            drop(stall);
        });
        store.close().unwrap();
        deletion.join().unwrap().unwrap();
    });
    let store = options(&disk).open(DIRECTORY).unwrap();
    let stream = store.stream("jobs").unwrap();
    assert!(matches!(stream.queue("work"), Err(Error::QueueNotFound { .. })));
    assert_eq!(data_of(&stream), [b"job"]);
}
