//! Streams at the shell: listed, made, written to, read, resharded, trimmed and deleted, in a directory or behind an
//! endpoint.
//!
//! The commands work on a [`Target`](target::Target), which `directory` implements through the library and `endpoint`
//! through the API of a server. Reading all shards of a stream in the order of their lineage is implemented once, over
//! the target (`lineage`).

#[cfg(feature = "mirror")]
mod aws;
mod connection;
mod decoded;
mod directory;
mod endpoint;
mod environment;
mod hours;
mod key;
mod lineage;
mod lines;
mod meter;
mod mirror;
mod name;
mod output;
mod place;
mod position;
mod put;
mod records;
mod reshard;
mod rfc3339;
mod shown;
mod streams;
mod tally;
mod target;
mod trim;
mod until;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Subcommand;

use super::Failure;

/// What can be done with streams.
#[derive(Debug, Subcommand)]
pub(super) enum ShellCommand {
    /// List the streams, or the shards of one
    #[command(after_long_help = AFTER_HELP)]
    Streams(streams::StreamsArguments),

    /// Make a stream
    #[command(after_long_help = AFTER_HELP)]
    Create(streams::CreateArguments),

    /// Put each line of standard input as a record
    #[command(after_long_help = put::AFTER_HELP)]
    Put(put::PutArguments),

    /// Show the records of a stream, or of one of its shards, from a position on
    #[command(after_long_help = records::AFTER_HELP)]
    Get(records::GetArguments),

    /// Show the records of all shards, parents before their children, and with --follow also new ones
    #[command(after_long_help = records::AFTER_HELP)]
    Tail(records::TailArguments),

    /// Split a shard into two
    #[command(after_long_help = AFTER_HELP)]
    Split(reshard::SplitArguments),

    /// Merge two shards into one
    #[command(after_long_help = AFTER_HELP)]
    Merge(reshard::MergeArguments),

    /// Copy a stream to another directory, server, cluster or AWS while it is written, and resume where a run ended
    #[command(after_long_help = mirror::AFTER_HELP)]
    Mirror(Box<mirror::MirrorArguments>),

    /// Hide the records before a position, and free their space
    #[command(after_long_help = AFTER_HELP)]
    Trim(trim::TrimArguments),

    /// Delete a stream with all its records
    #[command(after_long_help = AFTER_HELP)]
    Delete(streams::DeleteArguments),
}

/// The end of the help of all these commands.
macro_rules! after_help {
    ($before:literal) => {
        concat!(
            $before,
            "\
Requests are signed with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN if they are set; a server
without --credentials needs none of them. AWS_CA_BUNDLE names a PEM file with the certificates that are trusted for
https.

The output is a table if standard output is a terminal, and otherwise one JSON object per line; --output chooses the
format. Times are in RFC 3339, in UTC.

Exit status:
  0  done, or standard output was closed
  1  refused, or failed for a reason not named below
  2  the command line is wrong
  3  another process has the directory open
  4  the directory cannot be used: no store, not writable, of a newer version, or its disk is full
  5  no answer from the endpoint"
        )
    };
}
pub(super) use after_help;

const AFTER_HELP: &str = after_help!("");

/// Runs the command. If standard output was closed, no more output is needed, so that is no failure.
pub(super) fn run(command: &ShellCommand) -> ExitCode {
    let done = match command {
        ShellCommand::Streams(arguments) => streams::list(arguments),
        ShellCommand::Create(arguments) => streams::create(arguments),
        ShellCommand::Put(arguments) => put::run(arguments),
        ShellCommand::Get(arguments) => records::get(arguments),
        ShellCommand::Tail(arguments) => records::tail(arguments),
        ShellCommand::Split(arguments) => reshard::split(arguments),
        ShellCommand::Merge(arguments) => reshard::merge(arguments),
        ShellCommand::Mirror(arguments) => mirror::run(arguments),
        ShellCommand::Trim(arguments) => trim::run(arguments),
        ShellCommand::Delete(arguments) => streams::delete(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
