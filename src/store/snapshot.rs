//! What a store has at one moment.

use std::collections::HashSet;
use std::sync::Arc;

use super::core::StoreCore;
use super::open_queues::OpenQueue;
use crate::backend::{Logs, Snapshot};
use crate::backup::{Copied, Destination};
use crate::error::Result;

impl StoreCore {
    /// Copies the store as it is at one moment to where `begin_copy` says.
    pub(super) fn snapshot(
        &self,
        begin_copy: impl FnOnce(&dyn Logs) -> Result<Destination>,
    ) -> Result<Copied> {
        self.begin(None)?;
        // Whatever can be done before is, so that puts wait for less.
        let destination = begin_copy(self.logs.as_ref())?;
        self.write_out()?;
        self.take_snapshot()?.write(destination)
    }

    fn write_out(&self) -> Result<()> {
        // No thread closes the store meanwhile.
        let _no_closing = self.maintaining.lock();
        self.check_open()?;
        self.logs.write_out()
    }

    /// All that there is at one moment. Puts, and consumers of queues, wait meanwhile for what was taken in before to
    /// be committed. What is held up is let go on return.
    fn take_snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let _only_one = self.taking_snapshot.lock();
        loop {
            let (queues, mut streams) = (self.open_queues.all_in_order(), self.open_streams());
            streams.sort_by_key(|stream| stream.id);
            // What a queue says of records is written behind them, so its consumers stop first.
            let _kept_still: Vec<_> = queues.iter().map(|queue| queue.keep_still()).collect();
            let _no_puts: Vec<_> = streams.iter().map(|stream| stream.routing.write()).collect();
            self.check_open()?;
            let snapshot = self.logs.snapshot(self.now())?;
            // One that came into use meanwhile was not held up: it may have a record that was put behind another one
            // which the snapshot lacks.
            let known: HashSet<_> = streams.iter().map(|stream| stream.id).collect();
            let is_known_stream = self
                .open_streams()
                .iter()
                .all(|stream| known.contains(&stream.id));
            let is_known_queue =
                |queue: &Arc<dyn OpenQueue>| queues.iter().any(|known| Arc::ptr_eq(known, queue));
            if is_known_stream && self.open_queues.all().iter().all(is_known_queue) {
                return Ok(snapshot);
            }
        }
    }
}
