//! The same scenario with the nth call failing, n = 1, 2, ... until none does.

use anabranch::Durability;
use anabranch::sim::{FailedSync, LossMode, SimDisk};

use crate::model::Violation;
use crate::op::Fault;
use crate::scenario::{play, scenario, use_further};
use crate::watchdog::Case;
use crate::world::{Settings, Stop, World};

/// False once the scenario has fewer than n calls that can fail in this way.
fn fail_nth(n: u64, fault: Fault, outcome: FailedSync, settings: Settings) -> Result<bool, Violation> {
    let mut world = World::new(SimDisk::new(n), settings);
    world.disk.faults().after_failed_sync(outcome);
    world.arm_fault(n, fault);
    let played = world.open().and_then(|()| play(&mut world, &scenario()));
    match played {
        Ok(()) => {}
        Err(Stop::Violation(what)) => return Err(what),
        Err(Stop::Frozen) => return Err("the disk has stopped by itself".to_owned()),
    }
    let has_struck = world.disk.faults().struck() > 0;
    world.crash(LossMode::LoseAll);
    world
        .open()
        .map_err(|stop| format!("after the last crash: {stop:?}"))?;
    use_further(&mut world)?;
    Ok(has_struck)
}

/// Gives the number of calls that can fail in this way.
pub fn fail_every_call(fault: Fault, outcome: FailedSync, settings: Settings) -> Result<u64, Violation> {
    let mut faults = 0;
    for n in 1.. {
        let what = || format!("{fault:?} in call {n}, {outcome:?}, {settings:?}");
        let _case = Case::begin(what);
        match fail_nth(n, fault, outcome, settings) {
            Ok(true) => faults += 1,
            Ok(false) => break,
            Err(violation) => return Err(format!("{}: {violation}", what())),
        }
    }
    Ok(faults)
}

fn must_fail_every_call(fault: Fault, outcome: FailedSync, settings: Settings) {
    let faults = fail_every_call(fault, outcome, settings).unwrap_or_else(|what| panic!("{what}"));
    println!("{faults} faults: {fault:?}, {outcome:?}, {settings:?}");
}

#[test]
fn a_call_that_fails_costs_no_acknowledged_record_and_stops_nobody_for_ever() {
    for fault in Fault::ALL {
        must_fail_every_call(fault, FailedSync::MarksClean, Settings::default());
    }
}

#[test]
fn a_call_that_fails_costs_no_record_that_only_the_journal_has() {
    for fault in [Fault::Broken, Fault::Full] {
        must_fail_every_call(fault, FailedSync::MarksClean, Settings::journaled());
    }
}

#[test]
fn a_call_that_fails_while_the_manifest_is_written_anew_costs_nothing() {
    for fault in [Fault::Broken, Fault::Full] {
        must_fail_every_call(fault, FailedSync::MarksClean, Settings::compacting());
    }
}

#[test]
fn a_call_that_finds_no_descriptor_costs_nothing_and_can_be_made_again() {
    for settings in [
        Settings::journaled(),
        Settings::compacting(),
        Settings::with_few_files(),
    ] {
        let settings = Settings {
            loses_what_is_closed: false,
            ..settings
        };
        must_fail_every_call(Fault::OutOfFiles, FailedSync::MarksClean, settings);
    }
}

#[test]
fn a_failed_sync_is_final_whatever_it_leaves() {
    for outcome in [FailedSync::MarksSomeClean, FailedSync::KeepsDirty] {
        must_fail_every_call(Fault::Broken, outcome, Settings::default());
    }
}

#[test]
fn a_call_that_fails_is_told_at_every_level_of_durability() {
    for durability in [Durability::Written, Durability::Buffered] {
        let settings = Settings {
            durability,
            ..Settings::default()
        };
        for fault in [Fault::Broken, Fault::Full] {
            must_fail_every_call(fault, FailedSync::MarksClean, settings);
        }
    }
}
