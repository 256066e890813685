//! What `anabranch mirror` takes.

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

    /// What the stream is called at the target [default: as at the source]
    #[arg(long, value_name = "NAME")]
    to: Option<StreamArgument>,

    /// How the shards of the target come about
    #[arg(long, value_enum, value_name = "HOW", default_value_t = LineageKind::Mirror)]
    pub(super) lineage: LineageKind,

    /// Begin also where the stream is at the target already; what is in it stays
    #[arg(long)]
    pub(super) existing: bool,

    /// How many shards a target has that is made with --lineage flatten [default: as many as the source has open]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) shards: Option<u32>,

    /// Where to begin: trim-horizon, latest, a time in RFC 3339, or one from now like -1h. Of no effect once there is a
    /// checkpoint
    #[arg(
        long,
        value_name = "POSITION",
        default_value = "trim-horizon",
        allow_hyphen_values = true,
        value_parser = position::from
    )]
    from: StartingPosition,

    /// Go on with the records that come until interrupted
    #[arg(long, conflicts_with = "until_drained")]
    pub(super) follow: bool,

    /// Go on with the records that come until none has come for the time of --quiet: for the cut-over, when the writers
    /// are stopped
    #[arg(long)]
    pub(super) until_drained: bool,

    /// How long no record comes from writers that are stopped
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration, requires = "until_drained")]
    pub(super) quiet: Duration,

    /// The file that says how far the mirror is, and from which it goes on when it is run again [default: NAME.mirror in
    /// the working directory, with the name at the source]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,

    /// Put no more than so many records a second
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rate: Option<u32>,

    #[command(flatten)]
    pub(super) output: OutputArguments,
}

/// How the shards of the target come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::cli) enum LineageKind {
    /// As at the source: the target begins with the same shards, and is split and merged where the source was
    Mirror,
    /// The target has shards of its own, and records go where their partition keys say
    Flatten,
}

/// Where a mirror begins that has no checkpoint.
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
