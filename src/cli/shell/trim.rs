//! `anabranch trim`.

use anabranch::{ShardFilter, ShardId, StartingPosition};
use clap::Args;
use serde_json::Value;

use super::super::Failure;
use super::directory::Access;
use super::name::StreamArgument;
use super::output::{Output, OutputArguments};
use super::place::{PlaceArguments, Work};
use super::position;
use super::rfc3339;
use super::target::{ReadRecord, Target};

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct TrimArguments {
    /// The stream
    #[arg(value_name = "NAME")]
    stream: StreamArgument,

    /// The first record that stays: a sequence number, a time in RFC 3339, or one from now like -1h
    ///
    /// A sequence number is a position in its shard: the shard and its ancestors are trimmed. A time trims all shards.
    /// A time in the future is refused, and so is a sequence number that its shard has not reached.
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true, value_parser = position::to)]
    to: StartingPosition,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    place: PlaceArguments,
}

/// Hides the records before a position, and shows the first remaining record of each shard.
pub(super) fn run(arguments: &TrimArguments) -> Result<(), Failure> {
    arguments
        .place
        .run(Access::Change, Some(&arguments.stream), Trim(arguments))
}

struct Trim<'a>(&'a TrimArguments);

impl Work for Trim<'_> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        let TrimArguments {
            stream, to, output, ..
        } = self.0;
        target.trim(stream, *to)?;
        let mut beginnings = Vec::new();
        for shard in target.shards(stream, ShardFilter::FromTrimHorizon)? {
            let first = first_of(target, stream, shard.id)?;
            beginnings.push((shard.id, first));
        }
        show(&mut output.open(), &beginnings)
    }
}

/// A shard, and the first record that can be read of it.
type Beginning = (ShardId, Option<ReadRecord>);

fn first_of(target: &mut impl Target, stream: &str, shard: ShardId) -> Result<Option<ReadRecord>, Failure> {
    let Some(mut cursor) = target.cursor(stream, shard, StartingPosition::TrimHorizon)? else {
        return Ok(None);
    };
    loop {
        let page = target.read(&mut cursor, 1)?;
        let first = page.records.into_iter().next();
        if first.is_some() || page.is_at_head || page.is_drained {
            return Ok(first);
        }
    }
}

fn show(output: &mut Output, beginnings: &[Beginning]) -> Result<(), Failure> {
    let cells = |(shard, first): &Beginning| {
        let (number, arrival) = match first {
            Some(first) => (first.sequence_number.clone(), rfc3339::shown(first.arrival)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        [shard.to_string(), number, arrival]
    };
    let json = |(shard, first): &Beginning| {
        let number = first.as_ref().map(|first| first.sequence_number.clone());
        let arrival = first.as_ref().map(|first| rfc3339::shown(first.arrival));
        format!(
            r#"{{"shard":"{shard}","first":{},"arrival":{}}}"#,
            Value::from(number),
            Value::from(arrival)
        )
    };
    output.rows(beginnings, ["SHARD", "FIRST RECORD", "ARRIVAL"], cells, json)
}
