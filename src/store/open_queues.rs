//! The shared state of a queue's handles, whose type a floor above defines.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::model::{QueueId, StreamId};
use crate::sync::Mutex;

/// A queue that was used since the store was opened.
pub(crate) trait OpenQueue: Any + Debug + Send + Sync {
    /// The queue was removed: wakes all callers that wait for records of it. May be called with any locks held.
    fn note_ended(&self);

    /// Waits until nothing is being written into its log, and refuses all writes from then on. Called without locks.
    fn close(&self);

    /// Keeps everything from being written into its log as long as the result lives. Called without locks, except those
    /// of other queues.
    fn keep_still(&self) -> Box<dyn KeptStill + '_>;
}

/// Keeps a queue unchanged as long as it lives.
pub(crate) trait KeptStill {}

#[derive(Debug, Default)]
pub(super) struct OpenQueues(Mutex<HashMap<(StreamId, QueueId), Arc<dyn OpenQueue>>>);

impl OpenQueues {
    pub(super) fn get_or_make(
        &self,
        stream: StreamId,
        queue: QueueId,
        make: impl FnOnce() -> Arc<dyn OpenQueue>,
    ) -> Arc<dyn OpenQueue> {
        let mut queues = self.0.lock();
        queues.entry((stream, queue)).or_insert_with(make).clone()
    }

    pub(super) fn close(&self) {
        self.all().iter().for_each(|queue| queue.close());
    }

    pub(super) fn note_ended(&self) {
        self.all().iter().for_each(|queue| queue.note_ended());
    }

    pub(super) fn all(&self) -> Vec<Arc<dyn OpenQueue>> {
        self.0.lock().values().cloned().collect()
    }

    /// All queues, by their numbers, so that all threads that lock several of them do so in the same order.
    pub(super) fn all_in_order(&self) -> Vec<Arc<dyn OpenQueue>> {
        let queues = self.0.lock();
        let mut queues: Vec<_> = queues.iter().map(|(id, queue)| (*id, queue.clone())).collect();
        queues.sort_by_key(|(id, _)| *id);
        queues.into_iter().map(|(_, queue)| queue).collect()
    }

    pub(super) fn forget(&self, stream: StreamId, queue: QueueId) -> Option<Arc<dyn OpenQueue>> {
        self.0.lock().remove(&(stream, queue))
    }
}
