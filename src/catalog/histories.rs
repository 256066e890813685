//! Random histories of a catalog: after each, the edits of the snapshot lead to the same state.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::codec;
use super::edit::{Edit, Resource};
use super::lifecycle::{Change, ConsumerLifecycle, Due, Lifecycle, ReaderLifecycle, Steps};
use super::log_state::AgeMark;
use super::setting::Setting;
use super::state::CatalogState;
use crate::encryption::{KeyFingerprint, WrappedKey};
use crate::log::{LogEnd, LogPosition, SegmentEntry, SegmentKey};
use crate::model::{
    ChannelId, Checkpoint, ClockNote, ConsumerId, Destination, GoneShard, HashKey, Lag, Lags, Lineage,
    LogName, QueueId, ReaderStart, RecordDistribution, RecordNumber, Retention, ShardId, StreamId,
    StreamMode, StreamName, Timestamp,
};

const KINDS: u8 = 41;

/// The kind of an edit, and four numbers to make one from.
type Step = (u8, [u8; 4]);

fn history() -> impl Strategy<Value = Vec<Step>> {
    // Many of the first edits make streams with shards, which most others need.
    let any_step = || (0..KINDS, any::<[u8; 4]>());
    let making = (prop_oneof![Just(1_u8), Just(2)], any::<[u8; 4]>());
    (
        prop::collection::vec(making, 4..12),
        prop::collection::vec(any_step(), 0..80),
    )
        .prop_map(|(made, others)| made.into_iter().chain(others).collect())
}

/// An edit that may or may not fit.
fn edit(state: &CatalogState, (kind, [a, b, c, d]): Step) -> Option<Edit> {
    let stream = StreamId::new(u64::from(a % 4) + 1);
    let shard = ShardId::new(u32::from(b % 6)).ok()?;
    let consumer = ConsumerId::new(u64::from(b % 3) + 1);
    let queue = QueueId::new(u32::from(b % 3) + 1);
    let channel = ChannelId::new(u32::from(b % 3) + 1);
    let log = match a % 5 {
        0 => LogName::CommitJournal,
        1 if d.is_multiple_of(2) => LogName::Queue(stream, queue),
        _ => LogName::Shard(stream, shard),
    };
    let name = format!("name-{}", c % 3);
    let time = Timestamp::from_seconds(1_000 + u64::from(d));
    let number = RecordNumber::new(u64::from(c) * 10);
    let resource = match c % 4 {
        3 if d.is_multiple_of(2) => Resource::Queue(stream, queue),
        3 => Resource::Channel(stream, channel),
        0 => Resource::Account(["", "account/region"][usize::from(a % 2)].to_owned()),
        1 => Resource::Stream(stream),
        _ => Resource::Consumer(stream, consumer),
    };
    let due = Due {
        at: time,
        delay_millis: u64::from(c),
    };
    let edit = match kind {
        0 => Edit::StreamIdsReserved { through: stream },
        1 => Edit::StreamCreated {
            stream: StreamId::new(u64::from(d % 4) + 1),
            name: StreamName::new(["", "account/region"][usize::from(b % 2)], &name),
            created: time,
            lifecycle: Lifecycle::Active,
        },
        2 => Edit::ShardsCreated {
            stream,
            lineage: Lineage::new(u32::from(b % 3) + 1, time).ok()?,
        },
        3 => Edit::LifecycleChanged {
            stream,
            lifecycle: match b % 8 {
                0 => Lifecycle::Creating {
                    due,
                    shard_count: u32::from(c),
                },
                1 => Lifecycle::Active,
                2 => Lifecycle::Updating {
                    due,
                    change: Change::Split {
                        shard,
                        new_starting_hash_key: HashKey::new(u128::from(d)),
                    },
                },
                3 => Lifecycle::Updating {
                    due,
                    change: Change::Merge {
                        first: shard,
                        second: shard,
                    },
                },
                4 => Lifecycle::Updating {
                    due,
                    change: Change::Shards(Steps::Count {
                        target: u32::from(d),
                        first_new: shard,
                    }),
                },
                5 => Lifecycle::Updating {
                    due,
                    change: Change::Shards(Steps::Halve(vec![shard; usize::from(d % 3)])),
                },
                6 => Lifecycle::Updating {
                    due,
                    change: Change::Settings(vec![Setting::Mode(StreamMode::OnDemand); usize::from(d % 3)]),
                },
                _ => Lifecycle::Deleting { due },
            },
        },
        4 => {
            let lineage = state.stream(stream)?.lineage.as_ref()?;
            let half = |shard: ShardId| {
                let range = lineage.shard(shard)?.hash_key_range;
                Some(HashKey::new(range.start().value() / 2 + range.end().value() / 2))
            };
            let other = ShardId::new(u32::from(c % 6)).ok()?;
            let reshard = match d % 2 {
                0 => lineage.split(shard, half(shard)?, time).ok()?,
                _ => lineage.merge(shard, other, time).ok()?,
            };
            let ends = reshard.parents.iter().map(|parent| (*parent, end(c, d)));
            Edit::Resharded {
                stream,
                ends: ends.collect(),
                reshard,
            }
        }
        5 => Edit::ShardExpired { stream, shard },
        6 if c.is_multiple_of(4) => Edit::StreamDeleted { stream },
        6 | 7 => Edit::GoneStreamNoted {
            name: (b.is_multiple_of(2)).then(|| StreamName::new("", &name)),
            newest_creation: u64::from(d),
        },
        8 => Edit::SettingChanged {
            resource,
            setting: match b % 8 {
                0 => Setting::Mode([StreamMode::OnDemand, StreamMode::Provisioned][usize::from(d % 2)]),
                1 => Setting::Retention {
                    time: Retention::hours(u32::from(d)),
                    horizon_floor: time,
                },
                2 => Setting::MaxRecordBytes(u32::from(d)),
                3 => Setting::WarmThroughput(u32::from(d)),
                4 => Setting::VisibilityTimeout {
                    seconds: u32::from(d),
                },
                5 => Setting::MaxReceiveCount((d > 9).then_some(u32::from(d))),
                6 => Setting::Freshness { millis: u64::from(d) },
                _ => Setting::Distribution(
                    [RecordDistribution::Auto, RecordDistribution::PartitionKey][usize::from(d % 2)],
                ),
            },
        },
        9 => Edit::TagsChanged {
            resource,
            set: BTreeMap::from([(name, format!("value-{d}"))]),
            removed: vec![format!("name-{}", d % 3)],
        },
        10 => Edit::AttributeChanged {
            resource,
            name,
            value: (d % 3 > 0).then(|| vec![d; usize::from(d)]),
        },
        11 => Edit::ConsumerRegistered {
            stream,
            consumer,
            name,
            created: time,
        },
        12 => Edit::ConsumerRemoved { stream, consumer },
        13 => Edit::ConsumerIdsReserved {
            stream,
            through: consumer,
        },
        14 => Edit::CheckpointSaved {
            stream,
            name,
            checkpoint: Checkpoint {
                store: state.store,
                stream,
                next: BTreeMap::from([(shard, number)]),
            },
        },
        15 => Edit::CheckpointRemoved { stream, name },
        16 | 17 => Edit::SegmentAdded {
            log,
            segment: segment(c, d),
        },
        18 => Edit::LogResumed { log },
        19 => Edit::LogJournaled { log },
        20 => Edit::LogsRested {
            ends: vec![(log, end(c, d)), (LogName::CommitJournal, end(d, c))],
        },
        21 => Edit::LogTrimmed {
            log,
            first_record: number,
        },
        22 => Edit::RecordsHidden {
            before: vec![(log, number)],
        },
        23 => {
            let mark = AgeMark {
                before: number,
                open_millis: u64::from(d),
            };
            Edit::AgesMarked {
                marks: vec![(log, mark)],
            }
        }
        24 => Edit::ConsumerLifecycleChanged {
            stream,
            consumer,
            lifecycle: match c % 3 {
                0 => ConsumerLifecycle::Creating { due },
                1 => ConsumerLifecycle::Active,
                _ => ConsumerLifecycle::Deleting { due },
            },
        },
        25 => Edit::GoneConsumerNoted {
            stream,
            newest_creation: u64::from(d),
        },
        26 => Edit::RecordNumbersReserved { log, before: number },
        27 => Edit::ClockNoted(ClockNote {
            shown: time,
            confirmed: time,
            open_millis: u64::from(c),
            lags: Lags::default(),
            unconfirmed: Lag::default(),
            latest_shown: time,
        }),
        28 => Edit::QueueCreated {
            stream,
            queue,
            name,
            created: time,
            start: ReaderStart {
                from: time,
                next: BTreeMap::from([(shard, number)]),
                newest_passed: d.is_multiple_of(2).then_some(shard),
            },
        },
        29 => Edit::QueueLifecycleChanged {
            stream,
            queue,
            lifecycle: match c % 4 {
                0 => ReaderLifecycle::Creating { due },
                1 => ReaderLifecycle::Active,
                2 => ReaderLifecycle::Updating { due },
                _ => ReaderLifecycle::Deleting { due },
            },
        },
        30 => Edit::QueueRemoved { stream, queue },
        31 => Edit::QueueIdsReserved {
            stream,
            through: queue,
        },
        32 => Edit::ChannelCreated {
            stream,
            channel,
            name,
            created: time,
            start: ReaderStart::default(),
            destination: d.is_multiple_of(2).then(|| Destination::new("bucket")),
        },
        33 => Edit::ChannelLifecycleChanged {
            stream,
            channel,
            lifecycle: match c % 4 {
                0 => ReaderLifecycle::Creating { due },
                1 => ReaderLifecycle::Active,
                2 => ReaderLifecycle::Updating { due },
                _ => ReaderLifecycle::Deleting { due },
            },
        },
        34 => Edit::ChannelAdvanced {
            stream,
            channel,
            next: vec![(shard, d.is_multiple_of(3).then_some(number))],
        },
        35 => Edit::ChannelRemoved { stream, channel },
        36 => Edit::ChannelIdsReserved {
            stream,
            through: channel,
        },
        37 => Edit::CheckpointAdvanced {
            stream,
            name,
            next: vec![(shard, (!d.is_multiple_of(3)).then_some(number))],
        },
        38 => Edit::GoneShardsNoted {
            stream,
            shards: vec![GoneShard {
                id: shard,
                parent: c.is_multiple_of(2).then_some(shard),
                adjacent_parent: c.is_multiple_of(4).then_some(shard),
                end: d.is_multiple_of(2).then_some(number),
            }],
        },
        39 => Edit::ChannelDelivered {
            stream,
            channel,
            at: time,
        },
        _ => Edit::LoadPeaked {
            stream,
            day: u64::from(c),
            shards: u32::from(d),
        },
    };
    Some(edit)
}

fn segment(c: u8, d: u8) -> SegmentEntry {
    SegmentEntry {
        first_record: RecordNumber::new(u64::from(c) * 10 + 1),
        follows: RecordNumber::new(u64::from(c) * 10 + u64::from(d % 2)),
        base_position: LogPosition(u64::from(c) * 1_000),
        base_arrival: Timestamp::from_millis(u64::from(d)),
        salt: u64::from(d),
        bytes: 65_536,
        base_chain: u32::from(d),
        encryption: key(d).map(|wrapped_with| SegmentKey {
            wrapped_with,
            wrapped: WrappedKey {
                nonce: [c; 12],
                key: [d; 32],
                tag: [c; 16],
            },
        }),
    }
}

fn key(number: u8) -> Option<KeyFingerprint> {
    KeyFingerprint::from_number(u64::from(number % 3))
}

fn end(c: u8, d: u8) -> LogEnd {
    match c % 4 {
        0 => LogEnd::EMPTY,
        _ => LogEnd {
            is_interrupted: d.is_multiple_of(2),
            ..segment(c, d).base()
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_snapshot_leads_to_the_state_that_it_was_made_of(history in history()) {
        let mut state = CatalogState::new(7, [9; 32]);
        for step in history {
            if let Some(edit) = edit(&state, step) {
                // An edit that does not fit is refused.
                let _ = state.apply(edit);
            }
        }
        let snapshot: Vec<_> = state.snapshot().collect();
        let stored = codec::decode(&codec::encode(&snapshot).unwrap()).unwrap();
        prop_assert!(stored == snapshot);
        prop_assert_eq!(CatalogState::from_snapshot(stored).unwrap(), state);
    }
}

#[test]
fn every_kind_of_edit_fits_somewhere() {
    let mut fitted = BTreeMap::new();
    let mut state = CatalogState::new(7, [9; 32]);
    let mut numbers = 0_u64;
    while numbers < 200_000 {
        // A generator that goes through all states of 64 bits, of which the high ones are well mixed.
        numbers += 1;
        let mixed = numbers.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        let step = (mixed[0] % KINDS, [mixed[1], mixed[2], mixed[3], mixed[4]]);
        if let Some(edit) = edit(&state, step)
            && let kind = edit.kind()
            && state.apply(edit).is_ok()
        {
            *fitted.entry(kind).or_insert(0) += 1;
        }
    }
    // All but the first edit of all.
    assert_eq!(fitted.len(), 40, "{fitted:?}");
}

#[test]
fn a_snapshot_that_is_cut_short_is_no_state() {
    let mut state = CatalogState::new(7, [9; 32]);
    for step in [(1, [0, 0, 0, 0]), (2, [0, 0, 0, 0]), (9, [0, 0, 1, 0])] {
        let edit = edit(&state, step).unwrap();
        state.apply(edit).unwrap();
    }
    let snapshot: Vec<_> = state.snapshot().collect();
    let bytes = codec::encode(&snapshot).unwrap();
    for length in 0..bytes.len() {
        assert!(codec::decode(&bytes[..length]).is_err(), "{length} bytes");
    }
    // The first edit names the store, and is nowhere else.
    assert!(CatalogState::from_snapshot(snapshot[1..].to_vec()).is_err());
    let twice: Vec<_> = snapshot.iter().chain(&snapshot).cloned().collect();
    assert!(CatalogState::from_snapshot(twice).is_err());
}
