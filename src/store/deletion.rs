//! Deleting a stream.

use super::core::StoreCore;
use super::garbage::{Garbage, remove_directory};
use super::stream_core::{Routing, StreamCore};
use crate::catalog::Edit;
use crate::disk::{Step, is_left_out};
use crate::error::Result;
use crate::model::LogName;

impl StoreCore {
    /// Deletes a stream; its files go when nobody reads them any more. The caller has the stream to change.
    pub(super) fn delete_now(&self, stream: &StreamCore) -> Result<()> {
        let id = stream.id;
        let mut routing = stream.routing.write();
        routing.check_not_closed()?;
        *routing = Routing::Unknown;
        // With the logs sealed nothing is written into directories that are about to go. A log that cannot be
        // sealed takes no records either.
        let logs = stream.open_logs();
        for (_, log) in &logs {
            let _ = log.seal();
        }
        if is_left_out(Step::EditBeforeRemoval) {
            remove_directory(self.disk.as_ref(), &stream.directory)?;
        }
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
        for (shard, _) in &logs {
            self.active.forget(LogName::Shard(id, *shard));
        }
        self.garbage
            .lock()
            .push(Garbage::of_stream(stream.directory.clone(), &logs));
        self.keeper.wake();
        logs.iter().for_each(|(_, log)| log.changes().notify());
        Ok(())
    }
}
