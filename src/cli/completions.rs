//! `anabranch completions`: the script by which a shell completes the command line.

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::printed::print;
use super::{CommandLine, Failure};

#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

pub(super) const AFTER_HELP: &str = "\
Examples:
  anabranch completions bash > /usr/share/bash-completion/completions/anabranch
  anabranch completions zsh > /usr/share/zsh/site-functions/_anabranch
  anabranch completions fish > ~/.config/fish/completions/anabranch.fish";

/// Prints the script.
pub(super) fn run(arguments: &CompletionsArguments) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    generate(
        arguments.shell,
        &mut CommandLine::command(),
        "anabranch",
        &mut script,
    );
    print(&script)?;
    Ok(ExitCode::SUCCESS)
}
