//! Snapshots: copies of a store at one moment.

use std::collections::HashSet;
use std::sync::Arc;

use super::core::StoreCore;
use super::open_queues::OpenQueue;
use crate::backend::{Logs, Snapshot};
use crate::backup::{Copied, Destination};
use crate::error::Result;

impl StoreCore {
    /// Copies the store as it is at one moment to the destination that `begin_copy` gives.
    pub(super) fn snapshot(
        &self,
        begin_copy: impl FnOnce(&dyn Logs) -> Result<Destination>,
    ) -> Result<Copied> {
        self.begin(None)?;
        // As much as possible is done before, so that puts wait for less.
        let destination = begin_copy(self.logs.as_ref())?;
        self.write_out()?;
        self.take_snapshot()?.write(destination)
    }

    fn write_out(&self) -> Result<()> {
        // Keeps other threads from closing the store meanwhile.
        let _no_closing = self.maintaining.lock();
        self.check_open()?;
        self.logs.write_out()
    }

    /// Takes a snapshot. Puts, and consumers of queues, wait until what was taken in before is committed. They go on
    /// when this returns.
    fn take_snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let _only_one = self.taking_snapshot.lock();
        loop {
            let (queues, mut streams) = (self.open_queues.all_in_order(), self.open_streams());
            streams.sort_by_key(|stream| stream.id);
            // A queue notes what became of records after they are put, so its consumers stop first.
            let _kept_still: Vec<_> = queues.iter().map(|queue| queue.keep_still()).collect();
            let _no_puts: Vec<_> = streams.iter().map(|stream| stream.routing.write()).collect();
            self.check_open()?;
            let snapshot = self.logs.snapshot(self.now())?;
            // A stream that came into use meanwhile was not held up. It may have a record that was put after another
            // one which the snapshot lacks.
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
