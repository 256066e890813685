//! The log: on standard error, for people or for machines.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use super::Failure;

#[derive(Debug, Clone, Args)]
pub(super) struct LogArguments {
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "ANABRANCH_LOG_FORMAT")]
    log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a filter like "anabranch=debug,info"
    ///
    /// At debug, there is a line for every request.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "ANABRANCH_LOG")]
    log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One line of text for each event
    Text,
    /// One JSON object for each event
    Json,
}

impl LogArguments {
    /// Sends all events to standard error from now on.
    pub(super) fn start(&self) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(&self.log)
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
