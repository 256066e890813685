//! Programs in which everything meets: a queue, a group and a reader of one stream over reshards, snapshots,
//! clocks that jump while records are trimmed, few open files, encryption, calls that fail, in a recovery too,
//! a stream that is made again under its name, and copies and stores that rot and are repaired. Nothing that was
//! acknowledged is lost but what a repair tells, and nothing that was acknowledged to a queue, or committed by a group,
//! comes back.

mod damage;
mod world;

use anabranch::sim::LossMode;
use proptest::prelude::*;

use self::damage::Rot;
use self::world::{Op, Settings, World};
use crate::op::Fault;
use crate::watchdog::Case;

/// How many programs each test makes up; `ANABRANCH_MIXED_CASES` says otherwise.
const CASES: u32 = 150;

fn cases() -> u32 {
    std::env::var("ANABRANCH_MIXED_CASES").map_or(CASES, |cases| cases.parse().unwrap())
}

fn loss() -> impl Strategy<Value = LossMode> {
    prop::sample::select(LossMode::ALL.to_vec())
}

fn fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(Fault::ALL.to_vec())
}

fn rot() -> impl Strategy<Value = Rot> {
    (any::<u64>(), any::<u64>(), 0..8_u32).prop_map(|(file, byte, bit)| Rot { file, byte, bit })
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = prop_oneof![5 => 8..300_usize, 3 => 5_000..20_000_usize];
    prop_oneof![
        12 => (1..10_u8, bytes).prop_map(|(records, bytes)| Op::Put { records, bytes }),
        6 => (1..30_usize).prop_map(Op::Receive),
        6 => (1..30_usize).prop_map(Op::Poll),
        6 => (1..30_usize).prop_map(Op::Follow),
        2 => Just(Op::TrimToReader),
        2 => Just(Op::TrimToGroup),
        2 => Just(Op::Copy),
        2 => rot().prop_map(Op::CopyRots),
        2 => (0..6_usize).prop_map(Op::Split),
        2 => (0..6_usize).prop_map(Op::Merge),
        2 => prop::option::weighted(0.7, 0..3_u8).prop_map(Op::Encrypt),
        2 => (1..10_000_u64, any::<(bool, bool)>()).prop_map(|(hours, (is_forward, is_reopened))| {
            Op::Glitch { hours, is_forward, is_reopened }
        }),
        3 => (1..40_u64).prop_map(Op::Pass),
        3 => Just(Op::Maintain),
        1 => Just(Op::Recreate),
        2 => Just(Op::Look),
        2 => Just(Op::Reopen),
        2 => loss().prop_map(Op::Crash),
        3 => (1..60_u64, loss()).prop_map(|(calls, mode)| Op::CrashIn(calls, mode)),
        4 => (1..60_u64, fault()).prop_map(|(calls, fault)| Op::FailIn(calls, fault)),
        2 => (0..200_000_u64).prop_map(Op::BeFull),
        2 => (0..6_usize).prop_map(Op::RunOutOfFiles),
        2 => (1..60_u64, fault(), loss()).prop_map(|(calls, fault, mode)| Op::FailRecovery(calls, fault, mode)),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let journaled_from = prop::sample::select(vec![1, 2, usize::MAX]);
    (any::<(bool, bool, bool)>(), journaled_from).prop_map(
        |((compacts, has_few_files, maps), journaled_from)| Settings {
            compacts,
            has_few_files,
            journaled_from,
            maps,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_comes_back_where_everything_meets(
        seed in any::<u64>(),
        settings in settings(),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let _case = Case::begin(|| format!("seed {seed}, {settings:?}: {ops:?}"));
        let mut world = World::new(seed, settings);
        ops.iter().for_each(|op| world.run(op));
        world.drain();
    }

    #[test]
    fn a_journal_that_rots_loses_nothing_silently(
        seed in any::<u64>(),
        has_few_files in any::<bool>(),
        ops in prop::collection::vec(op(), 1..40),
        mode in loss(),
        byte in any::<u64>(),
    ) {
        let _case = Case::begin(|| format!("seed {seed}, few files {has_few_files}, byte {byte}: {ops:?}"));
        let settings = Settings {
            compacts: false,
            has_few_files,
            journaled_from: 1,
            maps: false,
        };
        let mut world = World::new(seed, settings);
        ops.iter().for_each(|op| world.run(op));
        world.rot_journal(mode, byte);
    }

    #[test]
    fn a_store_that_rots_loses_what_its_repair_tells(
        seed in any::<u64>(),
        settings in settings(),
        ops in prop::collection::vec(op(), 1..40),
        mode in loss(),
        rot in rot(),
    ) {
        let _case = Case::begin(|| format!("seed {seed}, {settings:?}, {mode:?}, {rot:?}: {ops:?}"));
        let mut world = World::new(seed, settings);
        ops.iter().for_each(|op| world.run(op));
        world.rot(mode, &rot);
    }
}

/// Each thing once.
fn scenario() -> Vec<Op> {
    let put = |records, bytes| Op::Put { records, bytes };
    vec![
        put(6, 40),
        Op::Receive(4),
        Op::Poll(4),
        Op::Follow(3),
        Op::Encrypt(Some(1)),
        put(8, 9_000),
        Op::Split(0),
        put(4, 9_000),
        Op::Receive(9),
        Op::Poll(9),
        Op::Copy,
        Op::Follow(9),
        Op::TrimToReader,
        Op::Pass(10),
        put(4, 9_000),
        Op::Merge(0),
        Op::Poll(20),
        Op::Poll(20),
        Op::Glitch {
            hours: 48,
            is_forward: true,
            is_reopened: true,
        },
        Op::Receive(20),
        put(3, 40),
        Op::Recreate,
        put(3, 40),
        Op::Receive(2),
        Op::Poll(2),
    ]
}

#[test]
fn a_call_that_fails_costs_neither_queue_nor_group_nor_reader_anything() {
    for has_few_files in [false, true] {
        let settings = Settings {
            compacts: has_few_files,
            has_few_files,
            journaled_from: 2,
            maps: true,
        };
        for fault in Fault::ALL {
            for call in (1..).step_by(4) {
                let _case = Case::begin(|| format!("{fault:?} in call {call}, {settings:?}"));
                let mut world = World::new(call, settings);
                let disk = world.machine.disk.clone();
                world.run(&Op::FailIn(call, fault));
                scenario().iter().for_each(|op| world.run(op));
                let has_struck = disk.faults().struck() > 0;
                world.drain();
                if !has_struck {
                    break;
                }
            }
        }
    }
}

/// After the crash numbers are left out, and the reader goes on behind them.
#[test]
fn a_trim_up_to_a_reader_is_told_to_no_group_that_had_as_much() {
    let settings = Settings {
        compacts: false,
        has_few_files: false,
        journaled_from: 1,
        maps: false,
    };
    let mut world = World::new(0, settings);
    let ops = [
        Op::Put { records: 8, bytes: 8 },
        Op::Poll(3),
        Op::Copy,
        Op::Crash(LossMode::KeepAll),
        Op::Put { records: 3, bytes: 8 },
        Op::Follow(3),
        Op::TrimToReader,
    ];
    ops.iter().for_each(|op| world.run(op));
    world.drain();
}

/// The frame of a shard is in the commit journal, and torn in its segment.
#[test]
fn a_shard_whose_frames_cannot_be_put_back_is_not_damaged() {
    let settings = Settings {
        compacts: true,
        has_few_files: true,
        journaled_from: 2,
        maps: false,
    };
    let put = |records, bytes| Op::Put { records, bytes };
    for call in 30..60 {
        let mut world = World::new(4_634_052_776_884_700_504, settings);
        let before = [
            Op::Poll(1),
            put(6, 108),
            put(6, 199),
            Op::FailIn(5, Fault::ShortAndFull),
            put(2, 8),
            Op::Receive(6),
        ];
        before.iter().for_each(|op| world.run(op));
        world.run(&Op::FailRecovery(call, Fault::Broken, LossMode::Prefix));
    }
}
