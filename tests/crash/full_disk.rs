//! A full disk: the operations that free room must be possible on it.

use anabranch::sim::{LossMode, SimDisk};
use anabranch::{Error, StartingPosition, Store, StoreOptions, Stream};

use crate::manifest::tear;

const DIRECTORY: &str = "store";

fn options(disk: &SimDisk) -> StoreOptions {
    StoreOptions::new()
        .segment_bytes(256 << 10)
        .keeper(false)
        .flusher_threads(1)
        .min_journaled_shards(usize::MAX)
        .disk(disk.clone())
}

fn create(store: &Store, name: &str) -> Stream {
    store.create_stream(name, 1).unwrap()
}

/// Repeats something until the disk is full, and gives how often it succeeded.
fn fill(mut take_room: impl FnMut() -> anabranch::Result<()>) -> usize {
    let mut times = 0;
    loop {
        match take_room() {
            Ok(()) => times += 1,
            Err(Error::StorageFull { .. }) => return times,
            Err(error) => panic!("{error}"),
        }
        assert!(times < 100_000, "the disk never fills");
    }
}

fn data_of(stream: &Stream) -> Vec<Vec<u8>> {
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    reader.map(|record| record.unwrap().data.to_vec()).collect()
}

/// Checkpoints took the last of the manifest's room, and then no stream could be deleted.
#[test]
pub fn small_changes_on_a_full_disk_leave_room_for_deletions() {
    let disk = SimDisk::new(1);
    disk.set_capacity(3 << 20);
    let store = options(&disk).max_recycled_bytes(0).open(DIRECTORY).unwrap();
    let streams: Vec<_> = (0..40)
        .map(|number| create(&store, &format!("stream-{number}")))
        .collect();
    let big = create(&store, "big");
    fill(|| big.put("key", &[7; 20_000]).map(drop));
    let mut reader = big.reader(StartingPosition::TrimHorizon).unwrap();
    let first = reader.checkpoint();
    reader.next().unwrap().unwrap();
    // Back and forth, since saving the same checkpoint again is no change.
    let mut checkpoints = [first, reader.checkpoint()].into_iter().cycle();
    fill(|| big.reset_checkpoint("reader", &checkpoints.next().unwrap()));
    // More edits than would fit where one more checkpoint does not.
    for stream in streams {
        stream.delete().unwrap();
    }
    big.delete().unwrap();
    store.maintain().unwrap();
    create(&store, "small").put("key", b"fits").unwrap();
    store.close().unwrap();
    let store = options(&disk).open(DIRECTORY).unwrap();
    assert_eq!(data_of(&store.stream("small").unwrap()), [b"fits"]);
}

/// A manifest that ends in a torn frame is rewritten. There was no room for that, so the store did not open.
#[test]
pub fn a_torn_manifest_is_written_anew_on_a_disk_that_is_full_of_files_in_the_pool() {
    let disk = SimDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let [gone, kept] = ["gone", "kept"].map(|name| create(&store, name));
    for _ in 0..40 {
        gone.put("key", &[7; 20_000]).unwrap();
    }
    kept.put("key", b"kept").unwrap();
    gone.delete().unwrap();
    store.maintain().unwrap();
    let disk = disk.crash(LossMode::KeepAll);
    let in_pool = |disk: &SimDisk| {
        let files = disk.rot().files();
        files
            .iter()
            .filter(|(path, _)| path.starts_with("store/pool"))
            .count()
    };
    assert!(in_pool(&disk) > 1, "{:?}", disk.rot().files());
    tear(&disk, &format!("{DIRECTORY}/MANIFEST-000001"));
    disk.set_capacity(disk.used_bytes());
    let store = options(&disk).open(DIRECTORY).unwrap();
    assert_eq!(data_of(&store.stream("kept").unwrap()), [b"kept"]);
    store.close().unwrap();
}

#[test]
pub fn a_torn_manifest_opens_once_a_disk_that_is_full_of_records_has_room() {
    let disk = SimDisk::new(1);
    disk.set_capacity(3 << 20);
    let store = options(&disk).max_recycled_bytes(0).open(DIRECTORY).unwrap();
    let stream = create(&store, "clicks");
    let records = fill(|| stream.put("key", &[7; 20_000]).map(drop));
    let disk = disk.crash(LossMode::LoseAll);
    tear(&disk, &format!("{DIRECTORY}/MANIFEST-000001"));
    disk.set_capacity(disk.used_bytes());
    for _ in 0..2 {
        let refused = options(&disk).open(DIRECTORY).err();
        assert!(matches!(refused, Some(Error::StorageFull { .. })), "{refused:?}");
    }
    disk.set_capacity(disk.used_bytes() + (1 << 20));
    let store = options(&disk).open(DIRECTORY).unwrap();
    assert_eq!(data_of(&store.stream("clicks").unwrap()).len(), records);
}
