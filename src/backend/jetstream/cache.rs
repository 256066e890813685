//! Frames that were written or read lately, of all logs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::frame::Frame;
use crate::model::LogName;
use crate::sync::Mutex;

/// How many bytes of frames are kept. One that was just fetched always is, for those who wait for it.
const MOST_BYTES: usize = 128 * 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct FrameCache {
    state: Mutex<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    frames: BTreeMap<(LogName, u64), Arc<Frame>>,
    /// Oldest first. Some may be gone.
    order: VecDeque<(LogName, u64)>,
    bytes: usize,
}

impl FrameCache {
    /// The first frame of a log that is kept, from this sequence on.
    pub(super) fn next(&self, log: LogName, sequence: u64) -> Option<Arc<Frame>> {
        let state = self.state.lock();
        let ((of, _), frame) = state.frames.range((log, sequence)..).next()?;
        (*of == log).then(|| frame.clone())
    }

    /// The last frame of a log that is kept, before this sequence.
    pub(super) fn before(&self, log: LogName, sequence: u64) -> Option<Arc<Frame>> {
        let state = self.state.lock();
        let (_, frame) = state.frames.range((log, 0)..(log, sequence)).next_back()?;
        Some(frame.clone())
    }

    pub(super) fn keep(&self, log: LogName, frame: Arc<Frame>) {
        let mut state = self.state.lock();
        let key = (log, frame.sequence);
        state.bytes += frame.held_bytes();
        if let Some(same) = state.frames.insert(key, frame) {
            state.bytes -= same.held_bytes();
        } else {
            state.order.push_back(key);
        }
        while state.bytes > MOST_BYTES && state.order.len() > 1 {
            if let Some(oldest) = state.order.pop_front() {
                state.drop_frame(oldest);
            }
        }
    }

    /// Lets the frames of a log go.
    pub(super) fn forget(&self, log: LogName) {
        let mut state = self.state.lock();
        let of_log = state.frames.range((log, 0)..=(log, u64::MAX));
        let keys: Vec<_> = of_log.map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| state.drop_frame(key));
    }
}

impl CacheState {
    fn drop_frame(&mut self, key: (LogName, u64)) {
        if let Some(frame) = self.frames.remove(&key) {
            self.bytes -= frame.held_bytes();
        }
    }
}
