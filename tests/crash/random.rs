//! Random programs, with random crashes and failures, at every level of durability.
//!
//! proptest shortens a sequence that fails to the shortest that still fails.

use std::time::Duration;

use anabranch::sim::{LossMode, SimDisk};
use anabranch::{Durability, SizeLimits};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::model::Violation;
use crate::op::{Fault, Op};
use crate::watchdog::Case;
use crate::world::{Settings, Stop, World};

/// How many sequences each test generates, unless `ANABRANCH_CRASH_CASES` is set.
const CASES: u32 = 800;

fn bytes() -> impl Strategy<Value = usize> {
    prop_oneof![6 => 8..200_usize, 2 => 2_000..6_000_usize, 3 => 20_000..30_000_usize, 1 => 60_000..140_000_usize]
}

fn records() -> impl Strategy<Value = Vec<(u8, usize)>> {
    prop::collection::vec((0..16_u8, 8..300_usize), 1..10)
}

fn loss() -> impl Strategy<Value = LossMode> {
    prop::sample::select(LossMode::ALL.to_vec())
}

/// From less than a record to more than most streams have.
fn limits() -> impl Strategy<Value = SizeLimits> {
    let bytes = || prop::option::of(prop::sample::select(vec![0, 20_000, 60_000, 150_000, 400_000]));
    (bytes(), bytes()).prop_map(|(shard_bytes, stream_bytes)| SizeLimits {
        shard_bytes,
        stream_bytes,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let stream = || prop_oneof![3 => Just(0_u8), 1 => Just(1_u8)];
    let seconds = prop_oneof![0..20_u64, 3_600..80_000_u64];
    let hours = prop::sample::select(vec![24_u32, 25, 36, 48]);
    prop_oneof![
        3 => (stream(), 1..4_u32).prop_map(|(stream, shards)| Op::Create { stream, shards }),
        1 => stream().prop_map(|stream| Op::Delete { stream }),
        16 => (stream(), 0..16_u8, bytes()).prop_map(|(stream, key, bytes)| Op::Put { stream, key, bytes }),
        5 => (stream(), records()).prop_map(|(stream, records)| Op::Batch { stream, records }),
        3 => (stream(), records()).prop_map(|(stream, records)| Op::Appends { stream, records }),
        3 => (stream(), 0..4_usize).prop_map(|(stream, nth)| Op::Split { stream, nth }),
        3 => (stream(), 0..4_usize).prop_map(|(stream, nth)| Op::Merge { stream, nth }),
        2 => (stream(), 1..5_u32).prop_map(|(stream, target)| Op::ShardCount { stream, target }),
        2 => (stream(), prop::option::weighted(0.8, 0..3_u8)).prop_map(|(stream, key)| Op::Encrypt { stream, key }),
        1 => (stream(), hours).prop_map(|(stream, hours)| Op::Retain { stream, hours }),
        1 => (stream(), 0..9_usize).prop_map(|(stream, records)| Op::Checkpoint { stream, records }),
        3 => (stream(), 0..40_usize).prop_map(|(stream, records)| Op::Trim { stream, records }),
        1 => stream().prop_map(|stream| Op::TrimToSaved { stream }),
        1 => (stream(), limits()).prop_map(|(stream, limits)| Op::Limit { stream, limits }),
        2 => (stream(), 1..40_usize).prop_map(|(stream, records)| Op::Hold { stream, records }),
        1 => Just(Op::LetGo),
        2 => Just(Op::Expire),
        2 => Just(Op::Look),
        1 => Just(Op::Litter),
        4 => Just(Op::Maintain),
        6 => seconds.prop_map(|seconds| Op::Advance(Duration::from_secs(seconds))),
        2 => Just(Op::Reopen),
        2 => (1..10_000_u64, any::<(bool, bool)>()).prop_map(|(hours, (forward, reopened))| {
            Op::Glitch { by: Duration::from_secs(3_600 * hours), forward, reopened }
        }),
        3 => loss().prop_map(Op::Crash),
        4 => (1..60_u64, loss()).prop_map(|(calls, mode)| Op::CrashIn { calls, mode }),
        2 => (1..60_u64, prop::sample::select(Fault::ALL.to_vec()))
            .prop_map(|(calls, fault)| Op::Fail { calls, fault }),
    ]
}

/// Operations that trim and recycle segments while records of them are held, and few others.
fn holding_op() -> impl Strategy<Value = Op> {
    let stream = || 0..2_u8;
    prop_oneof![
        1 => (stream(), 1..3_u32).prop_map(|(stream, shards)| Op::Create { stream, shards }),
        1 => stream().prop_map(|stream| Op::Delete { stream }),
        12 => (stream(), 0..16_u8, 19_000..30_000_usize)
            .prop_map(|(stream, key, bytes)| Op::Put { stream, key, bytes }),
        1 => (stream(), 0..4_usize).prop_map(|(stream, nth)| Op::Split { stream, nth }),
        4 => (stream(), 1..40_usize).prop_map(|(stream, records)| Op::Hold { stream, records }),
        2 => (stream(), 1..10_usize).prop_map(|(stream, records)| Op::Trim { stream, records }),
        1 => Just(Op::LetGo),
        3 => Just(Op::Expire),
        1 => Just(Op::Look),
        1 => Just(Op::Maintain),
        1 => Just(Op::Reopen),
    ]
}

fn holding_ops() -> impl Strategy<Value = Vec<Op>> {
    let begin = [0, 1].map(|stream| Op::Create { stream, shards: 1 });
    prop::collection::vec(holding_op(), 1..60).prop_map(move |ops| begin.iter().cloned().chain(ops).collect())
}

fn settings(durability: Durability) -> impl Strategy<Value = Settings> {
    let full = match durability {
        // The effect of a full disk on records acknowledged from memory has its own test (`tests/engine/full_disk.rs`).
        Durability::Buffered => Just(None).boxed(),
        _ => (600_000..2_000_000_u64).prop_map(Some).boxed(),
    };
    let room = prop_oneof![4 => Just(None), 1 => full];
    let journaled = prop::sample::select(vec![1, 2, 3, usize::MAX]);
    let delay = prop::sample::select(vec![0, 0, 0, 10, 10, 2_400]).prop_map(Duration::from_secs);
    (
        any::<bool>(),
        prop::sample::select(vec![0, 256 * 1024]),
        journaled,
        any::<(bool, bool)>(),
        room,
        delay,
    )
        .prop_map(
            move |(
                map_sealed_segments,
                max_recycled_bytes,
                min_journaled_shards,
                few,
                room,
                transition_delay,
            )| {
                let (compacts_early, has_few_files) = few;
                Settings {
                    durability,
                    map_sealed_segments,
                    max_recycled_bytes,
                    min_journaled_shards,
                    compacts_early,
                    has_few_files,
                    loses_what_is_closed: false,
                    room,
                    transition_delay,
                }
            },
        )
}

fn play(seed: u64, settings: Settings, ops: &[Op]) -> Result<(), Violation> {
    let mut world = World::new(SimDisk::new(seed), settings);
    go_on(&mut world, World::open).map_err(|what| format!("at first: {what}"))?;
    for (step, op) in ops.iter().enumerate() {
        go_on(&mut world, |world| world.run(op)).map_err(|what| format!("in step {step}, {op:?}: {what}"))?;
    }
    let ending = [
        Op::Look,
        Op::Crash(LossMode::LoseAll),
        Op::Maintain,
        Op::Look,
        Op::Reopen,
    ];
    for op in &ending {
        go_on(&mut world, |world| world.run(op)).map_err(|what| format!("at last, {op:?}: {what}"))?;
    }
    world.find_no_secret()
}

/// Does something. If the machine stops in it, goes on with the disk after the crash.
fn go_on(world: &mut World, run: impl FnOnce(&mut World) -> Result<(), Stop>) -> Result<(), Violation> {
    match run(world) {
        Ok(()) => Ok(()),
        Err(Stop::Frozen) => world.recover(),
        Err(Stop::Violation(what)) => Err(what),
    }
}

fn play_many(durability: Durability) {
    let cases = std::env::var("ANABRANCH_CRASH_CASES").map_or(CASES, |cases| cases.parse().unwrap());
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..Config::default()
    });
    let ops = prop::collection::vec(op(), 1..60);
    play_with(&mut runner, durability, ops).unwrap_or_else(|what| panic!("{what}"));
}

/// The same few sequences each time, without shortening.
pub fn play_a_few(durability: Durability) -> Result<(), Violation> {
    play_with(
        &mut same_each_time(),
        durability,
        prop::collection::vec(op(), 1..60),
    )
}

/// As [`play_a_few`], with programs that hold records they have read.
pub fn hold_a_few() -> Result<(), Violation> {
    play_with(&mut same_each_time(), Durability::Synced, holding_ops())
}

fn same_each_time() -> TestRunner {
    let config = Config {
        cases: 150,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn play_with(
    runner: &mut TestRunner,
    durability: Durability,
    ops: impl Strategy<Value = Vec<Op>>,
) -> Result<(), Violation> {
    let sequences = (any::<u64>(), settings(durability), ops);
    let played = runner.run(&sequences, |(seed, settings, ops)| {
        let _case = Case::begin(|| format!("seed {seed}, {settings:?}, {ops:#?}"));
        play(seed, settings, &ops).map_err(TestCaseError::fail)
    });
    played.map_err(|error| match error {
        TestError::Fail(what, (seed, settings, ops)) => {
            format!("{what}\nseed {seed}, {settings:?}\n{ops:#?}")
        }
        TestError::Abort(why) => why.to_string(),
    })
}

/// The age noted for a record that a crash took back must not count for the shard's closing.
#[test]
fn a_shard_that_lost_records_whose_age_was_noted_does_not_expire_when_it_is_closed() {
    let settings = Settings {
        durability: Durability::Buffered,
        map_sealed_segments: false,
        max_recycled_bytes: 0,
        min_journaled_shards: 1,
        transition_delay: Duration::from_secs(10),
        ..Settings::default()
    };
    let back = Op::Glitch {
        by: Duration::from_secs(7_200),
        forward: false,
        reopened: false,
    };
    for calls in 1..60 {
        let ops = [
            Op::Create { stream: 1, shards: 1 },
            Op::Expire,
            Op::Create { stream: 0, shards: 1 },
            Op::CrashIn {
                calls,
                mode: LossMode::KeepAll,
            },
            Op::Put {
                stream: 1,
                key: 0,
                bytes: 8,
            },
            back.clone(),
            Op::Split { stream: 1, nth: 0 },
            Op::Expire,
        ];
        play(0, settings, &ops).unwrap_or_else(|what| panic!("a crash in call {calls}: {what}"));
    }
}

/// The round of house-keeping behind a split frees the parent. If the edit's sync fails, only the next opener shows it.
#[test]
fn a_parent_that_a_limit_frees_in_a_round_that_fails_may_be_gone_for_the_next_opener() {
    let settings = Settings {
        durability: Durability::Buffered,
        map_sealed_segments: false,
        max_recycled_bytes: 0,
        min_journaled_shards: 1,
        ..Settings::default()
    };
    for calls in 1..40 {
        let ops = [
            Op::Fail {
                calls: 1,
                fault: Fault::OutOfFiles,
            },
            Op::Create { stream: 0, shards: 1 },
            Op::Limit {
                stream: 0,
                limits: SizeLimits {
                    shard_bytes: None,
                    stream_bytes: Some(0),
                },
            },
            Op::Put {
                stream: 0,
                key: 0,
                bytes: 8,
            },
            Op::Advance(Duration::from_secs(3_600)),
            Op::Fail {
                calls,
                fault: Fault::Broken,
            },
            Op::Split { stream: 0, nth: 0 },
        ];
        play(0, settings, &ops).unwrap_or_else(|what| panic!("a fault in call {calls}: {what}"));
    }
}

/// What is trimmed, held or saved is read in a stream whose parent keeps its last record, and whose child has lost its
/// first one to a limit.
#[test]
fn a_reader_of_a_child_that_a_limit_has_cut_goes_on() {
    let put = || Op::Put {
        stream: 0,
        key: 0,
        bytes: 8,
    };
    let reading = [
        Op::Trim {
            stream: 0,
            records: 2,
        },
        Op::Hold {
            stream: 0,
            records: 2,
        },
        Op::Checkpoint {
            stream: 0,
            records: 2,
        },
    ];
    for read in reading {
        let ops = [
            Op::Create { stream: 0, shards: 2 },
            put(),
            Op::Merge { stream: 0, nth: 0 },
            put(),
            // Begins a segment.
            Op::Encrypt {
                stream: 0,
                key: Some(0),
            },
            put(),
            Op::Limit {
                stream: 0,
                limits: SizeLimits {
                    shard_bytes: Some(0),
                    stream_bytes: None,
                },
            },
            Op::Maintain,
            read,
        ];
        play(0, Settings::default(), &ops).unwrap_or_else(|what| panic!("{what}"));
    }
}

#[test]
fn random_programs_lose_nothing_that_was_synced() {
    play_many(Durability::Synced);
}

#[test]
fn random_programs_lose_no_more_than_the_last_writes() {
    play_many(Durability::Written);
}

#[test]
fn random_programs_lose_no_more_than_what_was_in_memory() {
    play_many(Durability::Buffered);
}

#[test]
fn random_programs_that_hold_what_they_read_keep_it() {
    hold_a_few().unwrap_or_else(|what| panic!("{what}"));
}
