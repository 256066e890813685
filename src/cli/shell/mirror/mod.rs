//! `anabranch mirror`: a stream copied to another place, and kept up with while it is written.

mod arguments;
mod checkpoint;
#[cfg(feature = "nats")]
mod cluster;
mod delivery;
mod pace;
mod places;
mod prepare;
mod reading;
mod report;
mod run;
mod shaping;
mod tails;

use super::super::Failure;
use super::place::Work;
use super::target::Target;
pub(in crate::cli) use arguments::MirrorArguments;
use run::Run;

pub(super) const AFTER_HELP: &str = "\
A place is a directory with a store, http://HOST:PORT or https://HOST of a server, aws://REGION for Amazon Kinesis with
the keys that AWS' own tools find (where the program was built with `mirror`), or nats://HOST,HOST/STORE for a store on a
cluster that no server has (where it was built with `nats`). A directory that a server has open can be the source.

Examples:
  anabranch mirror ./data clicks http://127.0.0.1:4567
  anabranch mirror aws://eu-west-1 clicks ./data --follow
  anabranch mirror ./data clicks aws://eu-west-1 --until-drained

Without --follow and --until-drained it ends with the records of its start. It goes on from its checkpoint when
it is run again. The records of a partition key keep their order; sequence numbers and arrival times are the target's own.
Each record gets to the target at least once: after a kill, up to 1,000 records of each shard can be there twice, unless
the mirror made the stream and nothing else has put records into it, as then those that are there are found. A target
that is made gets the retention, the tags and the largest record of the source, and with --lineage flatten its mode.

The cut-over: run it with --follow until it has caught up; stop the writers; run it with --until-drained, which says when
all records are at the target; start the writers there.

Standard output says what it does, for people on a terminal, and else as JSON lines with event, records, bytes, behind_ms
and behind_records: begun, progress every 10 seconds, caught_up, resharded, ended. A signal ends it in order, with `complete`
saying whether the target has all; a second one at once.

Requests to http and https are signed with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN if they are set.

Exit status:
  0  done, interrupted in order, or standard output was closed
  1  refused, or failed for a reason not named below
  2  the command line is wrong
  3  another process has the target's directory open, or the store on a cluster
  4  a directory cannot be used: no store, not writable, of a newer version, or its disk is full
  5  no answer from an endpoint";

/// Mirrors a stream.
pub(super) fn run(arguments: &MirrorArguments) -> Result<(), Failure> {
    let done = arguments.places.run(AtSource(arguments));
    done.map_err(|failure| match failure {
        // A closed standard output is no failure.
        Failure::Output(_) => failure,
        failure => Failure::Mirror(Box::new(failure)),
    })
}

struct AtSource<'a>(&'a MirrorArguments);

/// What there is to do at the target, once the source is open.
struct AtBoth<'a, S> {
    arguments: &'a MirrorArguments,
    source: &'a mut S,
}

impl Work for AtSource<'_> {
    fn at(self, source: &mut impl Target) -> Result<(), Failure> {
        let arguments = self.0;
        arguments
            .places
            .run_at_target(arguments.to(), AtBoth { arguments, source })
    }
}

impl<S: Target> Work for AtBoth<'_, S> {
    fn at(self, target: &mut impl Target) -> Result<(), Failure> {
        Run::begin(self.arguments, self.source, target)?.run()
    }
}
