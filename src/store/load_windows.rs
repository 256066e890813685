//! The load of on-demand streams from one minute to the next.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::StreamId;
use crate::sync::Mutex;

/// The windows over which load is measured. All times are by the monotonic clock.
#[derive(Debug)]
pub(super) struct LoadWindows(pub(super) Mutex<Windows>);

#[derive(Debug)]
pub(super) struct Windows {
    /// When the present window began.
    pub(super) began: Duration,
    pub(super) streams: BTreeMap<StreamId, StreamWindow>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct StreamWindow {
    /// When the counts were last taken.
    pub(super) counted: Duration,
    /// The time since which no shard was hot.
    pub(super) quiet_since: Duration,
}

impl LoadWindows {
    pub(super) fn new(monotonic: Duration) -> Self {
        Self(Mutex::new(Windows {
            began: monotonic,
            streams: BTreeMap::new(),
        }))
    }
}
