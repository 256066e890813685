//! Events: what a store reports where no call can fail.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::model::ClockStep;
use crate::trace::{self, Happening};

/// Something that an operator of a store should know of. [`StoreOptions::on_event`](crate::StoreOptions::on_event) sets
/// the observer. `Display` gives a sentence for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreEvent {
    /// The wall clock differs from the time that passed since the store last looked, or since an earlier opener did.
    /// Time that it has gained does not make records expire until the clock has gone on for an hour.
    ClockStepped(ClockStep),
    /// When the store was opened, damage was found in a shard that was being written to when the store was last closed
    /// or interrupted. The records before it are served. The shard takes no records until the store is repaired
    /// ([`inspect`](crate::inspect)).
    DamageFound {
        /// What is damaged, and where.
        error: Error,
    },
    /// A due change of a stream's shards or settings cannot be done, or not completely. The stream is ACTIVE with its
    /// present shards.
    ChangeGivenUp {
        /// The stream.
        stream: String,
        /// Why.
        error: Error,
    },
    /// An on-demand stream gets another number of open shards because of its load.
    StreamScaled {
        /// The stream.
        stream: String,
        /// How many shards it has.
        before: u32,
        /// How many it will have.
        after: u32,
    },
    /// A due change of a stream, or of a consumer, queue or channel of it, failed, and will be tried again.
    TransitionDelayed {
        /// The stream.
        stream: String,
        /// Why.
        error: Error,
        /// When it is tried again.
        retry_in: Duration,
    },
}

impl fmt::Display for StoreEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClockStepped(ClockStep::Forward(by)) => write!(
                f,
                "the wall clock is {} s ahead of the time that has passed; no record expires by that until the clock has \
                 gone on for an hour. If it is wrong, set it right before then",
                by.as_secs()
            ),
            Self::ClockStepped(ClockStep::Back(by)) => write!(
                f,
                "the wall clock is {} s behind what it showed before; shards that have later records repeat the last \
                 one's time until it has caught up",
                by.as_secs()
            ),
            Self::DamageFound { error } => write!(
                f,
                "damage was found: {error}; the shard takes no records until the store is repaired"
            ),
            Self::ChangeGivenUp { stream, error } => write!(
                f,
                "stream {stream} stays as it is: the change that was due cannot be done: {error}"
            ),
            Self::StreamScaled {
                stream,
                before,
                after,
            } => write!(
                f,
                "on-demand stream {stream} goes from {before} to {after} open shards, by what it took in the last minute \
                 and the last month"
            ),
            Self::TransitionDelayed {
                stream,
                error,
                retry_in,
            } => write!(
                f,
                "what is due of stream {stream} failed and is tried again in {} s: {error}",
                retry_in.as_secs()
            ),
        }
    }
}

/// The function that events are passed to.
#[derive(Clone)]
pub(super) struct Observer(pub(super) Arc<dyn Fn(&StoreEvent) + Send + Sync>);

/// A program without an observer can listen with `tracing`.
impl Default for Observer {
    fn default() -> Self {
        Self(Arc::new(|event| {
            trace::tell(&Happening::Noticed {
                event,
                is_problem: !matches!(event, StoreEvent::StreamScaled { .. }),
            });
        }))
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
