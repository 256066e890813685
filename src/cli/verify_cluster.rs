//! `anabranch verify --engine`: checks that each server of a cluster has every message as it was written.

use std::io::{self, Write};
use std::process::ExitCode;

use anabranch::{ClusterVerification, JetStream, ReplicaDamage, ReplicaFinding};
use serde_json::{Value, json};

use super::Failure;
use super::counted::Counted;
use super::progress_line::ProgressLine;

/// The form of the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) as_json: bool,
    pub(super) all: bool,
}

/// Prints the findings; 1 if there is damage.
pub(super) fn run(cluster: &JetStream, told: Told) -> Result<ExitCode, Failure> {
    let progress = ProgressLine::default();
    let verified = cluster.verify(&mut |at| {
        progress.show(&format!("{}: message {} of {}", at.stream, at.sequence, at.last));
    });
    drop(progress);
    let verification = verified.map_err(Failure::Inspection)?;
    let out = &mut io::stdout().lock();
    // The exit status is given even if standard output is closed.
    let _ = match told.as_json {
        true => writeln!(out, "{}", as_json(&verification)),
        false => print(out, &verification, told.all),
    };
    Ok(match verification.is_sound() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

fn print(out: &mut impl Write, verification: &ClusterVerification, all: bool) -> io::Result<()> {
    for finding in &verification.findings {
        if all || finding.is_damage() {
            writeln!(out, "{finding}")?;
        }
    }
    let checked = verification.checked;
    writeln!(
        out,
        "Checked {}, {}, {} in {}, {}, {}.",
        Counted(checked.streams, "stream"),
        Counted(checked.logs, "log"),
        Counted(checked.messages, "message"),
        match checked.copies {
            1 => "1 copy".to_owned(),
            copies => format!("{copies} copies"),
        },
        Counted(checked.records, "record"),
        Counted(checked.bytes, "byte"),
    )?;
    let damage = verification.findings.iter().filter(|finding| finding.is_damage());
    match damage.count() {
        0 => writeln!(out, "The store is sound on all of its servers."),
        1 => writeln!(out, "1 place is damaged."),
        count => writeln!(out, "{count} places are damaged."),
    }
}

fn as_json(verification: &ClusterVerification) -> Value {
    let checked = verification.checked;
    json!({
        "sound": verification.is_sound(),
        "checked": {
            "streams": checked.streams,
            "logs": checked.logs,
            "messages": checked.messages,
            "copies": checked.copies,
            "records": checked.records,
            "bytes": checked.bytes,
        },
        "findings": verification.findings.iter().map(finding_as_json).collect::<Vec<_>>(),
    })
}

/// `meaning` is one of `missing`, `damaged`, `other`, `out-of-place`, `not-read`, `unknown`.
fn finding_as_json(finding: &ReplicaFinding) -> Value {
    let meaning = match &finding.damage {
        ReplicaDamage::Missing => "missing",
        ReplicaDamage::Damaged { .. } => "damaged",
        ReplicaDamage::Other => "other",
        ReplicaDamage::Unchained { .. } => "out-of-place",
        ReplicaDamage::Unread => "not-read",
        _ => "unknown",
    };
    json!({
        "stream": finding.stream,
        "log": finding.log,
        "server": finding.server,
        "first": finding.first,
        "last": finding.last,
        "messages": finding.messages,
        "damaged": finding.is_damage(),
        "meaning": meaning,
        "text": finding.to_string(),
    })
}
