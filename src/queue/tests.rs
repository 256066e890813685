//! The state and its entries by themselves: whatever happened, entries read back as they were written, and both the log and
//! a snapshot lead to the same state.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::entry::Entry;
use super::state::{Given, State};
use crate::model::{ReaderStart, RecordNumber, ShardId, Timestamp};

/// Which kind of entry, and four numbers to make one of.
type Step = (u8, [u8; 4]);

fn entry(state: &State, (kind, [a, b, c, d]): Step) -> Entry {
    let shard = |number: u8| ShardId::new(u32::from(number % 3)).unwrap();
    let number = |number: u8| RecordNumber::new(u64::from(number % 40) + 1);
    let at = Timestamp::from_seconds(1_700_000_000 + u64::from(d));
    let places = vec![(shard(a), number(b)), (shard(c), number(d))];
    match kind % 5 {
        0 => {
            // All numbers, except some that no record has.
            let unread = state.shards.get(&shard(a)).map(|shard| shard.unread.first());
            let (from, end) = unread
                .flatten()
                .unwrap_or((RecordNumber::FIRST, RecordNumber::END));
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
            records: places,
        },
        2 => Entry::Acknowledged(places),
        3 => Entry::Died(places),
        _ => Entry::Restored(places),
    }
}

/// All that is stored of a state.
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
    (state.next_delivery, shards.collect::<BTreeMap<_, _>>())
}

fn check(state: &State) {
    let given = || state.shards.values().flat_map(|shard| shard.given.values());
    let dead = given().filter(|given| given.is_dead).count();
    assert_eq!(state.dead_letters.len(), dead);
    assert_eq!(state.records.len(), given().count() - dead);
    for (shard, known) in &state.shards {
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
        // Entries that a full disk has lost: what comes after them is applied all the same.
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
        &[3, 1, 0, 1, 0xac, 2][..],
        &end,
        &[2, 3, 5, 0x81, 1, 1, 1, 0],
        &[0xab, 2, 6, 0x81, 1, 1, 2, 1],
    ];
    assert_eq!(*bytes, expected.concat());
}

#[test]
fn what_is_no_entry_is_refused() {
    for bytes in [
        &[][..],
        &[0],
        &[7, 0],
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
