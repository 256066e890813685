//! Reports what happens inside the engine to programs that listen with `tracing`. Without the feature of that name
//! nothing is reported.
//!
//! Happenings that a program must act on are [`StoreEvent`](crate::StoreEvent)s, or errors of its calls. These events
//! only show what the engine does: each has one message, and facts as fields.

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

/// Whether a program may listen. Facts that cost something to collect are collected only then.
pub(crate) const IS_ON: bool = cfg!(feature = "tracing");

/// A sync that takes longer is reported.
pub(crate) const SLOW_SYNC: Duration = Duration::from_secs(1);

/// Something that happened. The calls that report it may hold locks of the store.
#[cfg_attr(not(feature = "tracing"), allow(dead_code))]
pub(crate) enum Happening<'a> {
    /// A store is open.
    Opened { streams: usize, is_read_only: bool },
    /// A store is closed.
    Closed,
    /// The end was found of a log that was being written to when its store was last closed or interrupted.
    EndFound {
        log: LogName,
        path: &'a Path,
        next_record: RecordNumber,
    },
    /// The commit journal had frames that were put back into their segments.
    JournalPutBack { log: LogName },
    /// A read found damage.
    DamageMet { log: LogName, error: &'a Error },
    /// The first write or sync that failed: the store takes no more records.
    Poisoned { error: &'a Error },
    /// A sync that took long has ended.
    SyncWasSlow { took: Duration },
    /// A log goes on in another segment.
    SegmentBegun {
        log: LogName,
        first_record: RecordNumber,
    },
    /// Segments in front of a record were freed.
    SegmentsFreed { log: LogName, first_kept: RecordNumber },
    /// Records in front of one are hidden, by a call or by a limit of size.
    Trimmed { log: LogName, first_kept: RecordNumber },
    /// A stream was made.
    StreamCreated { stream: &'a str },
    /// A stream was removed with all of its records.
    StreamDeleted { stream: &'a str },
    /// A shard was split, or two were merged.
    Resharded {
        stream: &'a str,
        parents: &'a [ShardId],
        children: &'a [ShardId],
    },
    /// A closed shard was removed: all of its records have expired.
    ShardExpired { stream: &'a str, shard: ShardId },
    /// A [`StoreEvent`](crate::StoreEvent) of a store without an observer.
    Noticed {
        event: &'a dyn fmt::Display,
        is_problem: bool,
    },
}
