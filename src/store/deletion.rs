//! Deleting streams and queues.

use super::core::StoreCore;
use super::stream_core::{Routing, StreamCore};
use crate::catalog::Edit;
use crate::error::Result;
use crate::model::{LogName, QueueId, StreamId};

impl StoreCore {
    /// Deletes a stream. Its logs are removed when nothing reads them any more. The caller holds `changing` of the
    /// stream.
    pub(super) fn delete_now(&self, stream: &StreamCore) -> Result<()> {
        let id = stream.id;
        let mut routing = stream.routing.write();
        routing.check_not_closed()?;
        *routing = Routing::Unknown;
        let removed = self.logs.remove(id, None, &mut |state| {
            stream.state(state.stream(id))?.check_has_no_reader()?;
            Ok(vec![Edit::StreamDeleted { stream: id }])
        })?;
        drop(routing);
        self.forget_stream(id);
        self.keeper.wake();
        removed.iter().for_each(|log| log.changes().notify());
        stream.open_groups.notify_all();
        Ok(())
    }

    /// Removes a queue from the catalog, and then its log.
    pub(super) fn remove_queue_now(&self, stream: StreamId, queue: QueueId) -> Result<()> {
        let log = LogName::Queue(stream, queue);
        let removed = self.logs.remove(stream, Some(log), &mut |state| {
            let is_there = state.log(log).is_some();
            Ok(is_there
                .then_some(Edit::QueueRemoved { stream, queue })
                .into_iter()
                .collect())
        })?;
        if let Some(open) = self.open_queues.forget(stream, queue) {
            open.note_ended();
        }
        self.keeper.wake();
        removed.iter().for_each(|log| log.changes().notify());
        Ok(())
    }
}
