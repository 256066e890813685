//! `anabranch man`: the manual, a page for the program and one for each subcommand.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_mangen::Man;

use super::printed::print;
use super::{CommandLine, Failure};

#[derive(Debug, Args)]
pub(super) struct ManArguments {
    /// A directory that is there, for all pages; without it the page of the program is printed
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
    let failed = |source| Failure::System {
        doing: "write the manual",
        source,
    };
    match &arguments.directory {
        Some(directory) => clap_mangen::generate_to(CommandLine::command(), directory).map_err(failed)?,
        None => {
            let page = page_of_program().map_err(failed)?;
            print(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn page_of_program() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(CommandLine::command()).render(&mut page)?;
    Ok(page)
}
