//! `anabranch repair`: shows what a repair would do and lose; with `--yes`, does it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anabranch::inspect::{InspectedLog, Inspection, Loss, RepairAction, RepairPlan, RepairStep, Repaired};
use anabranch::{RecordNumber, StreamId};
use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::store_directory::store_directory;
use super::verify::{ProgressLine, finding_as_json};

#[derive(Debug, Args)]
pub(super) struct RepairArguments {
    /// The store's directory
    #[arg(value_name = "DIR", value_parser = store_directory())]
    directory: PathBuf,

    /// Repair the store, instead of only showing the repair
    #[arg(long)]
    yes: bool,

    /// With --yes: repair even if segments with whole records belong to no shard of the manifest, and set these aside
    #[arg(long, requires = "yes")]
    set_aside: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) const AFTER_HELP: &str = "\
Without --yes nothing is changed. The output says what a repair would do to which file, and which records are lost for
good.

With --yes it first copies every file that will change to DIR/damaged/<seconds since 1970>/, and syncs the copies. Then
  - it writes frames that are only in the commit journal to their segments;
  - it rewrites a damaged manifest from its undamaged parts, and also a manifest that CURRENT no longer names;
  - in a damaged segment, it gives up the records of the damaged frames, and keeps all others;
  - it restores damaged header pages, and the length of files that were cut;
  - it adds segments that are missing in the manifest to it again.
Afterwards it verifies the store. The store opens, the shards take records again, and no sequence number is given out
twice.

If segments with whole records belong to no stream or shard of the manifest, nothing is changed without --set-aside.
With --set-aside, these segments are moved out of the store, to DIR/damaged/<seconds since 1970>/.

To undo a repair, copy the files in DIR/damaged/<seconds since 1970>/ over those in DIR. When all is well, remove that
directory.

No program may have the store open during a repair. If you have a copy of the store, use that instead of a repair.

Exit status:
  0  nothing to repair, or repaired and verified
  1  there is something to repair, or something that cannot be repaired, or the store is still damaged
  2  could not be done";

/// Shows the repair, or does it.
pub(super) fn run(arguments: &RepairArguments) -> Result<ExitCode, Failure> {
    let mut line = ProgressLine::default();
    let plan = Inspection::of(&arguments.directory)
        .plan_repair(&mut |progress| line.show(progress))
        .map_err(Failure::Inspection)?;
    line.clear();
    let report = Report::of(&plan, arguments.json);
    if !arguments.yes {
        return Ok(report.end(&Outcome::Planned));
    }
    if plan.sets_aside() && !arguments.set_aside {
        return Ok(report.end(&Outcome::NeedsSetAside));
    }
    let repaired = plan.apply_and_set_aside().map_err(Failure::Inspection)?;
    Ok(report.end(&Outcome::Applied(repaired)))
}

/// The result of a plan.
enum Outcome {
    /// The plan was only to be shown.
    Planned,
    /// It sets segments aside, which was not allowed.
    NeedsSetAside,
    /// It was applied; `None` if there was nothing to do.
    Applied(Option<Repaired>),
}

/// The report of a repair. The exit status is given even if standard output is closed.
struct Report {
    is_needed: bool,
    is_hopeless: bool,
    /// The plan, if the output is one JSON object.
    json: Option<Value>,
}

impl Report {
    /// Prints the plan at once, unless the output is JSON.
    fn of(plan: &RepairPlan, is_json: bool) -> Report {
        let json = is_json.then(|| plan_as_json(plan));
        if json.is_none() {
            let _ = print_plan(&mut io::stdout().lock(), plan);
        }
        Report {
            is_needed: !plan.steps.is_empty(),
            is_hopeless: !plan.hopeless.is_empty(),
            json,
        }
    }

    fn end(mut self, outcome: &Outcome) -> ExitCode {
        let out = &mut io::stdout().lock();
        let _ = match self.json.take() {
            Some(mut object) => {
                object["sound"] = json!(self.is_sound_after(outcome));
                add_outcome(&mut object, outcome);
                writeln!(out, "{object}")
            }
            None => self.print_outcome(out, outcome),
        };
        match self.is_sound_after(outcome) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(1),
        }
    }

    fn is_sound_after(&self, outcome: &Outcome) -> bool {
        let is_repaired = match outcome {
            Outcome::Planned | Outcome::NeedsSetAside => !self.is_needed,
            Outcome::Applied(repaired) => {
                let repaired = repaired.as_ref();
                repaired.is_none_or(|repaired| repaired.verification.is_sound())
            }
        };
        is_repaired && !self.is_hopeless
    }

    fn print_outcome(&self, out: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
        match outcome {
            Outcome::Planned if self.is_needed => writeln!(
                out,
                "Nothing was changed. With --yes it is done, after these files are copied aside."
            ),
            Outcome::Planned => Ok(()),
            Outcome::NeedsSetAside => writeln!(
                out,
                "Nothing was changed: segments with whole records belong to no shard that the manifest knows. Restore the \
                 manifest from a copy, or have them set aside with --set-aside."
            ),
            Outcome::Applied(repaired) => print_repaired(out, repaired.as_ref()),
        }
    }
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

fn plan_as_json(plan: &RepairPlan) -> Value {
    json!({
        "steps": plan.steps.iter().map(step_as_json).collect::<Vec<_>>(),
        "cannot_be_repaired": plan.hopeless.iter().map(finding_as_json).collect::<Vec<_>>(),
        "needs_set_aside": plan.sets_aside(),
    })
}

fn step_as_json(step: &RepairStep) -> Value {
    let log = step.log.as_ref();
    let (action, records) = match &step.action {
        RepairAction::RewriteManifest => ("rewrite-manifest", None),
        RepairAction::MendSegment => ("mend-segment", None),
        RepairAction::ReplaceSegment => ("replace-segment", None),
        RepairAction::SetAside { records } => ("set-aside", *records),
        RepairAction::TakeInSegment { records } => ("take-in-segment", Some(*records)),
        RepairAction::ForgetEnd => ("forget-end", None),
        RepairAction::PutJournaledBack => ("put-journaled-back", None),
        RepairAction::ForgetJournal => ("forget-journal", None),
        _ => ("other", None),
    };
    json!({
        "file": step.path.display().to_string(),
        "stream": log.and_then(InspectedLog::stream).map(StreamId::value),
        "stream_name": log.and_then(|log| log.stream_name.clone()),
        "shard": log.and_then(InspectedLog::shard).map(|shard| shard.to_string()),
        "action": action,
        "action_text": step.action.to_string(),
        "whole_records": records,
        "loses": step.loses.iter().map(loss_as_json).collect::<Vec<_>>(),
    })
}

fn loss_as_json(loss: &Loss) -> Value {
    let mut object = match loss {
        Loss::Records(lost) => json!({
            "what": "records",
            "from_record": lost.from.value(),
            "to_record_exclusive": lost.to.map(RecordNumber::value),
            "arrived_from": lost.arrived_from.to_string(),
            "arrived_until": lost.arrived_until.map(|until| until.to_string()),
        }),
        Loss::Edits { misfits } => json!({ "what": "changes", "misfits": misfits }),
        Loss::LastRecords => json!({ "what": "last-records" }),
        _ => json!({ "what": "other" }),
    };
    object["text"] = json!(loss.to_string());
    object
}

/// Adds the result, if the plan was applied: where the copies are, and the remaining damage.
fn add_outcome(object: &mut Value, outcome: &Outcome) {
    let repaired = match outcome {
        Outcome::Applied(repaired) => repaired.as_ref(),
        Outcome::Planned | Outcome::NeedsSetAside => None,
    };
    let shown = |path: &PathBuf| path.display().to_string();
    let still_damaged = |repaired: &Repaired| {
        let damage = repaired.verification.damage();
        damage.map(finding_as_json).collect::<Vec<_>>()
    };
    let copied = |repaired: &Repaired| repaired.copied.iter().map(shown).collect::<Vec<_>>();
    object["done"] = json!(repaired.is_some());
    object["aside"] = json!(repaired.map(|repaired| shown(&repaired.aside)));
    object["copied"] = json!(repaired.map(copied).unwrap_or_default());
    object["still_damaged"] = json!(repaired.map(still_damaged).unwrap_or_default());
}
