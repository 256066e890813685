//! The counts of a store and its streams, and the health of the store, on each backend.

use std::time::Duration;

use anabranch::{
    Error, HashKey, ManualClock, PutRecord, QueueOptions, ReceiveOptions, StartingPosition, Store,
    StoreOptions, Stream, StreamOptions, Timestamp,
};

use crate::backends::{Place, on_each_backend};

on_each_backend!(
    puts_and_reads_are_counted_of_their_stream_and_of_all,
    what_shards_commit_together_is_a_group,
    a_deleted_stream_still_counts_for_the_store,
    what_was_counted_ends_with_the_store,
    what_is_refused_is_not_counted,
    a_queue_notes_what_is_no_put,
    shards_are_counted_as_they_open_and_close,
    the_oldest_record_is_the_first_that_can_be_read,
    a_stream_without_records_has_no_oldest_one,
    a_store_that_is_closed_tells_nothing,
    all_streams_come_in_the_order_of_their_creation,
);

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

fn options() -> StoreOptions {
    StoreOptions::new().keeper(false)
}

fn on_clock(place: &Place) -> (Store, ManualClock) {
    let clock = ManualClock::starting_at(START);
    (place.open_with(&options().clock(clock.clone())), clock)
}

fn read_all(stream: &Stream) -> usize {
    stream.reader(StartingPosition::TrimHorizon).unwrap().count()
}

/// Records and bytes that were put, and those that were read.
fn flow_of(stream: &Stream) -> [u64; 4] {
    let stats = stream.stats().unwrap();
    [
        stats.puts.records,
        stats.puts.bytes,
        stats.reads.records,
        stats.reads.bytes,
    ]
}

fn flow_of_all(store: &Store) -> [u64; 4] {
    let stats = store.stats().unwrap();
    [
        stats.puts.records,
        stats.puts.bytes,
        stats.reads.records,
        stats.reads.bytes,
    ]
}

fn puts_and_reads_are_counted_of_their_stream_and_of_all(place: &Place) {
    let store = place.open_with(&options());
    let [first, second] = ["first", "second"].map(|name| store.create_stream(name, 3).unwrap());
    assert_eq!(flow_of_all(&store), [0; 4]);
    first.put("user-1", b"12345").unwrap();
    let batch: Vec<_> = ["a", "b", "c", "d"]
        .map(|key| PutRecord::new(key, b"123"))
        .to_vec();
    second.put_records(&batch).unwrap();
    second.append(&batch[..1]).unwrap().wait().unwrap();
    assert_eq!(flow_of(&first), [1, 11, 0, 0]);
    assert_eq!(flow_of(&second), [5, 20, 0, 0]);
    assert_eq!(flow_of_all(&store), [6, 31, 0, 0]);

    for _ in 0..2 {
        assert_eq!(read_all(&second), 5);
    }
    assert_eq!(flow_of(&first), [1, 11, 0, 0]);
    assert_eq!(flow_of(&second), [5, 20, 10, 40]);
    assert_eq!(flow_of_all(&store), [6, 31, 10, 40]);
}

fn what_shards_commit_together_is_a_group(place: &Place) {
    let store = place.open_with(&options());
    let stream = store.create_stream("clicks", 2).unwrap();
    let at = |key: u128| PutRecord::new("k", b"data").explicit_hash_key(HashKey::new(key));
    stream.put_record(&at(0)).unwrap();
    stream.put_records(&[at(0), at(0), at(0)]).unwrap();
    // One record for each shard.
    stream
        .put_records(&[at(0), at(u128::MAX), at(u128::MAX)])
        .unwrap();
    for puts in [store.stats().unwrap().puts, stream.stats().unwrap().puts] {
        assert_eq!((puts.commits(), puts.records), (4, 7));
        let groups: Vec<_> = puts
            .group_records
            .buckets()
            .filter(|(_, groups)| *groups > 0)
            .collect();
        assert_eq!(groups, [(1, 2), (2, 1), (3, 1)]);
        assert_eq!(puts.group_records.sum(), 7);
        assert_eq!(puts.commit_micros.count(), 4);
    }
    let syncs = store.stats().unwrap().sync_micros.count();
    match place {
        Place::Directory(_) => assert!(syncs >= 3, "{syncs}"),
        _ => assert_eq!(syncs, 0),
    }
}

fn a_deleted_stream_still_counts_for_the_store(place: &Place) {
    let store = place.open_with(&options());
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("k", b"data").unwrap();
    read_all(&stream);
    stream.delete().unwrap();
    assert_eq!(flow_of_all(&store), [1, 5, 1, 5]);
    assert!(matches!(stream.stats(), Err(Error::StreamNotFound { .. })));
    assert!(matches!(
        stream.oldest_arrival(),
        Err(Error::StreamNotFound { .. })
    ));
    // A new stream of this name has its own counts.
    let another = store.create_stream("clicks", 1).unwrap();
    assert_eq!(flow_of(&another), [0; 4]);
    another.put("k", b"data").unwrap();
    assert_eq!(flow_of(&another), [1, 5, 0, 0]);
    assert_eq!(flow_of_all(&store), [2, 10, 1, 5]);
}

fn what_was_counted_ends_with_the_store(place: &Place) {
    let store = place.open_with(&options());
    store
        .create_stream("clicks", 1)
        .unwrap()
        .put("k", b"data")
        .unwrap();
    let before = store.stats().unwrap();
    store.close().unwrap();
    let store = place.open_with(&options());
    let stream = store.stream("clicks").unwrap();
    assert_eq!(flow_of(&stream), [0; 4]);
    let stats = store.stats().unwrap();
    assert_eq!(stats.puts.records, 0);
    assert_eq!(
        (stats.streams, stats.open_shards),
        (before.streams, before.open_shards)
    );
    assert_eq!(stats.storage.segment_bytes, before.storage.segment_bytes);
    assert_eq!(
        stream.stats().unwrap().storage.segment_bytes > 0,
        before.storage.segment_bytes > 0
    );
}

fn what_is_refused_is_not_counted(place: &Place) {
    let store = place.open_with(&options());
    let stream = store
        .create_stream_with(
            "clicks",
            StreamOptions {
                max_record_bytes: 1 << 20,
                ..StreamOptions::default()
            },
        )
        .unwrap();
    stream.put("", b"no key").unwrap_err();
    stream.put("k", &vec![0; 2 << 20]).unwrap_err();
    stream.put_records(&[]).unwrap();
    assert_eq!(flow_of_all(&store), [0; 4]);
    assert_eq!(store.stats().unwrap().puts.commits(), 0);
}

fn a_queue_notes_what_is_no_put(place: &Place) {
    let store = place.open_with(&options());
    let stream = store.create_stream("clicks", 1).unwrap();
    let queue = stream.create_queue("work", &QueueOptions::default()).unwrap();
    stream.put("k", b"data").unwrap();
    let received = queue.receive(&ReceiveOptions::default()).unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(store.stats().unwrap().puts.records, 1);
    assert_eq!(stream.stats().unwrap().puts.records, 1);
}

fn shards_are_counted_as_they_open_and_close(place: &Place) {
    let store = place.open_with(&options());
    let stream = store.create_stream("clicks", 2).unwrap();
    store
        .namespace("other")
        .unwrap()
        .create_stream("clicks", 3)
        .unwrap();
    let shard = stream.put("k", b"data").unwrap().shard_id;
    stream.split_in_half(shard).unwrap();
    let stats = stream.stats().unwrap();
    assert_eq!((stats.open_shards, stats.shards), (3, 4));
    let stats = store.stats().unwrap();
    assert_eq!((stats.streams, stats.open_shards), (2, 6));
    assert!(stats.damaged_shards.is_empty() && stats.health.failure.is_none());
    let space = stats.health.space.expect("the room is known");
    assert!(space.available_bytes <= space.total_bytes && space.total_bytes > 0);
    match place {
        Place::Directory(_) => {
            assert!(stats.storage.segments >= 1 && stats.storage.segment_bytes >= 64 << 10);
        }
        // The key, the data, and 16 bytes.
        Place::Memory(_) => assert_eq!((stats.storage.segments, stats.storage.segment_bytes), (0, 21)),
        // The servers are asked once a minute.
        #[cfg(feature = "nats")]
        Place::Cluster(_) => assert_eq!(stats.storage.segments, 0),
    }
}

fn the_oldest_record_is_the_first_that_can_be_read(place: &Place) {
    let (store, clock) = on_clock(place);
    let stream = store.create_stream("clicks", 2).unwrap();
    let at = |key: u128| PutRecord::new("k", b"data").explicit_hash_key(HashKey::new(key));
    let mut arrivals = Vec::new();
    for key in [0, u128::MAX, 0] {
        stream.put_record(&at(key)).unwrap();
        arrivals.push(store.now());
        clock.advance(HOUR);
        store.maintain().unwrap();
        assert_eq!(stream.oldest_arrival().unwrap(), Some(arrivals[0]));
    }
    for oldest in [Some(arrivals[1]), Some(arrivals[2]), None] {
        // They expire an hour apart, a day after they arrived.
        while stream.oldest_arrival().unwrap() != oldest {
            clock.advance(HOUR / 2);
            store.maintain().unwrap();
            let age = store.now().since(arrivals[0]);
            assert!(age < 30 * HOUR, "{age:?}");
        }
        let oldest = oldest.map(|oldest| store.now().since(oldest));
        assert!(oldest.is_none_or(|age| age <= 24 * HOUR), "{oldest:?}");
    }
    // The answer is not kept too long.
    stream.put_record(&at(0)).unwrap();
    assert_eq!(stream.oldest_arrival().unwrap(), Some(store.now()));
}

fn a_stream_without_records_has_no_oldest_one(place: &Place) {
    let store = place.open_with(&options());
    let stream = store.create_stream("clicks", 50).unwrap();
    assert_eq!(stream.oldest_arrival().unwrap(), None);
    stream.put("k", b"data").unwrap();
    assert!(stream.oldest_arrival().unwrap().is_some());
    store.close().unwrap();
    let store = place.open_with(&options());
    let stream = store.stream("clicks").unwrap();
    assert!(stream.oldest_arrival().unwrap().is_some());
}

fn a_store_that_is_closed_tells_nothing(place: &Place) {
    let store = place.open_with(&options());
    let stream = store.create_stream("clicks", 1).unwrap();
    store.close().unwrap();
    assert!(matches!(store.stats(), Err(Error::Closed)));
    assert!(matches!(store.health(), Err(Error::Closed)));
    assert!(matches!(store.all_streams(None, 1), Err(Error::Closed)));
    assert!(matches!(stream.stats(), Err(Error::Closed)));
    assert!(matches!(stream.oldest_arrival(), Err(Error::Closed)));
}

fn all_streams_come_in_the_order_of_their_creation(place: &Place) {
    let store = place.open_with(&options());
    let other = store.namespace("other").unwrap();
    for name in ["c", "a", "b"] {
        store.create_stream(name, 1).unwrap();
        other.create_stream(name, 1).unwrap();
    }
    let names = |streams: &[Stream]| -> Vec<_> {
        let name = |stream: &Stream| format!("{}/{}", stream.namespace(), stream.name());
        streams.iter().map(name).collect()
    };
    let first = store.all_streams(None, 4).unwrap();
    assert_eq!(names(&first), ["/c", "other/c", "/a", "other/a"]);
    let rest = store.all_streams(Some(first[3].id()), 4).unwrap();
    assert_eq!(names(&rest), ["/b", "other/b"]);
    assert!(store.all_streams(None, 0).unwrap().is_empty());
}

#[test]
fn a_memory_that_is_used_up_is_nearly_full_until_there_is_room() {
    let memory = anabranch::Memory::new();
    let store = options()
        .max_memory_bytes(100_000)
        .open_in_memory(&memory)
        .unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    stream.put("k", &[0; 90_000]).unwrap();
    let health = store.health().unwrap();
    assert_eq!(
        health
            .space
            .map(|space| (space.total_bytes, space.available_bytes)),
        Some((100_000, 100_000 - 90_017))
    );
    assert!(!health.is_nearly_full());
    stream.put("k", &[0; 6_000]).unwrap();
    assert!(store.health().unwrap().is_nearly_full());
    assert!(matches!(
        stream.put("k", &[0; 6_000]),
        Err(Error::StorageFull { .. })
    ));
    assert_eq!(store.stats().unwrap().puts.records, 2);
    stream.delete().unwrap();
    assert!(!store.health().unwrap().is_nearly_full());
}

#[test]
fn damage_that_is_found_is_told_with_its_shard() {
    let directory = tempfile::tempdir().unwrap();
    let store = options().open(directory.path()).unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    store.create_stream("sound", 1).unwrap();
    let shard = stream.put("k", &[7; 1_000]).unwrap().shard_id;
    store.close().unwrap();
    let segments = directory.path().join("streams/1/shardId-000000000000");
    let segment = std::fs::read_dir(segments)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "log"))
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[4096 + 500] ^= 1;
    std::fs::write(&segment, bytes).unwrap();

    let store = options().open(directory.path()).unwrap();
    let stream = store.stream("clicks").unwrap();
    assert!(
        store.stats().unwrap().damaged_shards.is_empty(),
        "nothing has looked there"
    );
    // It has no record that can be read, and the call gives no error.
    assert_eq!(stream.oldest_arrival().unwrap(), None);
    let [damaged] = &store.stats().unwrap().damaged_shards[..] else {
        panic!("one shard is damaged");
    };
    assert_eq!((damaged.stream, damaged.shard), (stream.id(), shard));
    assert!(matches!(&damaged.damage, Error::Corrupt { path, .. } if *path == segment));
    assert_eq!(stream.stats().unwrap().damaged_shards.len(), 1);
    let sound = store.stream("sound").unwrap();
    assert!(sound.stats().unwrap().damaged_shards.is_empty());
    // The others take records.
    assert!(store.health().unwrap().failure.is_none());
}

#[cfg(feature = "sim")]
mod on_a_simulated_disk {
    use std::io::ErrorKind;

    use anabranch::Durability;
    use anabranch::sim::{Operation, SimDisk};

    use super::*;

    #[test]
    fn a_store_is_nearly_full_when_a_twentieth_is_left_with_what_it_would_give_up() {
        let disk = SimDisk::new(1);
        let store = options().disk(disk.clone()).open("store").unwrap();
        assert!(
            store.health().unwrap().space.is_none(),
            "a disk without a capacity has none to tell"
        );
        disk.set_capacity(100 << 20);
        assert!(!store.health().unwrap().is_nearly_full());
        disk.set_capacity(disk.used_bytes() + 100);
        let health = store.health().unwrap();
        assert!(health.is_nearly_full() && health.failure.is_none());
        assert_eq!(health.space.unwrap().available_bytes, 100);
    }

    #[test]
    fn a_put_that_gets_no_room_is_not_counted() {
        for level in [Durability::Synced, Durability::Written] {
            let disk = SimDisk::new(1);
            disk.set_capacity(2 << 20);
            let options = options().durability(level).segment_bytes(256 << 10);
            let store = options.disk(disk).open("store").unwrap();
            let stream = store.create_stream("clicks", 1).unwrap();
            let mut acknowledged = 0;
            while acknowledged < 1_000 && stream.put("k", &[0; 20_000]).is_ok() {
                acknowledged += 1;
            }
            assert!((1..1_000).contains(&acknowledged));
            assert_eq!(stream.stats().unwrap().puts.records, acknowledged, "{level:?}");
        }
    }

    #[test]
    fn a_poisoned_store_says_what_failed_first_until_it_is_opened_again() {
        let disk = SimDisk::new(1);
        let options = options().disk(disk.clone());
        let store = options.open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        stream.put("k", b"data").unwrap();
        disk.faults().fail_nth(Operation::SyncData, 1, ErrorKind::Other);
        stream.put("k", b"data").unwrap_err();
        let stats = store.stats().unwrap();
        assert!(matches!(stats.health.failure, Some(Error::Poisoned { .. })));
        assert_eq!(stats.puts.records, 1);
        // The remaining records can be read, and are counted.
        assert_eq!(read_all(&stream), 1);
        assert_eq!(store.stats().unwrap().reads.records, 1);
        let _ = store.close();
        let store = options.open("store").unwrap();
        assert!(store.health().unwrap().failure.is_none());
    }

    #[test]
    fn how_long_a_sync_takes_is_told_until_it_ends() {
        let disk = SimDisk::new(1);
        let clock = ManualClock::starting_at(START);
        let options = options().clock(clock.clone()).disk(disk.clone());
        let store = options.open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        stream.put("k", b"data").unwrap();
        assert_eq!(store.health().unwrap().oldest_sync, None);
        let stall = disk.stall_next(Operation::SyncData, "");
        let putting = std::thread::spawn(move || stream.put("k", b"data"));
        stall.wait_until_reached();
        clock.advance(HOUR);
        assert_eq!(store.health().unwrap().oldest_sync, Some(HOUR));
        drop(stall);
        putting.join().unwrap().unwrap();
        assert_eq!(store.health().unwrap().oldest_sync, None);
    }

    #[test]
    fn a_store_that_is_only_read_is_never_nearly_full() {
        let disk = SimDisk::new(1);
        let options = options().disk(disk.clone());
        options.open("store").unwrap().close().unwrap();
        disk.set_capacity(disk.used_bytes());
        let store = options.read_only(true).open("store").unwrap();
        let health = store.health().unwrap();
        assert!(health.is_read_only && !health.is_nearly_full());
        assert_eq!(health.space.unwrap().available_bytes, 0);
    }

    #[test]
    fn what_was_acknowledged_from_memory_is_counted_when_it_is_written() {
        let disk = SimDisk::new(1);
        let options = options().durability(Durability::Buffered).disk(disk);
        let store = options.open("store").unwrap();
        let stream = store.create_stream("clicks", 1).unwrap();
        for _ in 0..100 {
            stream.put("k", b"data").unwrap();
        }
        // A read causes them to be written.
        assert_eq!(read_all(&stream), 100);
        assert_eq!(flow_of(&stream), [100, 500, 100, 500]);
    }

    /// Sixty-four shards at once, with the commit journal and without. The journal's groups do not count for any shard.
    #[test]
    fn the_groups_of_rounds_are_counted_once() {
        for min_journaled_shards in [4, usize::MAX] {
            let disk = SimDisk::new(1);
            let options = options().min_journaled_shards(min_journaled_shards).disk(disk);
            let store = options.open("store").unwrap();
            let stream = store.create_stream("clicks", 64).unwrap();
            let step = HashKey::MAX.value() / 64 + 1;
            let records: Vec<_> = (0..64)
                .map(|shard| PutRecord::new("k", b"data").explicit_hash_key(HashKey::new(step * shard)))
                .collect();
            for _ in 0..3 {
                stream.put_records(&records).unwrap();
            }
            let stats = store.stats().unwrap();
            assert_eq!((stats.puts.records, stats.puts.commits()), (192, 192));
            assert!(stats.sync_micros.count() >= 3);
        }
    }
}
