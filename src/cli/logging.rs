//! The log: on standard error, for people or for machines.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::Failure;

#[derive(Debug, Clone, Args)]
pub(super) struct LogArguments {
    /// The format of log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "ANABRANCH_LOG_FORMAT")]
    log_format: LogFormat,

    /// What is logged: off, error, warn, info, debug, trace, or a filter like "warn,anabranch=debug"
    ///
    /// At debug, each request is logged. A level alone applies to anabranch; its libraries then log at most info,
    /// unless the filter names them, as in "debug,h2=trace". An empty filter means info.
    #[arg(long, value_name = "FILTER", default_value = LogArguments::DEFAULT_FILTER, env = "ANABRANCH_LOG")]
    log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One line of text for each event
    Text,
    /// One JSON object for each event
    Json,
}

/// The target of the log lines of this program and its library.
const OURS: &str = "anabranch";

impl LogArguments {
    const DEFAULT_FILTER: &str = "info";

    pub(super) fn is_json(&self) -> bool {
        self.log_format == LogFormat::Json
    }

    /// Sends all events to standard error from now on.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(directives(&self.log))
            .map_err(|error| Failure::Usage(format!("--log {}: {error}", self.log)))?;
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr);
        let started = match self.log_format {
            LogFormat::Text => builder.finish().try_init(),
            LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
        };
        started.map_err(|error| Failure::Usage(format!("cannot start logging: {error}")))
    }
}

/// The complete filter: a level without a target is for this program, and other libraries log at most info by it.
fn directives(filter: &str) -> String {
    let (mut level, mut named) = (None, Vec::new());
    for directive in filter.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match directive.parse::<LevelFilter>() {
            // Of two levels the last one counts.
            Ok(of_all) => level = Some(of_all),
            Err(_) => named.push(directive),
        }
    }
    if level.is_none() && named.is_empty() {
        return LogArguments::DEFAULT_FILTER.to_owned();
    }
    let level = level.into_iter().flat_map(|level| {
        let of_libraries = level.min(LevelFilter::INFO);
        [of_libraries.to_string(), format!("{OURS}={level}")]
    });
    let named = named.into_iter().map(str::to_owned);
    level.chain(named).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_ours_and_libraries_say_more_than_info_only_when_they_are_named() {
        for (filter, full) in [
            ("", "info"),
            (" , ", "info"),
            ("off", "off,anabranch=off"),
            ("WARN", "warn,anabranch=warn"),
            ("info", "info,anabranch=info"),
            ("debug", "info,anabranch=debug"),
            ("5", "info,anabranch=trace"),
            ("error, trace", "info,anabranch=trace"),
            ("hyper=debug", "hyper=debug"),
            ("h2=trace,debug", "info,anabranch=debug,h2=trace"),
            (
                "debug,anabranch::kinesis=info",
                "info,anabranch=debug,anabranch::kinesis=info",
            ),
        ] {
            assert_eq!(directives(filter), full, "{filter:?}");
            assert!(EnvFilter::try_new(full).is_ok(), "{full:?}");
        }
    }
}
