//! Behaviour of a store in memory alone: its bound, its one opener, the numbers that it leaves out, reads that wait.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use anabranch::{
    Error, ManualClock, Memory, PutRecord, ReadLimit, StartingPosition, Store, StoreOptions, Stream,
    Timestamp,
};

/// Puts a record of 1,000 bytes, counted with its key and the 16 bytes that each record counts.
fn put(stream: &Stream) -> Result<(), Error> {
    stream.put("k", &[7; 1_000 - 1 - 16]).map(drop)
}

fn is_full(result: &Result<(), Error>) -> bool {
    matches!(result, Err(Error::StorageFull { .. }))
}

#[test]
fn a_put_beyond_the_bound_is_refused_until_records_expire_or_a_stream_is_deleted() {
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let memory = Memory::new();
    let options = StoreOptions::new()
        .max_memory_bytes(10_000)
        .clock(clock.clone())
        .keeper(false);
    let store = options.open_in_memory(&memory).unwrap();
    let first = store.create_stream("first", 1).unwrap();
    let second = store.create_stream("second", 3).unwrap();
    for _ in 0..6 {
        put(&first).unwrap();
    }
    clock.advance(Duration::from_secs(20 * 3_600));
    for _ in 0..4 {
        put(&second).unwrap();
    }
    assert!(is_full(&put(&first)));
    // Each shard refuses its part of a batch separately.
    let batch: Vec<_> = ["a", "b", "c", "d"].map(|key| PutRecord::new(key, b"x")).to_vec();
    let outcomes = second.append(&batch).unwrap().each().wait();
    assert!(outcomes.iter().all(|outcome| is_full(&outcome.clone().map(drop))));
    // The bound is for all bytes in the memory, also for the next opener.
    store.close().unwrap();
    let store = options.open_in_memory(&memory).unwrap();
    let (first, second) = (store.stream("first").unwrap(), store.stream("second").unwrap());
    assert!(is_full(&put(&second)));

    clock.advance(Duration::from_secs(5 * 3_600));
    store.maintain().unwrap();
    for _ in 0..6 {
        put(&second).unwrap();
    }
    assert!(is_full(&put(&first)));
    second.delete().unwrap();
    for _ in 0..10 {
        put(&first).unwrap();
    }
    assert!(is_full(&put(&first)));
}

#[test]
fn memory_has_one_opener_at_a_time_and_is_not_only_read() {
    let memory = Memory::new();
    let store = StoreOptions::new().open_in_memory(&memory).unwrap();
    let refused = StoreOptions::new().open_in_memory(&memory).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    let id = store.id();
    drop(store);
    let refused = StoreOptions::new()
        .read_only(true)
        .open_in_memory(&memory)
        .unwrap_err();
    assert!(matches!(refused, Error::InvalidArgument { .. }), "{refused}");
    let store = StoreOptions::new().open_in_memory(&memory).unwrap();
    assert_eq!(store.id(), id);
    assert_ne!(Store::in_memory().unwrap().id(), id);
}

#[test]
fn numbers_rise_and_those_that_are_left_out_are_positions_too() {
    let store = Store::in_memory().unwrap();
    let stream = store.create_stream("s", 1).unwrap();
    let puts: Vec<_> = (0..50_u8).map(|n| stream.put("k", &[n]).unwrap()).collect();
    let numbers: Vec<_> = puts
        .iter()
        .map(|put| put.sequence_number.record_number().value())
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b));
    assert!(numbers.windows(2).any(|pair| pair[1] > pair[0] + 1));
    // The records of one call follow each other.
    let batch = [PutRecord::new("k", b"a"), PutRecord::new("k", b"b")];
    let batch = stream.put_records(&batch).unwrap();
    let [a, b] = [&batch[0], &batch[1]].map(|put| put.sequence_number.record_number());
    assert_eq!(a.next(), b);
    for (n, put) in puts.iter().enumerate() {
        let behind = StartingPosition::AfterSequenceNumber(put.sequence_number);
        let from = stream.shard_iterator(put.shard_id, behind).unwrap();
        let all = ReadLimit {
            records: 1_000,
            bytes: 1 << 20,
        };
        let read = stream.get_records(&from, &all).unwrap();
        assert_eq!(read.records.len(), 50 - n - 1 + 2);
    }
}

#[test]
fn readers_that_wait_for_what_is_fetched_get_everything_in_order() {
    let options = StoreOptions::new().reads_for_each_wait(2);
    let store = options.open_in_memory(&Memory::new()).unwrap();
    let stream = store.create_stream("s", 2).unwrap();
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let mut reader = stream.reader(StartingPosition::TrimHorizon).unwrap();
            thread::spawn(move || {
                let mut read = BTreeSet::new();
                while read.len() < 200 {
                    let record = reader.next_within(Duration::from_secs(60)).unwrap();
                    assert!(read.insert(record.unwrap().data.to_vec()));
                }
            })
        })
        .collect();
    for n in 0..200_u8 {
        stream.put(&n.to_string(), &[n]).unwrap();
    }
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

/// A reader of several shards looked again after each fetch, and every look started more fetches.
#[test]
fn what_is_fetched_is_no_change_that_a_watch_hears_of() {
    const SHARDS: u32 = 8;
    let options = StoreOptions::new().reads_for_each_wait(2);
    let store = options.open_in_memory(&Memory::new()).unwrap();
    let stream = store.create_stream("s", SHARDS).unwrap();
    let shards: Vec<_> = stream
        .describe()
        .unwrap()
        .shards
        .iter()
        .map(|shard| shard.id)
        .collect();
    let mut watch = stream.watch(&shards).unwrap();
    // One of every two reads waits.
    for shard in shards.iter().cycle().take(4 * shards.len()) {
        let from = stream
            .shard_iterator(*shard, StartingPosition::TrimHorizon)
            .unwrap();
        stream.get_records(&from, &ReadLimit::default()).unwrap();
    }
    assert!(!watch.wait(Duration::ZERO));
    stream.put("k", b"data").unwrap();
    assert!(watch.wait(Duration::from_secs(60)));
}

#[test]
fn who_reads_while_the_store_is_closed_is_told() {
    let options = StoreOptions::new().reads_for_each_wait(2);
    for _ in 0..20 {
        let store = options.open_in_memory(&Memory::new()).unwrap();
        let stream = store.create_stream("s", 1).unwrap();
        let put = stream.put("k", b"data").unwrap();
        let reading = thread::spawn(move || {
            loop {
                let from = stream.shard_iterator(put.shard_id, StartingPosition::TrimHorizon);
                match from {
                    Ok(_) => {}
                    Err(Error::Closed) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        store.close().unwrap();
        reading.join().unwrap();
    }
}
