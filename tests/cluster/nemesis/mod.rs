//! Faults that a seed draws, under load: nodes and servers that are killed and stopped, cuts of power, of the network
//! and flipped bits, while streams are made, deleted, split and merged. Then every acknowledged record is looked for.
//!
//! `ANABRANCH_NEMESIS_SEED=7 ANABRANCH_NEMESIS_SECONDS=300 ANABRANCH_NEMESIS_ROUNDS=5 cargo test --test cluster nemesis::`
//! makes it a long run.

mod calls;
mod changes;
mod check;
mod faults;
mod ledger;
mod load;
mod network;
mod random;
mod record;
mod servers;
mod world;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anabranch_harness::child::{self, Apart};
use anabranch_harness::nats::{self, Setup};

use faults::Faults;
use load::Load;
use world::World;

/// A run goes on for so long, or until each fault has fallen once if that is later.
const DEFAULT_SECONDS: u64 = 30;

/// A server may take so long until it can be read from.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same where the cluster may have lost what a server needs to begin.
const PATIENCE_WITH_THE_LOST: Duration = Duration::from_secs(30);

/// How often acknowledgements that were not synced may be lucky.
const MOST_CUTS: u32 = 6;

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a whole number")),
    )
}

/// Shown although the test passes.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs the test where power and the network can be cut, if this machine has such a place, and tells it whether.
fn in_a_world_of_its_own(test: &str, run: impl FnOnce(&Path, bool)) {
    let program = match nats::install(Path::new(env!("CARGO_TARGET_TMPDIR"))) {
        Ok(program) => program,
        Err(reason) => {
            report(&format!("not tested: nats-server cannot be installed: {reason}"));
            return;
        }
    };
    match child::child_apart(test) {
        Apart::IsChild => run(&program, true),
        Apart::HasRun => {}
        Apart::CannotBe(reason) => {
            report(&format!(
                "neither power nor the network can be cut here: {reason}"
            ));
            run(&program, false);
        }
    }
}

#[test]
fn every_acknowledged_record_is_there_once_and_in_order_whatever_fails() {
    let test = "nemesis::every_acknowledged_record_is_there_once_and_in_order_whatever_fails";
    in_a_world_of_its_own(test, |program, is_apart| {
        let first = from_environment("ANABRANCH_NEMESIS_SEED").unwrap_or(1);
        let rounds = from_environment("ANABRANCH_NEMESIS_ROUNDS").unwrap_or(1);
        (first..first + rounds).for_each(|seed| run(program, is_apart, seed));
    });
}

fn run(program: &Path, is_apart: bool, seed: u64) {
    let seconds = from_environment("ANABRANCH_NEMESIS_SECONDS").unwrap_or(DEFAULT_SECONDS);
    let servers = from_environment("ANABRANCH_NEMESIS_SERVERS").unwrap_or(2);
    let started = Instant::now();
    let mut world = World::start(program, is_apart, Setup::default(), servers as usize);
    let load = Load::begin(&world.addresses(), seed);
    let mut faults = Faults::of(seed);
    let mut problems = load.wait_for_progress().err().into_iter().collect::<Vec<_>>();
    while problems.is_empty()
        && (started.elapsed() < Duration::from_secs(seconds) || !faults.have_all_fallen())
    {
        problems.extend(faults.next(&mut world, &load).err());
    }
    problems.extend(load.wait_for_progress().err());
    let ledger = load.end();
    world.forget();
    let found = check::check(&ledger, &world.addresses(), PATIENCE);
    problems.extend(found.problems);
    if from_environment("ANABRANCH_NEMESIS_SEED").is_some() {
        report(&faults.story());
    }
    report(&format!(
        "nemesis, seed {seed}: {} s, {}; {ledger}; {} records read",
        started.elapsed().as_secs(),
        faults.summary(),
        found.records
    ));
    if !problems.is_empty() {
        let kept = world.keep();
        panic!(
            "seed {seed}: {} problems, of which these are the first:\n{}\nfaults:\n{}\nlogs: {}",
            problems.len(),
            problems[..problems.len().min(20)].join("\n"),
            faults.story(),
            kept.display()
        );
    }
}

/// What the servers of NATS do by default: they acknowledge first and sync every two minutes. A server of anabranch
/// refuses such a cluster (`refusals`); one that was told not to ask loses what the check then misses.
///
/// A cut takes what was written since the last write-back of the operating system, which waits for some seconds, and
/// puts were acknowledged until the cut. So one cut is enough, but for a leader that happened to sync: there are several.
#[test]
fn a_cluster_that_does_not_sync_is_caught_by_a_cut_of_all_power() {
    let test = "nemesis::a_cluster_that_does_not_sync_is_caught_by_a_cut_of_all_power";
    in_a_world_of_its_own(test, |program, is_apart| {
        let setup = Setup {
            sync_interval: "2m",
            ..Setup::default()
        };
        let mut world = World::start(program, is_apart, setup, 1);
        if !world.has_power_switch() {
            report("not tested: no power can be cut here");
            return;
        }
        let load = Load::begin(&world.addresses(), 1);
        for cut in 1..=MOST_CUTS {
            load.wait_for_progress()
                .expect("puts go on where nothing was lost");
            world.cut_power(&[0, 1, 2]);
            world.forget();
            world.restore(&[0, 1, 2]);
            let found = check::check(load.ledger(), &world.addresses(), PATIENCE_WITH_THE_LOST);
            if let Some(problem) = found.problems.first() {
                let said = world.last_words();
                report(&format!(
                    "default sync: caught after {cut} cuts: {problem}; the server: {said}"
                ));
                return;
            }
        }
        panic!("{MOST_CUTS} cuts of power took nothing that was acknowledged");
    });
}
