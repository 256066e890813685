//! `anabranch restore`: makes a store from a backup.

use std::path::PathBuf;
use std::process::ExitCode;

use anabranch::inspect::Inspection;
use clap::Args;

use super::Failure;
use super::backup::ended;
use super::store_directory::store_directory;
use super::verify::ProgressLine;
#[cfg(feature = "nats")]
use {super::copied_cluster, super::engine::ClusterOfTool, clap::ArgMatches};

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,

    /// The directory for the store: an empty directory, or one that does not exist yet
    ///
    /// Not with --engine.
    #[arg(value_name = "DIR", value_parser = store_directory())]
    #[cfg_attr(not(feature = "nats"), arg(required = true))]
    directory: Option<PathBuf>,

    #[cfg(feature = "nats")]
    #[command(flatten)]
    engine: ClusterOfTool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) const AFTER_HELP: &str = "\
Verifies every byte of the backup, copies it into DIR, verifies the copy, and only then makes the copy a store that
opens. Nothing is shared with the backup, and the backup is not changed.

The restored store is the same store as the one that was backed up, at the moment of the backup. The next record of each
shard leaves out at least 2^40 numbers, so that no number that was given out after the backup is given out again. Do not
use both stores afterwards: they would be two different stores with one name.

With --engine, it restores a backup that was made of a store on a cluster. It makes the store's streams on a cluster
that has none of them. The store keeps its name.

An interrupted restore does not open. The next restore into the same directory removes it.

Exit status:
  0  done, and sound
  1  the backup is damaged, or the copy is; nothing is left in DIR
  2  could not be done: DIR is not empty, no room, no permission, not a backup";

impl RestoreArguments {
    /// Decides between a directory and a cluster.
    #[cfg(feature = "nats")]
    pub(super) fn settle(&mut self, matches: &ArgMatches) -> Result<(), String> {
        self.engine.settle(matches, self.directory.is_some())
    }
}

/// Restores; 1 if the backup is damaged.
pub(super) fn run(arguments: &RestoreArguments) -> Result<ExitCode, Failure> {
    #[cfg(feature = "nats")]
    if let Some(cluster) = arguments.engine.given()? {
        return copied_cluster::restore(&cluster, &arguments.backup, arguments.json);
    }
    let Some(directory) = &arguments.directory else {
        return Err(Failure::Usage(
            "there is no place for the store: `anabranch restore BACKUP DIR`, or BACKUP --engine nats://HOST[:PORT],..."
                .to_owned(),
        ));
    };
    let mut line = ProgressLine::default();
    let copied = Inspection::of(&arguments.backup).restore(directory, &mut |progress| {
        line.show(progress);
    });
    line.clear();
    ended(copied, arguments.json)
}
