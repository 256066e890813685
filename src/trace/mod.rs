//! What happens inside the engine, told to programs that listen with `tracing`. Without the feature of that name nothing is
//! done with it.
//!
//! What a program must act on is a [`StoreEvent`](crate::StoreEvent), or an error of its call. These events are for those who
//! want to see what the engine does: each has one message, and facts as fields.

#[cfg(feature = "tracing")]
mod emitted;
#[cfg(not(feature = "tracing"))]
mod silent;

use std::fmt;
use std::path::Path;
use std::time::Duration;

#[cfg(feature = "tracing")]
pub(crate) use emitted::{Listening, tell, while_opening};
#[cfg(not(feature = "tracing"))]
pub(crate) use silent::{Listening, tell, while_opening};

use crate::error::Error;
use crate::model::{LogName, RecordNumber, ShardId};

/// Whether a program may listen: for what has to be put together first.
pub(crate) const IS_ON: bool = cfg!(feature = "tracing");

/// A sync that takes longer is told of.
pub(crate) const SLOW_SYNC: Duration = Duration::from_secs(1);

/// Something that happened. The calls that tell of it may hold locks of the store.
#[cfg_attr(not(feature = "tracing"), allow(dead_code))]
pub(crate) enum Happening<'a> {
    /// A store is open.
    Opened { streams: usize, is_read_only: bool },
    /// A store is closed.
    Closed,
    /// The end of a log was found that was being written to when its store was last left.
    EndFound {
        log: LogName,
        path: &'a Path,
        next_record: RecordNumber,
    },
    /// The commit journal had frames that were put back into their segments.
    JournalPutBack { log: LogName },
    /// Damage was found while something was read.
    DamageMet { log: LogName, error: &'a Error },
    /// The first write or sync that failed: the store takes no more records.
    Poisoned { error: &'a Error },
    /// A sync has ended that took long.
    SyncWasSlow { took: Duration },
    /// A log goes on in another segment.
    SegmentBegun {
        log: LogName,
        first_record: RecordNumber,
    },
    /// Segments in front of a record were given up.
    SegmentsFreed { log: LogName, first_kept: RecordNumber },
    /// Records in front of one are hidden, by a call or by a limit of size.
    Trimmed { log: LogName, first_kept: RecordNumber },
    /// A stream was made.
    StreamCreated { stream: &'a str },
    /// A stream is gone with all its records.
    StreamDeleted { stream: &'a str },
    /// A shard was split, or two were merged.
    Resharded {
        stream: &'a str,
        parents: &'a [ShardId],
        children: &'a [ShardId],
    },
    /// A closed shard is gone: all its records have expired.
    ShardExpired { stream: &'a str, shard: ShardId },
    /// A [`StoreEvent`](crate::StoreEvent) of a store whose program has named none who is told.
    Noticed {
        event: &'a dyn fmt::Display,
        is_problem: bool,
    },
}
