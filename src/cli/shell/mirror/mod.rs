//! `anabranch mirror`: copies a stream to another place, and keeps up with it while it is written.

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
A place is a directory with a store, http://HOST:PORT or https://HOST of a server, aws://REGION for Amazon Kinesis (if
the program was built with `mirror`), or nats://HOST,HOST/STORE for a store on a cluster (if it was built with `nats`).
For aws:// the program uses the keys that the tools of AWS find. A directory that a server has open can be the source. A
store on a cluster cannot be a place while a server has it open.

Examples:
  anabranch mirror ./data clicks http://127.0.0.1:4567
  anabranch mirror aws://eu-west-1 clicks ./data --follow
  anabranch mirror ./data clicks aws://eu-west-1 --until-drained

Without --follow and --until-drained, the mirror ends with the records that the source had at the start. The same
command, run again, goes on from the checkpoint. The records of a partition key keep their order. The target has its own
sequence numbers and arrival times.

Each record gets to the target at least once. After a kill, the target can have up to 1,000 records of each shard twice.
If the mirror made the stream and nothing else has put records into it, the mirror finds the records that are at the
target, and does not put them again.

If the mirror makes the stream at the target, the stream gets the retention, the tags and the maximum record size of the
source, and with --lineage flatten also its mode.

The cut-over: run the mirror with --follow until it has caught up. Stop the writers. Run it with --until-drained, which
says when all records are at the target. Start the writers there.

Standard output says what the mirror does: as text on a terminal, and otherwise as JSON lines. Their event is
begun, progress (every 10 seconds), caught_up, resharded or ended; progress, caught_up and ended have records, bytes,
behind_ms and behind_records.
A signal ends the mirror in order, and `complete` in the event ended says whether the target has all records. A second
signal ends it at once.

Requests to http and https are signed with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN if they are
set.

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

/// The work at the target, once the source is open.
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
