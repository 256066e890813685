//! `anabranch streams`, `create` and `delete`.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anabranch::kinesis::ServerOptions;
use anabranch::{Retention, ShardFilter, StartingPosition, Timestamp};
use clap::Args;
use serde_json::Value;

use super::super::Failure;
use super::decoded::json_text;
use super::directory::Access;
use super::lineage::LineageReader;
use super::name::StreamArgument;
use super::output::{Output, OutputArguments};
use super::place::{PlaceArguments, Work};
use super::reshard::show_shards;
use super::rfc3339;
use super::target::{NewStream, StreamRow, Target};

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct StreamsArguments {
    /// The stream whose shards to list
    #[arg(value_name = "NAME")]
    stream: Option<StreamArgument>,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct CreateArguments {
    /// The name: 1 to 128 characters of a-z A-Z 0-9 _ . -
    #[arg(value_name = "NAME")]
    stream: StreamArgument,

    /// The number of shards
    #[arg(
        long,
        default_value_t = ServerOptions::DEFAULT_SHARD_COUNT,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    shards: u32,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct DeleteArguments {
    /// The stream
    #[arg(value_name = "NAME")]
    stream: StreamArgument,

    /// Delete without asking
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    place: PlaceArguments,
}

/// Lists the streams, or the shards of one.
pub(super) fn list(arguments: &StreamsArguments) -> Result<(), Failure> {
    arguments
        .place
        .run(Access::Read, arguments.stream.as_ref(), List(arguments))
}

/// Makes a stream.
pub(super) fn create(arguments: &CreateArguments) -> Result<(), Failure> {
    arguments
        .place
        .run(Access::Make, Some(&arguments.stream), Create(arguments))
}

/// Deletes a stream, after the person has agreed.
pub(super) fn delete(arguments: &DeleteArguments) -> Result<(), Failure> {
    arguments
        .place
        .run(Access::Change, Some(&arguments.stream), Delete(arguments))
}

struct List<'a>(&'a StreamsArguments);

impl Work for List<'_> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        let mut output = self.0.output.open();
        if let Some(stream) = &self.0.stream {
            return show_shards(&mut output, &target.shards(stream, ShardFilter::FromTrimHorizon)?);
        }
        let mut listed = Vec::new();
        for stream in target.streams()? {
            let oldest = oldest(target, &stream)?;
            listed.push(Listed { stream, oldest });
        }
        show_streams(&mut output, &listed)
    }
}

struct Create<'a>(&'a CreateArguments);

impl Work for Create<'_> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        let CreateArguments {
            stream,
            shards,
            output,
            ..
        } = self.0;
        target.create(stream, &NewStream::of_shards(*shards))?;
        let stream = target.stream(stream)?;
        show_streams(&mut output.open(), &[Listed { stream, oldest: None }])
    }
}

struct Delete<'a>(&'a DeleteArguments);

impl Work for Delete<'_> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        let DeleteArguments { stream, yes, .. } = self.0;
        target.stream(stream)?;
        if !yes && !is_meant(stream) {
            return Err(Failure::Refused(format!(
                "stream {stream} is not deleted: answer y, or say --yes"
            )));
        }
        target.delete(stream)
    }
}

/// Asks on standard error, and reads a line of standard input as the answer.
fn is_meant(stream: &str) -> bool {
    let mut answer = String::new();
    let _ = write!(
        io::stderr(),
        "Delete stream {stream} with all its records? [y/N] "
    );
    let read = io::stdin().read_line(&mut answer);
    // Only a terminal shows the end of the answer's line.
    if !io::stdin().is_terminal() || !answer.ends_with('\n') {
        let _ = writeln!(io::stderr());
    }
    read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// A stream in the list.
struct Listed {
    stream: StreamRow,
    /// When its oldest record arrived, if it has any.
    oldest: Option<Timestamp>,
}

/// The arrival of the oldest record. If one stream cannot be read, the others are still listed.
fn oldest(target: &mut impl Target, stream: &StreamRow) -> Result<Option<Timestamp>, Failure> {
    if !stream.is_readable() {
        return Ok(None);
    }
    let reader = LineageReader::open(target, &stream.name, StartingPosition::TrimHorizon);
    match reader.and_then(LineageReader::oldest_arrival) {
        Err(failure @ (Failure::Refused(_) | Failure::Directory(_))) => {
            failure.report();
            Ok(None)
        }
        oldest => oldest,
    }
}

/// A JSON number, without a fraction if it is whole.
fn seconds(time: Duration) -> Value {
    match time.subsec_nanos() {
        0 => Value::from(time.as_secs()),
        _ => Value::from(time.as_secs_f64()),
    }
}

fn show_streams(output: &mut Output, streams: &[Listed]) -> Result<(), Failure> {
    let head = ["NAME", "STATUS", "SHARDS", "RETENTION", "OLDEST", "MODE"];
    let cells = |Listed { stream, oldest }: &Listed| {
        let retention = stream.retention.map_or(Retention::FOREVER, Retention::of);
        [
            stream.name.clone(),
            stream.status.clone(),
            stream.open_shards.to_string(),
            retention.to_string(),
            oldest.map_or_else(|| "-".to_owned(), rfc3339::shown),
            stream.mode.clone(),
        ]
    };
    let json = |Listed { stream, oldest }: &Listed| {
        let (name, status, mode) = (&stream.name, &stream.status, &stream.mode);
        format!(
            r#"{{"stream":{},"status":{},"shards":{},"retention_seconds":{},"oldest":{},"mode":{}}}"#,
            json_text(name),
            json_text(status),
            stream.open_shards,
            stream.retention.map_or(Value::Null, seconds),
            Value::from(oldest.map(rfc3339::shown)),
            json_text(mode),
        )
    };
    output.rows(streams, head, cells, json)
}
