//! What the catalog keeps of a queue.

use super::labels::Labels;
use super::lifecycle::ReaderLifecycle;
use super::log_state::LogState;
use super::setting::Setting;
use crate::model::{ReaderStart, Timestamp, limits};

/// A queue over a stream. The state of its records is in its log, not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueState {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) start: ReaderStart,
    pub(crate) lifecycle: ReaderLifecycle,
    pub(crate) visibility_seconds: u32,
    /// How often a record is given out before it becomes a dead letter; `None` for no limit.
    pub(crate) max_receive_count: Option<u32>,
    pub(crate) labels: Labels,
    pub(crate) log: LogState,
}

impl QueueState {
    pub(super) fn new(name: &str, created: Timestamp, start: ReaderStart) -> Self {
        Self {
            name: name.to_owned(),
            created,
            start,
            lifecycle: ReaderLifecycle::Active,
            visibility_seconds: limits::DEFAULT_VISIBILITY_SECONDS,
            max_receive_count: Some(limits::DEFAULT_MAX_RECEIVE_COUNT),
            labels: Labels::default(),
            log: LogState::of_new_log(),
        }
    }

    pub(super) fn change(&mut self, setting: &Setting) -> Result<(), &'static str> {
        match setting {
            Setting::VisibilityTimeout { seconds } => self.visibility_seconds = *seconds,
            Setting::MaxReceiveCount(count) => self.max_receive_count = *count,
            _ => return Err("a queue has no such setting"),
        }
        Ok(())
    }
}
