//! Queues over streams, on each backend.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anabranch::{
    Error, HashKey, InvalidArgument, ManualClock, ModeOptions, Queue, QueueOptions, QueueRecord,
    QueueSettings, ReadLimit, ReaderStatus, Receipt, ReceiptError, ReceiveOptions, StartingPosition, Store,
    StoreOptions, Stream, StreamMode, Timestamp,
};

use crate::backends::{Place, on_each_backend};

on_each_backend!(
    a_record_is_held_back_and_given_out_again_unless_it_is_acknowledged,
    what_is_given_out_too_often_is_a_dead_letter_until_it_is_restored,
    what_is_given_back_was_never_given_out,
    receipts_that_are_wrong_change_nothing,
    a_later_opener_knows_what_was_acknowledged_and_how_often_records_were_given_out,
    a_queue_begins_where_it_is_told_to,
    children_are_given_out_too_across_splits_and_merges,
    what_expires_leaves_the_queue,
    a_stream_with_queues_stays_and_a_queue_that_was_deleted_gives_nothing,
    settings_and_names_are_checked,
    a_waiting_consumer_is_woken_by_a_put_by_the_time_and_by_a_restored_record,
    half_of_what_is_given_out_is_new_while_there_is_both,
    no_shard_is_kept_back_by_records_that_come_again_and_again,
    receives_of_dead_letters_take_no_turn_of_others,
    so_many_can_be_in_flight_and_no_more,
    the_log_is_compacted,
    changes_of_a_queue_take_the_transition_delay,
    a_last_delivery_can_be_acknowledged_after_a_restart,
    what_was_given_out_often_enough_is_dead_also_behind_a_snapshot,
    many_that_become_dead_letters_keep_none_back_that_is_not,
    what_is_restored_is_given_out_before_what_is_free_later,
    a_receive_keeps_to_its_bytes,
    a_queue_that_needs_a_stream_on_demand_keeps_it_so,
    what_can_be_received_is_counted,
);

struct Bench {
    clock: ManualClock,
    options: StoreOptions,
    store: Store,
}

impl Bench {
    fn new(place: &Place) -> Self {
        let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
        let options = StoreOptions::new().clock(clock.clone()).keeper(false);
        let store = place.open_with(&options);
        Self {
            clock,
            options,
            store,
        }
    }

    fn open_again(&mut self, place: &Place) {
        self.store.close().unwrap();
        self.store = place.open_with(&self.options);
    }

    fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn settings(visibility_seconds: u32, max_receive_count: Option<u32>) -> QueueOptions {
    QueueOptions {
        settings: QueueSettings {
            visibility_seconds,
            max_receive_count,
        },
        ..QueueOptions::default()
    }
}

fn put(stream: &Stream, names: impl IntoIterator<Item = impl ToString>) {
    for name in names {
        let name = name.to_string();
        stream.put(&name, name.as_bytes()).unwrap();
    }
}

fn receive(queue: &Queue) -> Vec<QueueRecord> {
    queue.receive(&ReceiveOptions::default()).unwrap()
}

fn receive_dead(queue: &Queue) -> Vec<QueueRecord> {
    let dead_letters = ReceiveOptions {
        dead_letters: true,
        ..ReceiveOptions::default()
    };
    queue.receive(&dead_letters).unwrap()
}

fn names(records: &[QueueRecord]) -> BTreeSet<String> {
    let names = records
        .iter()
        .map(|record| String::from_utf8(record.record.data.to_vec()).unwrap());
    names.collect()
}

fn of(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn one_record() -> ReceiveOptions {
    ReceiveOptions {
        limit: ReadLimit {
            records: 1,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    }
}

fn receipts(records: &[QueueRecord]) -> Vec<Receipt> {
    records.iter().map(|record| record.receipt).collect()
}

/// In flight, to be given out again, dead, and both dead and in flight.
fn counts(queue: &Queue) -> [usize; 4] {
    let counts = queue.counts().unwrap();
    [
        counts.in_flight,
        counts.to_redeliver,
        counts.dead_letters,
        counts.dead_letters_in_flight,
    ]
}

fn a_record_is_held_back_and_given_out_again_unless_it_is_acknowledged(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 3).unwrap();
    let queue = stream.create_queue("work", &settings(30, None)).unwrap();
    put(&stream, ["a", "b", "c"]);
    let first = receive(&queue);
    assert_eq!(names(&first), of(&["a", "b", "c"]));
    assert!(first.iter().all(|record| record.receive_count == 1));
    assert_eq!((receive(&queue).len(), counts(&queue)), (0, [3, 0, 0, 0]));

    let acknowledged = first[0].record.data.clone();
    assert_eq!(queue.acknowledge(&[first[0].receipt]).unwrap(), [Ok(())]);
    assert_eq!(counts(&queue), [2, 0, 0, 0]);
    // One is held back for longer, the other is free at once.
    let changes = [(first[1].receipt, 90), (first[2].receipt, 0)];
    assert_eq!(queue.change_visibility(&changes).unwrap(), [Ok(()), Ok(())]);
    assert_eq!(counts(&queue), [1, 1, 0, 0]);
    let again = receive(&queue);
    assert_eq!((again.len(), again[0].receive_count), (1, 2));
    assert_eq!(again[0].record.sequence_number, first[2].record.sequence_number);
    assert_eq!(again[0].first_received, first[2].first_received);

    bench.wait(31);
    assert_eq!(counts(&queue), [1, 1, 0, 0]);
    bench.wait(60);
    let rest = receive(&queue);
    assert_eq!(rest.len(), 2);
    assert!(rest.iter().all(|record| record.record.data != acknowledged));
    // Records that were received again can be acknowledged, and acknowledged ones can be acknowledged again.
    let outcomes = queue.acknowledge(&receipts(&rest)).unwrap();
    assert_eq!(outcomes, [Ok(()), Ok(())]);
    assert_eq!(queue.acknowledge(&receipts(&rest)).unwrap(), [Ok(()), Ok(())]);
    bench.wait(10_000);
    assert_eq!((receive(&queue).len(), counts(&queue)), (0, [0; 4]));
}

fn what_can_be_received_is_counted(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 2).unwrap();
    put(&stream, 0..10);
    let whole = QueueOptions {
        start: StartingPosition::TrimHorizon,
        ..settings(30, Some(1))
    };
    let queue = stream.create_queue("whole", &whole).unwrap();
    let late = stream.create_queue("late", &settings(30, None)).unwrap();
    let available = |queue: &Queue| queue.available().unwrap();
    assert_eq!((available(&queue), available(&late)), (10, 0));
    put(&stream, 10..12);
    assert_eq!((available(&queue), available(&late)), (12, 2));

    let three = ReceiveOptions {
        limit: ReadLimit {
            records: 3,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    };
    let received = queue.receive(&three).unwrap();
    assert_eq!((received.len(), available(&queue)), (3, 9));
    queue.acknowledge(&[received[0].receipt]).unwrap();
    // A freed record can be received. Once it was given out too often it is a dead letter.
    queue.change_visibility(&[(received[1].receipt, 0)]).unwrap();
    bench.wait(31);
    let dead = queue.counts().unwrap().dead_letters as u64;
    assert_eq!((dead, available(&queue)), (2, 9));
    let letters = receive_dead(&queue);
    queue.restore(&receipts(&letters)).unwrap();
    assert_eq!(available(&queue), 11);

    // Records in shards that the queue has not reached count, and so do records from before a restart.
    let shards = stream.shards(&Default::default()).unwrap();
    stream.split_in_half(shards[0].id).unwrap();
    put(&stream, 12..20);
    assert_eq!((available(&queue), available(&late)), (19, 10));
    drop((stream, queue, late));
    bench.open_again(place);
    let stream = bench.store.stream("jobs").unwrap();
    let queue = stream.queue("whole").unwrap();
    assert_eq!(available(&queue), 19);
    let mut rest = BTreeSet::new();
    loop {
        let records = receive(&queue);
        if records.is_empty() {
            break;
        }
        rest.extend(names(&records));
        queue.acknowledge(&receipts(&records)).unwrap();
    }
    assert_eq!((rest.len(), available(&queue)), (19, 0));

    put(&stream, 20..22);
    assert_eq!(available(&queue), 2);
    // The store believes a jump of the clock only after an hour.
    for _ in 0..26 {
        bench.wait(3_600);
        bench.store.maintain().unwrap();
    }
    assert_eq!(available(&queue), 0);
    queue.delete().unwrap();
    assert!(matches!(queue.available(), Err(Error::QueueNotFound { .. })));
}

fn what_is_given_out_too_often_is_a_dead_letter_until_it_is_restored(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(10, Some(2))).unwrap();
    put(&stream, ["a", "b"]);
    for count in 1..=2 {
        let records = receive(&queue);
        assert!(records.iter().all(|record| record.receive_count == count) && records.len() == 2);
        bench.wait(10);
    }
    assert_eq!((receive(&queue).len(), counts(&queue)), (0, [0, 0, 2, 0]));
    let dead = receive_dead(&queue);
    assert_eq!(names(&dead), of(&["a", "b"]));
    assert!(dead.iter().all(|record| record.receive_count == 3));
    assert_eq!(counts(&queue), [0, 0, 0, 2]);
    assert!(receive_dead(&queue).is_empty());
    bench.wait(10);
    let dead = receive_dead(&queue);
    assert_eq!(dead.len(), 2);

    // Dead letters stay dead whatever the settings become later, also for a later opener.
    queue.set_settings(&settings(10, None).settings).unwrap();
    bench.open_again(place);
    let queue = bench.store.stream("jobs").unwrap().queue("work").unwrap();
    assert_eq!(counts(&queue), [0, 0, 2, 0]);
    assert_eq!(queue.restore(&[dead[0].receipt]).unwrap(), [Ok(())]);
    assert_eq!(queue.acknowledge(&[dead[1].receipt]).unwrap(), [Ok(())]);
    assert_eq!(counts(&queue), [0, 1, 0, 0]);
    let restored = receive(&queue);
    assert_eq!((restored.len(), restored[0].receive_count), (1, 1));
    assert_eq!(restored[0].record.data, dead[0].record.data);
    assert_eq!(restored[0].first_received, bench.store.now());
}

fn what_is_given_back_was_never_given_out(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(10, Some(1))).unwrap();
    put(&stream, ["a", "b"]);
    let gone = receipts(&receive(&queue));
    assert_eq!(queue.give_back(&gone[..1]).unwrap(), [Ok(())]);
    // The other record died of it.
    bench.wait(10);
    assert_eq!(counts(&queue), [0, 1, 1, 0]);
    let of_other = Receipt {
        queue: stream
            .create_queue("other", &QueueOptions::default())
            .unwrap()
            .id(),
        ..gone[1]
    };
    let wrong = queue.give_back(&[gone[0], of_other, gone[1]]).unwrap();
    assert_eq!(
        wrong,
        [Err(ReceiptError::Expired), Err(ReceiptError::OtherQueue), Ok(())]
    );
    assert_eq!(counts(&queue), [0, 2, 0, 0]);
    // Their receipts are no longer valid, not even for a later opener, which knows how often they were received.
    for _ in 0..2 {
        let queue = bench.store.stream("jobs").unwrap().queue("work").unwrap();
        assert_eq!(queue.acknowledge(&gone).unwrap(), [Err(ReceiptError::Expired); 2]);
        assert_eq!(counts(&queue), [0, 2, 0, 0]);
        bench.open_again(place);
    }
    let queue = bench.store.stream("jobs").unwrap().queue("work").unwrap();
    let received = receive(&queue);
    assert_eq!(names(&received), of(&["a", "b"]));
    for record in &received {
        assert_eq!(
            (record.receive_count, record.first_received),
            (1, bench.store.now())
        );
    }
    // Of several deliveries the last one is undone; for dead letters too.
    queue.set_settings(&settings(10, Some(2)).settings).unwrap();
    bench.wait(10);
    let second = receive(&queue);
    assert!(second.iter().all(|record| record.receive_count == 2));
    queue.give_back(&receipts(&second)).unwrap();
    let third = receive(&queue);
    assert!(third.iter().all(|record| record.receive_count == 2));
    assert_eq!(third[0].first_received, received[0].first_received);
    bench.wait(10);
    for _ in 0..2 {
        let dead = receive_dead(&queue);
        assert!(dead.iter().all(|record| record.receive_count == 3));
        queue.give_back(&receipts(&dead)).unwrap();
        assert_eq!(counts(&queue), [0, 0, 2, 0]);
    }
    // Acknowledged records cannot be given back.
    queue.acknowledge(&receipts(&receive_dead(&queue))).unwrap();
    let gone = queue.give_back(&receipts(&third)).unwrap();
    assert_eq!(gone, [Err(ReceiptError::Gone); 2]);
}

fn receipts_that_are_wrong_change_nothing(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(10, Some(9))).unwrap();
    let other = stream.create_queue("other", &QueueOptions::default()).unwrap();
    put(&stream, ["a"]);
    let first = receive(&queue)[0].receipt;
    bench.wait(10);
    let second = receive(&queue)[0].receipt;
    let of_other = receive(&other)[0].receipt;
    let dead = Receipt {
        is_dead_letter: true,
        ..second
    };
    let wrong = [first, of_other, dead];
    let refused = [
        Err(ReceiptError::Expired),
        Err(ReceiptError::OtherQueue),
        Err(ReceiptError::Expired),
    ];
    assert_eq!(queue.acknowledge(&wrong).unwrap(), refused);
    let changes = wrong.map(|receipt| (receipt, 0));
    assert_eq!(queue.change_visibility(&changes).unwrap(), refused);
    let not_dead = [Err(ReceiptError::OtherQueue), Err(ReceiptError::NotADeadLetter)];
    assert_eq!(queue.restore(&[of_other, second]).unwrap(), not_dead);
    assert_eq!(counts(&queue), [1, 0, 0, 0]);
    // A valid receipt among them still works.
    assert_eq!(
        queue.acknowledge(&[first, second]).unwrap(),
        [Err(ReceiptError::Expired), Ok(())]
    );
    assert_eq!(counts(&queue), [0; 4]);
    let gone = queue.change_visibility(&[(second, 5)]).unwrap();
    assert_eq!(gone, [Err(ReceiptError::Gone)]);
    // A record that is no longer held back can be acknowledged, but not held back for longer.
    bench.wait(60);
    assert_eq!(
        other.change_visibility(&[(of_other, 5)]).unwrap(),
        [Err(ReceiptError::NotInFlight)]
    );
    assert_eq!(other.acknowledge(&[of_other]).unwrap(), [Ok(())]);
}

fn a_later_opener_knows_what_was_acknowledged_and_how_often_records_were_given_out(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 2).unwrap();
    let queue = stream.create_queue("work", &settings(1_000, Some(2))).unwrap();
    put(&stream, 0..20);
    let mut received = receive(&queue);
    received.extend(receive(&queue));
    assert_eq!(received.len(), 20);
    let (done, open) = received.split_at(12);
    queue.acknowledge(&receipts(done)).unwrap();

    bench.open_again(place);
    let queue = bench.store.stream("jobs").unwrap().queue("work").unwrap();
    // How long they were to be held back is no longer known.
    assert_eq!(counts(&queue), [0, 8, 0, 0]);
    let again = receive(&queue);
    assert_eq!(names(&again), names(open));
    assert!(again.iter().all(|record| record.receive_count == 2));
    assert_eq!(
        queue.acknowledge(&[open[0].receipt]).unwrap(),
        [Err(ReceiptError::Expired)]
    );

    bench.open_again(place);
    let queue = bench.store.stream("jobs").unwrap().queue("work").unwrap();
    assert_eq!((receive(&queue).len(), counts(&queue)), (0, [0, 0, 8, 0]));
    assert_eq!(names(&receive_dead(&queue)), names(open));
}

fn a_queue_begins_where_it_is_told_to(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 2).unwrap();
    put(&stream, ["old"]);
    bench.wait(60);
    let minute = bench.store.now();
    put(&stream, ["middle"]);
    let shard = stream.describe().unwrap().shards[0].id;
    stream.split_shard(shard, HashKey::MAX / 8).unwrap();
    put(&stream, ["late"]);
    let create = |name: &str, start| {
        let options = QueueOptions {
            start,
            ..QueueOptions::default()
        };
        stream.create_queue(name, &options)
    };
    create("all", StartingPosition::TrimHorizon).unwrap();
    create("some", StartingPosition::AtTimestamp(minute)).unwrap();
    create("new", StartingPosition::Latest).unwrap();
    let future = minute.saturating_add(Duration::from_secs(1));
    assert!(matches!(
        create("future", StartingPosition::AtTimestamp(future)),
        Err(Error::InvalidArgument(InvalidArgument::ReaderInFuture))
    ));
    put(&stream, ["new"]);
    let child = stream.describe().unwrap().shards[2].id;
    stream.split_shard(child, HashKey::MAX / 16).unwrap();
    put(&stream, ["newest"]);
    bench.open_again(place);
    let stream = bench.store.stream("jobs").unwrap();
    let received = |name: &str| names(&receive(&stream.queue(name).unwrap()));
    assert_eq!(received("new"), of(&["new", "newest"]));
    assert_eq!(received("some"), of(&["middle", "late", "new", "newest"]));
    assert_eq!(received("all"), of(&["old", "middle", "late", "new", "newest"]));
}

fn children_are_given_out_too_across_splits_and_merges(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 2).unwrap();
    let queue = stream.create_queue("work", &settings(1_000, None)).unwrap();
    let mut all = BTreeSet::new();
    let mut received = BTreeSet::new();
    for round in 0..6 {
        for count in 0..7 {
            let name = format!("{round}-{count}");
            put(&stream, [&name]);
            all.insert(name);
        }
        let open = stream.shards(&anabranch::ShardFilter::AtLatest).unwrap();
        match round % 2 {
            0 => stream
                .split_shard(
                    open[0].id,
                    HashKey::new(open[0].hash_key_range.start().value() + 1_000),
                )
                .unwrap(),
            _ => {
                let mut open = open;
                open.sort_by_key(|shard| shard.hash_key_range.start());
                stream.merge_shards(open[0].id, open[1].id).unwrap();
            }
        }
        let some = receive(&queue);
        queue.acknowledge(&receipts(&some)).unwrap();
        received.append(&mut names(&some));
    }
    loop {
        let some = receive(&queue);
        if some.is_empty() {
            break;
        }
        received.append(&mut names(&some));
    }
    assert_eq!(received, all);
}

fn what_expires_leaves_the_queue(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(1, Some(1))).unwrap();
    put(&stream, ["dead"]);
    receive(&queue);
    bench.wait(2);
    assert_eq!(counts(&queue), [0, 0, 1, 0]);
    queue.set_settings(&settings(43_200, None).settings).unwrap();
    put(&stream, ["held", "unread"]);
    let held = queue.receive(&one_record()).unwrap();
    assert_eq!(counts(&queue), [1, 0, 1, 0]);
    // The store believes a jump of the clock only after an hour.
    for _ in 0..26 {
        bench.wait(3_600);
        bench.store.maintain().unwrap();
    }
    put(&stream, ["young"]);
    assert_eq!(counts(&queue), [0; 4]);
    assert_eq!(
        queue.change_visibility(&[(held[0].receipt, 1)]).unwrap(),
        [Err(ReceiptError::Gone)]
    );
    assert_eq!(names(&receive(&queue)), of(&["young"]));
    assert!(receive_dead(&queue).is_empty());
    // The reader of a shard that expires unread goes on to its children.
    let shard = stream.describe().unwrap().shards[0].id;
    put(&stream, ["unread"]);
    stream.split_shard(shard, HashKey::MAX / 2).unwrap();
    for _ in 0..26 {
        bench.wait(3_600);
        bench.store.maintain().unwrap();
    }
    put(&stream, ["in a child", "in another child", "and one more"]);
    assert_eq!(receive(&queue).len(), 3);
}

fn a_stream_with_queues_stays_and_a_queue_that_was_deleted_gives_nothing(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &QueueOptions::default()).unwrap();
    put(&stream, ["a"]);
    let receipt = receive(&queue)[0].receipt;
    assert!(matches!(
        stream.delete(),
        Err(Error::StreamHasQueues { count: 1, .. })
    ));
    queue.delete().unwrap();
    for result in [
        queue.receive(&ReceiveOptions::default()).map(drop),
        queue.acknowledge(&[receipt]).map(drop),
        queue.counts().map(drop),
        queue.delete(),
        stream.queue("work").map(drop),
    ] {
        assert!(matches!(result, Err(Error::QueueNotFound { .. })), "{result:?}");
    }
    // A new queue of the same name is independent, and knows no receipt of the first.
    let again = stream.create_queue("work", &QueueOptions::default()).unwrap();
    assert_ne!(again.id(), queue.id());
    assert_eq!(
        again.acknowledge(&[receipt]).unwrap(),
        [Err(ReceiptError::OtherQueue)]
    );
    put(&stream, ["b"]);
    assert_eq!(names(&receive(&again)), of(&["b"]));
    bench.store.maintain().unwrap();
    bench.open_again(place);
    let stream = bench.store.stream("jobs").unwrap();
    assert_eq!(stream.queues().unwrap().len(), 1);
    stream.queue("work").unwrap().delete().unwrap();
    stream.delete().unwrap();
}

fn settings_and_names_are_checked(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let other = bench.store.create_stream("more", 1).unwrap();
    let queue = stream.create_queue("work", &QueueOptions::default()).unwrap();
    assert!(matches!(
        other.create_queue("work", &QueueOptions::default()),
        Err(Error::QueueExists { .. })
    ));
    for name in ["", "a b"] {
        let refused = stream.create_queue(name, &QueueOptions::default());
        assert!(matches!(refused, Err(Error::InvalidArgument(_))));
        assert!(matches!(stream.queue(name), Err(Error::QueueNotFound { .. })));
    }
    for wrong in [
        settings(43_201, None),
        settings(0, Some(0)),
        settings(0, Some(1001)),
    ] {
        assert!(matches!(
            stream.create_queue("x", &wrong),
            Err(Error::InvalidArgument(_))
        ));
        assert!(matches!(
            queue.set_settings(&wrong.settings),
            Err(Error::InvalidArgument(_))
        ));
    }
    let long = ReceiveOptions {
        visibility_seconds: Some(43_201),
        ..ReceiveOptions::default()
    };
    assert!(matches!(queue.receive(&long), Err(Error::InvalidArgument(_))));
    assert_eq!(queue.describe().unwrap().settings, QueueSettings::default());
    stream.register_consumer("reader").unwrap();
    let full = QueueOptions {
        max_consumers: 2,
        ..QueueOptions::default()
    };
    assert!(matches!(
        stream.create_queue("second", &full),
        Err(Error::TooManyConsumers { limit: 2, .. })
    ));
    assert_eq!(stream.queues().unwrap().len(), 1);
}

fn a_waiting_consumer_is_woken_by_a_put_by_the_time_and_by_a_restored_record(place: &Place) {
    // By the system's clock, since the test waits for it.
    let store = place.open();
    let stream = store.create_stream("jobs", 2).unwrap();
    let queue = stream.create_queue("work", &settings(1, Some(1))).unwrap();
    const LONG: Duration = Duration::from_secs(60);
    let waiting = |options: ReceiveOptions| {
        let queue = queue.clone();
        std::thread::spawn(move || queue.receive_within(&options, LONG).unwrap())
    };
    let dead_letters = ReceiveOptions {
        dead_letters: true,
        ..ReceiveOptions::default()
    };
    let (first, dead) = (waiting(ReceiveOptions::default()), waiting(dead_letters));
    put(&stream, ["a"]);
    assert_eq!(names(&first.join().unwrap()), of(&["a"]));
    // It dies after a second, without any call.
    let dead = dead.join().unwrap();
    assert_eq!(names(&dead), of(&["a"]));
    let again = waiting(ReceiveOptions::default());
    queue.restore(&receipts(&dead)).unwrap();
    assert_eq!(names(&again.join().unwrap()), of(&["a"]));
    // Puts to a shard that was added later give a signal too.
    let late = waiting(ReceiveOptions::default());
    let shard = stream.describe().unwrap().shards[0].id;
    stream.split_shard(shard, HashKey::new(1_000)).unwrap();
    put(&stream, ["b"]);
    assert_eq!(names(&late.join().unwrap()), of(&["b"]));
    // Waits on a deleted queue end.
    let deleted = {
        let queue = queue.clone();
        std::thread::spawn(move || queue.receive_within(&ReceiveOptions::default(), LONG))
    };
    queue.delete().unwrap();
    assert!(matches!(
        deleted.join().unwrap(),
        Err(Error::QueueNotFound { .. })
    ));
}

fn half_of_what_is_given_out_is_new_while_there_is_both(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(0, None)).unwrap();
    put(&stream, 0..100);
    receive(&queue);
    let mixed = receive(&queue);
    let new = mixed.iter().filter(|record| record.receive_count == 1).count();
    assert_eq!((mixed.len(), new), (10, 5));
    // A record that is never acknowledged does not keep the others back, nor they it.
    let counts: Vec<_> = (0..10)
        .map(|_| queue.receive(&one_record()).unwrap()[0].receive_count)
        .collect();
    assert_eq!(
        counts.iter().filter(|count| **count == 1).count(),
        5,
        "{counts:?}"
    );
}

fn receive_one(queue: &Queue, dead_letters: bool) -> Option<QueueRecord> {
    let one = ReceiveOptions {
        limit: ReadLimit {
            records: 1,
            ..ReadLimit::default()
        },
        dead_letters,
        ..ReceiveOptions::default()
    };
    queue.receive(&one).unwrap().pop()
}

fn no_shard_is_kept_back_by_records_that_come_again_and_again(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 4).unwrap();
    let queue = stream.create_queue("work", &settings(0, None)).unwrap();
    put(&stream, ["never acknowledged"]);
    receive(&queue);
    put(&stream, 0..400);
    let mut new = BTreeMap::<_, u32>::new();
    for _ in 0..80 {
        let record = receive_one(&queue, false).unwrap();
        if record.receive_count == 1 {
            *new.entry(record.receipt.shard).or_default() += 1;
        }
    }
    let new: Vec<_> = new.into_values().collect();
    assert_eq!(new, [10; 4]);
}

/// Even where they come between the others.
fn receives_of_dead_letters_take_no_turn_of_others(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 2).unwrap();
    let queue = stream.create_queue("work", &settings(0, None)).unwrap();
    put(&stream, ["never acknowledged"]);
    receive(&queue);
    put(&stream, 0..100);
    let mut new = BTreeMap::<_, u32>::new();
    for _ in 0..40 {
        let record = receive_one(&queue, false).unwrap();
        if record.receive_count == 1 {
            *new.entry(record.receipt.shard).or_default() += 1;
        }
        assert!(receive_one(&queue, true).is_none());
    }
    let new: Vec<_> = new.into_values().collect();
    assert_eq!(new, [10; 2]);
}

fn so_many_can_be_in_flight_and_no_more(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 4).unwrap();
    let queue = stream.create_queue("work", &settings(43_200, Some(1))).unwrap();
    const MOST: usize = anabranch::limits::MAX_UNACKNOWLEDGED;
    for batch in 0..(MOST + 1_000) / 1_000 {
        let keys: Vec<_> = (0..1_000).map(|count| format!("{batch}-{count}")).collect();
        let records: Vec<_> = keys
            .iter()
            .map(|key| anabranch::PutRecord::new(key, b"x"))
            .collect();
        stream.put_records(&records).unwrap();
    }
    let many = ReceiveOptions {
        limit: ReadLimit {
            records: 7_000,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    };
    let mut received = Vec::new();
    let refused = loop {
        match queue.receive(&many) {
            Ok(records) => received.extend(receipts(&records)),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, Error::TooManyUnacknowledged { .. }),
        "{refused}"
    );
    assert_eq!((received.len(), counts(&queue)), (MOST, [MOST, 0, 0, 0]));
    queue.acknowledge(&received[..10]).unwrap();
    assert_eq!(queue.receive(&many).unwrap().len(), 10);
    // All of them become dead letters, and the other records are given out.
    bench.wait(43_200);
    assert_eq!(counts(&queue), [0, 0, MOST, 0]);
    assert_eq!(queue.receive(&many).unwrap().len(), 990);
}

fn the_log_is_compacted(place: &Place) {
    let mut bench = Bench::new(place);
    bench.options = bench.options.clone().segment_bytes(64 << 10);
    bench.open_again(place);
    let stream = bench.store.create_stream("jobs", 2).unwrap();
    let queue = stream.create_queue("work", &settings(0, Some(1_000))).unwrap();
    const RECORDS: usize = 1_000;
    put(&stream, 0..RECORDS);
    let all = ReceiveOptions {
        limit: ReadLimit {
            records: RECORDS,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    };
    // Each round writes some kilobytes, and all together much more than a snapshot has.
    let mut last = Vec::new();
    for _ in 0..200 {
        last = queue.receive(&all).unwrap();
        assert_eq!(last.len(), RECORDS);
    }
    queue.acknowledge(&receipts(&last[..200])).unwrap();
    bench.store.maintain().unwrap();
    bench.open_again(place);
    if let Place::Directory(directory) = place {
        let log = directory.path().join("streams/1/queue-0000000001");
        let names = std::fs::read_dir(log)
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let segments = names.filter(|name| name.to_string_lossy().ends_with(".log"));
        let segments: BTreeSet<_> = segments.collect();
        assert!(segments.len() < 12, "{segments:?}");
        assert!(!segments.contains(std::ffi::OsStr::new("00000000000000000001.log")));
    }
    let queue = bench.store.stream("jobs").unwrap().queue("work").unwrap();
    assert_eq!(counts(&queue), [0, RECORDS - 200, 0, 0]);
    let again = queue.receive(&all).unwrap();
    assert_eq!(names(&again), names(&last[200..]));
    assert!(again.iter().all(|record| record.receive_count == 201));
}

fn changes_of_a_queue_take_the_transition_delay(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    bench.options = bench.options.clone().transition_delay(Duration::from_secs(10));
    bench.open_again(place);
    let stream = bench.store.stream(stream.name()).unwrap();
    let queue = stream.create_queue("work", &settings(5, None)).unwrap();
    let status = |queue: &Queue| queue.describe().unwrap().status;
    assert_eq!(status(&queue), ReaderStatus::Creating);
    put(&stream, ["a"]);
    let refused = queue.receive(&ReceiveOptions::default());
    assert!(matches!(refused, Err(Error::QueueNotActive { .. })));
    bench.wait(10);
    assert_eq!((status(&queue), receive(&queue).len()), (ReaderStatus::Active, 1));
    queue.set_settings(&settings(50, Some(9)).settings).unwrap();
    assert_eq!(status(&queue), ReaderStatus::Updating);
    assert!(matches!(
        queue.set_settings(&QueueSettings::default()),
        Err(Error::QueueNotActive { .. })
    ));
    bench.wait(5);
    assert_eq!(receive(&queue).len(), 1);
    bench.open_again(place);
    let stream = bench.store.stream("jobs").unwrap();
    let queue = stream.queue("work").unwrap();
    assert_eq!(status(&queue), ReaderStatus::Updating);
    bench.wait(5);
    assert_eq!(status(&queue), ReaderStatus::Active);
    queue.delete().unwrap();
    assert_eq!(status(&queue), ReaderStatus::Deleting);
    assert!(matches!(stream.delete(), Err(Error::StreamHasQueues { .. })));
    bench.wait(10);
    assert!(matches!(queue.describe(), Err(Error::QueueNotFound { .. })));
}

fn a_last_delivery_can_be_acknowledged_after_a_restart(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(60, Some(1))).unwrap();
    put(&stream, ["a", "b"]);
    let last = receipts(&receive(&queue));
    bench.open_again(place);
    let queue = bench.store.stream("jobs").unwrap().queue("work").unwrap();
    // How long they were to be held back is not stored, so they are dead letters. None was given out as one.
    assert_eq!(counts(&queue), [0, 0, 2, 0]);
    assert_eq!(queue.acknowledge(&last[..1]).unwrap(), [Ok(())]);
    assert_eq!(counts(&queue), [0, 0, 1, 0]);
    let dead = receive_dead(&queue);
    assert_eq!(dead.len(), 1);
    assert_eq!(
        queue.acknowledge(&last[1..]).unwrap(),
        [Err(ReceiptError::Expired)]
    );
}

fn what_was_given_out_often_enough_is_dead_also_behind_a_snapshot(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(0, None)).unwrap();
    const RECORDS: usize = 1_000;
    const ROUNDS: u32 = 100;
    put(&stream, 0..RECORDS);
    let all = ReceiveOptions {
        limit: ReadLimit {
            records: RECORDS,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    };
    // Enough for a snapshot, but not for one at the end.
    for _ in 0..ROUNDS {
        assert_eq!(queue.receive(&all).unwrap().len(), RECORDS);
    }
    queue.set_settings(&settings(0, Some(ROUNDS)).settings).unwrap();
    bench.open_again(place);
    let queue = bench.store.stream("jobs").unwrap().queue("work").unwrap();
    assert_eq!(counts(&queue), [0, 0, RECORDS, 0]);
    assert!(!receive_dead(&queue).is_empty());
}

fn many_that_become_dead_letters_keep_none_back_that_is_not(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(0, None)).unwrap();
    put(&stream, 0..500);
    let all = ReceiveOptions {
        limit: ReadLimit::default(),
        ..ReceiveOptions::default()
    };
    queue.receive(&all).unwrap();
    bench.wait(1);
    put(&stream, ["fresh"]);
    assert_eq!(queue.receive(&all).unwrap().len(), 501);
    queue.set_settings(&settings(0, Some(2)).settings).unwrap();
    let mut watch = queue.watch(true).unwrap();
    let ten = ReceiveOptions {
        limit: ReadLimit {
            records: 10,
            ..ReadLimit::default()
        },
        ..ReceiveOptions::default()
    };
    assert_eq!(names(&queue.receive(&ten).unwrap()), of(&["fresh"]));
    // Waiters for dead letters get a signal.
    assert!(watch.wait(Duration::from_secs(60)));
    // The new one was also given out twice, and is not held back.
    assert_eq!(counts(&queue), [0, 0, 501, 0]);
}

fn what_is_restored_is_given_out_before_what_is_free_later(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(10, Some(1))).unwrap();
    put(&stream, ["a"]);
    receive(&queue);
    bench.wait(11);
    let dead = queue.receive(&ReceiveOptions {
        dead_letters: true,
        visibility_seconds: Some(43_200),
        ..ReceiveOptions::default()
    });
    let dead = dead.unwrap();
    assert_eq!(names(&dead), of(&["a"]));
    queue.set_settings(&settings(10, Some(5)).settings).unwrap();
    put(&stream, ["b"]);
    assert_eq!(names(&receive(&queue)), of(&["b"]));
    queue.restore(&receipts(&dead)).unwrap();
    bench.wait(11);
    assert_eq!(names(&queue.receive(&one_record()).unwrap()), of(&["a"]));
    assert_eq!(names(&queue.receive(&one_record()).unwrap()), of(&["b"]));
}

fn a_receive_keeps_to_its_bytes(place: &Place) {
    let bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 4).unwrap();
    let queue = stream.create_queue("work", &settings(0, None)).unwrap();
    for key in 0..40 {
        stream.put(&format!("key-{key:02}"), &[b'x'; 94]).unwrap();
    }
    for bytes in [1, 100, 150, 199, 200, 350] {
        let options = ReceiveOptions {
            limit: ReadLimit { records: 10, bytes },
            ..ReceiveOptions::default()
        };
        for round in 0..20 {
            let received = queue.receive(&options).unwrap().len();
            assert_eq!(received, (bytes / 100).max(1), "{bytes} bytes, round {round}");
        }
    }
}

fn a_queue_that_needs_a_stream_on_demand_keeps_it_so(place: &Place) {
    let mut bench = Bench::new(place);
    let stream = bench.store.create_stream("jobs", 1).unwrap();
    let needing = QueueOptions {
        needs_on_demand: true,
        ..QueueOptions::default()
    };
    let keeping = ModeOptions {
        readers_need_on_demand: true,
        warm_throughput: Some(3),
    };
    assert!(matches!(
        stream.create_queue("work", &needing),
        Err(Error::StreamNotOnDemand { stream }) if stream == "jobs"
    ));
    // A call without that setting accepts any.
    let content = stream.create_queue("work", &QueueOptions::default()).unwrap();
    stream.set_mode_with(StreamMode::OnDemand, &keeping).unwrap();
    let refused = |stream: &Stream| {
        let changed = stream.set_mode_with(StreamMode::Provisioned, &keeping);
        matches!(changed, Err(Error::StreamHasQueues { count: 1, .. }))
    };
    assert!(refused(&stream));
    content.delete().unwrap();
    stream.create_queue("work", &needing).unwrap();
    assert!(refused(&stream));
    let summary = stream.summary().unwrap();
    assert_eq!((summary.mode, summary.warm_throughput), (StreamMode::OnDemand, 3));
    // The same where changes take time.
    bench.options = bench.options.clone().transition_delay(Duration::from_secs(10));
    bench.open_again(place);
    let stream = bench.store.stream("jobs").unwrap();
    assert!(refused(&stream));
    stream.queue("work").unwrap().delete().unwrap();
    assert!(refused(&stream), "a queue that is being deleted is there");
    bench.wait(10);
    stream.set_mode_with(StreamMode::Provisioned, &keeping).unwrap();
    assert!(matches!(
        stream.create_queue("work", &needing),
        Err(Error::StreamNotActive { .. })
    ));
    bench.wait(10);
    assert!(matches!(
        stream.create_queue("work", &needing),
        Err(Error::StreamNotOnDemand { .. })
    ));
}

/// A second acknowledgement returns only after the first is durable.
#[cfg(feature = "sim")]
#[test]
fn an_acknowledgement_that_is_made_again_waits_for_the_first() {
    use anabranch::sim::{Operation, SimDisk};
    let disk = SimDisk::new(5);
    let options = StoreOptions::new().keeper(false).disk(disk.clone());
    let store = options.open("store").unwrap();
    let stream = store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(60, None)).unwrap();
    put(&stream, ["a"]);
    let receipts = receipts(&receive(&queue));
    let stall = disk.stall_next(Operation::SyncData, "");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| queue.acknowledge(&receipts));
        stall.wait_until_reached();
        let (answer, answered) = std::sync::mpsc::channel();
        let again = scope.spawn({
            let (queue, receipts) = (queue.clone(), &receipts);
            move || {
                let acknowledged = queue.acknowledge(receipts);
                answer.send(()).unwrap();
                acknowledged
            }
        });
        let early = answered.recv_timeout(Duration::from_millis(300));
        assert!(early.is_err(), "it is answered while the first is not durable");
        disk.faults()
            .fail_nth(Operation::SyncData, 1, std::io::ErrorKind::Other);
        drop(stall);
        let outcomes = [first.join().unwrap(), again.join().unwrap()];
        assert_eq!(outcomes[0].is_ok(), outcomes[1].is_ok(), "{outcomes:?}");
    });
}

/// The entries before a snapshot are hidden durably, so the snapshot is durable too.
#[cfg(feature = "sim")]
#[test]
fn a_queue_does_not_begin_again_after_a_loss_of_power_at_any_level() {
    use anabranch::Durability;
    use anabranch::sim::{LossMode, SimDisk};
    for durability in [Durability::Synced, Durability::Written, Durability::Buffered] {
        for mode in [LossMode::LoseAll, LossMode::Prefix, LossMode::Random] {
            let disk = SimDisk::new(6);
            let options = StoreOptions::new()
                .keeper(false)
                .durability(durability)
                .compaction_bytes(1_000);
            let store = options.clone().disk(disk.clone()).open("store").unwrap();
            let stream = store.create_stream("jobs", 1).unwrap();
            let queue = stream.create_queue("work", &settings(0, None)).unwrap();
            put(&stream, 0..10);
            for _ in 0..100 {
                assert_eq!(receive(&queue).len(), 10);
            }
            let disk = disk.crash(mode);
            let store = options.disk(disk).open("store").unwrap();
            let queue = store.stream("jobs").unwrap().queue("work").unwrap();
            let again = receive(&queue);
            let counted = again.iter().map(|record| record.receive_count).min();
            // At the weaker levels records may be lost, but not the queue's state of those that remain.
            assert!(
                counted.is_none_or(|least| least > 50),
                "{durability:?}, {mode:?}: {counted:?}"
            );
        }
    }
}

/// Only the caller that has written a snapshot waits until the log begins with it.
#[cfg(feature = "sim")]
#[test]
fn a_snapshot_that_is_slow_holds_up_no_caller() {
    use anabranch::sim::{LossMode, Operation, SimDisk};
    let disk = SimDisk::new(8);
    let options = StoreOptions::new().keeper(false).compaction_bytes(1);
    let store = options.clone().disk(disk.clone()).open("store").unwrap();
    let stream = store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &settings(60, None)).unwrap();
    put(&stream, 0..31);
    // From now on the manifest has a segment of the log, and the log a small snapshot.
    let before = queue.receive(&one_record()).unwrap();
    queue.acknowledge(&receipts(&before)).unwrap();
    let stall = disk.stall_next(Operation::SyncData, "MANIFEST");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| receive(&queue));
        stall.wait_until_reached();
        // The snapshot is in the log, and later entries come behind it.
        let (done, is_done) = std::sync::mpsc::channel();
        let others = scope.spawn({
            let queue = &queue;
            move || {
                let received = receive(queue);
                queue.acknowledge(&receipts(&received)).unwrap();
                done.send(()).unwrap();
                received
            }
        });
        let in_time = is_done.recv_timeout(Duration::from_secs(20));
        let cut = disk.image(LossMode::LoseAll);
        drop(stall);
        let (first, others) = (first.join().unwrap(), others.join().unwrap());
        in_time.expect("they wait for the snapshot");
        for disk in [cut, disk.crash(LossMode::LoseAll)] {
            let store = options.clone().disk(disk).open("store").unwrap();
            let queue = store.stream("jobs").unwrap().queue("work").unwrap();
            assert_eq!(counts(&queue), [0, 10, 0, 0]);
            let rest = [receive(&queue), receive(&queue)].concat();
            assert_eq!(rest.len(), 20);
            assert!(names(&rest).is_disjoint(&names(&others)));
            assert!(names(&rest).is_disjoint(&names(&before)));
            assert!(names(&rest).is_superset(&names(&first)));
        }
    });
}
