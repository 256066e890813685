//! Deleting a stream.

use super::core::StoreCore;
use super::stream_core::{Routing, StreamCore};
use crate::catalog::Edit;
use crate::error::Result;

impl StoreCore {
    /// Deletes a stream; its files are removed when they are not read any more. The caller has the stream to change.
    pub(super) fn delete_now(&self, stream: &StreamCore) -> Result<()> {
        let id = stream.id;
        let mut routing = stream.routing.write();
        routing.check_not_closed()?;
        *routing = Routing::Unknown;
        // With the logs sealed nothing is written into directories that are about to go. A log that cannot be
        // sealed takes no records either.
        let logs = stream.logs.open_logs();
        for (_, log) in &logs {
            let _ = log.seal();
        }
        self.logs.remove_too_early(&stream.logs)?;
        let deleted = self.catalog.commit(|state| {
            stream.state(state.stream(id))?;
            Ok(vec![Edit::StreamDeleted { stream: id }])
        });
        if let Err(error) = deleted {
            logs.iter().for_each(|(_, log)| log.unseal());
            return Err(error);
        }
        drop(routing);
        self.forget_stream(id);
        self.logs.remove_stream(&stream.logs, &logs);
        self.keeper.wake();
        logs.iter().for_each(|(_, log)| log.changes().notify());
        Ok(())
    }
}
