//! Small worlds, exhaustively: one fixed scenario, crashed in every call.

use std::time::Duration;

use anabranch::SizeLimits;
use anabranch::sim::{Calls, LossMode, SimDisk};

use crate::model::Violation;
use crate::op::Op;
use crate::watchdog::Case;
use crate::world::{Settings, Stop, World};

/// Fills most of a first segment of 64 KiB.
const LARGE: usize = 25_000;

const HOUR: Duration = Duration::from_secs(3_600);

/// Two streams, a split, a merge, roll-overs, a retention cut, checkpoints, logs that come to rest and are resumed, a
/// clean close, trims, a limit of size, and a stream that is deleted and made again.
pub fn scenario() -> Vec<Op> {
    let put = |stream, key, bytes| Op::Put { stream, key, bytes };
    let spread = |stream: u8| Op::Batch {
        stream,
        records: (0..8).map(|key| (2 * key, 100)).collect(),
    };
    vec![
        Op::Create { stream: 0, shards: 2 },
        Op::Create { stream: 1, shards: 1 },
        put(0, 1, 30),
        put(0, 9, 30),
        put(1, 3, 5_000),
        spread(0),
        // Three records of this size do not fit in a segment.
        put(0, 2, LARGE),
        put(0, 2, LARGE),
        put(0, 2, LARGE),
        Op::Appends {
            stream: 0,
            records: vec![(2, 10), (3, 20), (10, 30), (2, 40)],
        },
        Op::Checkpoint {
            stream: 0,
            records: 5,
        },
        Op::Maintain,
        Op::Split { stream: 0, nth: 0 },
        put(0, 2, 60),
        spread(0),
        Op::Look,
        Op::Encrypt {
            stream: 0,
            key: Some(0),
        },
        Op::Advance(13 * HOUR),
        Op::Reopen,
        put(0, 2, 70),
        put(0, 12, 70),
        Op::Merge { stream: 0, nth: 1 },
        put(0, 5, LARGE),
        put(0, 5, LARGE),
        put(0, 5, LARGE),
        put(1, 1, LARGE),
        put(1, 1, LARGE),
        Op::Retain { stream: 1, hours: 30 },
        // Records put before the clean close expire in one stream: two closed shards, and segments of open ones.
        Op::Advance(12 * HOUR),
        Op::Maintain,
        Op::Maintain,
        Op::Checkpoint {
            stream: 0,
            records: 2,
        },
        // Records put by this process expire, and their files are written again.
        put(0, 5, LARGE),
        put(1, 1, LARGE),
        Op::Advance(31 * HOUR),
        put(0, 5, LARGE),
        put(1, 1, LARGE),
        Op::Maintain,
        put(0, 5, LARGE),
        put(0, 5, LARGE),
        put(1, 1, LARGE),
        put(1, 1, LARGE),
        // There are no puts for long enough that the logs come to rest; then they are written to again.
        Op::Advance(Duration::from_secs(10)),
        Op::Maintain,
        Op::Encrypt {
            stream: 0,
            key: Some(1),
        },
        put(0, 5, 80),
        spread(0),
        Op::Retain { stream: 1, hours: 24 },
        // A reader has finished some records, and later all records of a shard that was split.
        Op::Trim {
            stream: 0,
            records: 2,
        },
        Op::Split { stream: 0, nth: 0 },
        spread(0),
        Op::Limit {
            stream: 1,
            limits: SizeLimits {
                shard_bytes: Some(LARGE as u64),
                ..SizeLimits::NONE
            },
        },
        Op::Trim {
            stream: 0,
            records: 14,
        },
        Op::Maintain,
        Op::Look,
        Op::Delete { stream: 1 },
        Op::Create { stream: 1, shards: 1 },
        put(1, 4, 90),
        Op::Maintain,
        Op::Encrypt { stream: 0, key: None },
        Op::Reopen,
        put(1, 4, 100),
        spread(0),
    ]
}

/// Every disk after a crash is used, closed and used again.
fn afterlife() -> Vec<Op> {
    vec![
        Op::Create { stream: 0, shards: 2 },
        Op::Put {
            stream: 0,
            key: 2,
            bytes: 50,
        },
        Op::Put {
            stream: 0,
            key: 11,
            bytes: 50,
        },
        Op::Create { stream: 1, shards: 1 },
        Op::Put {
            stream: 1,
            key: 4,
            bytes: 50,
        },
        Op::Maintain,
        Op::Reopen,
        Op::Put {
            stream: 0,
            key: 2,
            bytes: 50,
        },
        Op::Crash(LossMode::LoseAll),
        Op::Put {
            stream: 1,
            key: 4,
            bytes: 50,
        },
        Op::Look,
    ]
}

/// Does one step after another. A violation names the step.
pub fn play(world: &mut World, ops: &[Op]) -> Result<(), Stop> {
    for op in ops {
        world.run(op).map_err(|stop| match stop {
            Stop::Violation(what) => Stop::Violation(format!("in {op:?}: {what}")),
            Stop::Frozen => Stop::Frozen,
        })?;
    }
    Ok(())
}

/// Runs the scenario until the machine stops in the nth call; `None` if it ends before.
fn until_call(n: u64, settings: Settings) -> Result<Option<World>, Violation> {
    let mut world = World::new(SimDisk::new(n), settings);
    world.disk.faults().freeze_nth(Calls::ALL, n);
    let played = world.open().and_then(|()| play(&mut world, &scenario()));
    match played {
        Ok(()) => Ok(None),
        Err(Stop::Frozen) => Ok(Some(world)),
        Err(Stop::Violation(what)) => Err(what),
    }
}

/// Opens the store after a crash, once. The machine may stop again meanwhile.
fn open_until_call(world: &mut World, n: u64) -> Result<bool, Violation> {
    world.disk.faults().freeze_nth(Calls::ALL, n);
    match world.open() {
        Ok(()) => Ok(true),
        Err(Stop::Frozen) => Ok(false),
        Err(Stop::Violation(what)) => Err(what),
    }
}

fn open(world: &mut World) -> Result<(), Violation> {
    finish(world, World::open)
}

pub fn use_further(world: &mut World) -> Result<(), Violation> {
    finish(world, |world| play(world, &afterlife()))
}

fn finish(world: &mut World, run: impl FnOnce(&mut World) -> Result<(), Stop>) -> Result<(), Violation> {
    match run(world) {
        Ok(()) => Ok(()),
        Err(Stop::Violation(what)) => Err(what),
        Err(Stop::Frozen) => Err("the disk has stopped by itself".to_owned()),
    }
}

/// Every mode of power loss, with several random ones.
const LOSSES: [LossMode; 4] = [
    LossMode::LoseAll,
    LossMode::Prefix,
    LossMode::Random,
    LossMode::Random,
];

/// Tries all outcomes of one moment: power is lost, or the process is killed and power is lost after the next opener
/// has looked. Gives their number.
fn crash_in_every_way(world: &World) -> Result<u64, Violation> {
    for mode in LOSSES {
        let after = || -> Result<(), Violation> {
            let mut after = world.after_crash(world.disk.crash(mode), mode);
            open(&mut after)?;
            use_further(&mut after)
        };
        after().map_err(|what| format!("{mode:?}: {what}"))?;
    }
    let mut killed = world.after_crash(world.disk.crash(LossMode::KeepAll), LossMode::KeepAll);
    open(&mut killed).map_err(|what| format!("KeepAll: {what}"))?;
    for mode in LOSSES {
        let mut after = killed.after_crash(killed.disk.image(mode), mode);
        open(&mut after).map_err(|what| format!("KeepAll, looked at, {mode:?}: {what}"))?;
    }
    use_further(&mut killed).map_err(|what| format!("KeepAll: {what}"))?;
    Ok(2 * LOSSES.len() as u64 + 1)
}

#[test]
fn the_scenario_runs_without_a_crash() {
    let mut world = World::new(SimDisk::new(1), Settings::default());
    world.disk.start_trace();
    world.open().unwrap();
    for op in scenario() {
        let calls = world.disk.calls(Calls::ALL);
        world.run(&op).unwrap();
        println!("{op:?}");
        for call in world.disk.trace().iter().filter(|call| call.number > calls) {
            println!("    {call}");
        }
    }
    world.find_no_secret().unwrap();
}

/// Crashes in every call of the scenario, or in every `step`th. Gives the number of outcomes.
pub fn crash_in_every_call(settings: Settings, step: usize) -> Result<u64, Violation> {
    let mut outcomes = 0;
    for n in (1..).step_by(step) {
        let _case = Case::begin(|| format!("a crash in call {n}"));
        let Some(world) = until_call(n, settings)? else {
            break;
        };
        outcomes += crash_in_every_way(&world).map_err(|what| format!("call {n}, {what}"))?;
    }
    Ok(outcomes)
}

/// Crashes in some calls of the scenario, and in every call of the recovery from it. Gives the number of outcomes.
pub fn crash_in_every_call_of_recovery(settings: Settings, step: usize) -> Result<u64, Violation> {
    let mut outcomes = 0;
    for n in (3..).step_by(step) {
        let Some(world) = until_call(n, settings)? else {
            break;
        };
        for (mode, m) in [LossMode::KeepAll, LossMode::Random]
            .into_iter()
            .flat_map(|mode| (1..).map(move |m| (mode, m)))
        {
            let what = || format!("call {n}, {mode:?}, then call {m} of the recovery");
            let _case = Case::begin(what);
            let mut recovering = world.after_crash(world.disk.crash(mode), mode);
            if open_until_call(&mut recovering, m)? {
                break;
            }
            outcomes +=
                crash_in_every_way(&recovering).map_err(|violation| format!("{}, {violation}", what()))?;
        }
    }
    Ok(outcomes)
}

fn report(outcomes: Result<u64, Violation>) {
    println!("{} outcomes", outcomes.unwrap_or_else(|what| panic!("{what}")));
}

#[test]
fn a_crash_in_any_call_of_the_scenario_loses_and_invents_nothing() {
    report(crash_in_every_call(Settings::default(), 1));
}

#[test]
fn a_crash_in_any_call_loses_and_invents_nothing_that_only_the_journal_has() {
    report(crash_in_every_call(Settings::journaled(), 2));
}

#[test]
fn a_crash_in_any_call_loses_and_invents_nothing_while_the_manifest_is_written_anew() {
    report(crash_in_every_call(Settings::compacting(), 3));
}

#[test]
fn a_crash_in_any_call_loses_and_invents_nothing_where_few_files_can_be_open() {
    report(crash_in_every_call(Settings::with_few_files(), 3));
    let written = Settings {
        durability: anabranch::Durability::Written,
        min_journaled_shards: usize::MAX,
        ..Settings::with_few_files()
    };
    report(crash_in_every_call(written, 5));
}

#[test]
fn a_crash_in_any_call_of_a_recovery_loses_and_invents_nothing() {
    report(crash_in_every_call_of_recovery(Settings::default(), 31));
}

#[test]
fn a_crash_in_any_call_of_a_recovery_loses_nothing_that_only_the_journal_has() {
    report(crash_in_every_call_of_recovery(Settings::journaled(), 41));
}
