//! Options that exclude each other and can be given as environment variables.
//!
//! The parser's own conflicts treat a variable like an option on the command line, so an option could not override a
//! variable that an image or a unit sets. Here the command line takes precedence, and only options given in the same
//! way are refused.

use clap::ArgMatches;
use clap::parser::ValueSource;

/// Which of two options holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Both, as far as they were given.
    All,
    First,
    Second,
}

/// Decides between two options, by their names in [`ArgMatches`]. A flag that is `false` is not given.
///
/// # Errors
/// The message if both were given in the same way.
pub(super) fn decide(matches: &ArgMatches, first: &str, second: &str) -> Result<Holds, String> {
    match (source(matches, first), source(matches, second)) {
        (None, _) | (_, None) => Ok(Holds::All),
        (Some(ValueSource::CommandLine), Some(ValueSource::EnvVariable)) => Ok(Holds::First),
        (Some(ValueSource::EnvVariable), Some(ValueSource::CommandLine)) => Ok(Holds::Second),
        (Some(ValueSource::EnvVariable), _) => Err(refusal(&variable(first), &variable(second))),
        _ => Err(refusal(&option(first), &option(second))),
    }
}

fn source(matches: &ArgMatches, name: &str) -> Option<ValueSource> {
    let is_off = matches!(matches.try_get_one::<bool>(name), Ok(Some(false)));
    let source = matches.value_source(name)?;
    (source != ValueSource::DefaultValue && !is_off).then_some(source)
}

fn refusal(first: &str, second: &str) -> String {
    format!("'{first}' cannot be used with '{second}'")
}

fn option(name: &str) -> String {
    format!("--{}", name.replace('_', "-"))
}

fn variable(name: &str) -> String {
    format!("ANABRANCH_{}", name.to_ascii_uppercase())
}
