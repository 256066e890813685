//! Happenings as events of `tracing`.

use std::fmt;
use std::path::Path;

use tracing::{Dispatch, Span, debug, debug_span, dispatcher, error, warn};

use super::Happening;
use crate::model::LogName;

const TARGET: &str = "anabranch::engine";

pub(crate) fn tell(happening: &Happening<'_>) {
    match *happening {
        Happening::Opened {
            streams,
            is_read_only,
        } => debug!(target: TARGET, streams, is_read_only, "a store is open"),
        Happening::Closed => debug!(target: TARGET, "a store is closed"),
        Happening::EndFound {
            log,
            path,
            next_record,
        } => {
            let next_record = next_record.value();
            debug!(
                target: TARGET, log = %shown(log), path = %path.display(), next_record,
                "the end of a log was found that was being written to"
            );
        }
        Happening::JournalPutBack { log } => {
            debug!(target: TARGET, log = %shown(log), "frames of the commit journal were put back into a log");
        }
        Happening::DamageMet { log, error } => {
            warn!(target: TARGET, log = %shown(log), %error, "a log is damaged");
        }
        Happening::Poisoned { error } => {
            error!(target: TARGET, %error, "a write or a sync failed: the store takes no more records");
        }
        Happening::SyncWasSlow { took } => {
            let seconds = took.as_secs_f64();
            warn!(target: TARGET, seconds, "a sync took long");
        }
        Happening::SegmentBegun { log, first_record } => {
            let first_record = first_record.value();
            debug!(target: TARGET, log = %shown(log), first_record, "a segment was begun");
        }
        Happening::SegmentsFreed { log, first_kept } => {
            let first_kept = first_kept.value();
            debug!(target: TARGET, log = %shown(log), first_kept, "segments were freed");
        }
        Happening::Trimmed { log, first_kept } => {
            let first_kept = first_kept.value();
            debug!(target: TARGET, log = %shown(log), first_kept, "records were trimmed");
        }
        Happening::StreamCreated { stream } => debug!(target: TARGET, stream, "a stream was created"),
        Happening::StreamDeleted { stream } => debug!(target: TARGET, stream, "a stream was deleted"),
        Happening::Resharded {
            stream,
            parents,
            children,
        } => {
            let message = match parents {
                [_] => "a shard was split",
                _ => "shards were merged",
            };
            debug!(target: TARGET, stream, ?parents, ?children, "{message}");
        }
        Happening::ShardExpired { stream, shard } => {
            debug!(target: TARGET, stream, %shard, "a shard has expired");
        }
        Happening::Noticed {
            event,
            is_problem: true,
        } => warn!(target: TARGET, "{event}"),
        Happening::Noticed { event, .. } => debug!(target: TARGET, "{event}"),
    }
}

/// Opens a store, with a span around the events of this thread.
pub(crate) fn while_opening<T>(place: &Path, open: impl FnOnce() -> T) -> T {
    debug_span!(target: TARGET, "open", path = %place.display()).in_scope(open)
}

/// The subscriber of a thread, and its current span, for threads that work for it.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    dispatch: Dispatch,
    span: Span,
}

impl Listening {
    pub(crate) fn of_this_thread() -> Self {
        Self {
            dispatch: dispatcher::get_default(Dispatch::clone),
            span: Span::current(),
        }
    }

    pub(crate) fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        dispatcher::with_default(&self.dispatch, || self.span.in_scope(work))
    }
}

/// By the numbers of its stream and of its place in that, which never change: `3/shardId-000000000000`.
fn shown(log: LogName) -> impl fmt::Display {
    let name = log.directory_name();
    match log.stream() {
        Some(stream) => format!("{stream}/{name}"),
        None => name,
    }
}
