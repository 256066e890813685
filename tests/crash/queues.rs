//! Queues against a small model: random receives, acknowledgements, time outs, other times for which records are held
//! back, deliveries that are given back, dead letters, restorations, stale receipts, reshards, keys, retention, crashes
//! and restarts. The checks: no acknowledged record comes back, and no other record is lost before retention takes it.
//! No record is given to two consumers at once, or more often than it may be. Dead records are not given out as
//! records, and live ones not as dead letters. The receipt of an earlier delivery has no effect, and counts are right.
//! No order is promised.

use std::collections::BTreeSet;

use anabranch::sim::LossMode;
use anabranch::{ReadLimit, ReceiveOptions};
use proptest::prelude::*;

use crate::queue_world::{Op, VISIBILITY_SECONDS, World};
use crate::watchdog::Case;

fn op() -> impl Strategy<Value = Op> {
    let loss = || prop::sample::select(LossMode::ALL.to_vec());
    let kinds = || prop_oneof![3 => Just(false), 1 => Just(true)];
    let seconds = || prop_oneof![2 => Just(0), 1 => 1..300_u32];
    prop_oneof![
        8 => (1..20_u8).prop_map(Op::Put),
        10 => (1..20_usize, kinds()).prop_map(|(records, dead_letters)| Op::Receive { records, dead_letters }),
        6 => (1..4_usize, kinds()).prop_map(|(one_of, dead_letters)| Op::Acknowledge { one_of, dead_letters }),
        4 => (1..4_usize, kinds(), seconds())
            .prop_map(|(one_of, dead_letters, seconds)| Op::Hold { one_of, dead_letters, seconds }),
        3 => (1..4_usize, kinds()).prop_map(|(one_of, dead_letters)| Op::GiveBack { one_of, dead_letters }),
        2 => (1..4_usize).prop_map(|one_of| Op::Restore { one_of }),
        3 => (1..3_usize).prop_map(|one_of| Op::UseStale { one_of }),
        2 => (1..4_usize).prop_map(|one_of| Op::AcknowledgeLate { one_of }),
        2 => (1..4_usize).prop_map(|one_of| Op::GiveBackLate { one_of }),
        1 => prop::option::weighted(0.7, 0..3_u8).prop_map(Op::Encrypt),
        5 => (1..150_u64).prop_map(Op::Advance),
        2 => (0..6_usize).prop_map(Op::Split),
        2 => (0..6_usize).prop_map(Op::Merge),
        1 => Just(Op::Expire),
        2 => Just(Op::Maintain),
        4 => Just(Op::Count),
        1 => Just(Op::Reopen),
        2 => loss().prop_map(Op::Crash),
        3 => (1..40_u64, loss()).prop_map(|(calls, mode)| Op::CrashIn(calls, mode)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_comes_back_and_nothing_else_is_lost(
        seed in any::<u64>(),
        compacts in any::<bool>(),
        is_encrypted in any::<bool>(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let _case = Case::begin(|| {
            format!("seed {seed}, compacts {compacts}, encrypted {is_encrypted}: {ops:?}")
        });
        let mut world = World::new(seed, compacts, is_encrypted);
        ops.iter().for_each(|op| world.run(op));
        world.drain();
    }
}

/// Each kind of change, with snapshots between.
fn scenario() -> Vec<Op> {
    let receive = |records| Op::Receive {
        records,
        dead_letters: false,
    };
    let acknowledge = |one_of| Op::Acknowledge {
        one_of,
        dead_letters: false,
    };
    vec![
        Op::Put(6),
        receive(4),
        Op::GiveBack {
            one_of: 3,
            dead_letters: false,
        },
        acknowledge(2),
        Op::Encrypt(Some(1)),
        Op::Split(0),
        Op::Put(3),
        Op::Hold {
            one_of: 2,
            dead_letters: false,
            seconds: 0,
        },
        receive(9),
        Op::Advance(VISIBILITY_SECONDS),
        receive(9),
        Op::Hold {
            one_of: 3,
            dead_letters: false,
            seconds: 300,
        },
        Op::UseStale { one_of: 1 },
        Op::Reopen,
        acknowledge(1),
        receive(9),
        Op::Count,
        Op::Merge(0),
        Op::Advance(VISIBILITY_SECONDS),
        Op::Receive {
            records: 9,
            dead_letters: true,
        },
        Op::Count,
        Op::GiveBack {
            one_of: 3,
            dead_letters: true,
        },
        Op::Restore { one_of: 2 },
        Op::UseStale { one_of: 1 },
        Op::Acknowledge {
            one_of: 1,
            dead_letters: true,
        },
        Op::Count,
        Op::Encrypt(None),
        Op::Maintain,
        Op::Put(2),
        receive(5),
        Op::UseStale { one_of: 2 },
        acknowledge(1),
        receive(5),
        Op::Advance(VISIBILITY_SECONDS),
        Op::GiveBackLate { one_of: 2 },
        Op::AcknowledgeLate { one_of: 1 },
    ]
}

#[test]
fn a_crash_in_any_call_of_a_queue_loses_and_brings_back_nothing() {
    for (compacts, is_encrypted) in [(false, false), (true, false), (false, true), (true, true)] {
        for mode in [LossMode::LoseAll, LossMode::Random, LossMode::KeepAll] {
            for call in 1.. {
                let _case = Case::begin(|| {
                    format!("a crash in call {call}, {mode:?}, compacts {compacts}, encrypted {is_encrypted}")
                });
                let mut world = World::new(call, compacts, is_encrypted);
                world.run(&Op::CrashIn(call, mode));
                let before = world.machine.disk.clone();
                scenario().iter().for_each(|op| world.run(op));
                let has_stopped = before.is_frozen();
                world.drain();
                if !has_stopped {
                    break;
                }
            }
        }
    }
}

/// A failed put of an entry must not leave the state ahead of the log: after an error the state is as before the call.
#[test]
fn what_a_full_disk_refuses_is_as_it_was() {
    for (capacity, compacts) in (600_000..1_400_000)
        .step_by(40_000)
        .flat_map(|capacity| [(capacity, false), (capacity, true)])
    {
        let mut world = World::new(capacity, compacts, false);
        world.machine.disk.set_capacity(capacity);
        let queue = world.queue().unwrap();
        let stream = world.stream().unwrap();
        let mut put = 0_u32;
        let mut acknowledged = BTreeSet::new();
        let mut failed = false;
        for _ in 0..400 {
            if stream.put("key", &put.to_be_bytes()).is_ok() {
                put += 1;
            }
            // Fills the disk.
            let _ = stream.put("key", &vec![0; 4_000]);
            let Ok(received) = queue.receive(&ReceiveOptions::default()) else {
                failed = true;
                continue;
            };
            for record in received {
                match queue.acknowledge(&[record.receipt]) {
                    Ok(_) => {
                        acknowledged.insert(record.record.data.to_vec());
                    }
                    Err(_) => failed = true,
                }
            }
        }
        world.machine.disk.set_capacity(u64::MAX);
        for _ in 0..4 {
            world.machine.advance(VISIBILITY_SECONDS);
            for dead_letters in [false, true] {
                let options = ReceiveOptions {
                    limit: ReadLimit::default(),
                    dead_letters,
                    ..ReceiveOptions::default()
                };
                loop {
                    let received = queue.receive(&options).unwrap();
                    if received.is_empty() {
                        break;
                    }
                    for record in received {
                        let data = record.record.data.to_vec();
                        let is_filling = data.len() > 4;
                        assert!(
                            is_filling || acknowledged.insert(data),
                            "{:?} came back",
                            record.record
                        );
                        queue.acknowledge(&[record.receipt]).unwrap();
                    }
                }
            }
        }
        let all = (0..put).all(|id| acknowledged.contains(id.to_be_bytes().as_slice()));
        assert!(
            all,
            "with {capacity} bytes, compacts {compacts}, failed: {failed}"
        );
    }
}
