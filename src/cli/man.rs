//! `anabranch man`: the manual, a page for the program and one for each subcommand.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::printed::print;
use super::{CommandLine, Failure};

#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// An existing directory for all pages; without it, the page of the program is printed
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(super) const AFTER_HELP: &str = "\
Examples:
  anabranch man > anabranch.1
  anabranch man /usr/local/share/man/man1      anabranch.1, anabranch-serve.1, anabranch-verify.1, ...
  anabranch man | man -l -";

/// Prints the page of the program, or writes all pages into a directory.
pub(super) fn run(arguments: &ManArguments) -> Result<ExitCode, Failure> {
    match &arguments.directory {
        Some(directory) => write_all(directory)?,
        None => {
            let page = page_of_program().map_err(|source| Failure::System {
                doing: "write the manual",
                source,
            })?;
            print(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_all(directory: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(CommandLine::command(), directory).map_err(|error| Failure::System {
        doing: "write the manual",
        source: match error.kind() {
            io::ErrorKind::NotFound => {
                let advice = format!("{} is not there: make that directory first", directory.display());
                io::Error::new(error.kind(), advice)
            }
            _ => io::Error::new(error.kind(), format!("{}: {error}", directory.display())),
        },
    })
}

fn page_of_program() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(CommandLine::command()).render(&mut page)?;
    Ok(page)
}
