//! `anabranch verify`: is every byte as it was written?

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anabranch::inspect::{Consequence, Finding, InspectedLog, Inspection, Progress, Verification};
use anabranch::{RecordNumber, StreamId};
use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::counted::Counted;
use super::store_directory::store_directory;
#[cfg(feature = "nats")]
use {super::engine::ClusterOfTool, super::verify_cluster, clap::ArgMatches};

#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The store's directory
    #[arg(value_name = "DIR", value_parser = store_directory())]
    #[cfg_attr(not(feature = "nats"), arg(required = true))]
    directory: Option<PathBuf>,

    #[cfg(feature = "nats")]
    #[command(flatten)]
    engine: ClusterOfTool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Print harmless findings too
    #[arg(long)]
    all: bool,
}

pub(super) const AFTER_HELP: &str = "\
Reads every byte of the store: CURRENT, the manifest, the header page, frames and records of each segment, and the index
files. Also checks how frames and segments join, and where they end. Changes nothing, and opens nothing for writing. It
may run while a server has the store: data that is just being written is reported as such.

For each damaged place it prints the file, the offset, what is wrong there, and what that means: which records are lost,
or are whole but not served until the store is repaired.

With --engine, it verifies a store on a cluster. It reads every message on each server that has it, and names each
server whose message differs. Messages that a server keeps in memory, for some seconds, are not read from its disk.

Examples:
  anabranch verify /var/lib/anabranch
  anabranch verify --engine nats://a,b,c

Exit status:
  0  sound
  1  damaged
  2  could not be verified";

impl VerifyArguments {
    /// Decides between a directory and a cluster.
    #[cfg(feature = "nats")]
    pub(super) fn settle(&mut self, matches: &ArgMatches) -> Result<(), String> {
        self.engine.settle(matches, self.directory.is_some())
    }
}

/// Prints the findings; 1 if there is damage.
pub(super) fn run(arguments: &VerifyArguments) -> Result<ExitCode, Failure> {
    #[cfg(feature = "nats")]
    if let Some(cluster) = arguments.engine.given()? {
        let told = verify_cluster::Told {
            as_json: arguments.json,
            all: arguments.all,
        };
        return verify_cluster::run(&cluster, told);
    }
    let directory = arguments.directory.as_ref();
    let directory = directory.ok_or_else(|| no_store("verify"))?;
    let mut line = ProgressLine::default();
    let verification = Inspection::of(directory)
        .verify(&mut |progress| line.show(progress))
        .map_err(Failure::Inspection)?;
    line.clear();
    let out = &mut io::stdout().lock();
    let printed = match arguments.json {
        true => writeln!(out, "{}", as_json(&verification)),
        false => print(out, &verification, arguments.all),
    };
    // The exit status is given even if standard output is closed.
    let _ = printed;
    Ok(match verification.is_sound() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

/// The failure if neither a directory nor a cluster is given.
pub(super) fn no_store(what: &str) -> Failure {
    Failure::Usage(format!(
        "there is no store: `anabranch {what} DIR`, or --engine nats://HOST[:PORT],..."
    ))
}

fn print(out: &mut impl Write, verification: &Verification, all: bool) -> io::Result<()> {
    for finding in &verification.findings {
        let is_harmless = matches!(finding.consequence, Consequence::Harmless { .. });
        if all || !is_harmless {
            writeln!(out, "{finding}")?;
        }
    }
    if let Some(holder) = verification.holder {
        match holder.process {
            Some(process) => writeln!(out, "Process {process} has the store open.")?,
            None => writeln!(out, "Another process has the store open.")?,
        }
    }
    let checked = verification.checked;
    writeln!(
        out,
        "Checked {}, {}, {}, {}, {}, {}.",
        Counted(checked.streams, "stream"),
        Counted(checked.shards, "shard"),
        Counted(checked.segments, "segment"),
        Counted(checked.frames, "frame"),
        Counted(checked.records, "record"),
        Counted(checked.bytes, "byte"),
    )?;
    match verification.damage().count() {
        0 => writeln!(out, "The store is sound."),
        1 => writeln!(out, "1 place is damaged."),
        count => writeln!(out, "{count} places are damaged."),
    }
}

fn as_json(verification: &Verification) -> Value {
    let checked = verification.checked;
    json!({
        "sound": verification.is_sound(),
        "store": verification.store.map(|store| format!("{store:032x}")),
        "open_elsewhere": verification.holder.is_some(),
        "process": verification.holder.and_then(|holder| holder.process),
        "checked": {
            "streams": checked.streams,
            "shards": checked.shards,
            "segments": checked.segments,
            "frames": checked.frames,
            "records": checked.records,
            "bytes": checked.bytes,
        },
        "findings": verification.findings.iter().map(finding_as_json).collect::<Vec<_>>(),
    })
}

/// A finding for machines: `meaning` is one of `harmless`, `being-written`, `never-acknowledged`, `unavailable`,
/// `lost`, `does-not-open`, `held-by-other-copy`.
pub(super) fn finding_as_json(finding: &Finding) -> Value {
    let (meaning, from, to, arrived_from, arrived_until) = match &finding.consequence {
        Consequence::Harmless { .. } => ("harmless", None, None, None, None),
        Consequence::BeingWritten => ("being-written", None, None, None, None),
        Consequence::NeverAcknowledged => ("never-acknowledged", None, None, None, None),
        Consequence::Unavailable { from, to } => ("unavailable", Some(*from), Some(*to), None, None),
        Consequence::Lost(lost) => (
            "lost",
            Some(lost.from),
            lost.to,
            Some(lost.arrived_from.to_string()),
            lost.arrived_until.map(|until| until.to_string()),
        ),
        Consequence::DoesNotOpen => ("does-not-open", None, None, None, None),
        Consequence::HeldByOtherCopy => ("held-by-other-copy", None, None, None, None),
        _ => ("other", None, None, None, None),
    };
    let log = finding.log.as_ref();
    json!({
        "file": finding.path.display().to_string(),
        "offset": finding.offset,
        "stream": log.and_then(InspectedLog::stream).map(StreamId::value),
        "stream_name": log.and_then(|log| log.stream_name.clone()),
        "shard": log.and_then(InspectedLog::shard).map(|shard| shard.to_string()),
        "damaged": finding.is_damage(),
        "what": finding.damage.to_string(),
        "meaning": meaning,
        "meaning_text": finding.consequence.to_string(),
        "from_record": from.map(RecordNumber::value),
        "to_record_exclusive": to.map(RecordNumber::value),
        "arrived_from": arrived_from,
        "arrived_until": arrived_until,
    })
}

/// The progress, on a terminal only.
#[derive(Debug)]
pub(super) struct ProgressLine {
    is_shown: bool,
    percent: Option<u64>,
}

impl Default for ProgressLine {
    fn default() -> Self {
        Self {
            is_shown: io::stderr().is_terminal(),
            percent: None,
        }
    }
}

impl ProgressLine {
    pub(super) fn show(&mut self, progress: &Progress) {
        let percent = (progress.bytes_done * 100)
            .checked_div(progress.bytes_total)
            .unwrap_or(0);
        if !self.is_shown || self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        let mebibytes = |bytes: u64| bytes >> 20;
        let _ = write!(
            io::stderr(),
            "\r\x1b[K{percent:3} %  {} of {} MiB  {}",
            mebibytes(progress.bytes_done),
            mebibytes(progress.bytes_total),
            progress.path.display()
        );
    }

    pub(super) fn clear(&mut self) {
        if self.percent.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
