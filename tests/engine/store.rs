//! Streams, shards and records through the library's public face.

use std::future::Future;
use std::time::Duration;

use anabranch::{
    Durability, Error, HashKey, InvalidArgument, LineageError, ManualClock, Named, PutRecord, ReadLimit,
    Record, ShardId, StartingPosition, Store, StoreOptions, Stream, StreamNameError, Timestamp, limits,
};
use anabranch_harness::files::copy_tree;

use crate::backends::{Place, on_each_backend};

const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

fn shard(index: u32) -> ShardId {
    ShardId::new(index).unwrap()
}

fn read_all(stream: &Stream, shard: ShardId) -> Vec<Record> {
    let mut from = stream
        .shard_iterator(shard, StartingPosition::TrimHorizon)
        .unwrap();
    let mut records = Vec::new();
    loop {
        let read = stream.get_records(&from, &ALL).unwrap();
        let is_at_head = read.records.is_empty();
        records.extend(read.records);
        match read.next {
            Some(next) if !is_at_head => from = next,
            _ => return records,
        }
    }
}

fn data_of(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8(record.data.to_vec()).unwrap())
        .collect()
}

/// Records that together have the size limit of a call, each counted with its key and 16 bytes.
fn largest_batch(data: &[u8]) -> Vec<PutRecord<'_>> {
    let bytes_each = data.len() + 1 + 16;
    let count = limits::MAX_BATCH_BYTES / bytes_each;
    let mut batch = vec![PutRecord::new("k", data); count];
    let left = limits::MAX_BATCH_BYTES - count * bytes_each;
    batch.push(PutRecord::new("k", &data[..left - 1 - 16]));
    batch
}

on_each_backend!(
    a_batch_up_to_the_limit_is_read_back_and_a_larger_one_is_refused_whole,
    what_is_wrong_with_an_argument_is_told_by_kind_and_facts,
    what_was_put_is_read_in_order_with_rising_sequence_numbers,
    everything_is_as_it_was_after_a_clean_close,
    a_split_shard_is_drained_into_its_children,
    many_writers_share_commits_and_each_record_is_there_once,
    every_starting_position_finds_its_record,
    a_second_opener_is_told_who_has_the_store,
    records_in_hand_stay_what_they_are_when_a_later_opener_frees_their_segments,
    records_that_nobody_waited_for_are_committed_before_the_store_is_closed,
    records_behind_the_horizon_are_hidden_exactly_and_do_not_come_back,
    splits_and_merges_beside_puts_lose_no_record_and_no_order,
    a_put_that_must_not_wait_takes_all_or_nothing,
);

fn a_batch_up_to_the_limit_is_read_back_and_a_larger_one_is_refused_whole(place: &Place) {
    let options = StoreOptions::new().durability(Durability::Written);
    let store = place.open_with(&options);
    let data = vec![7; 1_000_000];
    let batch = largest_batch(&data);
    let mut too_large = batch.clone();
    too_large.push(PutRecord::new("k", b""));
    for shards in [1, 3] {
        let stream = store.create_stream(&format!("{shards}"), shards).unwrap();
        let refused = stream.put_records(&too_large).unwrap_err();
        assert!(
            matches!(refused, Error::BatchTooLarge { bytes, limit } if bytes == limit + 17),
            "{refused}"
        );
        assert_eq!(stream.reader(StartingPosition::TrimHorizon).unwrap().count(), 0);
    }
    let stream = store.stream("1").unwrap();
    stream.put_records(&batch).unwrap();
    stream.put("k", b"behind").unwrap();
    let reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
    let bytes: usize = reader.map(|record| record.unwrap().data.len()).sum();
    let put: usize = batch.iter().map(|record| record.data.len()).sum();
    assert_eq!(bytes, put + b"behind".len());
}

#[test]
fn a_store_that_would_gather_larger_groups_than_can_be_read_does_not_open() {
    let directory = tempfile::tempdir().unwrap();
    let opened = |bytes| StoreOptions::new().max_group_bytes(bytes).open(directory.path());
    let refused = opened(limits::MAX_BATCH_BYTES + 1).unwrap_err();
    let most = limits::MAX_BATCH_BYTES;
    let kind = InvalidArgument::WaitingBytes {
        actual: most + 1,
        most,
    };
    assert!(
        matches!(&refused, Error::InvalidArgument(is) if *is == kind),
        "{refused}"
    );
    assert!(refused.to_string().contains("67108864"), "{refused}");
    opened(limits::MAX_BATCH_BYTES).unwrap();
}

fn what_is_wrong_with_an_argument_is_told_by_kind_and_facts(place: &Place) {
    fn kind<T: std::fmt::Debug>(result: anabranch::Result<T>) -> InvalidArgument {
        match result {
            Err(Error::InvalidArgument(kind)) => kind,
            other => panic!("{other:?}"),
        }
    }
    let store = place.open();
    let name = InvalidArgument::Name {
        of: Named::Stream,
        name: "a b".to_owned(),
        error: StreamNameError::InvalidCharacter { character: ' ' },
    };
    assert_eq!(kind(store.create_stream("a b", 1)), name);
    let count = InvalidArgument::Lineage(LineageError::InvalidShardCount { count: 0 });
    assert_eq!(kind(store.create_stream("clicks", 0)), count);
    let stream = store.create_stream("clicks", 1).unwrap();
    let put = kind(stream.put(&"k".repeat(257), b"data"));
    assert!(matches!(put, InvalidArgument::PartitionKey(_)), "{put:?}");
    let consumer = kind(stream.register_consumer(""));
    let is_empty = matches!(
        consumer,
        InvalidArgument::Name {
            of: Named::Consumer,
            error: StreamNameError::Empty,
            ..
        }
    );
    assert!(is_empty, "{consumer:?}");
    let most = limits::MAX_ATTRIBUTE_BYTES;
    let attribute = InvalidArgument::AttributeBytes {
        name: "policy".to_owned(),
        actual: most + 1,
        most,
    };
    assert_eq!(
        kind(store.set_attribute("policy", Some(&vec![0; most + 1]))),
        attribute
    );
}

fn what_was_put_is_read_in_order_with_rising_sequence_numbers(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    let puts: Vec<_> = (0..100)
        .map(|n| {
            stream
                .put(&format!("key-{n}"), format!("{n}").as_bytes())
                .unwrap()
        })
        .collect();

    let records = read_all(&stream, shard(0));
    assert_eq!(
        data_of(&records),
        (0..100).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    assert!(records.is_sorted_by(|a, b| a.sequence_number < b.sequence_number));
    for (put, record) in puts.iter().zip(&records) {
        assert_eq!(put.sequence_number, record.sequence_number);
        assert_eq!(put.shard_id, shard(0));
    }
}

fn everything_is_as_it_was_after_a_clean_close(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 2).unwrap();
    for n in 0..50 {
        stream
            .put(&format!("key-{n}"), format!("{n}").as_bytes())
            .unwrap();
    }
    let before: Vec<_> = (0..2).map(|n| read_all(&stream, shard(n))).collect();
    let description = stream.describe().unwrap();
    store.close().unwrap();
    assert!(matches!(stream.put("a", b"b"), Err(Error::Closed)));

    let store = place.open();
    let stream = store.stream("clicks").unwrap();
    assert_eq!(stream.describe().unwrap(), description);
    for n in 0..2 {
        assert_eq!(read_all(&stream, shard(n)), before[n as usize]);
    }
    let put = stream.put("more", b"more").unwrap();
    assert!(
        put.sequence_number
            > before[put.shard_id.index() as usize]
                .last()
                .unwrap()
                .sequence_number
    );
}

fn a_split_shard_is_drained_into_its_children(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    let parent = stream.put("a", b"parent").unwrap();
    stream.split_shard(shard(0), HashKey::MAX / 2).unwrap();
    let low = stream
        .put_record(&PutRecord::new("a", b"low").explicit_hash_key(HashKey::MIN))
        .unwrap();
    let high = stream
        .put_record(&PutRecord::new("a", b"high").explicit_hash_key(HashKey::MAX))
        .unwrap();
    assert_eq!((low.shard_id, high.shard_id), (shard(1), shard(2)));
    assert!(low.sequence_number > parent.sequence_number && high.sequence_number > parent.sequence_number);

    let from = stream
        .shard_iterator(shard(0), StartingPosition::TrimHorizon)
        .unwrap();
    let read = stream.get_records(&from, &ALL).unwrap();
    assert_eq!(data_of(&read.records), ["parent"]);
    assert!(read.next.is_none());
    assert_eq!(
        read.child_shards.iter().map(|c| c.shard_id).collect::<Vec<_>>(),
        [shard(1), shard(2)]
    );

    stream.merge_shards(shard(1), shard(2)).unwrap();
    let merged = stream.put("a", b"merged").unwrap();
    assert_eq!(merged.shard_id, shard(3));
    assert!(merged.sequence_number > low.sequence_number.max(high.sequence_number));
    assert!(matches!(
        stream.split_shard(shard(0), HashKey::MAX / 2),
        Err(Error::ShardClosed { .. })
    ));
}

#[test]
fn an_unclean_end_keeps_all_that_was_acknowledged_and_skips_no_later_put() {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..4 {
        let store = StoreOptions::new().open(directory.path()).unwrap();
        let stream = match round {
            0 => store.create_stream("clicks", 1).unwrap(),
            _ => store.stream("clicks").unwrap(),
        };
        assert_eq!(data_of(&read_all(&stream, shard(0))), expected);
        for n in 0..30 {
            let data = format!("{round}-{n}");
            stream.put("key", data.as_bytes()).unwrap();
            expected.push(data);
        }
        assert_eq!(data_of(&read_all(&stream, shard(0))), expected);
        // A copy of the directory is what a killed process leaves.
        let copy = tempfile::tempdir().unwrap();
        copy_tree(directory.path(), copy.path());
        drop((store, stream));
        std::fs::remove_dir_all(directory.path()).unwrap();
        copy_tree(copy.path(), directory.path());
    }
}

fn many_writers_share_commits_and_each_record_is_there_once(place: &Place) {
    for durability in [Durability::Synced, Durability::Written, Durability::Buffered] {
        let place = place.another();
        let store = place.open_with(&StoreOptions::new().durability(durability));
        let stream = store.create_stream("clicks", 3).unwrap();
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let stream = stream.clone();
                std::thread::spawn(move || {
                    (0..200)
                        .map(|n| {
                            stream
                                .put(&format!("{thread}-{n}"), format!("{thread}-{n}").as_bytes())
                                .unwrap()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let mut puts: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        puts.sort_by_key(|put| put.sequence_number);
        let mut records: Vec<_> = (0..3).flat_map(|n| read_all(&stream, shard(n))).collect();
        records.sort_by_key(|record| record.sequence_number);
        assert_eq!(records.len(), 1_600);
        assert!(
            puts.iter()
                .zip(&records)
                .all(|(put, record)| put.sequence_number == record.sequence_number)
        );
        store.close().unwrap();
        let store = place.open();
        let stream = store.stream("clicks").unwrap();
        let mut again: Vec<_> = (0..3).flat_map(|n| read_all(&stream, shard(n))).collect();
        again.sort_by_key(|record| record.sequence_number);
        assert_eq!(again, records);
    }
}

fn records_behind_the_horizon_are_hidden_exactly_and_do_not_come_back(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let options = StoreOptions::new().clock(clock.clone());
    let store = place.open_with(&options);
    let stream = store.create_stream("clicks", 1).unwrap();
    for _ in 0..48 {
        stream.put("key", &[7; 100]).unwrap();
        clock.advance(Duration::from_secs(3_600));
    }
    // 48 hours have passed; the record put 24 hours ago is the oldest that is kept.
    assert_eq!(read_all(&stream, shard(0)).len(), 24);
    clock.advance(Duration::from_millis(1));
    assert_eq!(read_all(&stream, shard(0)).len(), 23);
    store.maintain().unwrap();
    stream
        .increase_retention(anabranch::Retention::hours(48))
        .unwrap();
    assert_eq!(read_all(&stream, shard(0)).len(), 23);
    store.close().unwrap();
    let store = place.open_with(&options);
    assert_eq!(read_all(&store.stream("clicks").unwrap(), shard(0)).len(), 23);
}

#[test]
fn records_behind_the_horizon_are_hidden_exactly_and_their_segments_freed() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let store = StoreOptions::new()
        .clock(clock.clone())
        .segment_bytes(64 << 10)
        .open(directory.path())
        .unwrap();
    let stream = store.create_stream("clicks", 1).unwrap();
    let big = vec![7; 10_000];
    for _ in 0..48 {
        stream.put("key", &big).unwrap();
        clock.advance(Duration::from_secs(3_600));
    }
    // 48 hours have passed; the record put 24 hours ago is the oldest that is kept.
    assert_eq!(read_all(&stream, shard(0)).len(), 24);
    clock.advance(Duration::from_millis(1));
    assert_eq!(read_all(&stream, shard(0)).len(), 23);
    let segments = || {
        std::fs::read_dir(directory.path().join("streams/1/shardId-000000000000"))
            .unwrap()
            .count()
    };
    let before = segments();
    store.maintain().unwrap();
    assert!(segments() < before, "{} of {before} files are left", segments());
    assert_eq!(read_all(&stream, shard(0)).len(), 23);
    store.close().unwrap();
    let store = StoreOptions::new()
        .clock(clock.clone())
        .open(directory.path())
        .unwrap();
    assert_eq!(read_all(&store.stream("clicks").unwrap(), shard(0)).len(), 23);
}

fn every_starting_position_finds_its_record(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let store = place.open_with(&StoreOptions::new().clock(clock.clone()).segment_bytes(64 << 10));
    let stream = store.create_stream("clicks", 1).unwrap();
    let filler = "x".repeat(3_000);
    let puts: Vec<_> = (0..200)
        .map(|n| {
            clock.advance(Duration::from_millis(10));
            stream.put("key", format!("{n} {filler}").as_bytes()).unwrap()
        })
        .collect();
    let first_at = |position| {
        let from = stream.shard_iterator(shard(0), position).unwrap();
        let read = stream
            .get_records(&from, &ReadLimit { records: 1, bytes: 1 })
            .unwrap();
        read.records.first().map(|record| record.sequence_number)
    };
    let number = |n: usize| puts.get(n).map(|put| put.sequence_number);
    assert_eq!(first_at(StartingPosition::TrimHorizon), number(0));
    assert_eq!(first_at(StartingPosition::Latest), None);
    for (n, put) in puts.iter().enumerate() {
        let at = put.sequence_number;
        assert_eq!(first_at(StartingPosition::AtSequenceNumber(at)), number(n));
        assert_eq!(first_at(StartingPosition::AfterSequenceNumber(at)), number(n + 1));
        let time = Timestamp::from_millis(1_700_000_000_000 + 10 * (n as u64 + 1));
        assert_eq!(first_at(StartingPosition::AtTimestamp(time)), number(n));
        let later = time.saturating_add(Duration::from_millis(1));
        assert_eq!(first_at(StartingPosition::AtTimestamp(later)), number(n + 1));
    }
}

fn a_second_opener_is_told_who_has_the_store(place: &Place) {
    let _store = place.open();
    match place.try_open(&StoreOptions::new()) {
        Err(Error::Locked { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_directory_with_other_files_is_not_taken_for_a_store() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(
        Store::open(directory.path()),
        Err(Error::NotAStore { .. })
    ));
}

fn records_in_hand_stay_what_they_are_when_a_later_opener_frees_their_segments(place: &Place) {
    let clock = ManualClock::starting_at(Timestamp::from_millis(1_700_000_000_000));
    let options = StoreOptions::new()
        .clock(clock.clone())
        .segment_bytes(64 << 10)
        .keeper(false);
    let put_many = |stream: &Stream, byte: u8| {
        for _ in 0..20 {
            stream.put("key", &[byte; 10_000]).unwrap();
        }
    };
    let store = place.open_with(&options);
    let stream = store.create_stream("clicks", 1).unwrap();
    put_many(&stream, b'a');
    let in_hand = read_all(&stream, shard(0));
    store.close().unwrap();

    let store = place.open_with(&options);
    let stream = store.stream("clicks").unwrap();
    clock.advance(Duration::from_secs(25 * 3_600));
    stream.put("key", b"later").unwrap();
    store.maintain().unwrap();
    put_many(&stream, b'b');
    assert!(
        in_hand
            .iter()
            .all(|record| record.data.iter().all(|byte| *byte == b'a'))
    );
}

fn records_that_nobody_waited_for_are_committed_before_the_store_is_closed(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 1).unwrap();
    let append = stream.append(&[PutRecord::new("key", b"data")]).unwrap();
    store.close().unwrap();
    let mut append = std::pin::pin!(append);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let answer = append.as_mut().poll(&mut context);
    assert!(matches!(answer, std::task::Poll::Ready(Ok(_))), "{answer:?}");

    let store = place.open();
    let stream = store.stream("clicks").unwrap();
    assert_eq!(data_of(&read_all(&stream, shard(0))), ["data"]);
}

fn splits_and_merges_beside_puts_lose_no_record_and_no_order(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 2).unwrap();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let puts: Vec<u32> = std::thread::scope(|scope| {
        let putters: Vec<_> = (0..3)
            .map(|key| {
                let (stream, is_over) = (&stream, &is_over);
                scope.spawn(move || {
                    let mut puts = 0;
                    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        let data = format!("{key} {puts}");
                        stream.put(&format!("key-{key}"), data.as_bytes()).unwrap();
                        puts += 1;
                    }
                    puts
                })
            })
            .collect();
        stream.merge_shards(shard(0), shard(1)).unwrap();
        let mut whole = shard(2);
        for _ in 0..5 {
            stream.split_shard(whole, HashKey::MAX / 2).unwrap();
            let [low, high] = [1, 2].map(|n| shard(whole.index() + n));
            stream.merge_shards(low, high).unwrap();
            whole = shard(whole.index() + 3);
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        putters.into_iter().map(|putter| putter.join().unwrap()).collect()
    });
    let mut next = [0; 3];
    for record in stream.reader(StartingPosition::TrimHorizon).unwrap() {
        let data = String::from_utf8(record.unwrap().data.to_vec()).unwrap();
        let (key, number) = data.split_once(' ').unwrap();
        let next = &mut next[key.parse::<usize>().unwrap()];
        assert_eq!(number, next.to_string());
        *next += 1;
    }
    assert_eq!(next.to_vec(), puts);
}

fn a_put_that_must_not_wait_takes_all_or_nothing(place: &Place) {
    let store = place.open();
    let stream = store.create_stream("clicks", 2).unwrap();
    let low = PutRecord::new("k", b"low").explicit_hash_key(HashKey::MIN);
    let high = PutRecord::new("k", b"high").explicit_hash_key(HashKey::MAX);
    // No log was open yet, and then only one of the two.
    assert!(stream.try_append(&[low, high]).unwrap().is_none());
    stream.put_record(&low).unwrap();
    assert!(stream.try_append(&[low, high]).unwrap().is_none());
    assert_eq!(data_of(&read_all(&stream, shard(0))), ["low"]);
    stream.put_record(&high).unwrap();
    let both = stream
        .try_append(&[high, low, low])
        .unwrap()
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(
        both.iter().map(|put| put.shard_id.index()).collect::<Vec<_>>(),
        [1, 0, 0]
    );
    assert!(both[1].sequence_number < both[2].sequence_number);
    let alone = stream.try_append(&[high]).unwrap().unwrap().wait().unwrap();
    assert!(alone[0].sequence_number > both[0].sequence_number);
    assert_eq!(data_of(&read_all(&stream, shard(0))), ["low"; 3]);
    assert_eq!(data_of(&read_all(&stream, shard(1))), ["high"; 3]);
}
