//! `anabranch get` and `anabranch tail`: shows records while they are read.

use anabranch::{ShardId, StartingPosition};
use clap::Args;

use super::super::Failure;
use super::super::dump;
use super::super::interruption::Interruption;
use super::after_help;
use super::connection::Connection;
use super::directory::Access;
use super::lineage::LineageReader;
use super::name::StreamArgument;
use super::place::{PlaceArguments, Work};
use super::position;
use super::shown::{Shown, ShownArguments};
use super::target::Target;
use super::until::Until;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct GetArguments {
    /// The stream
    #[arg(value_name = "NAME")]
    stream: StreamArgument,

    /// Only this shard, by its full id or its number; without it all shards, parents before their children
    #[arg(long, value_name = "SHARD", value_parser = dump::shard)]
    shard: Option<ShardId>,

    /// Where to begin: trim-horizon, latest, a sequence number, a time in RFC 3339, or one from now like -1h
    ///
    /// With a sequence number, only its shard is shown.
    #[arg(
        long,
        value_name = "POSITION",
        default_value = "trim-horizon",
        allow_hyphen_values = true,
        value_parser = position::from
    )]
    from: StartingPosition,

    #[command(flatten)]
    shown: ShownArguments,

    #[command(flatten)]
    place: PlaceArguments,
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct TailArguments {
    /// The stream
    #[arg(value_name = "NAME")]
    stream: StreamArgument,

    /// Show new records until interrupted, also those of shards that splits and merges open
    #[arg(long)]
    follow: bool,

    /// Where to begin: trim-horizon, latest, a time in RFC 3339, or one from now like -1h [default: latest with
    /// --follow, trim-horizon without]
    #[arg(long, value_name = "POSITION", allow_hyphen_values = true, value_parser = position::from)]
    from: Option<StartingPosition>,

    #[command(flatten)]
    shown: ShownArguments,

    #[command(flatten)]
    place: PlaceArguments,
}

pub(super) const AFTER_HELP: &str = after_help!(
    "\
Examples:
  anabranch tail clicks --follow --from -1h --decode
  anabranch get clicks --output json | jq -r '.data | @base64d'
  anabranch get clicks --decode --output json | jq 'select(.encoding == \"json\") | .data.page'

A JSON line has shard, sequence_number, arrival, partition_key, encoding and data. Data is in base64. With --decode its
encoding is json, text, or base64 for other data. With --decode, the records that the Kinesis Producer Library has put
into one record are on lines of their own, with their place in that record as sub_sequence_number; --limit counts them
as one. If standard error is a terminal and standard output is not, a line there shows how much was read, and how long
ago the last record arrived.

Without --follow, a shard ends where it ended when the command started, or a little later. --follow also works on a
directory that a server or another program has open and writes to, and continues when that is started again. A
connection that breaks is opened again, for up to 5 minutes. SIGINT and SIGTERM end --follow with status 0.

"
);

/// Shows the records that are there.
pub(super) fn get(arguments: &GetArguments) -> Result<(), Failure> {
    arguments
        .place
        .run(Access::Read, Some(&arguments.stream), Get(arguments))
}

/// Shows the records of all shards, and with `--follow` those that come later.
pub(super) fn tail(arguments: &TailArguments) -> Result<(), Failure> {
    if arguments.from.and_then(position::shard_of).is_some() {
        return Err(Failure::Usage(
            "--from: a sequence number is a position in one shard, which `anabranch get` shows".to_owned(),
        ));
    }
    let access = match arguments.follow {
        true => Access::Follow,
        false => Access::Read,
    };
    arguments
        .place
        .run(access, Some(&arguments.stream), Tail(arguments))
}

struct Get<'a>(&'a GetArguments);

impl Work for Get<'_> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        let arguments = self.0;
        let mut shown = Shown::new(&arguments.shown);
        match arguments.shard.or_else(|| position::shard_of(arguments.from)) {
            Some(shard) => show_shard(target, arguments, shard, &mut shown),
            None => {
                let mut reader = LineageReader::open(target, &arguments.stream, arguments.from)?;
                reader.end_at(Until::now());
                show_all(&mut reader, &mut shown)
            }
        }
    }
}

fn show_shard(
    target: &mut impl Target,
    arguments: &GetArguments,
    shard: ShardId,
    shown: &mut Shown,
) -> Result<(), Failure> {
    let stream = target.stream(&arguments.stream)?.name;
    let Some(mut cursor) = target.cursor(&arguments.stream, shard, arguments.from)? else {
        return Err(Failure::Refused(format!(
            "{shard} does not exist in stream {stream}"
        )));
    };
    let until = Until::now();
    while !shown.is_full() {
        let mut page = target.read(&mut cursor, shown.room())?;
        let is_over = until.ends(&mut page);
        shown.show(&page.records)?;
        if page.is_drained || is_over {
            break;
        }
    }
    Ok(())
}

/// Shows the records that are there now.
fn show_all<T: Target>(reader: &mut LineageReader<'_, T>, shown: &mut Shown) -> Result<(), Failure> {
    while !shown.is_full() {
        match reader.next(shown.room())? {
            Some(records) => shown.show(&records)?,
            None => break,
        }
    }
    Ok(())
}

struct Tail<'a>(&'a TailArguments);

impl Work for Tail<'_> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        let arguments = self.0;
        let default = match arguments.follow {
            true => StartingPosition::Latest,
            false => StartingPosition::TrimHorizon,
        };
        let from = arguments.from.unwrap_or(default);
        let mut shown = Shown::new(&arguments.shown);
        let mut reader = LineageReader::open(target, &arguments.stream, from)?;
        match arguments.follow {
            true => follow(&mut reader, &mut shown),
            false => {
                reader.end_at(Until::now());
                show_all(&mut reader, &mut shown)
            }
        }
    }
}

fn follow<T: Target>(reader: &mut LineageReader<'_, T>, shown: &mut Shown) -> Result<(), Failure> {
    let interruption = Interruption::watch(|| {}).map_err(|source| Failure::System {
        doing: "wait for signals",
        source,
    })?;
    let mut connection = Connection::default();
    while !shown.is_full() && !interruption.is_raised() {
        match reader.next(shown.room()) {
            Ok(Some(records)) => {
                connection.note_answer();
                shown.show(&records)?;
            }
            Ok(None) => {
                connection.note_answer();
                interruption.wait(T::BETWEEN_READS);
            }
            Err(failure) => {
                shown.hide_progress();
                let Some(wait) = connection.wait_after(&failure) else {
                    let done = reader.last_read();
                    let failure = Box::new(failure);
                    return Err(Failure::After { done, failure });
                };
                interruption.wait(wait);
            }
        }
    }
    Ok(())
}
