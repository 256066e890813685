//! Deleting a stream.

use super::core::StoreCore;
use super::stream_core::{Routing, StreamCore};
use crate::catalog::Edit;
use crate::error::Result;

impl StoreCore {
    /// Deletes a stream; its logs are removed when they are not read any more. The caller has the stream to change.
    pub(super) fn delete_now(&self, stream: &StreamCore) -> Result<()> {
        let id = stream.id;
        let mut routing = stream.routing.write();
        routing.check_not_closed()?;
        *routing = Routing::Unknown;
        let removed = self.logs.remove(id, None, &mut |state| {
            stream.state(state.stream(id))?.check_has_no_queue()?;
            Ok(vec![Edit::StreamDeleted { stream: id }])
        })?;
        drop(routing);
        self.forget_stream(id);
        self.keeper.wake();
        removed.iter().for_each(|log| log.changes().notify());
        Ok(())
    }
}
