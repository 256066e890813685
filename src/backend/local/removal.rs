//! Removing logs that the catalog no longer has, and segments without visible records.
//!
//! Readers hide records exactly at the horizon. This file only frees the space of whole segments and logs.

use std::sync::Arc;

use super::garbage::{Garbage, remove_directory};
use super::logs::{LocalLogs, StreamLogs};
use crate::backend::{RemovalPlan, ShardLog};
use crate::catalog::{Edit, LogState};
use crate::disk::{Step, is_left_out};
use crate::error::Result;
use crate::model::{LogName, Moment, RecordNumber, Timestamp};

impl LocalLogs {
    pub(super) fn remove_log(
        &self,
        stream: &StreamLogs,
        name: LogName,
        plan: &mut RemovalPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        // Opened before the catalog forgets its segments.
        let log = stream.log(name)?;
        // A shard's log was sealed when the shard was closed.
        let is_written_to = name.queue().is_some();
        if is_written_to {
            log.seal_for_removal();
        }
        let removed = self.commit_removal(plan);
        if !matches!(removed, Ok(true)) {
            if is_written_to {
                log.unseal();
            }
            return removed.map(|_| Vec::new());
        }
        stream.forget_log(name);
        self.active.forget(name);
        let directory = log.directory().to_owned();
        let garbage = Garbage::of_log(directory, &log);
        self.garbage.lock().push(garbage);
        Ok(vec![log])
    }

    pub(super) fn remove_stream(
        &self,
        stream: &StreamLogs,
        plan: &mut RemovalPlan<'_>,
    ) -> Result<Vec<Arc<dyn ShardLog>>> {
        // With the logs sealed nothing is written into directories that are about to be removed. A log that cannot be
        // sealed takes no records either.
        let logs = stream.open_logs();
        for (_, log) in &logs {
            log.seal_for_removal();
        }
        self.remove_too_early(stream)?;
        let removed = self.commit_removal(plan);
        if !matches!(removed, Ok(true)) {
            logs.iter().for_each(|(_, log)| log.unseal());
            return removed.map(|_| Vec::new());
        }
        self.streams.write().remove(&stream.id);
        // Includes logs that were opened meanwhile: their files are not removed while they are read.
        let logs = stream.open_logs();
        for (log, _) in &logs {
            self.active.forget(*log);
        }
        let garbage = Garbage::of_stream(stream.directory.clone(), &logs);
        self.garbage.lock().push(garbage);
        Ok(logs
            .into_iter()
            .map(|(_, log)| log as Arc<dyn ShardLog>)
            .collect())
    }

    /// Drops the segments without visible records from the catalog, and passes their files to the garbage.
    pub(super) fn trim(&self, time: Moment) -> Result<()> {
        let expired: Vec<_> = {
            let state = self.catalog.read();
            let expired = state.streams().flat_map(|(id, stream)| {
                let horizon = stream.horizon(time);
                let logs = stream.logs_of(id);
                logs.filter_map(move |(name, log)| {
                    // Records in a queue's log are needed until they are hidden by number.
                    let horizon = name.shard().map_or(Timestamp::EPOCH, |_| horizon);
                    Some((name, first_kept(log, horizon)?))
                })
            });
            expired.collect()
        };
        for (log, first_record) in expired {
            self.trim_log(log, first_record)?;
        }
        Ok(())
    }

    fn trim_log(&self, name: LogName, first_record: RecordNumber) -> Result<()> {
        let Some(log) = self.log(name)? else {
            return Ok(());
        };
        self.catalog.commit(|state| match state.log(name) {
            Some(_) => Ok(vec![Edit::LogTrimmed {
                log: name,
                first_record,
            }]),
            None => Ok(Vec::new()),
        })?;
        let dropped = Garbage::of_segments(log.forget_segments_before(first_record));
        self.garbage.lock().push(dropped);
        Ok(())
    }

    /// Returns false if there was nothing to commit.
    fn commit_removal(&self, plan: &mut RemovalPlan<'_>) -> Result<bool> {
        let mut has_edits = false;
        self.catalog.commit(|state| {
            let edits = plan(state)?;
            has_edits = !edits.is_empty();
            Ok(edits)
        })?;
        Ok(has_edits)
    }

    /// For tests that leave a step out: removes a stream's files while the catalog still has the stream.
    fn remove_too_early(&self, stream: &StreamLogs) -> Result<()> {
        match is_left_out(Step::EditBeforeRemoval) {
            true => remove_directory(self.disk.as_ref(), &stream.directory),
            false => Ok(()),
        }
    }
}

/// The first record of the oldest segment with a visible record, unless that is the oldest of all. The last segment is
/// always kept, since records will follow in it.
fn first_kept(log: &LogState, horizon: Timestamp) -> Option<RecordNumber> {
    let expired = log
        .segments
        .windows(2)
        .take_while(|pair| {
            let is_hidden = log.hidden_before.is_some_and(|number| pair[1].follows <= number);
            is_hidden || pair[1].base_arrival < horizon
        })
        .count();
    (expired > 0).then(|| log.segments[expired].first_record)
}
