//! The command line: its arguments, and the exit status. There is one file for each subcommand.

mod access;
mod admin;
mod announcement;
mod backup;
mod bench;
mod buckets;
#[cfg(feature = "nats")]
mod check;
#[cfg(feature = "nats")]
mod cluster;
mod completions;
#[cfg(feature = "nats")]
mod copied_cluster;
mod counted;
mod dump;
mod duration;
mod emulated;
mod engine;
mod exclusive;
mod exit;
mod initial_streams;
mod interruption;
mod logging;
mod man;
mod printed;
mod progress_line;
mod repair;
mod restore;
mod secret_file;
mod serve;
mod service_manager;
mod shell;
mod size;
mod space;
mod store_directory;
mod table;
mod verify;
#[cfg(feature = "nats")]
mod verify_cluster;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use exit::Failure;

/// Amazon Kinesis streams on your own disk.
///
/// Serves the Kinesis API over HTTP, with the streams in a directory. By default, it acknowledges a put when the record
/// is synced to the disk. Without a subcommand, `anabranch` is `anabranch serve`.
#[derive(Debug, Parser)]
#[command(
    name = "anabranch",
    version,
    args_conflicts_with_subcommands = true,
    after_long_help = AFTER_HELP
)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: serve::ServeArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the Kinesis API until interrupted (the default)
    #[command(after_long_help = AFTER_HELP)]
    Serve(Box<serve::ServeArguments>),

    #[command(flatten)]
    Shell(shell::ShellCommand),

    /// Find problems of a cluster, without opening the store or changing anything
    #[cfg(feature = "nats")]
    #[command(after_long_help = check::AFTER_HELP)]
    Check(check::CheckArguments),

    /// Check every byte of a store, without changing anything
    #[command(after_long_help = verify::AFTER_HELP)]
    Verify(verify::VerifyArguments),

    /// Show the contents of a store: manifest, lineage, segments, frames, records
    #[command(after_long_help = dump::AFTER_HELP)]
    Dump(dump::DumpArguments),

    /// Show how a damaged store would be repaired, and with --yes repair it
    #[command(after_long_help = repair::AFTER_HELP)]
    Repair(repair::RepairArguments),

    /// Copy a store, even while a server has it open, into a directory from which it can be restored
    #[command(after_long_help = backup::AFTER_HELP)]
    Backup(backup::BackupArguments),

    /// Make a store from a backup
    #[command(after_long_help = restore::AFTER_HELP)]
    Restore(restore::RestoreArguments),

    /// Measure the speed of this disk, and how much of it anabranch uses
    #[command(after_long_help = bench::AFTER_HELP)]
    Bench(bench::BenchArguments),

    /// Print a script with which a shell completes this command line
    #[command(after_long_help = completions::AFTER_HELP)]
    Completions(completions::CompletionsArguments),

    /// Print the manual, or write a page for each subcommand into a directory
    #[command(after_long_help = man::AFTER_HELP)]
    Man(man::ManArguments),
}

const AFTER_HELP: &str = "\
Example:
  anabranch --data-dir /var/lib/anabranch &

  python3 - <<'PYTHON'
  import boto3
  kinesis = boto3.client(\"kinesis\", endpoint_url=\"http://127.0.0.1:4567\", region_name=\"us-east-1\",
                         aws_access_key_id=\"any\", aws_secret_access_key=\"any\")
  kinesis.create_stream(StreamName=\"clicks\", ShardCount=2)
  print(kinesis.put_record(StreamName=\"clicks\", PartitionKey=\"user-42\", Data=b\"hello\"))
  PYTHON

  Any other AWS client works too: export AWS_ENDPOINT_URL_KINESIS=http://127.0.0.1:4567

Without --credentials no signature is verified: every client that reaches the address can read and write all streams.

Exit status:
  0  stopped by SIGINT, SIGTERM, SIGHUP, or the end of standard input with --exit-with-stdin, and everything is closed
     in order
  1  failed for a reason not named below
  2  the command line is wrong
  3  another process has the data directory open
  4  the data directory cannot be used: not writable, not a store, or of a newer version
  5  cannot listen on the address";

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    let matches = CommandLine::command().get_matches();
    let arguments = CommandLine::of(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command {
        None => served(&arguments.serve),
        Some(Command::Serve(arguments)) => served(&arguments),
        Some(Command::Shell(command)) => shell::run(&command),
        #[cfg(feature = "nats")]
        Some(Command::Check(arguments)) => inspected(check::run(&arguments)),
        Some(Command::Verify(arguments)) => inspected(verify::run(&arguments)),
        Some(Command::Dump(arguments)) => inspected(dump::run(&arguments)),
        Some(Command::Repair(arguments)) => inspected(repair::run(&arguments)),
        Some(Command::Backup(arguments)) => inspected(backup::run(&arguments)),
        Some(Command::Restore(arguments)) => inspected(restore::run(&arguments)),
        Some(Command::Bench(arguments)) => bench::run(&arguments),
        Some(Command::Completions(arguments)) => ended(completions::run(&arguments)),
        Some(Command::Man(arguments)) => ended(man::run(&arguments)),
    }
}

impl CommandLine {
    fn of(matches: &ArgMatches) -> Result<CommandLine, clap::Error> {
        let parsed = CommandLine::from_arg_matches(matches);
        let mut arguments = parsed.map_err(|error| error.format(&mut CommandLine::command()))?;
        let settled = match (&mut arguments.command, matches.subcommand()) {
            (None, _) => arguments.serve.settle(matches),
            (Some(Command::Serve(serve)), Some((_, matches))) => serve.settle(matches),
            #[cfg(feature = "nats")]
            (Some(Command::Verify(verify)), Some((_, matches))) => verify.settle(matches),
            #[cfg(feature = "nats")]
            (Some(Command::Backup(backup)), Some((_, matches))) => backup.settle(matches),
            #[cfg(feature = "nats")]
            (Some(Command::Restore(restore)), Some((_, matches))) => restore.settle(matches),
            #[cfg(feature = "nats")]
            (Some(Command::Dump(dump)), Some((_, matches))) => dump.settle(matches),
            _ => Ok(()),
        };
        settled.map_err(|reason| CommandLine::command().error(ErrorKind::ArgumentConflict, reason))?;
        Ok(arguments)
    }
}

fn ended(done: Result<ExitCode, Failure>) -> ExitCode {
    done.unwrap_or_else(|failure| failure.report())
}

fn served(arguments: &serve::ServeArguments) -> ExitCode {
    match serve::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if arguments.logs_json() => failure.report_as_json(),
        Err(failure) => failure.report(),
    }
}

/// A tool that inspects a store has two results with different exit statuses; a failure has a third.
fn inspected(done: Result<ExitCode, Failure>) -> ExitCode {
    done.unwrap_or_else(|failure| {
        failure.report();
        ExitCode::from(2)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn serve_is_what_happens_without_a_subcommand() {
        let bare = CommandLine::try_parse_from(["anabranch", "--listen", "[::1]:80"]).unwrap();
        assert!(bare.command.is_none());
        assert_eq!(bare.serve.listen(), "[::1]:80");
        let named = CommandLine::try_parse_from(["anabranch", "serve", "--listen", "[::1]:80"]).unwrap();
        let Some(Command::Serve(named)) = named.command else {
            panic!("serve")
        };
        assert_eq!(named.listen(), "[::1]:80");
        assert!(CommandLine::try_parse_from(["anabranch", "--listen", "a:1", "serve"]).is_err());
    }
}
