//! What a queue keeps in memory: what is under way, and nothing for what is done with.

use anabranch::{
    PutRecord, QueueOptions, QueueSettings, ReadLimit, Receipt, ReceiveOptions, Store, StoreOptions, limits,
};
use anabranch_harness::allocation;

/// Of a record, or a dead letter, that was given out and is not done with.
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
    let mut receipts: Vec<Receipt> = Vec::with_capacity(RECORDS);
    while receipts.len() < RECORDS {
        let received = queue.receive(&many()).unwrap();
        assert!(!received.is_empty());
        receipts.extend(received.iter().map(|record| record.receipt));
    }
    assert_eq!(queue.counts().unwrap().in_flight, RECORDS);
    let of_receipts = RECORDS * size_of::<Receipt>();
    let kept = allocation::used().saturating_sub(before + of_receipts);
    println!("{} bytes for each record in flight", kept / RECORDS);
    assert!(kept < RECORDS * MOST_OF_A_RECORD, "{kept} bytes");

    // What is acknowledged in whatever order leaves nothing, also where a record in between is not.
    for chunk in receipts[1..].chunks(10_000) {
        queue.acknowledge(chunk).unwrap();
    }
    let left = allocation::used().saturating_sub(before + of_receipts);
    println!("{left} bytes when all but one are acknowledged");
    assert!(left < 2 << 20, "{left} bytes");
    store.close().unwrap();
}
