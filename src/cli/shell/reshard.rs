//! `anabranch split` and `merge`.

use anabranch::{HashKey, ShardFilter, ShardId};
use clap::Args;
use serde_json::Value;

use super::super::Failure;
use super::super::dump;
use super::directory::Access;
use super::name::StreamArgument;
use super::output::{Output, OutputArguments};
use super::place::{PlaceArguments, Work};
use super::target::{ShardRow, Target};

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct SplitArguments {
    /// The stream
    #[arg(value_name = "NAME")]
    stream: StreamArgument,

    /// The shard, by its full id or its number
    #[arg(value_parser = dump::shard)]
    shard: ShardId,

    /// The first hash key of the second child [default: the one that splits the shard in half]
    #[arg(long, value_name = "HASHKEY")]
    at: Option<HashKey>,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct MergeArguments {
    /// The stream
    #[arg(value_name = "NAME")]
    stream: StreamArgument,

    /// The shard with the lower hash keys, by its full id or its number
    #[arg(value_name = "SHARD", value_parser = dump::shard)]
    first: ShardId,

    /// The shard whose hash keys begin where those of the first end
    #[arg(value_name = "SHARD", value_parser = dump::shard)]
    second: ShardId,

    #[command(flatten)]
    output: OutputArguments,

    #[command(flatten)]
    place: PlaceArguments,
}

/// Splits a shard, and shows the stream's shards.
pub(super) fn split(arguments: &SplitArguments) -> Result<(), Failure> {
    arguments
        .place
        .run(Access::Change, Some(&arguments.stream), Split(arguments))
}

/// Merges two shards, and shows the stream's shards.
pub(super) fn merge(arguments: &MergeArguments) -> Result<(), Failure> {
    arguments
        .place
        .run(Access::Change, Some(&arguments.stream), Merge(arguments))
}

struct Split<'a>(&'a SplitArguments);

impl Work for Split<'_> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        let SplitArguments {
            stream,
            shard,
            at,
            output,
            ..
        } = self.0;
        let at = match at {
            Some(at) => *at,
            None => middle(target, stream, *shard)?,
        };
        target.split(stream, *shard, at)?;
        let shards = target.shards(stream, ShardFilter::FromTrimHorizon)?;
        show_shards(&mut output.open(), &shards)
    }
}

fn middle(target: &mut impl Target, stream: &str, shard: ShardId) -> Result<HashKey, Failure> {
    let shards = target.shards(stream, ShardFilter::FromTrimHorizon)?;
    let found = shards.iter().find(|row| row.id == shard);
    let range = found
        .map(|row| row.range)
        .ok_or_else(|| Failure::Refused(format!("{shard} does not exist in stream {stream}")))?;
    range.middle().ok_or_else(|| {
        Failure::Refused(format!(
            "{shard} has fewer than four hash keys and cannot be split in half"
        ))
    })
}

struct Merge<'a>(&'a MergeArguments);

impl Work for Merge<'_> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        let MergeArguments {
            stream,
            first,
            second,
            output,
            ..
        } = self.0;
        target.merge(stream, *first, *second)?;
        let shards = target.shards(stream, ShardFilter::FromTrimHorizon)?;
        show_shards(&mut output.open(), &shards)
    }
}

/// Shards in the order of their ids.
pub(super) fn show_shards(output: &mut Output, shards: &[ShardRow]) -> Result<(), Failure> {
    let parents = |shard: &ShardRow| shard.parents.iter().map(ToString::to_string).collect::<Vec<_>>();
    let state = |shard: &ShardRow| match shard.is_open {
        true => "open",
        false => "closed",
    };
    let cells = |shard: &ShardRow| {
        let range = shard.range;
        let parents = match parents(shard).join(" ") {
            none if none.is_empty() => "-".to_owned(),
            some => some,
        };
        let [start, end] = [range.start(), range.end()].map(|key| key.to_string());
        [shard.id.to_string(), state(shard).to_owned(), start, end, parents]
    };
    let json = |shard: &ShardRow| {
        format!(
            r#"{{"shard":"{}","state":"{}","starting_hash_key":"{}","ending_hash_key":"{}","parents":{}}}"#,
            shard.id,
            state(shard),
            shard.range.start(),
            shard.range.end(),
            Value::from(parents(shard)),
        )
    };
    let head = ["SHARD", "STATE", "FIRST HASH KEY", "LAST HASH KEY", "PARENTS"];
    output.rows(shards, head, cells, json)
}
