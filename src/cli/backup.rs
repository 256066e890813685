//! `anabranch backup`: a copy of a store, which a server may have open.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anabranch::Copied;
use anabranch::Error;
use anabranch::inspect::{Inspection, Sharing};
use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::counted::Counted;
use super::store_directory::store_directory;
use super::verify::ProgressLine;
#[cfg(feature = "nats")]
use {super::copied_cluster, super::engine::ClusterOfTool, clap::ArgMatches};

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The store's directory. Not with --engine
    #[arg(value_name = "DIR", value_parser = store_directory())]
    #[cfg_attr(not(feature = "nats"), arg(required = true))]
    directory: Option<PathBuf>,

    /// The directory for the backup: an empty directory, or one that does not exist yet
    #[arg(value_name = "DEST")]
    #[cfg_attr(not(feature = "nats"), arg(required = true))]
    destination: Option<PathBuf>,

    #[cfg(feature = "nats")]
    #[command(flatten)]
    engine: ClusterOfTool,

    /// Copy all bytes, instead of sharing segments with the store by hard links
    #[arg(long)]
    copy: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) const AFTER_HELP: &str = "\
Copies the store into DEST, even while a server has it open and writes to it. Then it verifies every byte of the copy,
and only then makes the copy a store that opens. All records that were durable and acknowledged before are in the
backup. The store is neither locked nor changed.

The backup shares segments that are no longer written to with the store, by hard links, if both are on the same file
system and it supports that. Shared segments take no room, but do not help if the disk fails. With --copy nothing is
shared.

An interrupted backup does not open. The next backup into the same directory removes it. The keys of encrypted streams
are not in a backup: keep the file of --keys elsewhere.

With --engine, it backs up a store on a cluster. It reads each message on all servers that have it, and writes files to
DEST from which `anabranch restore --engine` makes the store again, with the same sequence numbers.

Examples:
  anabranch backup /var/lib/anabranch /backups/monday
  anabranch backup --engine nats://a,b,c /backups/monday

Exit status:
  0  done, and sound
  1  the store is damaged, or the copy is; nothing is left in DEST
  2  could not be done: DEST is not empty, no room, no permission, not a store";

impl BackupArguments {
    /// Decides between a directory and a cluster.
    #[cfg(feature = "nats")]
    pub(super) fn settle(&mut self, matches: &ArgMatches) -> Result<(), String> {
        self.engine.settle(matches, self.destination.is_some())
    }
}

/// Makes the backup; 1 if the store is damaged.
pub(super) fn run(arguments: &BackupArguments) -> Result<ExitCode, Failure> {
    #[cfg(feature = "nats")]
    if let (Some(cluster), Some(destination)) = (arguments.engine.given()?, &arguments.directory) {
        return copied_cluster::back_up(&cluster, destination, arguments.json);
    }
    let (Some(directory), Some(destination)) = (&arguments.directory, &arguments.destination) else {
        return Err(Failure::Usage(
            "there is no store or no destination: `anabranch backup DIR DEST`, or --engine nats://HOST[:PORT],... DEST"
                .to_owned(),
        ));
    };
    let mut line = ProgressLine::default();
    let sharing = match arguments.copy {
        true => Sharing::Nothing,
        false => Sharing::WherePossible,
    };
    let copied = Inspection::of(directory).back_up(destination, sharing, &mut |progress| {
        line.show(progress);
    });
    line.clear();
    ended(copied, arguments.json)
}

/// Reports the copy, or the error.
pub(super) fn ended(copied: Result<Copied, Error>, as_json: bool) -> Result<ExitCode, Failure> {
    let copied = match copied {
        Ok(copied) => copied,
        Err(error @ (Error::Corrupt { .. } | Error::Unreadable { .. })) => {
            Failure::Inspection(error).report();
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(Failure::Inspection(error)),
    };
    let out = &mut io::stdout().lock();
    // The exit status is given even if standard output is closed.
    let _ = match as_json {
        true => writeln!(out, "{}", json_of(&copied)),
        false => print(out, &copied),
    };
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, copied: &Copied) -> io::Result<()> {
    writeln!(
        out,
        "{} in {}: {} written, {} in {} shared with the store.",
        Counted(copied.streams, "stream"),
        Counted(copied.segments, "segment"),
        Counted(copied.written_bytes, "byte"),
        Counted(copied.shared_bytes, "byte"),
        Counted(copied.shared_segments, "segment"),
    )?;
    writeln!(out, "The copy is sound.")
}

fn json_of(copied: &Copied) -> Value {
    json!({
        "sound": true,
        "streams": copied.streams,
        "segments": copied.segments,
        "shared_segments": copied.shared_segments,
        "written_bytes": copied.written_bytes,
        "shared_bytes": copied.shared_bytes,
    })
}
