//! `anabranch repair`: what a repair would do and lose; with `--yes`, doing it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anabranch::inspect::{Inspection, RepairPlan, Repaired};
use clap::Args;

use super::Failure;
use super::verify::ProgressLine;

#[derive(Debug, Args)]
pub(super) struct RepairArguments {
    /// The store's directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// Do it, instead of only saying what would be done
    #[arg(long)]
    yes: bool,

    /// With --yes: also where segments with whole records belong to no shard that the manifest knows; they are set aside
    #[arg(long, requires = "yes")]
    set_aside: bool,
}

pub(super) const AFTER_HELP: &str = "\
Without --yes nothing is changed: it says what would be done to which file, and which records are lost for good.

With --yes it first copies every file that will change to DIR/damaged/<seconds since 1970>/, and syncs the copies. Then
  - what only the commit journal has is put where it belongs;
  - a damaged manifest is rewritten from what is whole of it, and so is one that CURRENT does not name any more;
  - in a damaged segment the records of the damaged frames are given up, and all others are kept;
  - a header page that is damaged, and a file that was cut, are put right;
  - segments that the manifest has forgotten are named again.
Afterwards it verifies the store. The store opens, the shards take records again, and no sequence number is given out
twice.

Where segments with whole records belong to no stream or shard that the manifest still knows, nothing is changed without
--set-aside: with it they are kept in DIR/damaged/<seconds since 1970>/ and taken out of the store.

To go back, copy what is in DIR/damaged/<seconds> over DIR. Once all is well, remove it.

No program may have the store meanwhile. If you have a copy of the store, that is better than any repair.

Exit status:
  0  nothing to repair, or repaired and verified
  1  there is something to repair, or something that cannot be repaired, or the store is still damaged
  2  could not be done";

/// Says what would be done, or does it.
pub(super) fn run(arguments: &RepairArguments) -> Result<ExitCode, Failure> {
    let mut line = ProgressLine::default();
    let plan = Inspection::of(&arguments.directory)
        .plan_repair(&mut |progress| line.show(progress))
        .map_err(Failure::Inspection)?;
    line.clear();
    let is_sound = plan.steps.is_empty() && plan.hopeless.is_empty();
    let is_hopeless = !plan.hopeless.is_empty();
    // The status is given also where standard output is closed.
    let _ = print_plan(&mut io::stdout().lock(), &plan);
    if !arguments.yes {
        if !plan.steps.is_empty() {
            let _ = writeln!(
                io::stdout(),
                "Nothing was changed. With --yes it is done, after these files are copied aside."
            );
        }
        return Ok(match is_sound {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(1),
        });
    }
    if plan.sets_aside() && !arguments.set_aside {
        let _ = writeln!(
            io::stdout(),
            "Nothing was changed: segments with whole records belong to no shard that the manifest knows. Restore the \
             manifest from a copy, or have them set aside with --set-aside."
        );
        return Ok(ExitCode::from(1));
    }
    let repaired = plan.apply_and_set_aside().map_err(Failure::Inspection)?;
    let _ = print_repaired(&mut io::stdout().lock(), repaired.as_ref());
    let is_sound_now = repaired.is_none_or(|repaired| repaired.verification.is_sound());
    Ok(match is_hopeless || !is_sound_now {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    })
}

fn print_plan(out: &mut impl Write, plan: &RepairPlan) -> io::Result<()> {
    for step in &plan.steps {
        writeln!(out, "{step}")?;
    }
    for finding in &plan.hopeless {
        writeln!(out, "cannot be repaired: {finding}")?;
    }
    match (plan.steps.is_empty(), plan.hopeless.is_empty()) {
        (true, true) => writeln!(out, "There is nothing to repair."),
        (true, false) => writeln!(
            out,
            "Nothing can be done about this; restore the store from a copy."
        ),
        _ => Ok(()),
    }
}

fn print_repaired(out: &mut impl Write, repaired: Option<&Repaired>) -> io::Result<()> {
    let Some(repaired) = repaired else {
        return Ok(());
    };
    let is_sound = repaired.verification.is_sound();
    let verdict = match is_sound {
        true => "Repaired; the store is sound.",
        false => "The store is still damaged:",
    };
    writeln!(out, "{verdict}")?;
    for finding in repaired.verification.damage() {
        writeln!(out, "{finding}")?;
    }
    writeln!(out, "As they were before, in {}:", repaired.aside.display())?;
    for name in &repaired.copied {
        writeln!(out, "    {}", name.display())?;
    }
    Ok(())
}
