//! The memory that a queue keeps: some for records that are given out, and none for acknowledged ones.

use std::time::Duration;

use anabranch::{
    ManualClock, PutRecord, Queue, QueueOptions, QueueSettings, ReadLimit, Receipt, ReceiveOptions, Store,
    StoreOptions, Timestamp, limits,
};
use anabranch_harness::allocation;

/// For a record, or a dead letter, that was given out and not acknowledged.
const MOST_OF_A_RECORD: usize = 250;

fn many() -> ReceiveOptions {
    ReceiveOptions {
        limit: ReadLimit {
            records: 5_000,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    }
}

fn put(store: &Store, records: usize) {
    let stream = store.stream("jobs").unwrap();
    for from in (0..records).step_by(1_000) {
        let keys: Vec<_> = (from..from + 1_000).map(|key| key.to_string()).collect();
        let batch: Vec<_> = keys.iter().map(|key| PutRecord::new(key, b"x")).collect();
        stream.put_records(&batch).unwrap();
    }
}

fn receive(queue: &Queue, records: usize) -> Vec<Receipt> {
    let mut receipts: Vec<Receipt> = Vec::with_capacity(records);
    while receipts.len() < records {
        let received = queue.receive(&many()).unwrap();
        assert!(!received.is_empty());
        receipts.extend(received.iter().map(|record| record.receipt));
    }
    receipts
}

#[test]
fn a_queue_with_as_much_in_flight_as_can_be_takes_some_megabytes() {
    let _alone = crate::alone();
    const RECORDS: usize = limits::MAX_UNACKNOWLEDGED;
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions::new().keeper(false);
    let store = options.open(directory.path()).unwrap();
    let stream = store.create_stream("jobs", 4).unwrap();
    let queue_options = QueueOptions {
        settings: QueueSettings {
            visibility_seconds: 43_200,
            max_receive_count: None,
        },
        ..QueueOptions::default()
    };
    let queue = stream.create_queue("work", &queue_options).unwrap();
    put(&store, RECORDS);
    let before = allocation::used();
    let receipts = receive(&queue, RECORDS);
    assert_eq!(queue.counts().unwrap().in_flight, RECORDS);
    let of_receipts = RECORDS * size_of::<Receipt>();
    let kept = allocation::used().saturating_sub(before + of_receipts);
    println!("{} bytes for each record in flight", kept / RECORDS);
    assert!(kept < RECORDS * MOST_OF_A_RECORD, "{kept} bytes");

    // Records acknowledged in any order take no memory, even if a record between them is not acknowledged.
    for chunk in receipts[1..].chunks(10_000) {
        queue.acknowledge(chunk).unwrap();
    }
    let left = allocation::used().saturating_sub(before + of_receipts);
    println!("{left} bytes when all but one are acknowledged");
    assert!(left < 2 << 20, "{left} bytes");
    store.close().unwrap();
}

/// The same during these calls, and during snapshots.
#[test]
fn as_many_dead_letters_beside_them_take_no_more_each() {
    const RECORDS: usize = limits::MAX_UNACKNOWLEDGED;
    const VISIBILITY: Duration = Duration::from_secs(1_000);
    /// For a receive, and for a snapshot in the entries of the log and in a group that is written.
    const WHILE_AT_WORK: usize = 64 << 20;
    let _alone = crate::alone();
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let options = StoreOptions::new().keeper(false).clock(clock.clone());
    let store = options.open(directory.path()).unwrap();
    let stream = store.create_stream("jobs", 4).unwrap();
    let queue_options = QueueOptions {
        settings: QueueSettings {
            visibility_seconds: VISIBILITY.as_secs() as u32,
            max_receive_count: Some(1),
        },
        ..QueueOptions::default()
    };
    let queue = stream.create_queue("work", &queue_options).unwrap();
    put(&store, RECORDS);
    put(&store, RECORDS);
    let before = allocation::start_peak();
    drop(receive(&queue, RECORDS));
    clock.advance(VISIBILITY);
    drop(receive(&queue, RECORDS));
    let counts = queue.counts().unwrap();
    assert_eq!((counts.in_flight, counts.dead_letters), (RECORDS, RECORDS));
    let kept = allocation::used().saturating_sub(before);
    let peak = allocation::peak().saturating_sub(before);
    println!("{} bytes for each, {peak} at most", kept / (2 * RECORDS));
    assert!(kept < 2 * RECORDS * MOST_OF_A_RECORD, "{kept} bytes");
    assert!(
        peak < 2 * RECORDS * MOST_OF_A_RECORD + WHILE_AT_WORK,
        "{peak} bytes"
    );
    store.close().unwrap();
}
