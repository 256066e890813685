//! The verbs of the logs of this machine.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::logs::LocalLogs;
use crate::backend::{Batch, LogStatistics, Logs, RemovalPlan, SealPlan, ShardLog, Snapshot};
use crate::backup::{Destination, Sharing, check_is_apart};
use crate::catalog::Edit;
use crate::error::{Error, Result};
use crate::log::{LocalLog, announce_all, pieces_of};
use crate::model::{LogName, Moment, RecordNumber, ShardId, Space, StreamId, Timestamp};
use crate::seam::{Appended, LogPiece, Waiting, stored_bytes};

impl Logs for LocalLogs {
    fn open(&self, name: LogName) -> Result<Arc<dyn ShardLog>> {
        let log = self.log(name)?.ok_or_else(|| Error::StreamNotFound {
            name: name
                .stream()
                .map_or_else(String::new, |stream| format!("number {stream}")),
        })?;
        Ok(log)
    }

    fn append(
        &self,
        batches: &[Batch<'_>],
        now: Timestamp,
        waiting: Waiting,
    ) -> Option<Vec<Result<Appended>>> {
        match waiting {
            Waiting::Allowed => {
                self.announce(batches);
                let append = |batch: &Batch<'_>| batch.log.append(batch.records, now, waiting);
                Some(batches.iter().map(append).collect())
            }
            Waiting::Refused => {
                let reservations = batches
                    .iter()
                    .map(|batch| local(batch.log)?.try_reserve(batch.records));
                let reservations: Option<Vec<_>> = reservations.collect();
                let reserved = batches.iter().zip(reservations?);
                Some(
                    reserved
                        .map(|(batch, room)| room.append(batch.records, now))
                        .collect(),
                )
            }
        }
    }

    fn pieces(&self, log: LogName, from: RecordNumber) -> Result<Vec<LogPiece>> {
        // The end of a log at rest is known without opening it.
        let at_rest = {
            let state = self.catalog.read();
            let known = state.log(log);
            known.and_then(|known| known.end.map(|end| pieces_of(&known.segments, end, from)))
        };
        match at_rest {
            Some(pieces) => Ok(pieces),
            None => Ok(self.log(log)?.map_or_else(Vec::new, |log| log.pieces(from))),
        }
    }

    fn sync(&self, log: LogName) -> Result<()> {
        match self.log(log)? {
            Some(log) => log.rest().map(drop),
            None => Ok(()),
        }
    }

    fn seal(
        &self,
        stream: StreamId,
        shards: &[ShardId],
        plan: &mut SealPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        self.seal_logs(stream, shards, plan)
    }

    fn remove(
        &self,
        stream: StreamId,
        log: Option<LogName>,
        plan: &mut RemovalPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        let Some(logs) = self.known_stream(stream) else {
            return Ok(Vec::new());
        };
        match log {
            Some(log) => self.remove_log(&logs, log, plan),
            None => self.remove_stream(&logs, plan),
        }
    }

    fn maintain(&self, monotonic: Duration, time: Moment) -> Result<()> {
        let results = [
            self.sweep_once(),
            self.sync_in_background(),
            self.trim(time),
            self.keep_house(monotonic),
        ];
        results.into_iter().collect()
    }

    fn begin_copy(&self, directory: &Path) -> Result<Destination> {
        check_is_apart(self.disk_of_copies.as_ref(), &self.directory, directory)?;
        Destination::begin(&self.disk_of_copies, directory, Sharing::WherePossible)
    }

    fn write_out(&self) -> Result<()> {
        self.write_out_all(&self.names()).map(drop)
    }

    fn snapshot(&self, now: Timestamp) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(self.take_snapshot(now)?))
    }

    fn check(&self) -> Result<()> {
        self.context.resources.health.check()
    }

    fn statistics(&self, of: Option<StreamId>) -> LogStatistics {
        match of {
            Some(stream) => self.statistics_of(stream),
            None => self.statistics_of_all(),
        }
    }

    fn stored_bytes(&self, log: LogName) -> u64 {
        self.segment_bytes_of(log)
    }

    fn oldest_sync(&self) -> Option<Duration> {
        self.context.resources.health.oldest_sync()
    }

    fn space(&self) -> Option<Space> {
        self.space_with_pool()
    }

    fn close(&self, last: &mut dyn FnMut() -> Vec<Edit>) -> Result<()> {
        let result = match self.overlay {
            Some(_) => Ok(()),
            None => {
                self.finish_appends();
                self.record_all_ends(last)
            }
        };
        self.let_go();
        result
    }
}

impl LocalLogs {
    /// Tells the ledger in one step of logs that acknowledge from memory and are about to be written to.
    fn announce(&self, batches: &[Batch<'_>]) {
        let logs = batches
            .iter()
            .filter_map(|batch| Some((local(batch.log)?, batch.records)));
        if !self.acknowledges_from_memory() || !logs.clone().any(|(log, _)| log.lacks_place()) {
            return;
        }
        announce_all(logs.map(|(log, records)| (log, records.iter().map(stored_bytes).sum())));
    }
}

/// The local log behind the trait. A store has logs of one backend.
fn local(log: &dyn ShardLog) -> Option<&LocalLog> {
    let log: &dyn Any = log;
    log.downcast_ref()
}
