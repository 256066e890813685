//! The state and its entries alone: entries read back as they were written, and both the log and a snapshot lead to the
//! same state.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::entry::Entry;
use super::given::{Given, NO_DELIVERY};
use super::state::State;
use super::{Queue, ReceiveOptions};
use crate::Memory;
use crate::model::{HashKey, ManualClock, ReaderStart, RecordNumber, ShardFilter, ShardId, Timestamp};
use crate::store::{QueueOptions, StoreOptions};

/// The kind of an entry, and four numbers to make one.
type Step = (u8, [u8; 4]);

fn entry(state: &State, (kind, [a, b, c, d]): Step) -> Entry {
    let shard = |number: u8| ShardId::new(u32::from(number % 3)).unwrap();
    let number = |number: u8| RecordNumber::new(u64::from(number % 40) + 1);
    let at = Timestamp::from_seconds(1_700_000_000 + u64::from(d));
    let ids = vec![(shard(a), number(b)), (shard(c), number(d))];
    match kind % 7 {
        6 => Entry::GivenBack {
            are_dead_letters: d % 2 == 0,
            // Of the last delivery, if there was one.
            deliveries: ids
                .into_iter()
                .map(|id| (id, state.given(id).map_or(1, |given| given.delivery.max(1))))
                .collect(),
        },
        5 => Entry::Received {
            shard: shard(a),
            from: state
                .first_unread(shard(a))
                .map_or(RecordNumber::FIRST, |(from, _)| from),
            to: RecordNumber::END,
            first_delivery: state.next_delivery,
            at,
            records: Vec::new(),
        },
        0 => {
            // All numbers, except some that no record has.
            let all = (RecordNumber::FIRST, RecordNumber::END);
            let (from, end) = match (state.first_unread(shard(a)), state.knows(shard(a))) {
                (Some(unread), _) => unread,
                (None, false) => all,
                // A shard that is read to its end has no more records.
                (None, true) => return Entry::Acknowledged(ids),
            };
            let to = from.saturating_add(u64::from(b % 7) + 1).min(end);
            let numbers = (from.value()..to.value()).filter(|value| value % 5 != 3);
            Entry::Received {
                shard: shard(a),
                from,
                to,
                first_delivery: state.next_delivery,
                at,
                records: numbers.map(|value| (RecordNumber::new(value), at)).collect(),
            }
        }
        1 => Entry::ReceivedAgain {
            first_delivery: state.next_delivery,
            at,
            records: ids,
        },
        2 => Entry::Acknowledged(ids),
        3 => Entry::Died(ids),
        _ => Entry::Restored(ids),
    }
}

/// The stored parts of a state.
fn stored(state: &State) -> impl PartialEq + std::fmt::Debug + use<> {
    let shards = state.shards.iter().map(|(shard, state)| {
        let given = state.given.iter().map(|(number, given)| {
            let given = Given {
                moment: 0,
                is_held: false,
                ..*given
            };
            (*number, given)
        });
        let given: BTreeMap<_, _> = given.collect();
        (*shard, (state.unread.clone(), given))
    });
    let done: Vec<_> = state.done.ranges().collect();
    (state.next_delivery, done, shards.collect::<BTreeMap<_, _>>())
}

fn check(state: &State) {
    let given = || state.shards.values().flat_map(|shard| shard.given.values());
    let dead = given().filter(|given| given.is_dead).count();
    assert_eq!(state.dead_letters.len(), dead);
    assert_eq!(state.records.len(), given().count() - dead);
    for (shard, known) in &state.shards {
        assert!(!state.done.contains(*shard) || known.unread.first().is_none());
        for (number, given) in &known.given {
            let waiting = match given.is_dead {
                true => &state.dead_letters,
                false => &state.records,
            };
            let set = match given.is_held {
                true => &waiting.held,
                false => &waiting.ready,
            };
            assert!(set.contains(&(given.moment, *shard, *number)));
        }
    }
}

proptest! {
    #[test]
    fn the_log_and_a_snapshot_lead_to_the_state_that_they_are_of(
        steps in prop::collection::vec((any::<u8>(), any::<[u8; 4]>()), 0..60),
        lost in any::<[u8; 4]>(),
    ) {
        let mut state = State::new(ReaderStart::default());
        let mut replayed = state.clone();
        // Entries that a full disk has lost: later ones are applied all the same.
        let mut after_loss = state.clone();
        for (at, step) in steps.into_iter().enumerate() {
            let entry = entry(&state, step);
            let encoded = entry.encode();
            prop_assert_eq!(Entry::decode(&encoded), Some(entry.clone()));
            for length in 0..encoded.len() {
                prop_assert!(Entry::decode(&encoded[..length]).is_none());
            }
            state.apply(&entry, 1_000 + at as u64);
            state.pass_time(990 + at as u64, None);
            replayed.apply(&entry, 0);
            if !lost.contains(&(at as u8)) {
                after_loss.apply(&entry, 0);
            }
            check(&state);
            check(&after_loss);
            prop_assert_eq!(stored(&state), stored(&replayed));
        }
        let bytes: Vec<_> = state
            .snapshot()
            .into_iter()
            .flat_map(|entry| match Entry::decode(&entry.encode()) {
                Some(Entry::Snapshot { bytes, .. }) => bytes,
                other => panic!("{other:?}"),
            })
            .collect();
        let read = State::of_snapshot(ReaderStart::default(), &bytes).unwrap();
        check(&read);
        prop_assert_eq!(stored(&read), stored(&state));
        for length in 0..bytes.len() {
            prop_assert!(State::of_snapshot(ReaderStart::default(), &bytes[..length]).is_none());
        }
    }
}

/// The golden store has the other entries.
#[test]
fn the_bytes_of_a_snapshot_are_these() {
    let mut state = State::new(ReaderStart::default());
    let number = RecordNumber::new;
    state.apply(
        &Entry::Received {
            shard: ShardId::FIRST,
            from: number(1),
            to: number(300),
            first_delivery: 1,
            at: Timestamp::from_millis(129),
            records: vec![
                (number(3), Timestamp::from_millis(5)),
                (number(299), Timestamp::from_millis(6)),
            ],
        },
        7,
    );
    state.apply(&Entry::Died(vec![(ShardId::FIRST, number(299))]), 0);
    for done in 1..200 {
        let done = ShardId::new(done).unwrap();
        state.pass_over(done, RecordNumber::BEFORE_FIRST, RecordNumber::END);
    }
    let [
        Entry::Snapshot {
            part: 0,
            parts: 1,
            bytes,
        },
    ] = &state.snapshot()[..]
    else {
        panic!("a small state has one part");
    };
    let end = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let expected = [
        &[3, 1, 1, 0xc7, 1][..],
        &[1, 0, 1, 0xac, 2],
        &end,
        &[2, 3, 5, 0x81, 1, 1, 1, 0],
        &[0xab, 2, 6, 0x81, 1, 1, 2, 1],
    ];
    assert_eq!(*bytes, expected.concat());
}

#[test]
fn the_bytes_of_deliveries_that_were_given_back_are_these() {
    let id = (ShardId::new(2).unwrap(), RecordNumber::new(300));
    for are_dead_letters in [false, true] {
        let given_back = Entry::GivenBack {
            are_dead_letters,
            deliveries: vec![(id, 129)],
        };
        assert_eq!(
            given_back.encode(),
            [7, are_dead_letters.into(), 1, 2, 0xac, 2, 0x81, 1]
        );
    }
}

/// Whatever happened in between: the record was freed, or has died.
#[test]
fn a_delivery_that_is_taken_back_leaves_the_record_as_it_was() {
    let id = (ShardId::FIRST, RecordNumber::new(5));
    let at = Timestamp::from_seconds(1_700_000_000);
    let again = |state: &State| Entry::ReceivedAgain {
        first_delivery: state.next_delivery,
        at,
        records: vec![id],
    };
    let given_back = |delivery, are_dead_letters| Entry::GivenBack {
        are_dead_letters,
        deliveries: vec![(id, delivery)],
    };
    let mut state = State::new(ReaderStart::default());
    let first = Entry::Received {
        shard: id.0,
        from: RecordNumber::FIRST,
        to: id.1.next(),
        first_delivery: 1,
        at,
        records: vec![(id.1, at)],
    };
    state.apply(&first, 100);
    state.pass_time(100, Some(1));
    assert!(state.given(id).unwrap().is_dead);
    state.apply(&given_back(1, false), 110);
    let free = Given {
        arrival: at,
        first_received: None,
        receive_count: 0,
        delivery: NO_DELIVERY,
        is_dead: false,
        moment: 110,
        is_held: false,
    };
    assert_eq!(state.given(id), Some(&free));
    check(&state);
    // Nor is one of the next deliveries, once another one has followed it.
    for count in 1..=2 {
        let entry = again(&state);
        state.apply(&entry, 200);
        let given = *state.given(id).unwrap();
        assert_eq!((given.receive_count, given.first_received), (count, Some(at)));
    }
    let before = *state.given(id).unwrap();
    for late in [1, 2, NO_DELIVERY] {
        state.apply(&given_back(late, false), 120);
        assert_eq!(state.given(id), Some(&before));
    }
    // The delivery before it counts, and a dead letter stays one.
    state.apply(&Entry::Died(vec![id]), 0);
    let entry = again(&state);
    state.apply(&entry, 300);
    state.apply(&given_back(4, true), 130);
    let dead = Given {
        first_received: Some(at),
        receive_count: 2,
        is_dead: true,
        moment: 130,
        ..free
    };
    assert_eq!(state.given(id), Some(&dead));
    check(&state);
}

#[test]
fn what_is_no_entry_is_refused() {
    for bytes in [
        &[][..],
        &[0],
        &[8, 0],
        // Neither a record nor a dead letter, and no delivery.
        &[7, 2, 1, 0, 9, 1],
        &[7, 0, 1, 0, 9, 0],
        &[3, 200, 0, 0],
        &[3, 0, 0],
        &[2, 1, 1, 0, 9],
    ] {
        assert_eq!(Entry::decode(bytes), None, "{bytes:?}");
    }
}

#[test]
fn a_record_whose_entry_was_lost_is_unread_and_can_be_acknowledged() {
    let mut state = State::new(ReaderStart::default());
    let (shard, number) = (ShardId::FIRST, RecordNumber::new(5));
    state.apply(&Entry::Acknowledged(vec![(shard, number)]), 0);
    let unread = &state.shards[&shard].unread;
    assert!(!unread.contains(number) && unread.contains(number.next()));
    assert!(unread.contains(RecordNumber::new(4)));
}

/// Acknowledged records take no room, however often the stream was split and merged: at runtime, in a snapshot, and for
/// a reader of the snapshot.
#[test]
fn shards_that_were_dealt_with_or_have_expired_leave_nothing() {
    let mut state = State::new(ReaderStart::default());
    let shard = |index| ShardId::new(index).unwrap();
    let number = RecordNumber::new;
    let mut largest = 0;
    for index in 0..20_000 {
        // Half of the shards are known, and a few of these still have records.
        state.keep_shards((index / 2..index + 2).map(shard));
        let records = [1, 2].map(|value| (number(value), Timestamp::EPOCH));
        let received = Entry::Received {
            shard: shard(index),
            from: RecordNumber::FIRST,
            to: RecordNumber::END,
            first_delivery: state.next_delivery,
            at: Timestamp::EPOCH,
            records: records.to_vec(),
        };
        state.apply(&received, 0);
        let done = match index % 1_000 {
            // It expires with records that are not acknowledged.
            0 => vec![(shard(index), number(1))],
            _ => vec![(shard(index), number(2)), (shard(index), number(1))],
        };
        state.apply(&Entry::Acknowledged(done), 0);
        if index % 100 == 0 {
            let snapshot: usize = state.snapshot().iter().map(|entry| entry.encode().len()).sum();
            largest = largest.max(snapshot);
            assert!(state.shards.len() <= 12, "{} shards", state.shards.len());
            assert!(state.done.ranges().len() <= 12);
        }
    }
    assert!(largest < 400, "{largest} bytes");
    // None of its records is given out again.
    assert!((0..20_000).all(|index| state.first_unread(shard(index)).is_none()));
    assert!(state.first_unread(shard(20_000)).is_some());
    state.keep_shards([shard(20_001)].into_iter());
    assert_eq!(state.records.len(), 0);
    assert_eq!((state.shards.len(), state.done.ranges().len()), (1, 1));
}

/// The same of a queue over a stream, with a late reader of its log.
#[test]
fn a_queue_over_a_stream_that_was_often_resharded_knows_of_few_shards() {
    let clock = ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000));
    let options = StoreOptions::new().clock(clock.clone()).keeper(false);
    let memory = Memory::new();
    let store = options.open_in_memory(&memory).unwrap();
    let stream = store.create_stream("jobs", 1).unwrap();
    let queue = stream.create_queue("work", &QueueOptions::default()).unwrap();
    let known = |queue: &Queue| {
        let (turn, _) = queue.turn().unwrap();
        (turn.state.shards.len(), turn.state.done.ranges().len())
    };
    let receive = |queue: &Queue| queue.receive(&ReceiveOptions::default()).unwrap();
    let (mut put, mut received) = (0, 0);
    for _ in 0..60 {
        let open = stream.shards(&ShardFilter::AtLatest).unwrap();
        match &open[..] {
            [whole] => stream.split_shard(whole.id, HashKey::MAX / 2).unwrap(),
            [low, high] => stream.merge_shards(low.id, high.id).unwrap(),
            _ => panic!("{open:?}"),
        }
        stream.put("a", b"x").unwrap();
        put += 1;
        loop {
            let records = receive(&queue);
            if records.is_empty() {
                break;
            }
            received += records.len();
            let receipts: Vec<_> = records.iter().map(|record| record.receipt).collect();
            queue.acknowledge(&receipts).unwrap();
        }
    }
    assert_eq!(put, received);
    let (shards, ranges) = known(&queue);
    assert!(shards <= 2 && ranges == 1, "{shards} shards, {ranges} ranges");

    // The same in shards that were not consumed, once these have expired.
    for _ in 0..20 {
        stream.put("a", b"x").unwrap();
        let open = stream.shards(&ShardFilter::AtLatest).unwrap();
        match &open[..] {
            [whole] => stream.split_shard(whole.id, HashKey::MAX / 2).unwrap(),
            [low, high] => stream.merge_shards(low.id, high.id).unwrap(),
            _ => panic!("{open:?}"),
        }
    }
    store.close().unwrap();
    let store = options.open_in_memory(&memory).unwrap();
    let stream = store.stream("jobs").unwrap();
    let queue = stream.queue("work").unwrap();
    assert!(known(&queue).0 > 10, "{:?}", known(&queue));
    // The store believes a jump of the clock only after an hour.
    for _ in 0..26 {
        clock.advance(Duration::from_secs(3_600));
        store.maintain().unwrap();
    }
    let (shards, ranges) = known(&queue);
    assert!(shards <= 2 && ranges == 1, "{shards} shards, {ranges} ranges");
    stream.put("a", b"young").unwrap();
    assert_eq!(receive(&queue).len(), 1);
}
