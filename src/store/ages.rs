//! Expiry of records whose arrival times are ahead of the clock.
//!
//! A server that ran with its clock a year ahead leaves shards whose last record arrived in a year. Arrival times never
//! decrease within a shard, so each later record repeats that time, and by arrival time nothing expires for a year. The
//! wall clock cannot say when such records were really put: if it was wrong once, it may be wrong now. But the time
//! that the store is open is measured by the monotonic clock. So the store marks each log that is ahead now and then: a
//! mark says which records were there when the store had been open for a certain time. They are hidden once the store
//! has been open for a retention period more.

use super::core::StoreCore;
use crate::catalog::{AgeMark, Edit, StreamState};
use crate::error::Result;
use crate::model::{CONFIRMATION, LogName, RecordNumber, ShardId, StreamId, Timestamp};
use crate::seam::ShownEnd;

/// The number of marks of a log in a retention period. Records are hidden too late by at most the time between two
/// marks.
const MARKS: u64 = 24;

impl StoreCore {
    /// Marks the logs that are ahead of the clock, and hides the records whose marks are old enough.
    pub(super) fn hide_by_age(&self) -> Result<()> {
        let open_millis = self.time.open_millis();
        let marks = self.missing_marks(open_millis);
        let before = self.old_enough(open_millis);
        if marks.is_empty() && before.is_empty() {
            return Ok(());
        }
        self.catalog.commit(|state| {
            let mut edits = Vec::new();
            let marks: Vec<_> = marks
                .into_iter()
                .filter(|(log, _)| state.log(*log).is_some())
                .collect();
            if !marks.is_empty() {
                edits.push(Edit::AgesMarked { marks });
            }
            let before: Vec<_> = before
                .into_iter()
                .filter(|(log, _)| state.log(*log).is_some())
                .collect();
            if !before.is_empty() {
                edits.push(Edit::RecordsHidden { before });
                // A later opener must not assume that the store was open for less.
                edits.push(Edit::ClockNoted(self.time.note()));
            }
            Ok(edits)
        })
    }

    fn missing_marks(&self, open_millis: u64) -> Vec<(LogName, AgeMark)> {
        let limit = self.now().saturating_add(CONFIRMATION);
        let mut marks = Vec::new();
        for (stream, shard, end) in self.log_ends() {
            let state = self.catalog.read();
            let Some(state) = state.stream(stream) else {
                continue;
            };
            let before = state.marked_through(shard, end);
            if state.is_ahead(shard, end, limit) && state.needs_mark(shard, before, open_millis) {
                let log = LogName::Shard(stream, shard);
                marks.push((log, AgeMark { before, open_millis }));
            }
        }
        marks
    }

    /// The end of each log, as far as it is shown.
    fn log_ends(&self) -> Vec<(StreamId, ShardId, ShownEnd)> {
        let mut written_to = Vec::new();
        let mut ends = Vec::new();
        {
            let state = self.catalog.read();
            for (id, stream) in state.streams() {
                for (shard, log) in &stream.logs {
                    match log.end {
                        Some(end) => ends.push((
                            id,
                            *shard,
                            ShownEnd {
                                next_record: end.next_record,
                                last_arrival: end.last_arrival,
                            },
                        )),
                        None => written_to.push((id, *shard)),
                    }
                }
            }
        }
        for (id, shard) in written_to {
            // A log that cannot be opened keeps its records.
            if let Ok(end) = self
                .logs
                .open(LogName::Shard(id, shard))
                .and_then(|log| log.end())
            {
                ends.push((id, shard, end));
            }
        }
        ends
    }

    fn old_enough(&self, open_millis: u64) -> Vec<(LogName, RecordNumber)> {
        let state = self.catalog.read();
        let old = state.streams().flat_map(|(id, stream)| {
            let retention = stream.retention.millis();
            let logs = stream.logs.iter();
            logs.filter_map(move |(shard, log)| {
                let is_old = |mark: &&AgeMark| open_millis.saturating_sub(mark.open_millis) > retention;
                let newest = log.ages.iter().rev().find(is_old)?;
                Some((LogName::Shard(id, *shard), newest.before))
            })
        });
        old.collect()
    }
}

impl StreamState {
    /// Whether the last records of a shard, or the shard itself, would expire too late by their arrival times.
    fn is_ahead(&self, shard: ShardId, end: ShownEnd, limit: Timestamp) -> bool {
        let shard = self.lineage.as_ref().and_then(|lineage| lineage.shard(shard));
        let closed = shard.and_then(|shard| shard.closed).map(|closed| closed.at);
        end.last_arrival > limit || closed.is_some_and(|closed| closed > limit)
    }

    /// The number up to which a mark that is made now counts. For a closed shard it includes the closing, which counts
    /// as one more record: an earlier mark does not say how long the shard has been closed.
    fn marked_through(&self, shard: ShardId, end: ShownEnd) -> RecordNumber {
        let shard = self.lineage.as_ref().and_then(|lineage| lineage.shard(shard));
        match shard.is_some_and(|shard| !shard.is_open()) {
            true => end.next_record.next(),
            false => end.next_record,
        }
    }

    fn needs_mark(&self, shard: ShardId, before: RecordNumber, open_millis: u64) -> bool {
        let Some(log) = self.logs.get(&shard) else {
            return false;
        };
        let marked = log.ages.last().map(|mark| mark.before).max(log.hidden_before);
        let is_news = marked.is_none_or(|marked| before > marked);
        let between = self.retention.millis() / MARKS;
        let is_time = log
            .ages
            .last()
            .is_none_or(|mark| open_millis.abs_diff(mark.open_millis) >= between);
        is_news && is_time
    }
}
