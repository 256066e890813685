//! Closing logs together with the edit that closes their shards.

use std::sync::Arc;

use super::logs::{LocalLogs, StreamLogs};
use crate::backend::{SealPlan, ShardLog};
use crate::catalog::LogEnd;
use crate::error::{Error, Result};
use crate::log::LocalLog;
use crate::model::{LogName, ShardId, StreamId};

impl LocalLogs {
    /// Seals and syncs the logs before the edit that closes their shards.
    pub(super) fn seal_logs(
        &self,
        stream: StreamId,
        shards: &[ShardId],
        plan: &mut SealPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        let logs = self.known_stream(stream).ok_or_else(|| Error::StreamNotFound {
            name: format!("number {stream}"),
        })?;
        let sealed = Sealed::seal(&logs, shards)?;
        let ends = sealed.ends();
        self.catalog.commit(|state| plan(state, &ends))?;
        for shard in shards {
            self.active.forget(LogName::Shard(stream, *shard));
        }
        Ok(sealed.keep())
    }
}

/// Logs that take no more records. Dropping this unseals them, unless the edit that closes them has become durable.
struct Sealed {
    logs: Vec<(ShardId, Arc<LocalLog>, LogEnd)>,
}

impl Sealed {
    fn seal(stream: &StreamLogs, shards: &[ShardId]) -> Result<Self> {
        let mut sealed = Self { logs: Vec::new() };
        for shard in shards {
            let log = stream.log(LogName::Shard(stream.id, *shard))?;
            match log.seal() {
                Ok(end) => sealed.logs.push((*shard, log, end)),
                Err(error) => {
                    log.unseal();
                    return Err(error);
                }
            }
        }
        Ok(sealed)
    }

    fn ends(&self) -> Vec<(ShardId, LogEnd)> {
        self.logs.iter().map(|(shard, _, end)| (*shard, *end)).collect()
    }

    fn keep(mut self) -> Vec<Arc<dyn ShardLog>> {
        let logs = std::mem::take(&mut self.logs).into_iter();
        logs.map(|(_, log, _)| log as Arc<dyn ShardLog>).collect()
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        self.logs.iter().for_each(|(_, log, _)| log.unseal());
    }
}
