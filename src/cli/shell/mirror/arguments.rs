//! The arguments of `anabranch mirror`.

use std::path::PathBuf;
use std::time::Duration;

use anabranch::{StartingPosition, Timestamp};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::super::super::Failure;
use super::super::super::duration::duration;
use super::super::name::StreamArgument;
use super::super::output::OutputArguments;
use super::super::position;
use super::places::PlacesArguments;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct MirrorArguments {
    #[command(flatten)]
    pub(super) places: PlacesArguments,

    /// The name of the stream at the target [default: as at the source]
    #[arg(long, value_name = "NAME")]
    to: Option<StreamArgument>,

    /// The shards of the target
    #[arg(long, value_enum, value_name = "HOW", default_value_t = LineageKind::Mirror)]
    pub(super) lineage: LineageKind,

    /// Begin even if the target has the stream already; its records stay
    #[arg(long)]
    pub(super) existing: bool,

    /// The number of shards of a target that is made with --lineage flatten, which is PROVISIONED then [default: the
    /// number of open shards of the source, and its mode]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) shards: Option<u32>,

    /// Where to begin: trim-horizon, latest, a time in RFC 3339, or one from now like -1h; ignored if there is a
    /// checkpoint
    #[arg(
        long,
        value_name = "POSITION",
        default_value = "trim-horizon",
        allow_hyphen_values = true,
        value_parser = position::from
    )]
    from: StartingPosition,

    /// Continue with new records until interrupted
    #[arg(long, conflicts_with = "until_drained")]
    pub(super) follow: bool,

    /// Continue with new records until none has come for the time of --quiet: for the cut-over, when the writers are
    /// stopped
    #[arg(long)]
    pub(super) until_drained: bool,

    /// How long no new record must have come for --until-drained to end
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, requires = "until_drained")]
    pub(super) quiet: Duration,

    /// The file with the progress of the mirror, from which the next run goes on [default: NAME.mirror in the working
    /// directory, with the name at the source]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Put at most this many records per second
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: Option<u32>,

    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// The shards of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli) enum LineageKind {
    /// As at the source: the target begins with the same shards, and is split and merged as the source was
    Mirror,
    /// The target has shards of its own, and the partition key of a record decides its shard
    Flatten,
}

/// Where a mirror without a checkpoint begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Horizon,
    Latest,
    Time(Timestamp),
}

impl MirrorArguments {
    pub(super) fn stream(&self) -> &str {
        &self.places.stream
    }

    pub(super) fn to(&self) -> &StreamArgument {
        self.to.as_ref().unwrap_or(&self.places.stream)
    }

    pub(super) fn begin(&self) -> Result<Begin, Failure> {
        match self.from {
            StartingPosition::TrimHorizon => Ok(Begin::Horizon),
            StartingPosition::Latest => Ok(Begin::Latest),
            StartingPosition::AtTimestamp(time) => Ok(Begin::Time(time)),
            StartingPosition::AtSequenceNumber(_) | StartingPosition::AfterSequenceNumber(_) => {
                Err(Failure::Usage(
                    "--from: a sequence number is a position in one shard, not in a stream".to_owned(),
                ))
            }
        }
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        let name = || PathBuf::from(format!("{}.mirror", self.stream().replace('/', "-")));
        self.checkpoint.clone().unwrap_or_else(name)
    }
}
