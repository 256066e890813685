//! The proof of the proof: a step that the design calls necessary is left out, and some check fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anabranch::Durability;
use anabranch::sim::{FailedSync, Step, leave_out};

use crate::model::Violation;
use crate::op::Fault;
use crate::world::Settings;
use crate::{faults, random, regressions, rot, scenario};

/// A check of the suite, which can be made with a step left out.
#[derive(Clone, Copy)]
struct Check {
    name: &'static str,
    run: fn() -> Result<(), Violation>,
}

const CHECKS: [Check; 9] = [
    Check {
        name: "flips",
        run: || rot::flip_bytes(23),
    },
    Check {
        name: "files",
        run: rot::damage_files,
    },
    Check {
        name: "regressions",
        run: || {
            regressions::all();
            Ok(())
        },
    },
    Check {
        name: "crashes",
        run: || scenario::crash_in_every_call(Settings::WITHOUT_JOURNAL, 5).map(drop),
    },
    Check {
        name: "journal",
        run: || scenario::crash_in_every_call(Settings::DEFAULT, 5).map(drop),
    },
    Check {
        name: "written",
        run: || random::play_a_few(Durability::Written),
    },
    Check {
        name: "buffered",
        run: || random::play_a_few(Durability::Buffered),
    },
    Check {
        name: "synced",
        run: || random::play_a_few(Durability::Synced),
    },
    Check {
        name: "faults",
        run: || faults::fail_every_call(Fault::Broken, FailedSync::MarksClean, Settings::DEFAULT).map(drop),
    },
];

impl Check {
    fn passes(self) -> Result<(), Violation> {
        catch_unwind(AssertUnwindSafe(self.run)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            Err(text
                .or(panic.downcast_ref::<&str>().copied())
                .unwrap_or("?")
                .to_owned())
        })
    }
}

#[test]
#[ignore = "shows which checks catch which omission, and takes its time"]
fn explore() {
    let only = std::env::var("ONLY").ok();
    for check in CHECKS {
        if only.is_none() {
            let begun = Instant::now();
            let passed = check.passes();
            eprintln!(
                "EXPLORE none {} {:?} {:.2?}",
                check.name,
                passed.is_ok(),
                begun.elapsed()
            );
            if let Err(what) = passed {
                eprintln!("EXPLORE   {what:.600}");
            }
        }
    }
    for step in Step::ALL {
        if only.as_ref().is_some_and(|only| !step.to_string().contains(only)) {
            continue;
        }
        for check in CHECKS {
            let begun = Instant::now();
            let caught = leave_out(*step, || check.passes());
            let first = caught
                .as_ref()
                .err()
                .map(|what| what.lines().next().unwrap_or("").to_owned());
            eprintln!(
                "EXPLORE {step} {} {} {:.2?} {:.200}",
                check.name,
                caught.is_err(),
                begun.elapsed(),
                first.unwrap_or_default()
            );
            if caught.is_err() && only.is_none() {
                break;
            }
        }
    }
}
